//! A device whose clock is wrong, in whose store nothing else has changed.

use super::firmware;
use super::rig::Rig;
use crate::device::Link;
use crate::wire::ConnectReturnCode::NotAuthorized;

const DAY_MS: i64 = 86_400_000;

fn with_skew(skew_ms: i64) -> Rig {
    Rig::connected_to_hub(firmware(|it| it.clock_skew_ms = skew_ms))
}

#[test]
fn a_slow_clock_takes_a_certificate_for_one_of_the_future() {
    let mut rig = with_skew(-2_000);
    rig.store(2);
    rig.forget();
    rig.call("reprovision");
    // It does as it is told, with what it believes to have.
    rig.expect_end(&["RegistrationStarted(#1)", "connect Dps dps.net #1"]);
    let mut rig = with_skew(2_000);
    rig.store(2);
    rig.forget();
    rig.call("reprovision");
    rig.expect_end(&["RegistrationStarted(#2)", "connect Dps dps.net #2"]);
}

#[test]
fn a_fast_clock_rolls_at_boot_as_if_the_old_certificate_had_expired() {
    for (skew, first) in [
        (0, "connect HubA hub.net #1"),
        (20 * DAY_MS, "RegistrationStarted(#2)"),
    ] {
        let mut rig = with_skew(skew);
        rig.store(2);
        rig.sleep();
        rig.forget();
        rig.wake();
        let seen = rig.seen();
        assert_eq!(seen.get(1).map(String::as_str), Some(first), "{seen:?}");
    }
}

#[test]
fn a_slow_clock_shows_what_has_expired() {
    let mut rig = with_skew(-20 * DAY_MS);
    rig.store(2);
    rig.sleep();
    rig.pass_expiry_of_first();
    rig.wake();
    rig.expect_end(&["Awoke", "connect HubA hub.net #1"]);
    rig.connected(Link::HubA);
    rig.forget();
    rig.connack(Link::HubA, NotAuthorized);
    rig.expect_end(&["RegistrationStarted(#1)", "connect Dps dps.net #1"]);
}
