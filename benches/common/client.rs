//! A device reduced to its conversations: registration at DPS, and a session at a hub.
//!
//! TLS and packets are the simulator's own; what is left out is deciding when to do what.

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use bytes::BytesMut;
use linarite::endpoint::{BoxedStream, Connector, Port};
use linarite::wire::{
    self, ConnectReturnCode, PACKET_MAX, Packet,
    dps::{self, Answer, Meaning},
    hub,
};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Keep-alive announced to a hub, in seconds.
const KEEP_ALIVE: u16 = 1140;

/// An open connection that speaks MQTT.
pub(crate) struct Line<S = TlsStream<BoxedStream>> {
    stream: S,
    incoming: BytesMut,
}

impl Line {
    /// Dials `host` and shakes hands.
    pub(crate) async fn open(
        connector: &dyn Connector,
        tls: &TlsConnector,
        host: &str,
    ) -> anyhow::Result<Self> {
        let stream = connector.connect(host, Port::Mqtt).await?;
        let name = ServerName::try_from(host.to_owned())?;
        let stream = tls.connect(name, stream).await?;
        Ok(Self::over(stream))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    /// Speaks MQTT over `stream`.
    pub(crate) fn over(stream: S) -> Self {
        let incoming = BytesMut::new();
        Self { stream, incoming }
    }

    /// Sends one packet.
    pub(crate) async fn send(&mut self, packet: &Packet) -> anyhow::Result<()> {
        let mut bytes = BytesMut::with_capacity(packet.size());
        packet.write(&mut bytes, PACKET_MAX)?;
        self.stream.write_all(&bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// The next packet.
    pub(crate) async fn receive(&mut self) -> anyhow::Result<Packet> {
        loop {
            if !self.incoming.is_empty()
                && let Ok(packet) = Packet::read(&mut self.incoming, PACKET_MAX)
            {
                return Ok(packet);
            }
            if self.stream.read_buf(&mut self.incoming).await? == 0 {
                bail!("the service closed the connection");
            }
        }
    }

    async fn enter(&mut self, connect: &Packet) -> anyhow::Result<()> {
        self.send(connect).await?;
        match self.receive().await? {
            Packet::ConnAck(answer) if answer.code == ConnectReturnCode::Success => Ok(()),
            other => bail!("CONNECT was answered with {other:?}"),
        }
    }

    async fn answer(&mut self) -> anyhow::Result<Answer> {
        loop {
            if let Packet::Publish(publish) = self.receive().await? {
                if let Some(acknowledgement) = wire::acknowledgement(&publish) {
                    self.send(&acknowledgement).await?;
                }
                let answer = Answer::read(&publish.topic, &publish.payload);
                return answer.context("an answer on an unknown topic");
            }
        }
    }

    /// Registers as `id` in `id_scope`; gives the hub.
    pub(crate) async fn register(&mut self, id_scope: &str, id: &str) -> anyhow::Result<String> {
        self.enter_dps(id_scope, id).await?;
        self.registration(id).await
    }

    /// Opens a session at DPS in which `id` may register again and again.
    pub(crate) async fn enter_dps(&mut self, id_scope: &str, id: &str) -> anyhow::Result<()> {
        self.enter(&dps::connect_packet(id_scope, id)).await?;
        self.send(&dps::subscribe_packet(1)).await
    }

    /// One registration of `id` in a session at DPS; gives the hub.
    pub(crate) async fn registration(&mut self, id: &str) -> anyhow::Result<String> {
        self.send(&dps::register_packet(id, 2)).await?;
        let Meaning::Assigning { operation } = self.answer().await?.meaning else {
            bail!("the registration of {id} was not taken up");
        };
        self.send(&dps::poll_packet(&operation, 3)).await?;
        match self.answer().await?.meaning {
            Meaning::Assigned { hub, .. } => Ok(hub),
            other => bail!("the registration of {id} came to {other:?}"),
        }
    }

    /// Opens the session of `id` at `host`.
    pub(crate) async fn connect(&mut self, host: &str, id: &str) -> anyhow::Result<()> {
        self.enter(&hub::connect_packet(host, id, KEEP_ALIVE)).await
    }

    /// Waits for the byte with which a server of bare handshakes says that one is done.
    pub(crate) async fn be_let_in(&mut self) -> anyhow::Result<()> {
        self.stream.read_u8().await?;
        Ok(())
    }

    /// Sends one message at QoS 1 and waits for its PUBACK.
    pub(crate) async fn telemetry(&mut self, id: &str, sequence: u32) -> anyhow::Result<()> {
        self.send(&hub::telemetry_packet(id, sequence, false))
            .await?;
        loop {
            if let Packet::PubAck(_) = self.receive().await? {
                return Ok(());
            }
        }
    }

    /// Sends several messages at QoS 1 in one go, then waits for all their PUBACKs.
    pub(crate) async fn burst(&mut self, id: &str, sequences: Range<u32>) -> anyhow::Result<()> {
        let mut bytes = BytesMut::new();
        for sequence in sequences.clone() {
            hub::telemetry_packet(id, sequence, false).write(&mut bytes, PACKET_MAX)?;
        }
        self.stream.write_all(&bytes).await?;
        self.stream.flush().await?;
        for _ in sequences {
            while !matches!(self.receive().await?, Packet::PubAck(_)) {}
        }
        Ok(())
    }

    /// Says good-bye and waits until the service has closed its end.
    pub(crate) async fn close(mut self) -> anyhow::Result<()> {
        self.send(&Packet::Disconnect).await?;
        self.stream.shutdown().await?;
        let mut rest = [0; 64];
        // An end without close_notify is an end as well.
        while self
            .stream
            .read(&mut rest)
            .await
            .is_ok_and(|bytes| bytes > 0)
        {}
        Ok(())
    }
}

/// One whole registration over a connection of its own; gives the hub.
pub(crate) async fn register(
    connector: &Arc<dyn Connector>,
    tls: &TlsConnector,
    (dps_host, id_scope): (&str, &str),
    id: &str,
) -> anyhow::Result<String> {
    let mut line = Line::open(&**connector, tls, dps_host).await?;
    let hub = line.register(id_scope, id).await?;
    line.close().await?;
    Ok(hub)
}
