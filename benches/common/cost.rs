//! What a serving process and its clients take for something: wall time, and the server's CPU time.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

use super::ratio::{self, Line};

/// Seconds of wall time and of the server's CPU time.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    wall: f64,
    cpu: f64,
}

/// What `work` costs where `process` serves, for each of `count`.
pub(crate) async fn cost(
    process: u32,
    count: usize,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Cost> {
    let (cpu, wall) = (cpu_of(process)?, Instant::now());
    work.await?;
    let (cpu, wall) = (cpu_of(process)? - cpu, wall.elapsed());
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let each = |spent: Duration| spent.as_secs_f64() / count as f64;
    Ok(Cost {
        wall: each(wall),
        cpu: each(cpu),
    })
}

/// CPU time that the first thread of a process has used so far; the one that serves, in all.
fn cpu_of(process: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{process}/schedstat");
    let stat = std::fs::read_to_string(&path).with_context(|| path)?;
    let nanoseconds = stat.split_whitespace().next().context("an empty line")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}

/// The lines of wall time, which is to be within `reach`, and of CPU time.
pub(crate) fn lines_of(
    [wall, cpu]: [&'static str; 2],
    ours: &[Cost],
    (yardstick, theirs): (&'static str, &[Cost]),
    reach: Option<f64>,
) -> Vec<Line> {
    let of = |figure, pick: fn(&Cost) -> f64, reach| {
        let of = |costs: &[Cost]| costs.iter().map(pick).collect::<Vec<f64>>();
        let (ours, theirs) = (of(ours), of(theirs));
        ratio::compare(figure, &ours, (yardstick, &theirs), reach)
    };
    vec![
        of(wall, |cost| cost.wall, reach),
        of(cpu, |cost| cost.cpu, None),
    ]
}
