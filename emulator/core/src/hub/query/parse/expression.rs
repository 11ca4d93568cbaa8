//! Expressions, from the loosest operator to the tightest: OR, AND, NOT, comparisons, sums,
//! products, signs. Depth is counted where a parser calls itself.

use winnow::combinator::{alt, cut_err, opt, preceded, repeat, separated};
use winnow::prelude::*;
use winnow::stream::Stream;

use super::path::{self, Scope};
use super::stream::{
    Fault, Parsed, Tokens, cut, expecting, followed_by, is_reserved, keyword, peek, symbol, token,
};
use crate::hub::query::ast::{Arithmetic, Comparison, Expression, Function, Literal};
use crate::hub::query::lex::Kind;
use crate::hub::query::problem::QueryProblem;
use crate::limits::{QUERY_DEPTH_MAX, QUERY_LIST_ITEMS_MAX};

/// Where an expression may begin.
const OPERAND: &str = "a property, a value or (";

/// Functions that Azure documents for the conditions of message routes alone.
const OF_ROUTES: [&str; 16] = [
    "ABS",
    "AS_NUMBER",
    "CEILING",
    "CONCAT",
    "EXP",
    "FLOOR",
    "INDEX_OF",
    "LENGTH",
    "LOWER",
    "POWER",
    "SIGN",
    "SQRT",
    "SQUARE",
    "SUBSTRING",
    "UPPER",
    "HAS_INTERFACE",
];

/// One more than any function takes, so that one too many is told as such.
const ARGUMENTS_MAX: usize = 3;

const AGGREGATES: [&str; 5] = ["AVG", "COUNT", "MAX", "MIN", "SUM"];

/// A whole condition.
pub(super) fn condition(input: &mut Tokens<'_>, scope: &Scope<'_>) -> Parsed<Expression> {
    Nested { scope, depth: 0 }.disjunction(input)
}

/// The parsers of one level of nesting.
#[derive(Clone, Copy)]
struct Nested<'s> {
    scope: &'s Scope<'s>,
    depth: usize,
}

impl Nested<'_> {
    /// One level deeper, if there is one.
    fn deeper(self, input: &Tokens<'_>) -> Parsed<Self> {
        if self.depth == QUERY_DEPTH_MAX {
            let limit = QUERY_DEPTH_MAX;
            return cut(input, QueryProblem::TooDeep { limit });
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }

    fn disjunction(self, input: &mut Tokens<'_>) -> Parsed<Expression> {
        let first = self.conjunction(input)?;
        let next = |input: &mut Tokens<'_>| self.conjunction(input);
        let rest: Vec<_> = repeat(0.., preceded(keyword("OR"), cut_err(next))).parse_next(input)?;
        Ok(joined(first, rest, Expression::Any))
    }

    fn conjunction(self, input: &mut Tokens<'_>) -> Parsed<Expression> {
        let first = self.negation(input)?;
        let next = |input: &mut Tokens<'_>| self.negation(input);
        let rest: Vec<_> =
            repeat(0.., preceded(keyword("AND"), cut_err(next))).parse_next(input)?;
        Ok(joined(first, rest, Expression::All))
    }

    fn negation(self, input: &mut Tokens<'_>) -> Parsed<Expression> {
        if opt(keyword("NOT")).parse_next(input)?.is_none() {
            return self.comparison(input);
        }
        let operand = self.deeper(input)?.negation(input);
        operand.map(|operand| Expression::Not(Box::new(operand)))
    }

    fn comparison(self, input: &mut Tokens<'_>) -> Parsed<Expression> {
        let left = self.sum(input)?;
        let operator = alt((
            symbol("=").value(Comparison::Equal),
            symbol("!=").value(Comparison::NotEqual),
            symbol("<").value(Comparison::Less),
            symbol("<=").value(Comparison::LessOrEqual),
            symbol(">").value(Comparison::Greater),
            symbol(">=").value(Comparison::GreaterOrEqual),
        ));
        if let Some(operator) = opt(operator).parse_next(input)? {
            let next = |input: &mut Tokens<'_>| self.sum(input);
            let right = cut_err(next).parse_next(input)?;
            return Ok(Expression::Compare(left.into(), operator, right.into()));
        }
        let membership = alt((keyword("IN").value(false), keyword("NIN").value(true)));
        let Some(negated) = opt(membership).parse_next(input)? else {
            return Ok(left);
        };
        Ok(Expression::In {
            value: left.into(),
            list: list(input)?,
            negated,
        })
    }

    fn sum(self, input: &mut Tokens<'_>) -> Parsed<Expression> {
        let operator = alt((
            symbol("+").value(Arithmetic::Plus),
            symbol("-").value(Arithmetic::Minus),
        ));
        let first = self.product(input)?;
        let next = |input: &mut Tokens<'_>| self.product(input);
        let rest: Vec<_> = repeat(0.., (operator, cut_err(next))).parse_next(input)?;
        Ok(chain(first, rest))
    }

    fn product(self, input: &mut Tokens<'_>) -> Parsed<Expression> {
        let operator = alt((
            symbol("*").value(Arithmetic::Times),
            symbol("/").value(Arithmetic::Divide),
            symbol("%").value(Arithmetic::Modulo),
        ));
        let first = self.signed(input)?;
        let next = |input: &mut Tokens<'_>| self.signed(input);
        let rest: Vec<_> = repeat(0.., (operator, cut_err(next))).parse_next(input)?;
        Ok(chain(first, rest))
    }

    fn signed(self, input: &mut Tokens<'_>) -> Parsed<Expression> {
        if opt(symbol("-")).parse_next(input)?.is_none() {
            return self.operand(input);
        }
        let operand = self.deeper(input)?.signed(input);
        operand.map(|operand| Expression::Negate(Box::new(operand)))
    }

    fn operand(self, input: &mut Tokens<'_>) -> Parsed<Expression> {
        if opt(symbol("(")).parse_next(input)?.is_some() {
            let inner = self.deeper(input)?.disjunction(input)?;
            cut_err(symbol(")")).parse_next(input)?;
            return Ok(inner);
        }
        if let Some(Kind::Symbol("[")) = peek(input) {
            let what = "a list here".to_owned();
            let hint = "; lists stand after IN and NIN";
            return cut(input, QueryProblem::Unsupported { what, hint });
        }
        match peek(input) {
            Some(Kind::Word(word)) if followed_by(input, "(") && !is_reserved(word) => {
                self.call(input, word)
            }
            _ => {
                let path = |input: &mut Tokens<'_>| path::path(input, self.scope);
                let operand = alt((
                    literal.map(Expression::Literal),
                    path.map(|(path, _)| Expression::Path(path)),
                ));
                expecting(OPERAND, operand).parse_next(input)
            }
        }
    }

    fn call(self, input: &mut Tokens<'_>, word: &str) -> Parsed<Expression> {
        let start = input.eof_offset();
        let (function, arity) = function(input, word)?;
        let inner = self.deeper(input)?;
        (token(|_| Some(())), symbol("(")).parse_next(input)?;
        let argument = |input: &mut Tokens<'_>| inner.disjunction(input);
        let arguments: Vec<_> = match peek(input) {
            Some(Kind::Symbol(")")) => Vec::new(),
            _ => separated(1..=ARGUMENTS_MAX, cut_err(argument), symbol(",")).parse_next(input)?,
        };
        cut_err(symbol(")")).parse_next(input)?;
        let fits = match function {
            Function::IsDefined => matches!(&arguments[..], [Expression::Path(_)]),
            _ => arguments.len() == arity,
        };
        if fits {
            return Ok(Expression::Call(function, arguments));
        }
        let arguments = match (function, arity) {
            (Function::IsDefined, _) => "one property",
            (_, 1) => "one argument",
            _ => "two arguments",
        };
        let function = function.name();
        Fault::cut(
            start,
            QueryProblem::Arguments {
                function,
                arguments,
            },
        )
    }
}

