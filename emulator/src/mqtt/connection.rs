//! One MQTT connection from its first byte to its last.
//!
//! What enters: a TLS stream and who is at its other end. Packets are decoded, handed to the
//! DPS or hub session that the CONNECT chose, and what the session answers is written. Every
//! wait here has an end: for the CONNECT, for the next packet, for the peer to read.

use std::future::ready;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures_util::FutureExt as _;
use linarite_core::id::{DeviceId, IdentityId, ModuleId};
use linarite_env::Event;
use linarite_env::event::{ConnectionId, Reason};
use rmqtt_codec::v3::{Connect, ConnectAckReason, Packet};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::codec::{Codec, Malformed};
use super::dps::{DpsSession, Named};
use super::hub::HubSession;
use super::outbox::Outbox;
use super::topic::UserName;
use crate::error::ServiceError;
use crate::limits::{
    CONNECT_BYTES_MAX, CONNECT_TIMEOUT, DPS_MESSAGE_BYTES_MAX, HUB_PACKET_BYTES_MAX, WRITE_TIMEOUT,
};
use crate::service::Services;
use crate::service::mailbox::Command;
use crate::tls::peer::PeerIdentity;

/// Bytes read at once while a connection is idle; larger packets grow the buffer as they come.
const READ_BYTES: usize = 512;

/// Bytes to be said that wait for nothing more: about what one packet of a network carries.
const WRITE_BYTES: usize = 1_400;

/// Why a session ends. The words reach the event stream, not the device (R-G18).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The device said goodbye.
    Disconnected,
    /// Something else, with its rule and Azure's number.
    Because(Reason),
}

impl Ending {
    pub(crate) fn because(rule: &'static str, code: u32, text: impl Into<String>) -> Self {
        Self::Because(Reason {
            rule,
            code,
            text: text.into(),
        })
    }

    /// The device let go of the connection without a goodbye.
    pub(super) fn closed_by_device() -> Self {
        Self::because("R-G19", 404_104, "the device closed the connection")
    }
}

impl From<Malformed> for Ending {
    fn from(malformed: Malformed) -> Self {
        Self::Because(malformed.reason())
    }
}

impl Malformed {
    fn reason(self) -> Reason {
        let rule = if self == Self::QosTwo {
            "R-G16"
        } else {
            "R-G18"
        };
        Reason {
            rule,
            code: 400_000,
            text: self.to_string(),
        }
    }
}

/// A CONNECT that may not become a session, with what its CONNACK says.
pub(crate) struct Refused {
    pub(crate) connack: ConnectAckReason,
    pub(crate) reason: Reason,
}

/// The session a CONNECT opened.
pub(super) enum Session {
    Dps(Box<DpsSession>),
    Hub(Box<HubSession>),
}

/// Serves one connection until it ends.
pub(crate) async fn serve<S>(
    mut stream: S,
    peer: PeerIdentity,
    services: Arc<Services>,
    connection: ConnectionId,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut reader = Reader::new();
    let first = match timeout(CONNECT_TIMEOUT, reader.next(&mut stream)).await {
        Ok(Ok(Some(packet))) => Ok(packet),
        Ok(Err(ReadError::Malformed(malformed))) => Err(malformed),
        Err(_) => {
            let text = "no CONNECT arrived in time";
            return violated(
                &services,
                connection,
                &Ending::because("R-G12", 400_000, text),
            );
        }
        Ok(Ok(None) | Err(ReadError::Io(_))) => return,
    };

    let mut out = Outbox::new();
    let mut session = match enter(first, peer, &services, connection, &mut out) {
        Ok(session) => session,
        Err(event) => {
            if !out.is_empty() {
                let _ = write(&mut stream, &mut out).await;
                let _ = timeout(WRITE_TIMEOUT, stream.shutdown()).await;
            }
            services.env.events.emit(event);
            return;
        }
    };
    reader.codec.allow(session.packet_bytes_max());

    let ending = Box::pin(run(&mut stream, &mut reader, &mut session, &mut out)).await;
    // Whatever the session still has to say is worth one try, the goodbye of TLS another.
    let _ = write(&mut stream, &mut out).await;
    session.leave(&ending, &services, connection);
    if ending != Ending::Disconnected || !has_left(&mut stream) {
        let _ = timeout(WRITE_TIMEOUT, stream.shutdown()).await;
    }
}

/// Whether the peer has closed its side in good order, so that a goodbye would reach nobody.
fn has_left<S: AsyncRead + Unpin>(stream: &mut S) -> bool {
    stream
        .read(&mut [0])
        .now_or_never()
        .is_some_and(|read| matches!(read, Ok(0)))
}

