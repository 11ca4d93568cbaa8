//! What senders hear of their messages (R-G30, R-G31).

use std::time::Duration;

use linarite_core::hub::c2d::message::Fate;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::FILTER;
use crate::api_hub::assert_hub_error;
use crate::support::http::Answer;
use crate::support::{HUB, Lab};

const PATH: &str = "/messages/serviceBound/feedback";

async fn ask(lab: &Lab) -> Answer {
    lab.hub("GET", PATH, None, None).await
}

/// Ids and codes of a batch that was received.
fn told(answer: &Answer) -> Vec<(&str, &str)> {
    let records = answer.body.as_array();
    let records = records.unwrap_or_else(|| panic!("no feedback: {answer:?}"));
    let told = records.iter().map(|record| {
        let text = |member: &str| record[member].as_str().unwrap();
        (text("originalMessageId"), text("statusCode"))
    });
    told.collect()
}

fn token(answer: &Answer) -> String {
    answer.header("etag").unwrap().trim_matches('"').to_owned()
}

async fn settle(lab: &Lab, token: &str, abandon: bool) -> Answer {
    if abandon {
        let path = format!("{PATH}/{token}/abandon");
        return lab.hub("POST", &path, None, None).await;
    }
    lab.hub("DELETE", &format!("{PATH}/{token}"), None, None)
        .await
}

/// R-G30.
#[tokio::test(start_paused = true)]
async fn a_sender_hears_what_it_asked_for() {
    let lab = Lab::start();
    let identity = lab.create("dev-1", Value::Null).await;
    assert_eq!(ask(&lab).await.status, 204);
    let mut client = lab.sas_session("dev-1", &identity).await;
    client.subscribe(FILTER).await;
    let acks = ["none", "positive", "negative", "full"];
    for ack in acks {
        let headers = [("iothub-messageid", ack), ("iothub-ack", ack)];
        let sent = lab.send_to("devices/dev-1", &headers, ack).await;
        assert_eq!(sent.status, 204);
        let (_, packet_id, _) = client.message().await;
        client.acknowledge(packet_id).await;
    }
    // The first record goes out at once, what follows it after 15 seconds.
    let answer = ask(&lab).await;
    assert_eq!(told(&answer), [("positive", "Success")]);
    let content_type = answer.header("content-type");
    assert_eq!(
        content_type,
        Some("application/vnd.microsoft.iothub.feedback.json")
    );
    let record = &answer.body[0];
    let expected = json!({
        "originalMessageId": "positive",
        "description": "Success",
        "deviceGenerationId": identity["generationId"],
        "deviceId": "dev-1",
        "enqueuedTimeUtc": "2026-01-01T00:00:00Z",
        "statusCode": "Success",
    });
    assert_eq!(*record, expected);
    assert_eq!(settle(&lab, &token(&answer), false).await.status, 204);
    assert_eq!(ask(&lab).await.status, 204);
    sleep(Duration::from_secs(15)).await;
    let answer = ask(&lab).await;
    assert_eq!(told(&answer), [("full", "Success")]);
    settle(&lab, &token(&answer), false).await;

    sleep(Duration::from_secs(15)).await;
    client.drop_connection().await;
    for ack in acks {
        let headers = [("iothub-messageid", ack), ("iothub-ack", ack)];
        lab.send_to("devices/dev-1", &headers, ack).await;
    }
    lab.hub("DELETE", "/devices/dev-1/commands", None, None)
        .await;
    let answer = ask(&lab).await;
    assert_eq!(told(&answer), [("negative", "Purged")]);
    sleep(Duration::from_secs(15)).await;
    assert_eq!(told(&ask(&lab).await), [("full", "Purged")]);
}

/// R-G30: feedback is locked, abandoned and completed like a message.
#[tokio::test(start_paused = true)]
async fn feedback_is_settled_by_its_lock() {
    let lab = Lab::with(|config| config.hubs[0].c2d.feedback_ttl_seconds = 600);
    lab.create("dev-1", Value::Null).await;
    let purge = async |id: &str| {
        lab.send(id).await;
        lab.hub("DELETE", "/devices/dev-1/commands", None, None)
            .await;
    };
    purge("a").await;
    let first = ask(&lab).await;
    assert_eq!(ask(&lab).await.status, 204, "locked");
    assert_eq!(settle(&lab, &token(&first), true).await.status, 204);
    let second = ask(&lab).await;
    assert_eq!(told(&second), [("a", "Purged")]);
    assert_ne!(token(&first), token(&second));
    sleep(Duration::from_secs(60)).await;
    let lost = settle(&lab, &token(&second), false).await;
    assert_hub_error(&lost, 412, "DeviceMessageLockLost");
    let third = ask(&lab).await;
    assert_eq!(settle(&lab, &token(&third), false).await.status, 204);
    let again = settle(&lab, &token(&third), false).await;
    assert_hub_error(&again, 412, "DeviceMessageLockLost");

    purge("b").await;
    sleep(Duration::from_secs(600)).await;
    assert_eq!(ask(&lab).await.status, 204, "nobody asked in time");
}

/// R-G31, R-C8: what is in no batch yet goes with its device.
#[tokio::test(start_paused = true)]
async fn pending_feedback_goes_with_its_device() {
    let lab = Lab::start();
    lab.create("dev-1", Value::Null).await;
    for id in ["out", "pending"] {
        lab.send(id).await;
        lab.hub("DELETE", "/devices/dev-1/commands", None, None)
            .await;
    }
    lab.hub("DELETE", "/devices/dev-1", Some("*"), None).await;
    sleep(Duration::from_secs(30)).await;
    assert_eq!(told(&ask(&lab).await), [("out", "Purged")]);
    assert_eq!(ask(&lab).await.status, 204);
}

/// R-G30: by the library, which waits for it.
#[tokio::test(start_paused = true)]
async fn a_user_of_the_library_waits_for_feedback() {
    let lab = Lab::with(|config| config.hubs[0].c2d.ttl_seconds = 60);
    lab.create("dev-1", Value::Null).await;
    let feedback = lab.emulator.feedback(HUB).unwrap();
    assert_eq!(feedback.ready(), None);
    lab.send("a").await;
    let started = lab.env.clock.now_ms();
    let batch = feedback.next().await.unwrap();
    assert_eq!(lab.since(started), Duration::from_secs(60));
    let record = &batch.records[0];
    assert_eq!(record.message_id.as_deref(), Some("a"));
    assert_eq!(record.fate, Fate::Expired);
    assert_eq!(ask(&lab).await.status, 204, "read means completed");
    let (emulator, waiting) = (lab.emulator.clone(), feedback.clone());
    let ended = tokio::spawn(async move { waiting.next().await });
    tokio::task::yield_now().await;
    emulator.stop(Duration::from_secs(1)).await;
    assert_eq!(ended.await.unwrap(), None);
}
