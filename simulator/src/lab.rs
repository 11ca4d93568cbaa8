//! An emulator inside this process, and the way to it.
//!
//! With `command::up` the only module of the simulator that knows the emulator: everything else
//! talks to it as to a stranger, through streams and public APIs.

pub(crate) mod bare;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use linarite_emulator::{Config, Door, Emulator};
use linarite_env::Env;
use tokio::net::TcpStream;

use crate::endpoint::{BoxedStream, Connecting, Connector, Port, Services};
use crate::readings::Readings;

/// Bytes a pipe in memory holds for each direction before its writer waits.
const PIPE_BYTES: usize = 16 * 1024;

/// How long connections may take to end when the lab stops.
const GRACE: Duration = Duration::from_secs(10);

/// Host name of DPS in a lab. Reserved for tests by RFC 2606.
const DPS_HOST: &str = "dps.linarite.test";

/// How streams reach the emulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabMode {
    /// Through memory; the only way that works in virtual time.
    InMemory,
    /// Through sockets of the loopback interface.
    Loopback,
}

/// An emulator within this process.
pub struct Lab {
    /// What a client needs to know.
    pub services: Services,
    /// The way to it.
    pub connector: Arc<dyn Connector>,
    emulator: Emulator,
}

impl Lab {
    /// Starts an emulator with `hubs` on the clock and chance of `env`.
    ///
    /// # Errors
    /// If a hub's name is no host name, or a loopback port cannot be bound.
    pub async fn start(env: Env, mode: LabMode, hubs: &[String]) -> anyhow::Result<Self> {
        Self::with_readings(env, mode, hubs, &Readings::new()).await
    }

    /// The same with `readings` of what Azure does not document.
    ///
    /// # Errors
    /// As [`Self::start`], and for a reading that the emulator does not know.
    pub async fn with_readings(
        env: Env,
        mode: LabMode,
        hubs: &[String],
        readings: &Readings,
    ) -> anyhow::Result<Self> {
        let mut config = Config::local(DPS_HOST, hubs).context("the lab's host names")?;
        if !readings.is_empty() {
            let settings = toml::to_string(readings).context("the lab's settings")?;
            let read = Config::from_toml("settings", &format!("[settings]\n{settings}"))
                .context("the lab's settings")?;
            config.settings = read.settings;
            config.danger_tls_resumption = read.danger_tls_resumption;
        }
        Self::with_config(env, mode, config).await
    }

    /// The same, as `config` says.
    async fn with_config(env: Env, mode: LabMode, config: Config) -> anyhow::Result<Self> {
        let emulator = Emulator::new(config, env).context("the lab's emulator")?;
        let connector: Arc<dyn Connector> = match mode {
            LabMode::InMemory => Arc::new(Pipes(emulator.clone())),
            LabMode::Loopback => {
                let addresses = emulator.listen().await.context("the lab's listeners")?;
                Arc::new(Sockets {
                    mqtt: addresses.mqtt,
                    https: addresses.https,
                })
            }
        };
        let services = Services {
            dps_host: DPS_HOST.to_owned(),
            id_scope: emulator.config().dps.id_scope.as_str().to_owned(),
            dps_connection_string: emulator.dps_connection_string(),
            dps_name: emulator.config().dps.name.clone(),
            hubs: emulator.hub_connection_strings(),
            ca_der: emulator.ca_der().to_vec(),
        };
        Ok(Self {
            services,
            connector,
            emulator,
        })
    }

    /// Ends every connection and waits for the emulator's tasks; gives whether all ended.
    pub async fn stop(self) -> bool {
        self.emulator.stop(GRACE).await
    }
}

/// Connects through memory, straight to the emulator's door.
struct Pipes(Emulator);

impl Connector for Pipes {
    fn connect<'a>(&'a self, _host: &'a str, port: Port) -> Connecting<'a> {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let door = match port {
            Port::Mqtt => Door::Mqtt,
            Port::Https => Door::Https,
        };
        self.0.accept(far, door);
        Box::pin(std::future::ready(Ok(Box::new(near) as BoxedStream)))
    }
}

/// Connects through the loopback interface, whatever the host is called.
struct Sockets {
    mqtt: SocketAddr,
    https: SocketAddr,
}

impl Connector for Sockets {
    fn connect<'a>(&'a self, _host: &'a str, port: Port) -> Connecting<'a> {
        let address = match port {
            Port::Mqtt => self.mqtt,
            Port::Https => self.https,
        };
        Box::pin(async move {
            let stream: io::Result<TcpStream> = TcpStream::connect(address).await;
            let stream = stream?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxedStream)
        })
    }
}
