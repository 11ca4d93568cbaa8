//! Reads members of a JSON object; every complaint names the member by its path.

use serde_json::{Map, Value};

use crate::error::ServiceError;

/// An object and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    path: String,
    members: Option<&'a Map<String, Value>>,
}

impl<'a> Reader<'a> {
    /// The body itself.
    pub(super) fn root(value: &'a Value) -> Result<Self, ServiceError> {
        match value {
            Value::Object(members) => Ok(Self {
                path: String::new(),
                members: Some(members),
            }),
            _ => Err(ServiceError::invalid("The body must be a JSON object.")),
        }
    }

    /// The path of member `name`.
    pub(super) fn path(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// Member `name`; absent and `null` are the same.
    pub(super) fn value(&self, name: &str) -> Option<&'a Value> {
        self.members?.get(name).filter(|value| !value.is_null())
    }

    /// An error about member `name`.
    pub(super) fn wrong(&self, name: &str, expected: impl std::fmt::Display) -> ServiceError {
        ServiceError::invalid(format!("{}: {expected}", self.path(name)))
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, ServiceError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "expected a string")),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, ServiceError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.wrong(name, "expected true or false")),
        }
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u32>, ServiceError> {
        match self.value(name) {
            None => Ok(None),
            Some(value) => value
                .as_u64()
                .and_then(|number| u32::try_from(number).ok())
                .map(Some)
                .ok_or_else(|| self.wrong(name, "expected a whole number from 0")),
        }
    }

    pub(super) fn texts(&self, name: &str) -> Result<Vec<&'a str>, ServiceError> {
        match self.value(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| {
                    item.as_str()
                        .ok_or_else(|| self.wrong(name, "expected strings"))
                })
                .collect(),
            Some(_) => Err(self.wrong(name, "expected an array of strings")),
        }
    }

    /// Member `name` as an object; an absent one has no members.
    pub(super) fn object(&self, name: &str) -> Result<Self, ServiceError> {
        match self.value(name) {
            None => Ok(Self {
                path: self.path(name),
                members: None,
            }),
            Some(Value::Object(members)) => Ok(Self {
                path: self.path(name),
                members: Some(members),
            }),
            Some(_) => Err(self.wrong(name, "expected an object")),
        }
    }

    pub(super) fn is_present(&self) -> bool {
        self.members.is_some()
    }
}