/// The function of that name and how many arguments it takes; underscores do not matter.
fn function(input: &Tokens<'_>, word: &str) -> Parsed<(Function, usize)> {
    let plain = |name: &str| name.replace('_', "").to_ascii_uppercase();
    let asked = plain(word);
    let mut known = Function::ALL.iter();
    if let Some((function, _, arity)) = known.find(|(_, name, _)| plain(name) == asked) {
        return Ok((*function, *arity));
    }
    let among = |names: &[&str]| names.iter().any(|name| plain(name) == asked);
    let hint = if among(&OF_ROUTES) {
        ": Azure has it in the conditions of message routes alone"
    } else if among(&AGGREGATES) {
        " in a condition; aggregates stand in SELECT"
    } else {
        ""
    };
    let what = format!("the function {word}");
    cut(input, QueryProblem::Unsupported { what, hint })
}

/// A constant.
fn literal(input: &mut Tokens<'_>) -> Parsed<Literal> {
    token(|kind| match kind {
        Kind::Number(number) => Some(Literal::Number(number.clone())),
        Kind::Text(text) => Some(Literal::Text(text.clone())),
        Kind::Word(word) if word.eq_ignore_ascii_case("true") => Some(Literal::Bool(true)),
        Kind::Word(word) if word.eq_ignore_ascii_case("false") => Some(Literal::Bool(false)),
        Kind::Word(word) if word.eq_ignore_ascii_case("null") => Some(Literal::Null),
        Kind::Word(word) if word.eq_ignore_ascii_case("undefined") => Some(Literal::Undefined),
        Kind::Bracketed(_) | Kind::Symbol(_) | Kind::Word(_) => None,
    })
    .parse_next(input)
}

/// A constant of a list, where a number may have a sign.
fn item(input: &mut Tokens<'_>) -> Parsed<Literal> {
    let minus = opt(symbol("-")).parse_next(input)?.is_some();
    let number = token(|kind| match kind {
        Kind::Number(number) => negative(number).map(Literal::Number),
        _ => None,
    });
    if minus {
        expecting("a number", number).parse_next(input)
    } else {
        expecting("a constant", literal).parse_next(input)
    }
}

fn negative(number: &serde_json::Number) -> Option<serde_json::Number> {
    match number.as_i64() {
        Some(whole) => Some(whole.checked_neg()?.into()),
        None => serde_json::Number::from_f64(-number.as_f64()?),
    }
}

/// `[constant, …]`.
fn list(input: &mut Tokens<'_>) -> Parsed<Vec<Literal>> {
    cut_err(expecting("a list in square brackets", symbol("["))).parse_next(input)?;
    let mut items = Vec::new();
    loop {
        items.push(cut_err(item).parse_next(input)?);
        if items.len() > QUERY_LIST_ITEMS_MAX {
            let limit = QUERY_LIST_ITEMS_MAX;
            let what = "constants in one list";
            return cut(input, QueryProblem::TooMany { what, limit });
        }
        if opt(symbol(",")).parse_next(input)?.is_none() {
            cut_err(symbol("]")).parse_next(input)?;
            return Ok(items);
        }
    }
}

fn joined(
    first: Expression,
    mut rest: Vec<Expression>,
    join: fn(Vec<Expression>) -> Expression,
) -> Expression {
    if rest.is_empty() {
        return first;
    }
    rest.insert(0, first);
    join(rest)
}

fn chain(first: Expression, rest: Vec<(Arithmetic, Expression)>) -> Expression {
    if rest.is_empty() {
        first
    } else {
        Expression::Chain(first.into(), rest)
    }
}
