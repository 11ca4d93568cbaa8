//! Tables of queries: what they read as, what they find, and where they go wrong.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::limits::QUERY_GROUPS_MAX;

mod arbitrary;
mod refusals;

/// A twin as the service API shows it.
fn twin() -> Value {
    json!({
        "deviceId": "dev-1",
        "status": "enabled",
        "statusUpdateTime": "2026-01-02T03:04:05Z",
        "connectionState": "Connected",
        "lastActivityTime": "2026-01-02T03:04:05.6Z",
        "cloudToDeviceMessageCount": 0,
        "capabilities": { "iotEdge": false },
        "x509Thumbprint": { "primaryThumbprint": null, "secondaryThumbprint": null },
        "version": 7,
        "tags": {
            "site": "munich", "group": 2, "floor": 3, "empty": null, "on": true,
            "my name": 1, "a-b": 1, "list": [10, { "x": "y" }], "it's": "O'Brien \\ \"é\"",
            "deep": { "Site": "upper", "site": "lower" },
        },
        "properties": {
            "desired": { "interval": 300, "$version": 4, "$metadata": { "$lastUpdated": "t" } },
            "reported": { "interval": 60.5, "fw": "1.2", "cfg": { "a": 1 }, "$version": 9 },
        },
    })
}

fn holds_in(condition: &str, document: &Value) -> bool {
    let text = format!("SELECT * FROM devices WHERE {condition}");
    let query = Query::parse(&text).unwrap_or_else(|error| panic!("{condition}: {error}"));
    let printed = query.to_string();
    assert_eq!(Query::parse(&printed).as_ref(), Ok(&query), "{printed}");
    query.matches(document)
}

fn check(table: &[(&str, bool)]) {
    for (condition, holds) in table {
        assert_eq!(holds_in(condition, &twin()), *holds, "{condition}");
    }
}

/// R-G36.
#[test]
fn values_are_compared_with_values_of_their_own_type() {
    check(&[
        ("tags.site = 'munich'", true),
        ("tags.site = \"munich\"", true),
        ("'munich' = tags.site", true),
        ("tags.site = 'Munich'", false),
        ("tags.site != 'berlin'", true),
        ("tags.site <> 'munich'", false),
        ("tags.site > 'mul' AND tags.site < 'muo'", true),
        ("tags.floor = 3", true),
        ("tags.floor = 3.0", true),
        ("tags.floor = 0x3", true),
        ("tags.floor = 3e0", true),
        ("tags.floor >= 3 AND tags.floor <= 3", true),
        ("tags.floor = '3'", false),
        ("tags.floor != '3'", true),
        ("tags.floor < '4'", false),
        ("tags.on = true", true),
        ("tags.on", true),
        ("tags.site", false),
        ("capabilities.iotEdge != true", true),
        (
            "properties.reported.interval < properties.desired.interval",
            true,
        ),
        ("properties.reported.interval = 60.5", true),
        ("lastActivityTime >= '2026-01-02'", true),
        ("9007199254740993 = 9007199254740992", false),
        ("18446744073709551615 > 9223372036854775807", true),
        ("tags.floor = -3", false),
        ("- tags.floor = -3", true),
    ]);
}

/// R-G36: null is a value, a property that is not there has none.
#[test]
fn what_is_not_there_is_undefined_and_decides_nothing() {
    check(&[
        ("tags.nothing = 1", false),
        ("tags.nothing != 1", false),
        ("NOT tags.nothing = 1", false),
        ("tags.nothing = null", false),
        ("tags.nothing != null", false),
        ("tags.nothing = undefined", false),
        ("tags.site.deeper = 1", false),
        ("tags.nothing = 1 OR tags.on", true),
        ("tags.nothing = 1 AND tags.on", false),
        ("NOT (tags.nothing = 1 AND tags.on = false)", true),
        ("NOT (tags.nothing = 1 OR tags.on = false)", false),
        ("tags.nothing IN [1]", false),
        ("tags.nothing NIN [1]", false),
        ("tags.empty = null", true),
        ("tags.empty != null", false),
        ("tags.site != null", true),
        ("tags.empty < 1", false),
        ("is_defined(tags.empty)", true),
        ("IS_DEFINED(tags.nothing)", false),
        ("NOT IS_DEFINED(tags.nothing)", true),
        (
            "NOT is_defined(capabilities.iotEdge) OR capabilities.iotEdge = false",
            true,
        ),
        ("IS_NULL(tags.empty)", true),
        ("IS_NULL(tags.nothing)", false),
        ("undefined", false),
        ("null", false),
    ]);
}

