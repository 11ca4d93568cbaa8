//! Bulk operations on enrollments and groups (R-F6, K.8).

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::api::assert_dps_error;
use crate::support::Lab;
use crate::support::http::Answer;

/// One of the two kinds of entry.
#[derive(Clone, Copy, Debug)]
struct Kind {
    path: &'static str,
    items: &'static str,
    id: &'static str,
    missing: u64,
}

const INDIVIDUALS: Kind = Kind {
    path: "/enrollments",
    items: "enrollments",
    id: "registrationId",
    missing: 404_201,
};

const GROUPS: Kind = Kind {
    path: "/enrollmentGroups",
    items: "enrollmentGroups",
    id: "enrollmentGroupId",
    missing: 404_202,
};

impl Kind {
    fn item(self, id: &str, status: &str) -> Value {
        json!({
            self.id: id,
            "attestation": { "type": "symmetricKey" },
            "provisioningStatus": status,
        })
    }

    async fn bulk(self, lab: &Lab, mode: &str, items: &[Value]) -> Answer {
        let body = json!({ "mode": mode, self.items: items });
        lab.dps("POST", self.path, None, Some(body)).await
    }

    async fn get(self, lab: &Lab, id: &str) -> Answer {
        let path = format!("{}/{id}", self.path);
        lab.dps("GET", &path, None, None).await
    }

    /// The bulk answer says that this one item failed, with this number.
    fn assert_failed(self, answer: &Answer, id: &str, code: u64) {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.body["isSuccessful"], false, "{answer:?}");
        let errors = answer.body["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{answer:?}");
        assert_eq!(errors[0][self.id], id, "{answer:?}");
        assert_eq!(errors[0]["errorCode"], code, "{answer:?}");
        assert!(!errors[0]["errorStatus"].as_str().unwrap().is_empty());
    }
}

fn with_etag(mut item: Value, etag: &str) -> Value {
    item["etag"] = etag.into();
    item
}

/// R-F6, R-F2: an item that fails in the middle stops neither those before nor those after it.
#[tokio::test(start_paused = true)]
async fn every_mode_does_the_items_around_one_that_fails() {
    let lab = Lab::start();
    for kind in [INDIVIDUALS, GROUPS] {
        let alone = kind
            .bulk(&lab, "create", &[kind.item("b", "enabled")])
            .await;
        assert_eq!(alone.body, json!({ "isSuccessful": true, "errors": [] }));
        let items = ["a", "b", "c"].map(|id| kind.item(id, "enabled"));
        let created = kind.bulk(&lab, "create", &items).await;
        kind.assert_failed(&created, "b", 409_000);

        let items = ["a", "nobody", "c"].map(|id| kind.item(id, "disabled"));
        let updated = kind.bulk(&lab, "update", &items).await;
        kind.assert_failed(&updated, "nobody", 412_000);
        let (a, b, c) = (
            kind.get(&lab, "a").await,
            kind.get(&lab, "b").await,
            kind.get(&lab, "c").await,
        );
        let status = [&a, &b, &c].map(|answer| answer.text("provisioningStatus"));
        assert_eq!(status, ["disabled", "enabled", "disabled"]);

        let items = [
            with_etag(kind.item("a", "enabled"), a.text("etag")),
            with_etag(kind.item("b", "disabled"), a.text("etag")),
            with_etag(kind.item("c", "enabled"), c.text("etag")),
        ];
        let matched = kind.bulk(&lab, "updateIfMatchETag", &items).await;
        kind.assert_failed(&matched, "b", 412_000);
        for (id, before) in [("a", &a), ("c", &c)] {
            let after = kind.get(&lab, id).await;
            assert_eq!(after.text("provisioningStatus"), "enabled");
            assert_ne!(after.text("etag"), before.text("etag"));
        }
        assert_eq!(kind.get(&lab, "b").await.body, b.body, "K.7: not written");
        // The type of Node's client spells the mode so.
        let without = [kind.item("b", "disabled")];
        let without = kind.bulk(&lab, "updateIfMatchEtag", &without).await;
        kind.assert_failed(&without, "b", 400_004);

        let items = ["a", "nobody", "c"].map(|id| json!({ kind.id: id }));
        let deleted = kind.bulk(&lab, "delete", &items).await;
        kind.assert_failed(&deleted, "nobody", kind.missing);
        for (id, status) in [("a", 404), ("b", 200), ("c", 404)] {
            assert_eq!(kind.get(&lab, id).await.status, status, "{id}");
        }
    }
}

/// R-F6.
#[tokio::test(start_paused = true)]
async fn a_bulk_operation_takes_one_to_ten_items() {
    let lab = Lab::start();
    for kind in [INDIVIDUALS, GROUPS] {
        let items: Vec<Value> = (0..11)
            .map(|number| kind.item(&format!("dev-{number}"), "enabled"))
            .collect();
        for wrong in [&items[..], &[]] {
            let refused = kind.bulk(&lab, "create", wrong).await;
            assert_dps_error(&refused, 400_004);
            assert!(refused.text("message").contains(kind.items), "{refused:?}");
        }
        assert_eq!(kind.get(&lab, "dev-0").await.status, 404, "nothing written");
        let created = kind.bulk(&lab, "create", &items[..10]).await;
        assert_eq!(created.body, json!({ "isSuccessful": true, "errors": [] }));
        assert_eq!(kind.get(&lab, "dev-9").await.status, 200);

        for mode in ["upsert", "Create", ""] {
            let refused = kind.bulk(&lab, mode, &items[..1]).await;
            assert_dps_error(&refused, 400_004);
            assert!(refused.text("message").contains("mode"), "{refused:?}");
        }
    }
}

