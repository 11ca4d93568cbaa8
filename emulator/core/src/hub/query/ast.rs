//! A query as a tree. Its text form reads back as the same tree.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Number;

use super::{Condition, Query};

/// The documents a query is asked of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collection {
    /// Twins of devices.
    Devices,
    /// What became of each job on each device.
    Jobs,
    /// Twins of modules.
    Modules,
}

impl Collection {
    /// What it is called after FROM.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Devices => "devices",
            Self::Jobs => "devices.jobs",
            Self::Modules => "devices.modules",
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Select {
    All,
    Columns(Vec<Column>),
}

/// One column, and the name it goes by in a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub(super) value: ColumnValue,
    pub(super) alias: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum ColumnValue {
    Average(Path),
    Count,
    Maximum(Path),
    Minimum(Path),
    Path(Path),
    Sum(Path),
}

impl ColumnValue {
    pub(super) fn is_aggregate(&self) -> bool {
        !matches!(self, Self::Path(_))
    }
}

impl Column {
    /// The name the column goes by, if it has one: its alias, or the last name of its path.
    pub(super) fn name(&self) -> Option<&str> {
        match (&self.alias, &self.value) {
            (Some(alias), _) => Some(alias),
            (None, ColumnValue::Path(path)) => match path.0.last() {
                Some(Segment::Name(name)) => Some(name),
                Some(Segment::Index(_)) | None => None,
            },
            (None, _) => None,
        }
    }
}

/// Where a value stands in a document. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path(pub(super) Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    Index(usize),
    Name(String),
}

impl Path {
    /// Whether it is the one name `name`, in any case.
    fn is(&self, name: &str) -> bool {
        matches!(&self.0[..], [Segment::Name(only)] if only.eq_ignore_ascii_case(name))
    }
}

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Bool(bool),
    Null,
    Number(Number),
    Text(String),
    Undefined,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    NotEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Divide,
    Minus,
    Modulo,
    Plus,
    Times,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Contains,
    EndsWith,
    IsArray,
    IsBool,
    IsDefined,
    IsNull,
    IsNumber,
    IsObject,
    IsPrimitive,
    IsString,
    StartsWith,
}

/// Something with a value. Chains are flat, so that a long one is not a deep one.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    /// All of these, joined by AND.
    All(Vec<Expression>),
    /// Any of these, joined by OR.
    Any(Vec<Expression>),
    Call(Function, Vec<Expression>),
    /// From left to right.
    Chain(Box<Expression>, Vec<(Arithmetic, Expression)>),
    Compare(Box<Expression>, Comparison, Box<Expression>),
    In {
        value: Box<Expression>,
        list: Vec<Literal>,
        negated: bool,
    },
    Literal(Literal),
    Negate(Box<Expression>),
    Not(Box<Expression>),
    Path(Path),
}

impl Expression {
    /// The device ids outside of which it cannot hold, if it says so much.
    pub(super) fn device_ids(&self) -> Option<BTreeSet<&str>> {
        self.texts_of("deviceId")
    }

    /// The job ids outside of which it cannot hold, if it says so much.
    pub(super) fn job_ids(&self) -> Option<BTreeSet<&str>> {
        self.texts_of("jobId")
    }

    /// The texts one of which the property `name` must be.
    fn texts_of(&self, name: &str) -> Option<BTreeSet<&str>> {
        let named = |expression: &Self| matches!(expression, Self::Path(path) if path.is(name));
        let text = |literal: &'_ Literal| match literal {
            Literal::Text(_) => true,
            Literal::Bool(_) | Literal::Null | Literal::Number(_) | Literal::Undefined => false,
        };
        match self {
            Self::Compare(left, Comparison::Equal, right) => match (&**left, &**right) {
                (side, Self::Literal(literal)) | (Self::Literal(literal), side)
                    if named(side) && text(literal) =>
                {
                    Some(literal.as_text().into_iter().collect())
                }
                _ => None,
            },
            Self::In {
                value,
                list,
                negated: false,
            } if named(value) => Some(list.iter().filter_map(Literal::as_text).collect()),
            Self::All(parts) => parts
                .iter()
                .filter_map(|part| part.texts_of(name))
                .reduce(|left, right| left.intersection(&right).copied().collect()),
            Self::Any(parts) => {
                let all: Option<Vec<_>> = parts.iter().map(|part| part.texts_of(name)).collect();
                Some(all?.into_iter().flatten().collect())
            }
            _ => None,
        }
    }
}

impl Literal {
    fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bool(_) | Self::Null | Self::Number(_) | Self::Undefined => None,
        }
    }
}

impl Comparison {
    pub(super) const fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::NotEqual => "!=",
        }
    }
}

