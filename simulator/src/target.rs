//! An emulator that is already up in another process: what is known of it, and the way to it.
//!
//! Everything goes over its listeners. What the emulator tells of itself comes from the journal of
//! its admin listener, and is heard by the run as if it had been told in this process.

mod journal;
mod tidy;
mod trouble;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use linarite_env::{Clock, Env};
use serde::Deserialize;

use crate::endpoint::{Connector, Services};
use crate::fault::FaultKind;
use crate::interrupt::Interrupt;
use crate::lab::Sockets;
use crate::pki::files::read_certificates;
use crate::progress::Progress;
use crate::readings::{self, Readings, shown};
use crate::report::Report;
use crate::run::{Options, Stage, run_scenario};
use crate::scenario::{Action, Limits, Scenario};
use journal::Journal;
use tidy::Tidy;
use trouble::Admin;

/// What registration ids of a run begin with, so that they are nobody else's.
const ID_PREFIX: &str = "linarite-dev-";
/// Longest target file, in bytes.
const FILE_BYTES_MAX: usize = 1 << 20;

/// The line that `linarite up --json` prints and `--write-target` writes.
#[derive(Deserialize)]
struct Line {
    admin: String,
    mqtt: SocketAddr,
    https: SocketAddr,
    ca_pem: String,
    dps: Dps,
    hubs: Vec<Hub>,
    #[serde(default)]
    settings: Readings,
}

#[derive(Deserialize)]
struct Dps {
    name: String,
    host: String,
    id_scope: String,
    connection_string: String,
}

#[derive(Deserialize)]
struct Hub {
    host: String,
    connection_string: String,
}

/// An emulator that is up.
pub struct Target {
    services: Services,
    connector: Arc<dyn Connector>,
    admin: SocketAddr,
    /// The same, for trouble on purpose.
    trouble: Arc<Admin>,
    settings: Readings,
}

