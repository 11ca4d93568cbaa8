//! Shared access policies: named keys with which back ends speak to a service.

use std::fmt;

use linarite_core::sas::{self, SharedAccessSignature};
use linarite_core::secret::SymmetricKey;
use linarite_core::time::UnixTime;
use linarite_env::entropy::secret;

use crate::error::ServiceError;

/// Bytes of a generated key, as Azure makes them (R-A31).
const KEY_BYTES: usize = 64;

/// A named pair of keys. The one policy of each service here holds every right.
#[derive(Clone)]
pub struct Policy {
    /// Its name, `skn` in tokens.
    pub name: &'static str,
    /// Its rights, as the management API spells them.
    pub rights: &'static str,
    primary: SymmetricKey,
    secondary: SymmetricKey,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Policy {
    /// A policy with fresh keys.
    #[must_use]
    pub fn generate(name: &'static str, rights: &'static str) -> Self {
        Self {
            name,
            rights,
            primary: fresh_key(),
            secondary: fresh_key(),
        }
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
        sas::sign(host, expiry, &self.primary, Some(self.name))
    }

    /// Judges the `Authorization` header of a request to `host` (R-F9, W2).
    ///
    /// # Errors
    /// 401 in words that do not repeat the token.
    pub fn authorize(
        &self,
        header: Option<&str>,
        host: &str,
        now: UnixTime,
    ) -> Result<(), ServiceError> {
        let header = header.ok_or_else(|| {
            ServiceError::unauthorized(format!(
                "The request has no Authorization header; expected a SharedAccessSignature of \
                 policy {}",
                self.name
            ))
        })?;
        let token = SharedAccessSignature::parse(header).map_err(|error| {
            ServiceError::unauthorized(format!("The Authorization header is not readable: {error}"))
        })?;
        if token.skn() != Some(self.name) {
            return Err(ServiceError::unauthorized(format!(
                "The token names no policy of this service; expected skn={}",
                self.name
            )));
        }
        if !names_host(&token.resource(), host) {
            return Err(ServiceError::unauthorized(format!(
                "The token is for another resource; expected sr={host}"
            )));
        }
        token
            .verify(&self.keys(), now)
            .map_err(|error| ServiceError::unauthorized(format!("The token is refused: {error}")))
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

/// Whether `resource` names `host`, with or without scheme, port and path (ENDPOINTS §1).
fn names_host(resource: &str, host: &str) -> bool {
    let rest = resource
        .split_once("://")
        .map_or(resource, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let name = authority
        .rsplit_once(':')
        .map_or(authority, |(name, port)| {
            if port.bytes().all(|byte| byte.is_ascii_digit()) {
                name
            } else {
                authority
            }
        });
    let host = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) {
            name
        } else {
            host
        }
    });
    name.eq_ignore_ascii_case(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_000);

    #[test]
    fn a_token_of_the_policy_opens_and_others_do_not() {
        let policy = Policy::generate("owner", "all");
        let other = Policy::generate("owner", "all");
        let stranger = Policy::generate("stranger", "all");
        let good = policy.token("hub.test", NOW.plus(60));
        assert_eq!(policy.authorize(Some(&good), "hub.test:8443", NOW), Ok(()));
        let refused = [
            None,
            Some("Bearer x".to_owned()),
            Some(policy.token("hub.test", NOW.plus(-600))),
            Some(policy.token("hub2.test", NOW.plus(60))),
            Some(other.token("hub.test", NOW.plus(60))),
            Some(stranger.token("hub.test", NOW.plus(60))),
        ];
        for header in refused {
            let answer = policy.authorize(header.as_deref(), "hub.test", NOW);
            assert_eq!(
                answer.map_err(|error| error.status()),
                Err(401),
                "{header:?}"
            );
        }
    }

    #[test]
    fn a_resource_may_carry_scheme_port_and_path() {
        let table = [
            ("localhost", true),
            ("LOCALHOST", true),
            ("https://localhost:40197", true),
            ("localhost:8443/devices/d", true),
            ("localhost.evil", false),
            ("hub", false),
            ("", false),
        ];
        for (resource, expected) in table {
            assert_eq!(names_host(resource, "localhost"), expected, "{resource}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let policy = Policy::generate("owner", "all");
        assert!(!format!("{policy:?}").contains(&policy.primary.to_base64()));
    }
}
