//! What holds whatever operators and devices do, in whatever order (behaviour K): random walks
//! over DPS and two hubs, with every hub looked at before and after each step.

use std::collections::{BTreeMap, BTreeSet};

use linarite::pki::Credential;
use linarite_core::id::HubHostName;
use linarite_emulator::config::HubConfig;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::support::http::{Answer, Request};
use crate::support::operator::ConnectionString;
use crate::support::{HUB, ISSUER, Lab, ROOT};

const HUB_2: &str = "hub-2.linarite.test";
const HUBS: [&str; 2] = [HUB, HUB_2];
const DEVICES: usize = 2;
/// The last leaf of a device spells its name in capitals.
const LEAVES: usize = 3;

/// A step of a walk.
#[derive(Clone, Debug)]
enum Step {
    Register {
        device: usize,
        leaf: usize,
    },
    PutGroup(Entry),
    PutIndividual {
        device: usize,
        leaf: usize,
        entry: Entry,
    },
    DeleteGroup,
    DeleteIndividual {
        device: usize,
    },
    DeleteCa,
    UploadCa,
    DeleteRecord {
        device: usize,
    },
    /// An operator tags the twin, so that it is told from a fresh one.
    Tag {
        device: usize,
        value: u8,
    },
}

/// What an operator says of an entry.
#[derive(Clone, Debug)]
struct Entry {
    enabled: bool,
    update: bool,
    migrate: bool,
    /// The one hub to go to; any if absent.
    hub: Option<usize>,
}

