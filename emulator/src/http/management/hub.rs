//! Hubs as resources: read and list (ENDPOINTS 6).

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use serde_json::{Value, json};

use super::{Caller, ok, unnamed_group};
use crate::error::ServiceError;
use crate::http::answer::Answered;
use crate::service::Services;
use crate::service::hub::Hub;
use crate::wire::management::hub as wire;

pub(super) fn routes() -> Router<Arc<Services>> {
    let hubs = "/providers/microsoft.devices/iothubs";
    let in_subscription = format!("/subscriptions/{{subscription}}{hubs}");
    let in_group = format!("/subscriptions/{{subscription}}/resourcegroups/{{group}}{hubs}");
    Router::new()
        .route(&in_subscription, get(list))
        .route(&in_group, get(list))
        .route(&format!("{in_group}/{{hub}}"), get(read))
}

/// A hub's resource. The subscription and resource group may be anything.
#[derive(serde::Deserialize)]
pub(super) struct HubResource {
    subscription: String,
    #[serde(default = "unnamed_group")]
    group: String,
    /// Empty where hubs are listed.
    #[serde(default)]
    pub(super) hub: String,
    /// What is asked for of the hub, where the address names it.
    #[serde(default)]
    pub(super) name: String,
}

impl HubResource {
    /// The hub whose resource has the name in the address.
    pub(super) fn find<'a>(&self, services: &'a Services) -> Result<&'a Hub, ServiceError> {
        let named = |hub: &&Arc<Hub>| hub.resource_name().eq_ignore_ascii_case(&self.hub);
        let found = services.hubs.iter().find(named);
        found.map(Arc::as_ref).ok_or_else(|| {
            let text = format!(
                "No hub is named {}; a hub's name is its host name's first label.",
                self.hub
            );
            ServiceError::new(404_000, "ResourceNotFound", "R-F9", text)
        })
    }

    /// The address of the hub of that name, under the asked subscription and group.
    pub(super) fn path_of(&self, hub: &str) -> String {
        format!(
            "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.Devices/IotHubs/{hub}",
            self.subscription, self.group
        )
    }

    fn shown(&self, hub: &Hub) -> Value {
        wire::hub(hub, &self.path_of(hub.resource_name()))
    }
}

async fn list(caller: Caller, Path(resource): Path<HubResource>) -> Answered {
    caller.answer(|services| {
        let hubs = services.hubs.iter().map(|hub| resource.shown(hub));
        Ok(ok(&json!({ "value": Value::from_iter(hubs) })))
    })
}

async fn read(caller: Caller, Path(resource): Path<HubResource>) -> Answered {
    caller.answer(|services| Ok(ok(&resource.shown(resource.find(services)?))))
}
