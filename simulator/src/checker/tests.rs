//! Each check holds for a good roll and fails for the mistake it is there for.

use std::collections::BTreeSet;
use std::sync::Arc;

use linarite_env::event::{ConnectionId, Event, Fingerprint, Reason};
use linarite_env::{Stamped, UnixMillis};

use super::*;

mod intent;
mod recovery;

const HUB: &str = "hub.example";
const SECOND: i64 = 1000;
/// The fleet's two certificates live from 0 to 1,000 s and from 0 to 10,000 s.
const LIVES: [i64; 3] = [1_000, 10_000, 10_000];

/// Tells the story of a fleet of two devices in seconds.
struct Story {
    ledger: Arc<Ledger>,
    sequence: u64,
}

impl Story {
    /// The roll begins at 100 s, the run ends at 2,000 s.
    fn new() -> Self {
        Self::by(|_| {})
    }

    /// The same, measured by other terms.
    fn by(change: impl FnOnce(&mut Terms)) -> Self {
        let mut terms = Terms {
            origin: UnixMillis(0),
            roll_from: UnixMillis(100 * SECOND),
            end: UnixMillis(2_000 * SECOND),
            gap_budget_ms: 10 * SECOND,
            stranded_budget_ms: 0,
            breach: None,
            locked_out: None,
            troubled: None,
            newest: Generation(2),
            grace_ms: 0,
            settle_ms: SECOND,
        };
        change(&mut terms);
        let names = |id: &str| Names {
            registration_id: id.into(),
            others: vec![format!("{id}-v2")],
        };
        Self {
            ledger: Ledger::new(terms, &[names("dev-1"), names("dev-2")]),
            sequence: 0,
        }
    }

    fn sees(&mut self, device: u32, at: i64, observation: Observation) {
        self.ledger
            .observe(DeviceIndex(device), UnixMillis(at * SECOND), observation);
    }

    fn happens(&mut self, at: i64, event: Event) {
        let at = UnixMillis(at * SECOND);
        self.ledger.hear(&Stamped {
            at,
            sequence: self.sequence,
            event,
        });
        self.sequence += 1;
    }

    fn stores(&mut self, device: u32, at: i64, generation: u32) {
        self.sees(
            device,
            at,
            Observation::CredentialStored {
                generation: Generation(generation),
                fingerprint: print(device, generation).0,
                not_before: 0,
                not_after: LIVES[generation as usize - 1],
            },
        );
    }

    fn registers(&mut self, device: u32, at: i64, generation: u32) {
        let presented = Some(print(device, generation));
        let (registration_id, hub) = (name(device), Arc::from(HUB));
        let device_id = name(device);
        let accepted = Event::RegistrationAccepted {
            registration_id: name(device),
            presented,
        };
        self.happens(at, accepted);
        self.happens(
            at,
            Event::IdentityUpdated {
                hub: Arc::clone(&hub),
                device_id: name(device),
                enabled: true,
                thumbprints: vec![print(device, generation)],
            },
        );
        self.happens(
            at,
            Event::DeviceAssigned {
                registration_id,
                device_id,
                hub,
                substatus: "initialAssignment",
                enrollment: "fleet".into(),
                slot: None,
                presented,
            },
        );
        let (hub, device_id) = (HUB.to_owned(), name(device).to_string());
        let generation = Generation(generation);
        self.sees(
            device,
            at,
            Observation::RegistrationSucceeded {
                generation,
                hub,
                device_id,
            },
        );
    }

    fn connects(&mut self, device: u32, at: i64, generation: u32) {
        let presented = Some(print(device, generation));
        self.happens(
            at,
            Event::SessionOpened {
                hub: HUB.into(),
                device_id: name(device),
                connection: ConnectionId(1),
                presented,
            },
        );
        let generation = Generation(generation);
        self.sees(device, at, Observation::SessionOpened { generation });
    }

    fn closes(&mut self, device: u32, at: i64) {
        self.sees(device, at, Observation::SessionClosed { planned: false });
    }

    fn hub_refuses(&mut self, device: u32, at: i64, generation: u32, rule: &'static str) {
        let reason = Reason {
            rule,
            code: 401_003,
            text: "no".to_owned(),
        };
        let presented = Some(print(device, generation));
        let (hub, device_id) = (HUB.into(), name(device));
        self.happens(
            at,
            Event::SessionRefused {
                hub,
                device_id,
                presented,
                reason,
            },
        );
    }

