//! From defaults, file, environment and flags to a program's arguments.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, CommandFactory, FromArgMatches};

use crate::effective::{Effective, Layers, invoked};
use crate::error::{Refusal, SettingsError};
use crate::layer::Layer;
use crate::schema::Schema;
use crate::variables::UnknownVariables;

/// Names the variable that `--config` reads.
const CONFIG_VARIABLE: &str = "PROOFMILL_CONFIG";

/// The options of every program that has settings.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigArgs {
    /// Configuration file (TOML): keys are the names of the options below that have a variable
    #[arg(long, env = CONFIG_VARIABLE, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Print the settings that apply to the command and where each comes from, and end
    #[arg(long, global = true)]
    pub check_config: bool,
    /// Print the defaults as a configuration file, which is the reference of all settings, and end
    #[arg(long, global = true)]
    pub default_config: bool,
}

/// A program's arguments, and where each setting came from.
pub struct Loaded<C> {
    /// The arguments.
    pub cli: C,
    /// What applies.
    pub effective: Effective,
    /// What to warn of: variables that look like settings and are none.
    pub unknown: Option<UnknownVariables>,
}

/// Reads a program's arguments. `manual` is its embedded defaults file; `sections` are the commands that have settings, each of which
/// may have a table in a file. `words` begin with the program's name.
///
/// # Errors
/// [`Refusal`]; it knows how to end the process.
pub fn load<C: CommandFactory + FromArgMatches>(
    manual: &str,
    sections: &[&str],
    words: impl IntoIterator<Item = impl Into<OsString>>,
) -> Result<Loaded<C>, Refusal> {
    let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
    let command = C::command();
    let schema = Schema::of(&command, sections);
    let early = Early::of(&words);
    if early.default_config {
        return Err(Refusal::Defaults(manual.to_owned()));
    }
    let defaults = Layer::parse("the defaults", manual, &schema)?;
    let file = early.config.map(|path| read(&path, &schema)).transpose()?;
    let mut layers = Layers { schema, defaults, file, overruled: BTreeSet::new() };

    let parse = |layers: &Layers| {
        let mut command = layered(C::command(), "", layers);
        let matches = command.try_get_matches_from_mut(&words).map_err(|error| whose_fault(error, layers))?;
        Ok::<_, Refusal>((command, matches))
    };
    let (mut command, mut matches) = parse(&layers)?;
    layers.overruled = overruled(&command, &matches, &layers)?;
    if !layers.overruled.is_empty() {
        (command, matches) = parse(&layers)?;
    }
    let cli = C::from_arg_matches(&matches).map_err(|error| Refusal::CommandLine(Box::new(error)))?;
    let unknown = UnknownVariables::find(&command, std::env::vars_os().map(|(name, _)| name));
    Ok(Loaded { cli, effective: Effective::of(&command, &matches, &layers), unknown })
}

/// What must be known before the command line can be read.
struct Early {
    config: Option<PathBuf>,
    default_config: bool,
}

