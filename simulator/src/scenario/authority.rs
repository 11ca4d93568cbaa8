//! Authorities of a scenario: made by the run, or made elsewhere and read from files.
//!
//! Files lie where the scenario says, seen from its own folder. Their certificates have dates of
//! the calendar, so a scenario with such files begins on a day of it.

use std::path::{Path, PathBuf};

use linarite_core::certificate::Certificate;
use linarite_env::UnixMillis;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use toml::Spanned;

use super::Authority;
use super::check::{Checked, at, known, life, name_of};
use super::duration::{DAY_MS, Span};
use super::place::Source;
use super::raw::{RawAuthority, RawLeaf, RawStep};
use crate::pki::{Given, GivenError};

/// Most authorities of a scenario.
const AUTHORITIES_MAX: usize = 50;
/// Most certificates that a device shows with its own.
const CHAIN_MAX: usize = 9;
/// Time between the youngest given certificate and the start of a run, for what goes before it.
const AHEAD_MS: i64 = 3_600_000;
/// Years a run may begin in; certificates cannot state what lies beyond.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=2200;

/// The authorities, and when the scenario begins if that is a day of the calendar.
pub(super) fn resolve(
    source: Source<'_>,
    raw: &[RawAuthority],
    starts: Option<&Spanned<String>>,
) -> Checked<(Vec<Authority>, Option<UnixMillis>)> {
    if let Some(entry) = raw.get(AUTHORITIES_MAX) {
        let message = format!("a scenario may have at most {AUTHORITIES_MAX} authorities");
        return Err(at(source, &entry.name, message));
    }
    let given = raw
        .iter()
        .map(|entry| read(source, entry))
        .collect::<Checked<Vec<_>>>()?;
    let starts = match starts {
        Some(text) => Some(moment(source, text)?),
        None => begins(given.iter().flatten()),
    };
    let mut authorities = Vec::new();
    for (entry, given) in raw.iter().zip(given) {
        let authority = one(source, entry, given, starts, &authorities)?;
        authorities.push(authority);
    }
    Ok((authorities, starts))
}

/// The midnight from which a run begins that has these certificates and says nothing of it: the
/// first by which the youngest of them has been valid for an hour.
fn begins<'a>(given: impl Iterator<Item = &'a Given>) -> Option<UnixMillis> {
    let youngest = given.map(|given| given.certificate().validity().not_before.0);
    let ready = youngest.max()?.saturating_mul(1000) + AHEAD_MS;
    Some(UnixMillis((ready + DAY_MS - 1).div_euclid(DAY_MS) * DAY_MS))
}

fn moment(source: Source<'_>, text: &Spanned<String>) -> Checked<UnixMillis> {
    let read = OffsetDateTime::parse(text.get_ref(), &Rfc3339).ok();
    let read = read.filter(|moment| YEARS.contains(&moment.year()));
    let Some(moment) = read else {
        let message = format!(
            "`{}` is no moment; write it like 2026-11-25T00:00:00Z",
            text.get_ref()
        );
        return Err(at(source, text, message));
    };
    Ok(UnixMillis(moment.unix_timestamp() * 1000))
}

/// The files of one authority, if it has any.
fn read(source: Source<'_>, entry: &RawAuthority) -> Checked<Option<Given>> {
    let Some(certificate) = &entry.certificate else {
        return match &entry.key {
            Some(key) => {
                let message = "a key belongs to a certificate; give its file as `certificate` too";
                Err(at(source, key, message))
            }
            None => Ok(None),
        };
    };
    let path = |file: &Spanned<String>| beside(source.file, file.get_ref());
    let key = entry.key.as_ref();
    let read = Given::read(&path(certificate), key.map(path).as_deref());
    read.map(Some).map_err(|error| {
        let place = match error {
            GivenError::Certificate(_) | GivenError::NoAuthority { .. } => certificate,
            _ => key.unwrap_or(certificate),
        };
        at(source, place, error.to_string())
    })
}

/// The file `name` as a scenario in `file` means it.
fn beside(file: &str, name: &str) -> PathBuf {
    let folder = Path::new(file).parent();
    folder.map_or_else(|| name.into(), |folder| folder.join(name))
}

