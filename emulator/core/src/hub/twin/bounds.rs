//! What a twin section may hold (R-G20).

use serde_json::{Map, Number, Value};

use super::TwinSection;
use crate::limits::{
    TWIN_BOOLEAN_BYTES, TWIN_DEPTH_MAX, TWIN_INTEGER_MAX, TWIN_INTEGER_MIN, TWIN_KEY_BYTES_MAX,
    TWIN_NUMBER_BYTES, TWIN_PROPERTIES_BYTES_MAX, TWIN_STRING_BYTES_MAX, TWIN_TAGS_BYTES_MAX,
};

/// Which bound a twin write breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TwinError {
    /// Objects nested too deep.
    #[error("objects are nested more than {limit} deep")]
    Depth {
        /// Most levels allowed.
        limit: usize,
    },
    /// An integer out of range.
    #[error("{value} is outside {min} to {max}")]
    Integer {
        /// The number as written.
        value: String,
        /// Smallest allowed.
        min: i64,
        /// Largest allowed.
        max: i64,
    },
    /// A key with a forbidden character, or empty.
    #[error("key {key:?} is empty or holds a dot, a dollar sign, a space or a control character")]
    Key {
        /// The key.
        key: String,
    },
    /// A key too long.
    #[error("a key of {bytes} bytes is over {limit}")]
    KeyLength {
        /// Its size.
        bytes: usize,
        /// Most allowed.
        limit: usize,
    },
    /// A section that is no object.
    #[error("{section:?} must be a JSON object")]
    NotAnObject {
        /// Which section.
        section: TwinSection,
    },
    /// A section too large.
    #[error("{section:?} would have {bytes} bytes, more than {limit}")]
    SectionSize {
        /// Which section.
        section: TwinSection,
        /// Counted size after the write.
        bytes: usize,
        /// Most allowed.
        limit: usize,
    },
    /// A string too long.
    #[error("a string of {bytes} bytes is over {limit}")]
    StringLength {
        /// Its size.
        bytes: usize,
        /// Most allowed.
        limit: usize,
    },
}

/// The section or patch as an object within all bounds but the total.
///
/// Clients send back what they read, so a desired section may carry `$metadata` and `$version` at
/// its top; they are left out.
pub(super) fn accept(section: TwinSection, value: &Value) -> Result<Map<String, Value>, TwinError> {
    let Value::Object(object) = value else {
        return Err(TwinError::NotAnObject { section });
    };
    let mut object = object.clone();
    if section == TwinSection::Desired {
        object.remove("$metadata");
        object.remove("$version");
    }
    check_object(&object, 0)?;
    Ok(object)
}

/// Whether a section as a whole is within its bound.
pub(super) fn check_size(
    section: TwinSection,
    value: &Map<String, Value>,
) -> Result<(), TwinError> {
    let limit = match section {
        TwinSection::Desired | TwinSection::Reported => TWIN_PROPERTIES_BYTES_MAX,
        TwinSection::Tags => TWIN_TAGS_BYTES_MAX,
    };
    let bytes = object_bytes(value);
    if bytes > limit {
        Err(TwinError::SectionSize {
            section,
            bytes,
            limit,
        })
    } else {
        Ok(())
    }
}

fn check_object(object: &Map<String, Value>, depth: usize) -> Result<(), TwinError> {
    let limit = TWIN_DEPTH_MAX;
    if depth > limit {
        return Err(TwinError::Depth { limit });
    }
    for (key, value) in object {
        check_key(key)?;
        check_value(value, depth)?;
    }
    Ok(())
}

fn check_value(value: &Value, depth: usize) -> Result<(), TwinError> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| check_value(item, depth)),
        Value::Bool(_) | Value::Null => Ok(()),
        Value::Number(number) => check_number(number),
        Value::Object(object) => check_object(object, depth + 1),
        Value::String(text) => {
            let (bytes, limit) = (text.len(), TWIN_STRING_BYTES_MAX);
            if bytes > limit {
                Err(TwinError::StringLength { bytes, limit })
            } else {
                Ok(())
            }
        }
    }
}

fn check_key(key: &str) -> Result<(), TwinError> {
    let (bytes, limit) = (key.len(), TWIN_KEY_BYTES_MAX);
    if bytes > limit {
        return Err(TwinError::KeyLength { bytes, limit });
    }
    let forbidden = |character: char| ".$ ".contains(character) || character.is_control();
    if key.is_empty() || key.contains(forbidden) {
        return Err(TwinError::Key {
            key: key.to_owned(),
        });
    }
    Ok(())
}

/// Only integers have a range; fractions are let through as they are.
fn check_number(number: &Number) -> Result<(), TwinError> {
    let (min, max) = (TWIN_INTEGER_MIN, TWIN_INTEGER_MAX);
    let within = match (number.as_i64(), number.as_u64()) {
        (Some(integer), _) => (min..=max).contains(&integer),
        (None, Some(_)) => false,
        (None, None) => true,
    };
    if within {
        Ok(())
    } else {
        Err(TwinError::Integer {
            value: number.to_string(),
            min,
            max,
        })
    }
}

fn object_bytes(object: &Map<String, Value>) -> usize {
    object
        .iter()
        .map(|(key, value)| key.len() + value_bytes(value))
        .sum()
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(value_bytes).sum(),
        Value::Bool(_) => TWIN_BOOLEAN_BYTES,
        Value::Null => 0,
        Value::Number(_) => TWIN_NUMBER_BYTES,
        Value::Object(object) => object_bytes(object),
        Value::String(text) => text.len(),
    }
}
