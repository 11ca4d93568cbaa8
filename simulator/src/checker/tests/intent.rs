//! What a thief holds becomes worthless, who is meant to be refused is, calls are answered.

use super::*;

/// The first certificates are breached, and worthless from 500 s on.
fn breach() -> Story {
    let contained = UnixMillis(500 * SECOND);
    let mut story = Story::by(|terms| terms.breach = Some((Generation(1), contained))).begin();
    story.rolls(0);
    story.rolls(1);
    for device in [0, 1] {
        let old = ConnectionId(u64::from(device) + 1);
        story.happens(300, session_closed(device, old));
    }
    story
}

fn session_closed(device: u32, connection: ConnectionId) -> Event {
    Event::SessionClosed {
        hub: HUB.into(),
        device_id: name(device),
        connection,
        reason: reason("R-G13", 400_027),
    }
}

fn reason(rule: &'static str, code: u32) -> Reason {
    Reason {
        rule,
        code,
        text: "no".to_owned(),
    }
}

/// The hub lets a certificate in, whoever shows it.
fn opened(device: u32, generation: u32, connection: u64) -> Event {
    Event::SessionOpened {
        hub: HUB.into(),
        device_id: name(device),
        connection: ConnectionId(connection),
        presented: Some(print(device, generation)),
    }
}

fn audited(story: &Story, at: i64, outcome: AuditOutcome) {
    let at = UnixMillis(at * SECOND);
    story
        .ledger
        .audited(DeviceIndex(0), Generation(1), "the hub", at, outcome);
}

#[test]
fn a_breach_that_nobody_tried_proves_nothing() {
    let story = breach();
    assert!(!check(&story.ends(), "retired-credentials-refused").passed);
    audited(&story, 600, AuditOutcome::Refused);
    assert!(check(&story.ends(), "retired-credentials-refused").passed);
}

#[test]
fn a_breached_certificate_that_the_hub_still_takes_fails() {
    let mut story = breach();
    story.happens(400, opened(0, 1, 70));
    story.happens(450, session_closed(0, ConnectionId(70)));
    audited(&story, 600, AuditOutcome::Refused);
    story.happens(600, opened(1, 1, 71));
    story.happens(600, session_closed(1, ConnectionId(71)));
    let findings = story.ends();
    let retired = check(&findings, "retired-credentials-refused");
    assert!(!retired.passed);
    assert!(retired.rules.contains_key("R-E4"), "{:?}", retired.rules);
}

#[test]
fn a_thief_whose_session_outlives_the_breach_is_reported() {
    let mut story = breach();
    audited(&story, 600, AuditOutcome::Refused);
    story.happens(400, opened(0, 1, 70));
    let findings = story.ends();
    let retired = check(&findings, "retired-credentials-refused");
    assert!(!retired.passed);
    assert!(retired.rules.contains_key("R-E8"), "{:?}", retired.rules);
}

#[test]
fn a_breached_certificate_that_dps_still_admits_fails() {
    let mut story = breach();
    audited(&story, 600, AuditOutcome::Refused);
    story.registers(0, 700, 1);
    let findings = story.ends();
    let retired = check(&findings, "retired-credentials-refused");
    assert!(retired.rules.contains_key("R-E1"), "{:?}", retired.rules);
}

/// The second device is meant to be refused from 500 s on, when its identity is disabled.
fn lockout() -> Story {
    // One in two: the first device, whose number is 0.
    let from = UnixMillis(500 * SECOND);
    let mut story = Story::by(|terms| terms.locked_out = Some((2, from))).begin();
    story.rolls(0);
    story.rolls(1);
    story.closes(0, 500);
    story
}

#[test]
fn who_is_meant_to_be_refused_counts_as_no_lost_service() {
    let mut story = lockout();
    story.hub_refuses(0, 501, 2, "R-G4");
    let findings = story.ends();
    assert!(findings.passed(), "{:?}", findings.checks);
    assert_eq!(findings.locked_out, 1);
}

#[test]
fn who_is_meant_to_be_refused_and_never_tries_proves_nothing() {
    let findings = lockout().ends();
    assert!(!check(&findings, "locked-out-refused").passed);
}

#[test]
fn who_is_meant_to_be_refused_and_is_let_in_fails() {
    let mut story = lockout();
    story.hub_refuses(0, 501, 2, "R-G4");
    story.registers(0, 600, 2);
    let findings = story.ends();
    let refused = check(&findings, "locked-out-refused");
    assert_eq!(refused.offences[0].rule.as_deref(), Some("R-A26"));

    let mut story = lockout();
    story.happens(600, opened(0, 2, 80));
    let findings = story.ends();
    let refused = check(&findings, "locked-out-refused");
    assert_eq!(refused.offences[0].rule.as_deref(), Some("R-A28"));
}

#[test]
fn a_call_without_an_answer_fails_and_one_to_nobody_does_not() {
    let failed = |code| Event::MethodFailed {
        hub: HUB.into(),
        device_id: name(0),
        method: "reprovision".into(),
        reason: reason("R-G25", code),
    };
    let mut story = Story::begun();
    story.rolls(0);
    story.rolls(1);
    story.happens(300, failed(404_103));
    assert!(check(&story.ends(), "calls-answered").passed);
    story.happens(300, failed(504_101));
    let findings = story.ends();
    let calls = check(&findings, "calls-answered");
    assert_eq!(calls.offences[0].rule.as_deref(), Some("R-G26"));
}
