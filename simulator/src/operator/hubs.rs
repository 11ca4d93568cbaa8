//! What the operator does at hubs: their identities, and jobs for all of their devices.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::{Operator, Progress};
use crate::observation::DeviceIndex;
use crate::scenario::IdentityChange;

/// How long a device may take to answer a method, in seconds.
const METHOD_SECONDS: u32 = 30;
/// How long a job may take to call all devices, in seconds.
const JOB_SECONDS: u32 = 3600;
/// Time between two looks at a job.
const LOOK: Duration = Duration::from_secs(5);
/// Looks at a job before it is given up.
const LOOKS: u32 = 900;

/// A direct method without parameters, as hubs take it from a call and from a job.
pub(super) fn direct_method(name: &str) -> Value {
    json!({
        "methodName": name,
        "responseTimeoutInSeconds": METHOD_SECONDS,
        "connectTimeoutInSeconds": 0,
        "payload": {},
    })
}

impl Operator {
    /// Disables, enables or deletes the identity of a device, under the etag it is read with.
    pub(super) async fn change_identity(
        &self,
        device: DeviceIndex,
        change: IdentityChange,
    ) -> Result<(), String> {
        let (hub, device_id) = self.whereabouts(device).await?;
        let path = format!("/devices/{device_id}");
        let change = async {
            let mut identity = self.hub(&hub, Method::GET, &path, None, None).await?;
            let etag = identity.get("etag").and_then(Value::as_str);
            let etag = etag.map(|etag| format!("\"{}\"", etag.trim_matches('"')));
            let (method, body) = match change {
                IdentityChange::Delete => (Method::DELETE, None),
                IdentityChange::Disable | IdentityChange::Enable => {
                    let enabled = change == IdentityChange::Enable;
                    identity["status"] = json!(if enabled { "enabled" } else { "disabled" });
                    (Method::PUT, Some(identity))
                }
            };
            self.hub(&hub, method, &path, etag.as_deref(), body).await
        };
        change
            .await
            .map(|_| ())
            .map_err(|error: crate::service_client::ServiceError| error.to_string())
    }

    /// Has each hub call `method` on all its devices, and waits until it has. A device that is
    /// offline, or that does not answer, is one that did not go well.
    pub(super) async fn schedule_job(&self, method: &str, progress: &mut Progress) {
        for (hub, _) in &self.tools.services.hubs {
            if let Err(reason) = self.job_at(hub, method, progress).await {
                progress.add(Err(format!("{hub}: {reason}")));
            }
        }
    }

    async fn job_at(&self, hub: &str, method: &str, progress: &mut Progress) -> Result<(), String> {
        let id = format!("{method}-{}", self.tools.env.clock.now_ms().0);
        let path = format!("/jobs/v2/{id}");
        let body = json!({
            "jobId": id,
            "type": "scheduleDeviceMethod",
            "queryCondition": "*",
            "cloudToDeviceMethod": direct_method(method),
            "maxExecutionTimeInSeconds": JOB_SECONDS,
        });
        let put = self.hub(hub, Method::PUT, &path, None, Some(body)).await;
        put.map_err(|error| error.to_string())?;
        for _ in 0..LOOKS {
            tokio::time::sleep(LOOK).await;
            let job = self.hub(hub, Method::GET, &path, None, None).await;
            let job = job.map_err(|error| error.to_string())?;
            let status = job.get("status").and_then(Value::as_str).unwrap_or("");
            if ["completed", "failed", "cancelled"].contains(&status) {
                let statistics = &job["deviceJobStatistics"];
                let count = |name: &str| {
                    let number = statistics.get(name).and_then(Value::as_u64);
                    usize::try_from(number.unwrap_or(0)).unwrap_or(usize::MAX)
                };
                progress.succeeded += count("succeededCount");
                let failed = count("failedCount");
                if failed > 0 {
                    progress.failed += failed;
                    let words = format!("{hub}: {failed} devices did not answer job {id}");
                    progress.failures.push(words);
                }
                return Ok(());
            }
        }
        Err(format!("the job {id} did not end"))
    }
}
