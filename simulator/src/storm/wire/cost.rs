//! What a storm with TLS takes of the machine, as Linux counts it for this process.

use std::fs;

use linarite_env::{Clock, UnixMillis};
use serde::Serialize;

use super::Over;
use crate::storm::Plan;
use crate::storm::text::thousands;

/// Milliseconds of a clock tick: the kernel tells times in hundredths of a second.
const TICK_MS: u64 = 10;

/// What devices with TLS cost, both ends of their connections and the emulator included.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WireFigures {
    /// What lay between devices and services: `tls` or `tcp`.
    pub over: &'static str,
    /// Devices that were connected in one moment, the last.
    pub connected: u32,
    /// Wall time from the first arrival to the end, in milliseconds.
    pub wall_ms: u64,
    /// CPU time of the process meanwhile, in milliseconds; none where the system does not say.
    pub cpu_ms: Option<u64>,
    /// The largest resident set of the process by then, in bytes; none where the system does not
    /// say.
    pub resident_max_bytes: Option<u64>,
    /// By how many bytes the resident set of the process has grown since the first arrival; none
    /// where the system does not say.
    pub resident_growth_bytes: Option<u64>,
}

impl WireFigures {
    pub(super) fn new(plan: &Plan, connected: u32, cost: Spent) -> Self {
        Self {
            over: plan.over.name(),
            connected,
            wall_ms: cost.wall_ms,
            cpu_ms: cost.cpu_ms,
            resident_max_bytes: cost.resident_max_bytes,
            resident_growth_bytes: cost.resident_growth_bytes,
        }
    }

    /// The figures for the terminal, in a line.
    pub(in crate::storm) fn line(&self) -> String {
        let way = match self.over == Over::Sockets.name() {
            true => "mutual TLS over sockets",
            false => "mutual TLS in memory",
        };
        let connected = u64::from(self.connected);
        let rate = connected * 1000 / self.wall_ms.max(1);
        let mut line = format!(
            "{way}, {} connected at once, {} devices a second of wall time",
            thousands(connected),
            thousands(rate),
        );
        let each = |whole: u64| whole / connected.max(1);
        if let Some(cpu_ms) = self.cpu_ms {
            line += &format!(", {} µs of CPU each", thousands(each(cpu_ms * 1000)));
        }
        if let (Some(most), Some(growth)) = (self.resident_max_bytes, self.resident_growth_bytes) {
            line += &format!(
                ", {} MB resident at the most, {} bytes each",
                thousands(most / 1_000_000),
                thousands(each(growth)),
            );
        }
        line
    }
}

/// What the process has taken so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    at: UnixMillis,
    cpu_ms: Option<u64>,
    resident_bytes: Option<u64>,
    resident_max_bytes: Option<u64>,
}

/// What it has taken between two moments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spent {
    wall_ms: u64,
    cpu_ms: Option<u64>,
    resident_max_bytes: Option<u64>,
    resident_growth_bytes: Option<u64>,
}

impl Cost {
    pub(super) fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            at: Clock::system().now_ms(),
            cpu_ms: cpu_ms(&stat),
            resident_bytes: kilobytes(&status, "VmRSS:"),
            resident_max_bytes: kilobytes(&status, "VmHWM:"),
        }
    }

    pub(super) fn since(&self, earlier: &Self) -> Spent {
        let less = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
        Spent {
            wall_ms: u64::try_from(self.at.since(earlier.at)).unwrap_or(0),
            cpu_ms: less(self.cpu_ms, earlier.cpu_ms),
            resident_max_bytes: self.resident_max_bytes,
            resident_growth_bytes: less(self.resident_bytes, earlier.resident_bytes),
        }
    }
}

/// Fields 14 and 15 of proc(5)'s `stat`, which count from before the name in brackets.
fn cpu_ms(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) * TICK_MS)
}

/// A line of proc(5)'s `status`, in bytes.
fn kilobytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_tells_of_a_process_is_read() {
        let stat = "7 (a ) name) S 1 7 7 0 -1 0 900 0 0 0 120 30 5 6 20 0 1 0";
        assert_eq!(cpu_ms(stat), Some(1_500));
        let status = "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\n";
        assert_eq!(kilobytes(status, "VmHWM:"), Some(2_097_152));
        assert_eq!(kilobytes(status, "VmRSS:"), Some(1_048_576));
        assert_eq!((cpu_ms(""), kilobytes("", "VmRSS:")), (None, None));
    }
}
