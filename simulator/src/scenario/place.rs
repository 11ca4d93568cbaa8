//! Turns an offset in a scenario file into the line and the field an author looks for.

use std::fmt;

use super::suggest::suggestion;

/// A mistake in a scenario file, with the place of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ScenarioError {
    /// The file, or the name of an embedded scenario.
    pub file: String,
    /// Line from 1, where it is known.
    pub line: Option<usize>,
    /// The field, such as `step[3].primary`; empty where it is not known.
    pub field: String,
    /// What was found, what was expected, and what would do.
    pub message: String,
    /// The name that was probably meant, where one is unknown.
    pub suggestion: Option<String>,
}

impl ScenarioError {
    /// A mistake, with what was probably meant.
    pub(super) fn new(file: &str, line: Option<usize>, field: String, message: String) -> Self {
        Self {
            file: file.to_owned(),
            line,
            field,
            suggestion: suggestion(&message),
            message,
        }
    }
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.suggestion {
            Some(name) => write!(f, "; did you mean `{name}`?"),
            None => Ok(()),
        }
    }
}

/// The text of a file, for pointing into it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    /// Path or name.
    pub(super) file: &'a str,
    /// Content.
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// An error at byte `offset`.
    pub(super) fn error_at(&self, offset: usize, message: impl Into<String>) -> ScenarioError {
        let offset = offset.min(self.text.len());
        let (line, field) = (self.line(offset), self.field(offset));
        ScenarioError::new(self.file, Some(line), field, message.into())
    }

    /// The line of byte `offset`, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        1 + self
            .text
            .as_bytes()
            .iter()
            .take(offset)
            .filter(|&&byte| byte == b'\n')
            .count()
    }

    /// The field that `offset` lies in: the table it is in, and the key of its line.
    ///
    /// Reads headers and keys only, so it serves files that do not parse as well.
    fn field(&self, offset: usize) -> String {
        let mut table = Table::default();
        let mut start = 0;
        for line in self.text.split_inclusive('\n') {
            let end = start + line.len();
            table.enter(line);
            if offset < end {
                return table.with_key(line, offset - start);
            }
            start = end;
        }
        table.path
    }
}

/// The table a line belongs to; arrays count their headers from 1, as people do.
#[derive(Default)]
struct Table {
    path: String,
    /// The key of the last line that has one, for the lines of its value.
    key: String,
    counts: Vec<(String, usize)>,
}

impl Table {
    fn enter(&mut self, line: &str) {
        let line = line.trim();
        if let Some(name) = line
            .strip_prefix("[[")
            .and_then(|rest| rest.split("]]").next())
        {
            let name = name.trim();
            let position = self.counts.iter().position(|(known, _)| known == name);
            let position = position.unwrap_or_else(|| {
                self.counts.push((name.to_owned(), 0));
                self.counts.len() - 1
            });
            self.counts[position].1 += 1;
            self.path = format!("{name}[{}]", self.counts[position].1);
        } else if line.starts_with('[') && !line.contains('=') && line.ends_with(']') {
            // A continued array may begin a line with `[` as well; it never names a table.
            let name = line.trim_matches(['[', ']']);
            if name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
            {
                self.path = name.to_owned();
            }
        } else if !line.starts_with('{') {
            self.key = key_before(line, 0).unwrap_or_default().to_owned();
        }
    }

    /// The field at `column` of `line`. A line of a longer value belongs to the key before it.
    fn with_key(&self, line: &str, column: usize) -> String {
        let continued = line.trim_start().starts_with('{');
        let inside = line.find('=').is_some_and(|equals| column > equals);
        let mut parts = vec![self.path.as_str()];
        if continued {
            parts.push(&self.key);
        }
        if inside || !continued {
            parts.extend(key_before(line, column));
        }
        parts.retain(|part| !part.is_empty());
        parts.join(".")
    }
}

/// The key nearest before column `up_to`, or the first of the line.
fn key_before(line: &str, up_to: usize) -> Option<&str> {
    let before = line.get(..up_to).unwrap_or(line);
    let head = match before.rfind('=') {
        Some(equals) => &line[..equals],
        None => &line[..line.find('=')?],
    };
    let head = head.trim_end();
    let start = head.rfind(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c)));
    let key = &head[start.map_or(0, |position| position + 1)..];
    (!key.is_empty() && !line.trim_start().starts_with('#')).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_becomes_line_and_field() {
        let text = "name = \"x\"\n[fleet]\nawake = [ { from = \"0d\" } ]\n\n[[step]]\n\
                    at = \"0d\"\n[[step]]\ndo = \"audit\"\nprimary = \"nobody\"\n";
        let source = Source {
            file: "f.toml",
            text,
        };
        let table = [
            ("\"x\"", "f.toml:1: name: m"),
            ("\"0d\" }", "f.toml:3: fleet.from: m"),
            ("\"audit\"", "f.toml:8: step[2].do: m"),
            ("\"nobody\"", "f.toml:9: step[2].primary: m"),
        ];
        for (needle, expected) in table {
            let offset = text.find(needle).unwrap();
            assert_eq!(source.error_at(offset, "m").to_string(), expected);
        }
    }
}
