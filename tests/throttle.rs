//! Azure's limits on DPS, where the configuration asks for them (R-H1 to R-H3, R-B9).

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use linarite_core::throttle::RateLimit;
use linarite_emulator::{Config, DpsThrottles};
use linarite_env::Event;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::http::{Answer, Request};
use crate::support::mqtt::Connect;
use crate::support::{DPS, EPOCH, Lab, SCOPE};

const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/?$rid=1";

fn per_minute(count: u32) -> Option<RateLimit> {
    NonZeroU32::new(count).map(RateLimit::per_minute)
}

fn registrations(count: u32) -> impl FnOnce(&mut Config) {
    move |config| config.dps.throttles.registrations = per_minute(count)
}

fn device_request(method: &'static str, id: &str, what: &str) -> Request {
    let path = format!("/{SCOPE}/registrations/{id}{what}?api-version=2021-10-01");
    let request = Request::new(method, DPS, path);
    match method {
        "GET" => request,
        _ => request.json(json!({ "registrationId": id })),
    }
}

fn assert_throttled(answer: &Answer, retry_after: &str) {
    let code = (answer.status, answer.body["errorCode"].as_u64());
    assert_eq!(code, (429, Some(429_001)), "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some(retry_after));
    assert!(
        answer.text("message").starts_with("Too many "),
        "{answer:?}"
    );
}

/// R-H1, R-H2, R-B9: over HTTPS, where a look-up counts and a poll does not.
#[tokio::test(start_paused = true)]
async fn registrations_beyond_the_limit_are_told_when_to_come_back() {
    let lab = Lab::with(registrations(3));
    lab.open_fleet().await;
    let credentials = ["dev-1", "dev-2", "dev-3"].map(|name| lab.leaf(name, 1, 30));
    let ask = async |number: usize, method: &'static str, what: &str| {
        let id = format!("dev-{number}");
        let request = device_request(method, &id, what);
        lab.ask(&request, Some(&credentials[number - 1])).await
    };
    let begun = ask(1, "PUT", "/register").await;
    assert_eq!(begun.status, 202, "{begun:?}");
    assert_eq!(ask(2, "PUT", "/register").await.status, 202);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(ask(1, "POST", "").await.status, 200, "a look-up");
    let mark = lab.events.mark();
    assert_throttled(&ask(3, "PUT", "/register").await, "19");
    let told = |event: &Event| matches!(event, Event::RegistrationRefused { reason, .. } if reason.rule == "R-H1");
    assert!(lab.events.after(mark).iter().any(told));
    assert_throttled(&ask(2, "POST", "").await, "19");
    let poll = format!("/operations/{}", begun.text("operationId"));
    for _ in 0..10 {
        assert_eq!(ask(1, "GET", &poll).await.status, 200);
    }
    tokio::time::sleep(Duration::from_secs(19)).await;
    assert_eq!(ask(3, "PUT", "/register").await.status, 202);
    assert_throttled(&ask(2, "PUT", "/register").await, "20");
}

/// R-H1, wire 2.3: over MQTT the topic of the answer says it.
#[tokio::test(start_paused = true)]
async fn a_throttled_registration_over_mqtt_says_so_in_the_topic() {
    let lab = Lab::with(registrations(1));
    lab.open_fleet().await;
    assert_eq!(
        lab.register(&lab.leaf("dev-1", 1, 30)).await.outcome(),
        "assigned"
    );
    let mut client = lab.mqtt(Some(&lab.leaf("dev-2", 1, 30))).await;
    assert_eq!(client.connect(&Connect::dps("dev-2")).await, (0, 0));
    client.subscribe("$dps/registrations/res/#").await;
    client.publish(REGISTER, "").await;
    let answer = client.expect().await;
    // The poll of the first device came three seconds after its registration.
    assert_eq!(
        answer.topic(),
        "$dps/registrations/res/429/?$rid=1&retry-after=57"
    );
    assert_eq!(answer.json()["errorCode"], 429_001);
}

/// R-H1: where refusals count, who goes on asking puts off everybody, for one window at most.
#[tokio::test(start_paused = true)]
async fn refusals_that_count_use_the_limit_up() {
    let lab = Lab::with(|config| {
        config.dps.throttles.registrations = per_minute(1);
        config.settings.refused_requests_count = true;
    });
    lab.open_fleet().await;
    let credentials = ["dev-1", "dev-2"].map(|name| lab.leaf(name, 1, 30));
    let ask = async |number: usize| {
        let request = device_request("PUT", &format!("dev-{number}"), "/register");
        lab.ask(&request, Some(&credentials[number - 1])).await
    };
    assert_eq!(ask(1).await.status, 202);
    // The one that comes back in a minute is owed after the first refusal, and no more than that.
    assert_throttled(&ask(2).await, "120");
    assert_throttled(&ask(2).await, "120");
    tokio::time::sleep(Duration::from_secs(119)).await;
    // A second too soon: the next one is gone with that.
    assert_throttled(&ask(2).await, "61");
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(ask(2).await.status, 202);
}

