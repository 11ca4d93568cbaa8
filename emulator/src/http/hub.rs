//! The hub's service API (behaviour F.2): who may call it, and what its parts share; and beside
//! it, in `device`, the hub's device API.
//!
//! Modules have the same calls as devices, at addresses below those of their device.

mod device;
mod job;
mod message;
mod method;
mod query;
mod registry;
mod twin;

use std::sync::Arc;

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, ETAG, HeaderValue, VARY};
use axum::http::{HeaderMap, Method};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use linarite_core::hub::quota::Way;
use linarite_core::hub::tier::Metered;
use linarite_core::id::{DeviceId, ETag, IdentityId, ModuleId};

use super::answer::{Answered, Api, REQUEST_ID, Refusal, header, host};
use crate::error::ServiceError;
use crate::policy::Right;
use crate::service::Services;
use crate::service::hub::Hub;
use crate::wire::version::ApiVersion;

pub(super) fn routes(services: &Arc<Services>) -> Router<Arc<Services>> {
    Router::new()
        .merge(metered(services, registry::routes(), |_| {
            Some(Metered::RegistryOperations)
        }))
        .merge(metered(
            services,
            twin::routes(),
            |request| match *request.method() {
                Method::GET => Some(Metered::TwinReads),
                _ => Some(Metered::TwinUpdates),
            },
        ))
        .merge(metered(services, message::routes(), |request| {
            (request.method() == Method::POST).then_some(Metered::CloudToDevice)
        }))
        .merge(metered(services, device::routes(), |request| {
            let sends =
                *request.method() == Method::POST && request.uri().path().ends_with("/events");
            sends.then_some(Metered::DeviceToCloud)
        }))
        .merge(metered(services, method::routes(), |_| {
            Some(Metered::MethodCalls)
        }))
        .merge(metered(services, query::routes(), |_| {
            Some(Metered::Queries)
        }))
        .merge(metered(services, job::routes(), |_| {
            Some(Metered::JobOperations)
        }))
        .route_layer(from_fn_with_state(Arc::clone(services), mark))
}

/// R-H4, R-H7: lets requests wait for their turn among those of their kind, or refuses them; and
/// charges for those that were answered.
fn metered(
    services: &Arc<Services>,
    routes: Router<Arc<Services>>,
    kind: fn(&Request) -> Option<Metered>,
) -> Router<Arc<Services>> {
    let services = Arc::clone(services);
    routes.route_layer(from_fn(move |request: Request, next: Next| {
        let services = Arc::clone(&services);
        async move {
            let hub = services.hub(host(request.headers()));
            let Some(hub) = hub else {
                return next.run(request).await;
            };
            let kind = kind(&request);
            let mut turn = hub.check_quota();
            if let (Ok(()), Some(kind)) = (&turn, kind) {
                turn = hub.turn(kind).await;
            }
            if let Err(error) = turn {
                return Refusal::new(Api::Hub, &services)(error).into_response();
            }
            let sent = request.body().size_hint().lower();
            let response = next.run(request).await;
            let given = response.body().size_hint().lower();
            if let (Some(kind), true) = (kind, response.status().is_success()) {
                charge(&hub, kind, sent, given);
            }
            response
        }
    }))
}

/// Charges for what was carried out, unless its service has done so: messages and calls also come
/// about in other ways.
fn charge(hub: &Hub, kind: Metered, sent: u64, given: u64) {
    if matches!(kind, Metered::DeviceToCloud | Metered::MethodCalls) {
        return;
    }
    for (way, bytes) in [(Way::Sent, sent), (Way::Given, given)] {
        hub.charge(kind, way, usize::try_from(bytes).unwrap_or(usize::MAX));
    }
}

/// Asks for the version of the API, and gives every answer what Azure's have (ENDPOINTS 1): an id to ask support about, and the word
/// that it depends on who asks.
async fn mark(State(services): Shared, request: Request, next: Next) -> Response {
    let mut response = match ApiVersion::of_hub_query(request.uri().query()) {
        Ok(_) => next.run(request).await,
        Err(error) => Refusal::new(Api::Hub, &services)(error).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    if !headers.contains_key(REQUEST_ID)
        && let Ok(id) = HeaderValue::from_str(&services.names.tracking_id())
    {
        headers.insert(REQUEST_ID, id);
    }
    response
}

type Shared = State<Arc<Services>>;

/// The device or module an address names.
#[derive(serde::Deserialize)]
struct Named {
    id: String,
    /// Absent in addresses of devices.
    module: Option<String>,
}

impl Named {
    fn device(&self) -> Result<DeviceId, ServiceError> {
        Ok(DeviceId::parse(&self.id)?)
    }

    fn id(&self) -> Result<IdentityId, ServiceError> {
        let device = self.device()?;
        Ok(match &self.module {
            None => device.into(),
            Some(module) => IdentityId::module(&device, &ModuleId::parse(module)?),
        })
    }
}

/// The hub the request is for, if its token opens it for what takes the right `needed` (R-F9).
fn authorized(
    services: &Services,
    headers: &HeaderMap,
    needed: Right,
) -> Result<Arc<Hub>, ServiceError> {
    let host = host(headers);
    let hub = find(services, host)?;
    let now = services.env.clock.now();
    hub.policy
        .authorize(header(headers, &AUTHORIZATION), host, needed, now)?;
    Ok(hub)
}

/// The hub of that host name.
fn find(services: &Services, host: &str) -> Result<Arc<Hub>, ServiceError> {
    services.hub(host).ok_or_else(|| {
        let text = format!("No hub is named {host}.");
        ServiceError::new(404_000, "IotHubNotFound", "R-F10", text)
    })
}

/// Finds and opens the hub, then does the work; either's error goes out in this API's shape.
fn answer(
    services: &Arc<Services>,
    headers: &HeaderMap,
    needed: Right,
    work: impl FnOnce(&Hub) -> Result<Response, ServiceError>,
) -> Answered {
    authorized(services, headers, needed)
        .and_then(|hub| work(&hub))
        .map_err(Refusal::new(Api::Hub, services))
}

/// The entity tag goes quoted into the header and bare into the body (ENDPOINTS 1).
fn with_etag(mut response: Response, etag: &ETag) -> Response {
    if let Ok(value) = HeaderValue::from_str(&etag.quoted()) {
        response.headers_mut().insert(ETAG, value);
    }
    response
}
