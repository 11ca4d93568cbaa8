//! `linarite new`: writes a scenario to start from.

mod ask;

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use minijinja::{Environment, State, Value, context};

use super::{Exit, answers, fails};
use crate::scenario::DEVICES_MAX;

const TEMPLATE: &str = include_str!("new/scenario.toml.jinja");

/// Arguments of `linarite new`.
#[derive(Args, Clone, Debug)]
pub struct NewArgs {
    /// File to write; named after the procedure where nothing is said. Never overwritten
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// How DPS knows the devices
    #[arg(long)]
    enrollment: Option<Enrolled>,
    /// Why the certificates change
    #[arg(long)]
    cause: Option<Cause>,
    /// Which certificate has to go
    #[arg(long)]
    what: Option<What>,
    /// What makes a device roll
    #[arg(long)]
    trigger: Option<Roll>,
    /// Number of devices
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(DEVICES_MAX)))]
    devices: Option<u32>,
    /// Folder with certificates and keys of your own, as the scenario file sees it: root-a.pem,
    /// root-a.key and so on, by the names that the new file has for authorities
    #[arg(long, value_name = "DIR", value_parser = folder)]
    certificates: Option<String>,
}

/// Reads what `--certificates` says; it becomes part of a text in quotes.
fn folder(text: &str) -> Result<String, String> {
    let plain = |c: char| !c.is_control() && c != '"' && c != '\\';
    match text.trim_end_matches('/') {
        folder if !folder.is_empty() && folder.chars().all(plain) => Ok(folder.to_owned()),
        _ => Err("expected a folder without quotes or backslashes in its name".to_owned()),
    }
}

/// How DPS knows the devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Enrolled {
    /// All through one enrollment group
    #[default]
    Group,
    /// Each by an entry of its own
    Individual,
}

/// Why certificates change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Cause {
    /// The old one nears its end
    #[default]
    Expiry,
    /// Its key has leaked
    Breach,
}

/// Which certificate has to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// The root CA
    Root,
    /// The intermediate CA that signs the devices' certificates
    #[default]
    Intermediate,
    /// The devices' certificates alone; their issuer goes on
    Leaf,
}

/// What makes a device roll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Roll {
    /// The back end calls a direct method
    #[default]
    Method,
    /// Its hub refuses the new certificate
    Unauthorized,
    /// It starts, and asks DPS
    Boot,
}

/// A procedure, in an operator's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Procedure {
    /// How DPS knows the devices.
    pub enrollment: Enrolled,
    /// Why.
    pub cause: Cause,
    /// Which certificate.
    pub what: What,
    /// What makes a device roll.
    pub trigger: Roll,
    /// Number of devices.
    pub devices: u32,
}

/// Writes the file that `args` ask for, and asks at a terminal what they leave open.
#[must_use]
pub fn new(args: &NewArgs) -> Exit {
    let procedure = match procedure(args) {
        Ok(procedure) => procedure,
        Err(error) => return fails(Exit::Usage, &error.to_string()),
    };
    if let Some(reason) = procedure.impossible() {
        return fails(Exit::Usage, reason);
    }
    let named = args.file.clone();
    let file = named.unwrap_or_else(|| PathBuf::from(format!("{}.toml", procedure.name())));
    match write(&file, &procedure, args.certificates.as_deref()) {
        Ok(()) => {
            let file = file.display();
            let next = format!("  linarite run --check {file}\n  linarite run {file}\n");
            answers(Exit::AsExpected, &format!("wrote {file}\n\n{next}"))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fails(
            Exit::Usage,
            &format!("{} is there already; it is left as it is", file.display()),
        ),
        Err(error) => fails(Exit::Machine, &format!("{}: {error}", file.display())),
    }
}

fn write(file: &Path, procedure: &Procedure, certificates: Option<&str>) -> io::Result<()> {
    let name = file.file_stem().and_then(|stem| stem.to_str());
    let text = procedure.text(name.filter(|name| is_name(name)), certificates)?;
    let mut file = OpenOptions::new().write(true).create_new(true).open(file)?;
    file.write_all(text.as_bytes())
}

/// Whether a scenario may be called `name`.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=64).contains(&name.len()) && name.chars().all(plain) && !name.starts_with('.')
}

