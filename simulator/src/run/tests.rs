//! Whole runs with few devices, in virtual time.

use super::*;
use crate::lab::{Lab, LabMode};
use crate::report::Verdict;

async fn run(text: &str, seed: u64) -> Report {
    let scenario = Arc::new(Scenario::parse("test.toml", text).unwrap());
    let env = Env::new(Clock::tokio(UnixMillis(1_767_225_600_000)), seed);
    let lab = Lab::start(env.clone(), LabMode::InMemory, &scenario.hubs)
        .await
        .unwrap();
    let (services, connector) = (lab.services.clone(), Arc::clone(&lab.connector));
    let stage = Stage {
        services,
        connector,
        env,
        interrupt: Interrupt::new(),
    };
    let options = Options {
        devices: 6,
        pace: Pace::Virtual,
        target: None,
    };
    let silent = Arc::new(Progress::silent());
    let report = run_scenario(scenario, &options, &stage, silent)
        .await
        .unwrap();
    lab.stop().await;
    report
}

/// Runs on a paused clock of its own; the futures of whole runs are too large for a stack.
fn paused(text: &'static str, seed: u64) -> Report {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(Box::pin(run(text, seed)))
}

#[test]
fn the_intermediate_rolls_without_harm_and_the_same_seed_leaves_the_same_trace() {
    let text = include_str!("../../../scenarios/intermediate-expiry.toml");
    let report = paused(text, 1);
    assert_eq!(report.verdict, Verdict::Pass, "{}", report.text());
    assert!(
        report.steps.iter().all(|step| step.failed == 0),
        "{:?}",
        report.steps
    );
    assert_eq!(report.trace_hash, paused(text, 1).trace_hash);
    assert_ne!(report.trace_hash, paused(text, 2).trace_hash);
}

#[test]
fn a_firmware_that_never_registers_fails_by_the_hubs_rule() {
    let text = include_str!("../../../scenarios/mistakes/leaf-roll-never-registers.toml");
    let report = paused(text, 1);
    assert!(report.expected.met, "{}", report.text());
    let stranded = report
        .checks
        .iter()
        .find(|check| check.name == "never-stranded")
        .unwrap();
    assert_eq!(stranded.rules.get("R-G10"), Some(&6));
}

/// R-B16: what a function fails at is told to devices by DPS, in its own words and numbers.
#[test]
fn a_function_that_fails_makes_registrations_fail_by_dps_rule() {
    let text = include_str!("../../../scenarios/mistakes/custom-allocation-hub-not-linked.toml");
    let text = text
        .replacen("linked = false", "", 1)
        .replacen("hub-3", "hub-2", 1);
    let fault = "[[fault]]\nkind = \"webhook-errors\"\nfrom = \"60d15m\"\nuntil = \"60d30m\"\n\
                 share = \"1/1\"\nstatus = 500\n[recovery]\nwithin = \"50m\"\n[expect]";
    let text = text
        .replacen("[expect]", fault, 1)
        .replacen("\"fail\"", "\"pass\"", 1);
    let text = text.replacen("check = \"never-stranded\"\nrule = \"R-B16\"", "", 1);
    let report = paused(String::leak(text), 1);
    assert_eq!(report.verdict, Verdict::Pass, "{}", report.text());
    let refusals = { report.refusals.iter() }.find(|refusals| refusals.rule == "R-B16");
    let refusals = refusals.unwrap_or_else(|| panic!("{:?}", report.refusals));
    assert_eq!(refusals.place, "DPS", "{refusals:?}");
    assert!(
        report.registrations.failed >= 6,
        "{:?}",
        report.registrations
    );
}

/// R-B16: entries of devices' own ask the function as well, which has to be said whenever they are
/// saved.
#[test]
fn individual_enrollments_ask_the_function_too() {
    let text = include_str!("../../../scenarios/individual-expiry.toml");
    let deploy = "[[step]]\nat = \"0d\"\ndo = \"deploy-function\"\nhub = \"hub-2\"\n\n[[step]]";
    let hubs = "hubs = [\"hub-1\", \"hub-2\"]\nends_on = \"hub-2\"\nduration";
    let custom = "do = \"put-individuals\"\nallocation = \"custom\"";
    let text = text
        .replacen("[[step]]", deploy, 1)
        .replacen("duration", hubs, 1);
    let text = text.replace("do = \"put-individuals\"", custom);
    let report = paused(String::leak(text), 1);
    assert_eq!(report.verdict, Verdict::Pass, "{}", report.text());
}
