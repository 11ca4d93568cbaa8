//! `linarite up`: serves DPS and hubs on real ports until it is interrupted.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use linarite_emulator::{Addresses, Config, Emulator, MirrorAddress, StartError};
use linarite_env::{Clock, Env};
use serde_json::{Value, json};

use super::{Exit, fails, print, tell};
use crate::readings::Readings;

/// How long open connections get to end.
const GRACE: Duration = Duration::from_secs(2);

/// Azure's own HTTPS port; any other has to be named in connection strings.
const HTTPS_PORT: u16 = 443;

/// Serve DPS and hubs on real ports until interrupted.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Configuration file (TOML); without one, a DPS and one hub on loopback with Azure's ports, an
    /// admin listener on 8088 and a mirror of telemetry on 1883.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one line of JSON once ready, and nothing else.
    #[arg(long)]
    json: bool,
    /// Where to write the CA that clients are to trust; a fresh one is made at every start.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Where to write, for its owner alone, what `linarite run --target` needs; it holds keys, and goes
    /// away when the emulator ends
    #[arg(long, value_name = "FILE")]
    write_target: Option<PathBuf>,
    /// Allow an address that other machines can reach. Anybody there gets in, and reads telemetry.
    #[arg(long)]
    allow_remote: bool,
    /// Seed of the ids the services hand out.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs the command.
#[must_use]
pub fn up(args: &UpArgs) -> Exit {
    let (config, settings) = match read_config(args) {
        Ok(read) => read,
        Err(message) => return fails(Exit::Usage, &message),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            return fails(
                Exit::Machine,
                &format!("the runtime did not start: {error}"),
            );
        }
    };
    match runtime.block_on(serve(args, config, &settings)) {
        Ok(()) => Exit::AsExpected,
        Err(error) => fails(Exit::Machine, &format!("{error:#}")),
    }
}

/// The configuration, and what of the settings it chooses.
fn read_config(args: &UpArgs) -> Result<(Config, Readings), String> {
    let mut settings = Readings::new();
    let config = match &args.config {
        None => Config::developer().map_err(|error| error.to_string())?,
        Some(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("{name}: could not be read: {error}"))?;
            let config = Config::from_toml(&name, &text).map_err(|error| error.to_string())?;
            settings = chosen(&text);
            config
        }
    };
    let address = config.listen.address;
    if !address.is_loopback() && !args.allow_remote {
        return Err(format!(
            "listen.address {address} can be reached from other machines; add --allow-remote if \
             that is meant"
        ));
    }
    Ok((config, settings))
}

