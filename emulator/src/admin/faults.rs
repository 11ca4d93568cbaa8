//! `POST /faults/dps`, `POST /faults/hub-restart`, `DELETE /faults`: trouble on purpose, for who
//! tries what a device does then. `DELETE /faults/dps/NUMBER` and `DELETE /faults/hub-restart` end
//! one trouble and leave others, which may be somebody else's.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};

use super::Admin;
use super::parameters::{Parameters, Refused};
use crate::fault::{DpsFault, DpsTrouble, FaultError, Faults};
use crate::limits::FAULT_SECONDS_MAX;

type Asked = Query<Vec<(String, String)>>;

/// Parameters: `status` (429, 500 or 503), `for` (seconds), `in` (seconds until it begins, at once
/// by default), `share` (of the requests, such as `1/4`; all of them by default), `retry_after`
/// (whole seconds, with a 429; 5 by default). The `Location` of the answer ends it by a DELETE.
pub(super) async fn dps(State(admin): State<Arc<Admin>>, Query(query): Asked) -> Response {
    let now = admin.services.env.clock.now_ms().0;
    let fault = match read_dps(Parameters::new(query), now) {
        Ok(fault) => fault,
        Err(refused) => return refused.into_response(),
    };
    let begins = match fault.from_ms <= now {
        true => "from now on".to_owned(),
        false => format!("in {} ms", fault.from_ms - now),
    };
    match Faults::new(&admin.services).dps(fault) {
        Ok(number) => (
            [(LOCATION, format!("/faults/dps/{number}"))],
            format!("DPS fails {begins}\n"),
        )
            .into_response(),
        Err(error) => done(Err(error)),
    }
}

/// Ends one trouble of DPS; 404 if it is over.
pub(super) async fn end_dps(State(admin): State<Arc<Admin>>, Path(number): Path<u64>) -> Response {
    match Faults::new(&admin.services).end_dps(number) {
        true => StatusCode::NO_CONTENT.into_response(),
        false => (StatusCode::NOT_FOUND, "no such fault is left\n").into_response(),
    }
}

/// Parameters: `for` (seconds, 0 by default), `hub` (a host name; the only hub by default).
pub(super) async fn hub_restart(State(admin): State<Arc<Admin>>, Query(query): Asked) -> Response {
    let (hub, seconds) = match read_restart(&admin, Parameters::new(query)) {
        Ok(read) => read,
        Err(refused) => return refused.into_response(),
    };
    let restarted = Faults::new(&admin.services).restart_hub(&hub, seconds);
    done(restarted.map(|sessions| format!("{sessions} sessions ended\n")))
}

/// Ends a restart before its time. Parameter: `hub` (a host name; the only hub by default).
pub(super) async fn end_restart(State(admin): State<Arc<Admin>>, Query(query): Asked) -> Response {
    let mut parameters = Parameters::new(query);
    let hub = read_hub(&admin, &mut parameters);
    let hub = match hub.and_then(|hub| parameters.end().map(|()| hub)) {
        Ok(hub) => hub,
        Err(refused) => return refused.into_response(),
    };
    match Faults::new(&admin.services).end_restart(&hub) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => done(Err(error)),
    }
}

/// Ends all trouble.
pub(super) async fn clear(State(admin): State<Arc<Admin>>) -> Response {
    Faults::new(&admin.services).clear();
    StatusCode::NO_CONTENT.into_response()
}

fn done(outcome: Result<String, FaultError>) -> Response {
    match outcome {
        Ok(text) => text.into_response(),
        Err(error @ FaultError::UnknownHub) => {
            (StatusCode::NOT_FOUND, format!("{error}\n")).into_response()
        }
        Err(error @ FaultError::TooMany) => {
            (StatusCode::CONFLICT, format!("{error}\n")).into_response()
        }
    }
}

fn read_dps(mut parameters: Parameters, now: i64) -> Result<DpsFault, Refused> {
    let status: Option<u16> = parameters.read("status", "429, 500 or 503")?;
    let lasts = span_in(&mut parameters, "for")?;
    let begins = span_in(&mut parameters, "in")?.unwrap_or_default();
    let retry_after = seconds_in(&mut parameters, "retry_after")?;
    let share = parameters.take("share")?;
    parameters.end()?;
    let trouble = match (status, retry_after) {
        (Some(429), seconds) => DpsTrouble::Throttled {
            seconds: seconds.unwrap_or(5),
        },
        (_, Some(_)) => {
            let text = "retry_after: only a 429 says when to come back";
            return Err(Refused::Wrong(text.to_owned()));
        }
        (Some(500), None) => DpsTrouble::InternalError,
        (Some(503), None) => DpsTrouble::Unavailable,
        (_, None) => {
            return Err(Refused::Wrong(
                "status: expected 429, 500 or 503".to_owned(),
            ));
        }
    };
    let Some(lasts) = lasts else {
        return Err(Refused::Wrong("for: expected how many seconds".to_owned()));
    };
    let (hits, of) = match share {
        Some(share) => read_share(&share)?,
        None => (1, NonZeroU32::MIN),
    };
    let from_ms = now + millis(begins);
    Ok(DpsFault {
        from_ms,
        until_ms: from_ms + millis(lasts),
        hits,
        of,
        trouble,
    })
}

fn read_restart(admin: &Admin, mut parameters: Parameters) -> Result<(String, Duration), Refused> {
    let lasts = span_in(&mut parameters, "for")?.unwrap_or_default();
    let hub = read_hub(admin, &mut parameters)?;
    parameters.end()?;
    Ok((hub, lasts))
}

fn read_hub(admin: &Admin, parameters: &mut Parameters) -> Result<String, Refused> {
    match (parameters.take("hub")?, &*admin.services.hubs) {
        (Some(name), _) => Ok(name),
        (None, [only]) => Ok(only.host.to_string()),
        (None, _) => {
            let text = "hub: expected the host name of one of the hubs";
            Err(Refused::Wrong(text.to_owned()))
        }
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Seconds, down to a thousandth.
fn span_in(parameters: &mut Parameters, name: &str) -> Result<Option<Duration>, Refused> {
    let expected = format!("0.001 to {FAULT_SECONDS_MAX} seconds");
    let Some(seconds) = parameters.read::<f64>(name, &expected)? else {
        return Ok(None);
    };
    if !(0.001..=f64::from(FAULT_SECONDS_MAX)).contains(&seconds) {
        let text = format!("{name}: expected {expected}, not {seconds}");
        return Err(Refused::Wrong(text));
    }
    Ok(Some(Duration::from_secs_f64(seconds)))
}

fn seconds_in(parameters: &mut Parameters, name: &str) -> Result<Option<u32>, Refused> {
    let expected = format!("1 to {FAULT_SECONDS_MAX} seconds");
    let seconds: Option<u32> = parameters.read(name, &expected)?;
    match seconds {
        Some(seconds) if !(1..=FAULT_SECONDS_MAX).contains(&seconds) => Err(Refused::Wrong(
            format!("{name}: expected {expected}, not {seconds}"),
        )),
        seconds => Ok(seconds),
    }
}

fn read_share(text: &str) -> Result<(u32, NonZeroU32), Refused> {
    let parts = text.split_once('/');
    let parts = parts.and_then(|(hits, of)| Some((hits.parse().ok()?, of.parse().ok()?)));
    parts
        .filter(|(hits, of): &(u32, NonZeroU32)| (1..=of.get()).contains(hits))
        .ok_or_else(|| Refused::Wrong(format!("share: expected a share like 1/4, not {text:?}")))
}
