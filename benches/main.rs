//! What Linarite costs in CPU time, each figure beside a yardstick of the same run.
//!
//! `cargo bench -p linarite-suite --bench linarite` measures everything; a word after `--` names
//! one question. Criterion shows the single operations, the table at the end shows the ratios.
//! Without `--bench`, as under `cargo test`, everything runs once to show that it works.

mod codec;
mod common;
mod decide;
mod path;
mod reprovision;
mod scale;
mod telemetry;

use common::ratio::{self, Line};
use criterion::Criterion;
use mimalloc::MiMalloc;

/// That of the command.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

type Ratios = fn(bool) -> anyhow::Result<Vec<Line>>;

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    codec::single(&mut criterion);
    decide::single(&mut criterion)?;
    path::single(&mut criterion)?;
    reprovision::single(&mut criterion)?;
    criterion.final_summary();

    let questions: [(&str, Ratios); 6] = [
        ("reprovision", reprovision::ratios),
        ("telemetry", telemetry::ratios),
        ("decide", decide::ratios),
        ("scale", scale::ratios),
        ("path", path::ratios),
        ("codec", codec::ratios),
    ];
    if std::env::args().any(|argument| argument == "--list") {
        return Ok(());
    }
    let wanted = ratio::filter();
    let mut lines = Vec::new();
    for (name, ratios) in questions {
        if wanted.as_deref().is_none_or(|wanted| wanted.contains(name)) {
            lines.extend(ratios(ratio::thorough())?);
        }
    }
    ratio::print(&lines);
    Ok(())
}
