//! Direct methods that the operator called, and whether devices answered.

use std::collections::BTreeMap;

use linarite_env::Event;

/// Error number of a call to a device that is not connected.
const NOT_ONLINE: u32 = 404_103;

/// What became of calls.
#[derive(Debug, Default)]
pub(super) struct Calls {
    pub(super) answered: u64,
    /// Calls that did not reach a device because it was offline.
    pub(super) not_online: u64,
    /// Calls left without an answer while things were made to go wrong.
    pub(super) lost: u64,
    /// Devices that got a call and left it without an answer: when, the rule, and the words.
    pub(super) unanswered: BTreeMap<u32, (i64, &'static str, String)>,
}

impl Calls {
    pub(super) fn hear(&mut self, at: i64, device: Option<u32>, event: &Event, troubled: bool) {
        match event {
            Event::MethodAnswered { .. } => self.answered += 1,
            Event::MethodFailed { reason, .. } if reason.code == NOT_ONLINE => {
                self.not_online += 1;
            }
            // While things go wrong an answer may get lost on its way.
            Event::MethodFailed { .. } if troubled => self.lost += 1,
            Event::MethodFailed { method, reason, .. } => {
                let Some(device) = device else { return };
                // The session that the call came on has gone, and the answer with it (R-G26).
                let what = format!("left {method} unanswered, {}", reason.code);
                self.unanswered.entry(device).or_insert((at, "R-G26", what));
            }
            _ => {}
        }
    }
}
