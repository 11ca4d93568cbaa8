//! The machine against a scripted peer: what goes in is written down, and so is what comes out.

mod chaos;
mod clock;
mod power;
mod rig;

use std::time::Duration;

use rig::{INTERVAL, Rig};

use super::{Device, Link};
use crate::firmware::{Firmware, OnBoot, OnUnauthorized, RollOrder, Trigger};
use crate::wire::ConnectReturnCode::{NotAuthorized, ServiceUnavailable, Success};

fn firmware(change: impl FnOnce(&mut Firmware)) -> Firmware {
    let mut firmware = Firmware::default();
    change(&mut firmware);
    firmware
}

#[test]
fn the_first_boot_registers_then_connects_and_sends() {
    let mut rig = Rig::new(Firmware::default());
    rig.store(1);
    rig.expect(&["CredentialStored(#1)"]);
    rig.wake();
    rig.expect(&["Awoke", "RegistrationStarted(#1)", "connect Dps dps.net #1"]);
    rig.connected(Link::Dps);
    rig.expect(&["Dps CONNECT"]);
    rig.connack(Link::Dps, Success);
    rig.expect(&["Dps SUBSCRIBE"]);
    rig.suback(Link::Dps);
    rig.expect(&["Dps REGISTER"]);
    rig.assigning(Some(3));
    rig.expect(&["Dps PUBACK"]);
    assert_eq!(rig.wait(), 3_000);
    rig.expect(&["Dps POLL"]);
    rig.assigning(None);
    rig.expect(&["Dps PUBACK"]);
    assert_eq!(rig.wait(), 2_000);
    rig.expect(&["Dps POLL"]);
    rig.assigned("hub.net");
    rig.expect(&[
        "Dps PUBACK",
        "RegistrationSucceeded(#1)",
        "Dps DISCONNECT",
        "close Dps",
        "connect HubA hub.net #1",
    ]);
    rig.connected(Link::HubA);
    rig.expect(&["HubA CONNECT"]);
    rig.connack(Link::HubA, Success);
    rig.expect(&[
        "SessionOpened(#1)",
        "HubA SUBSCRIBE",
        "MessageOffered(0)",
        "HubA TELEMETRY 0",
    ]);
    rig.puback(Link::HubA, 0);
    rig.expect(&["MessageAcknowledged(0)"]);
    assert_eq!(rig.wait(), INTERVAL);
    rig.expect(&["MessageOffered(1)", "HubA TELEMETRY 1"]);
}

#[test]
fn a_wake_with_an_empty_store_waits_for_the_first_credential() {
    let mut rig = Rig::new(Firmware::default());
    rig.wake();
    rig.expect(&["Awoke"]);
    assert_eq!(rig.device.poll_timeout(), None);
    rig.store(1);
    rig.expect(&[
        "CredentialStored(#1)",
        "RegistrationStarted(#1)",
        "connect Dps dps.net #1",
    ]);
}

/// R-C14, R-C15, R-G26: the command is answered first.
#[test]
fn register_first_keeps_the_old_session_and_the_old_key_to_the_end() {
    let mut rig = Rig::connected_to_hub(Firmware::default());
    rig.store(2);
    rig.expect(&["CredentialStored(#2)"]);
    rig.call("reprovision");
    rig.expect(&[
        "HubA ANSWER 200",
        "MethodAnswered(reprovision 200)",
        "RegistrationStarted(#2)",
        "connect Dps dps.net #2",
    ]);
    rig.register("hub.net");
    rig.expect(&[
        "RegistrationSucceeded(#2)",
        "Dps DISCONNECT",
        "close Dps",
        "connect HubB hub.net #2",
    ]);
    rig.connected(Link::HubB);
    rig.connack(Link::HubB, Success);
    rig.expect(&[
        "HubB CONNECT",
        "SessionOpened(#2)",
        "close HubA",
        "HubB SUBSCRIBE",
        "CredentialDropped(#1)",
        "MessageOffered(1)",
        "HubB TELEMETRY 1",
    ]);
}

#[test]
fn a_take_over_lets_the_message_in_flight_land_but_not_for_ever() {
    for lands in [true, false] {
        let mut rig = Rig::connected_to_hub(firmware(|it| it.trigger = Trigger::Delivery));
        rig.wait();
        rig.expect(&["MessageOffered(1)", "HubA TELEMETRY 1"]);
        rig.store(2);
        rig.register("hub.net");
        rig.expect_end(&["RegistrationSucceeded(#2)", "Dps DISCONNECT", "close Dps"]);
        if lands {
            rig.puback(Link::HubA, 1);
            rig.expect(&["MessageAcknowledged(1)", "connect HubB hub.net #2"]);
        } else {
            assert_eq!(rig.wait(), 5_000);
            rig.expect(&["connect HubB hub.net #2"]);
            rig.connected(Link::HubB);
            rig.connack(Link::HubB, Success);
            rig.expect_end(&["HubB TELEMETRY 1 DUP", "CredentialDropped(#1)"]);
        }
    }
}