impl Target {
    /// Reads the file that `linarite up --write-target` wrote.
    ///
    /// # Errors
    /// Where the file or the CA that it names cannot be read, or is not what that writes.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let expected = "expected what `linarite up --write-target FILE` writes";
        let name = path.display();
        let text = fs::read_to_string(path)
            .with_context(|| format!("{name}: cannot be read; {expected}; is it up?"))?;
        ensure!(text.len() <= FILE_BYTES_MAX, "{name}: too long; {expected}");
        // What the reader says may quote the line, which holds keys.
        let line: Line = serde_json::from_str(&text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            anyhow::anyhow!("{name}:{line}: wrong at column {column}; {expected}")
        })?;
        let ca = read_certificates(Path::new(&line.ca_pem))
            .with_context(|| format!("{name}: ca_pem; is the emulator still up?"))?;
        let admin = line.admin.strip_prefix("http://").map(str::parse);
        let Some(Ok(admin)) = admin else {
            bail!("{name}: admin: expected http://ADDRESS:PORT; {expected}");
        };
        let trouble = Arc::new(Admin::new(admin));
        let way = Sockets::to(line.mqtt, line.https, Arc::clone(&trouble) as _);
        let hubs = line.hubs.iter();
        let hubs = hubs.map(|hub| {
            let text = without_port(&hub.connection_string, &hub.host);
            (hub.host.clone(), text)
        });
        Ok(Self {
            services: Services {
                dps_connection_string: without_port(&line.dps.connection_string, &line.dps.host),
                hubs: hubs.collect(),
                dps_host: line.dps.host,
                id_scope: line.dps.id_scope,
                dps_name: line.dps.name,
                ca_der: ca.first().map(|ca| ca.der().to_vec()).unwrap_or_default(),
            },
            connector: Arc::new(way),
            admin,
            trouble,
            settings: line.settings,
        })
    }

    /// Whether `scenario` may run on it.
    ///
    /// # Errors
    /// A sentence that says how to start another emulator, or what to leave out.
    pub fn suits(&self, scenario: &Scenario) -> Result<(), String> {
        for reading in readings::known() {
            let wanted = scenario.settings.get(&reading.name);
            let wanted = wanted.unwrap_or(&reading.default);
            let has = self.settings.get(&reading.name).unwrap_or(&reading.default);
            if wanted != has {
                return Err(format!(
                    "{}: needs {name} = {}, and the emulator that is up has {name} = {}; start it \
                     with `linarite up --config FILE` and {name} = {} below [settings] of FILE",
                    scenario.file,
                    shown(wanted),
                    shown(has),
                    shown(wanted),
                    name = reading.name,
                ));
            }
        }
        if scenario.limits != Limits::default() {
            return Err(format!(
                "{}: has [limits], which only an emulator of its own is sure to keep; run it \
                 without --target",
                scenario.file
            ));
        }
        if scenario.has_function() && !self.admin.ip().is_loopback() {
            return Err(format!(
                "{}: has a function, which an emulator on another machine cannot call; run it \
                 without --target",
                scenario.file
            ));
        }
        let hosts: Vec<&str> = self.services.hubs.iter().map(|(host, _)| &**host).collect();
        let has = |hub: &String| hosts.iter().any(|host| host.split('.').next() == Some(hub));
        if let Some(missing) = named_hubs(scenario).into_iter().find(|hub| !has(hub)) {
            return Err(format!(
                "{}: needs a hub {missing}, and the emulator that is up has {}; start it with \
                 `linarite up --config FILE` and a [[hubs]] in FILE whose host begins with \
                 {missing}",
                scenario.file,
                hosts.join(", "),
            ));
        }
        if { scenario.steps.iter() }.any(|step| matches!(step.action, Action::ScheduleJob { .. })) {
            return Err(format!(
                "{}: a job calls every device at a hub, also those of others; run it without \
                 --target, or with `call-method` in place of `schedule-job`",
                scenario.file
            ));
        }
        let now = Clock::system().now();
        let given = |name| {
            scenario.authorities.iter().find_map(|known| {
                let given = known.given.as_ref().filter(|_| known.name == name)?;
                (!given.certificate().validity().holds_at(now)).then_some(&known.name)
            })
        };
        let signs = scenario
            .leaves
            .iter()
            .flat_map(|leaf| scenario.shown_with(leaf));
        match signs.map(|known| known.name.as_str()).find_map(given) {
            Some(name) => Err(format!(
                "{}: the certificate of {name} is not valid today, which is when --target runs",
                scenario.file
            )),
            None => Ok(()),
        }
    }

    /// Runs `scenario` on it and removes again what that made, also when interrupted.
    ///
    /// # Errors
    /// Where names that it needs are taken, in which case nothing was changed; where the run
    /// could not be carried through, not everything that happened was heard, or something could
    /// not be removed.
    pub async fn run(
        &self,
        mut scenario: Scenario,
        options: &Options,
        progress: Arc<Progress>,
        interrupt: Interrupt,
    ) -> anyhow::Result<Report> {
        self.suits(&scenario).map_err(anyhow::Error::msg)?;
        ID_PREFIX.clone_into(&mut scenario.id_prefix);
        let scenario = Arc::new(scenario);
        let env = Env::new(Clock::tokio(Clock::system().now_ms()), scenario.seed);
        let tidy = Tidy::new(self, &scenario, options, env.clock.clone())?;
        tidy.require_free().await?;
        let journal = Journal::follow(self.admin, &env.events).await?;
        let stage = Stage {
            services: self.services.clone(),
            connector: Arc::clone(&self.connector),
            env,
            interrupt,
        };
        let running = Box::pin(run_scenario(scenario, options, &stage, progress));
        let report = running.await.context("cannot run the scenario");
        let heard = journal.end().await;
        let calmed = self.trouble.calm().await;
        tidy.clean().await?;
        calmed.context("trouble that was made could not be ended")?;
        heard.context("not everything that happened was heard, so there is no verdict")?;
        report
    }
}

/// The hubs that a scenario needs by their names. One that names none takes any.
fn named_hubs(scenario: &Scenario) -> Vec<&String> {
    let steps = scenario.steps.iter();
    let put = steps.filter_map(|step| match &step.action {
        Action::PutGroup { hub, .. } => hub.as_ref(),
        Action::DeployFunction {
            hub, linked: true, ..
        } => Some(hub),
        _ => None,
    });
    let restarted = scenario
        .faults
        .iter()
        .filter_map(|fault| match &fault.kind {
            FaultKind::HubRestart { hub } => hub.as_ref(),
            _ => None,
        });
    let named = put.chain(restarted).chain(&scenario.ends_on);
    let mut named: Vec<&String> = named.collect();
    if scenario.hubs.len() > 1 {
        named.extend(&scenario.hubs);
    }
    named
}

/// The connection string with `host` as it stands in tokens and certificates.
fn without_port(connection_string: &str, host: &str) -> String {
    match connection_string.split_once(';') {
        Some((_, rest)) => format!("HostName={host};{rest}"),
        None => connection_string.to_owned(),
    }
}

#[cfg(test)]
mod tests;
