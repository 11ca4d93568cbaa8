//! Queries over twins through the hub's service API (R-G36, R-F7).

use serde_json::{Value, json};

use crate::support::Lab;
use crate::support::http::Answer;

impl Lab {
    /// Creates a device with these tags.
    pub(crate) async fn tagged(&self, id: &str, tags: Value) {
        let body = json!({ "deviceId": id });
        let created = self
            .hub("PUT", &format!("/devices/{id}"), None, Some(body))
            .await;
        assert_eq!(created.status, 200, "{created:?}");
        let body = json!({ "tags": tags });
        let written = self
            .hub("PATCH", &format!("/twins/{id}"), None, Some(body))
            .await;
        assert_eq!(written.status, 200, "{written:?}");
    }

    /// One page of a query.
    pub(crate) async fn page(
        &self,
        query: &str,
        count: Option<usize>,
        after: Option<&str>,
    ) -> Answer {
        let mut request = self
            .hub_request("POST", "/devices/query")
            .json(json!({ "query": query }));
        if let Some(count) = count {
            request = request.header("x-ms-max-item-count", count.to_string());
        }
        if let Some(after) = after {
            request = request.header("x-ms-continuation", after);
        }
        self.ask(&request, None).await
    }

    /// Everything a query finds, in pages of `count`, and how many pages there were.
    pub(crate) async fn find(&self, query: &str, count: usize) -> (Vec<Value>, usize) {
        let (mut found, mut pages, mut after) = (Vec::new(), 0, None);
        loop {
            let page = self.page(query, Some(count), after.as_deref()).await;
            assert_eq!(page.status, 200, "{page:?}");
            let items = page.body.as_array().unwrap();
            assert!(items.len() <= count, "{page:?}");
            found.extend(items.iter().cloned());
            pages += 1;
            match page.header("x-ms-continuation") {
                Some(token) => after = Some(token.to_owned()),
                None => return (found, pages),
            }
        }
    }

    /// The ids a query finds, in its order.
    async fn ids(&self, query: &str) -> Vec<String> {
        let (found, _) = self.find(query, 1000).await;
        let id = |twin: &Value| twin["deviceId"].as_str().unwrap().to_owned();
        found.iter().map(id).collect()
    }
}

/// R-G36, R-G22.
#[tokio::test(start_paused = true)]
async fn twins_are_found_by_tags_and_properties_and_given_whole() {
    let lab = Lab::start();
    lab.tagged("dev-1", json!({ "site": "munich", "floor": 1 }))
        .await;
    lab.tagged("dev-2", json!({ "site": "berlin", "floor": 2 }))
        .await;
    lab.tagged("dev-3", json!({ "floor": 3 })).await;
    let table: [(&str, &[&str]); 9] = [
        ("SELECT * FROM devices", &["dev-1", "dev-2", "dev-3"]),
        (
            "SELECT * FROM devices WHERE tags.site = 'munich'",
            &["dev-1"],
        ),
        (
            "SELECT * FROM devices WHERE tags.site != 'munich'",
            &["dev-2"],
        ),
        (
            "SELECT * FROM devices WHERE NOT IS_DEFINED(tags.site)",
            &["dev-3"],
        ),
        (
            "SELECT * FROM devices WHERE tags.floor >= 2 AND tags.floor < 3",
            &["dev-2"],
        ),
        (
            "SELECT * FROM devices WHERE deviceId IN ['dev-3', 'dev-9', 'dev-1']",
            &["dev-1", "dev-3"],
        ),
        (
            "SELECT * FROM devices WHERE DeviceId NIN ['dev-1']",
            &["dev-2", "dev-3"],
        ),
        (
            "SELECT TOP 2 * FROM devices WHERE STARTSWITH(deviceId, 'dev')",
            &["dev-1", "dev-2"],
        ),
        (
            "SELECT * FROM devices WHERE status = 'enabled' AND connectionState = 'Connected'",
            &[],
        ),
    ];
    for (query, ids) in table {
        assert_eq!(lab.ids(query).await, ids, "{query}");
    }
    let one = "SELECT * FROM devices WHERE deviceId = 'dev-1'";
    let answer = lab.page(one, None, None).await;
    assert_eq!(answer.header("x-ms-item-type"), Some("Twin"));
    assert_eq!(answer.header("x-ms-continuation"), None);
    let twin = lab.hub("GET", "/twins/dev-1", None, None).await;
    assert_eq!(answer.body, json!([twin.body]));
}

