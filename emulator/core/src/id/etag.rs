//! Entity tags and the conditions under which a write may happen.

use std::fmt;
use std::sync::Arc;

use super::IdError;
use crate::limits::ETAG_LENGTH_MAX;

const KIND: &str = "entity tag";

/// An opaque entity tag, without its quotes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ETag(Arc<str>);

/// What an `If-Match` header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// No header.
    None,
    /// `*`: anything that exists.
    Any,
    /// The named version and no other.
    Match(ETag),
}

/// The write a precondition allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Nothing is there yet.
    Create,
    /// What is there is replaced.
    Replace,
}

/// Why a precondition forbids a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreconditionFailed {
    /// A create met an existing entity.
    #[error("the entity exists and no If-Match was sent to replace it")]
    AlreadyExists,
    /// An update met nothing.
    #[error("If-Match was sent but the entity does not exist")]
    Missing,
    /// An update named another version.
    #[error("If-Match names another version than the stored one")]
    Mismatch,
}

impl ETag {
    /// Reads a tag with or without its quotes.
    ///
    /// # Errors
    /// [`IdError`] when it is empty, too long, or holds a quote or control character.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let text = unquoted(text.trim());
        if text.is_empty() {
            return Err(IdError::Empty { kind: KIND });
        }
        let (length, limit) = (text.len(), ETAG_LENGTH_MAX);
        if length > limit {
            return Err(IdError::TooLong {
                kind: KIND,
                length,
                limit,
            });
        }
        match text
            .chars()
            .find(|&character| character == '"' || character.is_control())
        {
            Some(character) => Err(IdError::ForbiddenCharacter {
                kind: KIND,
                character,
            }),
            None => Ok(Self(text.into())),
        }
    }

    /// The tag without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag in quotes, as JSON documents and headers carry it (R-F1).
    #[must_use]
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ETag({:?})", &*self.0)
    }
}

impl Precondition {
    /// Reads an `If-Match` header: absent, `*` or a tag, each tag and the star quoted or not.
    ///
    /// # Errors
    /// [`IdError`] when the header is there but is neither.
    ///
    /// Source: behaviour.md R-F1, section F.2.
    pub fn parse(header: Option<&str>) -> Result<Self, IdError> {
        match header.map(|text| unquoted(text.trim())) {
            None => Ok(Self::None),
            Some("*") => Ok(Self::Any),
            Some(tag) => ETag::parse(tag).map(Self::Match),
        }
    }

    /// Whether a PUT may go ahead, and as what.
    ///
    /// # Errors
    /// [`PreconditionFailed::AlreadyExists`] for a create of something that exists,
    /// [`PreconditionFailed::Missing`] for an update of nothing,
    /// [`PreconditionFailed::Mismatch`] for an update of another version.
    ///
    /// Source: behaviour.md R-F2.
    pub fn check(&self, current: Option<&ETag>) -> Result<Write, PreconditionFailed> {
        match (self, current) {
            (Self::None, None) => Ok(Write::Create),
            (Self::None, Some(_)) => Err(PreconditionFailed::AlreadyExists),
            (Self::Any | Self::Match(_), None) => Err(PreconditionFailed::Missing),
            (Self::Any, Some(_)) => Ok(Write::Replace),
            (Self::Match(wanted), Some(current)) if wanted == current => Ok(Write::Replace),
            (Self::Match(_), Some(_)) => Err(PreconditionFailed::Mismatch),
        }
    }

    /// Whether a DELETE may go ahead. Unlike a PUT it needs no header.
    ///
    /// # Errors
    /// [`PreconditionFailed::Missing`] and [`PreconditionFailed::Mismatch`] as for a PUT.
    ///
    /// Source: behaviour.md F.1 (`If-Match` optional on DELETE), R-F1.
    pub fn check_delete(&self, current: Option<&ETag>) -> Result<(), PreconditionFailed> {
        match (self, current) {
            (_, None) => Err(PreconditionFailed::Missing),
            (Self::None | Self::Any, Some(_)) => Ok(()),
            (Self::Match(wanted), Some(current)) if wanted == current => Ok(()),
            (Self::Match(_), Some(_)) => Err(PreconditionFailed::Mismatch),
        }
    }
}

fn unquoted(text: &str) -> &str {
    text.strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_follows_its_precondition() {
        let table = [
            (None, None, Ok(Write::Create)),
            (None, Some("a"), Err(PreconditionFailed::AlreadyExists)),
            (Some("*"), None, Err(PreconditionFailed::Missing)),
            (Some("*"), Some("a"), Ok(Write::Replace)),
            (Some("\"*\""), Some("a"), Ok(Write::Replace)),
            (Some("\"a\""), Some("a"), Ok(Write::Replace)),
            (Some("a"), Some("b"), Err(PreconditionFailed::Mismatch)),
            (Some("a"), None, Err(PreconditionFailed::Missing)),
        ];
        for (header, current, outcome) in table {
            let condition = Precondition::parse(header).unwrap();
            let current = current.map(|text| ETag::parse(text).unwrap());
            assert_eq!(
                condition.check(current.as_ref()),
                outcome,
                "{header:?} on {current:?}"
            );
        }
    }

    #[test]
    fn a_delete_follows_its_precondition() {
        let table = [
            (None, Some("a"), Ok(())),
            (None, None, Err(PreconditionFailed::Missing)),
            (Some("*"), Some("a"), Ok(())),
            (Some("\"a\""), Some("a"), Ok(())),
            (Some("\"b\""), Some("a"), Err(PreconditionFailed::Mismatch)),
            (Some("b"), None, Err(PreconditionFailed::Missing)),
        ];
        for (header, current, outcome) in table {
            let condition = Precondition::parse(header).unwrap();
            let current = current.map(|text| ETag::parse(text).unwrap());
            assert_eq!(
                condition.check_delete(current.as_ref()),
                outcome,
                "{header:?}"
            );
        }
    }

    #[test]
    fn quotes_are_dress_not_content() {
        let tag = ETag::parse("\"13003fea\"").unwrap();
        assert_eq!(
            (tag.as_str(), tag.quoted().as_str()),
            ("13003fea", "\"13003fea\"")
        );
        assert_eq!(ETag::parse("13003fea").unwrap(), tag);
        for text in ["", "\"\"", "a\"b", "a\nb"] {
            assert!(ETag::parse(text).is_err(), "{text:?}");
        }
    }
}
