//! The DPS instance as a resource of the management API, and the calls that show keys (R-F9,
//! ENDPOINTS 5).

use linarite_core::secret::SymmetricKey;
use serde_json::{Value, json};

use crate::support::http::{Answer, Request};
use crate::support::operator::ConnectionString;
use crate::support::{DPS, HUB, Lab, SCOPE};

/// Where the management API keeps resources of this provider.
pub(crate) const PROVIDER: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices";

const OWNER: &str = "provisioningserviceowner";

pub(crate) fn instance() -> String {
    format!("{PROVIDER}/provisioningServices/linarite-dps")
}

/// A call of the management API.
pub(crate) async fn manage(
    lab: &Lab,
    method: &'static str,
    path: &str,
    if_match: Option<&str>,
    body: Option<Value>,
) -> Answer {
    let path = format!("{path}?api-version=2022-02-05");
    let mut request = Request::new(method, "management.azure.com", path)
        .header("Authorization", "Bearer anything");
    if let Some(etag) = if_match {
        request = request.header("If-Match", etag);
    }
    request.body = body;
    lab.ask(&request, None).await
}

/// Writes the instance: `body`, and of what a PUT must bring (location, sku, properties) what is
/// not in it.
pub(crate) async fn write_instance(lab: &Lab, if_match: Option<&str>, mut body: Value) -> Answer {
    if let Value::Object(members) = &mut body {
        let location = manage(lab, "GET", &instance(), None, None).await.body["location"].take();
        members.entry("location").or_insert(location);
        members.entry("sku").or_insert(json!({ "name": "S1" }));
        members.entry("properties").or_insert(json!({}));
    }
    manage(lab, "PUT", &instance(), if_match, Some(body)).await
}

/// The keys of all policies of the resource at `path`, as they are listed.
pub(crate) async fn list_keys(lab: &Lab, path: &str) -> Vec<Value> {
    let listed = manage(lab, "POST", &format!("{path}/listkeys"), None, None).await;
    assert_eq!(listed.status, 200, "{listed:?}");
    listed.body["value"].as_array().unwrap().clone()
}

/// Adds a policy with these rights to the DPS instance; gives what its holder needs.
pub(crate) async fn add_policy(lab: &Lab, name: &str, rights: &str) -> ConnectionString {
    let mut policies = list_keys(lab, &instance()).await;
    policies.push(json!({ "keyName": name, "rights": rights }));
    let body = json!({ "properties": { "authorizationPolicies": policies } });
    let put = write_instance(lab, None, body).await;
    assert_eq!(put.status, 200, "{put:?}");
    let path = format!("{}/keys/{name}/listkeys", instance());
    let keys = manage(lab, "POST", &path, None, None).await;
    connection_string(DPS, &keys.body)
}

/// What the holder of a listed policy needs.
pub(crate) fn connection_string(host: &str, keys: &Value) -> ConnectionString {
    let text = |member: &str| keys[member].as_str().unwrap();
    ConnectionString {
        host: host.to_owned(),
        policy: text("keyName").to_owned(),
        key: SymmetricKey::from_base64(text("primaryKey")).unwrap(),
    }
}

pub(crate) fn assert_refused(answer: &Answer, code: u64, words: &str) {
    assert_eq!(u64::from(answer.status), code / 1000, "{answer:?}");
    assert_eq!(answer.body["code"], code.to_string(), "{answer:?}");
    assert!(
        answer.text("message").contains(words),
        "{words}: {answer:?}"
    );
}

/// Asks the DPS service API as the holder of a policy.
async fn ask_as(
    lab: &Lab,
    policy: &ConnectionString,
    method: &'static str,
    path: &str,
    body: Option<Value>,
) -> Answer {
    let mut request =
        Request::new(method, DPS, path).header("Authorization", policy.token(lab.now() + 600));
    request.body = body;
    lab.ask(&request, None).await
}

