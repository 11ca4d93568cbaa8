//! The calls that show the keys of shared access policies, of DPS and of hubs (R-F9, ENDPOINTS 5
//! and 6). No other call does.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::post;

use super::hub::HubResource;
use super::{Caller, Resource, ok};
use crate::error::ServiceError;
use crate::http::answer::Answered;
use crate::policy::Policies;
use crate::service::Services;
use crate::wire::management::instance as wire;

const DEVICES: &str = "/subscriptions/{subscription}/resourcegroups/{group}/providers/\
                       microsoft.devices";

pub(super) fn routes() -> Router<Arc<Services>> {
    let service = format!("{DEVICES}/provisioningservices/{{service}}");
    let hub = format!("{DEVICES}/iothubs/{{hub}}");
    Router::new()
        .route(&format!("{service}/listkeys"), post(of_dps))
        .route(&format!("{service}/keys/{{name}}/listkeys"), post(of_dps))
        .route(&format!("{hub}/listkeys"), post(of_hub))
        .route(&format!("{hub}/iothubkeys/{{name}}/listkeys"), post(of_hub))
}

async fn of_dps(caller: Caller, Path(resource): Path<Resource>) -> Answered {
    resource.answer(&caller, |services| {
        keys(&services.dps_policy, &resource.name)
    })
}

async fn of_hub(caller: Caller, Path(resource): Path<HubResource>) -> Answered {
    caller.answer(|services| keys(&resource.find(services)?.policy, &resource.name))
}

/// The keys of the policy of that name; of all policies, where the address names none.
fn keys(policies: &Policies, name: &str) -> Result<Response, ServiceError> {
    if name.is_empty() {
        return Ok(ok(&wire::key_list(&policies.all())));
    }
    let policy = policies.find(name).ok_or_else(|| {
        let text = format!("No policy is named {name}.");
        ServiceError::new(404_000, "ResourceNotFound", "R-F9", text)
    })?;
    Ok(ok(&wire::keys(&policy)))
}