#[test]
fn a_take_over_seen_from_the_old_stream_first_is_no_gap() {
    let mut rig = Rig::connected_to_hub(firmware(|it| it.trigger = Trigger::Delivery));
    rig.store(2);
    rig.register("hub.net");
    rig.connected(Link::HubB);
    rig.forget();
    rig.closed(Link::HubA);
    rig.expect(&[]);
    rig.connack(Link::HubB, Success);
    let seen = rig.seen();
    assert_eq!(seen[0], "SessionOpened(#2)");
    assert!(
        !seen.iter().any(|line| line.starts_with("SessionClosed")),
        "{seen:?}"
    );
}

#[test]
fn a_take_over_that_never_completes_is_a_gap() {
    let mut rig = Rig::connected_to_hub(firmware(|it| it.trigger = Trigger::Delivery));
    rig.store(2);
    rig.register("hub.net");
    rig.connected(Link::HubB);
    rig.closed(Link::HubA);
    rig.forget();
    assert_eq!(rig.wait(), 1_000);
    rig.expect(&["SessionClosed(planned: false)"]);
}

#[test]
fn a_failed_registration_keeps_the_old_session_and_is_tried_again() {
    let mut rig = Rig::connected_to_hub(Firmware::default());
    rig.store(2);
    rig.call("reprovision");
    rig.enter_dps();
    rig.forget();
    rig.refused(401, None);
    rig.expect(&[
        "Dps PUBACK",
        "RegistrationFailed(#2 401 401002)",
        "close Dps",
    ]);
    assert!(rig.wait() <= 5_000);
    rig.expect(&["RegistrationStarted(#2)", "connect Dps dps.net #2"]);
}

#[test]
fn connect_first_registers_only_when_the_hub_refuses() {
    let mut rig = Rig::connected_to_hub(firmware(|it| it.roll = RollOrder::ConnectFirst));
    rig.store(2);
    rig.call("reprovision");
    rig.expect_end(&["MethodAnswered(reprovision 200)", "connect HubB hub.net #2"]);
    rig.connected(Link::HubB);
    rig.connack(Link::HubB, NotAuthorized);
    rig.expect(&[
        "HubB CONNECT",
        "ConnectRefused(#2 5)",
        "close HubB",
        "RegistrationStarted(#2)",
        "connect Dps dps.net #2",
    ]);
    rig.register("hub.net");
    rig.expect_end(&["close Dps", "connect HubB hub.net #2"]);
}

#[test]
fn switch_erases_the_old_key_before_anything_else() {
    let mut rig = Rig::connected_to_hub(firmware(|it| it.roll = RollOrder::Switch));
    rig.store(2);
    rig.call("reprovision");
    rig.expect_end(&[
        "HubA ANSWER 200",
        "MethodAnswered(reprovision 200)",
        "CredentialDropped(#1)",
        "HubA DISCONNECT",
        "close HubA",
        "SessionClosed(planned: false)",
        "connect HubA hub.net #2",
    ]);
}

#[test]
fn an_unknown_method_is_answered_404_and_changes_nothing() {
    let mut rig = Rig::connected_to_hub(Firmware::default());
    rig.store(2);
    rig.forget();
    rig.call("reboot");
    rig.expect(&["HubA ANSWER 404", "MethodAnswered(reboot 404)"]);
}

#[test]
fn reprovision_without_a_newer_credential_registers_with_the_current_one() {
    let mut rig = Rig::connected_to_hub(Firmware::default());
    rig.call("reprovision");
    rig.register("hub.net");
    // The hub is the old one, and the session shows the right credential already.
    rig.expect_end(&["RegistrationSucceeded(#1)", "Dps DISCONNECT", "close Dps"]);
    rig.call("reprovision");
    rig.register("other.net");
    rig.expect_end(&["close Dps", "connect HubB other.net #1"]);
}

