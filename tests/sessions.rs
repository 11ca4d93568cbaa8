//! How sessions end that nobody closes: by time, by the registry, by another one (R-E6 to R-E9,
//! R-G4, R-G11, R-G13, I-4).

use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use crate::api_hub::assert_hub_error;
use crate::support::mqtt::{Connect, publish, subscribe, telemetry};
use crate::support::{DAY, Lab};

const PING: [u8; 2] = [0xC0, 0];

/// R-G11: the hub closes a session when its token expires, whatever the device does.
#[tokio::test(start_paused = true)]
async fn a_token_that_expires_ends_its_session() {
    for (seconds, busy) in [(60, false), (60, true), (900, false)] {
        let lab = Lab::start();
        let identity = lab.create("dev-1", Value::Null).await;
        let mut connect = Connect::hub("dev-1");
        connect.password = Some(lab.device_token("dev-1", &identity, seconds));
        let mut client = lab.mqtt(None).await;
        let expires = lab.now() + seconds;
        let mark = lab.events.mark();
        assert_eq!(client.connect(&connect).await, (0, 0));
        if busy {
            // Traffic postpones the end of a silence, and this end not.
            while lab.now() < expires - 1 {
                client.publish(&telemetry("dev-1"), "x").await;
                sleep(Duration::from_millis(500)).await;
            }
        }
        client.expect_end().await;
        assert_eq!(lab.events.closing(mark, "dev-1"), ("R-G11", 404_104));
        let late = lab.now() - expires;
        assert!(
            (0..=1).contains(&late),
            "closed {late} s after the token's end"
        );
        let shown = lab.hub("GET", "/devices/dev-1", None, None).await;
        assert_eq!(shown.text("connectionState"), "Disconnected");
        // A new token opens a new session.
        lab.sas_session("dev-1", &identity).await;
    }
}

/// R-G11: a token taken past its end lasts as long as a wrong clock excuses.
#[tokio::test(start_paused = true)]
async fn a_token_taken_late_ends_its_session_when_the_excuse_does() {
    let lab = Lab::start();
    let identity = lab.create("dev-1", Value::Null).await;
    let mut connect = Connect::hub("dev-1");
    connect.password = Some(lab.device_token("dev-1", &identity, -10));
    let mut client = lab.mqtt(None).await;
    let started = lab.now();
    assert_eq!(client.connect(&connect).await, (0, 0));
    client.expect_end().await;
    let lasted = lab.now() - started;
    assert!((289..=291).contains(&lasted), "{lasted} s");
}

/// R-E9, I-4: by default an expiring certificate ends no session; with the switch it does.
#[tokio::test(start_paused = true)]
async fn a_certificate_that_expires_ends_its_session_by_choice_only() {
    for drop_on_expiry in [false, true] {
        let lab = Lab::with(|config| config.settings.drop_on_expiry = drop_on_expiry);
        lab.open_fleet().await;
        let credential = lab.leaf("dev-1", 1, 1);
        let not_after = lab.now() + DAY;
        let mut client = lab.admit(&credential).await;
        let mark = lab.events.mark();
        while lab.now() < not_after - 600 {
            client.publish(&telemetry("dev-1"), "alive").await;
            sleep(Duration::from_secs(300)).await;
        }
        if drop_on_expiry {
            client.expect_end().await;
            assert_eq!(lab.events.closing(mark, "dev-1"), ("R-E9", 404_104));
            let late = lab.now() - not_after;
            assert!(
                (1..=2).contains(&late),
                "closed {late} s after the last second"
            );
        } else {
            sleep(Duration::from_secs(1200)).await;
            client.publish(&telemetry("dev-1"), "still here").await;
        }
        // R-G7: it does not come in again.
        assert_eq!(lab.session(&credential).await.err(), Some(5));
    }
}

/// R-E8, I-4: new credentials end a live session by choice only.
#[tokio::test(start_paused = true)]
async fn new_credentials_end_a_live_session_by_choice_only() {
    for dropping in [false, true] {
        let lab = Lab::with(|config| config.settings.drop_on_credential_change = dropping);
        let identity = lab.create("dev-1", Value::Null).await;
        let mut client = lab.sas_session("dev-1", &identity).await;
        let mark = lab.events.mark();
        let mut same = identity.clone();
        same["statusReason"] = "nothing new".into();
        let path = "/devices/dev-1";
        assert_eq!(
            lab.hub("PUT", path, Some("*"), Some(same)).await.status,
            200
        );
        client.publish(&telemetry("dev-1"), "x").await;
        let fresh = json!({ "deviceId": "dev-1" });
        assert_eq!(
            lab.hub("PUT", path, Some("*"), Some(fresh)).await.status,
            200
        );
        if dropping {
            client.expect_end().await;
            assert_eq!(lab.events.closing(mark, "dev-1"), ("R-E8", 404_104));
        } else {
            client.publish(&telemetry("dev-1"), "x").await;
        }
        // R-G9: the old key opens nothing any more.
        let mut connect = Connect::hub("dev-1");
        connect.password = Some(lab.device_token("dev-1", &identity, 60));
        assert_eq!(lab.mqtt(None).await.connect(&connect).await, (0, 5));
    }
}