/// R-G36: what a device reports and whether it is connected is found, too.
#[tokio::test(start_paused = true)]
async fn what_a_device_does_is_found_at_once() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    let mut device = lab.admit(&credential).await;
    device.subscribe("$iothub/twin/res/#").await;
    let topic = "$iothub/twin/PATCH/properties/reported/?$rid=1";
    device.publish(topic, r#"{"fw":{"major":2}}"#).await;
    let query = "SELECT deviceId, properties.reported.fw.major AS major, connectionState \
                 FROM devices WHERE connectionState = 'Connected'";
    let answer = lab.page(query, None, None).await;
    assert_eq!(answer.header("x-ms-item-type"), Some("Raw"));
    let row = json!({ "deviceId": "dev-1", "major": 2, "connectionState": "Connected" });
    assert_eq!(answer.body, json!([row]));
    drop(device);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(lab.page(query, None, None).await.body, json!([]));
}

/// R-G36.
#[tokio::test(start_paused = true)]
async fn aggregates_count_devices_and_groups() {
    let lab = Lab::start();
    for (id, site) in [
        ("a", "munich"),
        ("b", "berlin"),
        ("c", "munich"),
        ("d", "rome"),
    ] {
        lab.tagged(id, json!({ "site": site })).await;
    }
    let answer = lab
        .page(
            "SELECT COUNT() AS totalNumberOfDevices FROM devices",
            None,
            None,
        )
        .await;
    assert_eq!(answer.header("x-ms-item-type"), Some("Raw"));
    assert_eq!(answer.body, json!([{ "totalNumberOfDevices": 4 }]));
    let query = "SELECT tags.site AS site, COUNT() AS n FROM devices GROUP BY tags.site";
    let rows = json!([
        { "site": "berlin", "n": 1 }, { "site": "munich", "n": 2 }, { "site": "rome", "n": 1 },
    ]);
    assert_eq!(lab.page(query, None, None).await.body, rows);
    let (found, pages) = lab.find(query, 2).await;
    assert_eq!((Value::from(found), pages), (rows, 2));
}

/// R-G36: modules are a collection of their own.
#[tokio::test(start_paused = true)]
async fn modules_are_queried_apart_from_devices() {
    let lab = Lab::start();
    for device in ["d1", "d2", "d3"] {
        lab.tagged(device, json!({})).await;
    }
    for (device, module) in [("d1", "a"), ("d1", "b"), ("d1", "c"), ("d3", "a")] {
        let path = format!("/devices/{device}/modules/{module}");
        let body = json!({ "deviceId": device, "moduleId": module });
        assert_eq!(lab.hub("PUT", &path, None, Some(body)).await.status, 200);
    }
    let all = "SELECT * FROM devices.modules";
    for count in 1..6 {
        let (found, _) = lab.find(all, count).await;
        let name =
            |twin: &Value| format!("{}/{}", twin["deviceId"], twin["moduleId"]).replace('"', "");
        let names: Vec<_> = found.iter().map(name).collect();
        assert_eq!(names, ["d1/a", "d1/b", "d1/c", "d3/a"], "{count}");
    }
    let table = [
        ("SELECT COUNT() AS n FROM devices.modules", 4),
        ("SELECT COUNT() AS n FROM devices", 3),
        (
            "SELECT COUNT() AS n FROM devices.modules WHERE devices.modules.moduleId = 'a'",
            2,
        ),
        (
            "SELECT COUNT() AS n FROM devices.modules WHERE deviceId IN ['d1', 'd2']",
            3,
        ),
    ];
    for (query, count) in table {
        assert_eq!(
            lab.page(query, None, None).await.body,
            json!([{ "n": count }]),
            "{query}"
        );
    }
}

