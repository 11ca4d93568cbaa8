//! Trouble on purpose: what devices are told when DPS fails and a hub restarts.

use std::time::Duration;

use linarite_emulator::fault::{DpsFault, DpsTrouble, FaultError};
use linarite_env::Event;
use serde_json::json;
use tokio::time::sleep;

use crate::support::http::Request;
use crate::support::mqtt::{Connect, status, telemetry};
use crate::support::watch;
use crate::support::{DPS, HUB, Lab, SCOPE};

const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/?$rid=1";

/// Trouble for the next minute, for `hits` requests of two.
fn fault(lab: &Lab, hits: u32, trouble: DpsTrouble) -> DpsFault {
    let now = lab.env.clock.now_ms().0;
    DpsFault {
        from_ms: now,
        until_ms: now + 60_000,
        hits,
        of: 2.try_into().unwrap(),
        trouble,
    }
}

/// R-H1, R-F8: over HTTPS, with the body of any error of DPS, for register, poll and look-up.
#[tokio::test(start_paused = true)]
async fn a_dps_in_trouble_answers_everything_with_its_error() {
    let table = [
        (
            DpsTrouble::Throttled { seconds: 7 },
            429,
            429_001,
            Some("7"),
        ),
        (DpsTrouble::InternalError, 500, 500_000, None),
        (DpsTrouble::Unavailable, 503, 503_000, None),
    ];
    for (trouble, status, code, retry_after) in table {
        let lab = Lab::start();
        lab.open_fleet().await;
        let leaf = lab.leaf("dev-1", 1, 30);
        lab.emulator.faults().dps(fault(&lab, 2, trouble)).unwrap();
        let mark = lab.events.mark();
        for (method, what) in [
            ("PUT", "/register"),
            ("POST", ""),
            ("GET", "/operations/4.ab"),
        ] {
            let path = format!("/{SCOPE}/registrations/dev-1{what}?api-version=2021-10-01");
            let request = Request::new(method, DPS, path);
            let request = match method {
                "GET" => request,
                _ => request.json(json!({ "registrationId": "dev-1" })),
            };
            let answer = lab.ask(&request, Some(&leaf)).await;
            let said = (answer.status, answer.body["errorCode"].as_u64());
            assert_eq!(said, (status, Some(code)), "{method} {what}: {answer:?}");
            assert_eq!(answer.header("retry-after"), retry_after, "{answer:?}");
            assert!(answer.body["trackingId"].is_string(), "{answer:?}");
        }
        let refused = |event: &Event| matches!(event, Event::RegistrationRefused { .. });
        let told = lab.events.after(mark).into_iter().filter(refused).count();
        assert_eq!(told, 2, "register and look-up");
        sleep(Duration::from_secs(60)).await;
        assert_eq!(lab.register(&leaf).await.outcome(), "assigned");
    }
}

/// R-H1, wire 2.3: over MQTT the topic says it, and the conversation goes on.
#[tokio::test(start_paused = true)]
async fn trouble_over_mqtt_says_when_to_come_back() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let throttled = DpsTrouble::Throttled { seconds: 7 };
    lab.emulator
        .faults()
        .dps(fault(&lab, 2, throttled))
        .unwrap();
    let mut client = lab.mqtt(Some(&lab.leaf("dev-1", 1, 30))).await;
    assert_eq!(client.connect(&Connect::dps("dev-1")).await, (0, 0));
    client.subscribe("$dps/registrations/res/#").await;
    client.publish(REGISTER, "").await;
    let answer = client.expect().await;
    assert_eq!(status(answer.topic(), "$dps/registrations/res/"), 429);
    assert!(
        answer.topic().ends_with("retry-after=7"),
        "{}",
        answer.topic()
    );
    lab.emulator.faults().clear();
    client.publish(REGISTER, "").await;
    let answer = client.expect().await;
    assert_eq!(status(answer.topic(), "$dps/registrations/res/"), 202);
}

/// Half of the requests get through, and which ones the seed decides.
#[tokio::test(start_paused = true)]
async fn a_share_of_the_requests_is_hit_and_the_seed_decides() {
    let outcomes = async || {
        let lab = Lab::start();
        lab.open_fleet().await;
        let unavailable = DpsTrouble::Unavailable;
        lab.emulator
            .faults()
            .dps(fault(&lab, 1, unavailable))
            .unwrap();
        let leaf = lab.leaf("dev-1", 1, 30);
        let mut statuses = Vec::new();
        for _ in 0..40 {
            let path = format!("/{SCOPE}/registrations/dev-1?api-version=2021-10-01");
            let request = Request::new("POST", DPS, path);
            let request = request.json(json!({ "registrationId": "dev-1" }));
            statuses.push(lab.ask(&request, Some(&leaf)).await.status);
            sleep(Duration::from_secs(1)).await;
        }
        statuses
    };
    let (first, again) = (outcomes().await, outcomes().await);
    assert_eq!(first, again);
    let hit = first.iter().filter(|status| **status == 503).count();
    assert!((10..=30).contains(&hit), "{first:?}");
    assert!(first.iter().all(|status| [404, 503].contains(status)));
}