    fn dps_refuses(&mut self, device: u32, at: i64, generation: u32, rule: &'static str) {
        let reason = Reason {
            rule,
            code: 401_002,
            text: "no".to_owned(),
        };
        let presented = Some(print(device, generation));
        let registration_id = name(device);
        self.happens(
            at,
            Event::RegistrationRefused {
                registration_id,
                presented,
                reason,
            },
        );
    }

    fn message(&mut self, device: u32, at: i64, sequence: u32, [acknowledged, arrives]: [bool; 2]) {
        self.sees(device, at, Observation::MessageOffered { sequence });
        if arrives {
            let (hub, device_id) = (HUB.into(), name(device));
            let message_id = Some(sequence.to_string().into());
            self.happens(
                at,
                Event::TelemetryAccepted {
                    hub,
                    device_id,
                    message_id,
                },
            );
        }
        if acknowledged {
            self.sees(device, at, Observation::MessageAcknowledged { sequence });
        }
    }

    /// Both devices are connected with their first certificate before the roll begins.
    fn begun() -> Self {
        Self::new().begin()
    }

    fn begin(self) -> Self {
        let mut story = self;
        for device in [0, 1] {
            story.stores(device, 0, 1);
            story.sees(device, 10, Observation::Awoke);
            story.registers(device, 13, 1);
            story.connects(device, 13, 1);
        }
        story
    }

    /// `device` rolls as it should at 200 s.
    fn rolls(&mut self, device: u32) {
        self.stores(device, 150, 2);
        self.registers(device, 200, 2);
        self.connects(device, 200, 2);
        self.sees(
            device,
            200,
            Observation::CredentialDropped {
                generation: Generation(1),
            },
        );
    }

    fn ends(&self) -> Findings {
        self.ledger.judge(UnixMillis(2_000 * SECOND))
    }
}

fn print(device: u32, generation: u32) -> Fingerprint {
    let mut bytes = [0; 32];
    bytes[0] = u8::try_from(device).unwrap();
    bytes[1] = u8::try_from(generation).unwrap();
    Fingerprint(bytes)
}

fn name(device: u32) -> Arc<str> {
    format!("dev-{}", device + 1).into()
}

fn check<'a>(findings: &'a Findings, name: &str) -> &'a Check {
    findings
        .checks
        .iter()
        .find(|check| check.name == name)
        .unwrap()
}

/// The only check that fails, if there is just one.
fn failed(findings: &Findings) -> Vec<&str> {
    findings
        .checks
        .iter()
        .filter(|check| !check.passed)
        .map(|check| check.name)
        .collect()
}

#[test]
fn a_good_roll_passes_every_check() {
    let mut story = Story::begun();
    story.rolls(0);
    story.rolls(1);
    story.message(0, 300, 0, [true, true]);
    // A sleep beyond the life of the first certificate harms nobody.
    story.sees(1, 400, Observation::SessionClosed { planned: true });
    story.sees(1, 400, Observation::FellAsleep);
    story.sees(1, 1_500, Observation::Awoke);
    story.connects(1, 1_502, 2);
    let findings = story.ends();
    assert_eq!(failed(&findings), [""; 0], "{:#?}", findings.checks);
    assert_eq!(findings.on_newest, 2);
    assert_eq!(findings.downtime.max, 2 * SECOND);
    assert_eq!(findings.messages.received, 1);
}

#[test]
fn a_device_without_an_acceptable_certificate_is_stranded_by_the_rule_that_kept_it_out() {
    let mut story = Story::begun();
    story.rolls(0);
    // Device 2 swaps its certificate and reconnects; it registers much later.
    story.stores(1, 150, 2);
    story.sees(
        1,
        200,
        Observation::CredentialDropped {
            generation: Generation(1),
        },
    );
    story.closes(1, 200);
    story.hub_refuses(1, 201, 2, "R-G10");
    story.registers(1, 205, 2);
    story.connects(1, 206, 2);
    let findings = story.ends();
    assert_eq!(failed(&findings), ["never-stranded"]);
    let stranded = check(&findings, "never-stranded");
    let offence = &stranded.offences[0];
    assert_eq!(
        (offence.from_ms, offence.until_ms),
        (Some(200_000), Some(205_000))
    );
    assert_eq!(
        (offence.device.as_str(), offence.rule.as_deref()),
        ("dev-2", Some("R-G10"))
    );
    assert_eq!(stranded.rules.get("R-G10"), Some(&1));
}

