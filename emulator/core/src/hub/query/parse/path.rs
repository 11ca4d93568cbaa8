//! Paths, and what their first names mean.

use winnow::combinator::{alt, cut_err, delimited};
use winnow::prelude::*;
use winnow::stream::Stream;

use super::stream::{
    Fault, Parsed, Tokens, cut, expecting, is_reserved, name, number, peek, symbol, token,
};
use crate::hub::query::ast::{Collection, Path, Segment};
use crate::hub::query::lex::Kind;
use crate::hub::query::problem::QueryProblem;
use crate::limits::QUERY_PATH_SEGMENTS_MAX;

/// Properties that go by another name in a query than in the document it gives: the collection,
/// the name in the query, the name in the document. Microsoft's samples and IoT Explorer ask
/// for `id` and `statusUpdatedTime` of twins; its page on job queries for `createdTimeUtc`.
const OTHER_NAMES: [(Collection, &str, &str); 3] = [
    (Collection::Devices, "id", "deviceId"),
    (Collection::Devices, "statusUpdatedTime", "statusUpdateTime"),
    (Collection::Jobs, "createdTimeUtc", "createdDateTimeUtc"),
];

/// What a query is FROM: the meaning of the first names of a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'t> {
    pub(super) collection: Collection,
    alias: Option<&'t str>,
}

impl<'t> Scope<'t> {
    pub(super) fn new(collection: Collection, alias: Option<&'t str>) -> Self {
        Self { collection, alias }
    }

    /// How many first names say no more than FROM does.
    fn prefix(&self, path: &[Segment]) -> usize {
        if self.alias.is_some_and(|alias| begins(path, &[alias])) {
            return 1;
        }
        let names: Vec<&str> = self.collection.name().split('.').collect();
        if begins(path, &names) { names.len() } else { 0 }
    }
}

fn begins(path: &[Segment], names: &[&str]) -> bool {
    let same = |(segment, name): (&Segment, &&str)| matches!(segment, Segment::Name(found) if found.eq_ignore_ascii_case(name));
    path.len() > names.len() && path.iter().zip(names).all(same)
}

/// A path, and the name it was asked by if that is not the one in the document.
pub(super) fn path(input: &mut Tokens<'_>, scope: &Scope<'_>) -> Parsed<(Path, Option<String>)> {
    let start = input.eof_offset();
    let mut segments = vec![Segment::Name(first(input)?)];
    while let Some(Kind::Symbol("." | "[")) = peek(input) {
        segments.push(segment(input)?);
        if segments.len() > QUERY_PATH_SEGMENTS_MAX {
            let limit = QUERY_PATH_SEGMENTS_MAX;
            let what = "names in one path";
            return Fault::cut(start, QueryProblem::TooMany { what, limit });
        }
    }
    segments.drain(..scope.prefix(&segments));
    if begins(&segments, &["devices"]) {
        return Fault::cut(start, QueryProblem::Foreign(Path(segments).to_string()));
    }
    let typed = rename(&mut segments, scope.collection);
    Ok((Path(segments), typed))
}

/// The first name of a path, which must not be taken for a keyword.
fn first(input: &mut Tokens<'_>) -> Parsed<String> {
    let name = token(|kind| match kind {
        Kind::Word(word) if is_reserved(word) => None,
        Kind::Word(name) | Kind::Bracketed(name) => Some((*name).to_owned()),
        Kind::Number(_) | Kind::Symbol(_) | Kind::Text(_) => None,
    });
    expecting("a property", name).parse_next(input)
}

/// `.name`, `.[[name]]`, `['name']` or `[0]`.
fn segment(input: &mut Tokens<'_>) -> Parsed<Segment> {
    let text = token(|kind| match kind {
        Kind::Text(text) => Some(Segment::Name(text.clone())),
        _ => None,
    });
    let index = |input: &mut Tokens<'_>| {
        number(input, |number| usize::try_from(number.as_u64()?).ok()).map(Segment::Index)
    };
    let inside = expecting("a string or an index", alt((text, index)));
    let bracketed = delimited(symbol("["), cut_err(inside), cut_err(symbol("]")));
    let dotted = |input: &mut Tokens<'_>| {
        symbol(".").parse_next(input)?;
        dotted_name(input).map(Segment::Name)
    };
    alt((dotted, bracketed)).parse_next(input)
}

fn dotted_name(input: &mut Tokens<'_>) -> Parsed<String> {
    if let Some(Kind::Word(word)) = peek(input)
        && word.eq_ignore_ascii_case("group")
    {
        // As Microsoft's reference warns.
        let what = format!("the name {word} without brackets");
        let hint = "; write [[group]]";
        return cut(input, QueryProblem::Unsupported { what, hint });
    }
    let name = cut_err(expecting("a name", name)).parse_next(input)?;
    Ok(name.to_owned())
}

/// Puts the document's name in the place of the query's; gives the latter.
fn rename(segments: &mut [Segment], collection: Collection) -> Option<String> {
    let [Segment::Name(only)] = segments else {
        return None;
    };
    let same = |(of, asked, _): &&(Collection, &str, &str)| {
        *of == collection && asked.eq_ignore_ascii_case(only)
    };
    let (_, _, stored) = OTHER_NAMES.iter().find(same)?;
    Some(std::mem::replace(only, (*stored).to_owned()))
}
