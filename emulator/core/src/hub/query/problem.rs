//! What is wrong with a query, and where.

/// The first thing that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Line {line}:{column} {problem}")]
pub struct QueryError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: QueryProblem,
}

impl QueryError {
    /// A problem at the byte `offset` of `text`.
    pub(super) fn at(text: &str, offset: usize, problem: QueryProblem) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line,
            column: before[start..].chars().count() + 1,
            problem,
        }
    }
}

/// What is wrong with a query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryProblem {
    /// A function with the wrong number of arguments.
    #[error("{function} takes {arguments}")]
    Arguments {
        /// The function.
        function: &'static str,
        /// What it takes.
        arguments: &'static str,
    },
    /// A character that begins nothing.
    #[error("unexpected character {0:?}")]
    Character(char),
    /// Two columns of one name.
    #[error("two columns are called {0:?}; name one of them with AS")]
    Duplicate(String),
    /// An escape the language does not have.
    #[error("unknown escape {0:?}; there are \\', \\\", \\\\ and \\u with four digits")]
    Escape(String),
    /// Something else should stand here.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What should stand here.
        expected: String,
        /// What does.
        found: String,
    },
    /// A path that leads out of the collection.
    #[error("{0} does not belong to the collection the query is FROM")]
    Foreign(String),
    /// A number that is not one, or beyond every bound.
    #[error("{0:?} is no number")]
    Number(String),
    /// A text longer than the bound.
    #[error("a query of {characters} characters is over {limit}")]
    TooLong {
        /// Characters found.
        characters: usize,
        /// Characters allowed.
        limit: usize,
    },
    /// Nested deeper than the bound.
    #[error("nested deeper than {limit}")]
    TooDeep {
        /// Levels allowed.
        limit: usize,
    },
    /// More of something than the bound.
    #[error("more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// A string or a name in brackets without an end.
    #[error("{0} without an end")]
    Unclosed(&'static str),
    /// A column that is neither an aggregate nor what the rows are grouped by.
    #[error("{0} stands beside an aggregate and is not in GROUP BY")]
    Ungrouped(String),
    /// Something Azure's language does not have, or not here.
    #[error("{what} is not supported{hint}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// What to do instead, or why.
        hint: &'static str,
    },
}
