//! The table for the terminal.

use std::fmt::Write as _;

use super::{Api, Area, Operation, Parity, Rule, Setting, State};

/// Columns that the text keeps to, but for words that are longer.
const WIDTH: usize = 100;

/// Where claims begin.
const CLAIM_COLUMN: usize = 40;
/// Where paths begin.
const PATH_COLUMN: usize = 24;
/// What most paths of the management APIs begin with, left out to save room.
const RESOURCE_GROUP: &str = "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}\
                              /providers/Microsoft.Devices";

impl Parity {
    /// The whole table, a line or two for each rule and operation.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for area in Area::ALL {
            let rules: Vec<&Rule> = self.rules.iter().filter(|rule| rule.area == area).collect();
            if rules.is_empty() {
                continue;
            }
            let _ = writeln!(text, "{}\n", area.title());
            let _ = writeln!(
                text,
                "  {:<7} {:<9} {:<12} {:>5}  claim",
                "rule", "grade", "state", "tests"
            );
            for rule in rules {
                rule.row(&mut text);
            }
            text.push('\n');
        }
        if !self.settings.is_empty() {
            text.push_str("Settings of linarite up --config, with their defaults\n\n");
        }
        for setting in &self.settings {
            setting.row(&mut text);
        }
        if !self.settings.is_empty() {
            text.push('\n');
        }
        for api in &self.apis {
            api.rows(&mut text);
        }
        text.push_str(&self.summary());
        text
    }

    /// Everything about each rule.
    #[must_use]
    pub fn details(&self) -> String {
        let details = self.rules.iter().map(|rule| rule.details(self));
        details.collect::<Vec<_>>().join("\n")
    }

    /// How many rules and operations stand how.
    fn summary(&self) -> String {
        let operations = self.apis.iter().flat_map(|api| &api.operations);
        let states: Vec<State> = operations.map(|operation| operation.state).collect();
        let count = |states: &[State]| {
            let counted = State::ALL.map(|state| {
                let number = states.iter().filter(|one| **one == state).count();
                (number, state.name())
            });
            let counted = counted.iter().filter(|(number, _)| *number > 0);
            let counted: Vec<_> = counted.map(|(n, name)| format!("{n} {name}")).collect();
            counted.join(", ")
        };
        let rules: Vec<State> = self.rules.iter().map(|rule| rule.state).collect();
        let mut text = String::new();
        if !rules.is_empty() {
            let tested = self.rules.iter().filter(|rule| !rule.tested_by.is_empty());
            let tested = tested.count();
            let _ = writeln!(
                text,
                "{} rules: {}; {tested} cited by tests.",
                rules.len(),
                count(&rules)
            );
            text.push_str(
                "Grades: D documented, T in Microsoft's tests, S in SDK sources, I+ and I- in issues, \
                 K known,\nX assumed. linarite parity RULE tells all about a rule, and its tests.\n",
            );
        }
        if !states.is_empty() {
            let _ = writeln!(text, "{} operations: {}.", states.len(), count(&states));
        }
        if text.is_empty() {
            text.push_str("Nothing of the table is left by these filters.\n");
        }
        text
    }
}

impl Rule {
    fn row(&self, text: &mut String) {
        let tests = match self.tested_by.len() {
            0 => "-".to_owned(),
            count => count.to_string(),
        };
        let row = format!(
            "  {:<7} {:<9} {:<12} {tests:>5}",
            self.id,
            self.grade,
            self.state.name()
        );
        let _ = write!(text, "{row:<CLAIM_COLUMN$}");
        wrap(text, CLAIM_COLUMN, &self.claim);
        let set_by = self.settings.iter().map(|name| format!("set by: {name}"));
        for line in self.remarks().into_iter().chain(set_by) {
            let _ = write!(text, "{:CLAIM_COLUMN$}", "");
            wrap(text, CLAIM_COLUMN, &line);
        }
    }

    /// What is to be said beside the claim, a line each.
    fn remarks(&self) -> Vec<String> {
        let remark = |name: &str, words: &Option<String>| {
            let words = words.as_ref()?;
            Some(format!("{name}: {words}"))
        };
        let remarks = [
            remark("missing", &self.missing),
            remark("why not", &self.reason),
            remark("assumed", &self.assumed),
            remark("note", &self.note),
        ];
        remarks.into_iter().flatten().collect()
    }

