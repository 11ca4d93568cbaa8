//! The one door: every stream comes in here, is spoken to in TLS, and goes on to its protocol.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use linarite_core::hub::c2d::message::CloudMessage;
use linarite_core::id::{IdError, IdentityId};
use linarite_env::event::ConnectionId;
use linarite_env::{Env, Event};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::admin::Admin;
use crate::config::Config;
use crate::error::ServiceError;
use crate::events::HubEvents;
use crate::fault::Faults;
use crate::feedback::HubFeedback;
use crate::limits::{CONNECTIONS_MAX, DESKS_MAX, HANDSHAKE_TIMEOUT};
use crate::mqtt::mirror::Mirror;
use crate::outgoing::{Dial, Poster, Sockets};
use crate::service::Services;
use crate::store::issuers::Issuers;
use crate::tls::peer::PeerIdentity;
use crate::tls::server_identity::ServerIdentity;
use crate::ws::WebSocket;
use crate::{http, listener, mqtt, tls};

/// Which protocol is spoken behind TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// MQTT, as on port 8883.
    Mqtt,
    /// HTTPS, and MQTT over WebSocket, as on port 443.
    Https,
}

/// Why an emulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The server certificate could not be made, for a name that fits none.
    #[error("the server certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A configured name is not well formed.
    #[error("a configured name is not well formed: {0}")]
    Name(#[from] IdError),
    /// A listener could not be bound.
    #[error("port {port} of {address} could not be bound: {source}")]
    Bind {
        /// The address.
        address: std::net::IpAddr,
        /// The port.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
    /// The TLS library refused what it was given.
    #[error("TLS could not be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// Where the listeners are.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// MQTT over TLS.
    pub mqtt: SocketAddr,
    /// HTTPS.
    pub https: SocketAddr,
    /// The admin listener, plain HTTP.
    pub admin: SocketAddr,
    /// The telemetry mirror, plain MQTT.
    pub mirror: MirrorAddress,
}

/// Where the telemetry mirror is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MirrorAddress {
    /// Nowhere: the configuration has none.
    Off,
    /// Here.
    At(SocketAddr),
    /// Nowhere: its port could not be bound. All else is served.
    NotBound {
        /// The port.
        port: u16,
        /// What the system says.
        problem: io::ErrorKind,
    },
}

/// A DPS with its hubs. Cheap to clone; clones are the same emulator.
#[derive(Clone)]
pub struct Emulator {
    pub(crate) services: Arc<Services>,
    acceptor: TlsAcceptor,
    router: Router,
    ca_pem: Arc<str>,
    ca_der: Arc<[u8]>,
    room: Arc<Semaphore>,
    pub(crate) desks: Arc<Semaphore>,
    issuers: Arc<Issuers>,
    /// Set once it listens, if it has one.
    mirror: Arc<OnceLock<Arc<Mirror>>>,
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator")
            .field("config", &self.services.config)
            .finish_non_exhaustive()
    }
}

impl Emulator {
    /// An emulator with empty stores and a fresh CA.
    ///
    /// # Errors
    /// [`StartError`], except `Bind`.
    pub fn new(config: Config, env: Env) -> Result<Self, StartError> {
        Self::with_dialer(config, env, Arc::new(Sockets))
    }

    /// The same, whose own calls to webhooks go out through `dialer`.
    ///
    /// # Errors
    /// [`StartError`], except `Bind`.
    pub fn with_dialer(
        config: Config,
        env: Env,
        dialer: Arc<dyn Dial>,
    ) -> Result<Self, StartError> {
        let identity = ServerIdentity::generate(&server_names(&config), &env.clock)?;
        let tls = tls::server_config(&identity, &env.clock, config.danger_tls_resumption)?;
        let poster = Poster::new(&config.webhook, &env.clock, dialer)?;
        let services = Services::new(config, env, poster);
        let ca_der: Arc<[u8]> = identity
            .chain
            .last()
            .map(|ca| Arc::from(ca.as_ref()))
            .unwrap_or_default();
        Ok(Self {
            router: http::router(Arc::clone(&services)),
            services,
            acceptor: TlsAcceptor::from(Arc::new(tls)),
            ca_pem: identity.ca_pem.into(),
            ca_der,
            room: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            desks: Arc::new(Semaphore::new(DESKS_MAX)),
            issuers: Arc::default(),
            mirror: Arc::default(),
        })
    }

