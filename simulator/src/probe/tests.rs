//! Probes against scripted services.

use linarite_env::UnixMillis;

use super::*;
use crate::driver::fake::{Fake, HUB, NOW};
use crate::observation::Generation;

fn clock() -> Clock {
    Clock::tokio(UnixMillis(NOW * 1_000))
}

#[tokio::test(start_paused = true)]
async fn the_hub_tells_a_known_certificate_from_a_strange_one() {
    let fake = Fake::new();
    let known = fake
        .pki
        .leaf("ca", "dev-1", Generation(1), 0, 2 * NOW)
        .unwrap();
    let strange = fake
        .pki
        .leaf("ca", "dev-1", Generation(2), 0, 2 * NOW)
        .unwrap();
    fake.accept(&known);
    let probe = async |credential| {
        let connector = Arc::clone(&fake) as _;
        probe_hub(
            &fake.services,
            connector,
            &clock(),
            HUB,
            "dev-1",
            credential,
        )
        .await
    };
    assert_eq!(probe(&known).await, ProbeOutcome::Accepted);
    let refused = probe(&strange).await;
    assert!(
        matches!(refused, ProbeOutcome::Refused { connack: 5, .. }),
        "{refused:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_registration_is_followed_to_its_end() {
    let fake = Fake::new();
    let good = fake
        .pki
        .leaf("ca", "dev-1", Generation(1), 0, 2 * NOW)
        .unwrap();
    let bad = fake
        .pki
        .leaf("ca", "dev-1", Generation(2), 0, 2 * NOW)
        .unwrap();
    fake.refuse_at_dps(&bad);
    let probe = async |credential| {
        probe_dps(
            &fake.services,
            Arc::clone(&fake) as _,
            &clock(),
            "dev-1",
            credential,
        )
        .await
    };
    assert_eq!(probe(&good).await, ProbeOutcome::Accepted);
    let refused = probe(&bad).await;
    let expected = ProbeOutcome::Refused {
        connack: 0,
        status: 401,
        code: 401_002,
        text: "Unauthorized".to_owned(),
    };
    assert_eq!(refused, expected);
}

#[tokio::test(start_paused = true)]
async fn no_answer_is_no_refusal() {
    let fake = Fake::new();
    let any = fake
        .pki
        .leaf("ca", "dev-1", Generation(1), 0, 2 * NOW)
        .unwrap();
    let connector = Arc::clone(&fake) as _;
    let outcome = probe_hub(
        &fake.services,
        connector,
        &clock(),
        "nowhere.net",
        "dev-1",
        &any,
    )
    .await;
    assert!(
        matches!(outcome, ProbeOutcome::Unreachable { .. }),
        "{outcome:?}"
    );
}
