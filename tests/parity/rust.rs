//! Test functions in Rust sources, with what they say.
//!
//! Reads tokens, not grammar: enough to know modules, attributes, comments, texts and where a
//! function ends.

/// A test function.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Function {
    /// Its inline modules and its name.
    pub(super) name: String,
    /// Its doc comment and the comments inside it.
    pub(super) comments: String,
    /// The texts inside it.
    pub(super) texts: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    /// The doc comment of what follows.
    Doc(&'a str),
    Comment(&'a str),
    /// What stands between quotes.
    Text(&'a str),
    /// A name, a keyword or a number.
    Word(&'a str),
    Sign(char),
}

use Token::{Comment, Doc, Sign, Text, Word};

/// The test functions of a file.
pub(super) fn tests(source: &str) -> Vec<Function> {
    let tokens = tokens(source);
    let mut tests = Vec::new();
    let mut modules: Vec<(&str, usize)> = Vec::new();
    let (mut at, mut depth) = (0, 0_usize);
    let (mut docs, mut is_test) = (String::new(), false);
    while at < tokens.len() {
        let mut next = at + 1;
        // What was said above holds until the item it is about ends.
        let mut over = false;
        match (&tokens[at], tokens.get(at + 1), tokens.get(at + 2)) {
            (Doc(text), _, _) => docs = format!("{docs}{text}\n"),
            (Sign('#'), Some(Sign('[')), _) => {
                next = closing(&tokens, at + 1);
                is_test |= is_test_attribute(&tokens[at + 2..next - 1]);
            }
            (Sign('#'), Some(Sign('!')), Some(Sign('['))) => next = closing(&tokens, at + 2),
            (Word("mod"), Some(Word(name)), Some(Sign('{'))) => {
                modules.push((name, depth));
                next = at + 2;
            }
            (Word("fn"), Some(Word(name)), _) => {
                next = end_of_function(&tokens, at + 2);
                if is_test {
                    let path = modules.iter().map(|(name, _)| *name).chain([*name]);
                    let name = path.collect::<Vec<_>>().join("::");
                    tests.push(function(name, &docs, &tokens[at..next]));
                }
                over = true;
            }
            (Sign('{'), _, _) => {
                depth += 1;
                over = true;
            }
            (Sign('}'), _, _) => {
                depth = depth.saturating_sub(1);
                modules.retain(|(_, outside)| *outside < depth);
                over = true;
            }
            (Sign(';'), _, _) => over = true,
            _ => {}
        }
        if over {
            (docs, is_test) = (String::new(), false);
        }
        at = next;
    }
    tests
}

fn function(name: String, docs: &str, tokens: &[Token<'_>]) -> Function {
    let mut function = Function {
        name,
        comments: docs.to_owned(),
        ..Function::default()
    };
    for token in tokens {
        match token {
            Comment(text) | Doc(text) => function.comments += &format!("{text}\n"),
            Text(text) => function.texts += &format!("{text};"),
            Word(_) | Sign(_) => {}
        }
    }
    function
}

/// Whether an attribute is `test` or ends in `::test`, with arguments or without.
fn is_test_attribute(attribute: &[Token<'_>]) -> bool {
    let path = attribute.split(|token| *token == Sign('(')).next();
    path.and_then(|path| path.last()) == Some(&Word("test"))
}

/// The index behind the body, or the semicolon, of the function whose name stands before `at`.
fn end_of_function(tokens: &[Token<'_>], mut at: usize) -> usize {
    while at < tokens.len() {
        match tokens[at] {
            Sign('(' | '[') => at = closing(tokens, at),
            Sign('{') => return closing(tokens, at),
            Sign(';') => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// The index behind the bracket that closes the one at `open`.
fn closing(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token {
            Sign('(' | '[' | '{') => depth += 1,
            Sign(')' | ']' | '}') if depth == 1 => return at + 1,
            Sign(')' | ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    tokens.len()
}

fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = source.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, behind) = comment(rest)
            .or_else(|| raw_text(rest))
            .or_else(|| text(rest))
            .or_else(|| character(rest))
            .or_else(|| word(rest))
            .unwrap_or((Sign(first), &rest[first.len_utf8()..]));
        tokens.push(token);
        rest = behind.trim_start();
    }
    tokens
}

fn comment(rest: &str) -> Option<(Token<'_>, &str)> {
    if rest.starts_with("//") {
        let (line, behind) = rest.split_at(rest.find('\n').unwrap_or(rest.len()));
        let doc = line.starts_with("///") && !line.starts_with("////");
        let text = line.trim_start_matches(['/', '!']).trim();
        return Some((if doc { Doc(text) } else { Comment(text) }, behind));
    }
    rest.starts_with("/*").then(|| {
        let (mut depth, mut at) = (0_usize, 0);
        loop {
            let ahead = &rest[at..];
            let open = ahead.find("/*").unwrap_or(ahead.len());
            let close = ahead.find("*/").unwrap_or(ahead.len());
            if open < close {
                depth += 1;
                at += open + 2;
            } else {
                depth = depth.saturating_sub(1);
                at = rest.len().min(at + close + 2);
            }
            if depth == 0 || at == rest.len() {
                break;
            }
        }
        let (text, behind) = rest.split_at(at);
        let doc = text.starts_with("/**") && !text.starts_with("/***") && text.len() > 4;
        (if doc { Doc(text) } else { Comment(text) }, behind)
    })
}

/// Text without escapes: `r"…"`, `r#"…"#`, `br"…"`.
fn raw_text(rest: &str) -> Option<(Token<'_>, &str)> {
    let marks = rest
        .strip_prefix(['b', 'c'])
        .unwrap_or(rest)
        .strip_prefix('r')?;
    let content = marks.trim_start_matches('#');
    let fence = &marks[..marks.len() - content.len()];
    let content = content.strip_prefix('"')?;
    let end = format!("\"{fence}");
    let (text, behind) = content.split_once(&end).unwrap_or((content, ""));
    Some((Text(text), behind))
}

/// Text with escapes: `"…"`, `b"…"`.
fn text(rest: &str) -> Option<(Token<'_>, &str)> {
    let content = rest
        .strip_prefix(['b', 'c'])
        .unwrap_or(rest)
        .strip_prefix('"')?;
    let mut escaped = false;
    let end = content.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    let (text, behind) = content.split_at(end.unwrap_or(content.len()));
    Some((Text(text), behind.strip_prefix('"').unwrap_or(behind)))
}

/// A character or a byte; not a lifetime.
fn character(rest: &str) -> Option<(Token<'_>, &str)> {
    let content = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('\'')?;
    let mut chars = content.char_indices();
    let (_, first) = chars.next()?;
    let (second, _) = chars.next()?;
    let from = if first == '\\' {
        chars.next()?.0
    } else {
        second
    };
    let end = from + content[from..].find('\'')?;
    // A lifetime's next quote is further off.
    (first == '\\' || end == second).then(|| (Text(&content[..end]), &content[end + 1..]))
}

fn word(rest: &str) -> Option<(Token<'_>, &str)> {
    let length = rest.len()
        - rest
            .trim_start_matches(|c: char| c.is_alphanumeric() || c == '_')
            .len();
    let (word, behind) = rest.split_at(length);
    (length > 0).then_some((Word(word), behind))
}

#[test]
fn test_functions_are_found_with_what_they_say() {
    let source = r##"
        //! R-Z1 of the file.
        use std::io; // R-Z2 of nothing

        /// R-Z3 of a helper.
        fn helper<'a>(x: &'a str) -> char { let _ = ("R-Z4", '}', '\'', b'{'); 'x' }

        #[cfg(test)]
        mod tests {
            /// R-A1 above,
            /// in two lines.
            // Between.
            #[tokio::test(start_paused = true)]
            async fn first() { /* inside } */ assert_eq!(f(b"{\""), r#"R-A2 "}"#); }

            mod deeper { #[test] fn second() { let x = [1; 2]; } }

            /// R-Z5 of no test.
            #[allow(dead_code)]
            fn third(_: [u8; 2]) {}

            proptest! {
                #![proptest_config(ProptestConfig { cases: 1 })]
                /// R-A3.
                #[test]
                fn fourth(a in 0..3, b in "[a-c]{2}") { prop_assert!(a < 3); }
            }
        }

        #[test]
        fn fifth() {}
    "##;
    let found = tests(source);
    let names: Vec<&str> = found.iter().map(|test| &*test.name).collect();
    assert_eq!(
        names,
        [
            "tests::first",
            "tests::deeper::second",
            "tests::fourth",
            "fifth"
        ]
    );
    assert_eq!(
        found[0].comments,
        "R-A1 above,\nin two lines.\n/* inside } */\n"
    );
    assert_eq!(found[0].texts, "{\\\";R-A2 \"};");
    assert_eq!(found[2].comments, "R-A3.\n");
    assert_eq!(found[2].texts, "[a-c]{2};");
    assert_eq!(found[3].comments, "");
}
