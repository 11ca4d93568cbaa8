//! What holds after every call, whatever was called before (behaviour K), by random histories.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use linarite_core::sas;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::api_rules::{key, keys, register, token};
use crate::support::Lab;
use crate::support::http::{Answer, Connection, Request};

fn run(history: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(history);
}

/// A laboratory whose registrations end at once, and one connection to it.
async fn stage() -> (Lab, Connection) {
    let lab = Lab::with(|config| config.assignment_latency = Duration::ZERO);
    let connection = lab.connection(None).await;
    (lab, connection)
}

fn with_etag(request: Request, etag: Option<&str>) -> Request {
    match etag {
        Some(etag) => request.header("If-Match", etag),
        None => request,
    }
}

// === etags ===

/// Which `If-Match` goes with a write.
#[derive(Clone, Copy, Debug)]
enum Match {
    None,
    Star,
    Fresh,
    Stale,
}

#[derive(Clone, Debug)]
struct Write {
    group: bool,
    id: usize,
    delete: bool,
    valid: bool,
    condition: Match,
}

const IDS: [&str; 4] = ["a", "A", "b", "c.d"];

fn write() -> impl Strategy<Value = Write> {
    let conditions = vec![Match::None, Match::Star, Match::Fresh, Match::Stale];
    let condition = prop::sample::select(conditions);
    let bits = (
        any::<bool>(),
        prop::bool::weighted(0.25),
        prop::bool::weighted(0.8),
    );
    (bits, 0..IDS.len(), condition).prop_map(|((group, delete, valid), id, condition)| Write {
        group,
        id,
        delete,
        valid,
        condition,
    })
}

fn read(lab: &Lab, path: &str) -> Request {
    lab.dps_request("GET", path)
}

/// Carries out each write, and checks it against a list of what there is.
async fn write_all(writes: &[Write]) {
    let (lab, mut connection) = stage().await;
    let mut held: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for write in writes {
        let (collection, name) = if write.group {
            ("/enrollmentGroups", "enrollmentGroupId")
        } else {
            ("/enrollments", "registrationId")
        };
        let id = IDS[write.id];
        let path = format!("{collection}/{id}");
        let place = format!("{collection}/{}", id.to_ascii_lowercase());
        let before = connection.ask(&read(&lab, &path)).await;
        let etags = held.entry(place).or_default();
        let current = (before.status == 200).then(|| before.text("etag").to_owned());
        let condition = match write.condition {
            Match::None => None,
            Match::Star => Some("*".to_owned()),
            Match::Fresh => current.clone(),
            Match::Stale => etags
                .iter()
                .rfind(|etag| Some(*etag) != current.as_ref())
                .cloned(),
        };
        let mut request = if write.delete {
            lab.dps_request("DELETE", &path)
        } else {
            let kind = if write.valid { "symmetricKey" } else { "card" };
            let body = json!({ name: id, "attestation": { "type": kind } });
            lab.dps_request("PUT", &path).json(body)
        };
        request = with_etag(request, condition.as_deref());
        let answer = connection.ask(&request).await;
        let after = connection.ask(&read(&lab, &path)).await;

        let matches = match (&condition, &current) {
            (None, None) => !write.delete,
            (None, Some(_)) => write.delete,
            (Some(_), None) => false,
            (Some(wanted), Some(current)) => wanted == "*" || wanted == current,
        };
        let expected = matches && (write.delete || write.valid);
        assert_eq!(answer.status < 300, expected, "{write:?}: {answer:?}");
        if !expected {
            assert_eq!(after.body["etag"], before.body["etag"], "{write:?}");
            assert_eq!(after.status, before.status, "{write:?}");
        } else if write.delete {
            assert_eq!(after.status, 404, "{write:?}");
        } else {
            let etag = after.text("etag").to_owned();
            assert_eq!(answer.text("etag"), etag);
            assert!(!etags.contains(&etag), "an etag of old: {write:?}");
            etags.push(etag);
        }
    }
}

// === registrations ===

/// One step in the life of a fleet of two devices, each of which spells its id in two ways.
#[derive(Clone, Debug)]
enum Step {
    Register(usize),
    DeleteRecord(usize),
    /// Replaces the group: its status, the initial twin's content, an Edge capability.
    EditGroup(bool, u8, bool),
    /// Writes an individual entry with the device's own key, or removes it.
    Individual(usize, Option<bool>),
    PatchTwin(usize, u8),
}