fn one(
    source: Source<'_>,
    entry: &RawAuthority,
    given: Option<Given>,
    starts: Option<UnixMillis>,
    above: &[Authority],
) -> Checked<Authority> {
    let name = name_of(source, &entry.name)?;
    if above.iter().any(|known| known.name == name) {
        let message = format!("`{name}` is declared twice");
        return Err(at(source, &entry.name, message));
    }
    if let Some(issuer) = &entry.issuer {
        issuer_exists(source, issuer, above)?;
    }
    let [from, until] = match (&given, &entry.certificate) {
        (Some(given), Some(file)) => {
            issued(source, entry, file, given.certificate(), above)?;
            dates(source, entry, file, given.certificate(), starts)?
        }
        _ => match &entry.valid {
            Some(valid) => life(source, valid)?,
            None => {
                let message = "say when it is `valid`, or give its file as `certificate`";
                return Err(at(source, &entry.name, message));
            }
        },
    };
    let same_key_as = twin(source, entry, above)?;
    let issuer = entry.issuer.as_ref().map(|issuer| issuer.get_ref().clone());
    Ok(Authority {
        name,
        issuer,
        same_key_as,
        from,
        until,
        given,
    })
}

/// The authority whose subject and key this one shares.
fn twin(source: Source<'_>, entry: &RawAuthority, above: &[Authority]) -> Checked<Option<String>> {
    let Some(name) = &entry.same_key_as else {
        return Ok(None);
    };
    issuer_exists(source, name, above)?;
    let wrong = |message: &str| Err(at(source, name, message));
    let twin = above.iter().find(|known| known.name == *name.get_ref());
    if entry.certificate.is_some() {
        return wrong("the certificate says whose key it holds; leave `same_key_as` out");
    }
    if twin.is_some_and(|twin| twin.given.is_some()) {
        return wrong(
            "the run cannot cross-sign an authority from files; give the cross certificate's own \
             file as `certificate`",
        );
    }
    if twin.is_some_and(|twin| twin.same_key_as.is_some()) {
        return wrong(
            "this is a cross certificate itself; name the authority it shares a key with",
        );
    }
    match &entry.issuer {
        None => wrong("a cross certificate is signed by another; name its `issuer`"),
        Some(issuer) if issuer.get_ref() == name.get_ref() => {
            wrong("its issuer would be itself; another authority signs a cross certificate")
        }
        Some(_) => Ok(Some(name.get_ref().clone())),
    }
}

/// The authorities that devices show with a leaf, each of which signed the one before.
pub(super) fn chain(
    source: Source<'_>,
    leaf: &RawLeaf,
    authorities: &[Authority],
) -> Checked<Option<Vec<String>>> {
    let Some(chain) = &leaf.chain else {
        return Ok(None);
    };
    let find = |name: &str| authorities.iter().find(|known| known.name == name);
    let mut issuer = find(leaf.issuer.get_ref());
    let mut below = "the leaf".to_owned();
    let mut names = Vec::new();
    for name in chain.get_ref() {
        issuer_exists(source, name, authorities)?;
        let next = find(name.get_ref());
        if names.len() >= CHAIN_MAX {
            let message = format!("a device shows at most {CHAIN_MAX} certificates with its own");
            return Err(at(source, name, message));
        }
        match (issuer, next) {
            (Some(signer), Some(next)) if is_key_of(next, signer) => {
                below = format!("`{}`", next.name);
                names.push(next.name.clone());
                issuer = next.issuer.as_deref().and_then(find);
            }
            (Some(signer), _) => {
                let message = format!(
                    "`{}` did not sign {below}; `{}` did, or a cross certificate with its key",
                    name.get_ref(),
                    signer.name
                );
                return Err(at(source, name, message));
            }
            (None, _) => {
                let message = format!("nobody is above {below}, which is a root");
                return Err(at(source, name, message));
            }
        }
    }
    Ok(Some(names))
}

/// Whether `one` carries the name and key of `other`.
fn is_key_of(one: &Authority, other: &Authority) -> bool {
    fn origin(authority: &Authority) -> &str {
        authority.same_key_as.as_ref().unwrap_or(&authority.name)
    }
    let same = |one: &Given, other: &Given| {
        one.certificate().public_key_info() == other.certificate().public_key_info()
    };
    origin(one) == origin(other)
        || matches!((&one.given, &other.given), (Some(one), Some(other)) if same(one, other))
}

