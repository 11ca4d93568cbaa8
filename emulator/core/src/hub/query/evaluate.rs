//! What an expression is worth in a document.
//!
//! A property that is not there is *undefined*, and so is whatever is made of it; a condition
//! that ends undefined does not hold.
//! Values of different types are different, and neither is less than the other; objects and
//! arrays are compared with nothing (the reference: "comparisons are supported only between
//! primitive types").

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::ast::{Arithmetic, Comparison, Expression, Function, Literal, Path, Segment};

/// Whether the condition holds; `None` where that is undefined.
pub(super) fn truth(condition: &Expression, document: &Value) -> Option<bool> {
    match condition {
        Expression::All(parts) => settled(parts, document, false),
        Expression::Any(parts) => settled(parts, document, true),
        Expression::Call(function, arguments) => called(*function, arguments, document),
        Expression::Compare(left, operator, right) => {
            let (left, right) = (value(left, document)?, value(right, document)?);
            compared(&left, *operator, &right)
        }
        Expression::In {
            value: wanted,
            list,
            negated,
        } => {
            let wanted = value(wanted, document)?;
            let same = |item: &Literal| compared(&wanted, Comparison::Equal, &*constant(item)?);
            primitive(&wanted).then(|| list.iter().any(|item| same(item) == Some(true)) != *negated)
        }
        Expression::Not(operand) => truth(operand, document).map(|truth| !truth),
        Expression::Chain(..)
        | Expression::Literal(_)
        | Expression::Negate(_)
        | Expression::Path(_) => value(condition, document)?.as_bool(),
    }
}

/// AND and OR: one part that is `decisive` settles it; else one that is undefined does.
fn settled(parts: &[Expression], document: &Value, decisive: bool) -> Option<bool> {
    let mut result = Some(!decisive);
    for part in parts {
        match truth(part, document) {
            Some(truth) if truth == decisive => return Some(decisive),
            Some(_) => {}
            None => result = None,
        }
    }
    result
}

/// The value of an expression; `None` is undefined.
fn value<'a>(expression: &'a Expression, document: &'a Value) -> Option<Cow<'a, Value>> {
    match expression {
        Expression::Path(path) => find(document, path).map(|(_, found)| Cow::Borrowed(found)),
        Expression::Literal(literal) => constant(literal),
        Expression::Chain(first, rest) => {
            let first = number(first, document)?;
            let last = rest.iter().try_fold(first, |left, (operator, right)| {
                Some(computed(left, *operator, number(right, document)?))
            })?;
            Number::from_f64(last).map(|number| Cow::Owned(Value::Number(number)))
        }
        Expression::Negate(operand) => {
            let negated = Number::from_f64(-number(operand, document)?)?;
            Some(Cow::Owned(Value::Number(negated)))
        }
        Expression::All(_)
        | Expression::Any(_)
        | Expression::Call(..)
        | Expression::Compare(..)
        | Expression::In { .. }
        | Expression::Not(_) => truth(expression, document).map(|truth| Cow::Owned(truth.into())),
    }
}

fn constant(literal: &Literal) -> Option<Cow<'static, Value>> {
    let value = match literal {
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Null => Value::Null,
        Literal::Number(number) => Value::Number(number.clone()),
        Literal::Text(text) => Value::String(text.clone()),
        Literal::Undefined => return None,
    };
    Some(Cow::Owned(value))
}

fn number(expression: &Expression, document: &Value) -> Option<f64> {
    value(expression, document)?.as_f64()
}

/// A result that is no number, such as that of a division by zero, ends undefined.
fn computed(left: f64, operator: Arithmetic, right: f64) -> f64 {
    match operator {
        Arithmetic::Divide => left / right,
        Arithmetic::Minus => left - right,
        Arithmetic::Modulo => left % right,
        Arithmetic::Plus => left + right,
        Arithmetic::Times => left * right,
    }
}

pub(super) fn primitive(value: &Value) -> bool {
    !value.is_object() && !value.is_array()
}

