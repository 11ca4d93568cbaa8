//! The query language: what a back end asks of twins and of jobs (R-G36).
//!
//! A text is read once into a [`Query`] or, for a job, a [`Condition`]; both are asked of one
//! JSON document after another, as the service API shows them.
//! Reading bounds everything, so asking needs no bound of its own and cannot fail.
//!
//! What Azure documents for message routes alone (arithmetic and string functions) is refused
//! by name, and so is what the language does not have (JOIN, ORDER BY and the like).

mod aggregate;
mod ast;
mod evaluate;
mod lex;
mod parse;
mod problem;
mod project;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::Value;

pub use aggregate::{Groups, TooManyGroups};
pub use ast::Collection;
pub use problem::{QueryError, QueryProblem};

use ast::{Expression, Path, Select};

/// What the rows of a query are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Documents of the collection, whole.
    Documents,
    /// Objects of chosen columns, one for each document.
    Projections,
    /// Objects of chosen columns, one for each group of documents; see [`Groups`].
    Groups,
}

/// A query within all bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    select: Select,
    top: Option<usize>,
    collection: Collection,
    condition: Option<Expression>,
    group_by: Vec<Path>,
}

/// What a job asks of the devices it is for: all, or those of a WHERE clause.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    collection: Collection,
    expression: Option<Expression>,
}

// === impl Query ===

impl Query {
    /// Reads `SELECT … FROM … [WHERE …] [GROUP BY …]`.
    ///
    /// # Errors
    /// [`QueryError`] with line and column of the first thing that is not understood.
    ///
    /// Source: behaviour.md R-G36; Microsoft's reference of the query language.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        parse::query(text)
    }

    /// Which documents it is asked of.
    #[must_use]
    pub fn collection(&self) -> Collection {
        self.collection
    }

    /// What its rows are.
    #[must_use]
    pub fn rows(&self) -> Rows {
        match &self.select {
            Select::All => Rows::Documents,
            Select::Columns(columns) => {
                let aggregate = columns.iter().any(|column| column.value.is_aggregate());
                if aggregate || !self.group_by.is_empty() {
                    Rows::Groups
                } else {
                    Rows::Projections
                }
            }
        }
    }

    /// How many rows it wants at most.
    #[must_use]
    pub fn top(&self) -> Option<usize> {
        self.top
    }

    /// Whether the document is among those asked for: its condition is `true`, nothing less.
    #[must_use]
    pub fn matches(&self, document: &Value) -> bool {
        holds(self.condition.as_ref(), document)
    }

    /// The row that a document gives; whole unless columns are chosen.
    #[must_use]
    pub fn row(&self, document: Value) -> Value {
        match &self.select {
            Select::All => document,
            Select::Columns(columns) => project::row(columns, &document),
        }
    }

    /// The ids outside of which no document can match, if the condition says so much.
    #[must_use]
    pub fn device_ids(&self) -> Option<BTreeSet<&str>> {
        self.condition.as_ref().and_then(Expression::device_ids)
    }

    /// The ids of jobs outside of which no document can match, if the condition says so much.
    #[must_use]
    pub fn job_ids(&self) -> Option<BTreeSet<&str>> {
        self.condition.as_ref().and_then(Expression::job_ids)
    }
}

// === impl Condition ===

impl Condition {
    /// Reads a job's `queryCondition`: `*`, a WHERE clause without its first word, or
    /// `FROM devices WHERE …`.
    ///
    /// # Errors
    /// [`QueryError`] with line and column of the first thing that is not understood.
    ///
    /// Source: behaviour.md R-G32.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        parse::condition(text)
    }

    /// Which documents it is asked of.
    #[must_use]
    pub fn collection(&self) -> Collection {
        self.collection
    }

    /// Whether it lets every document through.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.expression.is_none()
    }

    /// Whether the document is among those asked for.
    #[must_use]
    pub fn matches(&self, document: &Value) -> bool {
        holds(self.expression.as_ref(), document)
    }

    /// The ids outside of which no document can match, if the condition says so much.
    #[must_use]
    pub fn device_ids(&self) -> Option<BTreeSet<&str>> {
        self.expression.as_ref().and_then(Expression::device_ids)
    }
}

fn holds(condition: Option<&Expression>, document: &Value) -> bool {
    condition.is_none_or(|condition| evaluate::truth(condition, document) == Some(true))
}
