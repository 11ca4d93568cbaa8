//! What goes wrong with webhooks, and what bounds them.

use std::time::Duration;

use linarite_env::Event;
use serde_json::{Value, json};

use super::{DEVICE, PATH, SHOWN, custom, lab, record, with};
use crate::api::assert_dps_error;
use crate::support::function::{FUNCTION, Function, Reply, URL, http};
use crate::support::http::Request;
use crate::support::{DPS, HUB, HUB_2, ISSUER, Lab, ROOT, SCOPE};

/// R-B16, I-15 (the number was seen in the field): whatever goes wrong, the operation ends
/// `failed` with words an operator understands, and nothing is written at a hub.
#[tokio::test(start_paused = true)]
async fn a_webhook_that_fails_fails_the_registration_and_says_why() {
    let json = |body: Value| Reply::Json(200, body);
    let raw = |text: &str| Reply::Raw(text.as_bytes().to_vec());
    let long = json!({ "iotHubHostName": HUB, "payload": "x".repeat(96 * 1024) });
    let endless = "HTTP/1.1 200 OK\r\n".to_owned() + &"X: y\r\n".repeat(20_000);
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{";
    let moved = "HTTP/1.1 302 Found\r\nLocation: http://other.test/\r\nContent-Length: 0\r\n\r\n";
    let slow = Reply::Slowly(Duration::from_secs(2), http(200, &json!({})));
    let table = [
        (Reply::Json(404, json!({})), "with status code: 404"),
        (
            Reply::Json(500, json!({ "iotHubHostName": HUB })),
            "with status code: 500",
        ),
        (
            Reply::Json(201, json!({ "iotHubHostName": HUB })),
            "with status code: 201",
        ),
        (raw(moved), "with status code: 302"),
        (raw("HTTP/1.1 204 None\r\n\r\n"), "with status code: 204"),
        (Reply::Refused, "could not be reached: connection refused"),
        (Reply::Silence, "did not answer within 30 s"),
        (slow, "did not answer within 30 s"),
        (raw("SSH-2.0-hello\r\n"), "is no HTTP"),
        (raw(""), "broke off"),
        (raw(cut), "broke off"),
        (raw(&endless), "is no HTTP"),
        (json(long), "is longer than 98304 bytes"),
        (
            raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<ok/>"),
            "not JSON",
        ),
        (json(json!([])), "JSON object"),
        (json(json!({})), "iotHubHostName: required"),
        (
            json(json!({ "iotHubHostName": HUB, "hub": 1 })),
            "hub: unknown",
        ),
        (
            json(json!({ "iotHubHostName": HUB, "initialTwin": { "tags": { "$": 1, "a.b": 1 } } })),
            "initialTwin.tags",
        ),
        (
            json(json!({ "iotHubHostName": "hub-9.test" })),
            "hub-9.test",
        ),
    ];
    for (reply, words) in table {
        let function = Function::new(reply);
        let lab = lab(&function).await;
        let credential = lab.leaf(DEVICE, 1, 30);
        lab.enroll(&credential, custom(URL)).await;
        let mark = lab.events.mark();
        let registered = lab.register(&credential).await;
        let (code, text) = registered.failure();
        assert_eq!(code, 400_207, "{text}");
        assert!(text.starts_with("Custom allocation failed "), "{text}");
        assert!(text.contains(words), "{words}: {text}");
        let kept = record(&lab).await;
        assert_eq!(
            (&kept["status"], &kept["errorMessage"]),
            (&json!("failed"), &json!(text))
        );
        for host in [HUB, HUB_2] {
            assert_eq!(
                lab.hub_at(host, "GET", PATH, None).await.status,
                404,
                "{words}"
            );
        }
        let events = lab.events.after(mark);
        let ended = events.iter().any(|event| {
            matches!(event, Event::RegistrationEnded { reason, .. } if reason.rule == "R-B16")
        });
        assert!(ended, "{events:#?}");
        let all = format!("{events:?} {kept} {:?}", registered.body);
        assert!(!all.contains("s3cret"), "no key in {all}");

        // The failure of one moment is no failure of the next.
        function.only(json(json!({ "iotHubHostName": HUB })));
        assert_eq!(lab.register(&credential).await.hub(), HUB, "{words}");
    }
}

/// R-B16: the log and the events name the webhook by scheme, host and path.
#[tokio::test(start_paused = true)]
async fn events_name_the_webhook_without_its_key() {
    let function = Function::choosing(HUB);
    function.only(Reply::Json(403, json!({})));
    function.then(Reply::Json(200, json!({ "iotHubHostName": HUB })));
    let lab = lab(&function).await;
    let credential = lab.leaf(DEVICE, 1, 30);
    lab.enroll(&credential, custom(URL)).await;
    let mark = lab.events.mark();
    assert_eq!(lab.register(&credential).await.failure().0, 400_207);
    assert_eq!(lab.register(&credential).await.hub(), HUB);
    let told: Vec<String> = lab
        .events
        .after(mark)
        .iter()
        .filter_map(|event| match event {
            Event::WebhookAnswered { webhook, hub, .. } => Some(format!("{webhook} {hub}")),
            Event::WebhookFailed {
                webhook, reason, ..
            } => Some(format!("{webhook} {}", reason.text)),
            _ => None,
        })
        .collect();
    let expected = [
        format!("{SHOWN} with status code: 403"),
        format!("{SHOWN} {HUB}"),
    ];
    assert_eq!(told, expected);
}

/// R-B16: https by a CA that the configuration names; nobody else's certificate will do.
#[tokio::test(start_paused = true)]
async fn a_webhook_behind_tls_must_show_a_certificate_that_is_trusted() {
    let url = format!("https://{FUNCTION}/api/hook?code=s3cret");
    let function = Function::choosing(HUB_2);
    let ca = function.speak_tls();
    let trusting = Lab::dialling(function.clone(), |config| {
        config.webhook.extra_ca = vec![ca]
    });
    let distrusting = Lab::dialling(function.clone(), |_| {});
    for (lab, trusts) in [(trusting, true), (distrusting, false)] {
        lab.upload_ca(ROOT).await;
        let credential = lab.leaf(DEVICE, 1, 30);
        lab.enroll(&credential, custom(&url)).await;
        let registered = lab.register(&credential).await;
        if trusts {
            assert_eq!(registered.hub(), HUB_2);
            assert_eq!(function.last().dialled, (FUNCTION.to_owned(), 443));
            assert_eq!(function.last().header("host"), FUNCTION);
        } else {
            let (code, words) = registered.failure();
            assert_eq!(code, 400_207);
            assert!(words.contains("TLS handshake"), "{words}");
            assert!(!words.contains("s3cret"), "{words}");
        }
    }
    assert_eq!(function.asked().len(), 1);
}

/// R-B16: how long a webhook may take is a setting.
#[tokio::test(start_paused = true)]
async fn the_time_out_is_the_configurations() {
    let late = json!({ "iotHubHostName": HUB });
    let function = Function::new(Reply::After(Duration::from_secs(10), late));
    for (seconds, answered) in [(9, false), (11, true)] {
        let lab = Lab::dialling(function.clone(), |config| {
            config.webhook.timeout = Duration::from_secs(seconds);
        });
        lab.upload_ca(ROOT).await;
        let credential = lab.leaf(DEVICE, 1, 30);
        lab.enroll(&credential, custom(URL)).await;
        let registered = lab.register(&credential).await;
        assert_eq!(registered.outcome() == "assigned", answered, "{seconds} s");
        if !answered {
            assert!(registered.failure().1.contains("within 9 s"));
        }
    }
}

/// R-B16: an emulator that stops does not wait for webhooks.
#[tokio::test(start_paused = true)]
async fn stopping_does_not_wait_for_a_webhook() {
    let function = Function::new(Reply::Silence);
    let lab = lab(&function).await;
    let credential = lab.leaf(DEVICE, 1, 30);
    lab.enroll(&credential, custom(URL)).await;
    let base = format!("/{SCOPE}/registrations/{DEVICE}");
    let register = Request::new(
        "PUT",
        DPS,
        format!("{base}/register?api-version=2019-03-31"),
    );
    assert_eq!(lab.ask(&register, Some(&credential)).await.status, 202);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(function.asked().len(), 1);
    let before = lab.env.clock.now_ms();
    assert!(lab.emulator.stop(Duration::from_secs(10)).await);
    assert!(lab.since(before) < Duration::from_secs(1));
}

/// R-B16, R-F4, K.7: what an entry may not say is refused by the name of its member, and nothing
/// is written.
#[tokio::test(start_paused = true)]
async fn a_definition_that_makes_no_sense_is_refused() {
    let lab = Lab::start();
    let credential = lab.leaf(DEVICE, 1, 30);
    let leaf = json!({ "primary": { "certificate": credential.leaf_pem() } });
    let attestation = json!({ "type": "x509", "x509": { "clientCertificates": leaf } });
    let path = "/enrollments/dev-1";
    let put = async |members: Value, if_match: Option<&str>| {
        let base = json!({ "registrationId": DEVICE, "attestation": attestation });
        lab.dps("PUT", path, if_match, Some(with(base, members)))
            .await
    };
    let table = [
        (
            json!({ "allocationPolicy": "custom" }),
            "customAllocationDefinition: required",
        ),
        (
            custom("s3cret://host"),
            "customAllocationDefinition.webhookUrl: expected a URL",
        ),
        (
            custom("https://h/?****"),
            "customAllocationDefinition.webhookUrl: a masked query",
        ),
        (
            with(custom(URL), json!({ "allocationPolicy": "hashed" })),
            "customAllocationDefinition: belongs to",
        ),
        (
            json!({ "initialTwin": { "tags": { "a": "x".repeat(4097) } } }),
            "initialTwin.tags: a string",
        ),
        (
            json!({ "initialTwin": { "properties": { "desired": { "a b": 1 } } } }),
            "initialTwin.properties.desired: key",
        ),
        (
            json!({ "initialTwin": { "properties": { "desired": [1] } } }),
            "initialTwin.properties.desired: ",
        ),
    ];
    for (members, words) in table {
        let answer = put(members, None).await;
        assert_dps_error(&answer, 400_004);
        let text = answer.text("message");
        assert!(text.contains(words) && !text.contains("s3cret"), "{text}");
    }
    assert_eq!(lab.dps("GET", path, None, None).await.status, 404);

    // The same for a group, and in an update: what is held stays.
    let saved = put(custom(URL), None).await;
    assert_eq!(saved.status, 200, "{saved:?}");
    assert_dps_error(&put(custom("https://h/?****"), Some("*")).await, 400_004);
    assert_eq!(lab.dps("GET", path, None, None).await.body, saved.body);
    let signing = json!({ "primary": { "certificate": lab.pki.certificate_pem(ISSUER).unwrap() } });
    let group = json!({
        "enrollmentGroupId": "fleet",
        "attestation": { "type": "x509", "x509": { "signingCertificates": signing } },
        "initialTwin": { "tags": { "a.b": 1 } },
    });
    let answer = lab
        .dps("PUT", "/enrollmentGroups/fleet", None, Some(group))
        .await;
    assert_dps_error(&answer, 400_004);
    assert!(answer.text("message").contains("initialTwin.tags"));
}
