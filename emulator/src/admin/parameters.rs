//! The query of an admin request, read strictly: what is wrong is named.

use std::str::FromStr;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::limits::EVENT_STREAMS_MAX;

/// Why a stream does not begin.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// A parameter is not as it should be: its name, and what was expected.
    Wrong(String),
    /// As many streams are open as may be.
    Full,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::Wrong(problem) => (StatusCode::BAD_REQUEST, problem + "\n").into_response(),
            Self::Full => {
                let text =
                    format!("{EVENT_STREAMS_MAX} event streams are open, which is the most\n");
                (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
            }
        }
    }
}

/// Parameters nobody has asked for yet.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// The parameter of that name, which may be there once.
    pub(super) fn take(&mut self, name: &str) -> Result<Option<String>, Refused> {
        let (mut found, others): (Vec<_>, _) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(known, _)| known == name);
        self.0 = others;
        let value = found.pop().map(|(_, value)| value);
        if found.is_empty() {
            Ok(value)
        } else {
            Err(Refused::Wrong(format!("{name}: is there more than once")))
        }
    }

    /// The same, read.
    pub(super) fn read<T: FromStr>(
        &mut self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, Refused> {
        let Some(text) = self.take(name)? else {
            return Ok(None);
        };
        let read = text.parse();
        read.map(Some)
            .map_err(|_| Refused::Wrong(format!("{name}: expected {expected}, not {text:?}")))
    }

    /// Fails if anything is left.
    pub(super) fn end(self) -> Result<(), Refused> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Refused::Wrong(format!("{name}: is no parameter here"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(pairs: &[(&str, &str)]) -> Parameters {
        let owned = pairs
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
        Parameters::new(owned.collect())
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut given = parameters(&[("limit", "x"), ("limit", "2"), ("n", "-1"), ("who", "")]);
        let problem = |refused| match refused {
            Refused::Wrong(problem) => problem,
            Refused::Full => String::new(),
        };
        let twice = given.take("limit").map_err(problem);
        assert_eq!(twice, Err("limit: is there more than once".to_owned()));
        let number = given.read::<u64>("n", "a number").map_err(problem);
        assert_eq!(number, Err("n: expected a number, not \"-1\"".to_owned()));
        assert_eq!(given.take("absent").map_err(problem), Ok(None));
        let left = given.end().map_err(problem);
        assert_eq!(left, Err("who: is no parameter here".to_owned()));
        let mut good = parameters(&[("limit", "2")]);
        assert_eq!(good.read("limit", "a number"), Ok(Some(2)));
        assert_eq!(good.end(), Ok(()));
    }
}
