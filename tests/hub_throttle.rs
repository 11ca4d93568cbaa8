//! Azure's limits on hubs, where the configuration names a tier or limits of its own (R-H4 to
//! R-H6).

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use linarite_core::hub::tier::{Edition, Metered, Tier};
use linarite_emulator::{Config, HubLimits};
use linarite_env::Event;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::mqtt::Connect;
use crate::support::{EPOCH, Lab};

fn limit(metered: Metered, count: u32) -> impl FnOnce(&mut Config) {
    move |config| {
        let count = NonZeroU32::new(count).unwrap();
        config.hubs[0]
            .limits
            .set(metered, Some(metered.at_most(count)));
    }
}

/// R-H4: a burst passes, then answers come later and later, at the pace of the limit, and when
/// the queue is full 429 comes at once.
#[tokio::test(start_paused = true)]
async fn registry_operations_are_shaped_before_they_are_refused() {
    // One in two seconds, and thirty at once.
    let lab = Lab::with(limit(Metered::RegistryOperations, 30));
    let mut waits = Vec::new();
    for _ in 0..32 {
        let begin = lab.since(EPOCH);
        let read = lab.hub("GET", "/devices/nobody", None, None).await;
        assert_eq!(read.status, 404, "{read:?}");
        waits.push((lab.since(EPOCH) - begin).as_secs());
    }
    assert_eq!(waits[..30], [0; 30]);
    assert_eq!(waits[30..], [2, 2]);

    // Five wait for the next ten seconds; whoever comes after them is not let into the queue.
    let lab = Arc::new(lab);
    let mut asked = JoinSet::new();
    for _ in 0..7 {
        let lab = Arc::clone(&lab);
        asked.spawn(async move { lab.hub("GET", "/devices/nobody", None, None).await });
    }
    let answers = asked.join_all().await;
    let refused: Vec<_> = answers.iter().filter(|one| one.status == 429).collect();
    assert_eq!(refused.len(), 2, "{answers:?}");
    for answer in refused {
        assert_eq!(
            answer.header("iothub-errorcode"),
            Some("ThrottlingException")
        );
        assert_eq!(answer.header("retry-after"), Some("2"));
    }
}

/// R-H5, R-C11: MQTT knows no 429. CONNACK 3 says to come back later, and whoever does is let in.
#[tokio::test(start_paused = true)]
async fn a_throttled_connection_is_told_that_the_hub_is_unavailable() {
    let lab = Lab::with(limit(Metered::Connections, 2));
    lab.open_fleet().await;
    let credentials = ["dev-1", "dev-2", "dev-3"].map(|name| lab.leaf(name, 1, 30));
    for credential in &credentials {
        assert_eq!(lab.register(credential).await.outcome(), "assigned");
    }
    let mark = lab.events.mark();
    let mut connacks = Vec::new();
    for (number, credential) in (1..).zip(&credentials) {
        let mut client = lab.mqtt(Some(credential)).await;
        let connect = Connect::hub(&format!("dev-{number}"));
        connacks.push(client.connect(&connect).await.1);
    }
    assert_eq!(connacks, [0, 0, 3]);
    let told = |event: &Event| matches!(event, Event::ConnectRefused { reason, .. } if (reason.rule, reason.code) == ("R-H5", 429_001));
    assert!(lab.events.after(mark).iter().any(told));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut client = lab.mqtt(Some(&credentials[2])).await;
    assert_eq!(client.connect(&Connect::hub("dev-3")).await, (0, 0));
}

/// R-H6: what DPS writes takes its turn at the hub, and the device is told to wait, not refused.
#[tokio::test(start_paused = true)]
async fn registrations_wait_for_the_registry_of_their_hub() {
    for (counts, seconds) in [(true, 60..=66), (false, 0..=6)] {
        let lab = Lab::with(|config| {
            limit(Metered::RegistryOperations, 1)(config);
            config.hubs[0].dps_writes_count = counts;
        });
        lab.open_fleet().await;
        let first = lab.register(&lab.leaf("dev-1", 1, 30)).await;
        assert_eq!(first.outcome(), "assigned");
        let begin = lab.since(EPOCH);
        let second = lab.register(&lab.leaf("dev-2", 1, 30)).await;
        assert_eq!(second.outcome(), "assigned");
        let took = (lab.since(EPOCH) - begin).as_secs();
        assert!(
            seconds.contains(&took),
            "{took} s where DPS's writes count: {counts}"
        );
    }
}

/// R-H4, R-G21: twins of devices answer 429 in the topic, those of back ends wait.
#[tokio::test(start_paused = true)]
async fn twin_reads_of_a_device_are_refused_in_the_topic() {
    let lab = Lab::with(limit(Metered::TwinReads, 1));
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    assert_eq!(lab.register(&credential).await.outcome(), "assigned");
    let mut client = lab.mqtt(Some(&credential)).await;
    assert_eq!(client.connect(&Connect::hub("dev-1")).await, (0, 0));
    client.subscribe("$iothub/twin/res/#").await;
    for (rid, status) in [(1, 200), (2, 429)] {
        client
            .publish(&format!("$iothub/twin/GET/?$rid={rid}"), "")
            .await;
        let answer = client.expect().await;
        let topic = format!("$iothub/twin/res/{status}/?$rid={rid}");
        assert!(answer.topic().starts_with(&topic), "{}", answer.topic());
    }
    let begin = lab.since(EPOCH);
    let read = lab.hub("GET", "/twins/dev-1", None, None).await;
    assert_eq!(read.status, 200);
    assert!(lab.since(EPOCH) - begin >= Duration::from_millis(900));
}

/// H.2: a tier brings all of its limits, and nobody is limited who named none.
#[tokio::test(start_paused = true)]
async fn a_tier_limits_queries_and_no_tier_limits_nothing() {
    let tier = Tier::new(Edition::S1, 1).unwrap();
    let limited = Lab::with(|config| config.hubs[0].limits = HubLimits::of_tier(tier));
    let free = Lab::start();
    for (lab, seconds) in [(limited, 6), (free, 0)] {
        let begin = lab.since(EPOCH);
        for _ in 0..22 {
            let query = json!({ "query": "SELECT * FROM devices" });
            let answer = lab.hub("POST", "/devices/query", None, Some(query)).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        assert_eq!((lab.since(EPOCH) - begin).as_secs(), seconds);
    }
}