    /// The configuration it was made from.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.services.config
    }

    /// The CA clients are to trust, as PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The CA clients are to trust, as DER.
    #[must_use]
    pub fn ca_der(&self) -> &[u8] {
        &self.ca_der
    }

    /// A connection string with all rights at DPS. Holds a key; not for logs.
    #[must_use]
    pub fn dps_connection_string(&self) -> String {
        self.services
            .dps_policy
            .connection_string(self.config().dps.host.as_str())
    }

    /// Host name and connection string of every hub. Hold keys; not for logs.
    #[must_use]
    pub fn hub_connection_strings(&self) -> Vec<(String, String)> {
        let hubs = self.services.hubs.iter();
        hubs.map(|hub| {
            let host = hub.host.to_string();
            let connection_string = hub.policy.connection_string(&host);
            (host, connection_string)
        })
        .collect()
    }

    /// The events of a hub, by its host name; `None` if there is no such hub.
    #[must_use]
    pub fn events(&self, hub: &str) -> Option<HubEvents> {
        let hub = self.services.hub(hub)?;
        let stopped = self.services.cancel.clone();
        Some(HubEvents::new(Arc::clone(&hub.events), stopped))
    }

    /// Queues a message for a device or module of a hub, which is named by its host name.
    ///
    /// # Errors
    /// 404001 if there is no such hub or device, or it is disabled; 403004 if its queue is full.
    pub fn send(
        &self,
        hub: &str,
        id: &IdentityId,
        message: CloudMessage,
    ) -> Result<(), ServiceError> {
        let hub = self.services.hub(hub);
        let hub = hub.ok_or_else(|| ServiceError::identity_not_found(id))?;
        hub.send_to_device(id, message)
    }

    /// What became of messages of a hub, by its host name; `None` if there is no such hub.
    #[must_use]
    pub fn feedback(&self, hub: &str) -> Option<HubFeedback> {
        let stopped = self.services.cancel.clone();
        Some(HubFeedback::new(self.services.hub(hub)?, stopped))
    }

    /// The way to have it fail on purpose.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults::new(&self.services)
    }

    /// Has none of the limits of DPS and hubs hold, nor anything count against them, until they are
    /// not `lifted` any more: for who has to bring about what he wants to measure afterwards. What
    /// a single device may do is limited all the while.
    pub fn lift_limits(&self, lifted: bool) {
        self.services.lift_limits(lifted);
    }

    /// Serves one stream in a task of its own. Streams over the bound are dropped at once.
    pub fn accept<S>(&self, stream: S, door: Door)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let connection = self.services.next_connection();
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            self.services.env.events.emit(Event::LimitReached {
                limit: "connections",
            });
            return;
        };
        let emulator = self.clone();
        let cancel = self.services.cancel.clone();
        self.services.tasks.spawn(async move {
            // Boxed: the handshake's state is large and gone once the session idles.
            let handshake = tokio::select! {
                biased;
                handshake = Box::pin(emulator.handshake(stream, connection)) => handshake,
                () = cancel.cancelled() => None,
            };
            let Some((stream, peer)) = handshake else {
                return;
            };
            tokio::select! {
                biased;
                () = emulator.serve(stream, peer, door, connection) => {}
                () = cancel.cancelled() => {}
            }
            drop(permit);
        });
    }

    async fn handshake<S>(
        &self,
        stream: S,
        connection: ConnectionId,
    ) -> Option<(Box<TlsStream<S>>, PeerIdentity)>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let failed = |reason: String| {
            tracing::debug!(connection = connection.0, %reason, "handshake failed");
            self.services
                .env
                .events
                .emit(Event::HandshakeFailed { connection, reason });
            None
        };
        let stream = match timeout(HANDSHAKE_TIMEOUT, self.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return failed(error.to_string()),
            Err(_) => return failed(format!("not finished in {HANDSHAKE_TIMEOUT:?}")),
        };
        match PeerIdentity::read(stream.get_ref().1.peer_certificates(), &self.issuers) {
            // Boxed: every future that hands the stream on would keep room for all of it.
            Ok(peer) => Some((Box::new(stream), peer)),
            Err(error) => failed(format!("the client certificate is not readable: {error}")),
        }
    }

    async fn serve<S>(
        &self,
        stream: Box<TlsStream<S>>,
        peer: PeerIdentity,
        door: Door,
        connection: ConnectionId,
    ) where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let services = Arc::clone(&self.services);
        match door {
            Door::Mqtt => {
                Box::pin(mqtt::connection::serve(stream, peer, services, connection)).await;
            }
            Door::Https => {
                let served = http::serve(stream, peer.clone(), self.router.clone());
                if let Some(upgraded) = Box::pin(served).await {
                    let stream = WebSocket::server(upgraded).await;
                    Box::pin(mqtt::connection::serve(stream, peer, services, connection)).await;
                }
            }
        }
    }

    /// Binds the configured ports and serves what connects. Without the mirror's port it goes on.
    ///
    /// # Errors
    /// [`StartError::Bind`], naming address and port.
    pub async fn listen(&self) -> Result<Addresses, StartError> {
        let listen = &self.config().listen;
        let mqtt = self.bind(listen.mqtt)?;
        let https = match (self.bind(listen.https), listen.https_fallback) {
            (Ok(listener), _) => listener,
            (Err(_), Some(port)) => self.bind(port)?,
            (Err(error), None) => return Err(error),
        };
        let admin = self.bind(listen.admin)?;
        let bind_error = |source| StartError::Bind {
            address: listen.address,
            port: 0,
            source,
        };
        let mirror = self.listen_for_watchers();
        let addresses = Addresses {
            mqtt: mqtt.local_addr().map_err(bind_error)?,
            https: https.local_addr().map_err(bind_error)?,
            admin: admin.local_addr().map_err(bind_error)?,
            mirror,
        };
        let room = (Arc::clone(&self.room), CONNECTIONS_MAX);
        let (ca_pem, mirror) = (Arc::clone(&self.ca_pem), self.mirror.get().cloned());
        let served = Admin::new(&self.services, ca_pem, room, mirror);
        self.services.tasks.spawn(served.serve(admin));
        self.serve_each(mqtt, Door::Mqtt);
        self.serve_each(https, Door::Https);
        Ok(addresses)
    }

    fn bind(&self, port: u16) -> Result<TcpListener, StartError> {
        let address = self.config().listen.address;
        let bind = listener::bind((address, port).into());
        bind.map_err(|source| StartError::Bind {
            address,
            port,
            source,
        })
    }

    /// Opens the mirror. Nobody needs it to be served, so a port that is taken is no error.
    fn listen_for_watchers(&self) -> MirrorAddress {
        let Some(port) = self.config().listen.mirror else {
            return MirrorAddress::Off;
        };
        let bound = listener::bind((self.config().listen.address, port).into());
        let bound = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
        match bound {
            Ok((address, listener)) => {
                let mirror = self.mirror.get_or_init(|| Mirror::new(&self.services));
                self.services
                    .tasks
                    .spawn(Arc::clone(mirror).serve(listener));
                MirrorAddress::At(address)
            }
            Err(error) => {
                tracing::warn!(port, %error, "there is no telemetry mirror");
                let problem = error.kind();
                MirrorAddress::NotBound { port, problem }
            }
        }
    }

    /// How many messages subscribers of the telemetry mirror were not told, because they or the
    /// mirror were too slow.
    #[must_use]
    pub fn mirror_dropped(&self) -> u64 {
        self.mirror.get().map_or(0, |mirror| mirror.dropped())
    }

    fn serve_each(&self, listener: TcpListener, door: Door) {
        let (emulator, cancel) = (self.clone(), self.services.cancel.clone());
        let serve = move |stream| emulator.accept(stream, door);
        self.services
            .tasks
            .spawn(listener::accept(listener, cancel, serve));
    }

    /// Stops listening, ends every connection, and waits until their tasks are gone or `grace`
    /// is over. Gives whether all ended.
    pub async fn stop(&self, grace: Duration) -> bool {
        self.services.cancel.cancel();
        self.services.tasks.close();
        timeout(grace, self.services.tasks.wait()).await.is_ok()
    }
}

/// Every name and address the server certificate lists (W21).
fn server_names(config: &Config) -> Vec<String> {
    let hubs = config.hubs.iter().map(|hub| hub.host.to_string());
    let fixed = ["localhost", "127.0.0.1", "::1"]
        .into_iter()
        .map(str::to_owned);
    let mut names: Vec<String> = Vec::new();
    let all = std::iter::once(config.dps.host.to_string())
        .chain(hubs)
        .chain(fixed)
        .chain(config.listen.extra_names.iter().cloned());
    for name in all {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}
