//! What a bulk operation does to each identity (behaviour F.2).

use crate::id::{ETag, Precondition, PreconditionFailed};

/// The mode of an item of a bulk operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportMode {
    /// Make an identity that is not there.
    Create,
    /// Make it, or write over the one that is there.
    CreateOrUpdate,
    /// Make it, or write over the one that is there if it is the named version.
    CreateOrUpdateIfMatchETag,
    /// Remove the one that is there.
    Delete,
    /// Remove the one that is there if it is the named version.
    DeleteIfMatchETag,
    /// Write over the one that is there.
    Update,
    /// Write over the one that is there if it is the named version.
    UpdateIfMatchETag,
    /// Merge into the twin of the one that is there.
    UpdateTwin,
    /// Merge into the twin of the one that is there if the twin is the named version.
    UpdateTwinIfMatchETag,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportAction {
    /// The identity is removed.
    Delete,
    /// The twin is written, and only it.
    Twin,
    /// The identity is written, and the twin where the item brings one.
    Write,
}

impl ImportMode {
    /// All modes.
    pub const ALL: [Self; 9] = [
        Self::Create,
        Self::CreateOrUpdate,
        Self::CreateOrUpdateIfMatchETag,
        Self::Delete,
        Self::DeleteIfMatchETag,
        Self::Update,
        Self::UpdateIfMatchETag,
        Self::UpdateTwin,
        Self::UpdateTwinIfMatchETag,
    ];

    /// What it is called on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::CreateOrUpdate => "createOrUpdate",
            Self::CreateOrUpdateIfMatchETag => "createOrUpdateIfMatchETag",
            Self::Delete => "delete",
            Self::DeleteIfMatchETag => "deleteIfMatchETag",
            Self::Update => "update",
            Self::UpdateIfMatchETag => "updateIfMatchETag",
            Self::UpdateTwin => "updateTwin",
            Self::UpdateTwinIfMatchETag => "updateTwinIfMatchETag",
        }
    }

    /// Reads a mode; its case does not matter, because clients differ in it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let named = |mode: &Self| mode.name().eq_ignore_ascii_case(text);
        Self::ALL.into_iter().find(named)
    }

    /// What is written.
    #[must_use]
    pub const fn action(self) -> ImportAction {
        match self {
            Self::Create
            | Self::CreateOrUpdate
            | Self::CreateOrUpdateIfMatchETag
            | Self::Update
            | Self::UpdateIfMatchETag => ImportAction::Write,
            Self::Delete | Self::DeleteIfMatchETag => ImportAction::Delete,
            Self::UpdateTwin | Self::UpdateTwinIfMatchETag => ImportAction::Twin,
        }
    }

    /// Whether the item may be carried out.
    ///
    /// Takes:   the etag the item brings; the version that is there, of the identity or, where
    ///          only the twin is written, of the twin.
    /// Errors:  [`PreconditionFailed`]. A mode that asks for a match fails without an etag.
    /// Source:  behaviour.md F.2 (`importMode`); the words of the modes.
    pub fn check(
        self,
        wanted: &Precondition,
        current: Option<&ETag>,
    ) -> Result<(), PreconditionFailed> {
        let Some(current) = current else {
            return match self {
                Self::Create | Self::CreateOrUpdate | Self::CreateOrUpdateIfMatchETag => Ok(()),
                _ => Err(PreconditionFailed::Missing),
            };
        };
        match self {
            Self::Create => Err(PreconditionFailed::AlreadyExists),
            Self::CreateOrUpdate | Self::Update | Self::Delete | Self::UpdateTwin => Ok(()),
            Self::CreateOrUpdateIfMatchETag
            | Self::UpdateIfMatchETag
            | Self::DeleteIfMatchETag
            | Self::UpdateTwinIfMatchETag => match wanted {
                Precondition::None => Err(PreconditionFailed::Mismatch),
                wanted => wanted.check(Some(current)).map(drop),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F.2, R-F10.
    #[test]
    fn each_mode_minds_what_is_there_and_which_version() {
        use PreconditionFailed::{AlreadyExists, Mismatch, Missing};
        let etag = |text: &str| ETag::parse(text).unwrap();
        let held = etag("held");
        // mode; on nothing; on something without etag, with its own, with another
        let table = [
            ("create", Ok(()), [Err(AlreadyExists); 3]),
            ("createOrUpdate", Ok(()), [Ok(()); 3]),
            (
                "createOrUpdateIfMatchETag",
                Ok(()),
                [Err(Mismatch), Ok(()), Err(Mismatch)],
            ),
            ("update", Err(Missing), [Ok(()); 3]),
            (
                "updateIfMatchETag",
                Err(Missing),
                [Err(Mismatch), Ok(()), Err(Mismatch)],
            ),
            ("delete", Err(Missing), [Ok(()); 3]),
            (
                "deleteIfMatchETag",
                Err(Missing),
                [Err(Mismatch), Ok(()), Err(Mismatch)],
            ),
            ("updateTwin", Err(Missing), [Ok(()); 3]),
            (
                "updateTwinIfMatchETag",
                Err(Missing),
                [Err(Mismatch), Ok(()), Err(Mismatch)],
            ),
        ];
        assert_eq!(table.len(), ImportMode::ALL.len());
        let wanted = [
            Precondition::None,
            Precondition::Match(held.clone()),
            Precondition::Match(etag("other")),
        ];
        for (name, on_nothing, on_something) in table {
            let mode = ImportMode::parse(name).unwrap();
            assert_eq!(mode.name(), name);
            for (wanted, expected) in wanted.iter().zip(on_something) {
                assert_eq!(mode.check(wanted, None), on_nothing, "{name} {wanted:?}");
                let outcome = mode.check(wanted, Some(&held));
                assert_eq!(outcome, expected, "{name} {wanted:?}");
            }
            assert_eq!(
                mode.check(&Precondition::Any, Some(&held)),
                if name == "create" {
                    Err(AlreadyExists)
                } else {
                    Ok(())
                }
            );
        }
    }

    #[test]
    fn clients_spell_modes_in_any_case() {
        assert_eq!(ImportMode::parse("Update"), Some(ImportMode::Update));
        assert_eq!(
            ImportMode::parse("DELETEIFMATCHETAG"),
            Some(ImportMode::DeleteIfMatchETag)
        );
        for text in ["", "upsert", "create "] {
            assert_eq!(ImportMode::parse(text), None, "{text}");
        }
    }
}
