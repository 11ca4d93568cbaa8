//! The command `linarite`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use linarite::command::new::{self, NewArgs};
use linarite::command::parity::{self, ParityArgs};
use linarite::command::pki;
use linarite::command::run::{self, RunArgs};
use linarite::command::schema::{self, SchemaArgs};
use linarite::command::storm::{self, StormArgs};
use linarite::command::up::{self, UpArgs};
use linarite::command::{Exit, fails};
use mimalloc::MiMalloc;
use tracing_subscriber::EnvFilter;

/// A fleet allocates and frees for each connection on every thread; the system's allocator spends
/// an eighth of a storm over sockets on that.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// A local Azure DPS and IoT Hub, and a fleet of X.509 devices that rolls its certificates
/// against them.
#[derive(Debug, Parser)]
#[command(name = "linarite", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run scenarios of a certificate rollover and give a verdict
    Run(RunArgs),
    /// Write a scenario to start from
    New(NewArgs),
    /// Serve DPS and hubs on real ports until interrupted
    Up(UpArgs),
    /// Tell how long a fleet takes that comes back all at once, under Azure's limits
    Storm(StormArgs),
    /// Make certificates as files, and show what is in such files
    Pki(pki::Args),
    /// Print the JSON schema of scenario files or of reports
    Schema(SchemaArgs),
    /// Tell which rules and operations of Azure are emulated, and how
    Parity(ParityArgs),
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    // clap ends the process with 2 for bad usage, which is our code for it as well.
    match Cli::parse().command {
        Command::Run(args) => run::run(&args).into(),
        Command::New(args) => new::new(&args).into(),
        Command::Up(args) => up::up(&args).into(),
        Command::Storm(args) => storm::storm(&args).into(),
        Command::Pki(args) => match pki::execute(args) {
            Ok(()) => Exit::AsExpected.into(),
            Err(error) => fails(Exit::Usage, &format!("{error:#}")).into(),
        },
        Command::Schema(args) => schema::schema(&args).into(),
        Command::Parity(args) => parity::parity(&args).into(),
    }
}
