//! Queries in pages: each entry once, whatever comes and goes meanwhile (R-F7).

use std::cell::Cell;
use std::collections::BTreeSet;

use linarite_core::sas;
use linarite_core::secret::SymmetricKey;
use proptest::prelude::*;
use serde_json::json;
use tokio::time::{Duration, sleep};

use crate::api::assert_dps_error;
use crate::support::http::{Answer, Connection, Request};
use crate::support::{DPS, Lab, SCOPE};

/// A kind of entry that is created by PUT and listed by a query.
#[derive(Clone, Copy, Debug)]
struct Kind {
    path: &'static str,
    id: &'static str,
}

const INDIVIDUALS: Kind = Kind {
    path: "/enrollments",
    id: "registrationId",
};

const GROUPS: Kind = Kind {
    path: "/enrollmentGroups",
    id: "enrollmentGroupId",
};

impl Kind {
    fn put(self, lab: &Lab, id: &str) -> Request {
        let body = json!({ self.id: id, "attestation": { "type": "symmetricKey" } });
        lab.dps_request("PUT", &format!("{}/{id}", self.path))
            .json(body)
    }

    fn delete(self, lab: &Lab, id: &str) -> Request {
        lab.dps_request("DELETE", &format!("{}/{id}", self.path))
    }

    fn query(self, lab: &Lab, count: usize, token: Option<&str>) -> Request {
        let request = page(lab, &format!("{}/query", self.path), count, token);
        request.json(json!({ "query": "*" }))
    }

    fn ids(self, answer: &Answer) -> Vec<String> {
        assert_eq!(answer.status, 200, "{answer:?}");
        let items = answer.body.as_array().unwrap().iter();
        items
            .map(|item| item[self.id].as_str().unwrap().to_owned())
            .collect()
    }
}

fn page(lab: &Lab, path: &str, count: usize, token: Option<&str>) -> Request {
    let request = lab
        .dps_request("POST", path)
        .header("x-ms-max-item-count", count.to_string());
    match token {
        Some(token) => request.header("x-ms-continuation", token),
        None => request,
    }
}

fn next(answer: &Answer) -> Option<&str> {
    answer.header("x-ms-continuation")
}

async fn done(connection: &mut Connection, request: Request) {
    let answer = connection.ask(&request).await;
    assert!(answer.status < 300, "{answer:?}");
}

/// R-F7.
#[tokio::test(start_paused = true)]
async fn a_query_gives_pages_that_continue_to_the_last() {
    let lab = Lab::start();
    let mut connection = lab.connection(None).await;
    for kind in [INDIVIDUALS, GROUPS] {
        for number in [3, 1, 5, 2, 4] {
            done(&mut connection, kind.put(&lab, &format!("Dev-{number}"))).await;
        }
        let first = connection.ask(&kind.query(&lab, 2, None)).await;
        assert_eq!(kind.ids(&first), ["Dev-1", "Dev-2"]);
        assert_eq!(first.header("x-ms-max-item-count"), Some("2"));
        let item_type = first.header("x-ms-item-type").unwrap();
        assert!(kind.path.ends_with(item_type), "{item_type}");
        let second = kind.query(&lab, 2, next(&first));
        let second = connection.ask(&second).await;
        assert_eq!(kind.ids(&second), ["Dev-3", "Dev-4"]);
        let last = connection.ask(&kind.query(&lab, 2, next(&second))).await;
        assert_eq!(kind.ids(&last), ["Dev-5"]);
        assert_eq!(next(&last), None, "no token after the last");
        // A full page that is the last has none either, and an empty token is none.
        let all = connection.ask(&kind.query(&lab, 5, Some(""))).await;
        assert_eq!((kind.ids(&all).len(), next(&all)), (5, None));
    }
}