/// What the arguments say; the rest is asked for at a terminal and the usual elsewhere.
fn procedure(args: &NewArgs) -> io::Result<Procedure> {
    let (input, mut output) = (io::stdin(), io::stderr());
    let open = args.enrollment.is_none()
        || args.cause.is_none()
        || args.what.is_none()
        || args.trigger.is_none();
    if open && input.is_terminal() && output.is_terminal() {
        return ask::procedure(args, &mut input.lock(), &mut output);
    }
    Ok(Procedure {
        enrollment: args.enrollment.unwrap_or_default(),
        cause: args.cause.unwrap_or_default(),
        what: args.what.unwrap_or_default(),
        trigger: args.trigger.unwrap_or_default(),
        devices: args.devices.unwrap_or(1000),
    })
}

impl Procedure {
    /// Every procedure there is, for `devices` devices.
    #[must_use]
    pub fn all(devices: u32) -> Vec<Self> {
        let mut all = Vec::new();
        for &enrollment in Enrolled::value_variants() {
            for &cause in Cause::value_variants() {
                for &what in What::value_variants() {
                    for &trigger in Roll::value_variants() {
                        all.push(Self {
                            enrollment,
                            cause,
                            what,
                            trigger,
                            devices,
                        });
                    }
                }
            }
        }
        all.retain(|procedure| procedure.impossible().is_none());
        all
    }

    /// Why there is no such procedure, where there is none.
    #[must_use]
    pub fn impossible(&self) -> Option<&'static str> {
        match (self.enrollment, self.cause, self.what) {
            (Enrolled::Group, Cause::Breach, What::Leaf) => Some(
                "an enrollment group cannot tell a leaked leaf from its successor of the same \
                 issuer, so DPS would go on taking the old one: replace the issuer \
                 (--what intermediate), or give devices entries of their own \
                 (--enrollment individual)",
            ),
            _ => None,
        }
    }

    /// A name for it.
    #[must_use]
    pub fn name(&self) -> String {
        let word = |value: Option<clap::builder::PossibleValue>| {
            value.map_or_else(String::new, |value| value.get_name().to_owned())
        };
        format!(
            "{}-{}-{}-by-{}",
            word(self.enrollment.to_possible_value()),
            word(self.what.to_possible_value()),
            word(self.cause.to_possible_value()),
            word(self.trigger.to_possible_value()),
        )
    }

    /// The scenario file, under `name` or one of its own, with authorities that are made by the
    /// run or lie in the folder `certificates`.
    ///
    /// # Errors
    /// None that a procedure can cause.
    pub fn text(&self, name: Option<&str>, certificates: Option<&str>) -> io::Result<String> {
        let (expiry, what) = (self.cause == Cause::Expiry, self.what);
        let individual = self.enrollment == Enrolled::Individual;
        let boot = self.trigger == Roll::Boot;
        let day = if expiry { "60d" } else { "1d" };
        // A fleet that rolls at boot is asleep while DPS is edited.
        let edit = match (expiry, boot) {
            (true, _) => "59d",
            (false, true) => "20h",
            (false, false) => "1d10m",
        };
        let deliver = if boot {
            edit.to_owned()
        } else {
            format!("{day}20m")
        };
        let words = self.words();
        let own = certificates.map(str::to_owned);
        let mut environment = Environment::new();
        environment.add_function(
            "put",
            move |_: &State<'_, '_>, primary: Value, secondary: Value| {
                put(individual, what, &primary, &secondary)
            },
        );
        environment.add_function("life", move |name: &str, from: &str, until: &str| {
            life(own.as_deref(), name, from, until)
        });
        let trigger = self.trigger.to_possible_value();
        let what = what.to_possible_value();
        let made = environment
            .render_str(
                &template(),
                context! {
                    name => name.map_or_else(|| self.name(), str::to_owned),
                    title => words.0,
                    claim => words.1,
                    devices => self.devices,
                    individual,
                    expiry,
                    what => what.as_ref().map(|value| value.get_name()),
                    trigger => trigger.as_ref().map(|value| value.get_name()),
                    certificates,
                    edits => individual || self.what != What::Leaf,
                    day,
                    edit,
                    deliver,
                    duration => if expiry { "95d" } else { "3d" },
                    last => if expiry { "94d23h" } else { "2d23h" },
                    young => if expiry { "50d" } else { "0d" },
                },
            )
            .map_err(io::Error::other)?;
        Ok(made.trim_end().to_owned() + "\n")
    }

    /// What it is, and what a pass of it shows.
    fn words(&self) -> (String, String) {
        let devices = match self.enrollment {
            Enrolled::Group => "a fleet in an enrollment group",
            Enrolled::Individual => "devices with individual enrollments",
        };
        let old = match self.what {
            What::Root => "root CA",
            What::Intermediate => "intermediate CA",
            What::Leaf => "leaf certificates",
        };
        let how = match self.cause {
            Cause::Expiry => "near the end of their life",
            Cause::Breach => "after a breach",
        };
        let trigger = match self.trigger {
            Roll::Method => "when a direct method is called",
            Roll::Unauthorized => "when the hub refuses the new leaf",
            Roll::Boot => "when they wake",
        };
        (
            format!("The {old} of {devices} {how}: devices roll {trigger}."),
            format!(
                "The {old} of {devices} can be replaced, and no device loses service for longer than one reconnect."
            ),
        )
    }
}