const DEVICES: [&str; 4] = ["dev-1", "DEV-1", "dev-2", "Dev-2"];

fn step() -> impl Strategy<Value = Step> {
    let device = 0..DEVICES.len();
    prop_oneof![
        4 => device.clone().prop_map(Step::Register),
        1 => device.clone().prop_map(Step::DeleteRecord),
        2 => (prop::bool::weighted(0.8), 0..3_u8, any::<bool>())
            .prop_map(|(enabled, twin, edge)| Step::EditGroup(enabled, twin, edge)),
        2 => (device.clone(), prop::option::weighted(0.7, prop::bool::weighted(0.8)))
            .prop_map(|(device, entry)| Step::Individual(device, entry)),
        2 => (device, 0..3_u8).prop_map(|(device, value)| Step::PatchTwin(device, value)),
    ]
}

/// What the hub holds: each identity and its twin, but for what a new credential changes.
async fn hub_state(lab: &Lab, connection: &mut Connection) -> BTreeMap<String, (Value, Value)> {
    let listed = connection.ask(&lab.hub_request("GET", "/devices")).await;
    let mut state = BTreeMap::new();
    for identity in listed.body.as_array().unwrap() {
        let id = identity["deviceId"].as_str().unwrap().to_owned();
        let twin = lab.hub_request("GET", &format!("/twins/{id}"));
        let twin = connection.ask(&twin).await.body;
        state.insert(id, (identity.clone(), twin));
    }
    state
}

fn status_of(enabled: bool) -> &'static str {
    if enabled { "enabled" } else { "disabled" }
}

fn group(enabled: bool, twin: u8, edge: bool) -> Value {
    json!({
        "enrollmentGroupId": "fleet",
        "attestation": keys(&key(1)),
        "provisioningStatus": status_of(enabled),
        "capabilities": { "iotEdge": edge },
        "initialTwin": { "tags": { "t": twin }, "properties": { "desired": { "d": twin } } },
    })
}

struct Fleet {
    lab: Lab,
    connection: Connection,
    /// Devices with an entry of their own, lower-cased.
    own: BTreeSet<String>,
    /// Whether a record was ever deleted: its identity stays and is nobody's any more.
    orphans: bool,
}

impl Fleet {
    async fn new() -> Self {
        let (lab, connection) = stage().await;
        let mut fleet = Self {
            lab,
            connection,
            own: BTreeSet::new(),
            orphans: false,
        };
        fleet
            .put("/enrollmentGroups/fleet", group(true, 0, false))
            .await;
        fleet
    }

    async fn ask(&mut self, method: &'static str, path: &str) -> Answer {
        let request = self.lab.dps_request(method, path);
        self.connection.ask(&request).await
    }