fn entries() -> impl Strategy<Value = Entry> {
    let hub = proptest::option::of(0..HUBS.len());
    let flags = (
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.8),
    );
    (flags, hub).prop_map(|((enabled, update, migrate), hub)| Entry {
        enabled,
        update,
        migrate,
        hub,
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (device, leaf) = (0..DEVICES, 0..LEAVES);
    let step = prop_oneof![
        6 => (device.clone(), leaf.clone())
            .prop_map(|(device, leaf)| Step::Register { device, leaf }),
        2 => entries().prop_map(Step::PutGroup),
        2 => (device.clone(), leaf, entries())
            .prop_map(|(device, leaf, entry)| Step::PutIndividual { device, leaf, entry }),
        1 => Just(Step::DeleteGroup),
        1 => device.clone().prop_map(|device| Step::DeleteIndividual { device }),
        1 => Just(Step::DeleteCa),
        2 => Just(Step::UploadCa),
        1 => device.clone().prop_map(|device| Step::DeleteRecord { device }),
        2 => (device, any::<u8>()).prop_map(|(device, value)| Step::Tag { device, value }),
    ];
    prop::collection::vec(step, 1..24)
}

/// The identities and twins of both hubs, by hub and device.
type Hubs = BTreeMap<(usize, String), (Value, Value)>;

/// A walk under way.
struct Walk {
    lab: Lab,
    leaves: Vec<Vec<Credential>>,
    /// Devices whose record an operator deleted: their old identity may remain beside a new one.
    forgotten: BTreeSet<usize>,
    /// How entries treat devices that come back.
    policies: BTreeMap<String, Entry>,
    assigned: usize,
    kept: usize,
}

impl Walk {
    async fn begin() -> Self {
        let lab = Lab::with(|config| {
            config.hubs.push(HubConfig {
                host: HubHostName::parse(HUB_2).unwrap(),
                ..config.hubs[0].clone()
            });
        });
        let leaf = |device: usize, number: usize| {
            let name = format!("dev-{device}");
            let name = if number == LEAVES - 1 {
                name.to_uppercase()
            } else {
                name
            };
            lab.leaf(&name, u32::try_from(number).unwrap(), 30)
        };
        let leaves = (0..DEVICES)
            .map(|device| (0..LEAVES).map(|number| leaf(device, number)).collect())
            .collect();
        lab.upload_ca(ROOT).await;
        Self {
            lab,
            leaves,
            forgotten: BTreeSet::new(),
            policies: BTreeMap::new(),
            assigned: 0,
            kept: 0,
        }
    }

    async fn ask_hub(
        &self,
        hub: usize,
        method: &'static str,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let (host, text) = self.lab.emulator.hub_connection_strings().swap_remove(hub);
        let token = ConnectionString::parse(&text).token(self.lab.now() + 600);
        let mut request = Request::new(method, &host, format!("{path}?api-version=2021-04-12"))
            .header("Authorization", token);
        request.body = body;
        self.lab.ask(&request, None).await
    }

    /// What is at the hubs.
    async fn hubs(&self) -> Hubs {
        let mut hubs = Hubs::new();
        for hub in 0..HUBS.len() {
            let devices = self.ask_hub(hub, "GET", "/devices", None).await.body;
            for mut device in devices.as_array().unwrap().clone() {
                let id = device["deviceId"].as_str().unwrap().to_owned();
                let twin = self
                    .ask_hub(hub, "GET", &format!("/twins/{id}"), None)
                    .await;
                // Moments and states of the connection are no part of an identity.
                device.as_object_mut().unwrap().remove("lastActivityTime");
                let content = json!([twin.body["tags"], twin.body["properties"]]);
                hubs.insert((hub, id), (device, content));
            }
        }
        hubs
    }

    async fn put_entry(&mut self, path: String, mut body: Value, entry: &Entry) -> Answer {
        body["provisioningStatus"] = if entry.enabled { "enabled" } else { "disabled" }.into();
        body["reprovisionPolicy"] = json!({
            "updateHubAssignment": entry.update,
            "migrateDeviceData": entry.migrate,
        });
        if let Some(hub) = entry.hub {
            body["iotHubs"] = json!([HUBS[hub]]);
        }
        let before = self.lab.dps("GET", &path, None, None).await;
        let exists = before.status == 200;
        // K.7: a stale etag writes nothing.
        let stale = self
            .lab
            .dps("PUT", &path, Some("\"stale\""), Some(body.clone()))
            .await;
        assert_eq!(stale.status, 412, "{stale:?}");
        let untouched = self.lab.dps("GET", &path, None, None).await;
        assert_eq!(untouched.status, before.status, "K.7");
        if exists {
            assert_eq!(untouched.body, before.body, "K.7");
        }
        let answer = self
            .lab
            .dps("PUT", &path, exists.then_some("*"), Some(body))
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_ne!(answer.body["etag"], before.body["etag"], "K.7");
        self.policies.insert(path, entry.clone());
        answer
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Register { device, leaf } => {
                let credential = self.leaves[*device][*leaf].clone();
                self.register(*device, &credential).await;
            }
            Step::PutGroup(entry) => {
                let slot = json!({ "certificate": self.lab.pki.certificate_pem(ISSUER).unwrap() });
                let x509 = json!({ "signingCertificates": { "primary": slot } });
                let body = json!({
                    "enrollmentGroupId": "fleet",
                    "attestation": { "type": "x509", "x509": x509 },
                });
                self.put_entry("/enrollmentGroups/fleet".to_owned(), body, entry)
                    .await;
            }
            Step::PutIndividual {
                device,
                leaf,
                entry,
            } => {
                let path = format!("/enrollments/dev-{device}");
                let slot = json!({ "certificate": self.leaves[*device][*leaf].leaf_pem() });
                let x509 = json!({ "clientCertificates": { "primary": slot } });
                let body = json!({
                    "registrationId": format!("dev-{device}"),
                    "attestation": { "type": "x509", "x509": x509 },
                });
                self.put_entry(path, body, entry).await;
            }
            Step::DeleteGroup => self.delete("/enrollmentGroups/fleet".to_owned()).await,
            Step::DeleteIndividual { device } => {
                self.delete(format!("/enrollments/dev-{device}")).await;
            }
            Step::DeleteCa => {
                let request = self
                    .lab
                    .ca_request("DELETE", ROOT, "")
                    .header("If-Match", "*");
                let status = self.lab.ask(&request, None).await.status;
                assert!([204, 404].contains(&status), "{status}");
            }
            Step::UploadCa => self.lab.upload_ca(ROOT).await,
            Step::DeleteRecord { device } => {
                self.delete(format!("/registrations/dev-{device}")).await;
                self.forgotten.insert(*device);
            }
            Step::Tag { device, value } => {
                for ((hub, id), _) in self.hubs().await {
                    if id.eq_ignore_ascii_case(&format!("dev-{device}")) {
                        let body = Some(json!({ "tags": { "value": value } }));
                        let answer = self
                            .ask_hub(hub, "PATCH", &format!("/twins/{id}"), body)
                            .await;
                        assert_eq!(answer.status, 200, "{answer:?}");
                    }
                }
            }
        }
    }

    async fn delete(&mut self, path: String) {
        let status = self.lab.dps("DELETE", &path, None, None).await.status;
        assert!([204, 404].contains(&status), "{path}: {status}");
        self.policies.remove(&path);
    }

    /// The record of a device, if there is one.
    async fn record(&self, device: usize) -> Option<Value> {
        let path = format!("/registrations/dev-{device}");
        let answer = self.lab.dps("GET", &path, None, None).await;
        (answer.status == 200).then_some(answer.body)
    }

    async fn register(&mut self, device: usize, credential: &Credential) {
        let past = self.record(device).await;
        let before = self.hubs().await;
        let outcome = self.lab.register(credential).await.outcome();
        let after = self.hubs().await;
        if outcome != "assigned" {
            assert_eq!(after, before, "{outcome}, and yet the hubs are others");
            return;
        }
        self.assigned += 1;
        let record = self.record(device).await.unwrap();
        let place = |record: &Value| {
            let host = record["assignedHub"].as_str()?;
            let hub = HUBS.iter().position(|known| *known == host)?;
            Some((hub, record["deviceId"].as_str()?.to_owned()))
        };
        let now = place(&record).unwrap();
        let past = past.as_ref().and_then(place);
        let individual = self.policies.get(&format!("/enrollments/dev-{device}"));
        let entry = individual.or_else(|| self.policies.get("/enrollmentGroups/fleet"));
        // K.10; the policy that resets the twin is another matter (R-C5).
        let keeps = entry.is_some_and(|entry| entry.migrate || !entry.update);
        if keeps && past.as_ref() == Some(&now) {
            let ((identity, twin), (identity_before, twin_before)) = (&after[&now], &before[&now]);
            assert_eq!(twin, twin_before, "K.10");
            assert_eq!(
                identity["generationId"], identity_before["generationId"],
                "K.10"
            );
            self.kept += 1;
        }
        // What happens to one device happens to no other.
        let others = |hubs: &Hubs| {
            let mut hubs = hubs.clone();
            hubs.retain(|(_, id), _| !id.eq_ignore_ascii_case(credential.common_name()));
            hubs
        };
        assert_eq!(others(&after), others(&before));
    }

    /// K.4: an id has one record, and one identity that the record knows.
    async fn check_identities(&self) {
        let hubs = self.hubs().await;
        for device in 0..DEVICES {
            let name = format!("dev-{device}");
            let found = hubs.keys().filter(|(_, id)| id.eq_ignore_ascii_case(&name));
            let found: Vec<_> = found.collect();
            if !self.forgotten.contains(&device) {
                assert!(found.len() <= 1, "K.4: {found:?}");
            }
            let Some(record) = self.record(device).await else {
                continue;
            };
            let shouted = format!("/registrations/{}", name.to_uppercase());
            let shouted = self.lab.dps("GET", &shouted, None, None).await;
            assert_eq!(shouted.body, record, "K.4: one record in any case");
            if record["status"] == "assigned" {
                let known = |(hub, id): &&(usize, String)| {
                    record["assignedHub"] == HUBS[*hub] && record["deviceId"] == **id
                };
                let known = found.iter().filter(|place| known(place)).count();
                assert_eq!(known, 1, "K.4: {record} of {found:?}");
            }
        }
    }
}