/// R-F7, R-G36: pages of any size give each device once, while devices come and go.
#[tokio::test(start_paused = true)]
async fn pages_give_each_device_once_while_devices_come_and_go() {
    let lab = Lab::start();
    for number in 0..7 {
        lab.tagged(&format!("d{number}"), json!({ "odd": number % 2 == 1 }))
            .await;
    }
    let all = "SELECT deviceId FROM devices";
    for (count, pages) in [(1, 7), (2, 4), (3, 3), (7, 1), (1000, 1)] {
        let (found, taken) = lab.find(all, count).await;
        assert_eq!((found.len(), taken), (7, pages), "{count}");
    }
    let (found, pages) = lab.find("SELECT TOP 5 deviceId FROM devices", 2).await;
    assert_eq!((found.len(), pages), (5, 3));
    let (found, pages) = lab.find("SELECT * FROM devices WHERE tags.odd", 3).await;
    assert_eq!((found.len(), pages), (3, 1));

    let first = lab.page(all, Some(3), None).await;
    assert_eq!(first.header("x-ms-max-item-count"), Some("3"));
    let token = first.header("x-ms-continuation").unwrap();
    // The last one given goes, as does one to come; one comes before, one after the mark.
    for gone in ["d2", "d4"] {
        let path = format!("/devices/{gone}");
        assert_eq!(lab.hub("DELETE", &path, Some("*"), None).await.status, 204);
    }
    lab.tagged("d1-late", json!({})).await;
    lab.tagged("d9", json!({})).await;
    let rest = lab.page(all, Some(10), Some(token)).await;
    let ids = json!([{ "deviceId": "d3" }, { "deviceId": "d5" }, { "deviceId": "d6" }, { "deviceId": "d9" }]);
    assert_eq!(rest.body, ids);
    assert_eq!(rest.header("x-ms-continuation"), None);

    // A token belongs to its query.
    let other = lab.page("SELECT * FROM devices", None, Some(token)).await;
    assert_eq!(other.status, 400);
    assert!(
        other.text("Message").contains("x-ms-continuation"),
        "{other:?}"
    );
}

/// R-G36: a page has 100 rows unless told otherwise, and never more than 1000.
#[tokio::test(start_paused = true)]
async fn a_page_has_a_hundred_rows_unless_told_otherwise() {
    let lab = Lab::start();
    for number in 0..101 {
        let id = format!("d{number:04}");
        let body = json!({ "deviceId": id });
        let path = format!("/devices/{id}");
        assert_eq!(lab.hub("PUT", &path, None, Some(body)).await.status, 200);
    }
    let query = "SELECT deviceId FROM devices";
    let page = lab.page(query, None, None).await;
    assert_eq!(page.body.as_array().unwrap().len(), 100);
    let token = page.header("x-ms-continuation");
    let rest = lab.page(query, None, token).await;
    assert_eq!(rest.body, json!([{ "deviceId": "d0100" }]));
    let page = lab.page(query, Some(10_000), None).await;
    assert_eq!(page.body.as_array().unwrap().len(), 101);
    let mut request = lab
        .hub_request("POST", "/devices/query")
        .json(json!({ "query": query }));
    request
        .headers
        .push(("x-ms-max-item-count", "all".to_owned()));
    let refused = lab.ask(&request, None).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(
        refused.text("Message").contains("x-ms-max-item-count"),
        "{refused:?}"
    );
}

/// R-G36, R-F10: what is wrong is told by field, line and column.
#[tokio::test(start_paused = true)]
async fn what_is_not_understood_is_refused_with_its_place() {
    let lab = Lab::start();
    let table = [
        (json!({}), "query: required"),
        (json!({ "query": 1 }), "query: expected a string"),
        (json!([]), "must be a JSON object"),
        (
            json!({ "query": "" }),
            "query: SQL query parse failed: Line 1:1 expected SELECT",
        ),
        (
            json!({ "query": "SELECT * FROM devices\nORDER BY deviceId" }),
            "query: SQL query parse failed: Line 2:1 ORDER is not supported",
        ),
        (
            json!({ "query": "SELECT * FROM devices JOIN modules" }),
            "Line 1:23 JOIN is not supported",
        ),
    ];
    for (body, expected) in table {
        let answer = lab.hub("POST", "/devices/query", None, Some(body)).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert_eq!(answer.header("iothub-errorcode"), Some("ArgumentInvalid"));
        assert!(answer.text("Message").contains(expected), "{answer:?}");
    }
}

/// R-F9: a query takes the right to read the registry.
#[tokio::test(start_paused = true)]
async fn a_device_key_opens_no_query() {
    let lab = Lab::start();
    let body = json!({ "deviceId": "d" });
    let device = lab.hub("PUT", "/devices/d", None, Some(body)).await;
    let mut request = lab
        .hub_request("POST", "/devices/query")
        .json(json!({ "query": "SELECT * FROM devices" }));
    request.headers = vec![("Authorization", lab.device_token("d", &device.body, 600))];
    assert_eq!(lab.ask(&request, None).await.status, 401);
}
