//! Leaves an emulator as it was found: names that a run needs must be free before it, and are
//! free again after it.

use std::sync::Arc;

use anyhow::ensure;
use http::{Method, StatusCode};
use linarite_env::Clock;
use serde_json::Value;

use super::Target;
use crate::observation::DeviceIndex;
use crate::run::Options;
use crate::scenario::{Action, Enrollment, Scenario};
use crate::service_client::{Authorization, Call, ConnectionString, ServiceClient, ServiceError};

/// Names of taken things that a message lists.
const LISTED: usize = 5;
const DPS_VERSION: &str = "2021-10-01";
const HUB_VERSION: &str = "2021-04-12";
const CERTIFICATES: &str = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/\
                            linarite/providers/Microsoft.Devices/provisioningServices";

/// Something with a name that a run makes.
struct Thing {
    /// What it is, for people.
    what: String,
    host: String,
    path: String,
    version: &'static str,
    authorization: Authorization,
}

/// All that a run makes.
pub(super) struct Tidy {
    client: ServiceClient,
    things: Vec<Thing>,
}

impl Tidy {
    /// Everything that `scenario` may make at `target`.
    pub(super) fn new(
        target: &Target,
        scenario: &Scenario,
        options: &Options,
        clock: Clock,
    ) -> Result<Self, ServiceError> {
        let services = &target.services;
        let client = ServiceClient::new(services, Arc::clone(&target.connector), clock)?;
        let sas =
            |text: &str| ConnectionString::parse(text).map(|key| Authorization::Sas(Arc::new(key)));
        let dps = sas(&services.dps_connection_string)?;
        let mut things = Vec::new();
        let mut at_dps = |what: String, path: String| {
            things.push(Thing {
                what,
                host: services.dps_host.clone(),
                path,
                version: DPS_VERSION,
                authorization: dps.clone(),
            });
        };
        for group in groups(scenario) {
            at_dps(
                format!("enrollment group {group}"),
                format!("/enrollmentGroups/{group}"),
            );
        }
        let ids = ids(scenario, options);
        for id in &ids {
            at_dps(format!("enrollment {id}"), format!("/enrollments/{id}"));
            at_dps(format!("registration {id}"), format!("/registrations/{id}"));
        }
        for (host, text) in &services.hubs {
            let authorization = sas(text)?;
            things.extend(ids.iter().map(|id| Thing {
                what: format!("device {id} at {host}"),
                host: host.clone(),
                path: format!("/devices/{id}"),
                version: HUB_VERSION,
                authorization: authorization.clone(),
            }));
        }
        for authority in &scenario.authorities {
            let name = &authority.name;
            things.push(Thing {
                what: format!("CA certificate {name}"),
                host: services.dps_host.clone(),
                path: format!("{CERTIFICATES}/{}/certificates/{name}", services.dps_name),
                version: "2022-02-05",
                authorization: Authorization::Bearer("linarite"),
            });
        }
        Ok(Self { client, things })
    }

    /// Makes sure that nothing is there yet.
    pub(super) async fn require_free(&self) -> anyhow::Result<()> {
        let taken = self.there().await?;
        let names: Vec<&str> = taken.iter().map(|(thing, _)| &*thing.what).collect();
        ensure!(
            names.is_empty(),
            "the emulator that is up has {}{} already; nothing was changed: remove it, rename it \
             in the scenario, or start another emulator",
            names[..names.len().min(LISTED)].join(", "),
            match names.len().saturating_sub(LISTED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            }
        );
        Ok(())
    }

    /// Removes what is there now.
    pub(super) async fn clean(&self) -> anyhow::Result<()> {
        for (thing, document) in self.there().await? {
            let etag = document.get("etag").and_then(Value::as_str);
            // A hub gives its etags without the quotes that it wants back.
            let any = thing.path.starts_with("/devices/").then_some("*");
            let deleted = self.send(thing, Method::DELETE, any.or(etag)).await;
            // What belongs to a group may go with it.
            match deleted {
                Err(error) if error.status() != Some(StatusCode::NOT_FOUND) => {
                    return Err(anyhow::anyhow!("cannot remove {}: {error}", thing.what));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What is there, as its service tells it.
    async fn there(&self) -> anyhow::Result<Vec<(&Thing, Value)>> {
        let mut there = Vec::new();
        for thing in &self.things {
            match self.send(thing, Method::GET, None).await {
                Ok(document) => there.push((thing, document)),
                Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(there)
    }

    /// Saves an entry that is in the way, as another user of the emulator would.
    #[cfg(test)]
    pub(super) async fn put_for_test(&self, path: &str) {
        let thing = self.things.iter().find(|thing| thing.path == path);
        let thing = thing.unwrap();
        let id = path.rsplit('/').next();
        let call = Call {
            method: Method::PUT,
            host: &thing.host,
            path: format!("{path}?api-version={}", thing.version),
            authorization: &thing.authorization,
            if_match: None,
            body: Some(serde_json::json!({
                "registrationId": id,
                "attestation": { "type": "symmetricKey" },
            })),
        };
        self.client.send(&call).await.unwrap();
    }

    async fn send(
        &self,
        thing: &Thing,
        method: Method,
        if_match: Option<&str>,
    ) -> Result<Value, ServiceError> {
        let call = Call {
            method,
            host: &thing.host,
            path: format!("{}?api-version={}", thing.path, thing.version),
            authorization: &thing.authorization,
            if_match,
            body: None,
        };
        self.client.send(&call).await
    }
}

/// The enrollment groups that the steps of `scenario` save.
fn groups(scenario: &Scenario) -> Vec<&String> {
    let steps = scenario.steps.iter();
    let mut groups: Vec<&String> = steps
        .filter_map(|step| match &step.action {
            Action::PutGroup { group, .. } => Some(group),
            _ => None,
        })
        .collect();
    if let Enrollment::Group(group) = &scenario.fleet.enrollment {
        groups.push(group);
    }
    groups.sort();
    groups.dedup();
    groups
}

/// Every name that a device may register by.
fn ids(scenario: &Scenario, options: &Options) -> Vec<String> {
    let mut ids = Vec::new();
    for index in 0..options.devices {
        let id = scenario.registration_id(DeviceIndex(index));
        let names = scenario.leaves.iter().map(|leaf| leaf.common_name_of(&id));
        let first = ids.len();
        ids.push(id.clone());
        for name in names {
            if !ids[first..].contains(&name) {
                ids.push(name);
            }
        }
    }
    ids
}
