//! Where the services are, and how a byte stream to them is opened.
//!
//! A stream may be a TCP connection or a pipe in memory; everything above, TLS included, is
//! the same for both.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::fault::service::Trouble;
use crate::function::{Function, Hosted};

/// A byte stream in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A stream whose kind no longer matters.
pub type BoxedStream = Box<dyn Stream>;

/// A future that gives a stream.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = io::Result<BoxedStream>> + Send + 'a>>;

/// Which listener of the services is dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Port {
    /// MQTT with TLS (8883), DPS and hubs alike.
    Mqtt,
    /// HTTPS (443), device, service and management APIs alike.
    Https,
}

/// Opens byte streams to the services, before TLS.
pub trait Connector: Send + Sync {
    /// Opens one stream to `port` of `host`.
    fn connect<'a>(&'a self, host: &'a str, port: Port) -> Connecting<'a>;

    /// The way to have the services fail on purpose, where there is one.
    fn trouble(&self) -> Option<&dyn Trouble> {
        None
    }

    /// Serves a function of the operator's where the services can call it: at a port of the
    /// loopback interface, unless there is a shorter way.
    ///
    /// # Errors
    /// What the system says of the port.
    fn host(&self, function: Arc<Function>) -> io::Result<Hosted> {
        Hosted::on_loopback(function)
    }
}

/// What a fleet and its operator need to know of the services they talk to.
#[derive(Clone)]
pub struct Services {
    /// Host name of DPS, as TLS and SAS tokens name it.
    pub dps_host: String,
    /// Id scope of DPS.
    pub id_scope: String,
    /// Connection string of DPS with all rights (`HostName=…;SharedAccessKeyName=…;SharedAccessKey=…`).
    pub dps_connection_string: String,
    /// Name of the DPS resource for the management API.
    pub dps_name: String,
    /// Host name and connection string of every hub.
    pub hubs: Vec<(String, String)>,
    /// The CA that signed the services' TLS certificate, DER.
    pub ca_der: Vec<u8>,
}

impl fmt::Debug for Services {
    /// Leaves connection strings out: they hold keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hubs: Vec<&str> = self.hubs.iter().map(|(host, _)| host.as_str()).collect();
        f.debug_struct("Services")
            .field("dps_host", &self.dps_host)
            .field("id_scope", &self.id_scope)
            .field("hubs", &hubs)
            .finish_non_exhaustive()
    }
}
