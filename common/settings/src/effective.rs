//! What applies, and where it comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use crate::error::show;
use crate::layer::Layer;
use crate::schema::Schema;

/// The sources below environment and flags.
pub(crate) struct Layers {
    pub schema: Schema,
    pub defaults: Layer,
    pub file: Option<Layer>,
    /// Settings of the file that give way to a later source's.
    pub overruled: BTreeSet<String>,
}

impl Layers {
    /// What the files say of a setting, and which file.
    pub fn value(&self, section: &str, key: &str) -> Option<(&[String], &str)> {
        let says = |file: &&Layer| !self.overruled.contains(key) && file.get(section, key).is_some();
        let layer = self.file.as_ref().filter(says).unwrap_or(&self.defaults);
        layer.get(section, key).map(|values| (values, layer.origin.as_str()))
    }
}

/// The settings that apply to one command. Shows as TOML, secrets redacted, each line with its source.
pub struct Effective {
    title: String,
    lines: BTreeMap<String, Line>,
    strangers: BTreeSet<String>,
}

struct Line {
    /// Ready to be shown; `None` if nothing sets it.
    value: Option<String>,
    source: String,
}

impl Effective {
    /// Prints it to standard output.
    pub fn print(&self) {
        show(self);
    }

    pub(crate) fn of(command: &Command, matches: &ArgMatches, layers: &Layers) -> Self {
        let mut effective =
            Self { title: layers.schema.program.clone(), lines: BTreeMap::new(), strangers: strangers(&layers.schema) };
        for (depth, (section, command, matches)) in invoked(command, matches).into_iter().enumerate() {
            effective.add(command, matches, &section, layers);
            if depth > 0 {
                effective.title = format!("{} {}", effective.title, command.get_name());
            }
        }
        effective
    }

    fn add(&mut self, command: &Command, matches: &ArgMatches, section: &str, layers: &Layers) {
        for arg in command.get_arguments() {
            let Some((key, setting)) = layers.schema.of_arg(arg) else { continue };
            let id = arg.get_id().as_str();
            let values: Option<Vec<String>> =
                matches.get_raw(id).map(|raw| raw.map(|value| value.to_string_lossy().into_owned()).collect());
            let source = match matches.value_source(id) {
                Some(ValueSource::CommandLine) => format!("--{key}"),
                Some(ValueSource::EnvVariable) => setting.env.clone(),
                _ => layers.value(section, key).map_or("the defaults", |(_, origin)| origin).to_owned(),
            };
            let value = values.map(|values| setting.show(&values));
            self.lines.insert(key.to_owned(), Line { value, source });
        }
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# {}: what applies, and where it comes from", self.title)?;
        for (key, line) in &self.lines {
            match &line.value {
                Some(value) => writeln!(f, "{key} = {value}  # {}", line.source)?,
                None => writeln!(f, "# {key} is not set")?,
            }
        }
        for name in &self.strangers {
            writeln!(f, "# {name} is in the environment and is no setting of this program")?;
        }
        Ok(())
    }
}

/// The program, the command that was called, and its sub-commands, each with the table that is for it.
pub(crate) fn invoked<'a>(command: &'a Command, matches: &'a ArgMatches) -> Vec<(String, &'a Command, &'a ArgMatches)> {
    let mut chain = vec![(String::new(), command, matches)];
    let (mut command, mut matches, mut section) = (command, matches, String::new());
    while let Some((name, inner)) = matches.subcommand() {
        let Some(next) = command.get_subcommands().find(|sub| sub.get_name() == name) else { break };
        if section.is_empty() {
            section = name.to_owned();
        }
        (command, matches) = (next, inner);
        chain.push((section.clone(), command, matches));
    }
    chain
}

/// Variables that look like settings and are none: most often a mistyped name. They may be another program's.
fn strangers(schema: &Schema) -> BTreeSet<String> {
    let known: BTreeSet<&str> = schema.iter().map(|(_, setting)| setting.env.as_str()).collect();
    std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("PROOFMILL_") && name != "PROOFMILL_CONFIG" && !known.contains(name.as_str()))
        .collect()
}
