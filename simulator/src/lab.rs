//! An emulator inside this process, and the way to it.
//!
//! With `command::up` the only module of the simulator that knows the emulator: everything else
//! talks to it as to a stranger, through streams and public APIs.

pub(crate) mod bare;

/// The bytes inside a WebSocket. Both ends leave its frames to one library, so a device that had
/// its own would find out no more.
pub(crate) use linarite_emulator::ws::WebSocket;

use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use linarite_emulator::fault::{DpsFault, DpsTrouble};
use linarite_emulator::outgoing::{Dial, Dialing};
use linarite_emulator::{Addresses, Config, Door, Emulator};
use linarite_env::Env;
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};

use crate::endpoint::{BoxedStream, Connecting, Connector, Port, Services};
use crate::fault::DpsAnswer;
use crate::fault::service::{DpsErrors, Trouble, Troubling};
use crate::function::{Function, Hosted};
use crate::scenario::Scenario;

/// Bytes a pipe in memory holds for each direction before its writer waits.
const PIPE_BYTES: usize = 16 * 1024;

/// How long connections may take to end when the lab stops.
const GRACE: Duration = Duration::from_secs(10);

/// Host name of DPS in a lab. Reserved for tests by RFC 2606.
const DPS_HOST: &str = "dps.linarite.test";

/// Host name of the operator's function, where that is reached through memory.
const FUNCTION_HOST: &str = "function.linarite.test";

/// How streams reach the emulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabMode {
    /// Through memory; the only way that works in virtual time.
    InMemory,
    /// Through sockets of the loopback interface.
    Loopback,
    /// The same from several of its addresses in turn, where one has too few ports.
    LoopbackFrom {
        /// How many, beginning with 127.0.0.1.
        addresses: u8,
    },
}

/// An emulator within this process.
pub struct Lab {
    /// What a client needs to know.
    pub services: Services,
    /// The way to it.
    pub connector: Arc<dyn Connector>,
    emulator: Emulator,
    /// Of an emulator that listens.
    _threads: Option<Threads>,
}

impl Lab {
    /// Starts an emulator with `hubs` on the clock and chance of `env`.
    ///
    /// # Errors
    /// If a hub's name is no host name, or a loopback port cannot be bound.
    pub async fn start(env: Env, mode: LabMode, hubs: &[String]) -> anyhow::Result<Self> {
        let config = Config::local(DPS_HOST, hubs).context("the lab's host names")?;
        Self::with(env, mode, config).await
    }

    /// The same with the hubs of `scenario`, its readings of what Azure does not document, and
    /// its limits.
    ///
    /// # Errors
    /// As [`Self::start`], and for a reading or a limit that the emulator does not know.
    pub async fn of_scenario(env: Env, mode: LabMode, scenario: &Scenario) -> anyhow::Result<Self> {
        let mut config = Config::local(DPS_HOST, &scenario.hubs).context("the lab's host names")?;
        let settings = toml::to_string(&scenario.settings).context("the lab's settings")?;
        let limits = scenario.limits.configuration();
        let read = Config::from_toml("settings", &format!("{limits}[settings]\n{settings}"))
            .context("the lab's settings")?;
        config.settings = read.settings;
        config.danger_tls_resumption = read.danger_tls_resumption;
        config.dps.throttles = read.dps.throttles;
        let hub = format!(
            "[[hubs]]\nhost = \"any.test\"\n{}",
            scenario.limits.of_hubs()
        );
        let read = Config::from_toml("limits", &hub).context("the lab's hubs")?;
        if let Some(read) = read.hubs.first() {
            for hub in &mut config.hubs {
                (hub.tier, hub.limits) = (read.tier, read.limits);
            }
        }
        Self::with(env, mode, config).await
    }

    async fn with(env: Env, mode: LabMode, config: Config) -> anyhow::Result<Self> {
        let (emulator, connector, threads) = match mode {
            LabMode::InMemory => {
                let outside = Outside::default();
                let emulator = Emulator::with_dialer(config, env, Arc::new(outside.clone()))
                    .context("the lab's emulator")?;
                let pipes = Pipes(Wanted(emulator.clone()), outside);
                (emulator, Arc::new(pipes) as Arc<dyn Connector>, None)
            }
            LabMode::Loopback | LabMode::LoopbackFrom { .. } => {
                let (threads, emulator, addresses) = Threads::serving(config, env).await?;
                let sockets = Sockets {
                    mqtt: addresses.mqtt,
                    https: addresses.https,
                    trouble: Arc::new(Wanted(emulator.clone())),
                    sources: Sources::of(mode),
                };
                (emulator, Arc::new(sockets) as _, Some(threads))
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
            _threads: threads,
        })
    }

    /// Ends every connection and waits for the emulator's tasks; gives whether all ended.
    pub async fn stop(self) -> bool {
        self.emulator.stop(GRACE).await
    }
}

/// Threads of an emulator that listens, as if it were another process. On those of the fleet each
/// end of a connection would wake the other's thread: a tenth of the work of a storm.
struct Threads(Option<Runtime>);

