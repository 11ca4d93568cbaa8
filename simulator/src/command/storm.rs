//! `linarite storm`: how long a fleet takes that comes back all at once.

use std::fs;
use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use linarite_core::hub::tier::{Edition, Tier};

use super::{Exit, answers, fails, interrupt};
use crate::scenario::duration::{DAY_MS, Span};
use crate::storm::arrival::Arrival;
use crate::storm::cause::Cause;
use crate::storm::outcome::Outcome;
use crate::storm::threshold::Threshold;
use crate::storm::{self, Limits, Over, Patience, Plan};

/// Devices of the largest storm: as many as DPS registers.
const DEVICES_MAX: i64 = 1_000_000;
/// The latest a storm may be given up.
const GIVE_UP_MAX: Span = Span(40 * DAY_MS);

/// Arguments of `linarite storm`.
#[derive(Args, Clone, Debug)]
pub struct StormArgs {
    /// Number of devices
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=DEVICES_MAX))]
    devices: u32,
    /// Why they come back: first-boot, root-expiry, breach, hub-failover or power-cut
    #[arg(long, value_name = "CAUSE", default_value = "first-boot")]
    cause: Cause,
    /// After a power cut devices have forgotten their hub and register first
    #[arg(long)]
    forget_hub: bool,
    /// How long the hub lets nobody in after a failover
    #[arg(long, value_name = "SPAN", value_parser = downtime)]
    down_for: Option<Span>,
    /// When they come back: at-once, jitter, ramp=10m, rate=100/s or batches=1000/2m
    #[arg(long, value_name = "PROFILE", default_value = "at-once")]
    arrival: Arrival,
    /// Tier of the hub, whose limits hold: none, F1, S1, S2 or S3
    #[arg(long, value_name = "TIER", default_value = "S1", value_parser = tier)]
    tier: Named,
    /// Units of the tier
    #[arg(long, value_name = "N", default_value_t = 1)]
    units: u32,
    /// Registrations DPS accepts in a minute; 0 for as many as come
    #[arg(long, value_name = "N", default_value_t = 1000)]
    registrations_per_minute: u32,
    /// Have requests that are turned away use the limits up, too
    #[arg(long)]
    refused_requests_count: bool,
    /// How devices take being throttled: patient or naive
    #[arg(long, value_name = "FIRMWARE", default_value = "patient")]
    firmware: Patience,
    /// Life of the certificates that devices get when they come back: says what comes when they end
    #[arg(long, value_name = "SPAN", value_parser = life)]
    certificate_life: Option<Span>,
    /// Seed of all chance
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Virtual time, or real time with --over tcp, after which the storm is given up
    #[arg(long, value_name = "SPAN", default_value = "30d", value_parser = limit)]
    limit: Span,
    /// What lies between devices and services: none, tls for mutual TLS in memory, tcp for mutual
    /// TLS over loopback sockets in real time
    #[arg(long, value_name = "WIRE", default_value = "none")]
    over: Over,
    /// Hold the storm to this as well, such as finish<=15m, p99<=10m, ratio<=1.05, throttled<=20000
    /// or failed==0; may be given several times
    #[arg(long = "threshold", value_name = "EXPRESSION")]
    thresholds: Vec<Threshold>,
    /// Print the outcome as one JSON object
    #[arg(long)]
    json: bool,
    /// Write storm.json, storm.html and junit.xml into this directory
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

/// An edition, or none.
#[derive(Clone, Copy, Debug)]
struct Named(Option<Edition>);

fn tier(text: &str) -> Result<Named, String> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(Named(None));
    }
    let edition = Edition::parse(text).map_err(|error| error.to_string())?;
    Ok(Named(Some(edition)))
}

fn limit(text: &str) -> Result<Span, String> {
    let span = Span::parse(text)?;
    if span <= Span(0) || span > GIVE_UP_MAX {
        return Err(format!("`{text}` is not between 1ms and {GIVE_UP_MAX}"));
    }
    Ok(span)
}

fn downtime(text: &str) -> Result<Span, String> {
    let span = Span::parse(text)?;
    match span >= Span(0) {
        true => Ok(span),
        false => Err(format!("`{text}` is no downtime; write it like 10m")),
    }
}

fn life(text: &str) -> Result<Span, String> {
    let span = Span::parse(text)?;
    match span > Span(0) {
        true => Ok(span),
        false => Err(format!(
            "`{text}` is no life of a certificate; write it like 90d"
        )),
    }
}