/// The settings that a configuration file, known to be in order, names.
fn chosen(text: &str) -> Readings {
    let table: toml::Table = toml::from_str(text).unwrap_or_default();
    let settings = table.get("settings").and_then(toml::Value::as_table);
    settings
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

async fn serve(args: &UpArgs, config: Config, settings: &Readings) -> anyhow::Result<()> {
    // Many devices mean many descriptors; what the system refuses shows when it matters.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let env = Env::new(Clock::system(), args.seed);
    let emulator = Emulator::new(config, env)?;
    let addresses = emulator.listen().await.map_err(explain)?;
    let ca = CaFile::write(args.ca.as_deref(), emulator.ca_pem())?;
    let mut line = ready_line(&emulator, addresses, &ca.path);
    line["settings"] = json!(settings);
    let _target = args
        .write_target
        .as_deref()
        .map(|path| TargetFile::write(path, &line))
        .transpose()?;
    if let Some(notice) = mirror_notice(addresses.mirror) {
        tell(&notice);
    }
    let ready = match args.json {
        true => format!("{line}\n"),
        false => ready_text(&line, addresses),
    };
    print(&ready).context("cannot print")?;
    interrupted().await?;
    emulator.stop(GRACE).await;
    let dropped = emulator.mirror_dropped();
    if dropped > 0 {
        tell(&format!(
            "The telemetry mirror left {dropped} messages out; they or their subscribers were slow."
        ));
    }
    Ok(())
}

/// A port that cannot be bound is the one failure people meet; say what to do about it.
fn explain(error: StartError) -> anyhow::Error {
    let advice = match &error {
        StartError::Bind { .. } => {
            "; is another server running? A configuration file can name other ports, and 0 takes \
             any free one"
        }
        _ => "",
    };
    anyhow::anyhow!("{error}{advice}")
}

/// The CA on disk, for as long as the emulator runs if nobody named a place for it.
struct CaFile {
    path: PathBuf,
    directory: Option<PathBuf>,
}

impl CaFile {
    fn write(wanted: Option<&Path>, pem: &str) -> anyhow::Result<Self> {
        let file = match wanted {
            Some(path) => Self {
                path: path.to_owned(),
                directory: None,
            },
            None => {
                let name = format!("linarite-{}", std::process::id());
                let directory = std::env::temp_dir().join(name);
                std::fs::create_dir_all(&directory)
                    .with_context(|| format!("making {}", directory.display()))?;
                Self {
                    path: directory.join("ca.pem"),
                    directory: Some(directory),
                }
            }
        };
        std::fs::write(&file.path, pem)
            .with_context(|| format!("writing {}", file.path.display()))?;
        Ok(file)
    }
}

impl Drop for CaFile {
    fn drop(&mut self) {
        if let Some(directory) = &self.directory {
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

/// What `linarite run --target` needs, for as long as the emulator runs.
struct TargetFile(PathBuf);

impl TargetFile {
    /// Writes a new file that its owner alone can read.
    fn write(path: &Path, line: &Value) -> anyhow::Result<Self> {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let mut file = options
            .open(path)
            .with_context(|| format!("writing {}, which must not be there yet", path.display()))?;
        let written = Self(path.to_owned());
        writeln!(file, "{line}").with_context(|| format!("writing {}", path.display()))?;
        Ok(written)
    }
}

impl Drop for TargetFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// An emulator that is up on free ports, with its files in a folder, for tests of who uses it.
#[cfg(test)]
pub(crate) struct Served {
    emulator: Emulator,
    _ca: CaFile,
    _target: TargetFile,
}

#[cfg(test)]
impl Served {
    /// Writes `ca.pem` and `target.json` into `folder`.
    pub(crate) async fn start(folder: &Path) -> Self {
        let mut config = Config::local("dps.linarite.test", &["hub-1".to_owned()]).unwrap();
        config.listen.mirror = None;
        let emulator = Emulator::new(config, Env::new(Clock::system(), 1)).unwrap();
        let addresses = emulator.listen().await.unwrap();
        let ca = CaFile::write(Some(&folder.join("ca.pem")), emulator.ca_pem()).unwrap();
        let line = ready_line(&emulator, addresses, &ca.path);
        let target = TargetFile::write(&folder.join("target.json"), &line).unwrap();
        Self {
            emulator,
            _ca: ca,
            _target: target,
        }
    }

    pub(crate) async fn stop(self) {
        assert!(self.emulator.stop(GRACE).await);
    }
}

async fn interrupted() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
    tokio::select! {
        biased;
        outcome = tokio::signal::ctrl_c() => outcome.context("waiting for an interrupt"),
        _ = terminate.recv() => Ok(()),
    }
}

/// What to do about a mirror that is not there; none of the rest needs it.
fn mirror_notice(mirror: MirrorAddress) -> Option<String> {
    let MirrorAddress::NotBound { port, problem } = mirror else {
        return None;
    };
    Some(format!(
        "No telemetry mirror: port {port} could not be bound ({problem}). All else is served; \
         listen.mirror in a configuration file names another port, or false."
    ))
}

/// The ready line in words.
fn ready_text(line: &Value, addresses: Addresses) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = vec![
        "Linarite serves a test double of Azure DPS and IoT Hub. Not for production.\n".to_owned(),
        format!("  MQTT    {}", text(&line["mqtt"])),
        format!(
            "  HTTPS   {}{}",
            text(&line["https"]),
            https_notice(addresses.https)
        ),
        format!("  admin   {}", text(&line["admin"])),
    ];
    if let MirrorAddress::At(mirror) = addresses.mirror {
        lines.push(format!(
            "  mirror  {mirror}   (telemetry for any MQTT client: topic telemetry/#)"
        ));
    }
    let (ca, dps) = (text(&line["ca_pem"]), &line["dps"]);
    lines.extend([
        format!("  CA      {ca}   (clients must trust it)"),
        format!(
            "\n  DPS     {}, id scope {}",
            text(&dps["host"]),
            text(&dps["id_scope"])
        ),
        format!("          {}", text(&dps["connection_string"])),
    ]);
    for hub in line["hubs"].as_array().into_iter().flatten() {
        lines.push(format!("  hub     {}", text(&hub["host"])));
        lines.push(format!("          {}", text(&hub["connection_string"])));
    }
    lines.push("\nReady. Ctrl-C ends it; nothing is kept.\n".to_owned());
    lines.join("\n")
}

fn https_notice(address: SocketAddr) -> &'static str {
    if address.port() == HTTPS_PORT {
        ""
    } else {
        "   (not 443: clients that cannot name a port will not find it)"
    }
}

/// The ready line. What is not served yet is there as `null`.
fn ready_line(emulator: &Emulator, addresses: Addresses, ca: &Path) -> Value {
    let config = emulator.config();
    let port = addresses.https.port();
    let mirror = match addresses.mirror {
        MirrorAddress::At(mirror) => Some(mirror.to_string()),
        MirrorAddress::Off | MirrorAddress::NotBound { .. } => None,
    };
    let hubs: Vec<Value> = emulator
        .hub_connection_strings()
        .into_iter()
        .map(|(host, connection_string)| {
            json!({
                "name": host.split('.').next().unwrap_or(&host),
                "host": host,
                "connection_string": with_port(&connection_string, port),
                "events_connection_string": null,
            })
        })
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "admin": format!("http://{}", addresses.admin),
        "portal": null,
        "mqtt": addresses.mqtt.to_string(),
        "https": addresses.https.to_string(),
        "amqp": null,
        "mirror": mirror,
        "ca_pem": ca.display().to_string(),
        "dps": {
            "name": config.dps.name,
            "host": config.dps.host.as_str(),
            "id_scope": config.dps.id_scope.as_str(),
            "connection_string": with_port(&emulator.dps_connection_string(), port),
        },
        "hubs": hubs,
    })
}