#[test]
fn a_certificate_that_runs_out_strands_a_device_in_its_sleep() {
    let mut story = Story::begun();
    story.rolls(0);
    story.sees(1, 400, Observation::SessionClosed { planned: true });
    story.sees(1, 400, Observation::FellAsleep);
    story.stores(1, 500, 2);
    story.sees(1, 1_500, Observation::Awoke);
    story.dps_refuses(1, 1_501, 2, "R-A21b");
    story.hub_refuses(1, 1_502, 1, "R-G7");
    story.registers(1, 1_504, 2);
    story.connects(1, 1_504, 2);
    let findings = story.ends();
    let offence = &check(&findings, "never-stranded").offences[0];
    assert_eq!(
        (offence.from_ms, offence.until_ms),
        (Some(1_001_000), Some(1_504_000))
    );
    assert_eq!(
        offence.rule.as_deref(),
        Some("R-A21b"),
        "the word of DPS goes before the hub's"
    );
    assert!(
        check(&findings, "gap-within-budget").passed,
        "awake it waited for four seconds"
    );
}

#[test]
fn a_wait_beyond_the_budget_fails_even_if_it_never_ends() {
    let mut story = Story::begun();
    story.rolls(0);
    story.rolls(1);
    story.closes(1, 1_900);
    story.dps_refuses(1, 1_901, 2, "R-A15");
    let findings = story.ends();
    let gap = check(&findings, "gap-within-budget");
    let offence = &gap.offences[0];
    assert!(!gap.passed);
    assert_eq!(
        (offence.from_ms, offence.until_ms),
        (Some(1_900_000), Some(2_000_000))
    );
    assert_eq!(offence.rule.as_deref(), Some("R-A15"));
    assert!(
        check(&findings, "never-stranded").passed,
        "its hub would have taken it"
    );
    assert!(!check(&findings, "ends-on-new-certificate").passed);
}

#[test]
fn waits_before_the_roll_do_not_count() {
    let mut story = Story::begun();
    story.closes(0, 20);
    story.connects(0, 99, 1);
    story.rolls(0);
    story.rolls(1);
    assert!(story.ends().passed());
}

#[test]
fn lost_repeated_and_unacknowledged_messages_fail() {
    let table = [
        ([true, false], "was acknowledged and never arrived"),
        ([false, true], "was never acknowledged"),
        ([false, false], "was never acknowledged"),
    ];
    for (fate, words) in table {
        let mut story = Story::begun();
        story.rolls(0);
        story.rolls(1);
        story.message(0, 300, 0, fate);
        let findings = story.ends();
        assert_eq!(failed(&findings), ["messages-arrive-once"]);
        let offence = &check(&findings, "messages-arrive-once").offences[0];
        assert_eq!(offence.what, format!("message 0 {words}"));
    }
    let mut story = Story::begun();
    story.rolls(0);
    story.rolls(1);
    story.message(0, 300, 0, [true, true]);
    story.message(0, 301, 0, [true, true]);
    let findings = story.ends();
    assert_eq!(failed(&findings), ["messages-arrive-once"]);
    assert_eq!(findings.messages.duplicated, 1);
}

#[test]
fn a_message_under_way_at_the_end_is_not_lost() {
    let mut story = Story::begun();
    story.rolls(0);
    story.rolls(1);
    story.message(0, 2_000, 0, [false, false]);
    assert!(story.ends().passed());
}

#[test]
fn a_hub_that_takes_the_old_certificate_after_the_roll_fails() {
    let mut story = Story::begun();
    story.rolls(0);
    story.rolls(1);
    story.hub_refuses(0, 300, 1, "R-B21");
    let findings = story.ends();
    let retired = check(&findings, "retired-credentials-refused");
    assert!(
        retired.passed && retired.detail.starts_with("1 attempts"),
        "{}",
        retired.detail
    );

    story.connects(0, 400, 1);
    let findings = story.ends();
    let retired = check(&findings, "retired-credentials-refused");
    assert!(!retired.passed);
    assert_eq!(retired.offences[0].rule.as_deref(), Some("R-B21"));
    assert_eq!(findings.stale_accepted, 1);
}

