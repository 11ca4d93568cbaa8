//! What a loss of power takes, and what survives it.

use super::firmware;
use super::rig::Rig;
use crate::device::Link;
use crate::firmware::{Firmware, Persists, PowerLoss};
use crate::wire::ConnectReturnCode::{NotAuthorized, Success};

#[test]
fn without_power_there_are_no_connections_and_no_timers() {
    let mut rig = Rig::connected_to_hub(Firmware::default());
    rig.lose_power();
    rig.expect(&["close HubA", "SessionClosed(planned: false)", "PowerLost"]);
    assert_eq!(rig.device.poll_timeout(), None);
    rig.lose_power();
    rig.expect(&[]);
    rig.wake();
    // Where it belongs is stored: it goes straight there.
    rig.expect(&["Awoke", "connect HubA hub.net #1"]);
}

#[test]
fn a_message_that_was_not_acknowledged_is_sent_again() {
    let mut rig = Rig::connected_to_hub(Firmware::default());
    rig.wait();
    rig.expect(&["MessageOffered(1)", "HubA TELEMETRY 1"]);
    rig.lose_power();
    rig.wake();
    rig.forget();
    rig.connected(Link::HubA);
    rig.connack(Link::HubA, Success);
    rig.expect(&[
        "HubA CONNECT",
        "SessionOpened(#1)",
        "HubA SUBSCRIBE",
        "HubA TELEMETRY 1 DUP",
    ]);
}

/// R-C15.
#[test]
fn a_roll_that_power_interrupts_begins_again_with_both_keys() {
    let mut rig = Rig::connected_to_hub(firmware(|_| {}));
    rig.store(2);
    rig.call("reprovision");
    rig.connected(Link::Dps);
    rig.forget();
    rig.lose_power();
    rig.expect(&[
        "close Dps",
        "close HubA",
        "SessionClosed(planned: false)",
        "PowerLost",
    ]);
    rig.wake();
    rig.expect(&[
        "Awoke",
        "RegistrationStarted(#2)",
        "connect Dps dps.net #2",
        "connect HubA hub.net #1",
    ]);
}

/// A device that was called to roll, and has registered with the new key.
fn registered_with_new_key(persists: Persists) -> Rig {
    let mut rig = Rig::connected_to_hub(firmware(|it| {
        it.persists = persists;
        it.power_loss = Some(PowerLoss::AfterRegistering);
    }));
    rig.store(2);
    rig.call("reprovision");
    rig.register("hub.net");
    rig
}

/// R-C15: what is persisted first is there when power returns, and the roll ends.
#[test]
fn a_persisted_key_outlives_power_that_fails_after_registering() {
    let mut rig = registered_with_new_key(Persists::WhenDelivered);
    rig.expect(&[
        "RegistrationSucceeded(#2)",
        "power off for 10s",
        "close Dps",
        "close HubA",
        "SessionClosed(planned: false)",
        "PowerLost",
    ]);
    rig.wake();
    rig.expect(&[
        "Awoke",
        "RegistrationStarted(#2)",
        "connect Dps dps.net #2",
        "connect HubA hub.net #1",
    ]);
    // Once in its life is enough.
    rig.register("hub.net");
    rig.expect_end(&["connect HubA hub.net #2"]);
}

/// R-B21: DPS has told the hub of a key that nobody has any more.
#[test]
fn a_key_in_memory_goes_with_the_power_and_the_old_one_registers_again() {
    let mut rig = registered_with_new_key(Persists::WhenAssigned);
    rig.expect_end(&[
        "SessionClosed(planned: false)",
        "CredentialDropped(#2)",
        "PowerLost",
    ]);
    rig.wake();
    rig.expect(&["Awoke", "connect HubA hub.net #1"]);
    rig.connected(Link::HubA);
    rig.forget();
    rig.connack(Link::HubA, NotAuthorized);
    rig.expect(&[
        "ConnectRefused(#1 5)",
        "close HubA",
        "RegistrationStarted(#1)",
        "connect Dps dps.net #1",
    ]);
}

#[test]
fn a_key_persisted_when_assigned_outlives_a_later_loss() {
    for (persists, lost) in [
        (Persists::WhenDelivered, false),
        (Persists::WhenAssigned, false),
        (Persists::WhenConnected, true),
    ] {
        let mut rig = Rig::connected_to_hub(firmware(|it| {
            it.persists = persists;
            it.power_loss = Some(PowerLoss::AfterConnecting);
        }));
        rig.store(2);
        rig.call("reprovision");
        rig.register("hub.net");
        rig.connected(Link::HubB);
        rig.forget();
        rig.connack(Link::HubB, Success);
        let seen = rig.seen();
        let dropped = seen.contains(&"CredentialDropped(#2)".to_owned());
        assert_eq!(dropped, lost, "{persists:?}: {seen:?}");
        assert_eq!(seen.last().map(String::as_str), Some("PowerLost"));
        rig.wake();
        let key = if lost { "#1" } else { "#2" };
        rig.expect(&["Awoke", &format!("connect HubA hub.net {key}")]);
    }
}

#[test]
fn power_that_fails_before_registering_leaves_the_hub_as_it_is() {
    for (persists, after) in [
        (Persists::WhenDelivered, "RegistrationStarted(#2)"),
        (Persists::WhenAssigned, "connect HubA hub.net #1"),
    ] {
        let mut rig = Rig::connected_to_hub(firmware(|it| {
            it.persists = persists;
            it.power_loss = Some(PowerLoss::BeforeRegistering);
        }));
        rig.store(2);
        rig.call("reprovision");
        rig.expect_end(&["PowerLost"]);
        assert_eq!(rig.device.poll_timeout(), None);
        rig.wake();
        assert_eq!(rig.seen().get(1).map(String::as_str), Some(after));
    }
}
