//! How many messages devices may send in a second and a hub takes in a day (R-H4, R-H7).

use std::num::NonZeroU32;
use std::time::Duration;

use linarite::pki::Credential;
use linarite_core::hub::quota::{DailyQuota, METER_BYTES};
use linarite_core::hub::tier::Metered;
use linarite_emulator::Config;
use linarite_env::UnixMillis;
use serde_json::json;

use crate::support::http::Request;
use crate::support::mqtt::{Mqtt, Packet, publish, telemetry};
use crate::support::{EPOCH, HUB, Lab};

/// Midnight before and after the moment at which labs begin.
const DAY: i64 = 86_400_000;

fn sends_per_second(count: u32) -> impl FnOnce(&mut Config) {
    move |config| {
        let metered = Metered::DeviceToCloud;
        let limit = NonZeroU32::new(count).map(|count| metered.at_most(count));
        config.hubs[0].limits.set(metered, limit);
    }
}

fn messages_per_day(messages: u64) -> impl FnOnce(&mut Config) {
    move |config| {
        let quota = DailyQuota {
            messages,
            meter_bytes: METER_BYTES,
        };
        config.hubs[0].limits.set_daily(Some(quota));
    }
}

/// The message that a packet acknowledges.
fn acknowledges(packet: &Packet) -> Option<u16> {
    let id = packet
        .body
        .first_chunk()
        .map(|id| u16::from_be_bytes(*id))?;
    (*packet == Packet::puback(id)).then_some(id)
}

impl Lab {
    /// A device that is registered and connected.
    async fn device(&self, name: &str) -> (Mqtt, Credential) {
        let credential = self.leaf(name, 1, 30);
        assert_eq!(self.register(&credential).await.outcome(), "assigned");
        (self.session(&credential).await.unwrap(), credential)
    }

    fn tenths(&self) -> u128 {
        self.since(EPOCH).as_millis() / 100
    }
}

/// R-H4: a burst passes, and then what a device sends is taken at the pace of the limit, in its
/// order; that it comes later shows in when it is acknowledged.
#[tokio::test(start_paused = true)]
async fn messages_of_devices_are_shaped_in_their_order() {
    let lab = Lab::with(sends_per_second(2));
    lab.open_fleet().await;
    let (mut device, _) = lab.device("dev-1").await;
    let (begin, mark) = (lab.tenths(), lab.events.mark());
    let topic = telemetry("dev-1");
    let burst: Vec<u8> = (1..=6)
        .flat_map(|id| publish(&topic, Some(id), "{}"))
        .collect();
    device.send(burst).await;
    let mut acknowledged = Vec::new();
    for _ in 0..6 {
        let id = acknowledges(&device.expect().await).unwrap();
        acknowledged.push((id, lab.tenths() - begin));
        // Those of the burst are taken together, and none of the others ahead of its turn.
        assert_eq!(lab.events.telemetry(mark), usize::from(id).max(2));
    }
    assert_eq!(
        acknowledged,
        [(1, 0), (2, 0), (3, 5), (4, 10), (5, 15), (6, 20)]
    );
}

/// R-H4: whoever comes when the queue is full is cut off over MQTT, and told 429 over HTTPS.
#[tokio::test(start_paused = true)]
async fn messages_that_find_the_queue_full_are_refused() {
    let lab = Lab::with(sends_per_second(1));
    lab.open_fleet().await;
    let mut devices = Vec::new();
    for number in 1..=12 {
        devices.push(lab.device(&format!("dev-{number}")).await.0);
    }
    let mark = lab.events.mark();
    for (number, device) in (1..).zip(&mut devices) {
        let message = publish(&telemetry(&format!("dev-{number}")), Some(1), "{}");
        device.send(message).await;
    }
    // One passes and ten wait for ten seconds.
    devices.pop().unwrap().expect_end().await;
    assert_eq!(lab.events.closing(mark, "dev-12"), ("R-H4", 429_001));
    let path = "/devices/dev-1/messages/events?api-version=2020-03-13";
    let request = Request::new("POST", HUB, path).plain("{}");
    let answer = lab.ask(&request, Some(&lab.leaf("dev-1", 1, 30))).await;
    assert_eq!(answer.status, 429, "{answer:?}");
    for device in &mut devices {
        assert_eq!(device.expect().await, Packet::puback(1));
    }
    assert_eq!(lab.events.telemetry(mark), 11);
}

