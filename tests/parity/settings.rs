//! Holds the settings of the table to the configuration file.

use std::collections::BTreeSet;

use linarite_emulator::Config;

use super::{read, table};

#[test]
fn settings_are_those_of_the_configuration_file() {
    let file = read("docs/linarite.toml");
    let (_, section) = file.split_once("\n[settings]").unwrap();
    let section = section.split("\n[").next().unwrap();
    let keys = section.lines().filter(|line| !line.starts_with('#'));
    let keys = keys.filter_map(|line| line.split_once(" = "));
    let documented: BTreeSet<String> = keys.map(|(key, _)| format!("settings.{key}")).collect();
    assert!(documented.len() >= 10, "only {documented:?} found");
    let table = table();
    let names = table.settings.iter().map(|setting| setting.name.clone());
    let listed: BTreeSet<String> = names.filter(|name| name.starts_with("settings.")).collect();
    assert_eq!(
        listed, documented,
        "simulator/src/parity/settings.toml against docs/linarite.toml"
    );
}

#[test]
fn a_setting_takes_its_choices_and_nothing_else() {
    let accepts = |name: &str, value: &str| {
        let text = format!("[settings]\n{name} = {value}\n");
        Config::from_toml("test.toml", &text).is_ok()
    };
    let mut tried = 0;
    for setting in table().settings {
        let Some(name) = setting.name.strip_prefix("settings.") else {
            continue;
        };
        for choice in &setting.choices {
            assert!(accepts(name, &choice.to_string()), "{name} = {choice}");
            tried += 1;
        }
        if setting.range.is_none() {
            assert!(!accepts(name, "\"something else\""), "{name}");
        }
    }
    assert!(tried >= 20, "only {tried} choices tried");
}
