//! What a subscription can have of this provider, and what goes on in the background (ENDPOINTS 5).

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use bytes::Bytes;
use serde_json::json;

use super::{Caller, Resource, ok, read_json};
use crate::error::ServiceError;
use crate::http::answer::Answered;
use crate::service::Services;
use crate::wire::management::catalogue as wire;

const DEVICES: &str = "/providers/microsoft.devices";

pub(super) fn routes() -> Router<Arc<Services>> {
    let in_subscription = format!("/subscriptions/{{subscription}}{DEVICES}");
    let service = format!(
        "/subscriptions/{{subscription}}/resourcegroups/{{group}}{DEVICES}\
         /provisioningservices/{{service}}"
    );
    Router::new()
        .route(&format!("{DEVICES}/operations"), get(operations))
        .route(
            &format!("{in_subscription}/checkprovisioningservicenameavailability"),
            post(check_name),
        )
        .route(&format!("{service}/skus"), get(skus))
        .route(
            &format!("{service}/operationresults/{{name}}"),
            get(operation_result),
        )
}

async fn operations(caller: Caller) -> Answered {
    caller.answer(|_| Ok(ok(&wire::operations())))
}

async fn check_name(caller: Caller, body: Bytes) -> Answered {
    caller.answer(|services| {
        let name = wire::read_name(&read_json(&body)?)?;
        Ok(ok(&wire::name_availability(
            &name,
            &services.config.dps.name,
        )))
    })
}

async fn skus(caller: Caller, Path(resource): Path<Resource>) -> Answered {
    resource.answer(&caller, |_| {
        Ok(ok(&json!({ "value": [{ "name": wire::SKU }] })))
    })
}

/// Every write is done before its answer, which therefore names no operation to ask about.
async fn operation_result(caller: Caller, Path(resource): Path<Resource>) -> Answered {
    resource.answer(&caller, |_| {
        let text = format!("No operation {} goes on in the background.", resource.name);
        Err(ServiceError::new(404_000, "ResourceNotFound", "R-D1", text))
    })
}
