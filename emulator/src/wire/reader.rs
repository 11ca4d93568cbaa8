//! Reads members of a JSON object; every complaint names the member by its path.

use linarite_core::secret::SymmetricKey;
use serde_json::{Map, Value};

use crate::error::ServiceError;
use crate::policy::fresh_key;

/// Members that came with versions of DPS's APIs that are not emulated.
const NEWER: [(&str, &str); 7] = [
    ("certificateAuthorityName", "2026-11-01"),
    ("certificatePolicyName", "2026-11-01"),
    ("clientCertificateCsr", "2021-11-01-preview"),
    ("credentialPolicyName", "2025-07-01-preview"),
    ("csr", "2025-07-01-preview"),
    ("deviceTypeRefs", "2026-11-02-preview"),
    ("namespaceName", "2026-11-01"),
];

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

    /// The same object, whose members are all among `names`; a null one counts as absent.
    pub(super) fn only(self, names: &[&str]) -> Result<Self, ServiceError> {
        let members = self.members.into_iter().flatten();
        let mut unknown = members
            .filter(|(_, value)| !value.is_null())
            .map(|(name, _)| name.as_str())
            .filter(|name| !names.contains(name));
        match unknown.next() {
            None => Ok(self),
            Some(name) => Err(self.wrong(name, why_unknown(name, names))),
        }
    }

    /// The items of a body that is a list of objects.
    pub(super) fn items(value: &'a Value) -> Result<Vec<Self>, ServiceError> {
        let wrong = || ServiceError::invalid("The body must be a JSON array of objects.");
        let items = value.as_array().ok_or_else(wrong)?;
        let reader = |(index, item): (usize, &'a Value)| {
            Ok(Self {
                path: format!("[{index}]"),
                members: Some(item.as_object().ok_or_else(wrong)?),
            })
        };
        items.iter().enumerate().map(reader).collect()
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

    /// Member `name` as a text of at most `max` characters.
    pub(super) fn text_within(
        &self,
        name: &str,
        max: usize,
    ) -> Result<Option<&'a str>, ServiceError> {
        let text = self.text(name)?;
        if text.is_some_and(|text| text.chars().count() > max) {
            return Err(self.wrong(name, format!("expected at most {max} characters")));
        }
        Ok(text)
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

    /// Member `name` as a key; one that is not sent is kept as `held`, or generated (R-A31).
    pub(super) fn key(
        &self,
        name: &str,
        held: Option<&SymmetricKey>,
    ) -> Result<SymmetricKey, ServiceError> {
        match self.text(name)? {
            Some(text) if !text.is_empty() => {
                SymmetricKey::from_base64(text).map_err(|error| self.wrong(name, error))
            }
            _ => Ok(held.cloned().unwrap_or_else(fresh_key)),
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

    /// Member `name` as an array of objects, if it is there.
    pub(super) fn objects(&self, name: &str) -> Result<Option<Vec<Self>>, ServiceError> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let wrong = || self.wrong(name, "expected an array of objects");
        let items = value.as_array().ok_or_else(wrong)?.iter().enumerate();
        let reader = |(index, item): (usize, &'a Value)| {
            Ok(Self {
                path: self.path(&format!("{name}[{index}]")),
                members: Some(item.as_object().ok_or_else(wrong)?),
            })
        };
        items.map(reader).collect::<Result<_, _>>().map(Some)
    }

    /// The names of the members that are there, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let members = self.members.into_iter().flatten();
        members
            .filter(|(_, value)| !value.is_null())
            .map(|(name, _)| name.as_str())
    }

    pub(super) fn is_present(&self) -> bool {
        self.members.is_some()
    }
}

fn why_unknown(name: &str, known: &[&str]) -> String {
    match NEWER.iter().find(|(newer, _)| *newer == name) {
        Some((_, version)) => format!("belongs to api-version {version}, which is not emulated"),
        None => format!("unknown; expected none but {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// R-F4: what is unknown is refused by its path, and why.
    #[test]
    fn an_unknown_member_is_named_by_its_path() {
        let body = json!({ "a": { "b": 1, "csr": 2, "null": null }, "list": [{ "c": 1 }] });
        let body = Reader::root(&body).unwrap();
        assert!(body.clone().only(&["a", "list", "more"]).is_ok());
        let refused = |reader: Result<Reader<'_>, ServiceError>| reader.unwrap_err().message;
        let message = refused(body.clone().only(&["a"]));
        assert_eq!(message, "list: unknown; expected none but a");
        let a = body.object("a").unwrap();
        let message = refused(a.clone().only(&["csr"]));
        assert_eq!(message, "a.b: unknown; expected none but csr");
        let message = refused(a.only(&["b"]));
        assert!(message.starts_with("a.csr: belongs to api-version 2025-07-01-preview"));
        let item = body.objects("list").unwrap().unwrap().remove(0);
        assert!(refused(item.only(&[])).starts_with("list[0].c: unknown"));
        // An absent object has no members.
        assert!(body.object("none").unwrap().only(&[]).is_ok());
    }
}
