//! Bulk operations as the DPS service API spells them (R-F6, ENDPOINTS 2).

use linarite_core::id::Precondition;
use serde_json::{Value, json};

use crate::error::ServiceError;
use crate::limits::BULK_ITEMS_MAX;
use crate::wire::reader::Reader;

/// Which entries an operation is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Group,
    Individual,
}

/// What becomes of every item.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode {
    Create,
    Delete,
    Update,
    UpdateIfMatchETag,
}

/// The single call that does to an item what its mode says.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Remove,
    Write,
}

/// A bulk operation that may be tried.
#[derive(Debug)]
pub(crate) struct Bulk<'a> {
    pub(crate) mode: Mode,
    pub(crate) items: &'a [Value],
}

impl Kind {
    /// The member that holds the items.
    const fn items(self) -> &'static str {
        match self {
            Self::Group => "enrollmentGroups",
            Self::Individual => "enrollments",
        }
    }

    /// The member that names an item.
    const fn id(self) -> &'static str {
        match self {
            Self::Group => "enrollmentGroupId",
            Self::Individual => "registrationId",
        }
    }
}

impl Mode {
    pub(crate) const fn change(self) -> Change {
        match self {
            Self::Create | Self::Update | Self::UpdateIfMatchETag => Change::Write,
            Self::Delete => Change::Remove,
        }
    }

    /// The `If-Match` of the single call (R-F2, K.8).
    pub(crate) fn precondition(self, item: &Value) -> Result<Precondition, ServiceError> {
        match self {
            Self::Create | Self::Delete => Ok(Precondition::None),
            Self::Update => Ok(Precondition::Any),
            Self::UpdateIfMatchETag => {
                let item = Reader::root(item)?;
                let etag = item.text("etag")?;
                let etag = etag.ok_or_else(|| item.wrong("etag", "required in this mode"))?;
                Precondition::parse(Some(etag)).map_err(|error| item.wrong("etag", error))
            }
        }
    }
}

/// Reads the body of `POST /enrollments` or `POST /enrollmentGroups`; the items are judged later,
/// each by itself.
pub(crate) fn read(kind: Kind, body: &Value) -> Result<Bulk<'_>, ServiceError> {
    let body = Reader::root(body)?.only(&["mode", kind.items()])?;
    let mode = match body.text("mode")? {
        Some("create") => Mode::Create,
        Some("delete") => Mode::Delete,
        Some("update") => Mode::Update,
        // The second is how the type of Node's client spells it (assumed: Azure takes it).
        Some("updateIfMatchETag" | "updateIfMatchEtag") => Mode::UpdateIfMatchETag,
        _ => {
            let expected = "expected create, update, updateIfMatchETag or delete";
            return Err(body.wrong("mode", expected));
        }
    };
    let items = body.value(kind.items()).and_then(Value::as_array);
    let items = items
        .filter(|items| (1..=BULK_ITEMS_MAX).contains(&items.len()))
        .ok_or_else(|| {
            let expected = format!("expected an array of 1 to {BULK_ITEMS_MAX} items");
            body.wrong(kind.items(), expected)
        })?;
    Ok(Bulk { mode, items })
}

/// The id an item names; empty, and so refused, where it names none.
pub(crate) fn id(kind: Kind, item: &Value) -> &str {
    item.get(kind.id())
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// What is told of an item that failed.
pub(crate) fn error(kind: Kind, id: &str, error: &ServiceError) -> Value {
    json!({ kind.id(): id, "errorCode": error.code, "errorStatus": error.message })
}

/// The answer to the whole operation.
pub(crate) fn result(errors: Vec<Value>) -> Value {
    json!({ "isSuccessful": errors.is_empty(), "errors": errors })
}
