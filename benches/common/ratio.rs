//! Ratios of CPU time: subjects take turns in one run, and medians are compared.
//!
//! Absolute times on a shared machine are worth little from one run to the next. So every figure
//! is measured beside its yardstick, round by round, in CPU time of this very thread, and the
//! ratio is taken within each round before the median is taken over rounds.

use std::time::Duration;

use anyhow::Context as _;
use rustix::time::{ClockId, clock_gettime};

/// CPU time this thread has used so far.
pub(crate) fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// What is measured: does its work so many times and gives the CPU time of all of it.
pub(crate) type Subject<'a> = Box<dyn FnMut(u32) -> anyhow::Result<Duration> + 'a>;

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Rounds in which every subject has one turn.
    pub(crate) rounds: usize,
    /// Repetitions within a turn.
    pub(crate) each: u32,
}

impl Effort {
    /// `rounds` of `each`, or a single one if the bench only has to show that it works.
    pub(crate) fn new(thorough: bool, rounds: usize, each: u32) -> Self {
        match thorough {
            true => Self { rounds, each },
            false => Self { rounds: 1, each: 1 },
        }
    }
}

/// CPU seconds of one repetition, by subject, then by round.
pub(crate) struct Samples(Vec<Vec<f64>>);

/// Lets `subjects` take turns, in opposite order every other round.
pub(crate) fn interleave(effort: Effort, subjects: &mut [Subject<'_>]) -> anyhow::Result<Samples> {
    let mut samples = vec![Vec::with_capacity(effort.rounds); subjects.len()];
    for subject in &mut *subjects {
        subject(effort.each.min(3)).context("warming up")?;
    }
    for round in 0..effort.rounds {
        let mut order: Vec<usize> = (0..subjects.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let spent = subjects[index](effort.each)?;
            samples[index].push(spent.as_secs_f64() / f64::from(effort.each));
        }
    }
    Ok(Samples(samples))
}

impl Samples {
    /// The line of a figure: subject `ours` beside subject `yardstick`.
    pub(crate) fn line(
        &self,
        figure: &'static str,
        ours: usize,
        (name, yardstick): (&'static str, usize),
        reach: Option<f64>,
    ) -> Line {
        compare(figure, &self.0[ours], (name, &self.0[yardstick]), reach)
    }
}

/// The line of a figure: seconds of `ours` beside those of the yardstick, round by round.
pub(crate) fn compare(
    figure: &'static str,
    ours: &[f64],
    (name, yardstick): (&'static str, &[f64]),
    reach: Option<f64>,
) -> Line {
    let rounds = ours.iter().zip(yardstick);
    let ratios: Vec<f64> = rounds.map(|(ours, yardstick)| ours / yardstick).collect();
    Line {
        figure,
        yardstick: name,
        ours: micros(quantile(ours, 0.5)),
        theirs: micros(quantile(yardstick, 0.5)),
        ratio: quantile(&ratios, 0.5),
        spread: Some((quantile(&ratios, 0.25), quantile(&ratios, 0.75))),
        reach,
    }
}

/// Seconds as text.
pub(crate) fn micros(seconds: f64) -> String {
    format!("{:.2} µs", seconds * 1e6)
}

/// The value below which a share of `values` lies.
pub(crate) fn quantile(values: &[f64], at: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a short list"
    )]
    let index = ((sorted.len().saturating_sub(1)) as f64 * at).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

/// One line of the table at the end.
pub(crate) struct Line {
    /// What was measured.
    pub(crate) figure: &'static str,
    /// What it is compared with.
    pub(crate) yardstick: &'static str,
    /// Median of the figure, with its unit.
    pub(crate) ours: String,
    /// Median of the yardstick, with its unit.
    pub(crate) theirs: String,
    /// Median of the ratios.
    pub(crate) ratio: f64,
    /// First and third quartile of the ratios, where there are several rounds.
    pub(crate) spread: Option<(f64, f64)>,
    /// The largest ratio that was promised, if one was.
    pub(crate) reach: Option<f64>,
}

/// Prints the table. Never fails a run: whether a ratio is met is for a quiet machine to say.
#[expect(clippy::print_stdout, reason = "the bench's answer")]
pub(crate) fn print(lines: &[Line]) {
    println!();
    println!(
        "{:<44} {:<36} {:>12} {:>12} {:>7}  {:<15} reach",
        "figure", "yardstick", "figure", "yardstick", "ratio", "quartiles"
    );
    for line in lines {
        let spread = line
            .spread
            .map(|(low, high)| format!("{low:.3} – {high:.3}"));
        let reach = line.reach.map(|reach| match line.ratio <= reach {
            true => format!("≤ {reach:.2}, met"),
            false => format!("≤ {reach:.2}, MISSED"),
        });
        println!(
            "{:<44} {:<36} {:>12} {:>12} {:>7.3}  {:<15} {}",
            line.figure,
            line.yardstick,
            line.ours,
            line.theirs,
            line.ratio,
            spread.unwrap_or_default(),
            reach.unwrap_or_default(),
        );
    }
}

/// Whether figures are wanted: `cargo bench` says `--bench`, and `--test` takes it back.
pub(crate) fn thorough() -> bool {
    let given = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    given("--bench") && !given("--test")
}

/// The first word on the command line that is neither an option nor the value of one: what is to
/// run, if not everything.
pub(crate) fn filter() -> Option<String> {
    let mut before = String::new();
    for argument in std::env::args().skip(1) {
        let is_value = before.starts_with("--") && before != "--bench" && before != "--test";
        if !argument.starts_with('-') && !is_value {
            return Some(argument);
        }
        before = argument;
    }
    None
}