/// Opens a session by the first packet of a connection. What is to be said goes to `out`, and
/// what is to be told of a connection that ends here is the error.
pub(super) fn enter(
    first: Result<Packet, Malformed>,
    peer: PeerIdentity,
    services: &Arc<Services>,
    connection: ConnectionId,
    out: &mut Outbox,
) -> Result<Session, Event> {
    let violated = |reason| Event::ProtocolViolated { connection, reason };
    let connect = match first {
        Ok(Packet::Connect(connect)) => connect,
        Ok(_) => {
            return Err(violated(Reason {
                rule: "R-G12",
                code: 400_000,
                text: "the first packet is not CONNECT".to_owned(),
            }));
        }
        Err(malformed) => {
            if malformed == Malformed::Protocol {
                out.connack(ConnectAckReason::UnacceptableProtocolVersion, false);
            }
            return Err(violated(malformed.reason()));
        }
    };
    open(&connect, peer, services, connection, out).map_err(|refused| {
        out.connack(refused.connack, false);
        Event::ConnectRefused {
            connection,
            connack: refused.connack.into(),
            reason: refused.reason,
        }
    })
}

fn violated(services: &Services, connection: ConnectionId, ending: &Ending) {
    if let Ending::Because(reason) = ending {
        let reason = reason.clone();
        services
            .env
            .events
            .emit(Event::ProtocolViolated { connection, reason });
    }
}

/// Opens the session that the user name asks for and writes its CONNACK.
fn open(
    connect: &Connect,
    peer: PeerIdentity,
    services: &Arc<Services>,
    connection: ConnectionId,
    out: &mut Outbox,
) -> Result<Session, Refused> {
    let name = connect.username.as_deref().and_then(UserName::parse);
    match name {
        Some(UserName::Dps {
            id_scope,
            registration_id,
            api_version,
        }) => {
            let named = Named {
                id_scope,
                registration_id,
                api_version,
            };
            let session = DpsSession::open(connect, &named, peer, services, out)?;
            Ok(Session::Dps(Box::new(session)))
        }
        Some(UserName::Hub {
            hub,
            device_id,
            module_id,
        }) => {
            let id = identity(device_id, module_id)?;
            let session = HubSession::open(connect, hub, id, &peer, services, connection, out)?;
            Ok(Session::Hub(Box::new(session)))
        }
        None => Err(Refused {
            connack: ConnectAckReason::BadUserNameOrPassword,
            reason: Reason {
                rule: "R-G12",
                code: 400_000,
                text: "the user name names neither a registration nor a device".to_owned(),
            },
        }),
    }
}

/// The identity a user name names (R-G2).
fn identity(device_id: &str, module_id: Option<&str>) -> Result<IdentityId, Refused> {
    let parsed = DeviceId::parse(device_id).and_then(|device| match module_id {
        None => Ok(device.into()),
        Some(module) => ModuleId::parse(module).map(|module| IdentityId::module(&device, &module)),
    });
    parsed.map_err(|error| Refused {
        connack: ConnectAckReason::NotAuthorized,
        reason: ServiceError::from(error).reason(),
    })
}

impl Session {
    pub(super) fn packet_bytes_max(&self) -> usize {
        match self {
            Self::Dps(_) => DPS_MESSAGE_BYTES_MAX,
            Self::Hub(_) => HUB_PACKET_BYTES_MAX,
        }
    }

    pub(super) fn keep_alive(&self) -> Duration {
        match self {
            Self::Dps(session) => session.keep_alive(),
            Self::Hub(session) => session.keep_alive(),
        }
    }

    /// When it ends whatever the device does; never for DPS.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        match self {
            Self::Dps(_) => None,
            Self::Hub(session) => session.ends_at(),
        }
    }

    /// Until when nothing more is read of the device, as a message waits for its turn (R-H4);
    /// never for DPS.
    pub(super) fn held_until(&self) -> Option<Instant> {
        match self {
            Self::Dps(_) => None,
            Self::Hub(session) => session.held_until(),
        }
    }

    /// Takes the message that waits, if its turn has come.
    pub(super) fn release(&mut self, out: &mut Outbox) -> Result<(), Ending> {
        match self {
            Self::Dps(_) => Ok(()),
            Self::Hub(session) => session.release(out),
        }
    }

    /// Why it ends once it has waited for the earlier of [`Self::ends_at`] and its keep-alive.
    pub(super) fn time_is_up(&self) -> Ending {
        let checked = match self {
            Self::Dps(_) => Ok(()),
            Self::Hub(session) => session.check_time(),
        };
        let text = "nothing arrived for one and a half times the keep-alive";
        let silent = |()| Ending::because("R-G14", 404_104, text);
        checked.map_or_else(|ending| ending, silent)
    }

    /// Takes one packet of the device.
    pub(super) fn take(&mut self, packet: Packet, out: &mut Outbox) -> Result<(), Ending> {
        match (self, packet) {
            (_, Packet::Disconnect) => Err(Ending::Disconnected),
            (Self::Dps(session), packet) => session.handle(packet, out),
            (Self::Hub(session), packet) => session.handle(packet, out),
        }
    }

    /// What the hub wants of this session; never for DPS.
    pub(super) async fn command(&self) -> Command {
        match self {
            Self::Dps(_) => std::future::pending().await,
            Self::Hub(session) => session.mailbox().take().await,
        }
    }

    pub(super) fn obey(&mut self, command: Command, out: &mut Outbox) -> Result<(), Ending> {
        match self {
            Self::Dps(_) => Ok(()),
            Self::Hub(session) => session.obey(command, out),
        }
    }

    /// Ends it, and tells of an end that broke the protocol of DPS.
    pub(super) fn leave(self, ending: &Ending, services: &Services, connection: ConnectionId) {
        match self {
            Self::Dps(_) => violated(services, connection, ending),
            Self::Hub(session) => session.close(ending),
        }
    }
}

