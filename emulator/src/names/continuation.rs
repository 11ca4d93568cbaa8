//! Continuation tokens: where a list goes on (R-F7).
//!
//! A token holds the last key that was given, so a list goes on after that key however many
//! entries came and went meanwhile. It is signed together with the name of its list: a token of
//! another list, or one that somebody made up, is told from ours.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use linarite_env::Entropy;

/// Bytes of the signature in a token; what remains of HMAC-SHA256.
const TAG_BYTES: usize = 16;

/// Writes and reads tokens of one service.
#[derive(Debug)]
pub(crate) struct Continuations(hmac::Key);

impl Continuations {
    pub(crate) fn new(entropy: &Entropy, service: &str) -> Self {
        let mut bytes = [0; 32];
        entropy.stream("continuation", service).fill(&mut bytes);
        Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
    }

    /// The token with which `list` goes on after the key `last`.
    pub(crate) fn write(&self, list: &str, last: &str) -> String {
        let mut bytes = self.tag(list, last).to_vec();
        bytes.extend_from_slice(last.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The key in a token of ours for `list`; `None` for any other text.
    pub(crate) fn read(&self, list: &str, token: &str) -> Option<String> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (tag, last) = bytes.split_at_checked(TAG_BYTES)?;
        let last = std::str::from_utf8(last).ok()?;
        (tag == self.tag(list, last)).then(|| last.to_owned())
    }

    fn tag(&self, list: &str, last: &str) -> [u8; TAG_BYTES] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(list.as_bytes());
        context.update(&[0]);
        context.update(last.as_bytes());
        let mut tag = [0; TAG_BYTES];
        // HMAC-SHA256 gives 32 bytes.
        tag.copy_from_slice(&context.sign().as_ref()[..TAG_BYTES]);
        tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-F7.
    #[test]
    fn a_token_is_good_for_its_own_list_and_service_alone() {
        let tokens = Continuations::new(&Entropy::new(1), "dps");
        let other = Continuations::new(&Entropy::new(1), "hub");
        let token = tokens.write("enrollments", "dev-1");
        assert_eq!(tokens.read("enrollments", &token).unwrap(), "dev-1");
        assert_eq!(tokens.read("enrollmentGroups", &token), None);
        assert_eq!(other.read("enrollments", &token), None);
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for position in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[position] ^= 1;
            let forged = URL_SAFE_NO_PAD.encode(forged);
            assert_eq!(tokens.read("enrollments", &forged), None, "{position}");
        }
        for text in ["", "1", "AAAA", "ä", &token[1..], &token[..20]] {
            assert_eq!(tokens.read("enrollments", text), None, "{text}");
        }
    }
}
