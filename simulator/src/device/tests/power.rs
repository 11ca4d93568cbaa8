//! What a loss of power takes, and what survives it.

use super::firmware;
use super::rig::Rig;
use crate::device::Link;
use crate::firmware::Firmware;
use crate::wire::ConnectReturnCode::Success;

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
