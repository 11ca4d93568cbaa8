//! Reads a query: its clauses here, expressions and paths in the files below.

mod expression;
mod path;
mod stream;

use std::collections::BTreeSet;

use winnow::combinator::{alt, cut_err, delimited, not, opt, preceded, separated, terminated};
use winnow::prelude::*;
use winnow::stream::Stream;

use super::ast::{Collection, Column, ColumnValue, Expression, Path, Select};
use super::lex::{self, Kind, Token};
use super::problem::{QueryError, QueryProblem};
use super::{Condition, Query};
use crate::limits::{QUERY_CHARACTERS_MAX, QUERY_COLUMNS_MAX, QUERY_GROUP_PATHS_MAX};
use path::Scope;
use stream::{Fault, Parsed, Tokens, cut, end, expecting, keyword, name, peek, symbol};

/// Reads a whole query.
pub(super) fn query(text: &str) -> Result<Query, QueryError> {
    let tokens = tokens(text)?;
    let from = from_at(&tokens);
    read(text, &tokens, |input| clauses(input, &tokens[from..]))
}

/// Reads what a job asks of devices.
pub(super) fn condition(text: &str) -> Result<Condition, QueryError> {
    let tokens = tokens(text)?;
    read(text, &tokens, |input| {
        if let [only] = &tokens[..]
            && only.kind == Kind::Symbol("*")
        {
            return Ok(Condition {
                collection: Collection::Devices,
                expression: None,
            });
        }
        let Some(scope) = opt(from).parse_next(input)? else {
            let scope = Scope::new(Collection::Devices, None);
            let expression = expression::condition(input, &scope)?;
            return wanted(input, &scope, Some(expression));
        };
        let expression = filter(input, &scope)?;
        wanted(input, &scope, expression)
    })
}

fn wanted(
    input: &mut Tokens<'_>,
    scope: &Scope<'_>,
    expression: Option<Expression>,
) -> Parsed<Condition> {
    end("AND, OR or the end").parse_next(input)?;
    Ok(Condition {
        collection: scope.collection,
        expression,
    })
}

fn tokens(text: &str) -> Result<Vec<Token<'_>>, QueryError> {
    let characters = text.chars().count();
    let limit = QUERY_CHARACTERS_MAX;
    if characters > limit {
        let problem = QueryProblem::TooLong { characters, limit };
        return Err(QueryError::at(text, 0, problem));
    }
    lex::tokens(text)
}

/// Runs a parser over all tokens and says where it failed.
fn read<'t, T>(
    text: &str,
    tokens: &'t [Token<'t>],
    parse: impl FnOnce(&mut Tokens<'t>) -> Parsed<T>,
) -> Result<T, QueryError> {
    let mut input = Tokens::new(tokens);
    parse(&mut input).map_err(|error| {
        let fault = error.into_inner().unwrap_or_else(|_| Fault::unknown());
        let at = tokens.len().saturating_sub(fault.remaining());
        let found = tokens.get(at);
        let offset = found.map_or_else(|| text.trim_end().len(), |token| token.start);
        QueryError::at(text, offset, fault.problem(found.map(|token| &token.kind)))
    })
}