/// R-F6: what makes no sense as an item is that item's failure.
#[tokio::test(start_paused = true)]
async fn an_item_that_is_not_readable_fails_alone() {
    let lab = Lab::start();
    let kind = INDIVIDUALS;
    let table = [
        (json!("dev-2"), "", 400_004),
        (
            json!({ "attestation": { "type": "symmetricKey" } }),
            "",
            400_004,
        ),
        (json!({ "registrationId": "-" }), "-", 400_004),
        (json!({ "registrationId": "dev-2" }), "dev-2", 400_004),
        (
            json!({ "registrationId": "dev-2", "attestation": { "type": "tpm" } }),
            "dev-2",
            400_004,
        ),
    ];
    for (item, id, code) in table {
        let items = [
            kind.item("dev-1", "enabled"),
            item,
            kind.item("dev-3", "enabled"),
        ];
        let created = kind.bulk(&lab, "create", &items).await;
        kind.assert_failed(&created, id, code);
        let ids = ["dev-1", "dev-3"].map(|id| json!({ "registrationId": id }));
        let deleted = kind.bulk(&lab, "delete", &ids).await;
        assert_eq!(deleted.body["isSuccessful"], true, "{deleted:?}");
    }
}

/// A random item: whose, what it says, and which etag it carries.
#[derive(Clone, Debug)]
struct Draft {
    id: usize,
    status: &'static str,
    etag: Tag,
}

#[derive(Clone, Copy, Debug)]
enum Tag {
    Absent,
    Fresh,
    Star,
    Stale,
}

const IDS: [&str; 4] = ["a", "A", "b", "c"];
const MODES: [&str; 4] = ["create", "update", "updateIfMatchETag", "delete"];

fn draft() -> impl Strategy<Value = Draft> {
    let status = prop::sample::select(vec!["enabled", "disabled", "maybe"]);
    let tags = vec![Tag::Absent, Tag::Fresh, Tag::Star, Tag::Stale];
    let drawn = (0..IDS.len(), status, prop::sample::select(tags));
    drawn.prop_map(|(id, status, etag)| Draft { id, status, etag })
}

/// The items the drafts stand for, given what the service holds.
async fn written(lab: &Lab, kind: Kind, drafts: &[Draft]) -> Vec<Value> {
    let mut items = Vec::new();
    for draft in drafts {
        let id = IDS[draft.id];
        let item = kind.item(id, draft.status);
        let held = kind.get(lab, id).await;
        items.push(match draft.etag {
            Tag::Absent => item,
            Tag::Fresh if held.status == 200 => with_etag(item, held.text("etag")),
            Tag::Fresh | Tag::Stale => with_etag(item, "\"stale\""),
            Tag::Star => with_etag(item, "*"),
        });
    }
    items
}

/// Id and number of each item that fails when every item is a call of its own.
async fn singly(lab: &Lab, kind: Kind, mode: &str, items: &[Value]) -> Vec<(Value, Value)> {
    let mut errors = Vec::new();
    for item in items {
        let id = item[kind.id].clone();
        let (method, if_match) = match mode {
            "create" => ("PUT", None),
            "update" => ("PUT", Some("*")),
            "updateIfMatchETag" => match item["etag"].as_str() {
                Some(etag) => ("PUT", Some(etag)),
                // No single call says this: it would be a creation.
                None => {
                    errors.push((id, 400_004.into()));
                    continue;
                }
            },
            _ => ("DELETE", None),
        };
        let path = format!("{}/{}", kind.path, id.as_str().unwrap());
        let body = (method == "PUT").then(|| item.clone());
        let answer = lab.dps(method, &path, if_match, body).await;
        if answer.status >= 400 {
            errors.push((id, answer.body["errorCode"].clone()));
        }
    }
    errors
}

/// Everything of that kind the service holds, but for the moments.
async fn held(lab: &Lab, kind: Kind) -> Value {
    let query = json!({ "query": format!("SELECT * FROM {}", kind.items) });
    let path = format!("{}/query", kind.path);
    let mut all = lab.dps("POST", &path, None, Some(query)).await.body;
    for entry in all.as_array_mut().unwrap() {
        let entry = entry.as_object_mut().unwrap();
        entry.retain(|member, _| !member.ends_with("DateTimeUtc"));
    }
    all
}

/// One emulator gets the items at once, its twin one after the other.
async fn compare(kind: Kind, mode: &str, present: &[usize], drafts: &[Draft]) {
    let (lab, twin) = (Lab::start(), Lab::start());
    for id in present {
        let item = kind.item(IDS[*id], "enabled");
        for lab in [&lab, &twin] {
            kind.bulk(lab, "create", std::slice::from_ref(&item)).await;
        }
    }
    let items = written(&lab, kind, drafts).await;
    let answer = kind.bulk(&lab, mode, &items).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = answer.body["errors"].as_array().unwrap().iter();
    let told: Vec<_> = told
        .map(|error| (error[kind.id].clone(), error["errorCode"].clone()))
        .collect();
    assert_eq!(told, singly(&twin, kind, mode, &items).await, "{items:?}");
    assert_eq!(answer.body["isSuccessful"], told.is_empty());
    assert_eq!(held(&lab, kind).await, held(&twin, kind).await, "{items:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    /// K.8; the etags agree too, for both emulators have the same seed.
    #[test]
    fn a_bulk_operation_is_as_many_single_calls_in_order(
        group in any::<bool>(),
        mode in prop::sample::select(MODES.to_vec()),
        present in prop::collection::vec(0..IDS.len(), 0..4),
        drafts in prop::collection::vec(draft(), 1..=6),
    ) {
        let kind = if group { GROUPS } else { INDIVIDUALS };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(compare(kind, mode, &present, &drafts));
    }
}