#[tokio::test(start_paused = true)]
async fn the_instance_is_read_and_listed_without_keys() {
    let lab = Lab::start();
    let read = manage(&lab, "GET", &instance(), None, None).await;
    assert_eq!((read.status, read.text("name")), (200, "linarite-dps"));
    assert_eq!(read.text("id"), instance());
    assert_eq!(
        read.body["sku"],
        json!({ "name": "S1", "tier": "Standard", "capacity": 1 })
    );
    let rights = "ServiceConfig, EnrollmentRead, EnrollmentWrite, DeviceConnect, \
                  RegistrationStatusRead, RegistrationStatusWrite";
    let hidden = format!("HostName={HUB};SharedAccessKeyName=iothubowner;SharedAccessKey=****");
    let expected = json!({
        "state": "Active",
        "provisioningState": "Succeeded",
        "iotHubs": [{
            "name": HUB,
            "connectionString": hidden,
            "location": read.text("location"),
            "applyAllocationPolicy": true,
            "allocationWeight": 1,
        }],
        "allocationPolicy": "Hashed",
        "serviceOperationsHostName": DPS,
        "deviceProvisioningHostName": DPS,
        "idScope": SCOPE,
        "authorizationPolicies": [{ "keyName": OWNER, "rights": rights }],
    });
    assert_eq!(read.body["properties"], expected);

    let in_group = format!("{PROVIDER}/provisioningServices");
    let listed = manage(&lab, "GET", &in_group, None, None).await;
    assert_eq!(listed.body, json!({ "value": [read.body] }));
    let path = "/subscriptions/s/providers/Microsoft.Devices/provisioningServices/";
    let listed = manage(&lab, "GET", path, None, None).await;
    let listed = &listed.body["value"][0];
    assert_eq!(listed["properties"], expected);
    let id = listed["id"].as_str().unwrap();
    assert_eq!(manage(&lab, "GET", id, None, None).await.status, 200);

    let other = format!("{PROVIDER}/provisioningServices/other");
    let missing = manage(&lab, "GET", &other, None, None).await;
    assert_refused(&missing, 404_000, "linarite-dps");
    let stranger = Request::new(
        "GET",
        "management.azure.com",
        format!("{in_group}?api-version=2022-02-05"),
    );
    assert_refused(&lab.ask(&stranger, None).await, 401_000, "Bearer");
}

/// R-F9.
#[tokio::test(start_paused = true)]
async fn keys_are_listed_for_all_policies_and_for_one() {
    let lab = Lab::start();
    let hub = format!("{PROVIDER}/IotHubs/hub-1");
    let owners = [
        (instance(), "keys", OWNER, lab.dps_string()),
        (hub.clone(), "IotHubKeys", "iothubowner", lab.hub_string()),
    ];
    for (path, keys, name, owner) in owners {
        let listed = list_keys(&lab, &path).await;
        assert_eq!(listed[0]["primaryKey"], owner.key.to_base64());
        assert_ne!(listed[0]["secondaryKey"], listed[0]["primaryKey"]);
        let one = format!("{path}/{keys}/{name}/listkeys");
        let one = manage(&lab, "POST", &one, None, None).await;
        assert_eq!(one.body, listed[0]);
        let none = format!("{path}/{keys}/nobody/listkeys");
        let none = manage(&lab, "POST", &none, None, None).await;
        assert_refused(&none, 404_000, "nobody");
    }
    let listed = list_keys(&lab, &hub).await;
    let listed: Vec<_> = listed
        .iter()
        .map(|keys| [&keys["keyName"], &keys["rights"]].map(|text| text.as_str().unwrap()))
        .collect();
    let expected = [
        [
            "iothubowner",
            "RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect",
        ],
        ["service", "ServiceConnect"],
        ["device", "DeviceConnect"],
        ["registryRead", "RegistryRead"],
        ["registryReadWrite", "RegistryRead, RegistryWrite"],
    ];
    assert_eq!(listed, expected);
    let other = format!("{PROVIDER}/IotHubs/hub-9/listkeys");
    let missing = manage(&lab, "POST", &other, None, None).await;
    assert_refused(&missing, 404_000, "hub-9");
    let path = format!("{hub}/listkeys?api-version=2023-06-30");
    let stranger = Request::new("POST", "management.azure.com", path);
    assert_refused(&lab.ask(&stranger, None).await, 401_000, "Bearer");
}

