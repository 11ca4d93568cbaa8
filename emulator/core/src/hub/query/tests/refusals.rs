//! What is refused, where and with which words.

use super::*;
use crate::limits::{QUERY_CHARACTERS_MAX, QUERY_COLUMNS_MAX, QUERY_DEPTH_MAX};

/// R-G36: where a query goes wrong is told by line and column, with what was expected there.
#[test]
fn errors_say_where_and_what() {
    let table = [
        ("", "Line 1:1 expected SELECT, found the end"),
        (
            "SELEC * FROM devices",
            "Line 1:1 expected SELECT, found 'SELEC'",
        ),
        (
            "SELECT",
            "Line 1:7 expected a property or an aggregate, found the end",
        ),
        (
            "SELECT * devices",
            "Line 1:10 expected FROM, found 'devices'",
        ),
        ("SELECT *", "Line 1:9 expected FROM, found the end"),
        (
            "SELECT * FROM c",
            "Line 1:15 expected devices, devices.modules or devices.jobs, found 'c'",
        ),
        (
            "SELECT * FROM devices.twins",
            "Line 1:23 expected modules or jobs, found 'twins'",
        ),
        (
            "SELECT * FROM devices\nWHERE tags.site = ",
            "Line 2:18 expected a property, a value or (, found the end",
        ),
        (
            "SELECT * FROM devices WHERE SELECT * FROM devices",
            "Line 1:29 expected a property, a value or (, found 'SELECT'",
        ),
        (
            "SELECT * FROM devices WHERE a = 1 b",
            "Line 1:35 expected AND, OR, GROUP BY or the end, found 'b'",
        ),
        (
            "SELECT * FROM devices WHERE (a = 1",
            "Line 1:35 expected ), found the end",
        ),
        (
            "SELECT * FROM devices WHERE a = 'x",
            "Line 1:33 a string without an end",
        ),
        (
            "SELECT * FROM devices WHERE a = [1]",
            "Line 1:33 a list here is not supported",
        ),
        (
            "SELECT * FROM devices WHERE a IN ('x')",
            "Line 1:34 expected a list in square brackets, found '('",
        ),
        (
            "SELECT * FROM devices WHERE a IN []",
            "Line 1:35 expected a constant, found ']'",
        ),
        (
            "SELECT * FROM devices WHERE a NOT IN ['x']",
            "Line 1:31 NOT is not supported here; use NIN",
        ),
        (
            "SELECT * FROM devices WHERE tags.group = 1",
            "Line 1:34 the name group without",
        ),
        (
            "SELECT * FROM devices WHERE [[a = 1",
            "Line 1:29 a name in double brackets without an end",
        ),
        (
            "SELECT * FROM devices WHERE a = 'x\\q'",
            "Line 1:33 unknown escape \"\\\\q\"",
        ),
        (
            "SELECT * FROM devices WHERE a = '\\ud800'",
            "Line 1:33 unknown escape",
        ),
        (
            "SELECT * FROM devices WHERE a = 12ab",
            "Line 1:33 \"12ab\" is no number",
        ),
        (
            "SELECT * FROM devices WHERE a = 1e999",
            "Line 1:33 \"1e999\" is no number",
        ),
        (
            "SELECT * FROM devices WHERE a # 1",
            "Line 1:31 unexpected character '#'",
        ),
        (
            "SELECT * FROM devices WHERE é = ;",
            "Line 1:33 unexpected character ';'",
        ),
        (
            "SELECT * FROM devices ORDER BY deviceId",
            "Line 1:23 ORDER is not supported: rows",
        ),
        (
            "SELECT * FROM devices JOIN m IN d.modules",
            "Line 1:23 JOIN is not supported",
        ),
        (
            "SELECT DISTINCT deviceId FROM devices",
            "Line 1:8 DISTINCT is not supported",
        ),
        (
            "SELECT * FROM devices WHERE a LIKE 'x%'",
            "Line 1:31 LIKE is not supported",
        ),
        (
            "SELECT * FROM devices WHERE a BETWEEN 1 AND 2",
            "Line 1:31 BETWEEN is not",
        ),
        (
            "SELECT * FROM devices WHERE LOWER(a) = 'x'",
            "Line 1:29 the function LOWER is not supported: Azure",
        ),
        (
            "SELECT * FROM devices WHERE COUNT() > 1",
            "Line 1:29 the function COUNT is not supported in a",
        ),
        (
            "SELECT * FROM devices WHERE SOUNDEX(a)",
            "Line 1:29 the function SOUNDEX is not supported",
        ),
        (
            "SELECT * FROM devices WHERE IS_DEFINED('a')",
            "Line 1:29 IS_DEFINED takes one property",
        ),
        (
            "SELECT * FROM devices WHERE IS_NULL()",
            "Line 1:29 IS_NULL takes one argument",
        ),
        (
            "SELECT * FROM devices WHERE CONTAINS(a, 'b', 'c')",
            "Line 1:29 CONTAINS takes two arguments",
        ),
        (
            "SELECT TOP 0 * FROM devices",
            "Line 1:12 expected a whole number from 1, found 0",
        ),
        (
            "SELECT TOP many * FROM devices",
            "Line 1:12 expected a whole number from 1, found 'many'",
        ),
        (
            "SELECT COUNT(*) FROM devices",
            "Line 1:14 expected ), found '*'",
        ),
        (
            "SELECT a, b.a FROM devices",
            "Line 1:11 two columns are called \"a\"",
        ),
        (
            "SELECT 1 FROM devices",
            "Line 1:8 expected a property or an aggregate, found 1",
        ),
        (
            "SELECT a, COUNT() FROM devices",
            "Line 1:8 [[a]] stands beside an aggregate",
        ),
        (
            "SELECT a FROM devices GROUP BY b",
            "Line 1:8 [[a]] stands beside",
        ),
        (
            "SELECT * FROM devices GROUP BY a",
            "Line 1:23 SELECT * with GROUP BY is not supported",
        ),
        (
            "SELECT * FROM devices GROUP a",
            "Line 1:29 expected BY, found 'a'",
        ),
        (
            "SELECT jobId FROM devices.jobs",
            "Line 1:8 choosing columns FROM devices.jobs is not",
        ),
        (
            "SELECT * FROM devices.jobs GROUP BY jobId",
            "Line 1:28 GROUP BY over devices.jobs is not",
        ),
        (
            "SELECT * FROM devices.jobs WHERE devices.tags.a = 1",
            "Line 1:34 [[devices]].[[tags]].[[a]] does not belong",
        ),
    ];
    let wrong: Vec<_> = table
        .into_iter()
        .filter_map(|(text, expected)| {
            let told = match Query::parse(text) {
                Ok(query) => format!("read as {query}"),
                Err(error) => error.to_string(),
            };
            (!told.starts_with(expected)).then(|| format!("{text}\n  {told}\n  {expected}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// R-G36: every bound, at it and over it.
#[test]
fn queries_have_bounds() {
    let fits = |text: &str| Query::parse(text).is_ok();
    let padded = |length: usize| format!("SELECT * FROM devices{}", " ".repeat(length - 21));
    assert!(fits(&padded(QUERY_CHARACTERS_MAX)));
    assert!(!fits(&padded(QUERY_CHARACTERS_MAX + 1)));
    let nested = |open: &str, depth: usize, close: &str| {
        let (open, close) = (open.repeat(depth), close.repeat(depth));
        format!("SELECT * FROM devices WHERE {open}a{close}")
    };
    for (open, close) in [("(", ")"), ("NOT ", ""), ("- ", ""), ("IS_NULL(", ")")] {
        assert!(fits(&nested(open, QUERY_DEPTH_MAX, close)), "{open}");
        let error = Query::parse(&nested(open, QUERY_DEPTH_MAX + 1, close)).unwrap_err();
        assert_eq!(
            error.problem,
            QueryProblem::TooDeep {
                limit: QUERY_DEPTH_MAX
            }
        );
    }
    let columns = |count: usize| {
        let names: Vec<_> = (0..count).map(|index| format!("c{index}")).collect();
        format!("SELECT {} FROM devices", names.join(", "))
    };
    assert!(fits(&columns(QUERY_COLUMNS_MAX)) && !fits(&columns(QUERY_COLUMNS_MAX + 1)));
    let path = |names: usize| format!("SELECT a{} FROM devices", ".a".repeat(names - 1));
    assert!(fits(&path(32)) && !fits(&path(33)));
    let groups = |count: usize| {
        format!(
            "SELECT COUNT() FROM devices GROUP BY a{}",
            ",a".repeat(count - 1)
        )
    };
    assert!(fits(&groups(8)) && !fits(&groups(9)));
    // A long chain is not a deep one.
    assert!(fits(&format!(
        "SELECT * FROM devices WHERE a{}",
        " OR a".repeat(1_500)
    )));
    assert!(fits(&format!(
        "SELECT * FROM devices WHERE 1{}",
        "+1".repeat(4_000)
    )));
    assert!(fits(&format!(
        "SELECT * FROM devices WHERE a IN [1{}]",
        ",1".repeat(4_000)
    )));
}

/// R-G32: what a job asks of devices.
#[test]
fn a_condition_is_all_or_a_where_clause() {
    let table = [
        ("*", Ok(true)),
        (" * ", Ok(true)),
        ("tags.site = 'munich'", Ok(true)),
        ("deviceId IN ['dev-1','dev-2']", Ok(true)),
        ("DeviceId IN ['dev-2']", Ok(false)),
        ("IS_DEFINED(DeviceId)", Ok(true)),
        ("FROM devices", Ok(true)),
        ("FROM devices WHERE tags.floor = 4", Ok(false)),
        ("from devices d where d.tags.floor = 3", Ok(true)),
        (
            "",
            Err("Line 1:1 expected a property, a value or (, found the end"),
        ),
        (
            "* AND true",
            Err("Line 1:1 expected a property, a value or (, found '*'"),
        ),
        (
            "SELECT * FROM devices",
            Err("Line 1:1 expected a property, a value or (, found 'SELECT'"),
        ),
        (
            "WHERE a = 1",
            Err("Line 1:1 expected a property, a value or (, found 'WHERE'"),
        ),
        (
            "a = 1 GROUP BY a",
            Err("Line 1:7 expected AND, OR or the end, found 'GROUP'"),
        ),
    ];
    for (text, expected) in table {
        let read = Condition::parse(text);
        if let Ok(condition) = &read {
            let printed = condition.to_string();
            let again =
                Condition::parse(&printed).unwrap_or_else(|error| panic!("{printed}: {error}"));
            assert!(again.expression == condition.expression, "{printed}");
        }
        let found = read.map(|condition| condition.matches(&twin()));
        assert_eq!(
            found.map_err(|error| error.to_string()),
            expected.map_err(str::to_owned),
            "{text}"
        );
    }
    let modules = Condition::parse("FROM devices.modules WHERE ModuleId = 'm'").unwrap();
    assert_eq!(modules.collection(), Collection::Modules);
}
