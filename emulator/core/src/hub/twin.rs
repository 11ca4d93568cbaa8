//! Device twins: three sections that merge, count versions and remember when they changed.

use std::sync::Arc;

use serde_json::{Map, Value, json};

mod bounds;
mod initial;
mod metadata;
mod touched;

use metadata::Metadata;

pub use bounds::TwinError;
pub use initial::{InitialTwin, InitialTwinError};

/// The sections of a twin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TwinSection {
    /// `properties.desired`: written by the back end, read by the device.
    Desired,
    /// `properties.reported`: written by the device.
    Reported,
    /// `tags`: the back end's own.
    Tags,
}

/// A twin. Its `etag` and its identity's fields are kept by whoever keeps the twin.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceTwin {
    tags: Section,
    desired: Section,
    reported: Section,
}

#[derive(Clone, Debug, PartialEq)]
struct Section {
    value: Map<String, Value>,
    metadata: Metadata,
    version: u64,
}

/// What goes into the metadata of everything touched.
struct Stamp {
    now_text: Arc<str>,
    /// Only desired properties record the version, too (R-G22).
    version: Option<u64>,
}

// === impl DeviceTwin ===

impl DeviceTwin {
    /// A twin with empty sections at version 1.
    ///
    /// Takes:   `now_text`, the moment as it is to be shown.
    /// Source:  behaviour.md R-G5, R-G22.
    #[must_use]
    pub fn new(now_text: &str) -> Self {
        let stamp = stamps(now_text);
        Self {
            tags: Section::new(&stamp(None)),
            desired: Section::new(&stamp(Some(1))),
            reported: Section::new(&stamp(None)),
        }
    }

    /// A twin that starts with given tags and desired properties, both at version 1.
    ///
    /// Source: behaviour.md R-B23, R-C3, R-C5, R-G22.
    #[must_use]
    pub fn from_initial(initial: &InitialTwin, now_text: &str) -> Self {
        let stamp = stamps(now_text);
        Self {
            tags: Section::filled(initial.tags(), &stamp(None)),
            desired: Section::filled(initial.desired(), &stamp(Some(1))),
            reported: Section::new(&stamp(None)),
        }
    }

    /// Starts over where it stands: tags and desired properties become the initial ones, and
    /// nothing is reported. Versions go on, for the identity is the same (assumed, as all of I-5).
    ///
    /// Source: behaviour.md R-C5, R-G22.
    pub fn reset(&mut self, initial: &InitialTwin, now_text: &str) {
        let (desired, reported) = (self.desired.version + 1, self.reported.version + 1);
        let stamp = stamps(now_text);
        self.tags = Section::filled(initial.tags(), &stamp(None));
        self.desired = Section::filled(initial.desired(), &stamp(Some(desired)));
        self.desired.version = desired;
        self.reported = Section::new(&stamp(None));
        self.reported.version = reported;
    }

    /// Merges what the device reports; null deletes. Gives the new version.
    ///
    /// # Errors
    /// [`TwinError`] when the patch or the result breaks a bound; then nothing changed.
    ///
    /// Source: behaviour.md R-G20, R-G21, R-G22.
    pub fn patch_reported(&mut self, patch: &Value, now_text: &str) -> Result<u64, TwinError> {
        let stamp = Stamp::new(now_text, None);
        self.reported = self
            .reported
            .patched(TwinSection::Reported, patch, &stamp)?;
        Ok(self.reported.version)
    }

    /// Merges desired properties; null deletes. Gives the new version.
    ///
    /// # Errors
    /// [`TwinError`] when the patch or the result breaks a bound; then nothing changed.
    ///
    /// Source: behaviour.md R-G20, R-G21, R-G22.
    pub fn patch_desired(&mut self, patch: &Value, now_text: &str) -> Result<u64, TwinError> {
        let stamp = Stamp::new(now_text, Some(self.desired.version + 1));
        self.desired = self.desired.patched(TwinSection::Desired, patch, &stamp)?;
        Ok(self.desired.version)
    }

    /// Replaces desired properties. Gives the new version.
    ///
    /// # Errors
    /// [`TwinError`] when the new section breaks a bound; then nothing changed.
    ///
    /// Source: behaviour.md R-G20, R-G21, R-G22.
    pub fn replace_desired(&mut self, value: &Value, now_text: &str) -> Result<u64, TwinError> {
        let stamp = Stamp::new(now_text, Some(self.desired.version + 1));
        self.desired = self.desired.replaced(TwinSection::Desired, value, &stamp)?;
        Ok(self.desired.version)
    }

    /// Merges tags; null deletes.
    ///
    /// # Errors
    /// [`TwinError`] when the patch or the result breaks a bound; then nothing changed.
    ///
    /// Source: behaviour.md R-G20, R-G21.
    pub fn patch_tags(&mut self, patch: &Value, now_text: &str) -> Result<(), TwinError> {
        let stamp = Stamp::new(now_text, None);
        self.tags = self.tags.patched(TwinSection::Tags, patch, &stamp)?;
        Ok(())
    }

