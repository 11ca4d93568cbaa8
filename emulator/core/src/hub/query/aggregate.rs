//! Rows that stand for many documents: aggregates, with or without GROUP BY.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use aws_lc_rs::digest;
use serde_json::{Map, Number, Value};

use super::ast::{Column, ColumnValue, Path, Select};
use super::project::Names;
use super::{Query, evaluate};
use crate::limits::QUERY_GROUPS_MAX;

/// A query made more groups than [`QUERY_GROUPS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("GROUP BY makes more than {QUERY_GROUPS_MAX} groups")]
pub struct TooManyGroups;

/// The groups of a query, which take in one document after another.
#[derive(Debug)]
pub struct Groups<'q> {
    query: &'q Query,
    columns: &'q [Column],
    groups: BTreeMap<String, Group>,
}

/// One group: what its documents have in common, and what is known of the rest.
#[derive(Debug)]
struct Group {
    shared: Vec<Option<(String, Value)>>,
    tallies: Vec<Tally>,
}

/// What one column needs to know of the documents so far.
#[derive(Clone, Debug, Default)]
struct Tally {
    documents: u64,
    values: u64,
    sum: f64,
    /// Something that is no number was among the values.
    mixed: bool,
    least: Option<Value>,
    greatest: Option<Value>,
}

impl<'q> Groups<'q> {
    /// No groups yet. A query without GROUP BY has one in any case.
    #[must_use]
    pub fn new(query: &'q Query) -> Self {
        let columns: &[Column] = match &query.select {
            Select::All => &[],
            Select::Columns(columns) => columns,
        };
        let mut groups = BTreeMap::new();
        if query.group_by.is_empty() {
            groups.insert(key(&[]), Group::new(columns, Vec::new()));
        }
        Self {
            query,
            columns,
            groups,
        }
    }

    /// Takes in a document that the query's condition lets through.
    ///
    /// # Errors
    /// [`TooManyGroups`] if it would need one group more than the bound.
    ///
    /// Source: behaviour.md R-G36.
    pub fn add(&mut self, document: &Value) -> Result<(), TooManyGroups> {
        let shared: Vec<_> = self
            .query
            .group_by
            .iter()
            .map(|path| evaluate::find(document, path))
            .map(|found| found.map(|(name, value)| (name.to_owned(), value.clone())))
            .collect();
        let full = self.groups.len() >= QUERY_GROUPS_MAX;
        let group = match self.groups.entry(key(&shared)) {
            Entry::Occupied(occupied) => occupied.into_mut(),
            Entry::Vacant(_) if full => return Err(TooManyGroups),
            Entry::Vacant(vacant) => vacant.insert(Group::new(self.columns, shared)),
        };
        for (tally, column) in group.tallies.iter_mut().zip(self.columns) {
            tally.add(column, document);
        }
        Ok(())
    }

    /// The rows by their keys, which are in order and stay the same from one call to the next.
    pub fn rows(&self) -> impl Iterator<Item = (&str, Value)> {
        let group_by = &self.query.group_by;
        let row = |group: &Group| group.row(self.columns, group_by);
        self.groups
            .iter()
            .map(move |(key, group)| (key.as_str(), row(group)))
    }
}

impl Group {
    fn new(columns: &[Column], shared: Vec<Option<(String, Value)>>) -> Self {
        Self {
            shared,
            tallies: vec![Tally::default(); columns.len()],
        }
    }

    fn row(&self, columns: &[Column], group_by: &[Path]) -> Value {
        let mut row = Map::new();
        let mut names = Names::default();
        for (column, tally) in columns.iter().zip(&self.tallies) {
            let shared = match &column.value {
                ColumnValue::Path(path) => {
                    let at = group_by.iter().position(|known| known == path);
                    at.and_then(|at| self.shared.get(at)?.as_ref())
                }
                _ => None,
            };
            let name = names.of(column, shared.map(|(name, _)| name.as_str()));
            let value = match shared {
                Some((_, value)) => Some(value.clone()),
                None => tally.value(&column.value),
            };
            if let Some(value) = value {
                row.insert(name, value);
            }
        }
        Value::Object(row)
    }
}

impl Tally {
    fn add(&mut self, column: &Column, document: &Value) {
        self.documents += 1;
        let path = match &column.value {
            ColumnValue::Average(path)
            | ColumnValue::Maximum(path)
            | ColumnValue::Minimum(path)
            | ColumnValue::Sum(path) => path,
            ColumnValue::Count | ColumnValue::Path(_) => return,
        };
        let Some((_, value)) = evaluate::find(document, path) else {
            return;
        };
        self.values += 1;
        match value.as_f64() {
            Some(number) => self.sum += number,
            None => self.mixed = true,
        }
        if evaluate::primitive(value) {
            let less = |held: &Value| evaluate::total_order(value, held).is_lt();
            if self.least.as_ref().is_none_or(less) {
                self.least = Some(value.clone());
            }
            let greater = |held: &Value| evaluate::total_order(value, held).is_gt();
            if self.greatest.as_ref().is_none_or(greater) {
                self.greatest = Some(value.clone());
            }
        }
    }

    /// What the column says; nothing where there is nothing to say. Sums and averages are of
    /// numbers alone (assumed: one value that is none leaves them undefined).
    fn value(&self, column: &ColumnValue) -> Option<Value> {
        let numeric = self.values > 0 && !self.mixed;
        #[expect(clippy::cast_precision_loss, reason = "there are never 2^52 documents")]
        let values = self.values as f64;
        match column {
            ColumnValue::Average(_) => numeric.then(|| plain(self.sum / values)).flatten(),
            ColumnValue::Count => Some(self.documents.into()),
            ColumnValue::Maximum(_) => self.greatest.clone(),
            ColumnValue::Minimum(_) => self.least.clone(),
            ColumnValue::Path(_) => None,
            ColumnValue::Sum(_) => numeric.then(|| plain(self.sum)).flatten(),
        }
    }
}

/// A whole number without a fraction, as the documents themselves write it.
fn plain(number: f64) -> Option<Value> {
    #[expect(clippy::cast_possible_truncation, reason = "only where it is exact")]
    if number.fract() == 0.0 && number.abs() < 9e15 {
        return Some((number as i64).into());
    }
    Number::from_f64(number).map(Value::Number)
}

/// A text that tells groups apart and orders them. A long one is cut, with a digest of the rest.
fn key(shared: &[Option<(String, Value)>]) -> String {
    let undefined = || Value::Array(Vec::new());
    let defined = |value: &Value| Value::Array(vec![normal(value)]);
    let parts = shared.iter().map(|part| match part {
        Some((_, value)) => defined(value),
        None => undefined(),
    });
    let text = Value::from_iter(parts).to_string();
    const LONG: usize = 200;
    if text.len() <= LONG {
        return text;
    }
    let cut = (0..=LONG).rev().find(|at| text.is_char_boundary(*at));
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let mut key = text[..cut.unwrap_or(0)].to_owned();
    for byte in digest.as_ref() {
        key.push_str(&format!("{byte:02x}"));
    }
    key
}

/// 1 and 1.0 are one group.
fn normal(value: &Value) -> Value {
    match value.as_f64() {
        Some(number) if value.is_f64() => plain(number).unwrap_or_else(|| value.clone()),
        _ => value.clone(),
    }
}
