//! Bytes nobody would think of: random ones at every layer, and valid conversations with bits
//! flipped. The emulator does not panic, lets nobody stay without end, and goes on serving.

use std::time::Duration;

use linarite::pki::Credential;
use linarite_emulator::Door;
use linarite_emulator::limits::{CONNECT_TIMEOUT, HANDSHAKE_TIMEOUT, KEEP_ALIVE_SERVER_MAX};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::runtime::Runtime;

use crate::support::mqtt::{Connect, publish, subscribe, telemetry};
use crate::support::{Lab, drain};

/// Longest a connection may last: the longest keep-alive, and a little for timers.
const LONGEST: Duration = KEEP_ALIVE_SERVER_MAX.saturating_add(Duration::from_secs(60));

/// A laboratory on a runtime of its own, used for many cases.
struct World {
    runtime: Runtime,
    lab: Lab,
    bad: Credential,
    good: Credential,
}

impl World {
    fn new() -> Self {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        let (lab, bad, good) = runtime.block_on(async {
            let lab = Lab::start();
            lab.open_fleet().await;
            let (bad, good) = (lab.leaf("bad-1", 1, 900), lab.leaf("good-1", 1, 900));
            lab.serves(&bad).await;
            lab.serves(&good).await;
            (lab, bad, good)
        });
        Self {
            runtime,
            lab,
            bad,
            good,
        }
    }

    /// Runs `case` for 64 values of `strategy`, always the same ones.
    fn for_all<S: Strategy>(&self, strategy: &S, case: impl AsyncFn(&Lab, S::Value)) {
        let config = Config {
            cases: 64,
            failure_persistence: None,
            ..Config::default()
        };
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let outcome = TestRunner::new_with_rng(config, rng).run(strategy, |value| {
            self.runtime.block_on(async {
                case(&self.lab, value).await;
                let mut session = self.lab.session(&self.good).await.unwrap();
                session.publish(&telemetry("good-1"), "still served").await;
            });
            Ok(())
        });
        outcome.unwrap_or_else(|failure| panic!("{failure}"));
    }
}

/// Writes everything, reads everything, and waits for the end.
async fn throw(stream: impl AsyncRead + AsyncWrite, bytes: &[u8]) -> Vec<u8> {
    let (mut read, mut write) = tokio::io::split(stream);
    let send = async {
        // The door may well be shut before all of it is through.
        let _ = write.write_all(bytes).await;
        let _ = write.flush().await;
    };
    let (answer, ()) = tokio::join!(drain(&mut read), send);
    answer
}

#[test]
fn random_bytes_before_tls_are_thrown_out_within_the_handshake_timeout() {
    let world = World::new();
    // Half of them begin like a handshake, to get further into it.
    let bytes = (any::<bool>(), vec(any::<u8>(), 0..3000)).prop_map(|(like_tls, mut bytes)| {
        if like_tls {
            bytes.splice(0..0, [0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3]);
        }
        bytes
    });
    world.for_all(&bytes, async |lab, bytes| {
        let began = lab.env.clock.now_ms();
        throw(lab.pipe(Door::Mqtt), &bytes).await;
        assert!(lab.since(began) <= HANDSHAKE_TIMEOUT + Duration::from_secs(1));
    });
}

#[test]
fn random_bytes_after_tls_are_thrown_out_within_the_connect_timeout() {
    let world = World::new();
    let bytes = (any::<bool>(), vec(any::<u8>(), 1..3000)).prop_map(|(like_mqtt, mut bytes)| {
        if like_mqtt {
            bytes.splice(0..0, *b"\x10\x40\x00\x04MQTT\x04\xC2\x00\x3C");
        }
        bytes
    });
    world.for_all(&bytes, async |lab, bytes| {
        let began = lab.env.clock.now_ms();
        throw(lab.tls(Door::Mqtt, None).await, &bytes).await;
        assert!(lab.since(began) <= CONNECT_TIMEOUT + Duration::from_secs(1));
    });
}

#[test]
fn random_bytes_at_the_https_door_are_thrown_out_within_the_connect_timeout() {
    let world = World::new();
    let bytes = (any::<bool>(), vec(any::<u8>(), 1..3000)).prop_map(|(like_http, mut bytes)| {
        if like_http {
            bytes.splice(0..0, *b"GET /devices HTTP/1.1\r\nHost: h\r\nx: ");
        }
        bytes
    });
    world.for_all(&bytes, async |lab, bytes| {
        let began = lab.env.clock.now_ms();
        throw(lab.tls(Door::Https, None).await, &bytes).await;
        assert!(lab.since(began) <= CONNECT_TIMEOUT + Duration::from_secs(1));
    });
}

/// A conversation of a device that does everything right.
fn conversation(connect: &Connect, filters: &[(&str, u8)], topics: &[&str]) -> Vec<u8> {
    let mut bytes = connect.bytes();
    bytes.extend(subscribe(filters));
    for (id, topic) in (2..).zip(topics) {
        bytes.extend(publish(topic, Some(id), r#"{"registrationId":"bad-1"}"#));
    }
    bytes
}

/// Flips up to six bits of every kind of conversation.
fn flipped(original: &[u8], flips: &[(Index, u8)]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for (at, bit) in flips {
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
    }
    bytes
}

#[test]
fn conversations_with_bits_flipped_end_or_go_on_but_never_without_end() {
    let world = World::new();
    let mut at_hub = Connect::hub("bad-1");
    at_hub.will = Some((telemetry("bad-1"), "gone".to_owned()));
    at_hub.keep_alive = 60;
    let telemetry = telemetry("bad-1");
    let conversations = [
        conversation(
            &at_hub,
            &[("$iothub/methods/POST/#", 1), ("$iothub/twin/res/#", 0)],
            &[
                &telemetry,
                "$iothub/twin/GET/?$rid=1",
                "$iothub/twin/PATCH/properties/reported/?$rid=2",
                "$iothub/methods/res/200/?$rid=1",
            ],
        ),
        conversation(
            &Connect::dps("bad-1"),
            &[("$dps/registrations/res/#", 1)],
            &[
                "$dps/registrations/PUT/iotdps-register/?$rid=1",
                "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId=4.a.b",
            ],
        ),
    ];
    let flips = vec((any::<Index>(), 0..8u8), 0..6);
    world.for_all(&flips, async |lab, flips| {
        for original in &conversations {
            let began = lab.env.clock.now_ms();
            let bytes = flipped(original, &flips);
            throw(lab.tls(Door::Mqtt, Some(&world.bad)).await, &bytes).await;
            assert!(lab.since(began) <= LONGEST, "{:?}", lab.since(began));
        }
    });
}