#[test]
fn dps_must_refuse_what_the_operator_retired() {
    let generations = |numbers: &[u32]| -> BTreeSet<Generation> {
        numbers.iter().map(|number| Generation(*number)).collect()
    };
    let mut story = Story::begun();
    story.ledger.admits(UnixMillis(0), |_| generations(&[1, 2]));
    story.rolls(0);
    story.rolls(1);
    story
        .ledger
        .admits(UnixMillis(500 * SECOND), |_| generations(&[2]));
    assert!(story.ends().passed());
    story.registers(0, 600, 1);
    let findings = story.ends();
    let retired = check(&findings, "retired-credentials-refused");
    assert_eq!(retired.offences[0].rule.as_deref(), Some("R-A15"));
    assert!(!retired.passed);
}

#[test]
fn an_audit_counts_only_with_an_answer() {
    let audit = |outcome: AuditOutcome| {
        let mut story = Story::begun();
        story.rolls(0);
        story.rolls(1);
        let at = UnixMillis(300 * SECOND);
        story
            .ledger
            .audited(DeviceIndex(0), Generation(1), "the hub", at, outcome);
        check(&story.ends(), "retired-credentials-refused").passed
    };
    assert!(audit(AuditOutcome::Refused));
    assert!(!audit(AuditOutcome::Accepted), "it was retired by the roll");
    assert!(!audit(AuditOutcome::Unanswered("timed out".to_owned())));
}

#[test]
fn an_audit_that_meets_a_certificate_in_force_is_no_offence() {
    let story = Story::begun();
    let at = UnixMillis(300 * SECOND);
    let accepted = AuditOutcome::Accepted;
    story
        .ledger
        .audited(DeviceIndex(0), Generation(1), "the hub", at, accepted);
    let findings = story.ends();
    let retired = check(&findings, "retired-credentials-refused");
    assert!(retired.passed, "{}", retired.detail);
    assert!(
        retired
            .detail
            .contains("1 audits met a certificate in force"),
        "{}",
        retired.detail
    );
}

#[test]
fn the_refusal_of_the_newest_certificate_explains_an_outage_best() {
    let mut story = Story::begun();
    story.rolls(0);
    story.stores(1, 150, 2);
    story.closes(1, 1_100);
    story.dps_refuses(1, 1_101, 2, "R-A21b");
    story.dps_refuses(1, 1_102, 1, "R-A20");
    story.hub_refuses(1, 1_103, 1, "R-G7");
    let findings = story.ends();
    let gap = check(&findings, "gap-within-budget");
    assert_eq!(gap.offences[0].rule.as_deref(), Some("R-A21b"));
}

#[test]
fn a_second_identity_counts_against_the_device_it_stands_for() {
    let mut story = Story::begun();
    story.rolls(0);
    story.rolls(1);
    let event = Event::DeviceAssigned {
        registration_id: "dev-1-v2".into(),
        device_id: "dev-1-v2".into(),
        hub: HUB.into(),
        substatus: "initialAssignment",
        enrollment: "fleet".into(),
        slot: None,
        presented: None,
    };
    story.happens(300, event);
    let findings = story.ends();
    assert_eq!(failed(&findings), ["ends-on-new-certificate"]);
    let ends = check(&findings, "ends-on-new-certificate");
    assert_eq!(ends.offences[0].rule.as_deref(), Some("R-C9"));
    assert!(
        ends.offences[0].what.contains("2 registration records"),
        "{}",
        ends.offences[0].what
    );
}

#[test]
fn an_empty_run_does_not_pass() {
    let story = Story::new();
    let findings = story.ends();
    assert!(!check(&findings, "fleet-took-part").passed);
    assert!(!findings.passed());
}

#[test]
fn the_trace_depends_on_what_happens_to_each_device_and_not_on_keys() {
    let tell = |both: [u32; 2], noise: u8| {
        let mut story = Story::begun();
        for device in both {
            story.rolls(device);
        }
        let mut shown = print(0, 1);
        shown.0[31] = noise;
        story.sees(
            0,
            900,
            Observation::CredentialStored {
                generation: Generation(3),
                fingerprint: shown.0,
                not_before: 0,
                not_after: 1,
            },
        );
        story.ends().trace_hash
    };
    assert_eq!(
        tell([0, 1], 1),
        tell([1, 0], 2),
        "two devices at one moment have no order"
    );
    assert_ne!(tell([0, 1], 1), tell([0, 0], 1));
}
