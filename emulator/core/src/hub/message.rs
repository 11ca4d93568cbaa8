//! Messages at a hub's event endpoint: what a reader sees of one (behaviour G.8).
//!
//! A message keeps what its sender wrote and points to who the sender was; what the hub vouches
//! for is stamped when somebody reads.

use std::borrow::Cow;
use std::sync::Arc;

use crate::id::IdentityId;
use crate::limits::MESSAGE_BYTES_MAX;

mod properties;

pub use properties::Properties;

/// A name or value of a property bag, decoded.
pub type BagText<'a> = Cow<'a, str>;

/// Where a message comes from: the value of `iothub-message-source` (R-G37, R-G39, R-G40).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageSource {
    /// A device or module sent it.
    Telemetry,
    /// An identity came into being or went.
    DeviceLifecycle,
    /// A twin changed.
    TwinChange,
    /// A device connected or disconnected.
    DeviceConnectionState,
}

impl MessageSource {
    /// Every source.
    pub const ALL: [Self; 4] = [
        Self::Telemetry,
        Self::DeviceLifecycle,
        Self::TwinChange,
        Self::DeviceConnectionState,
    ];

    /// What `iothub-message-source` says.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Telemetry => "Telemetry",
            Self::DeviceLifecycle => "deviceLifecycleEvents",
            Self::TwinChange => "twinChangeEvents",
            Self::DeviceConnectionState => "deviceConnectionStateEvents",
        }
    }

    /// The source of that name; case does not matter.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|source| source.name().eq_ignore_ascii_case(name))
    }
}

/// How a sender proved who it is (R-G37).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthenticatedBy {
    /// A token.
    Sas,
    /// A certificate.
    X509,
}

/// A sender, as the hub vouches for it. One for each session, shared by its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    id: IdentityId,
    proof: Option<Proof>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Proof {
    generation_id: Box<str>,
    method: Box<str>,
}

impl Origin {
    /// A sender that was let in.
    ///
    /// Takes:   its id, the generation of its identity, and what it showed.
    /// Source:  behaviour.md R-G37; message format, anti-spoofing properties.
    #[must_use]
    pub fn authenticated(id: IdentityId, generation_id: &str, by: AuthenticatedBy) -> Self {
        let scope = if id.is_module() { "module" } else { "device" };
        let kind = match by {
            AuthenticatedBy::Sas => "sas",
            AuthenticatedBy::X509 => "x509",
        };
        let method = format!(
            r#"{{"scope":"{scope}","type":"{kind}","issuer":"iothub","acceptingIpFilterRule":null}}"#
        );
        let proof = Proof {
            generation_id: generation_id.into(),
            method: method.into(),
        };
        let proof = Some(proof);
        Self { id, proof }
    }

    /// Who a message of the hub itself is about.
    #[must_use]
    pub fn subject(id: IdentityId) -> Self {
        Self { id, proof: None }
    }

    /// The device or module.
    #[must_use]
    pub fn id(&self) -> &IdentityId {
        &self.id
    }
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Body and properties are too large together.
    #[error("the message has {bytes} bytes with its properties, more than {bytes_max}")]
    TooLarge {
        /// What was counted.
        bytes: usize,
        /// Most allowed.
        bytes_max: usize,
    },
}

impl MessageError {
    /// Azure's number for it (R-F10).
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Self::TooLarge { .. } => 413_001,
        }
    }

    /// The rule.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "R-G38",
        }
    }
}

/// A message as the event endpoint keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    source: MessageSource,
    origin: Arc<Origin>,
    properties: Properties,
    body: Box<[u8]>,
}

impl Message {
    /// What a device or module sent.
    ///
    /// # Errors
    /// [`MessageError::TooLarge`].
    ///
    /// Source: behaviour.md R-G37, R-G38; message format, message size.
    pub fn telemetry(
        origin: Arc<Origin>,
        properties: Properties,
        body: &[u8],
    ) -> Result<Self, MessageError> {
        let bytes = body.len() + properties.counted_bytes();
        if bytes > MESSAGE_BYTES_MAX {
            return Err(MessageError::TooLarge {
                bytes,
                bytes_max: MESSAGE_BYTES_MAX,
            });
        }
        Ok(Self::new(
            MessageSource::Telemetry,
            origin,
            properties,
            body,
        ))
    }

    /// A message of the given source, however large: for what the hub itself says.
    pub(super) fn new(
        source: MessageSource,
        origin: Arc<Origin>,
        properties: Properties,
        body: &[u8],
    ) -> Self {
        Self {
            source,
            origin,
            properties,
            body: body.into(),
        }
    }

    /// Where it comes from.
    #[must_use]
    pub fn source(&self) -> MessageSource {
        self.source
    }

    /// Who sent it, or whom it is about.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What the sender wrote about it.
    #[must_use]
    pub fn properties(&self) -> &Properties {
        &self.properties
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// What the hub vouches for, by the names that readers know. The moment of arrival, which is
    /// no text, is not among them.
    ///
    /// Source: behaviour.md R-G37, R-G39, R-G40; wire.md 5.3.
    pub fn stamps(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let origin = &*self.origin;
        let proof = origin.proof.as_ref();
        [
            ("iothub-connection-device-id", Some(origin.id.device_id())),
            ("iothub-connection-module-id", origin.id.module_id()),
            (
                "iothub-connection-auth-generation-id",
                proof.map(|proof| &*proof.generation_id),
            ),
            (
                "iothub-connection-auth-method",
                proof.map(|proof| &*proof.method),
            ),
            ("iothub-message-source", Some(self.source.name())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }

    /// What counts towards the size of a message, in bytes (R-G38).
    #[must_use]
    pub fn counted_bytes(&self) -> usize {
        self.body.len() + self.properties.counted_bytes()
    }

    /// About what it costs to keep, in bytes; its origin is shared and not counted.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.body.len() + self.properties.kept_bytes()
    }
}

#[cfg(test)]
mod tests;