/// The template, in which a line that only decides leaves no empty line behind.
fn template() -> String {
    let line = |line: &str| {
        let decides = line.starts_with("{%") && line.ends_with("%}");
        line.to_owned() + if decides { "" } else { "\n" }
    };
    TEMPLATE.lines().map(line).collect()
}

/// The step that saves the enrollment with generations in its slots.
fn put(individual: bool, what: What, primary: &Value, secondary: &Value) -> String {
    let slot = |name: &str, generation: &Value| {
        let generation = i64::try_from(generation.clone()).ok()?;
        let content = match (individual, what, generation) {
            (true, ..) => generation.to_string(),
            (false, What::Root, 1) => "\"root-a\"".to_owned(),
            (false, What::Root, _) => "\"root-b\"".to_owned(),
            (false, _, generation) => format!("\"issuer-{generation}\""),
        };
        Some(format!("{name} = {content}"))
    };
    let mut lines = match individual {
        true => vec!["do = \"put-individuals\"".to_owned()],
        false => vec![
            "do = \"put-group\"".to_owned(),
            "group = \"fleet\"".to_owned(),
        ],
    };
    if !individual && what == What::Root {
        lines.push("style = \"ca-references\"      # the group names uploaded roots".to_owned());
    }
    lines.extend(slot("primary", primary));
    lines.extend(slot("secondary", secondary));
    lines.join("\n")
}

/// What an authority is: its files in `folder`, or the times between which it is valid.
fn life(folder: Option<&str>, name: &str, from: &str, until: &str) -> String {
    match folder {
        Some(folder) => {
            format!("certificate = \"{folder}/{name}.pem\"\nkey = \"{folder}/{name}.key\"")
        }
        None => format!("valid = [\"{from}\", \"{until}\"]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn every_procedure_is_a_whole_scenario() {
        let all = Procedure::all(10);
        assert_eq!(all.len(), 33);
        for procedure in all {
            let text = procedure.text(None, None).unwrap();
            let scenario = Scenario::parse("new.toml", &text)
                .unwrap_or_else(|error| panic!("{procedure:?}: {error}\n{text}"));
            assert_eq!(scenario.name, procedure.name());
            assert!(!text.contains("\n\n\n"), "{text}");
        }
    }

    #[test]
    fn authorities_of_ones_own_are_named_by_their_files() {
        for procedure in Procedure::all(10) {
            let text = procedure.text(None, Some("certs")).unwrap();
            let count = |line: &str| text.lines().filter(|known| known.starts_with(line)).count();
            let authorities = count("[[authority]]");
            assert_eq!(count("certificate = \"certs/"), authorities, "{text}");
            assert_eq!(count("key = \"certs/"), authorities, "{text}");
            assert!(!text.contains("\n\n\n"), "{text}");
        }
        assert_eq!(folder("certs/"), Ok("certs".to_owned()));
        assert!(folder("a\"b").is_err() && folder("").is_err());
    }

    #[test]
    fn a_file_that_is_there_is_left_as_it_is() {
        let folder = std::env::temp_dir().join(format!("linarite-new-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("mine.toml");
        let procedure = Procedure::all(10)[0];
        write(&file, &procedure, None).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("name = \"mine\""), "{text}");
        let again = write(&file, &Procedure::all(20)[0], None).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
