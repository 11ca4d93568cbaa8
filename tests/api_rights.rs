//! Which right each call takes: every right is tried on every call (R-F9).

use crate::api_management::{PROVIDER, add_policy, connection_string, list_keys};
use crate::support::http::Request;
use crate::support::operator::ConnectionString;
use crate::support::{HUB, Lab};

/// A call and the right it takes.
type Call = (&'static str, &'static str, &'static str);

const DPS_CALLS: [Call; 15] = [
    ("GET", "/enrollments/x", "EnrollmentRead"),
    ("PUT", "/enrollments/x", "EnrollmentWrite"),
    ("DELETE", "/enrollments/x", "EnrollmentWrite"),
    ("POST", "/enrollments", "EnrollmentWrite"),
    ("POST", "/enrollments/query", "EnrollmentRead"),
    (
        "POST",
        "/enrollments/x/attestationmechanism",
        "EnrollmentWrite",
    ),
    ("GET", "/enrollmentGroups/x", "EnrollmentRead"),
    ("PUT", "/enrollmentGroups/x", "EnrollmentWrite"),
    ("DELETE", "/enrollmentGroups/x", "EnrollmentWrite"),
    ("POST", "/enrollmentGroups", "EnrollmentWrite"),
    ("POST", "/enrollmentGroups/query", "EnrollmentRead"),
    (
        "POST",
        "/enrollmentGroups/x/attestationmechanism",
        "EnrollmentWrite",
    ),
    ("GET", "/registrations/x", "RegistrationStatusRead"),
    ("DELETE", "/registrations/x", "RegistrationStatusWrite"),
    ("POST", "/registrations/x/query", "RegistrationStatusRead"),
];

const HUB_CALLS: [Call; 19] = [
    ("GET", "/devices", "RegistryRead"),
    ("GET", "/devices/x", "RegistryRead"),
    ("PUT", "/devices/x", "RegistryWrite"),
    ("DELETE", "/devices/x", "RegistryWrite"),
    ("GET", "/twins/x", "ServiceConnect"),
    ("PATCH", "/twins/x", "ServiceConnect"),
    ("PUT", "/twins/x", "ServiceConnect"),
    ("POST", "/twins/x/methods", "ServiceConnect"),
    ("POST", "/devices/query", "RegistryRead"),
    ("POST", "/devices/x/messages/devicebound", "ServiceConnect"),
    ("DELETE", "/devices/x/commands", "ServiceConnect"),
    ("GET", "/messages/serviceBound/feedback", "ServiceConnect"),
    (
        "DELETE",
        "/messages/serviceBound/feedback/x",
        "ServiceConnect",
    ),
    (
        "POST",
        "/messages/serviceBound/feedback/x/abandon",
        "ServiceConnect",
    ),
    (
        "POST",
        "/devices/x/modules/y/messages/devicebound",
        "ServiceConnect",
    ),
    ("GET", "/jobs/v2/query", "RegistryRead"),
    ("GET", "/jobs/v2/x", "RegistryRead"),
    ("PUT", "/jobs/v2/x", "RegistryWrite"),
    ("POST", "/jobs/v2/x/cancel", "RegistryWrite"),
];

/// Tries each call with the policy's token; those its rights do not open are refused by the name
/// of the right they take, in the member `message`.
async fn try_all(
    lab: &Lab,
    policy: &ConnectionString,
    rights: &str,
    calls: &[Call],
    message: &str,
) {
    for &(method, path, needed) in calls {
        let path = format!("{path}?api-version=2021-10-01");
        let request = Request::new(method, &policy.host, &path)
            .header("Authorization", policy.token(lab.now() + 600));
        let answer = lab.ask(&request, None).await;
        let opened = rights.split(", ").any(|right| right == needed);
        let what = format!("{method} {path} with {rights}: {answer:?}");
        assert_eq!(answer.status != 401, opened, "{what}");
        assert!(opened || answer.text(message).contains(needed), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_call_of_dps_takes_its_right_and_no_other() {
    let lab = Lab::start();
    let rights = [
        "ServiceConfig",
        "EnrollmentRead",
        "EnrollmentWrite",
        "DeviceConnect",
        "RegistrationStatusRead",
        "RegistrationStatusWrite",
    ];
    for right in rights {
        let policy = add_policy(&lab, right, right).await;
        try_all(&lab, &policy, right, &DPS_CALLS, "message").await;
    }
    try_all(
        &lab,
        &lab.dps_string(),
        &rights.join(", "),
        &DPS_CALLS,
        "message",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn each_call_of_a_hub_takes_its_right_and_no_other() {
    let lab = Lab::start();
    let policies = list_keys(&lab, &format!("{PROVIDER}/IotHubs/hub-1")).await;
    assert_eq!(policies.len(), 5);
    for keys in policies {
        let policy = connection_string(HUB, &keys);
        let rights = keys["rights"].as_str().unwrap();
        try_all(&lab, &policy, rights, &HUB_CALLS, "Message").await;
    }
}
