//! The part of a twin that a patch touched, as events tell it.

use serde_json::{Map, Value};

use super::{DeviceTwin, Section, TwinSection};

impl DeviceTwin {
    /// What `patch` wrote into a section: the patch itself, for properties with the metadata of
    /// what is in it and the version of the section.
    ///
    /// Takes:   a patch that was merged into that section; names with `$` in it are left out.
    /// Source:  behaviour.md R-G40; non-telemetry event schemas, device twin change events —
    ///          that a deleted property is told as null is assumed.
    #[must_use]
    pub fn touched(&self, section: TwinSection, patch: &Value) -> Value {
        let Value::Object(patch) = patch else {
            return Value::Null;
        };
        let mut told: Map<String, Value> = patch
            .iter()
            .filter(|(key, _)| !key.starts_with('$'))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let kept = match section {
            TwinSection::Tags => return Value::Object(told),
            TwinSection::Desired => &self.desired,
            TwinSection::Reported => &self.reported,
        };
        let metadata = metadata_of(kept, &told);
        told.insert("$metadata".to_owned(), metadata);
        told.insert("$version".to_owned(), kept.version.into());
        Value::Object(told)
    }
}

fn metadata_of(section: &Section, patch: &Map<String, Value>) -> Value {
    Value::Object(pick(&section.metadata.map(), patch))
}

/// The marks of this level, and those of what the patch names below it.
fn pick(metadata: &Map<String, Value>, patch: &Map<String, Value>) -> Map<String, Value> {
    let own = metadata.iter().filter(|(key, _)| key.starts_with('$'));
    let mut picked: Map<String, Value> =
        own.map(|(key, mark)| (key.clone(), mark.clone())).collect();
    for (key, change) in patch {
        let below = match (metadata.get(key), change) {
            // What was deleted has no metadata any more.
            (None, _) | (_, Value::Null) => continue,
            (Some(Value::Object(below)), Value::Object(change)) => {
                Value::Object(pick(below, change))
            }
            (Some(mark), _) => mark.clone(),
        };
        picked.insert(key.clone(), below);
    }
    picked
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// R-G40.
    #[test]
    fn only_what_a_patch_touched_is_told() {
        let mut twin = DeviceTwin::new("t0");
        twin.patch_desired(&json!({ "a": 1, "b": { "c": 2, "d": 3 }, "e": 5 }), "t1")
            .unwrap();
        let patch = json!({ "b": { "c": 7 }, "e": null });
        twin.patch_desired(&patch, "t2").unwrap();
        let mark = json!({ "$lastUpdated": "t2", "$lastUpdatedVersion": 3 });
        let expected = json!({
            "b": { "c": 7 },
            "e": null,
            "$metadata": {
                "$lastUpdated": "t2",
                "$lastUpdatedVersion": 3,
                "b": { "$lastUpdated": "t2", "$lastUpdatedVersion": 3, "c": mark },
            },
            "$version": 3,
        });
        assert_eq!(twin.touched(TwinSection::Desired, &patch), expected);

        let patch = json!({ "$version": 9, "f": true });
        twin.patch_reported(&json!({ "f": true }), "t3").unwrap();
        let expected = json!({
            "f": true,
            "$metadata": { "$lastUpdated": "t3", "f": { "$lastUpdated": "t3" } },
            "$version": 2,
        });
        assert_eq!(twin.touched(TwinSection::Reported, &patch), expected);

        // Tags have neither.
        let patch = json!({ "place": "here", "$etag": "x" });
        assert_eq!(
            twin.touched(TwinSection::Tags, &patch),
            json!({ "place": "here" })
        );
        assert_eq!(twin.touched(TwinSection::Tags, &json!(3)), Value::Null);
    }
}
