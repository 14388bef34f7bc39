//! Environment variables that look like settings and are none: mistyped, most likely, and else passed over without a word.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;

use clap::{Command, CommandFactory};

/// What every variable of ours begins with.
const PREFIX: &str = "PROOFMILL_";

/// The variables of all programs, without the prefix: they often share one environment, and what means something to another one
/// is no mistake.
const LISTED: &[&str] = &[
    "ADDRESS_RATE",
    "ALLOW_LOOPBACK_WEBHOOKS",
    "ALLOW_NON_COMMERCIAL",
    "AMQP_PREFIX",
    "AMQP_URI",
    "CONFIG",
    "DATABASE_POOL",
    "DATABASE_URL",
    "DATA_DIR",
    "DEVICE",
    "DOCS_URL",
    "EVIDENCE_MEMORY",
    "FACE_MEMORY",
    "FALSE_MATCH_RATE",
    "KEYS_DIR",
    "KEY_RATE",
    "LEASE",
    "LISTEN",
    "LOG",
    "LOG_FORMAT",
    "MAX_BATCH",
    "MAX_OUTBOX_AGE",
    "MAX_TRIES",
    "METRICS_LISTEN",
    "MODELS",
    "OPERATING_POINT",
    "PREFETCH",
    "RECORD_ARRIVALS",
    "REQUEST_TIMEOUT",
    "THREADS",
    "TRUST",
    "TRUSTED_PROXIES",
    "TRUST_ANCHOR",
    "TRUST_RELOAD",
    "TRUST_STORE",
    "VAULT_DIR",
    "VERIFY_BASE_URL",
    // Of building and testing.
    "BENCH_API_OPTIONS",
    "COMMIT",
    "FUZZ_CORPUS",
    "GATES",
    "NVRTC",
    "PEER_PYTHON",
    "PHOTOS",
    "RABBITMQ_SERVER",
    "REFERENCE_DATA",
    "TEST_DATABASE_URL",
    "UPDATE",
    "WRITE_PTX",
];

/// Variables that no program of ours knows; their values are not kept. Shows itself as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownVariables(Vec<(String, Option<String>)>);

impl UnknownVariables {
    /// Looks for them among these names.
    pub(crate) fn find(command: &Command, names: impl Iterator<Item = OsString>) -> Option<Self> {
        let known = known(command);
        let nearest = |name: &str| {
            let likeness = |known: &str| strsim::jaro_winkler(name, known);
            let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
            // The common prefix alone makes any two of them alike.
            (likeness(best) > 0.93).then(|| best.clone())
        };
        let unknown: BTreeSet<String> = names
            .filter_map(|name| name.into_string().ok())
            .filter(|name| name.starts_with(PREFIX) && !known.contains(name))
            .collect();
        let unknown: Vec<_> = unknown
            .into_iter()
            .map(|name| {
                let near = nearest(&name);
                (name, near)
            })
            .collect();
        (!unknown.is_empty()).then_some(Self(unknown))
    }
}

impl fmt::Display for UnknownVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the environment sets what is no setting, which has no effect:")?;
        for (index, (name, nearest)) in self.0.iter().enumerate() {
            let joint = if index == 0 { "" } else { "," };
            // Names come from outside as well.
            write!(f, "{joint} {}", name.escape_debug())?;
            if let Some(nearest) = nearest {
                write!(f, " (did you mean {nearest}?)")?;
            }
        }
        Ok(())
    }
}

/// The variables of a program that are missing in the list of all programs' variables, for a test to find none.
pub fn unlisted_variables<C: CommandFactory>() -> Vec<String> {
    let listed: BTreeSet<String> = LISTED.iter().map(|name| format!("{PREFIX}{name}")).collect();
    let mut own = BTreeSet::new();
    collect(&C::command(), &mut own);
    own.into_iter().filter(|name| !listed.contains(name)).collect()
}

fn known(command: &Command) -> BTreeSet<String> {
    let mut known: BTreeSet<String> = LISTED.iter().map(|name| format!("{PREFIX}{name}")).collect();
    collect(command, &mut known);
    known
}

fn collect(command: &Command, names: &mut BTreeSet<String>) {
    names.extend(command.get_arguments().filter_map(|arg| Some(arg.get_env()?.to_str()?.to_owned())));
    for sub in command.get_subcommands() {
        collect(sub, names);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Arg;

    fn found(names: &[&str]) -> Option<String> {
        let own = Arg::new("own").long("own").env("PROOFMILL_OF_ITS_OWN");
        let command = Command::new("mill").subcommand(Command::new("run").arg(own));
        UnknownVariables::find(&command, names.iter().map(OsString::from)).map(|unknown| unknown.to_string())
    }

    #[test]
    fn a_mistyped_variable_is_named_with_what_was_meant_and_others_are_left_alone() {
        let fine =
            ["PATH", "PROOFMILL_KEY_RATE", "PROOFMILL_OF_ITS_OWN", "PROOFMILLE", "proofmill_x", "PROOFMILL_LEASE"];
        assert_eq!(found(&fine), None);
        assert_eq!(
            found(&["PROOFMILL_KEYRATE", "HOME", "PROOFMILL_ZZZ\u{1b}["]).unwrap(),
            "the environment sets what is no setting, which has no effect: PROOFMILL_KEYRATE (did you mean \
             PROOFMILL_KEY_RATE?), PROOFMILL_ZZZ\\u{1b}["
        );
    }
}
