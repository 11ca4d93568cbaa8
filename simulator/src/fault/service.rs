//! Faults of the services: who runs them has them fail.

use std::time::Duration;

use linarite_env::UnixMillis;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{DpsAnswer, Fault, FaultKind, Share};
use crate::run::Stage;

/// Services that can be made to fail.
pub trait Trouble: Send + Sync {
    /// Has DPS say `answer` to a share of devices' requests, from a moment until another.
    ///
    /// # Errors
    /// In words, where it cannot be done.
    fn dps(
        &self,
        from: UnixMillis,
        until: UnixMillis,
        share: Share,
        answer: DpsAnswer,
    ) -> Result<(), String>;

    /// Ends every session at the hub called `host` and refuses devices there for `down_for`.
    ///
    /// # Errors
    /// In words, where it cannot be done.
    fn restart_hub(&self, host: &str, down_for: Duration) -> Result<(), String>;
}

/// Why services cannot be made to fail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TroubleError {
    /// Nobody can.
    #[error(
        "{0} needs services that can be made to fail, which are those of Linarite's own emulator"
    )]
    Impossible(String),
    /// They do not do it.
    #[error("{0}: {1}")]
    Refused(String, String),
}

/// Has the services of `stage` fail as `faults` say, which are on the run's clock: `start` and
/// `origin` are both its beginning. Restarts come as long as what is given back is kept.
///
/// # Errors
/// [`TroubleError`].
pub fn begin(
    faults: &[Fault],
    stage: &Stage,
    (start, origin): (Instant, UnixMillis),
) -> Result<JoinSet<()>, TroubleError> {
    let mut restarts = JoinSet::new();
    for fault in faults {
        match &fault.kind {
            FaultKind::DpsErrors(answer) => {
                let moment = |time: Duration| {
                    let span = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
                    UnixMillis(origin.0.saturating_add(span))
                };
                let trouble = stage.connector.trouble();
                let trouble = trouble.ok_or_else(|| TroubleError::Impossible(fault.to_string()))?;
                let (from, until) = (moment(fault.from), moment(fault.until));
                trouble
                    .dps(from, until, fault.share, *answer)
                    .map_err(|text| TroubleError::Refused(fault.to_string(), text))?;
            }
            FaultKind::HubRestart { hub } => {
                if stage.connector.trouble().is_none() {
                    return Err(TroubleError::Impossible(fault.to_string()));
                }
                let hosts = stage.services.hubs.iter().map(|(host, _)| host.clone());
                let named = |host: &String| {
                    let first = host.split('.').next();
                    hub.as_deref().is_none_or(|hub| first == Some(hub))
                };
                let hosts: Vec<String> = hosts.filter(named).collect();
                let down_for = fault.until.saturating_sub(fault.from);
                let (connector, at) = (stage.connector.clone(), start + fault.from);
                restarts.spawn(async move {
                    sleep_until(at).await;
                    for host in hosts {
                        let restarted = connector
                            .trouble()
                            .map(|trouble| trouble.restart_hub(&host, down_for));
                        debug_assert!(matches!(restarted, Some(Ok(()))), "{host} is no hub");
                    }
                });
            }
            FaultKind::DropConnections { .. }
            | FaultKind::DelayReplies { .. }
            | FaultKind::LoseReplies
            | FaultKind::PowerLoss { .. }
            | FaultKind::WebhookErrors(_) => {}
        }
    }
    Ok(restarts)
}