/// Compares what the scenario says of the issuer with what the certificate says.
fn issued(
    source: Source<'_>,
    entry: &RawAuthority,
    file: &Spanned<String>,
    certificate: &Certificate,
    above: &[Authority],
) -> Checked<()> {
    let signed_by = |known: &&Authority| {
        known.given.as_ref().is_some_and(|given| {
            let issuer = given.certificate();
            certificate.is_issued_under_name_of(issuer) && certificate.verify_signed_by(issuer)
        })
    };
    let subject = certificate.subject();
    let Some(named) = &entry.issuer else {
        if certificate.is_self_signed() {
            return Ok(());
        }
        let fitting = above.iter().find(signed_by);
        let message = match fitting {
            Some(fitting) => format!(
                "{subject} was signed by another authority; write `issuer = \"{}\"`",
                fitting.name
            ),
            None => format!(
                "{subject} was issued by {}; declare that authority above this one, and name it \
                 as `issuer`",
                certificate.issuer()
            ),
        };
        return Err(at(source, file, message));
    };
    let wrong = |message: String| Err(at(source, named, message));
    if certificate.is_self_signed() {
        return wrong(format!("{subject} is self-signed; leave `issuer` out"));
    }
    let issuer = above.iter().find(|known| known.name == *named.get_ref());
    if issuer.is_some_and(|issuer| issuer.given.is_none()) {
        return wrong(format!(
            "`{}` is made by the run and cannot have signed {subject}; give it a `certificate` too",
            named.get_ref()
        ));
    }
    if issuer.as_ref().is_some_and(signed_by) {
        return Ok(());
    }
    let who = above.iter().find(signed_by);
    wrong(match who {
        Some(who) => format!(
            "`{}` did not sign {subject}; `{}` did",
            named.get_ref(),
            who.name
        ),
        None => format!(
            "`{}` did not sign {subject}, which names {} as its issuer",
            named.get_ref(),
            certificate.issuer()
        ),
    })
}

/// The certificate's life, from the start of the run.
fn dates(
    source: Source<'_>,
    entry: &RawAuthority,
    file: &Spanned<String>,
    certificate: &Certificate,
    starts: Option<UnixMillis>,
) -> Checked<[Span; 2]> {
    if let Some(valid) = &entry.valid {
        let message = "the certificate says when it is valid; leave `valid` out";
        return Err(at(source, valid, message));
    }
    let starts = starts.unwrap_or_default();
    let validity = certificate.validity();
    let [from, until] = [validity.not_before, validity.not_after]
        .map(|moment| Span(moment.0.saturating_mul(1000).saturating_sub(starts.0)));
    if until <= Span(0) {
        let message = format!(
            "{} expired on {}, before the run begins on {}; `starts` at the head of the file \
             begins it at another time",
            certificate.subject(),
            calendar(validity.not_after.0),
            calendar(starts.0.div_euclid(1000)),
        );
        return Err(at(source, file, message));
    }
    Ok([from, until])
}

/// A moment in Unix seconds, for people.
fn calendar(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{seconds} s since 1970"))
}

/// An issuer must stand above those it signs.
pub(super) fn issuer_exists(
    source: Source<'_>,
    name: &Spanned<String>,
    declared: &[Authority],
) -> Checked<()> {
    if declared
        .iter()
        .any(|authority| authority.name == *name.get_ref())
    {
        return Ok(());
    }
    let names = known(
        "authority",
        declared.iter().map(|authority| authority.name.as_str()),
    );
    let message = format!(
        "no authority `{}` is declared above this line; {names}",
        name.get_ref()
    );
    Err(at(source, name, message))
}

/// Whoever signs in this run has a key to sign with.
pub(super) fn can_sign(
    source: Source<'_>,
    authorities: &[Authority],
    raw: (&[RawAuthority], &[RawLeaf], &[RawStep]),
) -> Checked<()> {
    let (declared, leaves, steps) = raw;
    let check = |name: &Spanned<String>, what: &str, instead: &str| {
        let signer = authorities
            .iter()
            .find(|known| known.name == *name.get_ref());
        match signer.and_then(|signer| signer.given.as_ref()) {
            Some(given) if !given.has_key() => {
                let message = format!(
                    "`{}` has no key to {what}; give its file as `key` beside the \
                     `certificate`{instead}",
                    name.get_ref()
                );
                Err(at(source, name, message))
            }
            _ => Ok(()),
        }
    };
    for entry in declared.iter().filter(|entry| entry.certificate.is_none()) {
        if let Some(issuer) = &entry.issuer {
            check(issuer, "sign this authority with", "")?;
        }
    }
    for leaf in leaves {
        check(&leaf.issuer, "sign leaves with", "")?;
    }
    for step in steps {
        let proves = step.r#do.get_ref() == "add-ca-certificate"
            && step
                .verified
                .as_ref()
                .is_none_or(|verified| *verified.get_ref());
        if let Some(name) = step.certificate.as_ref().filter(|_| proves) {
            check(
                name,
                "prove possession with",
                ", or upload it with `verified = false`",
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
