//! Reads what goes wrong on purpose, `[[fault]]`, and within which time all have to be back,
//! `[recovery]`.

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::check::{Checked, at, bounded, hub, known};
use super::duration::{DAY_MS, Span};
use super::place::Source;
use crate::fault::{
    CUTS_MAX, DpsAnswer, FAULTS_MAX, Fault, FaultKind, Recovery, Share, WebhookAnswer,
};

/// A fault as it is written. Which fields belong depends on `kind`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFault {
    kind: Spanned<Kind>,
    from: Spanned<Span>,
    #[serde(default)]
    until: Option<Spanned<Span>>,
    #[serde(default)]
    share: Option<Spanned<String>>,
    #[serde(default)]
    every: Option<Spanned<Span>>,
    #[serde(default)]
    by: Option<Spanned<Span>>,
    #[serde(default)]
    r#for: Option<Spanned<Span>>,
    #[serde(default)]
    status: Option<Spanned<u32>>,
    #[serde(default)]
    retry_after: Option<Spanned<Span>>,
    #[serde(default)]
    hub: Option<Spanned<String>>,
    #[serde(default)]
    answer: Option<Spanned<Answer>>,
}

/// What a function that fails says, where it is no status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Nothing,
    Nonsense,
    UnlinkedHub,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    DropConnections,
    DelayReplies,
    LoseReplies,
    DpsErrors,
    HubRestart,
    PowerLoss,
    WebhookErrors,
}

impl Kind {
    /// The fields that belong to it beside `kind` and `from`; those not marked are required.
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::DropConnections => &["until", "share", "every"],
            Self::DelayReplies => &["until", "share", "by"],
            Self::LoseReplies => &["until", "share"],
            Self::DpsErrors => &["until", "share", "status", "retry_after?"],
            Self::HubRestart => &["for", "hub?"],
            Self::PowerLoss => &["until", "share", "for"],
            Self::WebhookErrors => &["until", "share", "status?", "answer?"],
        }
    }
}

/// When all have to be back, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRecovery {
    within: Spanned<Span>,
}

/// What the rest of the file declares.
pub(super) struct Known<'a> {
    pub(super) hubs: &'a [String],
    /// Whether the operator has a function.
    pub(super) function: bool,
    pub(super) duration: Duration,
}

/// Checks all faults and what is said of the time after them.
pub(super) fn resolve(
    source: Source<'_>,
    raw: &[RawFault],
    recovery: Option<&RawRecovery>,
    declared: &Known<'_>,
) -> Checked<(Vec<Fault>, Option<Recovery>)> {
    let within = match (recovery, raw.first()) {
        (None, None) => return Ok((Vec::new(), None)),
        (None, Some(first)) => {
            let message = "say within which time devices have to be back after the last fault: \
                           [recovery] within = \"30m\"";
            return Err(at(source, &first.kind, message));
        }
        (Some(recovery), None) => {
            let message = "there is no [[fault]] to recover from";
            return Err(at(source, &recovery.within, message));
        }
        (Some(recovery), Some(_)) => {
            bounded(source, &recovery.within, Span(1000), Span(30 * DAY_MS))?
        }
    };
    let mut faults = Vec::new();
    for (number, entry) in (1..).zip(raw) {
        let reader = Reader {
            source,
            raw: entry,
            declared,
        };
        let fault = reader.fault(number)?;
        if fault.until + within > declared.duration {
            let message = "it ends so late that the run is over before devices have to be back; \
                           let it end earlier, or the run last longer";
            let place = entry.until.as_ref().unwrap_or(&entry.from);
            return Err(at(source, place, message));
        }
        if faults.len() == FAULTS_MAX {
            let message = format!("a scenario may have at most {FAULTS_MAX} faults");
            return Err(at(source, &entry.kind, message));
        }
        faults.push(fault);
    }
    let from = faults.iter().map(|fault| fault.from).min();
    let calm = faults.iter().map(|fault| fault.until).max();
    let recovery = from
        .zip(calm)
        .map(|(from, calm)| Recovery { from, calm, within });
    Ok((faults, recovery))
}

/// Reads one fault.
struct Reader<'a> {
    source: Source<'a>,
    raw: &'a RawFault,
    declared: &'a Known<'a>,
}

