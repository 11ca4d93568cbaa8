//! The subcommands of `linarite`. Only here does anything print.

pub mod new;
pub mod parity;
pub mod pki;
pub mod run;
pub mod schema;
pub mod storm;
pub mod up;

use std::process::ExitCode;

/// How the command ends, in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything ended as it was expected to (0).
    AsExpected,
    /// A scenario ended otherwise than it was expected to (1).
    Unexpected,
    /// The usage, the configuration or a scenario is wrong (2).
    Usage,
    /// The emulator or the machine failed (3).
    Machine,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::AsExpected => 0,
            Exit::Unexpected => 1,
            Exit::Usage => 2,
            Exit::Machine => 3,
        })
    }
}

/// Says on standard error why the command fails, and gives how it ends.
#[expect(clippy::print_stderr, reason = "the command's complaint")]
#[must_use]
pub fn fails(exit: Exit, message: &str) -> Exit {
    eprintln!("linarite: {message}");
    exit
}
