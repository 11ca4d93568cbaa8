//! MQTT over TLS over any byte stream, in a WebSocket or not.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::lab::WebSocket;
use bytes::BytesMut;
use linarite_env::Clock;
use rumqttc::mqttbytes::Error;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::gathered::{Gathered, Leaving};
use super::websocket;
use crate::endpoint::{BoxedStream, Connector, Port, Services};
use crate::fault::stream::Weather;
use crate::firmware;
use crate::pki::Credential;
use crate::tls::{Client, TlsError};
use crate::wire::{PACKET_MAX, Packet};

/// Longest time for opening a stream and for its handshake, together.
const DIAL_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest time for handing one packet to the stream.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest time for saying good-bye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How a device goes about a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) transport: firmware::Transport,
    /// How far the clock by which it judges certificates is ahead of the time.
    pub(crate) skew_ms: i64,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            transport: firmware::Transport::Mqtt,
            skew_ms: 0,
        }
    }
}

/// Opens connections, so many handshakes at once and no more.
pub(crate) struct Dialer {
    connector: Arc<dyn Connector>,
    tls: Client,
    handshakes: Semaphore,
}

impl Dialer {
    pub(crate) fn new(
        services: &Services,
        connector: Arc<dyn Connector>,
        clock: &Clock,
        handshakes_at_once: usize,
    ) -> Result<Self, TlsError> {
        let tls = Client::new(&services.ca_der, clock)?;
        let permits = handshakes_at_once.clamp(1, Semaphore::MAX_PERMITS);
        Ok(Self {
            connector,
            tls,
            handshakes: Semaphore::new(permits),
        })
    }

    /// Connects to `host` in its `manner`, showing `credential`, through `weather`. The time spent
    /// waiting for other handshakes does not count against the time-out.
    pub(crate) async fn open(
        &self,
        host: &str,
        credential: &Credential,
        manner: Manner,
        weather: Option<Weather>,
    ) -> Result<Transport, String> {
        // Who waits for nothing but a fault costs no work, and must not keep the others waiting.
        let _turn = if weather.as_ref().is_some_and(Weather::is_rough) {
            None
        } else {
            let turn = self.handshakes.acquire().await;
            Some(turn.map_err(|closed| closed.to_string())?)
        };
        match timeout(
            DIAL_TIMEOUT,
            self.shake_hands(host, credential, manner, weather),
        )
        .await
        {
            Ok(result) => result,
            Err(_) => Err(format!(
                "{host} did not finish the TLS handshake within 60 s"
            )),
        }
    }

    async fn shake_hands(
        &self,
        host: &str,
        credential: &Credential,
        manner: Manner,
        weather: Option<Weather>,
    ) -> Result<Transport, String> {
        let port = match manner.transport {
            firmware::Transport::Mqtt => Port::Mqtt,
            firmware::Transport::MqttWs => Port::Https,
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host:?} is not a host name"))?;
        let tls = self
            .tls
            .connector_by(Some(credential), manner.skew_ms)
            .map_err(|error| error.to_string())?;
        let stream = self
            .connector
            .connect(host, port)
            .await
            .map_err(|error| format!("cannot reach {host}: {error}"))?;
        let stream = match weather {
            Some(weather) => weather.around(stream),
            None => stream,
        };
        let leaving = match manner.transport {
            firmware::Transport::Mqtt => Leaving::WhenTold,
            // HTTP waits for an answer without reading once more.
            firmware::Transport::MqttWs => Leaving::WhenFlushed,
        };
        let stream = tls
            .connect(name, Gathered::new(stream, leaving))
            .await
            .map_err(|error| format!("TLS handshake with {host} failed: {error}"))?;
        let stream = match manner.transport {
            firmware::Transport::Mqtt => Either::Left(stream),
            firmware::Transport::MqttWs => Either::Right(websocket::open(host, stream).await?),
        };
        Ok(Transport {
            stream: Box::new(stream),
            incoming: BytesMut::new(),
        })
    }
}

