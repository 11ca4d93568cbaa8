//! Direct methods: calling a device and waiting for its answer (R-G24, R-G25).

use std::time::Duration;

use bytes::Bytes;
use linarite_core::hub::identity::DeviceStatus;
use linarite_core::hub::method::MethodRequest;
use linarite_core::hub::quota::Way;
use linarite_core::hub::tier::Metered;
use linarite_core::id::IdentityId;
use linarite_env::Event;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::hub::Hub;
use super::mailbox::{Command, MethodAnswer};
use crate::error::ServiceError;
use crate::mqtt::topic::HubFilter;

impl Hub {
    /// Calls `request` on a device or module and gives its answer.
    ///
    /// # Errors
    /// 404103 if the device is not online with a method subscription, 504101 if no answer
    /// arrived in time (the device may have executed it all the same), 404001 if it is unknown.
    pub(crate) async fn call_method(
        &self,
        id: &IdentityId,
        request: &MethodRequest,
        payload: Bytes,
    ) -> Result<MethodAnswer, ServiceError> {
        let outcome = self.try_call(id, request, payload).await;
        let (hub, device_id) = (self.name(), id.text());
        let method = request.name().into();
        self.env.events.emit(match &outcome {
            Ok(answer) => Event::MethodAnswered {
                hub,
                device_id,
                method,
                status: answer.status,
            },
            Err(error) => Event::MethodFailed {
                hub,
                device_id,
                method,
                reason: error.reason(),
            },
        });
        outcome
    }

    async fn try_call(
        &self,
        id: &IdentityId,
        request: &MethodRequest,
        payload: Bytes,
    ) -> Result<MethodAnswer, ServiceError> {
        let connect_by = Instant::now() + seconds(request.connect_timeout_seconds());
        let bytes = payload.len();
        let answer = self.hand_over(id, request, payload, connect_by).await?;
        self.charge(Metered::MethodCalls, Way::Sent, bytes);
        let answer_by = Instant::now() + seconds(request.response_timeout_seconds());
        match timeout_at(answer_by, answer).await {
            Ok(Ok(answer)) => {
                self.charge(Metered::MethodCalls, Way::Given, answer.payload.len());
                Ok(answer)
            }
            Ok(Err(_)) | Err(_) => Err(ServiceError::new(
                504_101,
                "GatewayTimeout",
                "R-G25",
                "Timed out waiting for the response from device.",
            )),
        }
    }

    /// Puts the call into the mailbox of the device's session, waiting for one until `connect_by`.
    async fn hand_over(
        &self,
        id: &IdentityId,
        request: &MethodRequest,
        payload: Bytes,
        connect_by: Instant,
    ) -> Result<oneshot::Receiver<MethodAnswer>, ServiceError> {
        loop {
            let woken = self.connected.notified();
            tokio::pin!(woken);
            // Registered before looking, so that a session opened in between is not missed.
            woken.as_mut().enable();
            let mailbox = self.devices.change_of(id, |held, device| {
                let enabled = device.unwrap_or(&held.identity).status == DeviceStatus::Enabled;
                let live = held.live.as_ref();
                let listens = live.filter(|live| live.subscriptions.has(HubFilter::Methods));
                enabled.then(|| listens.map(|live| std::sync::Arc::clone(&live.mailbox)))
            });
            // R-G4: a disabled device is not found.
            let mailbox = mailbox
                .flatten()
                .ok_or_else(|| ServiceError::identity_not_found(id))?;
            if let Some(mailbox) = mailbox {
                let (sender, receiver) = oneshot::channel();
                let name = request.name().to_owned();
                let command = Command::Method {
                    name,
                    payload,
                    answer: sender,
                };
                return mailbox.put(command).map(|()| receiver).map_err(|_| {
                    let text = "Too many calls are waiting for this device.";
                    ServiceError::new(
                        403_800,
                        "DeviceMaximumInflightMethodExceeded",
                        "R-F10",
                        text,
                    )
                });
            }
            if timeout_at(connect_by, woken).await.is_err() {
                return Err(ServiceError::new(
                    404_103,
                    "DeviceNotOnline",
                    "R-G25",
                    "The operation failed because the requested device isn't online or hasn't \
                     registered the direct method callback.",
                ));
            }
        }
    }
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(u64::from(count))
}
