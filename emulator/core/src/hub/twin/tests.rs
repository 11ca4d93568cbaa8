use proptest::prelude::*;

use super::*;
use crate::limits::{TWIN_INTEGER_MAX, TWIN_INTEGER_MIN};

const T0: &str = "2026-01-01T00:00:00Z";
const T1: &str = "2026-01-02T00:00:00Z";

/// R-G22.
#[test]
fn a_fresh_twin_is_empty_at_version_1() {
    let expected = json!({"desired": {"$version": 1}, "reported": {"$version": 1}});
    assert_eq!(DeviceTwin::new(T0).device_view(), expected);
}

/// R-G21.
#[test]
fn a_patch_merges_and_null_deletes() {
    // before, patch, after
    let table = [
        (json!({}), json!({"a": 1}), json!({"a": 1})),
        (json!({"a": 1}), json!({}), json!({"a": 1})),
        (json!({"a": 1, "b": 2}), json!({"a": null}), json!({"b": 2})),
        (
            json!({"a": {"x": 1, "y": 2}}),
            json!({"a": {"x": null, "z": 3}}),
            json!({"a": {"y": 2, "z": 3}}),
        ),
        (
            json!({"a": 1}),
            json!({"a": {"x": 1}}),
            json!({"a": {"x": 1}}),
        ),
        (json!({"a": {"x": 1}}), json!({"a": 1}), json!({"a": 1})),
        (json!({}), json!({"a": {"x": null}}), json!({"a": {}})),
        (json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]})),
        (json!({}), json!({"a": null}), json!({})),
    ];
    for (before, patch, after) in table {
        let mut twin = DeviceTwin::new(T0);
        assert_eq!(twin.patch_reported(&before, T0), Ok(2));
        assert_eq!(twin.patch_reported(&patch, T1), Ok(3));
        assert_eq!(
            Value::Object(twin.reported().clone()),
            after,
            "{before} + {patch}"
        );
        twin.patch_tags(&before, T0).unwrap();
        twin.patch_tags(&patch, T1).unwrap();
        assert_eq!(
            Value::Object(twin.tags().clone()),
            after,
            "{before} + {patch}"
        );
    }
}

/// R-G21.
#[test]
fn a_replacement_forgets_what_was_there() {
    let mut twin = DeviceTwin::new(T0);
    assert_eq!(twin.patch_desired(&json!({"a": 1}), T0), Ok(2));
    assert_eq!(
        twin.replace_desired(&json!({"b": 2, "$version": 2, "$metadata": {}}), T1),
        Ok(3)
    );
    twin.replace_tags(&json!({"x": 1}), T0).unwrap();
    twin.replace_tags(&json!({"y": 1}), T1).unwrap();
    assert_eq!(Value::Object(twin.desired().clone()), json!({"b": 2}));
    assert_eq!(Value::Object(twin.tags().clone()), json!({"y": 1}));
    assert_eq!((twin.desired_version(), twin.reported_version()), (3, 1));
}

/// R-G22.
#[test]
fn metadata_tells_at_every_level_what_changed_last() {
    let mut twin = DeviceTwin::new(T0);
    twin.patch_desired(&json!({"a": {"x": 1, "y": 2}, "b": 1}), T0)
        .unwrap();
    twin.patch_desired(&json!({"a": {"x": 3}, "b": {"c": 1}}), T1)
        .unwrap();
    twin.patch_reported(&json!({"z": [1]}), T1).unwrap();
    let old = json!({"$lastUpdated": T0, "$lastUpdatedVersion": 2});
    let new = json!({"$lastUpdated": T1, "$lastUpdatedVersion": 3});
    let properties = twin.properties_json(true);
    let expected = json!({
        "$lastUpdated": T1, "$lastUpdatedVersion": 3,
        "a": {"$lastUpdated": T1, "$lastUpdatedVersion": 3, "x": new, "y": old},
        "b": {"$lastUpdated": T1, "$lastUpdatedVersion": 3, "c": new},
    });
    assert_eq!(properties["desired"]["$metadata"], expected);
    let expected = json!({"$lastUpdated": T1, "z": {"$lastUpdated": T1}});
    assert_eq!(properties["reported"]["$metadata"], expected);
    assert_eq!(properties["reported"]["$version"], 2);
}

/// An object `levels` deep below the section.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!({"property": 1}), |inner, _| json!({"k": inner}))
}