/// R-G36: comparisons of primitives only.
#[test]
fn objects_and_arrays_are_compared_with_nothing() {
    check(&[
        ("properties.reported.cfg = properties.reported.cfg", false),
        ("properties.reported.cfg != 1", false),
        ("tags.list = tags.list", false),
        ("tags.list IN [10]", false),
        ("is_defined(properties.reported.cfg)", true),
        (
            "IS_OBJECT(properties.reported.cfg) AND IS_ARRAY(tags.list)",
            true,
        ),
    ]);
}

/// R-G36.
#[test]
fn lists_functions_and_arithmetic_do_what_their_names_say() {
    check(&[
        ("tags.site IN ['berlin', 'munich']", true),
        ("tags.site in ['berlin']", false),
        ("tags.site NIN ['berlin']", true),
        ("tags.site nin ['munich']", false),
        ("tags.floor IN [1, 2.5, -3, 3]", true),
        ("tags.floor IN ['3', null, true]", false),
        ("deviceId IN ['dev-1']", true),
        ("STARTSWITH(deviceId, 'dev')", true),
        ("starts_with(deviceId, 'x')", false),
        ("ENDSWITH(deviceId, '-1') AND ENDS_WITH(deviceId, '')", true),
        ("CONTAINS(tags.site, 'nic')", true),
        ("STARTSWITH(tags.floor, '3')", false),
        ("NOT STARTSWITH(tags.nothing, 'x')", false),
        (
            "IS_BOOL(tags.on) AND IS_NUMBER(tags.floor) AND IS_STRING(tags.site)",
            true,
        ),
        (
            "IS_PRIMITIVE(tags.empty) AND NOT IS_PRIMITIVE(tags.list)",
            true,
        ),
        ("IS_NUMBER(tags.floor + 1)", true),
        ("tags.floor + 1 = 4", true),
        ("tags.floor * 2 - 1 = 5", true),
        ("1 + 2 * 3 = 7", true),
        ("(1 + 2) * 3 = 9", true),
        ("10 - 3 - 2 = 5", true),
        ("7 % 4 = 3", true),
        ("tags.floor / 0 > 0", false),
        ("NOT tags.floor / 0 > 0", false),
        ("tags.site + 1 = 1", false),
    ]);
}

/// R-G36: AND binds more tightly than OR, NOT more loosely than a comparison.
#[test]
fn operators_have_an_order() {
    check(&[
        ("true OR true AND false", true),
        ("(true OR true) AND false", false),
        ("NOT false AND false", false),
        ("NOT (false AND false)", true),
        ("NOT 1 = 2", true),
        ("not not true", true),
        ("1 < 2 and 2 < 3 or false", true),
    ]);
}

/// R-G36.
#[test]
fn paths_reach_names_of_every_kind() {
    check(&[
        ("devices.deviceId = 'dev-1'", true),
        ("DeviceId = 'dev-1'", true),
        ("id = 'dev-1'", true),
        ("STATUS = 'enabled'", true),
        ("statusUpdatedTime > '2026'", true),
        ("Capabilities.IotEdge = false", true),
        ("Properties.Reported.fw = '1.2'", true),
        ("properties.reported.FW = '1.2'", false),
        ("tags.Site = 'munich'", false),
        (
            "tags.deep.Site = 'upper' AND tags.deep.site = 'lower'",
            true,
        ),
        ("tags.[[group]] = 2", true),
        ("[[tags]].[[my name]] = 1", true),
        ("tags['a-b'] = 1", true),
        ("tags[\"site\"] = 'munich'", true),
        ("tags.list[0] = 10", true),
        ("tags.list[1].x = 'y'", true),
        ("tags.list[2] = 10", false),
        ("tags.deep[0] = 1", false),
        ("properties.desired.$version = 4", true),
        ("properties.desired.$metadata.$lastUpdated = 't'", true),
        ("tags['it\\'s'] = 'O\\'Brien \\\\ \\\"\\u00e9\\\"'", true),
        ("tags['it''s'] = \"O'Brien \\\\ \"\"é\"\"\"", true),
        ("'\\ud83d\\ude00' = '😀'", true),
    ]);
}

/// R-G36: what follows FROM may have a name of its own.
#[test]
fn a_collection_may_have_a_name() {
    let texts = [
        "SELECT * FROM devices d WHERE d.tags.site = 'munich'",
        "select * from Devices AS d where D.tags.site = 'munich' and status = 'enabled'",
        "SELECT d.deviceId FROM devices AS d WHERE devices.tags.site = 'munich' OR d.tags.on",
    ];
    for text in texts {
        let query = Query::parse(text);
        // With a name, the collection's own is no longer one.
        match query {
            Ok(query) => assert!(query.matches(&twin()), "{text}"),
            Err(error) => assert!(matches!(error.problem, QueryProblem::Foreign(_)), "{error}"),
        }
    }
}

fn row_of(text: &str, document: &Value) -> Value {
    Query::parse(text).unwrap().row(document.clone())
}

