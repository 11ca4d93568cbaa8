//! The text of a query at the DPS service API (R-F7).

use serde_json::Value;

use crate::error::ServiceError;
use crate::wire::reader::Reader;

/// Checks the body of a query. The service knows one query for each table: all of it. `*` is how
/// clients abbreviate that; the first of `tables` is the one an error names.
pub(crate) fn check(body: &Value, tables: &[&str]) -> Result<(), ServiceError> {
    let body = Reader::root(body)?.only(&["query"])?;
    let query = body.text("query")?.unwrap_or_default();
    let words: Vec<&str> = query.split_whitespace().collect();
    let is = |word: &str, expected: &str| word.eq_ignore_ascii_case(expected);
    let known = match words.as_slice() {
        ["*"] => true,
        [select, "*", from, table] => {
            is(select, "select") && is(from, "from") && tables.iter().any(|known| is(table, known))
        }
        _ => false,
    };
    if known {
        return Ok(());
    }
    let table = tables.first().copied().unwrap_or_default();
    let expected = format!("expected SELECT * FROM {table} or *; nothing else is supported");
    Err(body.wrong("query", expected))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_query_asks_for_all_of_its_table() {
        let tables = ["enrollmentGroups", "enrollments"];
        for query in [
            "*",
            " * ",
            "SELECT * FROM enrollmentGroups",
            "select  *\tfrom ENROLLMENTGROUPS ",
            "SELECT * FROM enrollments",
        ] {
            check(&json!({ "query": query }), &tables).unwrap();
        }
        for query in [
            json!({}),
            json!({ "query": null }),
            json!({ "query": "" }),
            json!({ "query": 1 }),
            json!({ "query": "SELECT * FROM devices" }),
            json!({ "query": "SELECT id FROM enrollmentGroups" }),
            json!({ "query": "SELECT * FROM enrollmentGroups WHERE 1 = 1" }),
            json!({ "query": "SELECT * FROM enrollmentGroups;" }),
        ] {
            let error = check(&query, &tables).unwrap_err();
            assert!(error.message.starts_with("query: expected"), "{error}");
        }
    }
}