/// R-H4: what the hub has read waits for its turn, whether or not its device is still there.
#[tokio::test(start_paused = true)]
async fn a_message_that_waits_is_taken_once_though_its_device_is_gone() {
    let lab = Lab::with(|config| {
        let metered = Metered::DeviceToCloud;
        let mut limit = metered.at_most(NonZeroU32::MIN);
        limit.window_ms = NonZeroU32::new(9_000).unwrap();
        config.hubs[0].limits.set(metered, Some(limit));
    });
    lab.open_fleet().await;
    let (mut device, credential) = lab.device("dev-1").await;
    let mark = lab.events.mark();
    let topic = telemetry("dev-1");
    device.send(publish(&topic, Some(1), "{}")).await;
    device.send(publish(&topic, Some(2), "{}")).await;
    assert_eq!(device.expect().await, Packet::puback(1));
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(device);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(lab.events.telemetry(mark), 2);
    let mut again = lab.session(&credential).await;
    let again = again
        .as_mut()
        .unwrap_or_else(|code| panic!("CONNACK {code}"));
    again.send(publish(&topic, Some(3), "{}")).await;
    assert_eq!(again.expect().await, Packet::puback(3));
}

/// R-H7: once the quota is spent the hub takes nothing before the next day of UTC, of nobody.
#[tokio::test(start_paused = true)]
async fn a_spent_quota_stops_the_hub_until_midnight() {
    // A minute before midnight.
    let midnight = UnixMillis((EPOCH.0 / DAY + 1) * DAY);
    let lab = Lab::at(UnixMillis(midnight.0 - 60_000), messages_per_day(4));
    lab.open_fleet().await;
    let (mut device, credential) = lab.device("dev-1").await;
    device.subscribe("$iothub/twin/res/#").await;
    let topic = telemetry("dev-1");
    // One block, and two: a byte more than 4 KiB.
    for (id, bytes) in [(1, 10), (2, METER_BYTES + 1)] {
        device
            .send(publish(&topic, Some(id), vec![b'x'; bytes]))
            .await;
        assert_eq!(device.expect().await, Packet::puback(id));
    }
    device.publish("$iothub/twin/GET/?$rid=1", "").await;
    assert!(
        device
            .expect()
            .await
            .topic()
            .starts_with("$iothub/twin/res/200/")
    );
    // That was the fourth. The twin is refused in its topic, a message with the connection.
    device.publish("$iothub/twin/GET/?$rid=2", "").await;
    let refused = device.expect().await;
    assert!(
        refused.topic().starts_with("$iothub/twin/res/403/"),
        "{}",
        refused.topic()
    );
    let mark = lab.events.mark();
    device.send(publish(&topic, Some(3), "{}")).await;
    device.expect_end().await;
    assert_eq!(lab.events.closing(mark, "dev-1"), ("R-H7", 403_002));

    let query = || Some(json!({ "query": "SELECT * FROM devices" }));
    for (method, path, body) in [
        ("GET", "/devices/dev-1", None),
        ("GET", "/twins/dev-1", None),
        ("POST", "/devices/query", query()),
    ] {
        let answer = lab.hub(method, path, None, body).await;
        assert_eq!(answer.status, 403, "{path}: {answer:?}");
        assert_eq!(
            answer.header("iothub-errorcode"),
            Some("IotHubQuotaExceeded")
        );
    }

    tokio::time::sleep(Duration::from_secs(60)).await;
    let answer = lab.hub("POST", "/devices/query", None, query()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut device = lab.session(&credential).await.unwrap();
    device.send(publish(&topic, Some(4), "{}")).await;
    assert_eq!(device.expect().await, Packet::puback(4));
}

/// R-H7: what Azure does not charge for does not use the quota up.
#[tokio::test(start_paused = true)]
async fn registry_operations_and_refusals_are_free() {
    let lab = Lab::with(messages_per_day(1));
    lab.open_fleet().await;
    for _ in 0..3 {
        assert_eq!(lab.hub("GET", "/devices", None, None).await.status, 200);
        assert_eq!(
            lab.hub("GET", "/twins/nobody", None, None).await.status,
            404
        );
    }
    let (mut device, _) = lab.device("dev-1").await;
    device
        .send(publish(&telemetry("dev-1"), Some(1), "{}"))
        .await;
    assert_eq!(device.expect().await, Packet::puback(1));
    assert_eq!(lab.hub("GET", "/twins/dev-1", None, None).await.status, 403);
}