/// R-F9.
#[tokio::test(start_paused = true)]
async fn a_policy_that_was_added_opens_what_its_rights_say_until_it_is_gone() {
    let lab = Lab::start();
    let reader = add_policy(&lab, "reader", "EnrollmentRead").await;
    let path = "/enrollments/dev-1?api-version=2021-10-01";
    let read = ask_as(&lab, &reader, "GET", path, None).await;
    assert_eq!(read.status, 404, "{read:?}");
    let body = json!({ "registrationId": "dev-1", "attestation": { "type": "symmetricKey" } });
    let write = ask_as(&lab, &reader, "PUT", path, Some(body.clone())).await;
    assert_eq!(write.status, 401, "{write:?}");
    assert!(
        write.text("message").contains("EnrollmentWrite"),
        "{write:?}"
    );

    // Sent back as it is shown, without keys, it keeps its keys and takes other rights.
    let mut shown = manage(&lab, "GET", &instance(), None, None).await.body;
    let policies = &mut shown["properties"]["authorizationPolicies"];
    policies[1]["rights"] = "EnrollmentRead,EnrollmentWrite".into();
    policies.as_array_mut().unwrap().rotate_left(1);
    let put = write_instance(&lab, None, shown).await;
    assert_eq!(put.status, 200, "{put:?}");
    let policies = &put.body["properties"]["authorizationPolicies"];
    assert_eq!(policies[0]["keyName"], OWNER, "the owner is first");
    assert_eq!(
        policies[1],
        json!({ "keyName": "reader", "rights": "EnrollmentRead, EnrollmentWrite" })
    );
    let write = ask_as(&lab, &reader, "PUT", path, Some(body)).await;
    assert_eq!(write.status, 200, "{write:?}");

    // Other keys shut out the old one; the owner's connection string follows.
    let key = |byte: u8| SymmetricKey::from_bytes(&[byte; 64]).unwrap();
    let mut keys = list_keys(&lab, &instance()).await;
    keys[0]["primaryKey"] = key(1).to_base64().into();
    let body = json!({ "properties": { "authorizationPolicies": keys } });
    let old = lab.dps_string();
    let put = write_instance(&lab, None, body).await;
    assert_eq!(put.status, 200, "{put:?}");
    assert_eq!(lab.dps_string().key, key(1));
    assert_eq!(ask_as(&lab, &old, "GET", path, None).await.status, 401);
    let owner = lab.dps_string();
    assert_eq!(ask_as(&lab, &owner, "GET", path, None).await.status, 200);

    // The list is the whole list.
    let body = json!({ "properties": { "authorizationPolicies": [keys[0]] } });
    let put = write_instance(&lab, None, body).await;
    assert_eq!(put.status, 200, "{put:?}");
    let gone = ask_as(&lab, &reader, "GET", path, None).await;
    assert_eq!(gone.status, 401, "{gone:?}");
}