/// R-E6, R-E7, R-G4: how long a session outlives its identity is a setting; what the device says
/// meanwhile ends it at once.
#[tokio::test(start_paused = true)]
async fn a_session_outlives_its_identity_as_long_as_the_setting_says() {
    let path = "/devices/dev-1";
    for delay in [0, 1, 300] {
        for delete in [false, true] {
            let lab = Lab::with(|config| config.settings.forced_close_delay_seconds = delay);
            let identity = lab.create("dev-1", Value::Null).await;
            let mut client = lab.sas_session("dev-1", &identity).await;
            let mark = lab.events.mark();
            let started = lab.env.clock.now_ms();
            take_away(&lab, &identity, delete).await;
            let shown = lab.hub("GET", path, None, None).await;
            if delete {
                assert_eq!(shown.status, 404);
            } else {
                assert_eq!(shown.text("connectionState"), "Disconnected");
            }
            // R-G4: for the back end it is not there.
            let call = json!({ "methodName": "reboot" });
            let call = lab
                .hub("POST", "/twins/dev-1/methods", None, Some(call))
                .await;
            assert_hub_error(&call, 404, "DeviceNotFound");
            if delay == 300 {
                sleep(Duration::from_secs(100)).await;
                client.send(PING).await;
                assert_eq!(client.expect().await.first, 0xD0, "a ping is answered");
            }
            client.expect_end().await;
            let lasted = lab.since(started);
            let expected = Duration::from_secs(u64::from(delay));
            let slack = Duration::from_millis(100);
            assert!(
                lasted >= expected && lasted <= expected + slack,
                "{lasted:?} for {delay} s"
            );
            assert_eq!(lab.events.closing(mark, "dev-1"), ("R-E6", 404_104));
        }
    }
    for packet in [
        publish(&telemetry("dev-1"), Some(1), "x"),
        publish("$iothub/twin/GET/?$rid=1", None, ""),
        subscribe(&[("$iothub/twin/res/#", 0)]),
    ] {
        let lab = Lab::with(|config| config.settings.forced_close_delay_seconds = 300);
        let identity = lab.create("dev-1", Value::Null).await;
        let mut client = lab.sas_session("dev-1", &identity).await;
        let mark = lab.events.mark();
        let started = lab.env.clock.now_ms();
        take_away(&lab, &identity, false).await;
        sleep(Duration::from_secs(10)).await;
        client.send(packet).await;
        client.expect_end().await;
        assert!(lab.since(started) < Duration::from_secs(11));
        assert_eq!(lab.events.closing(mark, "dev-1"), ("R-E6", 404_104));
    }
}

/// R-E6, R-G13: who comes after is not bothered by who is still going.
#[tokio::test(start_paused = true)]
async fn a_lingering_session_does_not_speak_for_a_new_identity() {
    let lab = Lab::with(|config| config.settings.forced_close_delay_seconds = 300);
    let identity = lab.create("dev-1", Value::Null).await;
    let mut old = lab.sas_session("dev-1", &identity).await;
    take_away(&lab, &identity, true).await;
    let next = lab.create("dev-1", Value::Null).await;
    let mut new = lab.sas_session("dev-1", &next).await;
    sleep(Duration::from_secs(10)).await;
    let mark = lab.events.mark();
    old.send(publish(&telemetry("dev-1"), Some(1), "x")).await;
    old.expect_end().await;
    assert_eq!(lab.events.telemetry(mark), 0);
    new.publish(&telemetry("dev-1"), "x").await;
    assert_eq!(lab.events.telemetry(mark), 1);
    let shown = lab.hub("GET", "/devices/dev-1", None, None).await;
    assert_eq!(shown.text("connectionState"), "Connected");
}

async fn take_away(lab: &Lab, identity: &Value, delete: bool) {
    let path = "/devices/dev-1";
    if delete {
        assert_eq!(lab.hub("DELETE", path, Some("*"), None).await.status, 204);
    } else {
        let mut off = identity.clone();
        off["status"] = "disabled".into();
        assert_eq!(lab.hub("PUT", path, Some("*"), Some(off)).await.status, 200);
    }
}