/// R-G20.
#[test]
fn sections_keep_to_their_bounds() {
    let long_key = |length: usize| json!({"k".repeat(length): 1});
    let table = [
        (nested(10), true),
        (nested(11), false),
        (json!({"a": "x".repeat(4096)}), true),
        (json!({"a": "x".repeat(4097)}), false),
        (json!({"a": ["x".repeat(4097)]}), false),
        (long_key(1024), true),
        (long_key(1025), false),
        (json!({"a": TWIN_INTEGER_MAX, "b": TWIN_INTEGER_MIN}), true),
        (json!({"a": TWIN_INTEGER_MAX + 1}), false),
        (json!({"a": TWIN_INTEGER_MIN - 1}), false),
        (json!({"a": u64::MAX}), false),
        (
            json!({"a": 0.5, "b": 1e300, "c": true, "d": [1, "x", {"e": 1}]}),
            true,
        ),
        (json!({"a.b": 1}), false),
        (json!({"$a": 1}), false),
        (json!({"a b": 1}), false),
        (json!({"a\n": 1}), false),
        (json!({"": 1}), false),
        (json!({"a": {"b.c": null}}), false),
        (json!([]), false),
        (json!(null), false),
        (json!("text"), false),
    ];
    for (patch, accepted) in table {
        let mut twin = DeviceTwin::new(T0);
        let untouched = twin.clone();
        assert_eq!(twin.patch_reported(&patch, T1).is_ok(), accepted, "{patch}");
        assert_eq!(
            twin == untouched,
            !accepted,
            "a refused patch changes nothing: {patch}"
        );
    }
}

/// R-G20.
#[test]
fn a_sections_size_counts_keys_and_values_after_the_merge() {
    // Eight strings of 1024 less keys of one byte: the tags are full to the byte.
    let part = |name: &str, less: usize| json!({name: "x".repeat(1024 - 1 - less)});
    let mut twin = DeviceTwin::new(T0);
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        twin.patch_tags(&part(name, 0), T0).unwrap();
    }
    let full = twin.clone();
    let error = TwinError::SectionSize {
        section: TwinSection::Tags,
        bytes: 8193,
        limit: 8192,
    };
    assert_eq!(twin.patch_tags(&json!({"i": ""}), T0), Err(error));
    assert_eq!(twin, full);
    twin.patch_tags(&part("a", 13), T0).unwrap();
    twin.patch_tags(&json!({"n": 1, "o": true}), T0)
        .unwrap_err();
    twin.patch_tags(&json!({"n": 1, "o": null, "p": ""}), T0)
        .unwrap();
    for (bytes, fits) in [(32 * 1024, true), (32 * 1024 + 1, false)] {
        let filled: Map<String, Value> = (0..8)
            .map(|at| (at.to_string(), json!("x".repeat(4095))))
            .chain((bytes > 32 * 1024).then(|| ("z".to_owned(), json!(""))))
            .collect();
        let mut twin = DeviceTwin::new(T0);
        assert_eq!(
            twin.patch_desired(&Value::Object(filled), T0).is_ok(),
            fits,
            "{bytes}"
        );
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-9_i64..9).prop_map(Value::from),
        "[a-z]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            proptest::collection::btree_map("[a-c]", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Value> {
    proptest::collection::btree_map("[a-c]", value(), 0..4)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

/// Whether the metadata has exactly the keys of the value, level by level.
fn mirrors(value: &Map<String, Value>, metadata: &Map<String, Value>) -> bool {
    let marks = metadata.keys().filter(|key| key.starts_with('$')).count();
    marks == 2
        && metadata.len() == value.len() + marks
        && value
            .iter()
            .all(|(key, value)| match (value, &metadata.get(key)) {
                (Value::Object(value), Some(Value::Object(metadata))) => mirrors(value, metadata),
                (_, Some(Value::Object(metadata))) => metadata.len() == 2,
                _ => false,
            })
}

proptest! {
    /// R-G22.
    #[test]
    fn versions_strictly_grow_and_metadata_mirrors_values(
        patches in proptest::collection::vec(object(), 1..6),
    ) {
        let mut twin = DeviceTwin::new(T0);
        for patch in &patches {
            let before = twin.desired_version();
            prop_assert_eq!(twin.patch_desired(patch, T1), Ok(before + 1));
            prop_assert!(mirrors(&twin.desired.value, &twin.desired.metadata.map()), "{:?}", twin);
            let again = twin.clone();
            twin.patch_desired(patch, T1).unwrap();
            prop_assert_eq!(twin.desired(), again.desired(), "a patch is idempotent");
        }
    }
}