    /// Replaces tags.
    ///
    /// # Errors
    /// [`TwinError`] when the new section breaks a bound; then nothing changed.
    ///
    /// Source: behaviour.md R-G20, R-G21.
    pub fn replace_tags(&mut self, value: &Value, now_text: &str) -> Result<(), TwinError> {
        let stamp = Stamp::new(now_text, None);
        self.tags = self.tags.replaced(TwinSection::Tags, value, &stamp)?;
        Ok(())
    }

    /// Version of the desired properties.
    #[must_use]
    pub fn desired_version(&self) -> u64 {
        self.desired.version
    }

    /// Version of the reported properties.
    #[must_use]
    pub fn reported_version(&self) -> u64 {
        self.reported.version
    }

    /// The tags, which the device never sees.
    #[must_use]
    pub fn tags(&self) -> &Map<String, Value> {
        &self.tags.value
    }

    /// The desired properties, bare.
    #[must_use]
    pub fn desired(&self) -> &Map<String, Value> {
        &self.desired.value
    }

    /// The reported properties, bare.
    #[must_use]
    pub fn reported(&self) -> &Map<String, Value> {
        &self.reported.value
    }

    /// What the device reads: `{"desired":{…,"$version"},"reported":{…,"$version"}}`.
    ///
    /// Source: behaviour.md R-G22; wire.md W14.
    #[must_use]
    pub fn device_view(&self) -> Value {
        self.properties_json(false)
    }

    /// Both property sections with their versions, and their metadata if asked for.
    ///
    /// Source: behaviour.md R-G22.
    #[must_use]
    pub fn properties_json(&self, with_metadata: bool) -> Value {
        json!({
            "desired": self.desired.json(with_metadata),
            "reported": self.reported.json(with_metadata),
        })
    }
}

/// Marks of one moment, which share its text.
fn stamps(now_text: &str) -> impl Fn(Option<u64>) -> Stamp {
    let now_text: Arc<str> = now_text.into();
    move |version| Stamp {
        now_text: Arc::clone(&now_text),
        version,
    }
}

// === impl Section ===

impl Section {
    fn new(stamp: &Stamp) -> Self {
        Self {
            value: Map::new(),
            metadata: Metadata::new(stamp),
            version: 1,
        }
    }

    /// A section at version 1 with content that is within its bounds.
    fn filled(content: &Map<String, Value>, stamp: &Stamp) -> Self {
        let mut section = Self::new(stamp);
        if !content.is_empty() {
            merge(
                &mut section.value,
                section.metadata.written(),
                content,
                stamp,
            );
        }
        section
    }

    fn patched(
        &self,
        section: TwinSection,
        patch: &Value,
        stamp: &Stamp,
    ) -> Result<Self, TwinError> {
        let patch = bounds::accept(section, patch)?;
        self.clone()
            .changed(section, &patch, stamp, self.version + 1)
    }

    fn replaced(
        &self,
        section: TwinSection,
        value: &Value,
        stamp: &Stamp,
    ) -> Result<Self, TwinError> {
        let value = bounds::accept(section, value)?;
        Self::new(stamp).changed(section, &value, stamp, self.version + 1)
    }

    /// The section after a merge, if it is within its bound.
    fn changed(
        mut self,
        section: TwinSection,
        patch: &Map<String, Value>,
        stamp: &Stamp,
        version: u64,
    ) -> Result<Self, TwinError> {
        merge(&mut self.value, self.metadata.written(), patch, stamp);
        bounds::check_size(section, &self.value)?;
        self.version = version;
        Ok(self)
    }

    fn json(&self, with_metadata: bool) -> Value {
        let mut json = self.value.clone();
        if with_metadata {
            let metadata = self.metadata.map().into_owned();
            json.insert("$metadata".to_owned(), Value::Object(metadata));
        }
        json.insert("$version".to_owned(), self.version.into());
        Value::Object(json)
    }
}

impl Stamp {
    fn new(now_text: &str, version: Option<u64>) -> Self {
        let now_text = now_text.into();
        Self { now_text, version }
    }

    fn mark(&self) -> Map<String, Value> {
        metadata::mark(&self.now_text, self.version)
    }
}

/// R-G21, with the metadata of R-G22 kept level by level.
fn merge(
    value: &mut Map<String, Value>,
    metadata: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    stamp: &Stamp,
) {
    metadata.append(&mut stamp.mark());
    for (key, change) in patch {
        match change {
            Value::Null => {
                value.remove(key);
                metadata.remove(key);
            }
            Value::Object(change) => {
                let (value, metadata) = (object_at(value, key), object_at(metadata, key));
                merge(value, metadata, change, stamp);
            }
            plain => {
                value.insert(key.clone(), plain.clone());
                metadata.insert(key.clone(), Value::Object(stamp.mark()));
            }
        }
    }
}

/// The object under a key; anything else that was there is replaced by an empty one.
fn object_at<'m>(map: &'m mut Map<String, Value>, key: &str) -> &'m mut Map<String, Value> {
    let entry = map.entry(key.to_owned()).or_insert(Value::Null);
    if !entry.is_object() {
        *entry = Value::Object(Map::new());
    }
    match entry {
        Value::Object(object) => object,
        // The line above has just made it an object.
        _ => unreachable!("an object was put here"),
    }
}

#[cfg(test)]
mod tests;
