//! Queries, as the back end asks them (R-G36).

use linarite_core::hub::query::Query;
use serde_json::Value;

use super::super::reader::Reader;
use crate::error::ServiceError;

/// Reads the body of `POST /devices/query`; gives the query as text and as it is understood.
pub(crate) fn read(body: &Value) -> Result<(&str, Query), ServiceError> {
    let body = Reader::root(body)?;
    let text = body
        .text("query")?
        .ok_or_else(|| body.wrong("query", "required"))?;
    let query = Query::parse(text)
        .map_err(|error| body.wrong("query", format!("SQL query parse failed: {error}")))?;
    Ok((text, query))
}
