//! How long a session may last.

use super::admission::AdmittedBy;
use super::identity::{DeviceStatus, Identity};
use crate::settings::Settings;
use crate::time::UnixTime;

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

/// Why the hub ends a live session by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Its certificate is too old, and the setting asks for it (R-E9, I-4).
    CertificateExpired,
    /// Its credentials are others than before, and the setting asks for it (R-E8, I-4).
    CredentialsReplaced,
    /// The identity is gone (R-E6).
    Deleted,
    /// The identity is disabled (R-E6).
    Disabled,
    /// Its token is too old (R-G11).
    TokenExpired,
}

impl Cut {
    /// The rule.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            Self::CertificateExpired => "R-E9",
            Self::CredentialsReplaced => "R-E8",
            Self::Deleted | Self::Disabled => "R-E6",
            Self::TokenExpired => "R-G11",
        }
    }

    /// A sentence for operators.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::CertificateExpired => "the certificate expired",
            Self::CredentialsReplaced => "the credentials were replaced",
            Self::Deleted => "the identity was deleted",
            Self::Disabled => "the identity was disabled",
            Self::TokenExpired => "401003: the token expired",
        }
    }

    /// How long the session stays open all the same, in seconds.
    ///
    /// Source:  behaviour.md R-E6 (the delay is not specified).
    #[must_use]
    pub fn delay_seconds(self, settings: &Settings) -> u32 {
        match self {
            Self::Deleted | Self::Disabled => settings.forced_close_delay_seconds,
            Self::CertificateExpired | Self::CredentialsReplaced | Self::TokenExpired => 0,
        }
    }
}

/// The first second at which a session ends because of the credential that opened it, and why;
/// `None` if that never ends it.
///
/// Source:  behaviour.md R-E9, R-G11, I-4.
#[must_use]
pub fn end_of(by: AdmittedBy, settings: &Settings) -> Option<(UnixTime, Cut)> {
    match by {
        AdmittedBy::Policy { expiry } | AdmittedBy::Sas { expiry, .. } => {
            Some((expiry, Cut::TokenExpired))
        }
        AdmittedBy::Certificate { not_after, .. }
        | AdmittedBy::CertificateAuthority { not_after } => settings
            .drop_on_expiry
            .then_some((not_after.plus(1), Cut::CertificateExpired)),
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
    use crate::dps::enrollment::Slot;
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

    /// R-E9, R-G11, I-4.
    #[test]
    fn a_token_ends_its_session_and_a_certificate_by_choice_only() {
        let (at, slot) = (UnixTime(100), Slot::Primary);
        let by_token = [
            AdmittedBy::Sas { slot, expiry: at },
            AdmittedBy::Policy { expiry: at },
        ];
        let by_certificate = [
            AdmittedBy::Certificate {
                slot,
                not_after: at,
            },
            AdmittedBy::CertificateAuthority { not_after: at },
        ];
        for drop_on_expiry in [false, true] {
            let settings = Settings {
                drop_on_expiry,
                ..Settings::default()
            };
            for by in by_token {
                let expected = Some((at, Cut::TokenExpired));
                assert_eq!(end_of(by, &settings), expected, "{by:?}");
            }
            for by in by_certificate {
                // The last second belongs to a certificate, and not to a token.
                let expected = (UnixTime(101), Cut::CertificateExpired);
                let expected = drop_on_expiry.then_some(expected);
                assert_eq!(end_of(by, &settings), expected, "{by:?}");
            }
        }
    }

    /// R-E6.
    #[test]
    fn only_disabling_and_deleting_may_take_their_time() {
        let settings = Settings {
            forced_close_delay_seconds: 300,
            ..Settings::default()
        };
        let table = [
            (Cut::Deleted, 300),
            (Cut::Disabled, 300),
            (Cut::CertificateExpired, 0),
            (Cut::CredentialsReplaced, 0),
            (Cut::TokenExpired, 0),
        ];
        for (cut, delay) in table {
            assert_eq!(cut.delay_seconds(&settings), delay, "{cut:?}");
            assert_eq!(cut.delay_seconds(&Settings::default()), 0, "{cut:?}");
        }
    }

    /// R-E6, R-E8, I-4.
    #[test]
    fn only_disabling_and_by_choice_new_credentials_cost_the_session() {
        let identity = |status, authentication| {
            let (id, etag) = (IdentityId::parse("d").unwrap(), ETag::parse("1").unwrap());
            let identity = Identity::new(id, "1".to_owned(), etag, authentication);
            Identity { status, ..identity }
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