/// R-F7: what is not this query's own token is refused by the name of its header.
#[tokio::test(start_paused = true)]
async fn a_page_is_asked_for_in_its_own_words_or_not_at_all() {
    let lab = Lab::start();
    let mut connection = lab.connection(None).await;
    for kind in [INDIVIDUALS, GROUPS] {
        for id in ["a", "b", "c"] {
            done(&mut connection, kind.put(&lab, id)).await;
        }
    }
    let individuals = connection.ask(&INDIVIDUALS.query(&lab, 1, None)).await;
    let mine = next(&individuals).unwrap().to_owned();
    let groups = connection.ask(&GROUPS.query(&lab, 1, None)).await;
    let foreign = next(&groups).unwrap().to_owned();
    let mut forged = mine.clone().into_bytes();
    forged[3] = if forged[3] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    for token in ["1", "a", "b", "!", &forged, &foreign, &mine[1..]] {
        let answer = connection
            .ask(&INDIVIDUALS.query(&lab, 1, Some(token)))
            .await;
        assert_dps_error(&answer, 400_004);
        let message = answer.text("message");
        assert!(message.contains("x-ms-continuation"), "{token}: {message}");
    }
    for count in ["0", "-1", "x", "1.5", "2147483648"] {
        let request = lab
            .dps_request("POST", "/enrollments/query")
            .header("x-ms-max-item-count", count)
            .json(json!({ "query": "*" }));
        let answer = connection.ask(&request).await;
        assert_dps_error(&answer, 400_004);
        let message = answer.text("message");
        assert!(message.contains("x-ms-max-item-count"), "{message}");
    }
    for (kind, text) in [
        (INDIVIDUALS, "SELECT * FROM enrollmentGroups"),
        (GROUPS, "SELECT * FROM enrollments"),
        (
            INDIVIDUALS,
            "SELECT * FROM enrollments WHERE deviceId = 'x'",
        ),
        (INDIVIDUALS, ""),
    ] {
        let request = lab.dps_request("POST", &format!("{}/query", kind.path));
        let answer = connection
            .ask(&request.json(json!({ "query": text })))
            .await;
        assert_dps_error(&answer, 400_004);
        assert!(answer.text("message").starts_with("query: "), "{answer:?}");
    }
    let more = connection
        .ask(&INDIVIDUALS.query(&lab, 5, Some(&mine)))
        .await;
    assert_eq!(
        INDIVIDUALS.ids(&more),
        ["b", "c"],
        "it is good all the same"
    );
}

/// R-F7: others write all the while; what stays is told once, in each of many walks.
#[tokio::test(start_paused = true)]
async fn what_stays_is_listed_once_while_others_come_and_go() {
    let lab = Lab::start();
    for kind in [INDIVIDUALS, GROUPS] {
        let mut connection = lab.connection(None).await;
        for number in 0..40 {
            done(
                &mut connection,
                kind.put(&lab, &format!("stays-{number:02}")),
            )
            .await;
        }
        let (reading, lab) = (&Cell::new(true), &lab);
        let churn = async |suffix: &str| {
            let mut connection = lab.connection(None).await;
            let mut rounds = 0;
            while reading.get() {
                let id = format!("stays-{:02}{suffix}", rounds * 7 % 40);
                done(&mut connection, kind.put(lab, &id)).await;
                done(&mut connection, kind.delete(lab, &id)).await;
                rounds += 1;
            }
            assert!(rounds > 20, "too little came and went: {rounds}");
        };
        let walks = async {
            for count in 1..=5 {
                let mut seen = Vec::new();
                let mut token = None;
                loop {
                    let query = kind.query(lab, count, token.as_deref());
                    let answer = connection.ask(&query).await;
                    seen.extend(kind.ids(&answer));
                    token = next(&answer).map(str::to_owned);
                    if token.is_none() {
                        break;
                    }
                }
                seen.retain(|id| id.len() == "stays-00".len());
                let expected = (0..40).map(|number| format!("stays-{number:02}"));
                assert_eq!(seen, expected.collect::<Vec<_>>());
            }
            reading.set(false);
        };
        tokio::join!(walks, churn("-a"), churn("-b"));
    }
}

fn register(lab: &Lab, group: &SymmetricKey, id: &str) -> Request {
    let key = sas::derive_device_key(group, id);
    let resource = format!("{SCOPE}%2Fregistrations%2F{id}");
    let expiry = lab.env.clock.now().plus(3600);
    let path = format!("/{SCOPE}/registrations/{id}/register?api-version=2021-10-01");
    Request::new("PUT", DPS, path)
        .header("Authorization", sas::sign(&resource, expiry, &key, None))
        .json(json!({ "registrationId": id }))
}