/// Puts the port behind the host name, unless it is the one every client assumes.
fn with_port(connection_string: &str, port: u16) -> String {
    match connection_string.split_once(';') {
        Some((host, rest)) if port != HTTPS_PORT => format!("{host}:{port};{rest}"),
        _ => connection_string.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unusual_port_is_named() {
        let text = "HostName=localhost;SharedAccessKeyName=k;SharedAccessKey=x";
        assert_eq!(with_port(text, 443), text);
        assert_eq!(
            with_port(text, 8443),
            "HostName=localhost:8443;SharedAccessKeyName=k;SharedAccessKey=x"
        );
    }

    #[tokio::test]
    async fn the_ready_line_has_every_member_of_the_contract() {
        let mut config = Config::local("localhost", &["localhost".to_owned()]).unwrap();
        config.listen.mirror = Some(0);
        let emulator = Emulator::new(config, Env::new(Clock::system(), 1)).unwrap();
        let addresses = emulator.listen().await.unwrap();
        let line = ready_line(&emulator, addresses, Path::new("ca.pem"));
        let members = [
            "version", "admin", "portal", "mqtt", "https", "amqp", "mirror", "ca_pem", "dps",
            "hubs",
        ];
        for member in members {
            assert!(line.get(member).is_some(), "{member} is missing in {line}");
        }
        assert!(
            line["dps"]["connection_string"]
                .as_str()
                .unwrap()
                .contains("SharedAccessKey=")
        );
        let mirror: SocketAddr = line["mirror"].as_str().unwrap().parse().unwrap();
        assert_eq!(addresses.mirror, MirrorAddress::At(mirror));
        assert!(emulator.stop(GRACE).await);
    }

    #[test]
    fn the_file_for_runs_is_its_owners_alone_and_is_never_written_over() {
        use std::os::unix::fs::PermissionsExt as _;
        let name = format!("linarite-write-target-{}.json", std::process::id());
        let path = std::env::temp_dir().join(name);
        let file = TargetFile::write(&path, &json!({ "key": "k" })).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(TargetFile::write(&path, &json!({})).is_err());
        assert!(std::fs::read_to_string(&path).unwrap().contains("\"k\""));
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn the_settings_that_a_file_chooses_are_told() {
        let told = chosen("[settings]\ncheck_validity = false\n[dps]\nname = \"x\"\n");
        assert_eq!(told.len(), 1);
        assert_eq!(told["check_validity"], toml::Value::Boolean(false));
        assert!(chosen("").is_empty());
    }

    #[tokio::test]
    async fn a_mirror_whose_port_is_taken_is_told_and_missed_by_nobody_else() {
        let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut config = Config::local("localhost", &["localhost".to_owned()]).unwrap();
        config.listen.mirror = Some(port);
        let emulator = Emulator::new(config, Env::new(Clock::system(), 1)).unwrap();
        let addresses = emulator.listen().await.unwrap();
        let notice = mirror_notice(addresses.mirror).unwrap();
        assert!(
            notice.contains(&format!("port {port} could not be bound")),
            "{notice}"
        );
        assert!(notice.contains("listen.mirror"), "{notice}");
        let line = ready_line(&emulator, addresses, Path::new("ca.pem"));
        assert_eq!(line["mirror"], Value::Null);
        assert!(emulator.stop(GRACE).await);
    }
}