/// R-G36.
#[test]
fn a_row_holds_the_columns_that_are_chosen() {
    let twin = twin();
    let table = [
        ("SELECT * FROM devices", twin.clone()),
        (
            "SELECT deviceId FROM devices",
            json!({ "deviceId": "dev-1" }),
        ),
        (
            "SELECT DeviceId, LastActivityTime FROM devices",
            json!({ "deviceId": "dev-1", "lastActivityTime": "2026-01-02T03:04:05.6Z" }),
        ),
        (
            "SELECT deviceId AS DeviceId, tags.floor AS floor, tags.nothing AS no FROM devices",
            json!({ "DeviceId": "dev-1", "floor": 3 }),
        ),
        (
            "SELECT properties.reported.cfg, tags.list[1] FROM devices",
            json!({ "cfg": { "a": 1 }, "$1": { "x": "y" } }),
        ),
        ("SELECT id AS it FROM devices", json!({ "it": "dev-1" })),
        ("SELECT id FROM devices", json!({ "id": "dev-1" })),
        ("SELECT tags.deep.nothing FROM devices", json!({})),
    ];
    for (text, row) in table {
        assert_eq!(row_of(text, &twin), row, "{text}");
    }
}

fn groups_of(text: &str, documents: &[Value]) -> Vec<Value> {
    let query = Query::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(query.rows(), Rows::Groups, "{text}");
    let mut groups = Groups::new(&query);
    for document in documents.iter().filter(|document| query.matches(document)) {
        groups.add(document).unwrap();
    }
    groups.rows().map(|(_, row)| row).collect()
}

/// R-G36.
#[test]
fn aggregates_are_of_all_documents_or_of_each_group() {
    let document = |site: Option<&str>, floor: Value| match site {
        Some(site) => json!({ "tags": { "site": site, "floor": floor } }),
        None => json!({ "tags": { "floor": floor } }),
    };
    let documents = [
        document(Some("munich"), json!(1)),
        document(Some("munich"), json!(2.5)),
        document(Some("berlin"), json!("cellar")),
        document(Some("berlin"), json!(4)),
        document(None, Value::Null),
    ];
    let table = [
        ("SELECT COUNT() AS n FROM devices", json!([{ "n": 5 }])),
        ("SELECT count() FROM devices", json!([{ "$1": 5 }])),
        (
            "SELECT COUNT() AS n, SUM(tags.floor) AS s FROM devices WHERE tags.site = 'rome'",
            json!([{ "n": 0 }]),
        ),
        (
            "SELECT MIN(tags.floor) AS least, MAX(tags.floor) AS most FROM devices",
            json!([{ "least": null, "most": "cellar" }]),
        ),
        (
            "SELECT tags.site AS site, COUNT() AS n, AVG(tags.floor) AS a, SUM(tags.floor) AS s, \
             MIN(tags.floor), MAX(tags.floor) FROM devices GROUP BY tags.site",
            json!([
                { "site": "berlin", "n": 2, "$1": 4, "$2": "cellar" },
                { "site": "munich", "n": 2, "a": 1.75, "s": 3.5, "$1": 1, "$2": 2.5 },
                { "n": 1, "$1": null, "$2": null },
            ]),
        ),
        (
            "SELECT tags.site FROM devices WHERE is_defined(tags.site) GROUP BY tags.site",
            json!([{ "site": "berlin" }, { "site": "munich" }]),
        ),
        (
            "SELECT COUNT() AS n FROM devices.modules GROUP BY Tags.site, tags.floor",
            json!([{ "n": 1 }, { "n": 1 }, { "n": 1 }, { "n": 1 }, { "n": 1 }]),
        ),
    ];
    for (text, rows) in table {
        assert_eq!(Value::from(groups_of(text, &documents)), rows, "{text}");
    }
}

/// R-G36: the number of groups is bounded, and 1 is 1.0.
#[test]
fn groups_are_told_apart_by_value_and_bounded() {
    let query = Query::parse("SELECT COUNT() AS n FROM devices GROUP BY v").unwrap();
    let mut groups = Groups::new(&query);
    for value in [
        json!(1),
        json!(1.0),
        json!("1"),
        json!(true),
        json!({ "a": [1] }),
    ] {
        groups.add(&json!({ "v": value })).unwrap();
    }
    let long = "ä".repeat(3_000);
    for value in [long.clone(), long.clone() + "x", long] {
        groups.add(&json!({ "v": value })).unwrap();
    }
    let counts: Vec<_> = groups
        .rows()
        .map(|(_, row)| row["n"].as_u64().unwrap())
        .collect();
    assert_eq!((counts.len(), counts.iter().sum()), (6, 8));
    assert!(groups.rows().all(|(key, _)| key.len() < 300));
    for value in 0..QUERY_GROUPS_MAX - 6 {
        groups.add(&json!({ "v": [value] })).unwrap();
    }
    assert_eq!(groups.add(&json!({ "v": "new" })), Err(TooManyGroups));
    groups.add(&json!({ "v": 1 })).unwrap();
}