/// R-F7, R-E5: records are listed by their group, which need not exist any more.
#[tokio::test(start_paused = true)]
async fn records_are_listed_by_group_in_pages() {
    let lab = Lab::start();
    let mut connection = lab.connection(None).await;
    let keys = [7, 8].map(|byte| SymmetricKey::from_bytes(&[byte; 32]).unwrap());
    for (name, key) in ["One", "Two"].into_iter().zip(&keys) {
        let keys = json!({ "primaryKey": key.to_base64(), "secondaryKey": key.to_base64() });
        let body = json!({
            "enrollmentGroupId": name,
            "attestation": { "type": "symmetricKey", "symmetricKey": keys },
        });
        let path = format!("/enrollmentGroups/{name}");
        done(&mut connection, lab.dps_request("PUT", &path).json(body)).await;
    }
    for (id, key) in [("d-3", 0), ("d-1", 0), ("d-2", 1), ("d-4", 0), ("d-5", 0)] {
        done(&mut connection, register(&lab, &keys[key], id)).await;
    }
    sleep(Duration::from_secs(3)).await;

    let query = |count, token: Option<&str>| page(&lab, "/registrations/one/query", count, token);
    let first = connection.ask(&query(2, None)).await;
    assert_eq!(INDIVIDUALS.ids(&first), ["d-1", "d-3"]);
    let token = next(&first).unwrap();
    let elsewhere = page(&lab, "/registrations/two/query", 2, Some(token));
    assert_dps_error(&connection.ask(&elsewhere).await, 400_004);
    // Between the pages one goes to the other group, one goes away, and one comes.
    done(&mut connection, register(&lab, &keys[1], "d-4")).await;
    done(&mut connection, register(&lab, &keys[0], "d-6")).await;
    sleep(Duration::from_secs(3)).await;
    let gone = lab.dps_request("DELETE", "/registrations/d-1");
    done(&mut connection, gone).await;
    done(&mut connection, GROUPS.delete(&lab, "One")).await;
    let rest = query(2, Some(token)).json(json!({ "query": "*" }));
    let rest = connection.ask(&rest).await;
    assert_eq!(INDIVIDUALS.ids(&rest), ["d-5", "d-6"]);
    assert_eq!(next(&rest), None);
    let other = page(&lab, "/registrations/two/query", 9, None);
    let other = connection.ask(&other).await;
    assert_eq!(INDIVIDUALS.ids(&other), ["d-2", "d-4"]);
    assert_eq!(other.header("x-ms-item-type"), Some("registrations"));
    let nonsense = query(2, None).json(json!({ "query": "SELECT * FROM devices" }));
    assert_dps_error(&connection.ask(&nonsense).await, 400_004);
}

/// What happens between two pages: an id comes (or is written again), or goes.
type Change = (usize, bool);

const IDS: [&str; 12] = [
    "A", "a-1", "B", "b.b", "c", "c:1", "D", "d_1", "e", "F", "f0", "g",
];

/// Pages through all of `kind` while `changes` happen between the pages.
async fn walk(kind: Kind, present: &BTreeSet<usize>, size: usize, changes: &[Vec<Change>]) {
    let lab = Lab::start();
    let mut connection = lab.connection(None).await;
    for id in present {
        done(&mut connection, kind.put(&lab, IDS[*id])).await;
    }
    let (mut stayed, mut ever, mut now) = (present.clone(), present.clone(), present.clone());
    let mut seen = Vec::new();
    let mut token: Option<String> = None;
    let mut changes = changes.iter();
    loop {
        let query = kind.query(&lab, size, token.as_deref());
        let answer = connection.ask(&query).await;
        let ids = kind.ids(&answer);
        assert!(ids.len() <= size);
        seen.extend(ids);
        token = next(&answer).map(str::to_owned);
        if token.is_none() {
            break;
        }
        for &(id, comes) in changes.next().into_iter().flatten() {
            let name = IDS[id];
            match (comes, now.contains(&id)) {
                (true, true) => {
                    let request = kind.put(&lab, name).header("If-Match", "*");
                    done(&mut connection, request).await;
                }
                (true, false) => done(&mut connection, kind.put(&lab, name)).await,
                (false, true) => done(&mut connection, kind.delete(&lab, name)).await,
                (false, false) => {}
            }
            if comes {
                now.insert(id);
                ever.insert(id);
            } else {
                now.remove(&id);
                stayed.remove(&id);
            }
        }
    }
    let folded: Vec<String> = seen.iter().map(|id| id.to_ascii_lowercase()).collect();
    assert!(folded.is_sorted_by(|one, other| one < other), "{seen:?}");
    for id in stayed {
        assert!(
            seen.iter().any(|seen| seen == IDS[id]),
            "{}: {seen:?}",
            IDS[id]
        );
    }
    for seen in &seen {
        assert!(ever.iter().any(|id| seen == IDS[*id]), "{seen} never was");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    /// R-F7.
    #[test]
    fn each_entry_that_stays_is_given_exactly_once(
        groups in any::<bool>(),
        present in prop::collection::btree_set(0..IDS.len(), 0..=IDS.len()),
        size in 1..5_usize,
        changes in prop::collection::vec(
            prop::collection::vec((0..IDS.len(), any::<bool>()), 0..5),
            0..8,
        ),
    ) {
        let kind = if groups { GROUPS } else { INDIVIDUALS };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(walk(kind, &present, size, &changes));
    }
}
