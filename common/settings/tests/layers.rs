//! The four sources, through a program like ours. Environment variables are left to the programs' own tests, which run them as
//! processes: a test must not change the environment of its neighbours.
#![allow(clippy::unwrap_used, missing_docs)]

use clap::{Args, Parser, Subcommand, ValueEnum};
use proofmill_settings::{ConfigArgs, Loaded, Refusal, check_manual, load, number};

#[derive(Parser, Debug)]
#[command(name = "mill")]
struct Cli {
    #[command(flatten)]
    config: ConfigArgs,
    /// A secret
    #[arg(long, env = "SETTINGS_TEST_URL", hide_env_values = true, global = true)]
    database_url: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Serve(ServeArgs),
    Run(RunArgs),
    /// Has no settings
    List {
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args, Debug)]
struct ServeArgs {
    #[arg(long, env = "SETTINGS_TEST_RATE", default_value_t = 10, value_parser = number(1u32..=1000))]
    rate: u32,
    #[arg(long, env = "SETTINGS_TEST_PORT", default_value_t = 80, value_parser = clap::value_parser!(u16).range(1..=9000))]
    port: u16,
    #[arg(long, env = "SETTINGS_TEST_OPEN")]
    open: bool,
    #[arg(long, env = "SETTINGS_TEST_SHAPE", value_enum)]
    shape: Option<Shape>,
    #[arg(long, env = "SETTINGS_TEST_NAME", conflicts_with = "number")]
    name: Option<String>,
    #[arg(long, env = "SETTINGS_TEST_NUMBER")]
    number: Option<u32>,
    #[arg(long, env = "SETTINGS_TEST_PATHS", value_delimiter = ':')]
    paths: Vec<String>,
}

#[derive(Args, Debug)]
struct RunArgs {
    #[arg(long, env = "SETTINGS_TEST_PORT", default_value_t = 81)]
    port: u16,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq)]
enum Shape {
    Round,
    Square,
}

const SECTIONS: &[&str] = &["serve", "run"];

const MANUAL: &str = r#"
# Where the data is
#database-url = "postgres://user:password@host/database"

# How many
rate = 10

# Where to listen
port = 80

# Whether anybody may come in
open = false

# Its shape
#shape = "round"

# One of the two
#name = "x"

# One of the two
#number = 5

# Where to look
#paths = ["a", "b"]

[run]
# Where to listen
port = 81
"#;

fn start(file: Option<&str>, words: &[&str]) -> Result<Loaded<Cli>, Refusal> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mill.toml");
    let mut all = vec!["mill".to_owned()];
    if let Some(text) = file {
        std::fs::write(&path, text).unwrap();
        all.push(format!("--config={}", path.display()));
    }
    all.extend(words.iter().map(|word| (*word).to_owned()));
    load::<Cli>(MANUAL, SECTIONS, all)
}

