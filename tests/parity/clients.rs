//! Tests of the official clients, in Python and JavaScript, with what they say.

/// A test: its name and its whole text.
pub(super) type Test = (String, String);

/// The functions `test_…` of a Python file.
pub(super) fn python(source: &str) -> Vec<Test> {
    let lines: Vec<&str> = source.lines().collect();
    let mut tests = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let code = code.strip_prefix("async ").unwrap_or(code);
        let Some(name) = code
            .strip_prefix("def ")
            .filter(|name| name.starts_with("test_"))
        else {
            continue;
        };
        let name = name.split('(').next().unwrap();
        let outside = indent(line);
        // The end of a long signature is no end of the function.
        let inside = |line: &&&str| {
            line.trim().is_empty() || indent(line) > outside || line.trim_start().starts_with(')')
        };
        let body: Vec<&str> = lines[at + 1..].iter().take_while(inside).copied().collect();
        tests.push((name.to_owned(), format!("{line}\n{}", body.join("\n"))));
    }
    tests
}

/// The calls `test("…", …)` of a JavaScript file, each with the comment above it.
pub(super) fn javascript(source: &str) -> Vec<Test> {
    let lines: Vec<&str> = source.lines().collect();
    let mut tests = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if !line.trim_start().starts_with("test(") {
            continue;
        }
        let comment = |line: &&&str| ["//", "/*", "*"].iter().any(|s| line.trim().starts_with(s));
        let above = lines[..at].iter().rev().take_while(comment).count();
        // As formatters write it, the call closes where it began.
        let closes = |line: &&str| indent(line) == indent(lines[at]) && line.ends_with(");");
        let length = 1 + lines[at..].iter().position(closes).unwrap_or(0);
        let text = lines[at - above..at + length].join("\n");
        let title = lines[at..at + length].join("\n");
        let title = title.split(['"', '\'', '`']).nth(1);
        tests.push((title.unwrap_or_default().to_owned(), text));
    }
    tests
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[test]
fn python_tests_end_where_the_indent_does() {
    let source = r#"
"""R-Z1 of the file."""

def helper(name):
    """R-Z2."""

@pytest.mark.slow
def test_first(
    a: str,
) -> None:
    """R-A1."""
    assert a == "R-A2"

    # R-A3

class TestClass:
    async def test_second(self): pass  # R-A4

R-Z3
"#;
    let found = python(source);
    let names: Vec<&str> = found.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["test_first", "test_second"]);
    for rule in ["R-A1", "R-A2", "R-A3"] {
        assert!(found[0].1.contains(rule), "{rule}");
    }
    assert!(found[1].1.contains("R-A4") && !found[1].1.contains("R-Z3"));
    assert!(!found[0].1.contains("R-Z") && !found[0].1.contains("R-A4"));
}

#[test]
fn javascript_tests_have_the_comment_above_them() {
    let source = r#"
// R-Z1 of the file.
import { test } from "node:test";

// R-A1.
test("a title (with brackets)", LIMIT, async (t) => {
  await call("R-A2");
});

function helper() { return "R-Z2"; }

test(
  'another',
  async () => {},
);
"#;
    let found = javascript(source);
    let names: Vec<&str> = found.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["a title (with brackets)", "another"]);
    assert!(found[0].1.contains("R-A1") && found[0].1.contains("R-A2"));
    assert!(!found[0].1.contains("R-Z"));
    assert!(found[1].1.ends_with(");"));
}
