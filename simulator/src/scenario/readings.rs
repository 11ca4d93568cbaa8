//! Reads `[settings]` and `[matrix]`: names and values are held to what the emulator knows.

use std::collections::BTreeMap;

use toml::{Spanned, Value};

use super::check::{Checked, at};
use super::place::Source;
use crate::matrix::{self, Matrix};
use crate::readings::{self, Readings};

/// Settings as they are written.
pub(super) type RawSettings = BTreeMap<Spanned<String>, Spanned<Value>>;
/// Settings with the values to try, as they are written.
pub(super) type RawMatrix = BTreeMap<Spanned<String>, Spanned<Vec<Value>>>;

pub(super) fn settings(source: Source<'_>, raw: &RawSettings) -> Checked<Readings> {
    let mut settings = Readings::new();
    for (name, value) in raw {
        known(source, name)?;
        readings::check(name.get_ref(), value.get_ref())
            .map_err(|message| at(source, value, message))?;
        settings.insert(name.get_ref().clone(), value.get_ref().clone());
    }
    Ok(settings)
}

pub(super) fn matrix(source: Source<'_>, raw: &RawMatrix, base: &Readings) -> Checked<Matrix> {
    let mut matrix = Matrix::new();
    for (name, values) in raw {
        known(source, name)?;
        if values.get_ref().len() < 2 {
            let message = "a matrix compares: list at least two values";
            return Err(at(source, values, message));
        }
        for value in values.get_ref() {
            readings::check(name.get_ref(), value)
                .map_err(|message| at(source, values, message))?;
        }
        matrix.insert(name.get_ref().clone(), values.get_ref().clone());
        matrix::combinations(base, &matrix).map_err(|message| at(source, values, message))?;
    }
    Ok(matrix)
}

fn known(source: Source<'_>, name: &Spanned<String>) -> Checked<()> {
    readings::find(name.get_ref())
        .map(|_| ())
        .map_err(|message| at(source, name, message))
}
