//! `linarite schema`: what scenario files may hold and what reports and storms hold, as JSON Schema
//! for editors and programs.

use clap::{Args, ValueEnum};

use super::{Exit, answers, fails};
use crate::scenario;

/// Written by hand, and held to real reports by a test.
const REPORT: &str = include_str!("../../../docs/report.schema.json");

/// The same, held to real outcomes.
const STORM: &str = include_str!("../../../docs/storm.schema.json");

/// Arguments of `linarite schema`.
#[derive(Args, Clone, Debug)]
pub struct SchemaArgs {
    /// Of what
    #[arg(value_name = "WHAT")]
    what: Subject,
}

/// What has a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Subject {
    /// Scenario files
    Scenario,
    /// Reports, `report.json`
    Report,
    /// What came of a storm, `storm.json`
    Storm,
}

/// Prints the schema that `args` name.
#[must_use]
pub fn schema(args: &SchemaArgs) -> Exit {
    match text(args.what) {
        Ok(text) => answers(Exit::AsExpected, &text),
        Err(error) => fails(Exit::Machine, &error.to_string()),
    }
}

/// The schema of `what`, with a line break at the end.
///
/// # Errors
/// None that a schema can cause.
pub fn text(what: Subject) -> serde_json::Result<String> {
    let schema = match what {
        Subject::Scenario => scenario::schema::scenario(),
        Subject::Report => return Ok(REPORT.to_owned()),
        Subject::Storm => return Ok(STORM.to_owned()),
    };
    let mut text = serde_json::to_string_pretty(&schema)?;
    text.push('\n');
    Ok(text)
}