/// Where FROM stands: the columns before it are read in the light of it.
fn from_at(tokens: &[Token<'_>]) -> usize {
    let is_from =
        |kind: &Kind<'_>| matches!(kind, Kind::Word(word) if word.eq_ignore_ascii_case("from"));
    let after_dot = |at: usize| at > 0 && tokens[at - 1].kind == Kind::Symbol(".");
    let found = (0..tokens.len()).find(|at| is_from(&tokens[*at].kind) && !after_dot(*at));
    found.unwrap_or(tokens.len())
}

/// `SELECT [TOP n] … FROM … [WHERE …] [GROUP BY …]`; `from_on` are the tokens from FROM on.
fn clauses<'t>(input: &mut Tokens<'t>, from_on: &'t [Token<'t>]) -> Parsed<Query> {
    keyword("SELECT").parse_next(input)?;
    let top = opt(preceded(keyword("TOP"), cut_err(top))).parse_next(input)?;
    // A broken FROM is told when its turn comes.
    let ahead = from.parse_next(&mut Tokens::new(from_on));
    let scope = ahead.unwrap_or_else(|_| Scope::new(Collection::Devices, None));
    let columns = input.eof_offset();
    let select = select(input, &scope)?;
    cut_err(from).parse_next(input)?;
    let condition = filter(input, &scope)?;
    let grouped = input.eof_offset();
    let group_by = opt(preceded(
        (keyword("GROUP"), cut_err(keyword("BY"))),
        cut_err(|input: &mut Tokens<'t>| group_paths(input, &scope)),
    ))
    .parse_next(input)?
    .unwrap_or_default();
    end(if condition.is_some() {
        "AND, OR, GROUP BY or the end"
    } else {
        "WHERE, GROUP BY or the end"
    })
    .parse_next(input)?;
    check_grouping(&select, &group_by, &scope, columns, grouped)?;
    Ok(Query {
        select,
        top,
        collection: scope.collection,
        condition,
        group_by,
    })
}

fn top(input: &mut Tokens<'_>) -> Parsed<usize> {
    expecting("a whole number from 1", |input: &mut Tokens<'_>| {
        stream::number(input, |number| {
            let number = number.as_u64().filter(|number| *number > 0)?;
            usize::try_from(number).ok()
        })
    })
    .parse_next(input)
}

/// `FROM devices | devices.modules | devices.jobs`, and a name for its documents.
fn from<'t>(input: &mut Tokens<'t>) -> Parsed<Scope<'t>> {
    keyword("FROM").parse_next(input)?;
    let devices = || keyword("devices");
    let dotted = |name, collection| (devices(), symbol("."), keyword(name)).value(collection);
    let collection = alt((
        dotted("modules", Collection::Modules),
        dotted("jobs", Collection::Jobs),
        terminated(devices(), not(symbol("."))).value(Collection::Devices),
    ));
    let expected = "devices, devices.modules or devices.jobs";
    let collection = cut_err(expecting(expected, collection)).parse_next(input)?;
    let alias = alt((
        preceded(keyword("AS"), cut_err(expecting("a name", name))).map(Some),
        |input: &mut Tokens<'t>| Ok(plain_alias(input)),
    ))
    .parse_next(input)?;
    Ok(Scope::new(collection, alias))
}

/// A name that follows the collection without AS, and is no keyword.
fn plain_alias<'t>(input: &mut Tokens<'t>) -> Option<&'t str> {
    match peek(input) {
        Some(Kind::Word(word)) if !stream::is_reserved(word) => {
            input.next_token();
            Some(word)
        }
        _ => None,
    }
}

fn filter(input: &mut Tokens<'_>, scope: &Scope<'_>) -> Parsed<Option<Expression>> {
    let condition = |input: &mut Tokens<'_>| expression::condition(input, scope);
    opt(preceded(keyword("WHERE"), cut_err(condition))).parse_next(input)
}

fn select(input: &mut Tokens<'_>, scope: &Scope<'_>) -> Parsed<Select> {
    if opt(symbol("*")).parse_next(input)?.is_some() {
        return Ok(Select::All);
    }
    if scope.collection == Collection::Jobs {
        return cut(
            input,
            QueryProblem::Unsupported {
                what: "choosing columns FROM devices.jobs".to_owned(),
                hint: "; use SELECT *",
            },
        );
    }
    let mut columns: Vec<Column> = Vec::new();
    let mut names = BTreeSet::new();
    loop {
        let before = input.eof_offset();
        let column = column(input, scope)?;
        if column
            .name()
            .is_some_and(|name| !names.insert(name.to_owned()))
        {
            let name = column.name().unwrap_or_default().to_owned();
            return Fault::cut(before, QueryProblem::Duplicate(name));
        }
        columns.push(column);
        if columns.len() > QUERY_COLUMNS_MAX {
            return Fault::cut(before, too_many("columns", QUERY_COLUMNS_MAX));
        }
        if opt(symbol(",")).parse_next(input)?.is_none() {
            return Ok(Select::Columns(columns));
        }
    }
}

