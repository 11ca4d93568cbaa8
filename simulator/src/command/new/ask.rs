//! The questions of `linarite new`.

use std::io::{self, BufRead, Write};

use clap::ValueEnum;

use super::{NewArgs, Procedure};
use crate::scenario::DEVICES_MAX;

/// Asks for all that `args` leave open.
pub(super) fn procedure(
    args: &NewArgs,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
) -> io::Result<Procedure> {
    let mut asker = Asker { input, output };
    Ok(Procedure {
        enrollment: asker.choice("How does DPS know the devices?", args.enrollment)?,
        cause: asker.choice("Why do certificates change?", args.cause)?,
        what: asker.choice("Which certificate has to go?", args.what)?,
        trigger: asker.choice("What makes a device roll?", args.trigger)?,
        devices: asker.devices(args.devices)?,
    })
}

struct Asker<'a> {
    input: &'a mut dyn BufRead,
    output: &'a mut dyn Write,
}

impl Asker<'_> {
    /// One of the values of `T`, by its name or number; an empty line takes the usual one.
    fn choice<T: ValueEnum + Default + PartialEq>(
        &mut self,
        question: &str,
        given: Option<T>,
    ) -> io::Result<T> {
        if let Some(given) = given {
            return Ok(given);
        }
        writeln!(self.output, "{question}")?;
        for (number, value) in (1..).zip(T::value_variants()) {
            let usual = if *value == T::default() { "*" } else { " " };
            if let Some(named) = value.to_possible_value() {
                let help = named
                    .get_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                writeln!(
                    self.output,
                    " {usual} {number} {:<13} {help}",
                    named.get_name()
                )?;
            }
        }
        loop {
            let answer = self.answer()?;
            if answer.is_empty() {
                return Ok(T::default());
            }
            let by_number = answer
                .parse::<usize>()
                .ok()
                .and_then(|number| number.checked_sub(1));
            let by_number = by_number.and_then(|index| T::value_variants().get(index));
            let chosen = by_number
                .cloned()
                .or_else(|| T::from_str(&answer, true).ok());
            match chosen {
                Some(chosen) => return Ok(chosen),
                None => writeln!(self.output, "`{answer}` is none of these.")?,
            }
        }
    }

    fn devices(&mut self, given: Option<u32>) -> io::Result<u32> {
        if let Some(given) = given {
            return Ok(given);
        }
        writeln!(self.output, "How many devices? (1000)")?;
        loop {
            let answer = self.answer()?;
            if answer.is_empty() {
                return Ok(1000);
            }
            match answer.parse() {
                Ok(devices) if (1..=DEVICES_MAX).contains(&devices) => return Ok(devices),
                _ => writeln!(self.output, "A number from 1 to {DEVICES_MAX}, please.")?,
            }
        }
    }

    fn answer(&mut self) -> io::Result<String> {
        write!(self.output, "> ")?;
        self.output.flush()?;
        let mut line = String::new();
        if self.input.read_line(&mut line)? == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "no answer, nothing written",
            ));
        }
        Ok(line.trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cause, Enrolled, Roll, What};
    use super::*;

    const NOTHING_SAID: NewArgs = NewArgs {
        file: None,
        enrollment: None,
        cause: None,
        what: None,
        trigger: None,
        devices: None,
        certificates: None,
    };

    fn answered(args: &NewArgs, answers: &str) -> (io::Result<Procedure>, String) {
        let mut output = Vec::new();
        let procedure = procedure(args, &mut answers.as_bytes(), &mut output);
        (procedure, String::from_utf8(output).unwrap())
    }

    #[test]
    fn names_numbers_and_empty_lines_are_answers() {
        let (procedure, shown) = answered(&NOTHING_SAID, "individual\n2\n\nnever\n3\n0\n25\n");
        let expected = Procedure {
            enrollment: Enrolled::Individual,
            cause: Cause::Breach,
            what: What::Intermediate,
            trigger: Roll::Boot,
            devices: 25,
        };
        assert_eq!(procedure.unwrap(), expected);
        assert!(shown.contains("`never` is none of these"), "{shown}");
        assert!(shown.contains("1 to 100000"), "{shown}");
    }

    #[test]
    fn what_is_said_is_not_asked_and_the_end_of_input_is_no_answer() {
        let args = NewArgs {
            cause: Some(Cause::Breach),
            ..NOTHING_SAID
        };
        let (procedure, shown) = answered(&args, "\n\n");
        assert_eq!(procedure.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(!shown.contains("Why do certificates"), "{shown}");
    }
}
