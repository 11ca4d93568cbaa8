//! Where a webhook is asked. Its query carries the function's key, so only who asks may see it.

use std::fmt;

use crate::limits::{HOST_NAME_LENGTH_MAX, WEBHOOK_URL_LENGTH_MAX};

/// What stands for a query that is not shown (R-B16).
const MASK: &str = "****";

/// The address of a webhook: `http` or `https`, a host, a path, and a query nobody gets to see.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl {
    tls: bool,
    host: String,
    port: Option<u16>,
    path: String,
    query: Option<String>,
}

/// Why a text is no address of a webhook. Never repeats the text, which may hold a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookUrlError {
    /// A character that no URL holds.
    #[error("expected an absolute URL; it holds a character that none may hold")]
    Character,
    /// A fragment.
    #[error("expected a URL without a fragment")]
    Fragment,
    /// No host, or none that is well formed.
    #[error("expected a host name or an address after http:// or https://")]
    Host,
    /// Too long.
    #[error("expected at most {limit} characters")]
    Length {
        /// Most allowed.
        limit: usize,
    },
    /// A port that is none.
    #[error("expected a port from 1 to 65535 after the host")]
    Port,
    /// Another scheme, or none.
    #[error("expected a URL that begins with http:// or https://")]
    Scheme,
    /// A name or password before the host.
    #[error("expected a URL without a user name before the host")]
    User,
}

impl WebhookUrl {
    /// Reads an absolute URL.
    ///
    /// # Errors
    /// [`WebhookUrlError`]
    ///
    /// Source: behaviour.md R-B16.
    pub fn parse(text: &str) -> Result<Self, WebhookUrlError> {
        let limit = WEBHOOK_URL_LENGTH_MAX;
        if text.len() > limit {
            return Err(WebhookUrlError::Length { limit });
        }
        let (scheme, rest) = text.split_once("://").ok_or(WebhookUrlError::Scheme)?;
        let tls = match scheme {
            scheme if scheme.eq_ignore_ascii_case("http") => false,
            scheme if scheme.eq_ignore_ascii_case("https") => true,
            _ => return Err(WebhookUrlError::Scheme),
        };
        if !rest.chars().all(is_allowed) {
            return Err(WebhookUrlError::Character);
        }
        if rest.contains('#') {
            return Err(WebhookUrlError::Fragment);
        }
        let (before_query, query) = match rest.split_once('?') {
            Some((before, query)) => (before, Some(query.to_owned())),
            None => (rest, None),
        };
        let (authority, path) = match before_query.find('/') {
            Some(slash) => before_query.split_at(slash),
            None => (before_query, "/"),
        };
        let (host, port) = read_authority(authority)?;
        Ok(Self {
            tls,
            host,
            port,
            path: path.to_owned(),
            query,
        })
    }

    /// Whether it is asked over TLS.
    #[must_use]
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// Whom to dial; an IPv6 address comes without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }

    /// The port to dial.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.tls { 443 } else { 80 })
    }

    /// What the `Host` header says.
    #[must_use]
    pub fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// Path and query for the request line. Holds the key; not for logs.
    #[must_use]
    pub fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// Whether the query is what stands for one that is not shown.
    #[must_use]
    pub fn is_masked(&self) -> bool {
        self.query.as_deref() == Some(MASK)
    }

    /// Whether `shown` is how this address is shown: it says all but the query.
    #[must_use]
    pub fn is_shown_as(&self, shown: &Self) -> bool {
        let with_query = |url: &Self, query: Option<String>| Self {
            query,
            ..url.clone()
        };
        shown.is_masked() && with_query(self, None) == with_query(shown, None)
    }
}

impl fmt::Display for WebhookUrl {
    /// Leaves the query out, as Azure does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)?;
        match self.query {
            Some(_) => write!(f, "?{MASK}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookUrl({self})")
    }
}

/// RFC 3986, section 2, and nothing else.
fn is_allowed(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(character)
}