impl Early {
    fn of(words: &[OsString]) -> Self {
        let mut early = Self { config: None, default_config: false };
        let mut words = words.iter().skip(1).take_while(|word| *word != "--");
        while let Some(word) = words.next() {
            match word.to_str() {
                Some("--config") => early.config = words.next().map(PathBuf::from),
                Some("--default-config") => early.default_config = true,
                Some(word) => {
                    if let Some(path) = word.strip_prefix("--config=") {
                        early.config = Some(PathBuf::from(path));
                    }
                }
                None => {}
            }
        }
        let variable = || std::env::var_os(CONFIG_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        early.config = early.config.or_else(variable);
        early
    }
}

fn read(path: &PathBuf, schema: &Schema) -> Result<Layer, SettingsError> {
    let origin = path.display().to_string();
    let text = fs::read_to_string(path)
        .map_err(|error| SettingsError::Unreadable { origin: origin.clone(), why: error.to_string() })?;
    Layer::parse(&origin, &text, schema)
}

/// The command with what the files say as the defaults of its options.
fn layered(command: Command, section: &str, layers: &Layers) -> Command {
    let command = command.mut_args(|arg| with_default(arg, section, layers));
    command.mut_subcommands(|sub| {
        let section = if section.is_empty() { sub.get_name().to_owned() } else { section.to_owned() };
        layered(sub, &section, layers)
    })
}

fn with_default(arg: Arg, section: &str, layers: &Layers) -> Arg {
    // `-1` is then a value that is refused with its option's name and range, and no unknown option.
    let arg = if arg.get_action().takes_values() { arg.allow_negative_numbers(true) } else { arg };
    let Some((key, _)) = layers.schema.of_arg(&arg) else { return arg };
    let values = layers.value(section, key).map(|(values, _)| values.to_vec());
    // A switch that a file turned on must be possible to turn off again.
    let arg = if matches!(arg.get_action(), ArgAction::SetTrue) {
        arg.action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .default_value("false")
            .hide_default_value(true)
            .value_name("BOOL")
            .hide_possible_values(true)
    } else {
        arg
    };
    match values {
        // The parser keeps what it is given for ever: a few texts, read once in the life of a process.
        Some(values) if !values.is_empty() => {
            arg.required(false).default_values(values.into_iter().map(|value| &*value.leak()))
        }
        _ => arg,
    }
}

/// Settings of the file that give way: a flag or a variable sets another one that excludes them.
fn overruled(command: &Command, matches: &ArgMatches, layers: &Layers) -> Result<BTreeSet<String>, SettingsError> {
    let mut overruled = BTreeSet::new();
    let Some(file) = &layers.file else { return Ok(overruled) };
    for (section, command, matches) in invoked(command, matches) {
        for first in command.get_arguments() {
            for second in command.get_arg_conflicts_with(first) {
                let keys = layers.schema.of_arg(first).zip(layers.schema.of_arg(second));
                let Some(((first_key, _), (second_key, _))) = keys else { continue };
                let explicit = |arg: &Arg| {
                    let source = matches.value_source(arg.get_id().as_str());
                    matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
                };
                let in_file = |key: &str| file.get(&section, key).is_some();
                match (explicit(first), explicit(second)) {
                    (true, _) if in_file(second_key) => overruled.insert(second_key.to_owned()),
                    (_, true) if in_file(first_key) => overruled.insert(first_key.to_owned()),
                    (false, false) if in_file(first_key) && in_file(second_key) => {
                        let (first, second) = (first_key.to_owned(), second_key.to_owned());
                        return Err(SettingsError::Exclusive { origin: file.origin.clone(), first, second });
                    }
                    _ => false,
                };
            }
        }
    }
    Ok(overruled)
}

/// A bad value in the environment is told with its variable: the parser knows only the option's name.
fn whose_fault(mut error: clap::Error, layers: &Layers) -> Refusal {
    if matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) {
        for (key, setting) in layers.schema.iter() {
            let Some(value) = std::env::var_os(&setting.env) else { continue };
            let values = vec![value.to_string_lossy().into_owned()];
            if let Err(why) = setting.check(&values) {
                let shown = if setting.secret { "[redacted]".to_owned() } else { format!("{:?}", values[0]) };
                return SettingsError::Value { origin: setting.env.clone(), key: key.to_owned(), shown, why }.into();
            }
        }
        // The parser quotes what stands on the command line.
        if let Some(ContextValue::String(told)) = error.get(ContextKind::InvalidArg) {
            let flag = told.split_whitespace().next().and_then(|flag| flag.strip_prefix("--"));
            if layers.schema.iter().any(|(key, setting)| setting.secret && flag == Some(key)) {
                error.insert(ContextKind::InvalidValue, ContextValue::String("[redacted]".to_owned()));
            }
        }
    }
    Refusal::CommandLine(Box::new(error))
}