impl Threads {
    /// An emulator that listens, at work on threads of its own, which end with what is given first.
    async fn serving(config: Config, env: Env) -> anyhow::Result<(Self, Emulator, Addresses)> {
        let runtime = Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.context("the threads of the lab")?;
        let served = runtime.spawn(async {
            let emulator = Emulator::new(config, env).context("the lab's emulator")?;
            let addresses = emulator.listen().await.context("the lab's listeners")?;
            anyhow::Ok((emulator, addresses))
        });
        // From here on an error ends them as a lab does that is dropped.
        let threads = Self(Some(runtime));
        let (emulator, addresses) = served.await??;
        Ok((threads, emulator, addresses))
    }
}

impl Drop for Threads {
    /// Lets them end by themselves: a lab is dropped where nothing may wait.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// An emulator that fails where it is wanted to.
struct Wanted(Emulator);

impl Wanted {
    fn fail(&self, errors: DpsErrors) -> Result<(), String> {
        let DpsErrors { share, .. } = errors;
        let trouble = match errors.answer {
            DpsAnswer::Throttled(seconds) => DpsTrouble::Throttled { seconds },
            DpsAnswer::InternalError => DpsTrouble::InternalError,
            DpsAnswer::Unavailable => DpsTrouble::Unavailable,
        };
        let fault = DpsFault {
            from_ms: errors.from.0,
            until_ms: errors.until.0,
            hits: share.hits,
            of: NonZeroU32::new(share.of).unwrap_or(NonZeroU32::MIN),
            trouble,
        };
        let taken = self.0.faults().dps(fault);
        taken.map(|_| ()).map_err(|error| error.to_string())
    }
}

impl Trouble for Wanted {
    fn dps(&self, errors: DpsErrors) -> Troubling<'_> {
        Box::pin(ready(self.fail(errors)))
    }

    fn restart_hub<'a>(&'a self, host: &'a str, down_for: Duration) -> Troubling<'a> {
        let restarted = self.0.faults().restart_hub(host, down_for);
        let restarted = restarted.map(|_| ()).map_err(|error| error.to_string());
        Box::pin(ready(restarted))
    }
}

/// Whom the emulator can call through memory: the operator's function, if it is served.
#[derive(Clone, Default)]
struct Outside(Arc<Mutex<Option<Arc<Function>>>>);

impl Dial for Outside {
    fn dial<'a>(&'a self, host: &'a str, _port: u16) -> Dialing<'a> {
        let function = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let dialled = match function.clone().filter(|_| host == FUNCTION_HOST) {
            None => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
            Some(function) => {
                let (near, far) = tokio::io::duplex(PIPE_BYTES);
                // Ends when the emulator hangs up, which it does at the latest when it stops.
                tokio::spawn(function.serve(Box::new(far)));
                Ok(Box::new(near) as linarite_emulator::outgoing::BoxedStream)
            }
        };
        Box::pin(ready(dialled))
    }
}

/// Connects through memory, straight to the emulator's door, and has the emulator call outside in
/// the same way.
struct Pipes(Wanted, Outside);

impl Connector for Pipes {
    fn connect<'a>(&'a self, _host: &'a str, port: Port) -> Connecting<'a> {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let door = match port {
            Port::Mqtt => Door::Mqtt,
            Port::Https => Door::Https,
        };
        self.0.0.accept(far, door);
        Box::pin(ready(Ok(Box::new(near) as BoxedStream)))
    }

    fn trouble(&self) -> Option<&dyn Trouble> {
        Some(&self.0)
    }

    fn host(&self, function: Arc<Function>) -> io::Result<Hosted> {
        let mut called = self.1.0.lock().unwrap_or_else(PoisonError::into_inner);
        *called = Some(Arc::clone(&function));
        Ok(Hosted::at(&format!("http://{FUNCTION_HOST}"), function))
    }
}

/// Connects through the loopback interface, whatever the host is called.
pub(crate) struct Sockets {
    mqtt: SocketAddr,
    https: SocketAddr,
    /// The way to have them fail.
    trouble: Arc<dyn Trouble>,
    sources: Sources,
}

/// The addresses that connections come from, in turn; none where the system chooses.
struct Sources {
    count: u8,
    next: AtomicU8,
}

impl Sources {
    fn of(mode: LabMode) -> Self {
        let count = match mode {
            LabMode::LoopbackFrom { addresses } => addresses,
            LabMode::InMemory | LabMode::Loopback => 0,
        };
        let next = AtomicU8::new(0);
        Self { count, next }
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        if self.count == 0 {
            return TcpStream::connect(address).await;
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.count;
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, turn.saturating_add(1)], 0)))?;
        socket.connect(address).await
    }
}

impl Sockets {
    /// The way to services in another process, which `trouble` has fail.
    pub(crate) fn to(mqtt: SocketAddr, https: SocketAddr, trouble: Arc<dyn Trouble>) -> Self {
        Self {
            mqtt,
            https,
            trouble,
            sources: Sources::of(LabMode::Loopback),
        }
    }
}

impl Connector for Sockets {
    fn connect<'a>(&'a self, _host: &'a str, port: Port) -> Connecting<'a> {
        let address = match port {
            Port::Mqtt => self.mqtt,
            Port::Https => self.https,
        };
        Box::pin(async move {
            let stream = self.sources.connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxedStream)
        })
    }

    fn trouble(&self) -> Option<&dyn Trouble> {
        Some(&*self.trouble)
    }
}