    fn details(&self, parity: &Parity) -> String {
        let mut text = format!("{}  {}  {}", self.id, self.area.title(), self.state.name());
        if !self.grade.is_empty() {
            let _ = write!(text, "  (grade {})", self.grade);
        }
        text.push_str("\n  ");
        wrap(&mut text, 2, &self.claim);
        for line in self.remarks() {
            text.push_str("  ");
            wrap(&mut text, 2, &line);
        }
        let named = |setting: &&Setting| self.settings.contains(&setting.name);
        for setting in parity.settings.iter().filter(named) {
            setting.row(&mut text);
        }
        if self.tested_by.is_empty() {
            text.push_str("  no test cites it\n");
        } else {
            text.push_str("  tested by\n");
        }
        for test in &self.tested_by {
            let _ = writeln!(text, "    {test}");
        }
        text
    }
}

impl Setting {
    fn row(&self, text: &mut String) {
        let _ = write!(text, "  {} = {}", self.name, self.default);
        let _ = writeln!(text, "  ({})", self.domain());
        let rules: Vec<String> = self.rules.iter().map(ToString::to_string).collect();
        text.push_str("      ");
        wrap(text, 6, &format!("{} [{}]", self.what, rules.join(", ")));
    }
}

impl Api {
    fn rows(&self, text: &mut String) {
        let _ = writeln!(text, "{}, {}", self.name, self.version);
        let long = |operation: &Operation| operation.path.starts_with(RESOURCE_GROUP);
        if self.operations.iter().any(long) {
            text.push_str("  ");
            wrap(text, 2, &format!("… stands for {RESOURCE_GROUP}"));
        }
        text.push('\n');
        for operation in &self.operations {
            let path = match operation.path.strip_prefix(RESOURCE_GROUP) {
                Some(rest) => format!("…{rest}"),
                None => operation.path.clone(),
            };
            let row = format!("  {:<13} {}", operation.state.name(), operation.method);
            let _ = write!(text, "{row:<PATH_COLUMN$}");
            wrap(text, PATH_COLUMN, &path);
            for words in [&operation.missing, &operation.reason]
                .into_iter()
                .flatten()
            {
                let _ = write!(text, "{:PATH_COLUMN$}", "");
                wrap(text, PATH_COLUMN, &format!("({words})"));
            }
        }
        text.push('\n');
    }
}

/// Writes `words` and a line end; what does not fit continues below, from `column` on. Lines
/// break after blanks and slashes.
fn wrap(text: &mut String, column: usize, words: &str) {
    let mut at = column;
    for word in words.split_inclusive([' ', '/']) {
        let length = word.chars().count();
        if at > column && at + word.trim_end().chars().count() > WIDTH {
            text.truncate(text.trim_end().len());
            let _ = write!(text, "\n{:column$}", "");
            at = column;
        }
        text.push_str(word);
        at += length;
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(words: &str) -> String {
        let mut text = String::from("0123");
        wrap(&mut text, 4, words);
        text
    }

    #[test]
    fn lines_break_after_blanks_and_slashes() {
        assert_eq!(wrapped("a few words"), "0123a few words\n");
        let long = "word ".repeat(30);
        assert!(wrapped(&long).lines().all(|line| line.len() <= WIDTH));
        assert_eq!(wrapped(&long).split_whitespace().count(), 30);
        let path = "/segment".repeat(20);
        let lines = wrapped(&path);
        assert!(lines.lines().all(|line| line.len() <= WIDTH));
        assert_eq!(lines[4..].replace("\n    ", ""), format!("{path}\n"));
        let endless = "x".repeat(150);
        assert_eq!(wrapped(&endless), format!("0123{endless}\n"));
    }

    #[test]
    fn the_table_keeps_to_its_width_and_counts_everything() {
        let parity = Parity::built_in().unwrap();
        let text = parity.text();
        let fits = |line: &str| line.chars().count() <= WIDTH;
        let wide: Vec<&str> = text.lines().filter(|line| !fits(line)).collect();
        assert_eq!(wide, Vec::<&str>::new());
        assert!(text.contains(&format!("{} rules: ", parity.rules.len())));
        for word in [
            "R-A22",
            "settings.strict_ids = false",
            "/enrollments/{id}",
            "not emulated",
        ] {
            assert!(text.contains(word), "{word}");
        }
    }

    #[test]
    fn filters_that_leave_nothing_say_so() {
        let nothing = Parity::built_in().unwrap().only(|_| false, |_, _| false);
        assert_eq!(
            nothing.text(),
            "Nothing of the table is left by these filters.\n"
        );
    }
}
