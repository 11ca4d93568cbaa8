//! Tokens as the parsers take them, and how a failure remembers where it happened.

use serde_json::Number;
use winnow::combinator::eof;
use winnow::error::{ErrMode, ParserError};
use winnow::prelude::*;
use winnow::stream::{Stream, TokenSlice};
use winnow::token::any;

use crate::hub::query::lex::{Kind, Token};
use crate::hub::query::problem::QueryProblem;

pub(super) type Tokens<'t> = TokenSlice<'t, Token<'t>>;
pub(super) type Parsed<T> = Result<T, ErrMode<Fault>>;

/// Words that are no names where a name may begin.
const RESERVED: [&str; 17] = [
    "AND",
    "AS",
    "BY",
    "FALSE",
    "FROM",
    "GROUP",
    "IN",
    "NIN",
    "NOT",
    "NULL",
    "OR",
    "ORDER",
    "SELECT",
    "TOP",
    "TRUE",
    "UNDEFINED",
    "WHERE",
];

/// Words of other languages like it, and what to say of them.
const UNSUPPORTED: [(&str, &str); 13] = [
    ("BETWEEN", "; use >= and <="),
    ("DISTINCT", "; use GROUP BY"),
    ("EXISTS", "; use IS_DEFINED"),
    ("HAVING", ""),
    ("IS", "; use = null, IS_NULL or IS_DEFINED"),
    ("JOIN", ""),
    ("LIKE", "; use STARTSWITH, ENDSWITH or CONTAINS"),
    ("LIMIT", "; use TOP"),
    ("NOT", " here; use NIN for NOT IN"),
    ("OFFSET", ""),
    ("ORDER", ": rows come in the order of their ids"),
    ("UNION", ""),
    ("VALUE", ""),
];

/// A failure: how many tokens were left, and what was wrong with the first of them.
#[derive(Debug)]
pub(super) struct Fault {
    remaining: usize,
    expected: Vec<&'static str>,
    problem: Option<QueryProblem>,
}

impl Fault {
    pub(super) fn unknown() -> Self {
        Self {
            remaining: 0,
            expected: Vec::new(),
            problem: None,
        }
    }

    pub(super) fn remaining(&self) -> usize {
        self.remaining
    }

    /// Fails for good with `problem`, `remaining` tokens before the end.
    pub(super) fn cut<T>(remaining: usize, problem: QueryProblem) -> Parsed<T> {
        Err(ErrMode::Cut(Self {
            remaining,
            expected: Vec::new(),
            problem: Some(problem),
        }))
    }

    /// What to tell; `found` stands where it happened.
    pub(super) fn problem(self, found: Option<&Kind<'_>>) -> QueryProblem {
        if let Some(problem) = self.problem {
            return problem;
        }
        if let Some(Kind::Word(word)) = found {
            let known = |(name, _): &&(&str, _)| name.eq_ignore_ascii_case(word);
            if let Some((name, hint)) = UNSUPPORTED.iter().find(known) {
                let what = (*name).to_owned();
                return QueryProblem::Unsupported { what, hint };
            }
        }
        let expected = match self.expected[..] {
            [] => "something else".to_owned(),
            [only] => only.to_owned(),
            [ref first @ .., last] => format!("{} or {last}", first.join(", ")),
        };
        let found = found.map_or_else(|| "the end".to_owned(), Kind::describe);
        QueryProblem::Expected { expected, found }
    }
}

impl ParserError<Tokens<'_>> for Fault {
    type Inner = Self;

    fn from_input(input: &Tokens<'_>) -> Self {
        Self {
            remaining: input.eof_offset(),
            ..Self::unknown()
        }
    }

    /// Of two alternatives the one that came further knows better.
    fn or(mut self, other: Self) -> Self {
        if self.problem.is_some() || self.remaining < other.remaining {
            return self;
        }
        if other.problem.is_some() || other.remaining < self.remaining {
            return other;
        }
        for expected in other.expected {
            if !self.expected.contains(&expected) {
                self.expected.push(expected);
            }
        }
        self
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

/// Fails for good with `problem` where `input` stands.
pub(super) fn cut<T>(input: &Tokens<'_>, problem: QueryProblem) -> Parsed<T> {
    Fault::cut(input.eof_offset(), problem)
}

/// The same parser, but where it fails at once `label` is said to be expected.
pub(super) fn expecting<'t, T>(
    label: &'static str,
    mut parser: impl Parser<Tokens<'t>, T, ErrMode<Fault>>,
) -> impl Parser<Tokens<'t>, T, ErrMode<Fault>> {
    move |input: &mut Tokens<'t>| {
        let before = input.eof_offset();
        parser.parse_next(input).map_err(|error| {
            error.map(|mut fault| {
                if fault.remaining == before && fault.problem.is_none() {
                    fault.expected = vec![label];
                }
                fault
            })
        })
    }
}

/// The kind of the next token.
pub(super) fn peek<'t>(input: &Tokens<'t>) -> Option<&'t Kind<'t>> {
    input.peek_token().map(|token| &token.kind)
}

/// Whether the two next tokens are a word and this symbol.
pub(super) fn followed_by(input: &Tokens<'_>, symbol: &str) -> bool {
    let second = input.peek_slice(input.eof_offset().min(2)).get(1);
    second.is_some_and(|token| matches!(token.kind, Kind::Symbol(found) if found == symbol))
}

pub(super) fn is_reserved(word: &str) -> bool {
    let same = |known: &&str| known.eq_ignore_ascii_case(word);
    let unsupported = UNSUPPORTED.iter().map(|(name, _)| name);
    RESERVED.iter().chain(unsupported).any(same)
}

pub(super) fn keyword<'t>(word: &'static str) -> impl Parser<Tokens<'t>, (), ErrMode<Fault>> {
    let same = move |kind: &Kind<'_>| matches!(kind, Kind::Word(found) if found.eq_ignore_ascii_case(word));
    expecting(word, token(move |kind| same(kind).then_some(())))
}

pub(super) fn symbol<'t>(symbol: &'static str) -> impl Parser<Tokens<'t>, (), ErrMode<Fault>> {
    let same = move |kind: &Kind<'_>| matches!(kind, Kind::Symbol(found) if *found == symbol);
    expecting(symbol, token(move |kind| same(kind).then_some(())))
}

/// A name: a word, or anything in double brackets.
pub(super) fn name<'t>(input: &mut Tokens<'t>) -> Parsed<&'t str> {
    token(|kind| match kind {
        Kind::Word(name) | Kind::Bracketed(name) => Some(*name),
        Kind::Number(_) | Kind::Symbol(_) | Kind::Text(_) => None,
    })
    .parse_next(input)
}

/// A number that `accept` takes.
pub(super) fn number<T>(
    input: &mut Tokens<'_>,
    accept: impl Fn(&Number) -> Option<T>,
) -> Parsed<T> {
    token(|kind| match kind {
        Kind::Number(number) => accept(number),
        _ => None,
    })
    .parse_next(input)
}

/// One token that `accept` takes.
pub(super) fn token<'t, T>(
    mut accept: impl FnMut(&'t Kind<'t>) -> Option<T>,
) -> impl Parser<Tokens<'t>, T, ErrMode<Fault>> {
    any.verify_map(move |token: &'t Token<'t>| accept(&token.kind))
}

/// Nothing follows.
pub(super) fn end<'t>(expected: &'static str) -> impl Parser<Tokens<'t>, (), ErrMode<Fault>> {
    expecting(expected, eof.void())
}
