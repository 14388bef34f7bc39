//! Debian packages, by name, only those that are missing.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{self, Stop};

/// A package and what it is for.
pub struct Need {
    /// Debian's name of it.
    pub package: &'static str,
    /// What it is for, in a few words.
    pub reason: &'static str,
}

const LIBPQ: Need = Need { package: "libpq-dev", reason: "PostgreSQL client library" };

/// Needed to build the product.
pub const FOR_BUILDING: &[Need] = &[LIBPQ];

/// Needed to build and test it.
pub const FOR_TESTS: &[Need] = &[
    LIBPQ,
    Need { package: "libssl-dev", reason: "OpenSSL, which the tests compare signature checks with" },
    Need { package: "pkg-config", reason: "finds OpenSSL for them" },
    Need { package: "postgresql", reason: "a private database server for the tests" },
    Need { package: "rabbitmq-server", reason: "a private broker for the tests" },
];

/// Installs what is missing; without root it says how, and stops.
pub fn ensure(needs: &[Need]) -> Result<()> {
    let installed = installed(needs)?;
    let missing: Vec<&Need> = needs.iter().filter(|need| !installed.contains(need.package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for need in &missing {
        eprintln!("set-up: missing Debian package {} ({})", need.package, need.reason);
    }
    let names: Vec<&str> = missing.iter().map(|need| need.package).collect();
    if process::user_id()? != 0 {
        return Err(Stop { code: 2, message: advice(&names) }.into());
    }
    process::check(apt().arg("update"))?;
    // Debian starts a server when it installs one; these are wanted for private instances only.
    let _quiet = NoAutostart::new()?;
    process::check(apt().args(["install", "--yes", "--no-install-recommends"]).args(&names))
}

fn installed(needs: &[Need]) -> Result<HashSet<String>> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${Package} ${db:Status-Status}\n"]);
    query.args(needs.iter().map(|need| need.package));
    // An unknown package makes the exit status 1, and the others are listed all the same.
    let names: Vec<&str> = needs.iter().map(|need| need.package).collect();
    let output = query.output().map_err(|_| Stop {
        code: 2,
        message: format!(
            "this machine has no dpkg-query, so it is no Debian; install what these Debian packages hold, and run on Debian or in a Debian container: {}",
            names.join(" ")
        ),
    })?;
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(lines.lines().filter_map(|line| line.strip_suffix(" installed")).map(str::to_owned).collect())
}

fn advice(names: &[&str]) -> String {
    format!(
        "set-up needs root for this; run it and then the same command again:\n\n    sudo apt-get update && sudo apt-get install --yes --no-install-recommends {}\n",
        names.join(" ")
    )
}

fn apt() -> Command {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

/// While it lives, maintainer scripts start no service (invoke-rc.d and deb-systemd-invoke ask
/// `policy-rc.d`; 101 means "forbidden by policy").
struct NoAutostart {
    ours: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";
const POLICY_TEXT: &str =
    "#!/bin/sh\n# Written by proofmill's cargo xtask for one apt-get run; safe to remove.\nexit 101\n";

impl NoAutostart {
    fn new() -> Result<Self> {
        let path = Path::new(POLICY);
        // One that is there already is the administrator's, unless a killed run of ours left it.
        if path.exists() && fs::read_to_string(path).is_ok_and(|text| text != POLICY_TEXT) {
            return Ok(Self { ours: false });
        }
        fs::write(path, POLICY_TEXT).with_context(|| format!("cannot write {POLICY}"))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("cannot make {POLICY} executable"))?;
        Ok(Self { ours: true })
    }
}

impl Drop for NoAutostart {
    fn drop(&mut self) {
        if self.ours && fs::remove_file(POLICY).is_err() {
            eprintln!("set-up: could not remove {POLICY}; please do, or no service starts by itself");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_installed_packages_count_as_installed() {
        let needs = [Need { package: "libc6", reason: "" }, Need { package: "proofmill-no-such-package", reason: "" }];
        let installed = installed(&needs).unwrap();
        assert!(installed.contains("libc6"));
        assert_eq!(installed.len(), 1);
    }

    #[test]
    fn the_advice_is_a_command_to_paste() {
        let text = advice(&["libpq-dev", "postgresql"]);
        assert!(text.contains("sudo apt-get install --yes --no-install-recommends libpq-dev postgresql\n"));
    }
}