/// Tries the storm that `args` describe and prints what came of it.
///
/// Gives [`Exit::AsExpected`] if all devices were served and all thresholds held,
/// [`Exit::Unexpected`] if not, and [`Exit::Interrupted`] where the user did not wait for it.
#[must_use]
pub fn storm(args: &StormArgs) -> Exit {
    let plan = match plan(args) {
        Ok(plan) => plan,
        Err(message) => return fails(Exit::Usage, &message),
    };
    let interrupt = match interrupt() {
        Ok(interrupt) => interrupt,
        Err(error) => return fails(Exit::Machine, &format!("cannot hear Ctrl-C: {error}")),
    };
    let outcome = match storm::run(&plan, true, &interrupt) {
        Ok(outcome) => outcome,
        Err(error) => return fails(Exit::Machine, &format!("{error:#}")),
    };
    if let Some(directory) = &args.report
        && let Err(error) = write(&outcome, directory)
    {
        let message = format!(
            "cannot write the report into {}: {error}",
            directory.display()
        );
        return fails(Exit::Machine, &message);
    }
    let said = match args.json {
        true => serde_json::to_string(&outcome).map(|json| format!("{json}\n")),
        false => Ok(outcome.text()),
    };
    let exit = match (outcome.passed, outcome.interrupted) {
        (true, _) => Exit::AsExpected,
        (false, true) => Exit::Interrupted,
        (false, false) => Exit::Unexpected,
    };
    match said {
        Ok(said) => answers(exit, &said),
        Err(error) => fails(Exit::Machine, &format!("cannot print: {error}")),
    }
}

fn plan(args: &StormArgs) -> Result<Plan, String> {
    let tier = args.tier.0.map(|edition| Tier::new(edition, args.units));
    let tier = tier
        .transpose()
        .map_err(|error| format!("--units: {error}"))?;
    let cause = cause(args)?;
    if args.certificate_life.is_some() && !cause.issues() {
        return Err(format!(
            "--certificate-life: nobody gets a new certificate with --cause {cause}; expected \
             first-boot, root-expiry or breach"
        ));
    }
    Ok(Plan {
        devices: args.devices,
        certificate_life: args.certificate_life,
        cause,
        arrival: args.arrival,
        limits: Limits {
            registrations_per_minute: NonZeroU32::new(args.registrations_per_minute),
            tier,
            refused_requests_count: args.refused_requests_count,
        },
        patience: args.firmware,
        give_up: Duration::from_millis(u64::try_from(args.limit.0).unwrap_or(0)),
        seed: args.seed,
        over: args.over,
        thresholds: args.thresholds.clone(),
    })
}

/// The cause with what its own flags say of it.
fn cause(args: &StormArgs) -> Result<Cause, String> {
    if args.forget_hub && !matches!(args.cause, Cause::PowerCut { .. }) {
        return Err(format!(
            "--forget-hub: only devices that lost power can have forgotten their hub; expected \
             --cause power-cut, not {}",
            args.cause
        ));
    }
    match (args.cause, args.down_for) {
        (Cause::PowerCut { .. }, None) => Ok(Cause::PowerCut {
            forgetful: args.forget_hub,
        }),
        (cause, None) => Ok(cause),
        (Cause::HubFailover { .. }, Some(down_for)) if down_for <= args.limit => {
            Ok(Cause::HubFailover { down_for })
        }
        (Cause::HubFailover { .. }, Some(down_for)) => Err(format!(
            "--down-for: the storm is given up before the hub is back; expected at most --limit {}, \
             not {down_for}",
            args.limit
        )),
        (cause, Some(_)) => Err(format!(
            "--down-for: only a hub that fails over is down for a while; expected --cause \
             hub-failover, not {cause}"
        )),
    }
}

fn write(outcome: &Outcome, directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let json = serde_json::to_string_pretty(outcome).map_err(io::Error::other)?;
    fs::write(directory.join("storm.json"), json + "\n")?;
    fs::write(directory.join("junit.xml"), outcome.junit()?)?;
    fs::write(directory.join("storm.html"), outcome.html()?)
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

    /// What `docs/storms.md` says of the command is all of it.
    #[test]
    fn every_flag_stands_in_the_guide() {
        let guide = include_str!("../../../docs/storms.md");
        let command = StormArgs::augment_args(Command::new("storm"));
        let flags: Vec<_> = command
            .get_arguments()
            .filter_map(|it| it.get_long())
            .collect();
        assert!(flags.len() >= 15, "{flags:?}");
        for flag in flags {
            assert!(guide.contains(&format!("--{flag}")), "--{flag}");
        }
    }

    #[test]
    fn every_figure_stands_in_the_guide() {
        let guide = include_str!("../../../docs/storms.md");
        for figure in Threshold::figures() {
            assert!(guide.contains(&format!("`{figure}`")), "{figure}");
        }
    }
}
