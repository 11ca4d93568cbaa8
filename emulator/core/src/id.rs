//! Names: registration, group, device and module ids, hosts, scopes, certificate names, entity
//! tags.
//!
//! Each type parses its own grammar and cannot hold anything else.
//! Clones share the text.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use crate::limits;

mod etag;
mod identity;

pub use etag::{ETag, Precondition, PreconditionFailed, Write};
pub use identity::IdentityId;

/// Why a text is not the name it was taken for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing there.
    #[error("{kind} is empty")]
    Empty {
        /// What was parsed.
        kind: &'static str,
    },
    /// A character outside the grammar.
    #[error("{kind} holds {character:?}, which its grammar does not allow")]
    ForbiddenCharacter {
        /// What was parsed.
        kind: &'static str,
        /// The first offender.
        character: char,
    },
    /// A first or last character that may stand only inside.
    #[error("{kind} begins or ends with {character:?}, which may only stand inside")]
    ForbiddenEnd {
        /// What was parsed.
        kind: &'static str,
        /// The offender.
        character: char,
    },
    /// Longer than the bound.
    #[error("{kind} has {length} characters, more than {limit}")]
    TooLong {
        /// What was parsed.
        kind: &'static str,
        /// Characters found.
        length: usize,
        /// Characters allowed.
        limit: usize,
    },
}

// === names compared as they are spelled ===

macro_rules! exact_name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses a text of this grammar.
            ///
            /// # Errors
            /// [`IdError`] names the first thing outside the grammar.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                let check: fn(&'static str, &str) -> Result<(), IdError> = $check;
                check($kind, text)?;
                Ok(Self(text.into()))
            }

            /// The text as it was parsed.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), &*self.0)
            }
        }
    };
}

exact_name! {
    /// A device id of IoT Hub. Case matters (R-A3, R-G2).
    DeviceId, "device id", check_device_id
}

exact_name! {
    /// The id of a module at its device: the grammar of a device id (R-G2).
    ModuleId, "module id", check_device_id
}

exact_name! {
    /// The id of a job of a hub (R-G32).
    JobId, "job id", check_job_id
}

exact_name! {
    /// The name of a CA certificate in the instance's store (R-D1).
    CertificateName, "certificate name", check_certificate_name
}

// === names compared without case ===

/// A text that compares by its lower-cased form and remembers how it was spelled.
#[derive(Clone)]
struct Folded {
    spelled: Arc<str>,
    key: Arc<str>,
}

impl Folded {
    fn new(text: &str) -> Self {
        let spelled: Arc<str> = text.into();
        let key = if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            text.to_ascii_lowercase().into()
        } else {
            spelled.clone()
        };
        Self { spelled, key }
    }
}

macro_rules! folded_name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(Folded);

        impl $name {
            /// Parses a text of this grammar.
            ///
            /// # Errors
            /// [`IdError`] names the first thing outside the grammar.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                let check: fn(&'static str, &str) -> Result<(), IdError> = $check;
                check($kind, text)?;
                Ok(Self(Folded::new(text)))
            }

            /// The text as it was spelled.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0.spelled
            }

            /// The lower-cased text: what comparison, order and look-up go by.
            #[must_use]
            pub fn key(&self) -> &str {
                &self.0.key
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.key == other.0.key
            }
        }

        impl Eq for $name {}

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                self.0.key.cmp(&other.0.key)
            }
        }

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.0.key.hash(state);
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0.spelled)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), &*self.0.spelled)
            }
        }
    };
}

folded_name! {
    /// A registration id (R-A1). Compares without case and remembers its spelling (R-A3).
    RegistrationId, "registration id", check_registration_id
}

folded_name! {
    /// An enrollment group id: the grammar of a registration id (R-A1).
    EnrollmentGroupId, "enrollment group id", check_registration_id
}

folded_name! {
    /// A hub's host name or address, without a port.
    HubHostName, "hub host name", check_host_name
}

folded_name! {
    /// The id scope of a DPS instance.
    IdScope, "id scope", check_id_scope
}

impl RegistrationId {
    /// Whether the id passes the stricter grammar of the API model (I-11).
    ///
    /// # Errors
    /// [`IdError::ForbiddenEnd`] when the first or last character is no letter or digit.
    ///
    /// Source: behaviour.md R-A1, I-11.
    pub fn check_strict(&self) -> Result<(), IdError> {
        check_ends("registration id", self.as_str())
    }
}