/// R-F1, K.7.
#[tokio::test(start_paused = true)]
async fn a_stale_etag_writes_nothing() {
    let lab = Lab::start();
    let read = manage(&lab, "GET", &instance(), None, None).await;
    let etag = read.text("etag");
    let mut body = read.body.clone();
    let more = json!({ "keyName": "more", "rights": "ServiceConfig" });
    let policies = body["properties"]["authorizationPolicies"].as_array_mut();
    policies.unwrap().push(more);
    let stale = write_instance(&lab, Some("stale"), body.clone()).await;
    assert_refused(&stale, 412_000, "etag");
    assert_eq!(
        manage(&lab, "GET", &instance(), None, None).await.body,
        read.body
    );
    let fresh = write_instance(&lab, Some(etag), body.clone()).await;
    assert_eq!(fresh.status, 200, "{fresh:?}");
    assert_ne!(fresh.text("etag"), etag);
    let lost = write_instance(&lab, Some(etag), body.clone()).await;
    assert_refused(&lost, 412_000, "etag");
    let any = write_instance(&lab, Some("*"), body).await;
    assert_eq!(any.status, 200, "{any:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_put_may_not_change_is_named() {
    let lab = Lab::start();
    let before = manage(&lab, "GET", &instance(), None, None).await;
    let policies = |policies: Value| json!({ "properties": { "authorizationPolicies": policies } });
    let owner = before.body["properties"]["authorizationPolicies"][0].clone();
    let more = |name: &str, rights: &str| json!({ "keyName": name, "rights": rights });
    let mut weak = owner.clone();
    weak["rights"] = "ServiceConfig".into();
    let mut short = owner.clone();
    short["primaryKey"] = "short".into();
    let long = "x".repeat(65);
    let table = [
        (json!([]), 400_004, "JSON object"),
        (json!({ "location": "westeurope" }), 501_000, "location"),
        (json!({ "sku": { "capacity": 2 } }), 501_000, "sku"),
        (
            json!({ "properties": { "publicNetworkAccess": "Disabled" } }),
            501_000,
            "publicNetworkAccess",
        ),
        (policies(json!([])), 501_000, "owner"),
        (policies(json!([weak])), 501_000, "owner"),
        (
            policies(json!([short])),
            400_004,
            "authorizationPolicies[0].primaryKey",
        ),
        (policies(json!({})), 400_004, "array of objects"),
        (
            policies(json!([owner, "more"])),
            400_004,
            "array of objects",
        ),
        (
            policies(json!([owner, owner])),
            400_004,
            "authorizationPolicies[1].keyName",
        ),
        (
            policies(json!([owner, more("", "ServiceConfig")])),
            400_004,
            "[1].keyName",
        ),
        (
            policies(json!([owner, more("a b", "ServiceConfig")])),
            400_004,
            "[1].keyName",
        ),
        (
            policies(json!([owner, more(&long, "ServiceConfig")])),
            400_004,
            "[1].keyName",
        ),
        (
            policies(json!([owner, more("more", "")])),
            400_004,
            "[1].rights",
        ),
        (
            policies(json!([owner, more("more", "RegistryRead")])),
            400_004,
            "[1].rights",
        ),
    ];
    for (body, code, words) in table {
        let answer = write_instance(&lab, None, body).await;
        assert_refused(&answer, code, words);
    }
    let many: Vec<Value> = (0..101)
        .map(|n| more(&format!("p-{n}"), "ServiceConfig"))
        .collect();
    let answer = write_instance(&lab, None, policies(json!(many))).await;
    assert_refused(&answer, 400_004, "at most 100");
    let after = manage(&lab, "GET", &instance(), None, None).await;
    assert_eq!(after.body, before.body, "nothing was written");

    // What clients send beside it without meaning to change anything is let through.
    let mut body = before.body.clone();
    body["properties"]["ipFilterRules"] = json!([]);
    body["properties"]["privateEndpointConnections"] = Value::Null;
    body["properties"]["iotHubs"][0]
        .as_object_mut()
        .unwrap()
        .remove("name");
    let answer = write_instance(&lab, None, body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// R-D1, ENDPOINTS 5: what a subscription could have, and no operation that goes on unseen.
#[tokio::test(start_paused = true)]
async fn the_catalogue_says_what_there_is() {
    let lab = Lab::start();
    let list = "/providers/Microsoft.Devices/operations";
    let listed = manage(&lab, "GET", list, None, None).await;
    let names: Vec<_> = listed.body["value"].as_array().unwrap().iter().collect();
    let write = "Microsoft.Devices/provisioningServices/certificates/Write";
    assert!(names.iter().any(|item| item["name"] == write), "{listed:?}");
    let skus = manage(&lab, "GET", &format!("{}/skus", instance()), None, None).await;
    assert_eq!(skus.body, json!({ "value": [{ "name": "S1" }] }));
    let path =
        "/subscriptions/s/providers/Microsoft.Devices/checkProvisioningServiceNameAvailability";
    let check = async |body: Value| manage(&lab, "POST", path, None, Some(body)).await;
    let free = check(json!({ "name": "another-dps" })).await;
    assert_eq!(free.body, json!({ "nameAvailable": true }));
    let taken = check(json!({ "name": "Linarite-DPS" })).await;
    assert_eq!(taken.text("reason"), "AlreadyExists");
    assert_refused(&check(json!({})).await, 400_004, "name: required");
    let result = format!("{}/operationresults/1", instance());
    let none = manage(&lab, "GET", &result, None, None).await;
    assert_refused(&none, 404_000, "No operation 1");
}

/// R-F8: a version is named, JSON is said to be JSON, and a PUT brings what it must.
#[tokio::test(start_paused = true)]
async fn manners_are_asked_of_the_management_api_too() {
    let lab = Lab::start();
    let before = manage(&lab, "GET", &instance(), None, None).await.body;
    let request = |method: &'static str, query: &str| {
        Request::new(
            method,
            "management.azure.com",
            format!("{}{query}", instance()),
        )
        .header("Authorization", "Bearer anything")
    };
    for query in [
        "",
        "?api-version=",
        "?api-version=latest",
        "?api-version=2017-08-21",
    ] {
        let answer = lab.ask(&request("GET", query), None).await;
        assert_refused(&answer, 400_004, "api-version: ");
    }
    let put = request("PUT", "?api-version=2022-02-05").header("Content-Type", "text/plain");
    let put = put.json(before.clone());
    assert_refused(&lab.ask(&put, None).await, 415_000, "Content-Type");
    for missing in ["location", "sku", "properties"] {
        let mut body = before.clone();
        body.as_object_mut().unwrap().remove(missing);
        let answer = manage(&lab, "PUT", &instance(), None, Some(body)).await;
        assert_refused(&answer, 400_004, &format!("{missing}: required"));
    }
    let other = format!("{PROVIDER}/provisioningServices/other");
    let answer = manage(&lab, "PUT", &other, None, Some(before.clone())).await;
    assert_refused(&answer, 501_000, "another provisioning service");
    assert_eq!(
        manage(&lab, "GET", &instance(), None, None).await.body,
        before
    );

    // DPS spells error numbers as numbers from 2022-12-12 on; hubs never do.
    let later = format!("{other}?api-version=2022-12-12");
    let later = Request::new("GET", "management.azure.com", later);
    let answer = lab
        .ask(&later.header("Authorization", "Bearer x"), None)
        .await;
    assert_eq!(
        (answer.status, &answer.body["code"]),
        (404, &json!(404_000))
    );
    let hub = format!("{PROVIDER}/IotHubs/hub-9?api-version=2023-06-30");
    let hub = Request::new("GET", "management.azure.com", hub);
    let answer = lab
        .ask(&hub.header("Authorization", "Bearer x"), None)
        .await;
    assert_eq!(
        (answer.status, &answer.body["code"]),
        (404, &json!("404000"))
    );
}