type Tls = TlsStream<Gathered<BoxedStream>>;

/// An open connection.
pub(crate) struct Transport {
    stream: Box<Either<Tls, WebSocket<Tls>>>,
    /// The beginning of a packet whose rest is still to come; without memory between packets.
    incoming: BytesMut,
}

impl Transport {
    /// Writes a packet, which leaves with others: see [`Self::leave`].
    pub(crate) async fn send(&mut self, packet: &Packet) -> io::Result<()> {
        let mut bytes = BytesMut::with_capacity(packet.size());
        packet
            .write(&mut bytes, PACKET_MAX)
            .map_err(io::Error::other)?;
        let written = async {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await
        };
        timeout(SEND_TIMEOUT, written).await?
    }

    /// Has leave all that was written.
    pub(crate) async fn leave(&mut self) -> io::Result<()> {
        let left = poll_fn(|cx| match &mut *self.stream {
            Either::Left(stream) => stream.get_mut().0.poll_leave(cx),
            Either::Right(stream) => Pin::new(stream).poll_flush(cx),
        });
        timeout(SEND_TIMEOUT, left).await?
    }

    /// The next packet; an error once the peer has closed the stream or broken the protocol.
    pub(crate) fn poll_packet(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Packet>> {
        loop {
            if let Some(packet) = self.take_packet()? {
                return Poll::Ready(Ok(packet));
            }
            // On the stack, so that thousands of waiting connections hold no buffer.
            let mut chunk = [0; 4096];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.incoming.extend_from_slice(chunk.filled());
        }
    }

    /// Like [`Self::poll_packet`], to be awaited.
    pub(crate) async fn packet(&mut self) -> io::Result<Packet> {
        poll_fn(|cx| self.poll_packet(cx)).await
    }

    /// Closes the stream in good order if the peer lets it.
    pub(crate) async fn close(mut self) {
        // The connection is given up either way.
        let _ = timeout(CLOSE_TIMEOUT, self.stream.shutdown()).await;
    }

    fn take_packet(&mut self) -> io::Result<Option<Packet>> {
        if self.incoming.is_empty() {
            return Ok(None);
        }
        match Packet::read(&mut self.incoming, PACKET_MAX) {
            Ok(packet) => {
                if self.incoming.is_empty() {
                    self.incoming = BytesMut::new();
                }
                Ok(Some(packet))
            }
            Err(Error::InsufficientBytes(_)) => Ok(None),
            Err(broken) => Err(io::Error::new(io::ErrorKind::InvalidData, broken)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::driver::fake::{Fake, HUB, NOW};
    use crate::endpoint::Connecting;
    use crate::observation::Generation;

    /// Notes which port is dialled, and leads nowhere.
    #[derive(Default)]
    struct Doors(Mutex<Vec<Port>>);

    impl Connector for Doors {
        fn connect<'a>(&'a self, _host: &'a str, port: Port) -> Connecting<'a> {
            self.0.lock().unwrap().push(port);
            Box::pin(std::future::ready(Err(
                io::ErrorKind::ConnectionRefused.into()
            )))
        }
    }

    #[tokio::test]
    async fn each_transport_has_its_port() {
        let (fake, doors) = (Fake::new(), Arc::new(Doors::default()));
        let leaf = fake.pki.leaf("ca", "dev-1", Generation(1), 0, NOW).unwrap();
        let connector = Arc::clone(&doors) as _;
        let dialer = Dialer::new(&fake.services, connector, &Clock::system(), 1).unwrap();
        for transport in [firmware::Transport::Mqtt, firmware::Transport::MqttWs] {
            let manner = Manner {
                transport,
                skew_ms: 0,
            };
            let opened = dialer.open(HUB, &leaf, manner, None).await;
            assert!(opened.is_err_and(|error| error.contains("cannot reach")));
        }
        assert_eq!(*doors.0.lock().unwrap(), [Port::Mqtt, Port::Https]);
    }
}