/// R-C11: every session ends, and until the hub is back devices are told to try again later.
#[tokio::test(start_paused = true)]
async fn a_hub_that_restarts_ends_sessions_and_comes_back_with_all_it_knew() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let leaf = lab.leaf("dev-1", 1, 30);
    let registered = lab.register(&leaf).await;
    assert_eq!(registered.outcome(), "assigned");
    let mut session = lab.session(&leaf).await.unwrap();
    let faults = lab.emulator.faults();
    assert_eq!(faults.restart_hub(HUB, Duration::from_secs(30)), Ok(1));
    session.expect_end().await;
    let unknown = faults.restart_hub("nobody.test", Duration::ZERO);
    assert_eq!(unknown, Err(FaultError::UnknownHub));
    assert_eq!(lab.session(&leaf).await.err(), Some(3));
    let path = "/devices/dev-1/messages/events?api-version=2021-04-12";
    let request = Request::new("POST", HUB, path).plain("hello");
    let answer = lab.ask(&request, Some(&leaf)).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(
        answer.header("iothub-errorcode"),
        Some("ServiceUnavailable")
    );
    sleep(Duration::from_secs(30)).await;
    lab.serves(&leaf).await;
}

/// What a developer asks of the admin listener, and what is not understood.
#[tokio::test]
async fn trouble_is_asked_for_over_the_admin_listener() {
    let lab = Lab::start();
    let admin = lab.emulator.listen().await.unwrap().admin;
    let identity = lab.create("dev-1", json!({ "type": "sas" })).await;
    let mut session = lab.sas_session("dev-1", &identity).await;
    session.publish(&telemetry("dev-1"), "before").await;
    let table = [
        (
            "POST",
            "/faults/dps?status=418&for=5",
            400,
            "status: expected 429, 500 or 503",
        ),
        (
            "POST",
            "/faults/dps?status=429",
            400,
            "for: expected how many seconds",
        ),
        (
            "POST",
            "/faults/dps?status=429&for=0",
            400,
            "for: expected 0.001 to 86400 seconds",
        ),
        (
            "POST",
            "/faults/dps?status=500&for=5&retry_after=2",
            400,
            "only a 429",
        ),
        (
            "POST",
            "/faults/dps?status=500&for=5&share=5/4",
            400,
            "share like 1/4",
        ),
        (
            "POST",
            "/faults/dps?status=500&for=5&shore=1/4",
            400,
            "shore: is no parameter",
        ),
        (
            "POST",
            "/faults/dps?status=500&for=5&in=NaN",
            400,
            "in: expected 0.001 to 86400 seconds",
        ),
        (
            "POST",
            "/faults/hub-restart?hub=nobody",
            404,
            "no hub is called that",
        ),
        (
            "POST",
            "/faults/hub-restart?for=60",
            200,
            "1 sessions ended",
        ),
        (
            "POST",
            "/faults/dps?status=503&for=60&share=1/1",
            200,
            "from now on",
        ),
    ];
    for (method, path, expected, words) in table {
        let (status, text) = watch::ask(admin, method, path).await;
        assert_eq!(status, expected, "{path}: {text}");
        assert!(text.contains(words), "{path}: {text}");
    }
    session.expect_end().await;
    let connect = lab.sas_connect("dev-1", &identity);
    assert_eq!(lab.mqtt(None).await.connect(&connect).await, (0, 3));
    assert_eq!(watch::ask(admin, "DELETE", "/faults").await.0, 204);
    assert_eq!(lab.mqtt(None).await.connect(&connect).await, (0, 0));
}

/// Whoever made trouble ends it, and nobody else's with it.
#[tokio::test]
async fn one_trouble_is_ended_and_others_are_left() {
    let lab = Lab::start();
    let admin = lab.emulator.listen().await.unwrap().admin;
    let identity = lab.create("dev-1", json!({ "type": "sas" })).await;
    let connect = lab.sas_connect("dev-1", &identity);
    let ask = async |method, path| watch::ask(admin, method, path).await;
    let register = async || {
        let path = format!("/{SCOPE}/registrations/dev-1?api-version=2021-10-01");
        let request = Request::new("POST", DPS, path);
        let request = request.json(json!({ "registrationId": "dev-1" }));
        lab.ask(&request, Some(&lab.leaf("dev-1", 1, 30)))
            .await
            .status
    };
    let later = ask("POST", "/faults/dps?status=500&in=60&for=0.5").await;
    assert_eq!(later, (200, "DPS fails in 60000 ms\n".to_owned()));
    assert_eq!(ask("POST", "/faults/dps?status=503&for=60").await.0, 200);
    assert_eq!(ask("POST", "/faults/hub-restart?for=60.5").await.0, 200);
    assert_eq!(ask("DELETE", "/faults/dps/0").await.0, 204);
    assert_eq!(ask("DELETE", "/faults/dps/0").await.0, 404, "it is gone");
    assert_eq!(ask("DELETE", "/faults/hub-restart?hub=nobody").await.0, 404);
    assert_eq!(ask("DELETE", "/faults/hub-restart?for=1").await.0, 400);
    assert_eq!(register().await, 503, "the other goes on");
    assert_eq!(lab.mqtt(None).await.connect(&connect).await, (0, 3));
    assert_eq!(ask("DELETE", "/faults/hub-restart").await.0, 204);
    assert_eq!(lab.mqtt(None).await.connect(&connect).await, (0, 0));
    assert_eq!(ask("DELETE", "/faults/dps/1").await.0, 204);
    assert_ne!(register().await, 503);
}
