//! What is made to go wrong may cost waits and calls, and nothing after it.

use super::*;

/// Things go wrong from 200 s to 400 s, and 100 s later all have to be back.
fn faults() -> Story {
    let troubled = Troubled {
        from: UnixMillis(200 * SECOND),
        calm: UnixMillis(400 * SECOND),
        within_ms: 100 * SECOND,
    };
    let mut story = Story::by(|terms| terms.troubled = Some(troubled)).begin();
    story.rolls(0);
    story.rolls(1);
    story
}

/// The only device that was not back: from when to when, in seconds.
fn late(story: &Story) -> Option<(i64, i64)> {
    let findings = story.ends();
    let recovers = check(&findings, "recovers");
    assert_eq!(recovers.passed, recovers.offences.is_empty());
    let offence = recovers.offences.first()?;
    assert_eq!((offence.device.as_str(), recovers.offenders), ("dev-1", 1));
    let second = |ms: Option<i64>| ms.unwrap() / SECOND;
    Some((second(offence.from_ms), second(offence.until_ms)))
}

#[test]
fn a_wait_among_faults_does_not_count_and_one_after_them_does() {
    let mut story = faults();
    story.closes(0, 310);
    story.connects(0, 450, 2);
    let findings = story.ends();
    assert!(check(&findings, "gap-within-budget").passed);
    assert!(check(&findings, "recovers").passed);
    story.closes(0, 600);
    story.connects(0, 650, 2);
    let findings = story.ends();
    let gaps = check(&findings, "gap-within-budget");
    assert_eq!(gaps.offences[0].from_ms, Some(600 * SECOND));
    assert!(check(&findings, "recovers").passed, "it had been back");
}

#[test]
fn who_is_not_back_in_time_is_named_with_the_time() {
    let mut story = faults();
    story.closes(0, 310);
    story.connects(0, 700, 2);
    assert_eq!(late(&story), Some((400, 700)));
    let findings = story.ends();
    let gap = &check(&findings, "gap-within-budget").offences[0];
    assert_eq!(
        gap.from_ms,
        Some(500 * SECOND),
        "from then on it counts again"
    );
}

#[test]
fn who_is_never_back_is_late_until_the_end() {
    let mut story = faults();
    story.closes(0, 310);
    assert_eq!(late(&story), Some((400, 2_000)));
}

#[test]
fn a_session_by_an_older_certificate_is_not_back() {
    let mut story = faults();
    story.stores(0, 320, 3);
    assert_eq!(late(&story), Some((400, 2_000)));
}

#[test]
fn who_sleeps_has_its_time_when_it_wakes() {
    let mut story = faults();
    story.sees(0, 310, Observation::PowerLost);
    assert_eq!(late(&story), None, "nothing is asked of who is never awake");
    story.sees(0, 800, Observation::Awoke);
    story.connects(0, 850, 2);
    assert_eq!(late(&story), None);

    let mut story = faults();
    story.sees(0, 310, Observation::PowerLost);
    story.sees(0, 800, Observation::Awoke);
    story.connects(0, 950, 2);
    assert_eq!(late(&story), Some((800, 950)));
}
