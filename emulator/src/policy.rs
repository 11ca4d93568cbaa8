//! Shared access policies: named keys and rights with which back ends speak to a service (R-F9).

mod list;
mod right;

use std::fmt;
use std::sync::Arc;

use linarite_core::sas;
use linarite_core::secret::SymmetricKey;
use linarite_core::time::UnixTime;
use linarite_env::entropy::secret;

pub use list::Policies;
pub use right::{Right, Rights, UnknownRight};

/// Bytes of a generated key, as Azure makes them (R-A31).
const KEY_BYTES: usize = 64;

/// A named pair of keys and what they open.
#[derive(Clone)]
pub struct Policy {
    /// Its name, `skn` in tokens.
    pub name: Arc<str>,
    /// What its tokens may do.
    pub rights: Rights,
    primary: SymmetricKey,
    secondary: SymmetricKey,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.name)
            .field("rights", &self.rights)
            .finish_non_exhaustive()
    }
}

impl Policy {
    /// A policy with the given keys.
    #[must_use]
    pub fn new(name: &str, rights: Rights, primary: SymmetricKey, secondary: SymmetricKey) -> Self {
        Self {
            name: name.into(),
            rights,
            primary,
            secondary,
        }
    }

    /// A policy with fresh keys.
    #[must_use]
    pub fn generate(name: &str, rights: Rights) -> Self {
        Self::new(name, rights, fresh_key(), fresh_key())
    }

    /// The primary and the secondary key.
    #[must_use]
    pub fn keys(&self) -> [&SymmetricKey; 2] {
        [&self.primary, &self.secondary]
    }

    /// The connection string of `host` with the primary key.
    #[must_use]
    pub fn connection_string(&self, host: &str) -> String {
        let key = self.primary.to_base64();
        format!(
            "HostName={host};SharedAccessKeyName={};SharedAccessKey={key}",
            self.name
        )
    }

    /// A token of this policy for `host`, for callers inside the process.
    #[must_use]
    pub fn token(&self, host: &str, expiry: UnixTime) -> String {
        sas::sign(host, expiry, &self.primary, Some(&self.name))
    }
}

/// A key of the length Azure generates.
///
/// # Panics
/// Never: the length is one the type allows.
#[must_use]
pub fn fresh_key() -> SymmetricKey {
    SymmetricKey::from_bytes(&secret::<KEY_BYTES>()).expect("64 bytes are a valid key length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_key() {
        let policy = Policy::generate("owner", Rights::of(&[Right::ServiceConfig]));
        assert!(!format!("{policy:?}").contains(&policy.primary.to_base64()));
    }
}
