//! The operator's function: what DPS asks where an enrollment has custom allocation (R-B16).
//!
//! It belongs to the operator and to neither service, so a run serves it itself, to whoever knows
//! its key. It answers with the hub that was deployed last for a device; what it fails at is a
//! fault of the scenario, and what comes of that is for DPS to say.

mod serve;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use linarite_env::{Env, UnixMillis};
use serde_json::{Value, json};

use crate::fault::{Fault, FaultKind, Share, WebhookAnswer};

pub use serve::Hosted;

/// Where it lies at its host.
const PATH: &str = "/api/allocate";

/// A hub that DPS is linked to in no scenario.
const NO_HUB: &str = "nowhere.azure-devices.net";

/// The operator's function. Shared with whoever serves it.
pub struct Function {
    env: Env,
    /// Whoever asks has to name it; it stands in the query of the address.
    key: String,
    /// Devices by the names that they register by, in small letters.
    devices: HashMap<String, u32>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In the order in which they were deployed.
    versions: Vec<Version>,
    faults: Vec<Failing>,
}

/// What was deployed at some time.
struct Version {
    /// It speaks for one device in so many.
    one_in: u32,
    host: String,
}

/// A fault on the clock of the services.
struct Failing {
    number: u32,
    from: UnixMillis,
    until: UnixMillis,
    share: Share,
    answer: WebhookAnswer,
}

/// What the function makes of a question.
#[derive(Debug, PartialEq, Eq)]
enum Reply {
    Said(StatusCode, String),
    /// Nothing at all.
    Silence,
}

impl Function {
    /// A function that knows devices by `names`, each the device's place in the fleet and a name
    /// that it registers by. Until something is deployed there is nothing to answer.
    pub(crate) fn new(env: Env, names: impl IntoIterator<Item = (u32, String)>) -> Arc<Self> {
        let key: [u8; 16] = linarite_env::entropy::secret();
        let devices = names.into_iter();
        Arc::new(Self {
            env,
            key: key.iter().map(|byte| format!("{byte:02x}")).collect(),
            devices: devices
                .map(|(device, name)| (name.to_lowercase(), device))
                .collect(),
            state: Mutex::default(),
        })
    }

    /// From now on it answers with the hub `host` for one device in `one_in`, and for the others
    /// as before.
    pub(crate) fn deploy(&self, host: &str, one_in: u32) {
        let host = host.to_owned();
        self.lock().versions.push(Version { one_in, host });
    }

    /// Has it fail as those of `faults` say that are its own. They are on the clock of a run that
    /// began at `origin`.
    pub(crate) fn fails(&self, faults: &[Fault], origin: UnixMillis) {
        let moment = |time: std::time::Duration| {
            let span = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
            UnixMillis(origin.0.saturating_add(span))
        };
        let own = faults.iter().filter_map(|fault| match fault.kind {
            FaultKind::WebhookErrors(answer) => Some(Failing {
                number: fault.number,
                from: moment(fault.from),
                until: moment(fault.until),
                share: fault.share,
                answer,
            }),
            _ => None,
        });
        self.lock().faults.extend(own);
    }

    /// Path and query by which it is asked. Holds the key; not for logs.
    fn target(&self) -> String {
        format!("{PATH}?code={}", self.key)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it says to `question`, which was sent to `target`.
    fn reply(&self, target: &str, question: &[u8]) -> Reply {
        let refused = |status, why: &str| Reply::Said(status, json!({ "error": why }).to_string());
        if target != self.target() {
            return refused(StatusCode::UNAUTHORIZED, "this is not the function's key");
        }
        let asked: Value = serde_json::from_slice(question).unwrap_or_default();
        let context = &asked["deviceRuntimeContext"];
        let Some(name) = context["registrationId"].as_str() else {
            return refused(StatusCode::BAD_REQUEST, "the question names no device");
        };
        let name = name.to_lowercase();
        if let Some(answer) = self.met(&name) {
            return failing(answer);
        }
        let Some(device) = self.devices.get(&name) else {
            return refused(StatusCode::BAD_REQUEST, "the function knows no such device");
        };
        let state = self.lock();
        let mut latest_first = state.versions.iter().rev();
        match latest_first.find(|version| device.is_multiple_of(version.one_in)) {
            Some(version) => chosen(&version.host),
            None => refused(StatusCode::NOT_FOUND, "nothing is deployed"),
        }
    }

    /// The first of the faults that last and hit this question, if any does. Each draws for
    /// itself, device and moment, so one question more changes no other's lot.
    fn met(&self, name: &str) -> Option<WebhookAnswer> {
        let now = self.env.clock.now_ms();
        let hits = |fault: &&Failing| {
            let purpose = format!("fault {}", fault.number);
            let subject = format!("{name} {}", now.0);
            let mut rng = self.env.entropy.stream(&purpose, &subject);
            rng.u32(0..fault.share.of.max(1)) < fault.share.hits
        };
        let state = self.lock();
        let mut lasting = { state.faults.iter() }.filter(|it| it.from <= now && now < it.until);
        lasting.find(hits).map(|fault| fault.answer)
    }
}

fn chosen(host: &str) -> Reply {
    Reply::Said(
        StatusCode::OK,
        json!({ "iotHubHostName": host }).to_string(),
    )
}

fn failing(answer: WebhookAnswer) -> Reply {
    match answer {
        WebhookAnswer::Status(status) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Reply::Said(status, String::new())
        }
        WebhookAnswer::Nothing => Reply::Silence,
        WebhookAnswer::Nonsense => {
            let page = "<html><body>The service is being updated.</body></html>";
            Reply::Said(StatusCode::OK, page.to_owned())
        }
        WebhookAnswer::UnlinkedHub => chosen(NO_HUB),
    }
}
