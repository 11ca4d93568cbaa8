//! Messages of devices that register again.

use serde_json::{Value, json};

use crate::support::{HUB, HUB_2, Lab, ROOT};

fn on(hub: &str) -> Value {
    json!({ "allocationPolicy": "static", "iotHubs": [hub] })
}

/// K.10, R-C4, R-C8, R-G31: messages stay with the identity: on the same hub they outlive a new
/// registration, and a device that moves to another leaves them behind for good.
#[tokio::test(start_paused = true)]
async fn messages_stay_where_the_device_is_known() {
    let lab = Lab::with_two_hubs(|_| {});
    lab.upload_ca(ROOT).await;
    let mut waiting = Vec::new();
    for (number, hub) in [(1, HUB), (2, HUB), (2, HUB_2), (2, HUB)] {
        let credential = lab.leaf("dev-1", number, 30);
        lab.enroll(&credential, on(hub)).await;
        assert_eq!(lab.register(&credential).await.hub(), hub);
        if waiting.is_empty() {
            lab.send("a").await;
        }
        let shown = lab.hub_at(hub, "GET", "/devices/dev-1", None).await;
        waiting.push(shown.body["cloudToDeviceMessageCount"].clone());
    }
    assert_eq!(waiting, [1, 1, 0, 0]);
}