impl Reader<'_> {
    fn fault(&self, number: u32) -> Checked<Fault> {
        self.fields_belong()?;
        let from = bounded(self.source, &self.raw.from, Span(0), Span(3660 * DAY_MS))?;
        let until = self.until(from)?;
        let share = match &self.raw.share {
            Some(share) => self.share(share)?,
            None => Share::ALL,
        };
        Ok(Fault {
            number,
            kind: self.kind(until - from)?,
            from,
            until,
            share,
        })
    }

    /// What is there belongs, and what belongs is there.
    fn fields_belong(&self) -> Checked<()> {
        let raw = self.raw;
        let kind = *raw.kind.get_ref();
        let present = [
            ("until", raw.until.as_ref().map(Spanned::span)),
            ("share", raw.share.as_ref().map(Spanned::span)),
            ("every", raw.every.as_ref().map(Spanned::span)),
            ("by", raw.by.as_ref().map(Spanned::span)),
            ("for", raw.r#for.as_ref().map(Spanned::span)),
            ("status", raw.status.as_ref().map(Spanned::span)),
            ("retry_after", raw.retry_after.as_ref().map(Spanned::span)),
            ("hub", raw.hub.as_ref().map(Spanned::span)),
            ("answer", raw.answer.as_ref().map(Spanned::span)),
        ];
        let named = || {
            kind.fields()
                .iter()
                .map(|field| field.trim_end_matches('?'))
        };
        for (name, span) in &present {
            match span {
                Some(span) if !named().any(|field| field == *name) => {
                    let fields = known("field", ["kind", "from"].into_iter().chain(named()));
                    let message = format!("`{name}` does not belong to this kind; {fields}");
                    return Err(self.source.error_at(span.start, message));
                }
                None if kind.fields().contains(name) => {
                    let message = format!("this kind of fault needs `{name}`");
                    return Err(at(self.source, &raw.kind, message));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn until(&self, from: Duration) -> Checked<Duration> {
        match (&self.raw.until, &self.raw.r#for) {
            (Some(until), _) => {
                let end = bounded(self.source, until, Span(0), Span(3660 * DAY_MS))?;
                if end <= from {
                    let message = format!(
                        "{} is not after {}, when it begins",
                        until.get_ref(),
                        self.raw.from.get_ref()
                    );
                    return Err(at(self.source, until, message));
                }
                Ok(end)
            }
            (None, Some(lasts)) => {
                Ok(from + bounded(self.source, lasts, Span(1000), Span(30 * DAY_MS))?)
            }
            (None, None) => Err(at(
                self.source,
                &self.raw.kind,
                "this kind of fault needs `until`",
            )),
        }
    }

    fn share(&self, share: &Spanned<String>) -> Checked<Share> {
        let parts = share.get_ref().split_once('/');
        let parts = parts.and_then(|(hits, of)| Some((hits.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((hits, of)) if 1 <= hits && hits <= of && of <= 100_000 => Ok(Share { hits, of }),
            _ => {
                let message = format!(
                    "`{}` is not a share like \"1/10\", which is more than nothing and at most \
                     \"1/1\"",
                    share.get_ref()
                );
                Err(at(self.source, share, message))
            }
        }
    }

    fn kind(&self, lasts: Duration) -> Checked<FaultKind> {
        Ok(match self.raw.kind.get_ref() {
            Kind::DropConnections => FaultKind::DropConnections {
                every: self.every(lasts)?,
            },
            Kind::DelayReplies => FaultKind::DelayReplies {
                by: self.span(self.raw.by.as_ref(), Span(1), Span(600_000))?,
            },
            Kind::LoseReplies => FaultKind::LoseReplies,
            Kind::DpsErrors => FaultKind::DpsErrors(self.answer()?),
            Kind::HubRestart => FaultKind::HubRestart {
                hub: match &self.raw.hub {
                    Some(name) => Some(hub(self.source, name, self.declared.hubs)?),
                    None => None,
                },
            },
            Kind::PowerLoss => {
                let longest = i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX);
                let lasts = self.span(self.raw.r#for.as_ref(), Span(1000), Span(longest))?;
                FaultKind::PowerLoss { lasts }
            }
            Kind::WebhookErrors => FaultKind::WebhookErrors(self.webhook_answer()?),
        })
    }

    /// A span that `fields_belong` has seen.
    fn span(&self, field: Option<&Spanned<Span>>, least: Span, most: Span) -> Checked<Duration> {
        field.map_or(Ok(least.duration()), |span| {
            bounded(self.source, span, least, most)
        })
    }

    fn every(&self, lasts: Duration) -> Checked<Duration> {
        let every = self.span(self.raw.every.as_ref(), Span(1000), Span(30 * DAY_MS))?;
        match &self.raw.every {
            Some(place) if lasts.as_millis() / every.as_millis() > CUTS_MAX => {
                let message = format!(
                    "connections would be cut more than {CUTS_MAX} times; less often, or for a \
                     shorter time"
                );
                Err(at(self.source, place, message))
            }
            _ => Ok(every),
        }
    }

    fn webhook_answer(&self) -> Checked<WebhookAnswer> {
        let raw = self.raw;
        if !self.declared.function {
            let message = "there is no function to fail; put one in place by a `deploy-function` \
                           step";
            return Err(at(self.source, &raw.kind, message));
        }
        match (&raw.status, &raw.answer) {
            (Some(status), None) => match u16::try_from(*status.get_ref()) {
                Ok(code @ 400..=599) => Ok(WebhookAnswer::Status(code)),
                _ => {
                    let message = format!("{} is no status from 400 to 599", status.get_ref());
                    Err(at(self.source, status, message))
                }
            },
            (None, Some(answer)) => Ok(match answer.get_ref() {
                Answer::Nothing => WebhookAnswer::Nothing,
                Answer::Nonsense => WebhookAnswer::Nonsense,
                Answer::UnlinkedHub => WebhookAnswer::UnlinkedHub,
            }),
            _ => {
                let message = "say what the function answers, by either `status` or `answer`";
                Err(at(self.source, &raw.kind, message))
            }
        }
    }

    fn answer(&self) -> Checked<DpsAnswer> {
        let raw = self.raw;
        let status = raw.status.as_ref().map(|status| *status.get_ref());
        match (status, &raw.retry_after) {
            (Some(429), after) => {
                let after = match after {
                    Some(span) => bounded(self.source, span, Span(1000), Span(3_600_000))?,
                    None => Duration::from_secs(5),
                };
                let seconds = after.as_millis().div_ceil(1000);
                Ok(DpsAnswer::Throttled(
                    u32::try_from(seconds).unwrap_or(u32::MAX),
                ))
            }
            (_, Some(after)) => Err(at(self.source, after, "only a 429 says when to come back")),
            (Some(500), None) => Ok(DpsAnswer::InternalError),
            (Some(503), None) => Ok(DpsAnswer::Unavailable),
            (status, None) => {
                let message = format!("{} is not 429, 500 or 503", status.unwrap_or(0));
                let place = raw.status.as_ref().map_or(0, |status| status.span().start);
                Err(self.source.error_at(place, message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Scenario;
    use super::*;

    const FAULTS: &str = r#"
[[fault]]
kind = "drop-connections"
from = "9d1h"
until = "9d3h"
share = "1/5"
every = "10m"
[[fault]]
kind = "dps-errors"
from = "9d2h"
until = "9d4h"
share = "3/4"
status = 429
[[fault]]
kind = "hub-restart"
from = "9d2h"
for = "30s"
[[fault]]
kind = "power-loss"
from = "9d2h"
until = "9d3h"
share = "1/1"
for = "5m"
[recovery]
within = "30m"
"#;

    fn read(faults: &str) -> Result<Scenario, String> {
        let text = format!("{}{faults}", super::super::tests::GOOD);
        Scenario::parse("f.toml", &text).map_err(|error| error.to_string())
    }

    #[test]
    fn faults_are_read_and_the_last_one_says_when_all_is_calm() {
        let scenario = read(FAULTS).unwrap();
        let hours = |hours: u64| Duration::from_secs(9 * 86_400 + hours * 3600);
        let recovery = scenario.recovery.unwrap();
        assert_eq!((recovery.from, recovery.calm), (hours(1), hours(4)));
        let shown: Vec<String> = scenario.faults.iter().map(Fault::to_string).collect();
        assert_eq!(
            shown,
            [
                "fault[1] drop-connections",
                "fault[2] dps-errors",
                "fault[3] hub-restart",
                "fault[4] power-loss"
            ]
        );
        assert_eq!(
            scenario.faults[1].kind,
            FaultKind::DpsErrors(DpsAnswer::Throttled(5))
        );
        assert_eq!(scenario.faults[1].share, Share { hits: 3, of: 4 });
        let restart = &scenario.faults[2];
        assert_eq!(restart.until - restart.from, Duration::from_secs(30));
    }

    #[test]
    fn a_function_fails_where_there_is_one() {
        let fault = |answer: &str| {
            format!(
                "[[fault]]\nkind = \"webhook-errors\"\nfrom = \"9d1h\"\nuntil = \"9d2h\"\n\
                 share = \"1/2\"\n{answer}\n[recovery]\nwithin = \"30m\"\n"
            )
        };
        let message = read(&fault("status = 500")).unwrap_err();
        assert!(
            message.contains("fault[1].kind: there is no function to fail"),
            "{message}"
        );
        let deployed = |answer: &str| {
            let step = "[[step]]\nat = \"0d\"\ndo = \"deploy-function\"\nhub = \"hub-1\"\n[[step]]";
            let good = super::super::tests::GOOD.replacen("[[step]]", step, 1);
            let text = format!("{good}{}", fault(answer));
            Scenario::parse("f.toml", &text).map_err(|error| error.to_string())
        };
        let table = [
            ("status = 404", WebhookAnswer::Status(404)),
            ("answer = \"nothing\"", WebhookAnswer::Nothing),
            ("answer = \"nonsense\"", WebhookAnswer::Nonsense),
            ("answer = \"unlinked-hub\"", WebhookAnswer::UnlinkedHub),
        ];
        for (answer, meant) in table {
            let fault = deployed(answer).unwrap().faults.remove(0);
            assert_eq!(fault.kind, FaultKind::WebhookErrors(meant), "{answer}");
        }
        let table = [
            ("", "by either `status` or `answer`"),
            (
                "status = 500\nanswer = \"nothing\"",
                "by either `status` or `answer`",
            ),
            (
                "status = 200",
                "fault[1].status: 200 is no status from 400 to 599",
            ),
            ("answer = \"silence\"", "unknown variant `silence`"),
        ];
        for (answer, words) in table {
            let message = deployed(answer).unwrap_err();
            assert!(message.contains(words), "{message}, and not {words}");
        }
    }

    #[test]
    fn mistakes_are_answered_with_their_place() {
        let table = [
            ("\"1/5\"", "\"0/5\"", "fault[1].share: `0/5` is not a share"),
            ("\"1/5\"", "\"6/5\"", "fault[1].share: `6/5` is not a share"),
            (
                "until = \"9d3h\"",
                "until = \"9d1h\"",
                "fault[1].until: 9d1h is not after 9d1h",
            ),
            (
                "until = \"9d3h\"",
                "until = \"9d23h50m\"",
                "the run is over before devices",
            ),
            (
                "every = \"10m\"\n",
                "",
                "fault[1].kind: this kind of fault needs `every`",
            ),
            (
                "every = \"10m\"",
                "every = \"1s\"",
                "fault[1].every: connections would be cut more",
            ),
            ("every", "evry", "did you mean `every`?"),
            (
                "every = \"10m\"",
                "every = \"10m\"\nby = \"1s\"",
                "`by` does not belong to this kind",
            ),
            (
                "\"drop-connections\"",
                "\"drop-conections\"",
                "did you mean `drop-connections`?",
            ),
            ("429", "404", "fault[2].status: 404 is not 429, 500 or 503"),
            (
                "429",
                "500\nretry_after = \"5s\"",
                "only a 429 says when to come back",
            ),
            (
                "\"30s\"",
                "\"30s\"\nhub = \"hub-2\"",
                "no hub is called `hub-2`",
            ),
            (
                "for = \"5m\"",
                "for = \"2h\"",
                "fault[4].for: 2h is not between 1s and 1h",
            ),
            (
                "[recovery]\nwithin = \"30m\"\n",
                "",
                "fault[1].kind: say within which time",
            ),
            (
                "within = \"30m\"",
                "within = \"0s\"",
                "recovery.within: 0s is not between",
            ),
        ];
        for (from, to, words) in table {
            let text = FAULTS.replacen(from, to, 1);
            assert_ne!(text, FAULTS, "{from}");
            let message = read(&text).unwrap_err();
            assert!(message.starts_with("f.toml:"), "{message}");
            assert!(message.contains(words), "{message}, and not {words}");
        }
        let message = read("[recovery]\nwithin = \"30m\"\n").unwrap_err();
        assert!(
            message.contains("no [[fault]] to recover from"),
            "{message}"
        );
    }
}
