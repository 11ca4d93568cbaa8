//! Shared access signatures, as the service clients make them.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use linarite_core::time::UnixTime;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::ServiceError;

/// What stays as it is in a query component (RFC 3986, 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Host, policy and key of a service.
pub struct ConnectionString {
    host: String,
    policy: String,
    key: hmac::Key,
}

impl fmt::Debug for ConnectionString {
    /// Leaves the key out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionString")
            .field("host", &self.host)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl ConnectionString {
    /// Reads `HostName=…;SharedAccessKeyName=…;SharedAccessKey=…`.
    ///
    /// # Errors
    /// [`ServiceError::ConnectionString`] with the part that is missing or unreadable.
    pub fn parse(text: &str) -> Result<Self, ServiceError> {
        let part = |name: &'static str| {
            let mut parts = text.split(';').filter_map(|part| part.split_once('='));
            let found = parts.find(|(key, _)| key.trim() == name);
            found
                .map(|(_, value)| value.trim())
                .ok_or(ServiceError::ConnectionString(name))
        };
        let key = STANDARD
            .decode(part("SharedAccessKey")?)
            .map_err(|_| ServiceError::ConnectionString("SharedAccessKey is not base64"))?;
        Ok(Self {
            host: part("HostName")?.to_lowercase(),
            policy: part("SharedAccessKeyName")?.to_owned(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
        })
    }

    /// A token good until `expiry`.
    pub(super) fn token(&self, expiry: UnixTime) -> String {
        let resource = utf8_percent_encode(&self.host, ESCAPED).to_string();
        let signature = hmac::sign(&self.key, format!("{resource}\n{expiry}").as_bytes());
        let signature = STANDARD.encode(signature.as_ref());
        format!(
            "SharedAccessSignature sr={resource}&sig={}&se={expiry}&skn={}",
            utf8_percent_encode(&signature, ESCAPED),
            utf8_percent_encode(&self.policy, ESCAPED),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_other_clients_make() {
        let text = "HostName=dps.example;SharedAccessKeyName=owner;SharedAccessKey=a2V5";
        let token = ConnectionString::parse(text)
            .unwrap()
            .token(UnixTime(1_700_000_000));
        // HMAC-SHA256("key", "dps.example\n1700000000"), computed with openssl.
        assert!(
            token.starts_with("SharedAccessSignature sr=dps.example&sig="),
            "{token}"
        );
        assert!(token.ends_with("&se=1700000000&skn=owner"), "{token}");
        assert!(token.contains(EXPECTED), "{token}");
    }

    const EXPECTED: &str = "sig=cEGnaDlNTsoYlp5%2FWawaHGXHqEEpfbnejwZYVUg%2Fjx0%3D&";

    #[test]
    fn a_missing_part_is_named() {
        let error = ConnectionString::parse("HostName=h;SharedAccessKeyName=p").unwrap_err();
        assert!(error.to_string().contains("SharedAccessKey"), "{error}");
    }
}