fn serve(file: Option<&str>, words: &[&str]) -> ServeArgs {
    match start(file, words).unwrap().cli.command {
        Command::Serve(args) => args,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(file: Option<&str>, words: &[&str]) -> String {
    start(file, words).err().unwrap().to_string()
}

#[test]
fn a_file_wins_over_the_defaults_and_a_flag_over_the_file() {
    assert_eq!(serve(None, &["serve"]).rate, 10);
    assert_eq!(serve(Some("rate = 20"), &["serve"]).rate, 20);
    assert_eq!(serve(Some("rate = 20"), &["serve", "--rate", "30"]).rate, 30);
    assert_eq!(serve(Some("shape = \"square\""), &["serve"]).shape, Some(Shape::Square));
    assert_eq!(serve(Some("paths = [\"x\", \"y\"]"), &["serve"]).paths, ["x", "y"]);
    assert_eq!(serve(Some("paths = \"x:y\""), &["serve"]).paths, ["x", "y"]);
    assert_eq!(serve(Some("paths = [\"x\"]"), &["serve", "--paths", "z"]).paths, ["z"]);
    let with_url = start(Some("database-url = \"postgres://a\""), &["serve"]).unwrap();
    assert_eq!(with_url.cli.database_url.as_deref(), Some("postgres://a"));
    assert!(matches!(start(Some("rate = 20"), &["list", "--json"]).unwrap().cli.command, Command::List { json: true }));
}

#[test]
fn a_switch_goes_both_ways() {
    assert!(!serve(None, &["serve"]).open);
    assert!(serve(None, &["serve", "--open"]).open);
    assert!(serve(Some("open = true"), &["serve"]).open);
    assert!(!serve(Some("open = true"), &["serve", "--open=false"]).open);
}

#[test]
fn a_flag_overrules_what_it_excludes_in_a_file() {
    let args = serve(Some("name = \"x\""), &["serve", "--number", "5"]);
    assert_eq!((args.name, args.number), (None, Some(5)));
    let args = serve(Some("number = 5"), &["serve", "--name", "x"]);
    assert_eq!((args.name.as_deref(), args.number), (Some("x"), None));
    assert_eq!(serve(Some("number = 5"), &["serve"]).number, Some(5));
    let both = refused(Some("number = 5\nname = \"x\""), &["serve"]);
    assert!(both.contains("`name`") && both.contains("`number`") && both.contains("exclude"), "{both}");
    assert!(refused(None, &["serve", "--number", "5", "--name", "x"]).contains("cannot be used with"));
}

#[test]
fn a_table_is_for_its_command_and_wins_there() {
    let port = |file, word: &str| match start(file, &[word]).unwrap().cli.command {
        Command::Serve(args) => args.port,
        Command::Run(args) => args.port,
        other => panic!("{other:?}"),
    };
    assert_eq!((port(None, "serve"), port(None, "run")), (80, 81));
    let file = Some("port = 1\n[serve]\nport = 2");
    assert_eq!((port(file, "serve"), port(file, "run")), (2, 1));
    let message = refused(Some("[run]\nrate = 5"), &["run"]);
    assert!(message.contains("`rate`") && message.contains("[run]"), "{message}");
}

#[test]
fn a_bad_value_is_refused_with_its_name_its_value_and_what_is_allowed() {
    for (file, expected) in [
        ("rate = 0", "mill.toml: `rate` = 0: expected a number from 1 to 1000"),
        ("rate = \"many\"", "mill.toml: `rate` = \"many\": expected a number from 1 to 1000"),
        ("rate = [1, 2]", "`rate` = [1, 2]: it takes one value, not a list"),
        ("rate = 2026-11-22", "`rate` = 2026-11-22: expected a text"),
        ("port = 9001", "`port` = 9001: expected a number in 1..=9000"),
        ("port = \"http\"", "`port` = \"http\": expected a number in 1..=9000"),
        ("shape = \"oval\"", "`shape` = \"oval\": expected one of round, square"),
        ("open = \"perhaps\"", "`open` = \"perhaps\": expected one of true, false"),
    ] {
        // The whole file is checked, also what the command does not use.
        for word in ["serve", "run"] {
            let message = refused(Some(file), &[word]);
            assert!(message.contains(expected), "{file}: {message}");
        }
    }
    let flag = refused(None, &["serve", "--rate", "0"]);
    assert!(flag.contains("'0'") && flag.contains("--rate") && flag.contains("from 1 to 1000"), "{flag}");
}

#[test]
fn an_unknown_key_is_refused_by_name_with_the_nearest() {
    let message = refused(Some("database_url = \"postgres://user:hunter2@host\""), &["serve"]);
    assert!(message.contains("`database_url` is no setting; did you mean `database-url`?"), "{message}");
    assert!(!message.contains("hunter2"));
    let message = refused(Some("[serve]\nrates = 5"), &["serve"]);
    assert!(message.contains("`rates`") && message.contains("`rate`"), "{message}");
    let message = refused(Some("[list]\njson = true"), &["serve"]);
    assert!(message.contains("`list` is no setting"), "{message}");
    let message = refused(Some("colour = 1"), &["serve"]);
    assert!(message.ends_with("`colour` is no setting"), "nothing is like it: {message}");
    let config = refused(Some("config = \"x\""), &["serve"]);
    assert!(config.contains("`config` is no setting"), "{config}");
}

#[test]
fn what_is_no_toml_is_told_by_place_and_quotes_nothing() {
    let message = refused(Some("rate = 5\ndatabase-url = \"postgres://user:hunter2@host"), &["serve"]);
    assert!(message.contains("line 2") && !message.contains("hunter2"), "{message}");
    let missing = load::<Cli>(MANUAL, SECTIONS, ["mill", "--config", "/nowhere/mill.toml", "serve"]).err().unwrap();
    assert!(missing.to_string().contains("/nowhere/mill.toml"), "{missing}");
}

#[test]
fn what_applies_is_shown_with_its_source_and_without_secrets() {
    let file = "database-url = \"postgres://user:hunter2@host\"\nrate = 20\npaths = [\"a b\"]";
    let shown = start(Some(file), &["serve", "--port", "8080", "--check-config"]).unwrap();
    assert!(shown.cli.config.check_config);
    let text = shown.effective.to_string();
    for line in ["port = 8080  # --port", "open = false  # the defaults", "# shape is not set"] {
        assert!(text.lines().any(|shown| shown == line), "{line} in {text}");
    }
    for (start, end) in
        [("database-url = \"[redacted]\"", "mill.toml"), ("rate = 20", "mill.toml"), ("paths = [\"a b\"]", "mill.toml")]
    {
        assert!(text.lines().any(|shown| shown.starts_with(start) && shown.ends_with(end)), "{start} in {text}");
    }
    assert!(!text.contains("hunter2") && text.starts_with("# mill serve:"), "{text}");
    let again = start(Some(&text.replace("database-url", "#")), &["serve"]).unwrap();
    assert!(matches!(again.cli.command, Command::Serve(args) if args.port == 8080), "what is shown can be read again");
}

#[test]
fn the_manual_is_printed_and_is_held_to_the_program() {
    let asked = load::<Cli>(MANUAL, SECTIONS, ["mill", "--default-config"]).err().unwrap();
    assert!(matches!(asked, Refusal::Defaults(text) if text == MANUAL));
    assert_eq!(check_manual::<Cli>(MANUAL, SECTIONS), Vec::<String>::new());
    for (from, to, mistake) in [
        ("rate = 10", "rate = 11", "program's default"),
        ("#shape = \"round\"", "", "`shape` is missing"),
        ("#shape = \"round\"", "#shape = \"oval\"", "expected one of"),
        ("# How many\n", "", "no comment"),
        ("open = false", "open = false\nclosed = true", "`closed` is no setting"),
    ] {
        let found = check_manual::<Cli>(&MANUAL.replace(from, to), SECTIONS).join("\n");
        assert!(found.contains(mistake), "{mistake}: {found}");
    }
}