    async fn put(&mut self, path: &str, body: Value) {
        let exists = self.ask("GET", path).await.status == 200;
        let request = self.lab.dps_request("PUT", path).json(body);
        let request = with_etag(request, exists.then_some("*"));
        let answer = self.connection.ask(&request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Registers with the key that the device has: its entry's, if it has one.
    async fn register(&mut self, id: &str) -> u16 {
        let key = if self.own.contains(&id.to_ascii_lowercase()) {
            key(2)
        } else {
            sas::derive_device_key(&key(1), id)
        };
        let token = token(&self.lab, id, &key);
        let request = register(id).header("Authorization", token);
        self.connection.ask(&request).await.status
    }

    async fn take(&mut self, step: &Step) {
        let before = hub_state(&self.lab, &mut self.connection).await;
        match *step {
            Step::Register(device) => {
                let id = DEVICES[device];
                let known = self.ask("GET", &format!("/registrations/{id}")).await;
                assert_eq!(self.register(id).await, 202, "{step:?}");
                let record = self.ask("GET", &format!("/registrations/{id}")).await;
                self.check_registered(id, &before, &known, &record).await;
            }
            Step::DeleteRecord(device) => {
                let path = format!("/registrations/{}", DEVICES[device]);
                self.orphans |= self.ask("DELETE", &path).await.status == 204;
                self.check_hub_unchanged(&before, step).await;
            }
            Step::EditGroup(enabled, twin, edge) => {
                self.put("/enrollmentGroups/fleet", group(enabled, twin, edge))
                    .await;
                self.check_hub_unchanged(&before, step).await;
            }
            Step::Individual(device, entry) => {
                let id = DEVICES[device];
                let path = format!("/enrollments/{id}");
                match entry {
                    None => {
                        self.ask("DELETE", &path).await;
                        self.own.remove(&id.to_ascii_lowercase());
                    }
                    Some(enabled) => {
                        let body = json!({
                            "registrationId": id,
                            "attestation": keys(&key(2)),
                            "provisioningStatus": status_of(enabled),
                        });
                        self.put(&path, body).await;
                        self.own.insert(id.to_ascii_lowercase());
                    }
                }
                self.check_hub_unchanged(&before, step).await;
            }
            Step::PatchTwin(device, value) => {
                if let Some(id) = before.keys().nth(device) {
                    let path = format!("/twins/{id}");
                    let body = json!({ "properties": { "desired": { "p": value } } });
                    let request = self.lab.hub_request("PATCH", &path).json(body);
                    assert_eq!(self.connection.ask(&request).await.status, 200);
                }
            }
        }
        self.check_one_of_each().await;
    }

    /// K.6.
    async fn check_hub_unchanged(
        &mut self,
        before: &BTreeMap<String, (Value, Value)>,
        step: &Step,
    ) {
        let after = hub_state(&self.lab, &mut self.connection).await;
        assert_eq!(*before, after, "{step:?}");
    }

    /// K.10: on the same hub a device that was assigned finds its twin and generation as it left
    /// them; other devices notice nothing.
    async fn check_registered(
        &mut self,
        id: &str,
        before: &BTreeMap<String, (Value, Value)>,
        known: &Answer,
        record: &Answer,
    ) {
        let after = hub_state(&self.lab, &mut self.connection).await;
        let was_assigned = known.body["status"] == "assigned";
        for (device, (identity, twin)) in before {
            let (identity_now, twin_now) = &after[device];
            assert_eq!(identity["generationId"], identity_now["generationId"]);
            for section in ["tags", "properties"] {
                assert_eq!(twin[section], twin_now[section], "{device}");
            }
            if !device.eq_ignore_ascii_case(id) {
                assert_eq!(identity, identity_now);
            }
        }
        let assigned = record.body["status"] == "assigned";
        if was_assigned && assigned {
            assert_eq!(before.len(), after.len(), "no second identity");
            for member in ["deviceId", "assignedHub", "registrationId"] {
                assert_eq!(known.body[member], record.body[member]);
            }
            assert_eq!(record.body["substatus"], "reprovisionedToInitialAssignment");
        }
        if !assigned {
            assert_eq!(record.body["status"], "disabled", "{record:?}");
            assert_eq!(*before, after, "a disabled entry changes no identity");
        }
    }

    /// K.4: one record for each id in whatever case, and its identity at the hub.
    async fn check_one_of_each(&mut self) {
        let after = hub_state(&self.lab, &mut self.connection).await;
        for pair in DEVICES.chunks(2) {
            let mut records = Vec::new();
            for id in pair {
                let path = format!("/registrations/{id}");
                records.push(self.ask("GET", &path).await.body);
            }
            if records[0]["registrationId"].is_string() {
                assert_eq!(records[0], records[1]);
            }
            if let Some(device) = records[0]["deviceId"].as_str() {
                assert!(after.contains_key(device), "{device} is not at the hub");
            }
            let same = after.keys().filter(|id| id.eq_ignore_ascii_case(pair[0]));
            assert!(self.orphans || same.count() <= 1, "{:?}", after.keys());
        }
        let listed = self.ask("POST", "/registrations/fleet/query").await;
        let mut ids = BTreeSet::new();
        for record in listed.body.as_array().unwrap() {
            let id = record["registrationId"].as_str().unwrap();
            assert!(ids.insert(id.to_ascii_lowercase()), "{id} twice");
        }
    }
}

async fn live(steps: &[Step]) {
    let mut fleet = Fleet::new().await;
    for step in steps {
        fleet.take(step).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    /// K.7, R-F1, R-F2: an etag changes on every write and only then, and a stale one never
    /// writes.
    #[test]
    fn an_etag_changes_on_every_write_and_only_then(
        writes in prop::collection::vec(write(), 1..24),
    ) {
        run(write_all(&writes));
    }

    /// K.4, K.6, K.10, R-A3, R-A28, R-C4.
    #[test]
    fn registering_and_editing_keep_records_and_identities_apart(
        steps in prop::collection::vec(step(), 1..16),
    ) {
        run(live(&steps));
    }
}