impl Arithmetic {
    pub(super) const fn symbol(self) -> &'static str {
        match self {
            Self::Divide => "/",
            Self::Minus => "-",
            Self::Modulo => "%",
            Self::Plus => "+",
            Self::Times => "*",
        }
    }
}

impl Function {
    /// Every function with its name and how many arguments it takes.
    pub(super) const ALL: [(Self, &'static str, usize); 11] = [
        (Self::Contains, "CONTAINS", 2),
        (Self::EndsWith, "ENDSWITH", 2),
        (Self::IsArray, "IS_ARRAY", 1),
        (Self::IsBool, "IS_BOOL", 1),
        (Self::IsDefined, "IS_DEFINED", 1),
        (Self::IsNull, "IS_NULL", 1),
        (Self::IsNumber, "IS_NUMBER", 1),
        (Self::IsObject, "IS_OBJECT", 1),
        (Self::IsPrimitive, "IS_PRIMITIVE", 1),
        (Self::IsString, "IS_STRING", 1),
        (Self::StartsWith, "STARTSWITH", 2),
    ];

    pub(super) fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(function, ..)| *function == self);
        found.map_or("", |(_, name, _)| name)
    }
}

// === text form ===

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SELECT ")?;
        if let Some(top) = self.top {
            write!(f, "TOP {top} ")?;
        }
        match &self.select {
            Select::All => f.write_str("*")?,
            Select::Columns(columns) => joined(f, columns, ", ")?,
        }
        write!(f, " FROM {}", self.collection.name())?;
        if let Some(condition) = &self.condition {
            write!(f, " WHERE {condition}")?;
        }
        if !self.group_by.is_empty() {
            f.write_str(" GROUP BY ")?;
            joined(f, &self.group_by, ", ")?;
        }
        Ok(())
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.expression, self.collection) {
            (None, Collection::Devices) => f.write_str("*"),
            (None, collection) => write!(f, "FROM {}", collection.name()),
            (Some(expression), collection) => {
                write!(f, "FROM {} WHERE {expression}", collection.name())
            }
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            ColumnValue::Average(path) => write!(f, "AVG({path})"),
            ColumnValue::Count => f.write_str("COUNT()"),
            ColumnValue::Maximum(path) => write!(f, "MAX({path})"),
            ColumnValue::Minimum(path) => write!(f, "MIN({path})"),
            ColumnValue::Path(path) => write!(f, "{path}"),
            ColumnValue::Sum(path) => write!(f, "SUM({path})"),
        }?;
        match &self.alias {
            Some(alias) => write!(f, " AS [[{alias}]]"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(at) => write!(f, "[{at}]")?,
                // What double brackets cannot hold; never the first name of a path.
                Segment::Name(name)
                    if name.is_empty() || name.ends_with(']') || name.contains("]]") =>
                {
                    write!(f, "[{}]", quoted(name))?;
                }
                Segment::Name(name) => {
                    write!(f, "{}[[{name}]]", if index > 0 { "." } else { "" })?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Null => f.write_str("null"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Undefined => f.write_str("undefined"),
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(parts) => group(f, parts, " AND "),
            Self::Any(parts) => group(f, parts, " OR "),
            Self::Call(function, arguments) => {
                f.write_str(function.name())?;
                group(f, arguments, ", ")
            }
            Self::Chain(first, rest) => {
                write!(f, "({first}")?;
                for (operator, operand) in rest {
                    write!(f, " {} {operand}", operator.symbol())?;
                }
                f.write_str(")")
            }
            Self::Compare(left, operator, right) => {
                write!(f, "({left} {} {right})", operator.symbol())
            }
            Self::In {
                value,
                list,
                negated,
            } => {
                write!(f, "({value} {} [", if *negated { "NIN" } else { "IN" })?;
                joined(f, list, ", ")?;
                f.write_str("])")
            }
            Self::Literal(literal) => write!(f, "{literal}"),
            Self::Negate(operand) => write!(f, "(- {operand})"),
            Self::Not(operand) => write!(f, "(NOT {operand})"),
            Self::Path(path) => write!(f, "{path}"),
        }
    }
}

fn group(f: &mut fmt::Formatter<'_>, parts: &[Expression], between: &str) -> fmt::Result {
    f.write_str("(")?;
    joined(f, parts, between)?;
    f.write_str(")")
}

fn joined<T: fmt::Display>(f: &mut fmt::Formatter<'_>, parts: &[T], between: &str) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        write!(f, "{part}")?;
    }
    Ok(())
}

/// The text as a string literal.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("'");
    for character in text.chars() {
        if character == '\'' || character == '\\' {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('\'');
    quoted
}