/// R-G33, R-G36: jobs by their own names.
#[test]
fn jobs_are_queried_whole() {
    let job = json!({
        "deviceId": "d", "jobId": "j", "jobType": "scheduleDeviceMethod", "status": "completed",
        "createdDateTimeUtc": "2026-01-02T00:00:00Z",
        "outcome": { "deviceMethodResponse": { "status": 200, "payload": { "A": 1 } } },
    });
    let table = [
        (
            "devices.jobs.jobId = 'j' AND devices.jobs.status = 'completed'",
            true,
        ),
        ("jobId = 'j'", true),
        ("devices.jobs.createdTimeUtc > '2026-01-01'", true),
        ("Outcome.devicemethodresponse.Status = 200", true),
        ("outcome.deviceMethodResponse.payload.a = 1", false),
        ("outcome.deviceMethodResponse.payload.A = 1", true),
    ];
    for (condition, holds) in table {
        let text = format!("SELECT * FROM devices.jobs WHERE {condition}");
        assert_eq!(
            Query::parse(&text).unwrap().matches(&job),
            holds,
            "{condition}"
        );
    }
}

/// Ids that a condition names spare the search for all others.
#[test]
fn a_condition_may_name_the_only_ids_it_can_hold_for() {
    let table: [(&str, Option<&[&str]>); 12] = [
        ("deviceId = 'a'", Some(&["a"])),
        ("'a' = DeviceId", Some(&["a"])),
        ("devices.id IN ['b', 1, 'a']", Some(&["a", "b"])),
        ("deviceId = 'a' AND tags.x = 1", Some(&["a"])),
        (
            "tags.x = 1 AND deviceId IN ['a', 'b'] AND deviceId IN ['b', 'c']",
            Some(&["b"]),
        ),
        ("deviceId = 'a' OR deviceId = 'b'", Some(&["a", "b"])),
        ("deviceId = 'a' OR tags.x = 1", None),
        ("deviceId != 'a'", None),
        ("deviceId NIN ['a']", None),
        ("NOT deviceId = 'a'", None),
        ("tags.deviceId = 'a'", None),
        ("deviceId = 1", None),
    ];
    for (condition, ids) in table {
        let query = Query::parse(&format!("SELECT * FROM devices WHERE {condition}")).unwrap();
        let found = query
            .device_ids()
            .map(|ids| ids.into_iter().collect::<Vec<_>>());
        assert_eq!(found.as_deref(), ids, "{condition}");
    }
    assert_eq!(
        Query::parse("SELECT * FROM devices").unwrap().device_ids(),
        None
    );
}

proptest! {
    /// R-G36: no text at all makes reading panic, and what is read reads back.
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*") {
        let _ = Query::parse(&text);
        let _ = Condition::parse(&text);
    }

    /// R-G36: nor do texts that look like queries.
    #[test]
    fn anything_like_a_query_is_read_or_refused(words in arbitrary::words()) {
        let text = words.concat();
        if let Ok(query) = Query::parse(&text) {
            let printed = query.to_string();
            prop_assert_eq!(Query::parse(&printed), Ok(query), "{}", printed);
        }
        let _ = Condition::parse(&text);
    }

    /// R-G36: any query can be asked of any document.
    #[test]
    fn any_query_can_be_asked_of_any_document(
        query in arbitrary::query(),
        documents in prop::collection::vec(arbitrary::document(), 0..4),
    ) {
        let mut groups = Groups::new(&query);
        for document in documents {
            if query.matches(&document) {
                groups.add(&document).unwrap();
            }
            prop_assert!(query.row(document).is_object() || query.select == Select::All);
        }
        let keys: Vec<_> = groups.rows().map(|(key, _)| key.to_owned()).collect();
        prop_assert!(keys.is_sorted());
    }

    /// R-G36: a query reads back from its text form as it was.
    #[test]
    fn a_query_reads_back_from_its_text(query in arbitrary::query()) {
        let text = query.to_string();
        prop_assert_eq!(Query::parse(&text), Ok(query), "{}", text);
    }

    /// R-G36: ids outside of those a condition names never match.
    #[test]
    fn no_other_id_matches_than_those_named(
        query in arbitrary::query(),
        id in "[ab]",
        mut document in arbitrary::document(),
    ) {
        if let (Some(ids), Value::Object(members)) = (query.device_ids(), &mut document) {
            members.insert("deviceId".to_owned(), id.clone().into());
            prop_assert!(ids.contains(&*id) || !query.matches(&document), "{}", query);
        }
    }
}
