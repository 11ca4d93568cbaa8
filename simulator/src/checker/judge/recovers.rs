//! The check that everybody is back after the last fault.

use super::{Check, State, Tally, in_service, seconds};

pub(super) fn recovers(state: &State) -> Check {
    let mut tally = Tally::new(state);
    let Some(troubled) = &state.terms.troubled else {
        return tally.check(9, true, "nothing was made to go wrong".to_owned());
    };
    let (mut back, mut slowest) = (0, 0);
    for (index, device) in in_service(state) {
        let recovering = &device.recovering;
        slowest = slowest.max(recovering.took.unwrap_or(0));
        match recovering.late {
            None => back += usize::from(recovering.took.is_some()),
            Some((from, until)) => {
                let rule = device.rule_of(from, until);
                tally.add(index, Some((from, until)), rule, || {
                    format!(
                        "awake for {} without a session by its newest certificate",
                        seconds(until - from)
                    )
                });
            }
        }
    }
    let (devices, offenders) = (in_service(state).count(), tally.offenders);
    let within = seconds(troubled.within_ms);
    let detail = match offenders {
        0 => format!(
            "{back} of {devices} devices were seen awake and back after the last fault, within \
             {within}, the slowest after {}",
            seconds(slowest)
        ),
        _ => format!(
            "{offenders} of {devices} devices were awake and not back within {within} after the \
             last fault"
        ),
    };
    tally.check(9, offenders == 0, detail)
}
