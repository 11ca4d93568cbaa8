//! Waits until so many devices are so far, as a person does who looks at the portal again and
//! again: a hub says which thumbprint it knows of each device, and whether it is connected.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::Operator;
use crate::scenario::condition::{Condition, Reached};
use crate::service_client::{Call, ServiceError};

/// Most looks at the fleet for one condition; each reads what the hubs know of every device.
const LOOKS: u32 = 200;
/// Shortest time between two looks.
const PACE_MIN: Duration = Duration::from_secs(1);
/// Most pages of a query that are read: twins of more devices than a fleet may have.
const PAGES_MAX: usize = 1024;

impl Operator {
    /// Looks at the fleet at a fixed pace until `condition` holds, and at `until` for the last
    /// time.
    ///
    /// # Errors
    /// A sentence with how many devices were so far in the end.
    pub async fn wait_for(&self, condition: &Condition, until: Instant) -> Result<(), String> {
        let began = Instant::now();
        let all = self.tools.registration_ids.len();
        let pace = (until.saturating_duration_since(began) / LOOKS).max(PACE_MIN);
        let mut next = began;
        loop {
            let so_far = self.so_far(condition).await;
            self.client.rest();
            let so_far = so_far.map_err(|error| error.to_string())?;
            if condition.share.reached(so_far, all) {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(format!(
                    "not carried out: it waits until {condition}, and {so_far} of {all} are"
                ));
            }
            next += pace;
            sleep_until(next.max(Instant::now()).min(until)).await;
        }
    }

    /// How many devices are as far as `condition` wants them.
    async fn so_far(&self, condition: &Condition) -> Result<usize, ServiceError> {
        let issued = self.tools.credentials.get(&condition.generation);
        let leaves = issued.into_iter().flatten();
        let leaves: BTreeSet<String> = leaves.map(|leaf| hex(&leaf.fingerprint())).collect();
        let mut devices = BTreeSet::new();
        for (hub, _) in &self.tools.services.hubs {
            for twin in self.twins(hub).await? {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let shown = &twin["x509Thumbprint"]["primaryThumbprint"];
                let connected = twin["connectionState"] == "Connected";
                let there = condition.state == Reached::Registered || connected;
                if there && leaves.contains(&text(shown).to_uppercase()) {
                    devices.insert(text(&twin["deviceId"]));
                }
            }
        }
        Ok(devices.len())
    }

    /// What a hub knows of each of its devices.
    async fn twins(&self, hub: &str) -> Result<Vec<Value>, ServiceError> {
        let text = "SELECT deviceId, connectionState, x509Thumbprint FROM devices";
        let known = self.hubs.get(&hub.to_lowercase());
        let call = Call {
            method: Method::POST,
            host: hub,
            path: "/devices/query?api-version=2021-04-12".to_owned(),
            authorization: known
                .ok_or(ServiceError::ConnectionString("there is none for this hub"))?,
            if_match: None,
            body: Some(json!({ "query": text })),
        };
        let (mut twins, mut after) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let (page, more) = self.client.send_page(&call, after.as_deref()).await?;
            if let Value::Array(page) = page {
                twins.extend(page);
            }
            after = more;
            if after.is_none() {
                break;
            }
        }
        Ok(twins)
    }
}

/// A thumbprint as hubs spell it.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}
