//! How long a session may last.

use super::identity::{DeviceStatus, Identity};
use crate::settings::Settings;

/// Longest keep-alive a hub honours, in milliseconds of silence (R-G14: 1767 s).
pub const SILENCE_MS_MAX: u64 = 1_767_000;

/// The silence after which a session ends, in milliseconds: one and a half times the keep-alive
/// the client asked for, and the longest there is for one that asked for none or for more.
///
/// Takes:   the keep-alive of the CONNECT in seconds, 0 for none.
/// Source:  behaviour.md R-G14.
#[must_use]
pub fn silence_allowed_ms(keep_alive_seconds: u16) -> u64 {
    match keep_alive_seconds {
        0 => SILENCE_MS_MAX,
        seconds => (u64::from(seconds) * 1500).min(SILENCE_MS_MAX),
    }
}

/// Why a live session ends when its identity is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The identity is disabled (R-E6).
    Disabled,
    /// Its credentials are others than before, and the setting asks for it (R-E8, I-4).
    CredentialsReplaced,
}

impl Cut {
    /// The rule.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            Self::Disabled => "R-E6",
            Self::CredentialsReplaced => "R-E8",
        }
    }

    /// A sentence for operators.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Disabled => "the identity was disabled",
            Self::CredentialsReplaced => "the credentials were replaced",
        }
    }
}

/// Whether a live session survives the change of its identity from `before` to `after`.
///
/// Source:  behaviour.md R-E6, R-E8, I-4.
#[must_use]
pub fn cut(before: &Identity, after: &Identity, settings: &Settings) -> Option<Cut> {
    if after.status == DeviceStatus::Disabled {
        return Some(Cut::Disabled);
    }
    let replaced = before.authentication != after.authentication;
    (replaced && settings.drop_on_credential_change).then_some(Cut::CredentialsReplaced)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::identity::AuthenticationMechanism;
    use crate::id::{ETag, IdentityId};

    /// R-G14.
    #[test]
    fn silence_is_one_and_a_half_keep_alives_within_the_bound() {
        let table = [
            (0, 1_767_000),
            (1, 1_500),
            (60, 90_000),
            (1177, 1_765_500),
            (1178, 1_767_000),
            (u16::MAX, 1_767_000),
        ];
        for (seconds, allowed) in table {
            assert_eq!(silence_allowed_ms(seconds), allowed, "{seconds} s");
        }
    }

    /// R-E6, R-E8, I-4.
    #[test]
    fn only_disabling_and_by_choice_new_credentials_cost_the_session() {
        let identity = |status, authentication| Identity {
            id: IdentityId::parse("d").unwrap(),
            generation_id: "1".to_owned(),
            etag: ETag::parse("1").unwrap(),
            status,
            status_reason: None,
            status_updated_ms: None,
            authentication,
            iot_edge: false,
            managed_by: None,
        };
        let (on, off) = (DeviceStatus::Enabled, DeviceStatus::Disabled);
        let (old, new) = (
            AuthenticationMechanism::None,
            AuthenticationMechanism::CertificateAuthority,
        );
        let before = identity(on, old.clone());
        let table = [
            (identity(on, old.clone()), false, None),
            (identity(on, old.clone()), true, None),
            (identity(on, new.clone()), false, None),
            (
                identity(on, new.clone()),
                true,
                Some(Cut::CredentialsReplaced),
            ),
            (identity(off, old), false, Some(Cut::Disabled)),
            (identity(off, new), true, Some(Cut::Disabled)),
        ];
        for (after, drop_on_credential_change, expected) in table {
            let settings = Settings {
                drop_on_credential_change,
                ..Settings::default()
            };
            assert_eq!(cut(&before, &after, &settings), expected, "{after:?}");
        }
    }
}
