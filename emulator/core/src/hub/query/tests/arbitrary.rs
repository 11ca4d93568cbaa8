//! Queries and documents drawn at random, small enough to meet each other.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Number, Value};

use crate::hub::query::Query;
use crate::hub::query::ast::{
    Arithmetic, Collection, Column, ColumnValue, Comparison, Expression, Function, Literal, Path,
    Segment, Select,
};

const NAMES: [&str; 10] = [
    "deviceId",
    "tags",
    "properties",
    "reported",
    "a",
    "b",
    "my name",
    "group",
    "$version",
    "é'",
];

/// Pieces of queries in any order.
pub(super) fn words() -> impl Strategy<Value = Vec<String>> {
    let fixed = select(vec![
        "SELECT ",
        "* ",
        "TOP 3 ",
        "FROM devices ",
        "FROM devices.modules ",
        "FROM devices.jobs ",
        "WHERE ",
        "GROUP BY ",
        "AND ",
        "OR ",
        "NOT ",
        "IN ",
        "NIN ",
        "[",
        "]",
        "(",
        ")",
        ", ",
        ".",
        "= ",
        "!= ",
        "<= ",
        "> ",
        "+ ",
        "- ",
        "/ ",
        "AS ",
        "d ",
        "COUNT() ",
        "MIN(",
        "is_defined(",
        "tags",
        "deviceId ",
        "[[a b]]",
        "'x' ",
        "\"y\" ",
        "'",
        "\\",
        "0x1f ",
        "1.5e3 ",
        "true ",
        "null ",
        "undefined ",
        "a ",
        "a.b ",
        "ORDER ",
        "\n",
    ]);
    prop::collection::vec(fixed.prop_map(str::to_owned), 0..24)
}

/// A document as deep as the paths of [`query`] are long.
pub(super) fn document() -> impl Strategy<Value = Value> {
    let leaf = literal().prop_map(|literal| match literal {
        Literal::Bool(value) => Value::Bool(value),
        Literal::Null | Literal::Undefined => Value::Null,
        Literal::Number(number) => Value::Number(number),
        Literal::Text(text) => Value::String(text),
    });
    leaf.prop_recursive(4, 32, 5, |inner| {
        let member = (select(&NAMES[..]).prop_map(str::to_owned), inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..3).prop_map(Value::Array),
            prop::collection::vec(member, 0..5)
                .prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    })
}

pub(super) fn query() -> impl Strategy<Value = Query> {
    let condition = prop::option::of(expression());
    let top = prop::option::of(1_usize..2_000);
    let collection = select(vec![Collection::Devices, Collection::Modules]);
    let whole = Just((Select::All, Vec::new()));
    let selected = prop_oneof![whole, columns()];
    (selected, top, collection, condition).prop_map(
        |((select, group_by), top, collection, condition)| Query {
            select,
            top,
            collection,
            condition,
            group_by,
        },
    )
}

/// Columns and the groups they belong to. Numbered aliases keep them apart.
fn columns() -> impl Strategy<Value = (Select, Vec<Path>)> {
    let paths = prop::collection::vec(path(), 1..4);
    let aggregate = prop_oneof![
        Just(ColumnValue::Count),
        path().prop_map(ColumnValue::Average),
        path().prop_map(ColumnValue::Maximum),
        path().prop_map(ColumnValue::Minimum),
        path().prop_map(ColumnValue::Sum),
    ];
    let aggregates = prop::collection::vec(aggregate, 0..3);
    (paths, aggregates, any::<bool>()).prop_map(|(paths, aggregates, grouped)| {
        let grouped = grouped || !aggregates.is_empty();
        let chosen = paths.iter().cloned().map(ColumnValue::Path);
        let named = chosen.chain(aggregates).enumerate();
        let column = |(index, value)| Column {
            value,
            alias: Some(format!("c{index}")),
        };
        let columns = named.map(column).collect();
        (
            Select::Columns(columns),
            if grouped { paths } else { Vec::new() },
        )
    })
}

fn path() -> impl Strategy<Value = Path> {
    let name = || select(&NAMES[..]).prop_map(|name| Segment::Name(name.to_owned()));
    let odd = select(vec!["", "]", "a]]b"]).prop_map(|name| Segment::Name(name.to_owned()));
    let later = prop_oneof![
        8 => name(),
        1 => (0_usize..3).prop_map(Segment::Index),
        1 => odd,
    ];
    (name(), prop::collection::vec(later, 0..4)).prop_map(|(first, mut later)| {
        later.insert(0, first);
        Path(later)
    })
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        any::<bool>().prop_map(Literal::Bool),
        Just(Literal::Null),
        Just(Literal::Undefined),
        (0_u64..4).prop_map(|number| Literal::Number(number.into())),
        any::<u64>().prop_map(|number| Literal::Number(number.into())),
        (0.0..1e300_f64).prop_map(|number| Literal::Number(Number::from_f64(number).unwrap())),
        select(vec!["a", "b", "", "it's \"it\" \\", "é\n"])
            .prop_map(|text| Literal::Text(text.to_owned())),
    ]
}

fn expression() -> impl Strategy<Value = Expression> {
    let leaf = prop_oneof![
        literal().prop_map(Expression::Literal),
        path().prop_map(Expression::Path),
    ];
    leaf.prop_recursive(4, 32, 3, |inner| {
        let boxed = || inner.clone().prop_map(Box::new);
        let several = || prop::collection::vec(inner.clone(), 2..4);
        let comparison = select(vec![
            Comparison::Equal,
            Comparison::Greater,
            Comparison::GreaterOrEqual,
            Comparison::Less,
            Comparison::LessOrEqual,
            Comparison::NotEqual,
        ]);
        let operators = prop_oneof![
            Just(vec![Arithmetic::Plus, Arithmetic::Minus]),
            Just(vec![
                Arithmetic::Times,
                Arithmetic::Divide,
                Arithmetic::Modulo
            ]),
        ];
        let operand = inner.clone();
        let chain = operators.prop_flat_map(move |operators| {
            let step = (select(operators), operand.clone());
            (operand.clone(), prop::collection::vec(step, 1..3))
        });
        let list = || prop::collection::vec(literal(), 1..4);
        let named = Path(vec![Segment::Name("deviceId".to_owned())]);
        prop_oneof![
            several().prop_map(Expression::All),
            several().prop_map(Expression::Any),
            (boxed(), comparison, boxed())
                .prop_map(|(left, operator, right)| Expression::Compare(left, operator, right)),
            (boxed(), list(), any::<bool>()).prop_map(|(value, list, negated)| {
                Expression::In {
                    value,
                    list,
                    negated,
                }
            }),
            list().prop_map(move |list| Expression::In {
                value: Box::new(Expression::Path(named.clone())),
                list,
                negated: false,
            }),
            boxed().prop_map(Expression::Negate),
            boxed().prop_map(Expression::Not),
            chain.prop_map(|(first, rest)| Expression::Chain(Box::new(first), rest)),
            path().prop_map(|path| {
                Expression::Call(Function::IsDefined, vec![Expression::Path(path)])
            }),
            inner
                .clone()
                .prop_map(|inner| Expression::Call(Function::IsNull, vec![inner])),
            (inner.clone(), inner.clone()).prop_map(|(text, part)| {
                Expression::Call(Function::StartsWith, vec![text, part])
            }),
        ]
    })
}
