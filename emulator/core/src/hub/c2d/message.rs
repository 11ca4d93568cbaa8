//! A message on its way to a device.

use super::super::message::Properties;
use crate::limits::C2D_MESSAGE_BYTES_MAX;

/// Which ends of its message a sender wants to hear of: the value of `iothub-ack` (R-G30).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ack {
    /// None.
    #[default]
    None,
    /// That it was completed.
    Positive,
    /// That it was given up.
    Negative,
    /// Either.
    Full,
}

impl Ack {
    /// Every value.
    pub const ALL: [Self; 4] = [Self::None, Self::Positive, Self::Negative, Self::Full];

    /// What `iothub-ack` says.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Positive => "positive",
            Self::Negative => "negative",
            Self::Full => "full",
        }
    }

    /// The value of that name; case does not matter.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|ack| ack.name().eq_ignore_ascii_case(name))
    }

    /// Whether the sender hears of this end.
    ///
    /// Source:  behaviour.md R-G30.
    #[must_use]
    pub fn covers(self, fate: Fate) -> bool {
        match self {
            Self::None => false,
            Self::Positive => fate.is_completed(),
            Self::Negative => !fate.is_completed(),
            Self::Full => true,
        }
    }
}

/// How a message ended: `Completed` with the first, `Dead-lettered` with any other (R-G28).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The device completed it.
    Success,
    /// Its time was over.
    Expired,
    /// The device abandoned it too often.
    DeliveryCountExceeded,
    /// The device rejected it.
    Rejected,
    /// The back end emptied the queue.
    Purged,
}

impl Fate {
    /// What feedback calls it (R-G30).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::Expired => "Expired",
            Self::DeliveryCountExceeded => "DeliveryCountExceeded",
            Self::Rejected => "Rejected",
            Self::Purged => "Purged",
        }
    }

    /// Whether the device has it.
    #[must_use]
    pub fn is_completed(self) -> bool {
        self == Self::Success
    }
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message has {bytes} bytes with its properties, more than {C2D_MESSAGE_BYTES_MAX}")]
pub struct TooLarge {
    /// What was counted.
    pub bytes: usize,
}

/// A message for a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudMessage {
    properties: Properties,
    body: Box<[u8]>,
    ack: Ack,
    expires_ms: Option<i64>,
}

impl CloudMessage {
    /// A message that nobody has taken yet.
    ///
    /// Takes:   its properties by the names readers know, of which `absolute-expiry-time` only
    ///          informs; the moment it is worthless, in Unix milliseconds, if the sender names one.
    /// Errors:  [`TooLarge`]: body and properties together, as telemetry is counted.
    /// Source:  behaviour.md R-G27, H.2 (C2D 64 KB).
    pub fn new(
        properties: Properties,
        body: &[u8],
        ack: Ack,
        expires_ms: Option<i64>,
    ) -> Result<Self, TooLarge> {
        let bytes = body.len() + properties.counted_bytes();
        if bytes > C2D_MESSAGE_BYTES_MAX {
            return Err(TooLarge { bytes });
        }
        Ok(Self {
            properties,
            body: body.into(),
            ack,
            expires_ms,
        })
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

    /// Which ends its sender wants to hear of.
    #[must_use]
    pub fn ack(&self) -> Ack {
        self.ack
    }

    /// When it is worthless, in Unix milliseconds, if its sender said so.
    #[must_use]
    pub fn expires_ms(&self) -> Option<i64> {
        self.expires_ms
    }

    /// By what name feedback speaks of it.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.properties.system_value("message-id")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-G30.
    #[test]
    fn a_sender_hears_of_the_ends_it_asked_for() {
        let ends = [
            Fate::Success,
            Fate::Expired,
            Fate::DeliveryCountExceeded,
            Fate::Rejected,
            Fate::Purged,
        ];
        for fate in ends {
            let completed = fate == Fate::Success;
            assert!(!Ack::None.covers(fate) && Ack::Full.covers(fate));
            assert_eq!(Ack::Positive.covers(fate), completed, "{fate:?}");
            assert_eq!(Ack::Negative.covers(fate), !completed, "{fate:?}");
        }
        for ack in Ack::ALL {
            assert_eq!(Ack::parse(&ack.name().to_uppercase()), Some(ack));
        }
        assert_eq!(Ack::parse("partial"), None);
    }

    /// R-G27.
    #[test]
    fn a_message_has_at_most_64_kilobytes() {
        let properties = || Properties::new([("message-id", "12")], [("name", "1234")]);
        let room = C2D_MESSAGE_BYTES_MAX - 2 - 8;
        let new = |bytes| CloudMessage::new(properties(), &vec![0; bytes], Ack::None, None);
        assert_eq!(new(room).unwrap().id(), Some("12"));
        let bytes = C2D_MESSAGE_BYTES_MAX + 1;
        assert_eq!(new(room + 1), Err(TooLarge { bytes }));
    }
}
