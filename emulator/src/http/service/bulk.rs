//! Bulk operations on enrollments and groups: what as many single calls would do, in order, one
//! failure touching no other item (R-F6, K.8).

use axum::extract::State;
use axum::http::HeaderMap;
use bytes::Bytes;
use linarite_core::id::Precondition;
use serde_json::Value;

use super::{Shared, answer, remove_group, remove_individual, write_group, write_individual};
use crate::error::ServiceError;
use crate::http::answer::{Answered, json, ok};
use crate::policy::Right;
use crate::wire::enrollment::bulk::{self as wire, Change, Kind};

pub(super) async fn individuals(
    State(services): Shared,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    answer(&services, &headers, Right::EnrollmentWrite, || {
        let change = |change, id: &str, precondition: &_, item: &_| match change {
            Change::Write => write_individual(&services, id, precondition, item).map(drop),
            Change::Remove => remove_individual(&services, id, precondition),
        };
        Ok(ok(&run(Kind::Individual, &json(&body)?, change)?))
    })
}

pub(super) async fn groups(State(services): Shared, headers: HeaderMap, body: Bytes) -> Answered {
    answer(&services, &headers, Right::EnrollmentWrite, || {
        let change = |change, id: &str, precondition: &_, item: &_| match change {
            Change::Write => write_group(&services, id, precondition, item).map(drop),
            Change::Remove => remove_group(&services, id, precondition),
        };
        Ok(ok(&run(Kind::Group, &json(&body)?, change)?))
    })
}

/// Does `change` to each item and gives what became of them all.
fn run(
    kind: Kind,
    body: &Value,
    change: impl Fn(Change, &str, &Precondition, &Value) -> Result<(), ServiceError>,
) -> Result<Value, ServiceError> {
    let bulk = wire::read(kind, body)?;
    let mut errors = Vec::new();
    for item in bulk.items {
        let id = wire::id(kind, item);
        let done = bulk
            .mode
            .precondition(item)
            .and_then(|precondition| change(bulk.mode.change(), id, &precondition, item));
        if let Err(error) = done {
            errors.push(wire::error(kind, id, &error));
        }
    }
    Ok(wire::result(errors))
}
