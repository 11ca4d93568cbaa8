//! Faults of the services: who runs them has them fail.

use std::pin::Pin;
use std::time::Duration;

use linarite_env::UnixMillis;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{DpsAnswer, Fault, FaultKind, Share};
use crate::run::Stage;

/// Services that are being made to fail; an error, in words, where that cannot be done.
pub type Troubling<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// What DPS is to say to a share of devices' requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DpsErrors {
    /// From when on.
    pub from: UnixMillis,
    /// Until when.
    pub until: UnixMillis,
    /// To how many of them.
    pub share: Share,
    /// What.
    pub answer: DpsAnswer,
}

/// Services that can be made to fail.
pub trait Trouble: Send + Sync {
    /// Has DPS answer with errors, at a time that is still to come.
    fn dps(&self, errors: DpsErrors) -> Troubling<'_>;

    /// Ends every session at the hub called `host` and refuses devices there for `down_for`.
    fn restart_hub<'a>(&'a self, host: &'a str, down_for: Duration) -> Troubling<'a>;
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

/// Trouble that still has to be made when its time comes; as long as this is kept, it is.
#[derive(Debug, Default)]
pub struct Planned(JoinSet<Result<(), TroubleError>>);

impl Planned {
    /// Makes no more trouble.
    ///
    /// # Errors
    /// The first that some of it met with.
    pub fn end(mut self) -> Result<(), TroubleError> {
        while let Some(made) = self.0.try_join_next() {
            made.unwrap_or(Ok(()))?;
        }
        Ok(())
    }
}

/// Has the services of `stage` fail as `faults` say, which are on the run's clock: `start` and
/// `origin` are both its beginning.
///
/// # Errors
/// [`TroubleError`].
pub async fn begin(
    faults: &[Fault],
    stage: &Stage,
    (start, origin): (Instant, UnixMillis),
) -> Result<Planned, TroubleError> {
    let mut planned = Planned::default();
    for fault in faults {
        match &fault.kind {
            FaultKind::DpsErrors(answer) => {
                let moment = |time: Duration| {
                    let span = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
                    UnixMillis(origin.0.saturating_add(span))
                };
                let trouble = stage.connector.trouble();
                let trouble = trouble.ok_or_else(|| TroubleError::Impossible(fault.to_string()))?;
                let errors = DpsErrors {
                    from: moment(fault.from),
                    until: moment(fault.until),
                    share: fault.share,
                    answer: *answer,
                };
                let made = trouble.dps(errors).await;
                made.map_err(|text| TroubleError::Refused(fault.to_string(), text))?;
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
                let name = fault.to_string();
                planned.0.spawn(async move {
                    sleep_until(at).await;
                    for host in hosts {
                        if let Some(trouble) = connector.trouble() {
                            let restarted = trouble.restart_hub(&host, down_for).await;
                            restarted.map_err(|text| TroubleError::Refused(name.clone(), text))?;
                        }
                    }
                    Ok(())
                });
            }
            FaultKind::DropConnections { .. }
            | FaultKind::DelayReplies { .. }
            | FaultKind::LoseReplies
            | FaultKind::PowerLoss { .. }
            | FaultKind::WebhookErrors(_) => {}
        }
    }
    Ok(planned)
}
