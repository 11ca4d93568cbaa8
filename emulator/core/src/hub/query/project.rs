//! The row a document gives when columns are chosen.

use serde_json::{Map, Value};

use super::ast::{Column, ColumnValue};
use super::evaluate;

/// The chosen columns of a document. What the document does not have, the row does not have.
pub(super) fn row(columns: &[Column], document: &Value) -> Value {
    let mut row = Map::new();
    let mut names = Names::default();
    for column in columns {
        let ColumnValue::Path(path) = &column.value else {
            continue;
        };
        let found = evaluate::find(document, path);
        let name = names.of(column, found.map(|(spelled, _)| spelled));
        if let Some((_, value)) = found {
            row.insert(name, value.clone());
        }
    }
    Value::Object(row)
}

/// Gives names to columns that have none: `$1`, `$2` and so on.
#[derive(Debug, Default)]
pub(super) struct Names {
    given: usize,
}

impl Names {
    /// The name of the next column; `spelled` is how the document spells the last name of its
    /// path, which is what a column is called unless it has an alias.
    pub(super) fn of(&mut self, column: &Column, spelled: Option<&str>) -> String {
        let own = spelled.filter(|spelled| !spelled.is_empty() && column.alias.is_none());
        own.or_else(|| column.name()).map_or_else(
            || {
                self.given += 1;
                format!("${}", self.given)
            },
            str::to_owned,
        )
    }
}
