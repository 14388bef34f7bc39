//! Which options of a command line are settings.

use std::collections::BTreeMap;
use std::error::Error as _;

use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command};

/// The settings of a program: its options that have an environment variable, by key. Keys are the long names.
pub(crate) struct Schema {
    pub program: String,
    /// The commands that may have a table of their own in a file.
    pub sections: Vec<String>,
    settings: BTreeMap<String, Setting>,
}

/// One setting. It may be an option of several commands, with a default in each.
pub(crate) struct Setting {
    pub env: String,
    pub secret: bool,
    pub several: bool,
    parser: ValueParser,
    delimiter: Option<char>,
    /// The program's default by command; `""` is the whole program.
    pub defaults: BTreeMap<String, Vec<String>>,
}

impl Schema {
    /// Reads the options of the program itself and of the named commands.
    pub fn of(command: &Command, sections: &[&str]) -> Self {
        let mut settings = BTreeMap::new();
        collect(&mut settings, "", command);
        for sub in command.get_subcommands().filter(|sub| sections.contains(&sub.get_name())) {
            collect(&mut settings, sub.get_name(), sub);
        }
        Self {
            program: command.get_name().to_owned(),
            sections: sections.iter().map(|section| (*section).to_owned()).collect(),
            settings,
        }
    }

    pub fn get(&self, key: &str) -> Option<&Setting> {
        self.settings.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.settings.iter().map(|(key, setting)| (key.as_str(), setting))
    }

    /// The key most like a word that is none.
    pub fn nearest(&self, word: &str) -> Option<String> {
        let likeness = |key: &str| strsim::jaro_winkler(&word.replace('_', "-"), key);
        let best = self.settings.keys().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
        (likeness(best) > 0.75).then(|| best.clone())
    }

    /// Whether an option is one of the settings: by name and by variable, for some commands have other options of a
    /// like name.
    pub fn of_arg(&self, arg: &Arg) -> Option<(&str, &Setting)> {
        let (key, env) = names(arg)?;
        let (key, setting) = self.settings.get_key_value(&key)?;
        (setting.env == env).then_some((key.as_str(), setting))
    }
}

impl Setting {
    /// Whether the program would take these values; otherwise what it expects.
    pub fn check(&self, values: &[String]) -> Result<(), String> {
        let Err(why) = self.try_values(values) else { return Ok(()) };
        if why.starts_with("expected") {
            return Err(why);
        }
        // The parser's own ranges are told to numbers only, so it is shown one that is out of every range.
        let range = self.try_values(&[i64::MAX.to_string()]).err();
        match range.as_deref().and_then(|told| told.split_once(" is not in ")) {
            Some((_, range)) => Err(format!("expected a number in {range}")),
            None => Err(why),
        }
    }

    fn try_values(&self, values: &[String]) -> Result<(), String> {
        let action = if self.several { ArgAction::Append } else { ArgAction::Set };
        let mut arg = Arg::new("value")
            .long("value")
            .action(action)
            .value_parser(self.parser.clone())
            .allow_hyphen_values(true)
            .require_equals(true);
        if let Some(delimiter) = self.delimiter {
            arg = arg.value_delimiter(delimiter);
        }
        let words = values.iter().map(|value| format!("--value={value}"));
        let parsed = Command::new("value").no_binary_name(true).arg(arg).try_get_matches_from(words);
        parsed.map(|_| ()).map_err(|error| {
            if let Some(source) = error.source() {
                return source.to_string();
            }
            match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(values)) if !values.is_empty() => {
                    format!("expected one of {}", values.join(", "))
                }
                _ => "is not a value it can have".to_owned(),
            }
        })
    }

    /// How a value is shown.
    pub fn show(&self, values: &[String]) -> String {
        if self.secret {
            return "\"[redacted]\"".to_owned();
        }
        match values {
            [one] if !self.several => literal(one),
            many => format!("[{}]", many.iter().map(|value| literal(value)).collect::<Vec<_>>().join(", ")),
        }
    }
}

/// A value as TOML writes it.
fn literal(value: &str) -> String {
    let plain =
        matches!(value, "true" | "false") || value.parse::<i64>().is_ok_and(|number| number.to_string() == value);
    if plain { value.to_owned() } else { toml::Value::String(value.to_owned()).to_string() }
}

fn collect(settings: &mut BTreeMap<String, Setting>, section: &str, command: &Command) {
    for arg in command.get_arguments() {
        let Some((key, env)) = names(arg) else { continue };
        let switch = matches!(arg.get_action(), ArgAction::SetTrue);
        let mut default: Vec<String> =
            arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
        if switch && default.is_empty() {
            default.push("false".to_owned());
        }
        let several = matches!(arg.get_action(), ArgAction::Append)
            || arg.get_value_delimiter().is_some()
            || arg.get_num_args().is_some_and(|count| count.max_values() > 1);
        let setting = settings.entry(key).or_insert_with(|| Setting {
            env,
            secret: arg.is_hide_env_values_set(),
            several,
            parser: if switch { ValueParser::bool() } else { arg.get_value_parser().clone() },
            delimiter: arg.get_value_delimiter(),
            defaults: BTreeMap::new(),
        });
        setting.defaults.insert(section.to_owned(), default);
    }
}

/// Key and variable of an option that is a setting.
fn names(arg: &Arg) -> Option<(String, String)> {
    let key = arg.get_long()?.to_owned();
    let env = arg.get_env()?.to_str()?.to_owned();
    (key != "config").then_some((key, env))
}