/// `path [AS alias]` or `aggregate(path) [AS alias]`.
fn column(input: &mut Tokens<'_>, scope: &Scope<'_>) -> Parsed<Column> {
    let aggregate = |input: &mut Tokens<'_>| aggregate(input, scope);
    let path = |input: &mut Tokens<'_>| path::path(input, scope);
    let value = alt((
        aggregate.map(|value| (value, None)),
        path.map(|(path, typed)| (ColumnValue::Path(path), typed)),
    ));
    let (value, typed) =
        cut_err(expecting("a property or an aggregate", value)).parse_next(input)?;
    let alias = preceded(keyword("AS"), cut_err(expecting("a name", name)));
    let alias = opt(alias).parse_next(input)?;
    Ok(Column {
        value,
        alias: alias.map(str::to_owned).or(typed),
    })
}

fn aggregate(input: &mut Tokens<'_>, scope: &Scope<'_>) -> Parsed<ColumnValue> {
    type Make = fn(Path) -> ColumnValue;
    let make = alt((
        keyword("AVG").value(ColumnValue::Average as Make),
        keyword("MAX").value(ColumnValue::Maximum as Make),
        keyword("MIN").value(ColumnValue::Minimum as Make),
        keyword("SUM").value(ColumnValue::Sum as Make),
    ));
    let path = |input: &mut Tokens<'_>| path::path(input, scope).map(|(path, _)| path);
    let path = cut_err(expecting("a property", path));
    let over = (make, delimited(symbol("("), path, cut_err(symbol(")"))));
    let count = (keyword("COUNT"), symbol("("), cut_err(symbol(")")));
    alt((
        count.value(ColumnValue::Count),
        over.map(|(make, path)| make(path)),
    ))
    .parse_next(input)
}

fn group_paths(input: &mut Tokens<'_>, scope: &Scope<'_>) -> Parsed<Vec<Path>> {
    let start = input.eof_offset();
    let path = |input: &mut Tokens<'_>| path::path(input, scope).map(|(path, _)| path);
    let path = expecting("a property", path);
    let paths: Vec<Path> = separated(1.., path, symbol(",")).parse_next(input)?;
    if paths.len() > QUERY_GROUP_PATHS_MAX {
        return Fault::cut(start, too_many("paths in GROUP BY", QUERY_GROUP_PATHS_MAX));
    }
    Ok(paths)
}

fn too_many(what: &'static str, limit: usize) -> QueryProblem {
    QueryProblem::TooMany { what, limit }
}

/// Whether the columns and the groups fit together. `columns` and `grouped` are where each
/// begins, in tokens from the end.
fn check_grouping(
    select: &Select,
    group_by: &[Path],
    scope: &Scope<'_>,
    columns: usize,
    grouped: usize,
) -> Parsed<()> {
    let unsupported = |what: &str, hint| QueryProblem::Unsupported {
        what: what.to_owned(),
        hint,
    };
    if !group_by.is_empty() && scope.collection == Collection::Jobs {
        return Fault::cut(grouped, unsupported("GROUP BY over devices.jobs", ""));
    }
    let chosen = match select {
        Select::All if group_by.is_empty() => return Ok(()),
        Select::All => {
            let hint = "; name the columns";
            return Fault::cut(grouped, unsupported("SELECT * with GROUP BY", hint));
        }
        Select::Columns(chosen) => chosen,
    };
    let aggregates = chosen.iter().any(|column| column.value.is_aggregate());
    let loose = chosen.iter().find_map(|column| match &column.value {
        ColumnValue::Path(path) if !group_by.contains(path) => Some(path),
        _ => None,
    });
    match loose {
        Some(path) if aggregates || !group_by.is_empty() => {
            Fault::cut(columns, QueryProblem::Ungrouped(path.to_string()))
        }
        _ => Ok(()),
    }
}