/// Takes the steps; gives how many registrations were assigned, and how many kept their twin.
async fn walk(steps: &[Step]) -> (usize, usize) {
    let mut walk = Walk::begin().await;
    for step in steps {
        let before = walk.hubs().await;
        walk.take(step).await;
        if !matches!(step, Step::Register { .. } | Step::Tag { .. }) {
            assert_eq!(
                walk.hubs().await,
                before,
                "K.6: {step:?} is no matter of hubs"
            );
        }
        walk.check_identities().await;
    }
    (walk.assigned, walk.kept)
}

/// K.4, K.6, K.7, K.10, R-A28, R-C1, R-C4, R-E1.
#[test]
fn records_and_identities_stay_in_step_on_every_walk() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let mut runner = TestRunner::new_with_rng(
        Config {
            failure_persistence: None,
            ..Config::with_cases(16)
        },
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let counted = std::cell::Cell::new((0, 0));
    let walked = runner.run(&steps(), |steps| {
        let (assigned, kept) = runtime.block_on(walk(&steps));
        let (all_assigned, all_kept) = counted.get();
        counted.set((all_assigned + assigned, all_kept + kept));
        Ok(())
    });
    walked.unwrap();
    let (assigned, kept) = counted.get();
    assert!(
        assigned >= 10 && kept >= 3,
        "{assigned} assigned, {kept} kept: too idle a walk"
    );
}
