//! A small pool of HTTP/1.1 connections per host.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::endpoint::{Connector, Port};

/// Most connections to one host at a time.
const PER_HOST: usize = 16;

type Sender = SendRequest<Full<Bytes>>;

struct Host {
    permits: Arc<Semaphore>,
    idle: Vec<Sender>,
}

pub(super) struct Connections {
    connector: Arc<dyn Connector>,
    tls: TlsConnector,
    hosts: Mutex<HashMap<String, Host>>,
    /// The connections' own tasks; dropping the pool ends them.
    tasks: Mutex<JoinSet<()>>,
}

/// A connection for one request.
pub(super) struct Lease<'a> {
    pool: &'a Connections,
    host: String,
    sender: Sender,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    pub(super) fn new(connector: Arc<dyn Connector>, tls: TlsConnector) -> Self {
        let (hosts, tasks) = (Mutex::default(), Mutex::new(JoinSet::new()));
        Self {
            connector,
            tls,
            hosts,
            tasks,
        }
    }

    /// A connection to `host`, an idle one if there is one.
    pub(super) async fn lease(&self, host: &str) -> io::Result<Lease<'_>> {
        let permits = {
            let mut hosts = self.hosts();
            let entry = hosts.entry(host.to_owned()).or_insert_with(|| Host {
                permits: Arc::new(Semaphore::new(PER_HOST)),
                idle: Vec::new(),
            });
            Arc::clone(&entry.permits)
        };
        let permit = permits.acquire_owned().await.map_err(io::Error::other)?;
        let sender = match self.idle(host).await {
            Some(sender) => sender,
            None => self.connect(host).await?,
        };
        Ok(Lease {
            pool: self,
            host: host.to_owned(),
            sender,
            _permit: permit,
        })
    }

    /// Closes idle connections and forgets ended ones.
    pub(super) fn rest(&self) {
        for host in self.hosts().values_mut() {
            host.idle.clear();
        }
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
    }

    async fn idle(&self, host: &str) -> Option<Sender> {
        loop {
            let mut sender = self.hosts().get_mut(host)?.idle.pop()?;
            if sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    async fn connect(&self, host: &str) -> io::Result<Sender> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = self.connector.connect(host, Port::Https).await?;
        let stream = self.tls.connect(name, stream).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn(async move {
            // How a connection ended shows in the request that was under way on it.
            let _ = connection.await;
        });
        Ok(sender)
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<String, Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease<'_> {
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        self.sender.send_request(request).await
    }

    /// Gives the connection back for another request; call once the answer is read.
    pub(super) fn keep(self) {
        let Self {
            pool, host, sender, ..
        } = self;
        if let Some(host) = pool.hosts().get_mut(&host) {
            host.idle.push(sender);
        }
    }
}