/// R-C11, R-C14.
#[test]
fn unauthorized_makes_a_device_register() {
    let mut rig = Rig::connected_to_hub(Firmware::default());
    rig.reconnect(NotAuthorized);
    rig.expect(&[
        "ConnectRefused(#1 5)",
        "close HubA",
        "RegistrationStarted(#1)",
        "connect Dps dps.net #1",
    ]);
    // Refused again right after: the next registration waits.
    rig.register("hub.net");
    rig.connected(Link::HubA);
    rig.connack(Link::HubA, NotAuthorized);
    rig.expect_end(&["ConnectRefused(#1 5)", "close HubA"]);
    assert!(rig.wait() <= 10_000);
    rig.expect(&["RegistrationStarted(#1)", "connect Dps dps.net #1"]);
}

#[test]
fn retry_firmware_never_registers() {
    let mut rig = Rig::connected_to_hub(firmware(|it| it.on_unauthorized = OnUnauthorized::Retry));
    rig.closed(Link::HubA);
    for _ in 0..30 {
        rig.wait();
        rig.connected(Link::HubA);
        rig.connack(Link::HubA, NotAuthorized);
    }
    let seen = rig.seen();
    assert!(
        !seen
            .iter()
            .any(|line| line.starts_with("RegistrationStarted")),
        "{seen:?}"
    );
}

/// R-C11, I-9.
#[test]
fn ten_failures_in_a_row_lead_to_dps() {
    let mut rig = Rig::connected_to_hub(Firmware::default());
    rig.closed(Link::HubA);
    let mut waits = Vec::new();
    for _ in 0..10 {
        waits.push(rig.wait());
        rig.forget();
        rig.connected(Link::HubA);
        rig.connack(Link::HubA, ServiceUnavailable);
    }
    rig.expect_end(&["RegistrationStarted(#1)", "connect Dps dps.net #1"]);
    // Before attempt n the delay is at most 5 s doubled n - 1 times, and 10 min.
    let ceilings = [5, 5, 10, 20, 40, 80, 160, 320, 600, 600].map(|seconds| seconds * 1_000);
    assert!(
        waits.iter().zip(ceilings).all(|(wait, most)| *wait <= most),
        "{waits:?}"
    );
    assert!(waits.iter().max() > Some(&60_000), "{waits:?}");
    // The hub comes back first: nothing is left to ask DPS for.
    rig.wait();
    rig.connected(Link::HubA);
    rig.forget();
    rig.connack(Link::HubA, Success);
    rig.expect(&[
        "SessionOpened(#1)",
        "HubA SUBSCRIBE",
        "close Dps",
        "MessageOffered(1)",
        "HubA TELEMETRY 1",
    ]);
}

#[test]
fn an_unacknowledged_message_is_offered_once_and_resent_as_duplicate() {
    let mut rig = Rig::connected_to_hub(Firmware::default());
    rig.wait();
    rig.expect(&["MessageOffered(1)", "HubA TELEMETRY 1"]);
    rig.reconnect(Success);
    rig.expect(&[
        "SessionOpened(#1)",
        "HubA SUBSCRIBE",
        "HubA TELEMETRY 1 DUP",
    ]);
    rig.puback(Link::HubA, 1);
    rig.expect(&[
        "MessageAcknowledged(1)",
        "MessageOffered(2)",
        "HubA TELEMETRY 2",
    ]);
    rig.puback(Link::HubA, 1);
    rig.expect(&[]);
}

#[test]
fn a_silent_hub_is_given_up() {
    let mut rig = Rig::connected_to_hub(Firmware::default());
    rig.wait();
    rig.forget();
    assert_eq!(rig.wait(), 60_000);
    rig.expect(&["close HubA", "SessionClosed(planned: false)"]);
    rig.wait();
    rig.expect(&["connect HubA hub.net #1"]);
    rig.connected(Link::HubA);
    rig.forget();
    assert_eq!(rig.wait(), 60_000);
    rig.expect(&["ConnectRefused(#1 0)", "close HubA"]);
}

#[test]
fn an_idle_session_is_kept_alive_by_pings() {
    let mut rig = Rig::connected_to_hub(firmware(|it| it.keep_alive = Duration::from_secs(100)));
    assert_eq!(rig.wait(), 100_000);
    rig.expect(&["HubA PINGREQ"]);
    rig.pong(Link::HubA);
    assert_eq!(rig.wait(), 100_000);
    rig.expect(&["HubA PINGREQ"]);
    assert_eq!(rig.wait(), 60_000);
    rig.expect(&["close HubA", "SessionClosed(planned: false)"]);
}