fn read_authority(authority: &str) -> Result<(String, Option<u16>), WebhookUrlError> {
    if authority.contains('@') {
        return Err(WebhookUrlError::User);
    }
    let end_of_host = authority.find(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match authority[end_of_host..].find(':') {
        Some(colon) => {
            let (host, port) = authority.split_at(end_of_host + colon);
            (host, Some(&port[1..]))
        }
        None => (authority, None),
    };
    let port = port.map(|text| match text.parse::<u16>() {
        Ok(port) if port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        _ => Err(WebhookUrlError::Port),
    });
    Ok((read_host(host)?, port.transpose()?))
}

fn read_host(host: &str) -> Result<String, WebhookUrlError> {
    let bracketed = host.strip_prefix('[').map(|rest| rest.strip_suffix(']'));
    let well_formed = match bracketed {
        Some(address) => address.is_some_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok()),
        None => {
            let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            (1..=HOST_NAME_LENGTH_MAX).contains(&host.len()) && host.bytes().all(named)
        }
    };
    if well_formed {
        Ok(host.to_ascii_lowercase())
    } else {
        Err(WebhookUrlError::Host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-B16.
    #[test]
    fn an_address_is_taken_apart_and_shown_without_its_query() {
        // text, tls, host, port, authority, target, shown
        let table = [
            (
                "https://App.example/api/Hook?code=S%2Fecret==&x=1",
                (true, "app.example", 443, "app.example"),
                "/api/Hook?code=S%2Fecret==&x=1",
                "https://app.example/api/Hook?****",
            ),
            (
                "HTTP://127.0.0.1:7071",
                (false, "127.0.0.1", 7071, "127.0.0.1:7071"),
                "/",
                "http://127.0.0.1:7071/",
            ),
            (
                "http://[::1]:80/a?",
                (false, "::1", 80, "[::1]:80"),
                "/a?",
                "http://[::1]:80/a?****",
            ),
            (
                "http://h?code=1",
                (false, "h", 80, "h"),
                "/?code=1",
                "http://h/?****",
            ),
        ];
        for (text, (tls, host, port, authority), target, shown) in table {
            let url = WebhookUrl::parse(text).unwrap();
            assert_eq!((url.tls(), url.host(), url.port()), (tls, host, port));
            assert_eq!((&*url.authority(), &*url.target()), (authority, target));
            assert_eq!(url.to_string(), shown);
            assert!(format!("{url:?}").contains(shown) && !format!("{url:?}").contains("code"));
        }
    }

    /// R-B16.
    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        use WebhookUrlError::{Character, Fragment, Host, Length, Port, Scheme, User};
        let long = format!("https://h/{}", "x".repeat(WEBHOOK_URL_LENGTH_MAX));
        let limit = WEBHOOK_URL_LENGTH_MAX;
        let table = [
            ("", Scheme),
            ("hook.example/api", Scheme),
            ("ftp://secret/a", Scheme),
            ("file:///etc/passwd", Scheme),
            ("https://", Host),
            ("https:///path", Host),
            ("https://h:secret/", Port),
            ("https://h:0/", Port),
            ("https://h:/", Port),
            ("https://h:+80/", Port),
            ("https://[::1/", Host),
            ("https://[secret]/", Host),
            ("https://h!/", Host),
            ("https://user:secret@h/", User),
            ("https://h/#secret", Fragment),
            ("https://h/a secret", Character),
            ("https://h/\r\nX: secret", Character),
            ("https://h/ü", Character),
            (long.as_str(), Length { limit }),
        ];
        for (text, expected) in table {
            let error = WebhookUrl::parse(text).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    /// R-B16, R-F5.
    #[test]
    fn a_masked_address_stands_for_the_one_it_shows() {
        let parse = |text| WebhookUrl::parse(text).unwrap();
        let held = parse("https://h/a?code=1");
        let table = [
            ("https://h/a?****", true),
            ("https://H:443/a?****", false),
            ("https://h/b?****", false),
            ("http://h/a?****", false),
            ("https://h/a?code=1", false),
            ("https://h/a", false),
        ];
        for (shown, expected) in table {
            assert_eq!(held.is_shown_as(&parse(shown)), expected, "{shown}");
        }
    }
}