fn compared(left: &Value, operator: Comparison, right: &Value) -> Option<bool> {
    if !primitive(left) || !primitive(right) {
        return None;
    }
    let order = order(left, right);
    match operator {
        Comparison::Equal => Some(order == Some(Ordering::Equal)),
        Comparison::NotEqual => Some(order != Some(Ordering::Equal)),
        Comparison::Greater => order.map(Ordering::is_gt),
        Comparison::GreaterOrEqual => order.map(Ordering::is_ge),
        Comparison::Less => order.map(Ordering::is_lt),
        Comparison::LessOrEqual => order.map(Ordering::is_le),
    }
}

/// The order of two primitive values of one type; none between types.
fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => numeric_order(left, right),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

/// Whole numbers are compared exactly, beyond what a float can tell apart.
fn numeric_order(left: &Number, right: &Number) -> Option<Ordering> {
    let whole = |number: &Number| {
        let negative = number.as_i64().map(i128::from);
        negative.or_else(|| number.as_u64().map(i128::from))
    };
    match (whole(left), whole(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

/// The order of any two primitive values, as MIN and MAX need one: null, then booleans,
/// numbers and strings.
pub(super) fn total_order(left: &Value, right: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) | Value::Object(_) => 4,
    };
    let same_type = || order(left, right).unwrap_or(Ordering::Equal);
    rank(left).cmp(&rank(right)).then_with(same_type)
}

fn called(function: Function, arguments: &[Expression], document: &Value) -> Option<bool> {
    let [first, rest @ ..] = arguments else {
        return None;
    };
    let first = value(first, document);
    let is = |wanted: fn(&Value) -> bool| Some(first.as_deref().is_some_and(wanted));
    let both = |wanted: fn(&str, &str) -> bool| {
        let second = value(rest.first()?, document)?;
        Some(wanted(first.as_deref()?.as_str()?, second.as_str()?))
    };
    match function {
        Function::Contains => both(|text, part| text.contains(part)),
        Function::EndsWith => both(|text, part| text.ends_with(part)),
        Function::IsArray => is(Value::is_array),
        Function::IsBool => is(Value::is_boolean),
        Function::IsDefined => Some(first.is_some()),
        Function::IsNull => is(Value::is_null),
        Function::IsNumber => is(Value::is_number),
        Function::IsObject => is(Value::is_object),
        Function::IsPrimitive => is(primitive),
        Function::IsString => is(Value::is_string),
        Function::StartsWith => both(|text, part| text.starts_with(part)),
    }
}

/// The value a path leads to, and the last name as the document spells it.
pub(super) fn find<'a>(document: &'a Value, path: &'a Path) -> Option<(&'a str, &'a Value)> {
    let folded = folded(path);
    let mut found = ("", document);
    for (depth, segment) in path.0.iter().enumerate() {
        found = match segment {
            Segment::Index(at) => ("", found.1.as_array()?.get(*at)?),
            Segment::Name(name) => member(found.1, name, depth < folded)?,
        };
    }
    Some(found)
}

/// How many names at the beginning are compared without case: the service's own. Keys of tags
/// and properties, and what a method answered, are the users' and compared exactly.
fn folded(path: &Path) -> usize {
    match path.0.first() {
        Some(Segment::Name(first)) if first.eq_ignore_ascii_case("tags") => 1,
        Some(Segment::Name(first)) if first.eq_ignore_ascii_case("outcome") => 3,
        _ => 2,
    }
}

fn member<'a>(value: &'a Value, name: &'a str, folded: bool) -> Option<(&'a str, &'a Value)> {
    let members = value.as_object()?;
    let exact = members.get(name).map(|found| (name, found));
    let same = |(key, _): &(&String, &Value)| key.eq_ignore_ascii_case(name);
    let spelled = || members.iter().find(same).filter(|_| folded);
    exact.or_else(|| spelled().map(|(key, found)| (key.as_str(), found)))
}