#[test]
fn a_credential_expired_at_wake_is_rolled() {
    let mut rig = Rig::connected_to_hub(Firmware::default());
    rig.sleep();
    rig.store(2);
    rig.forget();
    rig.wake();
    rig.expect(&["Awoke", "connect HubA hub.net #1"]);
    rig.sleep();
    rig.pass_expiry_of_first();
    rig.forget();
    rig.wake();
    rig.expect(&["Awoke", "RegistrationStarted(#2)", "connect Dps dps.net #2"]);
}

/// R-C10: other firmware goes to the hub it knows.
#[test]
fn a_boot_registers_every_time_where_the_firmware_says_so() {
    let boots = |firmware: Firmware| {
        let mut rig = Rig::connected_to_hub(firmware);
        rig.sleep();
        rig.forget();
        rig.wake();
        rig
    };
    boots(firmware(|it| it.on_boot = OnBoot::Register)).expect(&[
        "Awoke",
        "RegistrationStarted(#1)",
        "connect Dps dps.net #1",
    ]);
    boots(Firmware::default()).expect(&["Awoke", "connect HubA hub.net #1"]);
}

#[test]
fn a_credential_refused_by_hub_and_dps_makes_room_for_the_newer_one() {
    let mut rig = Rig::connected_to_hub(Firmware::default());
    rig.store(2);
    rig.reconnect(NotAuthorized);
    rig.enter_dps();
    rig.forget();
    rig.refused(401, None);
    rig.expect(&[
        "Dps PUBACK",
        "RegistrationFailed(#1 401 401002)",
        "close Dps",
    ]);
    rig.wait();
    rig.expect(&["RegistrationStarted(#2)", "connect Dps dps.net #2"]);
    rig.register("hub.net");
    rig.connected(Link::HubA);
    rig.connack(Link::HubA, Success);
    rig.expect_end(&[
        "HubA SUBSCRIBE",
        "CredentialDropped(#1)",
        "MessageOffered(1)",
        "HubA TELEMETRY 1",
    ]);
}

/// R-B6, R-C12.
#[test]
fn throttling_is_waited_out_as_long_as_dps_says() {
    let mut rig = Rig::new(Firmware::default());
    rig.store(1);
    rig.wake();
    rig.enter_dps();
    rig.forget();
    rig.refused(429, Some(17));
    rig.expect(&["Dps PUBACK", "RegistrationFailed(#1 429 401002)"]);
    assert_eq!(rig.wait(), 17_000);
    rig.expect(&["RegistrationStarted(#1)", "Dps REGISTER"]);
    rig.refused(429, Some(90));
    rig.expect(&[
        "Dps PUBACK",
        "RegistrationFailed(#1 429 401002)",
        "close Dps",
    ]);
    assert_eq!(rig.wait(), 90_000);
    rig.expect(&["RegistrationStarted(#1)", "connect Dps dps.net #1"]);
    rig.enter_dps();
    rig.refused(503, None);
    let wait = rig.wait();
    assert!((1_000..=21_000).contains(&wait), "{wait}");
}

#[test]
fn sleep_drains_closes_and_sets_no_timer() {
    let mut rig = Rig::connected_to_hub(Firmware::default());
    rig.wait();
    rig.forget();
    rig.sleep();
    rig.expect(&[]);
    rig.puback(Link::HubA, 1);
    let good_night = [
        "MessageAcknowledged(1)",
        "HubA DISCONNECT",
        "close HubA",
        "SessionClosed(planned: true)",
        "FellAsleep",
    ];
    rig.expect(&good_night);
    assert_eq!(rig.device.poll_timeout(), None);
    rig.wake();
    rig.connected(Link::HubA);
    rig.connack(Link::HubA, Success);
    rig.forget();
    rig.sleep();
    assert_eq!(rig.wait(), 5_000);
    rig.expect(&good_night[1..]);
    assert_eq!(rig.device.poll_timeout(), None);
}

#[test]
fn a_roll_interrupted_by_sleep_goes_on_at_wake() {
    let mut rig = Rig::connected_to_hub(Firmware::default());
    rig.store(2);
    rig.call("reprovision");
    rig.register("hub.net");
    rig.forget();
    rig.sleep();
    rig.expect(&[
        "close HubB",
        "HubA DISCONNECT",
        "close HubA",
        "SessionClosed(planned: true)",
        "FellAsleep",
    ]);
    rig.wake();
    // DPS has told the hub the new certificate already; the old one would be refused.
    rig.expect(&["Awoke", "connect HubA hub.net #2"]);
}

#[test]
fn a_device_is_small() {
    let size = size_of::<Device>();
    assert!(size <= 384, "{size} bytes");
}
