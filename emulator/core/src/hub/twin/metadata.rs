//! When the parts of a section were written last.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Stamp;

/// The metadata of a section. Most sections are never written after they were made, so the mark
/// of that moment is kept as what it is made of until there is more to tell.
#[derive(Clone, Debug)]
pub(super) enum Metadata {
    Fresh {
        now_text: Arc<str>,
        version: Option<u64>,
    },
    Written(Map<String, Value>),
}

impl Metadata {
    /// Of a section that is made now.
    pub(super) fn new(stamp: &Stamp) -> Self {
        Self::Fresh {
            now_text: Arc::clone(&stamp.now_text),
            version: stamp.version,
        }
    }

    /// As it is shown.
    pub(super) fn map(&self) -> Cow<'_, Map<String, Value>> {
        match self {
            Self::Written(map) => Cow::Borrowed(map),
            Self::Fresh { now_text, version } => Cow::Owned(mark(now_text, *version)),
        }
    }

    /// The same, to be written.
    pub(super) fn written(&mut self) -> &mut Map<String, Value> {
        if let Self::Fresh { now_text, version } = self {
            *self = Self::Written(mark(now_text, *version));
        }
        match self {
            Self::Written(map) => map,
            // The lines above have just made it the other.
            Self::Fresh { .. } => unreachable!("the metadata was written out"),
        }
    }
}

impl PartialEq for Metadata {
    /// What is shown is what counts.
    fn eq(&self, other: &Self) -> bool {
        self.map() == other.map()
    }
}

/// The mark of a moment, and of a version if one is recorded.
pub(super) fn mark(now_text: &str, version: Option<u64>) -> Map<String, Value> {
    let mut mark = Map::new();
    mark.insert("$lastUpdated".to_owned(), now_text.into());
    if let Some(version) = version {
        mark.insert("$lastUpdatedVersion".to_owned(), version.into());
    }
    mark
}
