//! What a twin starts with.

use serde_json::{Map, Value};

use super::{Section, Stamp, TwinError, TwinSection, bounds};

/// The sections a new twin is given (R-B23), each within its bounds (R-G20).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InitialTwin {
    tags: Map<String, Value>,
    desired: Map<String, Value>,
}

/// An initial twin that no twin could hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct InitialTwinError {
    /// The section that is wrong.
    pub section: TwinSection,
    /// What is wrong with it.
    pub error: TwinError,
}

impl InitialTwin {
    /// Sections as objects, or null for an empty one. Members that are null are left out, as a
    /// patch would (R-G21).
    ///
    /// # Errors
    /// [`InitialTwinError`], naming the first section that breaks a bound.
    ///
    /// Source: behaviour.md R-B23, R-G20.
    pub fn new(tags: &Value, desired: &Value) -> Result<Self, InitialTwinError> {
        Ok(Self {
            tags: within_bounds(TwinSection::Tags, tags)?,
            desired: within_bounds(TwinSection::Desired, desired)?,
        })
    }

    /// The `tags` section.
    #[must_use]
    pub fn tags(&self) -> &Map<String, Value> {
        &self.tags
    }

    /// The `properties.desired` section.
    #[must_use]
    pub fn desired(&self) -> &Map<String, Value> {
        &self.desired
    }
}

fn within_bounds(
    section: TwinSection,
    value: &Value,
) -> Result<Map<String, Value>, InitialTwinError> {
    let checked = || {
        if value.is_null() {
            return Ok(Map::new());
        }
        let stamp = Stamp::new("", None);
        let section_value = bounds::accept(section, value)?;
        let filled = Section::new(&stamp).changed(section, &section_value, &stamp, 1)?;
        Ok(filled.value)
    };
    checked().map_err(|error| InitialTwinError { section, error })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::hub::twin::DeviceTwin;
    use crate::limits::{TWIN_PROPERTIES_BYTES_MAX, TWIN_STRING_BYTES_MAX, TWIN_TAGS_BYTES_MAX};

    const T0: &str = "2026-01-01T00:00:00Z";

    /// R-B23, R-G22.
    #[test]
    fn a_twin_starts_with_it_at_version_1() {
        let initial = InitialTwin::new(
            &json!({"site": "a", "none": null}),
            &json!({"rate": 5, "$version": 9, "$metadata": {}}),
        );
        let twin = DeviceTwin::from_initial(&initial.unwrap(), T0);
        assert_eq!(Value::Object(twin.tags().clone()), json!({"site": "a"}));
        let expected = json!({"desired": {"rate": 5, "$version": 1}, "reported": {"$version": 1}});
        assert_eq!(twin.device_view(), expected);
        let none = InitialTwin::new(&Value::Null, &json!({})).unwrap();
        assert_eq!(none, InitialTwin::default());
        assert_eq!(DeviceTwin::from_initial(&none, T0), DeviceTwin::new(T0));
    }

    /// R-C5, R-G22.
    #[test]
    fn a_reset_takes_the_twin_back_to_it_and_versions_go_on() {
        let initial = InitialTwin::new(&json!({"site": "a"}), &json!({"rate": 5})).unwrap();
        let mut twin = DeviceTwin::from_initial(&initial, T0);
        twin.patch_tags(&json!({"site": "b", "more": 1}), T0)
            .unwrap();
        twin.patch_desired(&json!({"rate": 6, "more": 1}), T0)
            .unwrap();
        twin.patch_reported(&json!({"seen": 6}), T0).unwrap();
        twin.patch_reported(&json!({"seen": 7}), T0).unwrap();
        twin.reset(&initial, T0);
        assert_eq!(Value::Object(twin.tags().clone()), json!({"site": "a"}));
        let expected = json!({"desired": {"rate": 5, "$version": 3}, "reported": {"$version": 4}});
        assert_eq!(twin.device_view(), expected);
    }

    /// R-B23, R-G20.
    #[test]
    fn a_section_that_no_twin_could_hold_is_named() {
        let large = |bytes: usize| {
            let piece = "x".repeat(TWIN_STRING_BYTES_MAX - 2);
            let pieces = 0..bytes / TWIN_STRING_BYTES_MAX;
            let members = pieces.map(|piece_number| (format!("{piece_number:02}"), piece.clone()));
            let mut members: Map<String, Value> =
                members.map(|(key, text)| (key, text.into())).collect();
            members.insert("z".to_owned(), "".into());
            Value::Object(members)
        };
        let (tags, desired) = (TwinSection::Tags, TwinSection::Desired);
        let mut deep = json!({});
        for _ in 0..11 {
            deep = json!({ "d": deep });
        }
        let table = [
            (json!([]), json!({}), tags),
            (json!({}), json!("text"), desired),
            (json!({"a.b": 1}), json!({}), tags),
            (json!({"$x": 1}), json!({}), tags),
            (json!({}), json!({"a b": 1}), desired),
            (json!({}), deep, desired),
            (json!({"big": 1_u64 << 53}), json!({}), tags),
            (large(TWIN_TAGS_BYTES_MAX), json!({}), tags),
            (json!({}), large(TWIN_PROPERTIES_BYTES_MAX), desired),
        ];
        for (given_tags, given_desired, section) in table {
            let error = InitialTwin::new(&given_tags, &given_desired).unwrap_err();
            assert_eq!(error.section, section, "{error}");
        }
    }
}
