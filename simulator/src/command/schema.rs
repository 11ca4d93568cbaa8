//! `linarite schema`: what scenario files may hold, as JSON Schema for editors and programs.

use clap::{Args, ValueEnum};

use super::{Exit, fails};
use crate::scenario;

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
}

/// Prints the schema that `args` name.
#[must_use]
#[expect(clippy::print_stdout, reason = "the command's answer")]
pub fn schema(args: &SchemaArgs) -> Exit {
    match text(args.what) {
        Ok(text) => {
            print!("{text}");
            Exit::AsExpected
        }
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
    };
    let mut text = serde_json::to_string_pretty(&schema)?;
    text.push('\n');
    Ok(text)
}