/// What to do next in a session.
enum Turn {
    Obey(Command),
    Read(Result<Option<Packet>, ReadError>),
    Time,
    Write,
}

async fn run<S>(
    stream: &mut S,
    reader: &mut Reader,
    session: &mut Session,
    out: &mut Outbox,
) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let keep_alive = session.keep_alive();
    // One timer for both ends a session may come to by waiting.
    let mut silent_at = Instant::now() + keep_alive;
    let timer = tokio::time::sleep_until(silent_at);
    tokio::pin!(timer);
    loop {
        // Who is not read is not silent.
        let held_until = session.held_until();
        let next = held_until.unwrap_or(silent_at);
        let due = session.ends_at().map_or(next, |at| at.min(next));
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        let turn = tokio::select! {
            biased;
            () = ready(()), if out.len() >= WRITE_BYTES => Turn::Write,
            command = session.command() => Turn::Obey(command),
            read = reader.next(stream), if held_until.is_none() => Turn::Read(read),
            () = &mut timer => Turn::Time,
            // Answers to packets that came together leave together.
            () = ready(()), if !out.is_empty() => Turn::Write,
        };
        let step = match turn {
            Turn::Obey(command) => session.obey(command, out),
            Turn::Read(Ok(Some(packet))) => {
                silent_at = Instant::now() + keep_alive;
                session.take(packet, out)
            }
            Turn::Read(Ok(None)) => Err(Ending::closed_by_device()),
            Turn::Read(Err(ReadError::Malformed(malformed))) => Err(malformed.into()),
            Turn::Read(Err(ReadError::Io(error))) => Err(Ending::because(
                "R-G19",
                404_104,
                format!("the connection broke: {error}"),
            )),
            Turn::Time if held_until.is_some_and(|until| until <= Instant::now()) => {
                silent_at = Instant::now() + keep_alive;
                session.release(out)
            }
            Turn::Time => Err(session.time_is_up()),
            Turn::Write => write(stream, out).await.map_err(|error| {
                Ending::because("R-G14", 404_104, format!("writing failed: {error}"))
            }),
        };
        if let Err(ending) = step {
            return ending;
        }
    }
}

/// Writes what there is to say; a peer that does not read is an error.
pub(super) async fn write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    out: &mut Outbox,
) -> io::Result<()> {
    let bytes = out.take();
    let written = timeout(WRITE_TIMEOUT, async {
        stream.write_all(&bytes).await?;
        stream.flush().await
    });
    written
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Turns a stream into packets.
pub(super) struct Reader {
    codec: Codec,
    bytes: BytesMut,
}

/// Why no packet comes any more.
pub(super) enum ReadError {
    Malformed(Malformed),
    Io(io::Error),
}

impl Reader {
    /// Of packets as long as a CONNECT may be, until more is allowed.
    pub(super) fn new() -> Self {
        Self {
            codec: Codec::new(CONNECT_BYTES_MAX),
            bytes: BytesMut::new(),
        }
    }

    /// The next packet; `None` at the end of the stream. Cancel-safe: bytes read stay buffered.
    pub(super) async fn next<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
    ) -> Result<Option<Packet>, ReadError> {
        loop {
            if let Some(packet) = self
                .codec
                .decode(&mut self.bytes)
                .map_err(ReadError::Malformed)?
            {
                if !self.bytes.has_remaining() {
                    // An idle connection keeps no more than the next read needs.
                    self.bytes = BytesMut::new();
                }
                return Ok(Some(packet));
            }
            self.bytes.reserve(READ_BYTES);
            match stream.read_buf(&mut self.bytes).await {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) => return Err(ReadError::Io(error)),
            }
        }
    }
}
