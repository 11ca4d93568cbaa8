//! The subcommands of `linarite`. Only here does anything print.

pub mod new;
pub mod parity;
pub mod pki;
pub mod run;
pub mod schema;
pub mod storm;
pub mod up;

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::interrupt::{INTERRUPTED, Interrupt};
use crate::progress;

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
    /// The user interrupted it (130); what was measured by then is told.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::AsExpected => 0,
            Exit::Unexpected => 1,
            Exit::Usage => 2,
            Exit::Machine => 3,
            Exit::Interrupted => INTERRUPTED,
        })
    }
}

/// Says on standard error why the command fails, and gives how it ends.
#[must_use]
pub fn fails(exit: Exit, message: &str) -> Exit {
    tell(&format!("linarite: {message}"));
    exit
}

/// Prints `answer` and gives `exit`, how the command ends; [`Exit::Machine`] where there is no
/// place for what it prints.
fn answers(exit: Exit, answer: &str) -> Exit {
    match print(answer) {
        Ok(()) => exit,
        Err(error) => fails(Exit::Machine, &format!("cannot print: {error}")),
    }
}

/// Prints `text`, the command's answer or a part of it, above the live lines of runs under way.
///
/// A reader that is gone, such as `head`, has seen enough: that is no error, and what the command
/// does besides goes on, for its reports and the way it ends may still count.
fn print(text: &str) -> io::Result<()> {
    let mut printed = Ok(());
    progress::above(|| printed = write(&mut io::stdout().lock(), text));
    printed
}

fn write(out: &mut impl io::Write, text: &str) -> io::Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Hears from now on if the user wants the command to end, and says that it was heard.
fn interrupt() -> io::Result<Interrupt> {
    Interrupt::listen(|| tell("linarite: interrupted; here is what was seen so far"))
}

/// Says `line` on standard error. Where nobody can hear it, the command goes on all the same.
fn tell(line: &str) {
    progress::above(|| {
        let _ = writeln!(io::stderr(), "{line}");
    });
}