/// R-H1: who is refused in one moment is told to come back in different ones, where that is
/// asked for; never sooner than there is something left, and a seed settles when.
#[tokio::test(start_paused = true)]
async fn refusals_of_one_moment_are_spread() {
    let told = async || {
        let lab = Lab::with(|config| {
            config.dps.throttles.registrations = per_minute(1);
            config.settings.retry_after_jitter_seconds = 60;
        });
        lab.open_fleet().await;
        let mut told = Vec::new();
        for number in 0..20 {
            let id = format!("dev-{number}");
            let request = device_request("PUT", &id, "/register");
            let answer = lab.ask(&request, Some(&lab.leaf(&id, 1, 30))).await;
            if answer.status == 429 {
                let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
                told.push(seconds);
            }
        }
        told
    };
    let (first, again) = (told().await, told().await);
    assert_eq!(first.len(), 19);
    assert!(
        first.iter().all(|seconds| (60..=120).contains(seconds)),
        "{first:?}"
    );
    let different: std::collections::BTreeSet<_> = first.iter().collect();
    assert!(different.len() > 10, "{first:?}");
    assert_eq!(first, again);
}

/// R-H2: each device has polls of its own.
#[tokio::test(start_paused = true)]
async fn polls_are_counted_by_device() {
    let lab = Lab::with(|config| config.dps.throttles.polls = DpsThrottles::azure().polls);
    lab.open_fleet().await;
    let credentials = ["dev-1", "dev-2"].map(|name| lab.leaf(name, 1, 30));
    let mut operations = Vec::new();
    for (number, credential) in credentials.iter().enumerate() {
        let request = device_request("PUT", &format!("dev-{}", number + 1), "/register");
        let begun = lab.ask(&request, Some(credential)).await;
        operations.push(begun.text("operationId").to_owned());
    }
    let poll = async |index: usize| {
        let what = format!("/operations/{}", operations[index]);
        let request = device_request("GET", &format!("dev-{}", index + 1), &what);
        lab.ask(&request, Some(&credentials[index])).await
    };
    for _ in 0..5 {
        assert!([200, 202].contains(&poll(0).await.status));
    }
    assert_throttled(&poll(0).await, "2");
    assert!([200, 202].contains(&poll(1).await.status));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(poll(0).await.status, 200);
}

/// R-H1: the service API has a limit of its own, which devices do not touch.
#[tokio::test(start_paused = true)]
async fn service_operations_have_a_limit_of_their_own() {
    let lab = Lab::with(|config| config.dps.throttles.service_operations = per_minute(2));
    for _ in 0..2 {
        let read = lab.dps("GET", "/enrollments/nobody", None, None).await;
        assert_eq!(read.status, 404);
    }
    let read = lab.dps("GET", "/enrollments/nobody", None, None).await;
    assert_throttled(&read, "30");
    let device = device_request("PUT", "dev-1", "/register");
    let refused = lab.ask(&device, Some(&lab.leaf("dev-1", 1, 30))).await;
    assert_eq!(refused.status, 401, "judged, not throttled: {refused:?}");
    tokio::time::sleep(Duration::from_secs(30)).await;
    let read = lab.dps("GET", "/enrollments/nobody", None, None).await;
    assert_eq!(read.status, 404);
}

/// R-H3: a storm takes as long as arithmetic says, and nobody is left behind.
#[tokio::test(start_paused = true)]
async fn a_storm_drains_at_the_pace_of_the_limit() {
    const FLEET: u32 = 120;
    const LIMIT: u32 = 60;
    let lab = Arc::new(Lab::with(registrations(LIMIT)));
    lab.open_fleet().await;
    let begin = lab.since(EPOCH);
    let mut fleet = JoinSet::new();
    for number in 0..FLEET {
        let lab = Arc::clone(&lab);
        fleet.spawn(async move {
            let id = format!("dev-{number:03}");
            let credential = lab.leaf(&id, 1, 30);
            loop {
                let request = device_request("PUT", &id, "/register");
                let answer = lab.ask(&request, Some(&credential)).await;
                match answer.status {
                    202 => return lab.since(EPOCH),
                    429 => {
                        let seconds = answer.header("retry-after").unwrap().parse().unwrap();
                        tokio::time::sleep(Duration::from_secs(seconds)).await;
                    }
                    _ => panic!("{answer:?}"),
                }
            }
        });
    }
    let mut last = Duration::ZERO;
    while let Some(accepted) = fleet.join_next().await {
        last = last.max(accepted.unwrap());
    }
    let took = last - begin;
    let bound = Duration::from_secs(u64::from(FLEET - LIMIT));
    assert!(took >= bound, "{took:?} is faster than the limit allows");
    assert!(took <= bound + Duration::from_secs(2), "{took:?}");
    let refused = lab.events.after(0).into_iter();
    let refused = refused.filter(|event| matches!(event, Event::RegistrationRefused { .. }));
    assert!(refused.count() >= (FLEET - LIMIT) as usize);
}