impl EnrollmentGroupId {
    /// Whether the id passes the stricter grammar of the API model (I-11).
    ///
    /// # Errors
    /// [`IdError::ForbiddenEnd`] when the first or last character is no letter or digit.
    ///
    /// Source: behaviour.md R-A1, I-11.
    pub fn check_strict(&self) -> Result<(), IdError> {
        check_ends("enrollment group id", self.as_str())
    }
}

fn check_ends(kind: &'static str, text: &str) -> Result<(), IdError> {
    let ends = [text.chars().next(), text.chars().last()];
    let forbidden = |character: &char| !character.is_ascii_alphanumeric();
    match ends.into_iter().flatten().find(forbidden) {
        Some(character) => Err(IdError::ForbiddenEnd { kind, character }),
        None => Ok(()),
    }
}

impl From<&RegistrationId> for DeviceId {
    /// The device id a registration gets unless its entry names another (R-A5).
    /// Every registration id is a device id: the device grammar is the wider one (R-G2).
    fn from(id: &RegistrationId) -> Self {
        Self(id.0.spelled.clone())
    }
}

// === grammars ===

fn check_text(
    kind: &'static str,
    text: &str,
    limit: usize,
    allowed: fn(char) -> bool,
) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { kind });
    }
    let length = text.chars().count();
    if length > limit {
        return Err(IdError::TooLong {
            kind,
            length,
            limit,
        });
    }
    match text.chars().find(|&character| !allowed(character)) {
        Some(character) => Err(IdError::ForbiddenCharacter { kind, character }),
        None => Ok(()),
    }
}

/// R-A1.
fn check_registration_id(kind: &'static str, text: &str) -> Result<(), IdError> {
    check_text(
        kind,
        text,
        limits::REGISTRATION_ID_LENGTH_MAX,
        |character| character.is_ascii_alphanumeric() || matches!(character, '-' | '.' | '_' | ':'),
    )?;
    match text.chars().last() {
        Some(character @ ('.' | '_' | ':')) => Err(IdError::ForbiddenEnd { kind, character }),
        _ => Ok(()),
    }
}

/// R-G2. The colon is not in that list, but a registration id may hold one and becomes a device
/// id as it is (R-A5).
fn check_device_id(kind: &'static str, text: &str) -> Result<(), IdError> {
    check_text(kind, text, limits::DEVICE_ID_LENGTH_MAX, |character| {
        character.is_ascii_alphanumeric() || "-.+%_#*?!(),=@$':".contains(character)
    })
}

/// R-D1.
fn check_certificate_name(kind: &'static str, text: &str) -> Result<(), IdError> {
    check_text(
        kind,
        text,
        limits::CERTIFICATE_NAME_LENGTH_MAX,
        |character| character.is_ascii_alphanumeric() || matches!(character, '-' | '.' | '_'),
    )
}

/// R-G32.
fn check_job_id(kind: &'static str, text: &str) -> Result<(), IdError> {
    check_text(kind, text, limits::JOB_ID_LENGTH_MAX, |character| {
        character.is_ascii_alphanumeric() || character == '-'
    })
}

fn check_id_scope(kind: &'static str, text: &str) -> Result<(), IdError> {
    check_text(kind, text, limits::ID_SCOPE_LENGTH_MAX, |character| {
        character.is_ascii_alphanumeric() || character == '-'
    })
}

fn check_host_name(kind: &'static str, text: &str) -> Result<(), IdError> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    check_text(kind, text, limits::HOST_NAME_LENGTH_MAX, |character| {
        character.is_ascii_alphanumeric() || matches!(character, '-' | '.' | '_')
    })?;
    for label in text.split('.') {
        check_host_label(kind, label)?;
    }
    Ok(())
}

fn check_host_label(kind: &'static str, label: &str) -> Result<(), IdError> {
    let (length, limit) = (label.len(), limits::HOST_LABEL_LENGTH_MAX);
    if length > limit {
        return Err(IdError::TooLong {
            kind,
            length,
            limit,
        });
    }
    if label.is_empty() {
        return Err(IdError::ForbiddenEnd {
            kind,
            character: '.',
        });
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(IdError::ForbiddenEnd {
            kind,
            character: '-',
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
