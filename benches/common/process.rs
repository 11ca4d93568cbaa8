//! A server in a process of its own, so that what it uses is not mixed with what its clients use.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use linarite::endpoint::{BoxedStream, Connecting, Connector, Port, Services};
use linarite_emulator::{Config, Emulator};
use linarite_env::{Clock, Env};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::stage::{DPS, HUB};

/// The argument that makes a program the server; the kind of server follows.
pub(crate) const SERVE: &str = "--serve";

/// The kind of server this program is to be, if it is to be one, and what it is told.
pub(crate) fn wanted() -> Option<(String, String)> {
    let mut arguments = std::env::args().skip_while(|argument| argument != SERVE);
    Some((arguments.nth(1)?, arguments.next().unwrap_or_default()))
}

/// Serves bare handshakes by `acceptor`, each answered with a byte, on a free port of loopback;
/// gives what [`serve`] is to announce, where `ca` signed the server's certificate.
pub(crate) async fn handshakes(acceptor: TlsAcceptor, ca: &[u8]) -> anyhow::Result<Value> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                // Boxed, so that the handshake's state does not stay.
                if let Ok(mut stream) = Box::pin(acceptor.accept(stream)).await {
                    let _ = stream.write_all(b"!").await;
                    let _ = stream.flush().await;
                    let _ = stream.read_u8().await;
                }
            });
        }
    });
    Ok(json!({ "mqtt": address, "https": address, "ca": ca }))
}

/// Starts an emulator on free ports of loopback; gives it with what [`serve`] is to announce.
pub(crate) async fn emulator() -> anyhow::Result<(Emulator, Value)> {
    let mut config = Config::local(DPS, &[HUB.to_owned()])?;
    config.assignment_latency = Duration::ZERO;
    let emulator = Emulator::new(config, Env::new(Clock::system(), 1))?;
    let addresses = emulator.listen().await?;
    let announcement = json!({
        "mqtt": addresses.mqtt.to_string(),
        "https": addresses.https.to_string(),
        "ca": emulator.ca_der(),
        "id_scope": emulator.config().dps.id_scope.as_str(),
        "dps": emulator.dps_connection_string(),
        "dps_name": emulator.config().dps.name,
        "hubs": emulator.hub_connection_strings(),
    });
    Ok((emulator, announcement))
}

/// Says where the server is, then answers each line with its `figure`.
pub(crate) async fn serve(
    announcement: &Value,
    figure: impl Fn() -> Value + Send + 'static,
) -> anyhow::Result<()> {
    say(announcement)?;
    let asked = tokio::task::spawn_blocking(move || {
        for line in std::io::stdin().lines() {
            line?;
            say(&figure())?;
        }
        anyhow::Ok(())
    });
    asked.await?
}

fn say(value: &Value) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")?;
    Ok(out.flush()?)
}

/// A server in a process of its own; ended when dropped.
pub(crate) struct Server {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    announcement: Value,
}

impl Server {
    /// Starts this program again as the server of this `kind`.
    pub(crate) fn start(kind: &str) -> anyhow::Result<Self> {
        Self::start_told(kind, "")
    }

    /// The same, and tells it something.
    pub(crate) fn start_told(kind: &str, told: &str) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([SERVE, kind, told])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let questions = child.stdin.take().context("no pipe to the server")?;
        let answers = child.stdout.take().context("no pipe from the server")?;
        let announcement = Value::Null;
        let mut server = Self {
            child,
            questions,
            answers: BufReader::new(answers),
            announcement,
        };
        server.announcement = server.answer()?;
        Ok(server)
    }

    /// Asks the server for its figure.
    pub(crate) fn ask(&mut self) -> anyhow::Result<Value> {
        writeln!(self.questions)?;
        self.answer()
    }

    fn answer(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    /// What the server said under this name when it started.
    pub(crate) fn text(&self, name: &str) -> anyhow::Result<String> {
        let text = self.announcement[name].as_str();
        Ok(text
            .with_context(|| format!("the server did not say its {name}"))?
            .to_owned())
    }

    /// The same as an address.
    pub(crate) fn address(&self, name: &str) -> anyhow::Result<SocketAddr> {
        Ok(self.text(name)?.parse()?)
    }

    /// The CA that signed its certificate.
    pub(crate) fn ca(&self) -> anyhow::Result<Vec<u8>> {
        Ok(serde_json::from_value(self.announcement["ca"].clone())?)
    }

    /// Its number in the system.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// How to reach the emulator that it serves.
    pub(crate) fn services(&self) -> anyhow::Result<(Services, Arc<dyn Connector>)> {
        let services = Services {
            dps_host: DPS.to_owned(),
            id_scope: self.text("id_scope")?,
            dps_connection_string: self.text("dps")?,
            dps_name: self.text("dps_name")?,
            hubs: serde_json::from_value(self.announcement["hubs"].clone())?,
            ca_der: self.ca()?,
        };
        let (mqtt, https) = (self.address("mqtt")?, self.address("https")?);
        Ok((services, Arc::new(Sockets { mqtt, https })))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects to the serving process, whatever the host is called.
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
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxedStream)
        })
    }
}
