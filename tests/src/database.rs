//! A database for one test, copied from a migrated template.

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

use crate::environment;

/// A database of its own.
pub struct TestDatabase {
    /// Where it is.
    pub url: String,
    /// What it is called, which no other test's is.
    pub name: String,
}

impl TestDatabase {
    /// A new one, with the schema in it. `server` is the superuser's URL.
    pub fn create(server: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        ensure_template(server)?;
        let name = format!("test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::SeqCst));
        // A template cannot be copied while another copy is being made of it.
        let _lock = lock(server)?;
        sql(server, &format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}"))?;
        Ok(Self { url: with_database(server, &name)?, name })
    }
}

const TEMPLATE: &str = "proofmill_template";

/// Migrates once per server, whichever test process comes first.
fn ensure_template(server: &str) -> Result<()> {
    let _lock = lock(server)?;
    let there = sql(server, &format!("SELECT count(*) FROM pg_database WHERE datname = '{TEMPLATE}'"))?;
    if there.trim() == "1" {
        return Ok(());
    }
    // Under another name until it is whole.
    let unfinished = format!("{TEMPLATE}_unfinished");
    sql(server, &format!("DROP DATABASE IF EXISTS {unfinished}"))?;
    sql(server, &format!("CREATE DATABASE {unfinished}"))?;
    let output = environment::command("proofmill-api")?
        .args(["migrate", "--database-url", &with_database(server, &unfinished)?])
        .output()
        .context("cannot start proofmill-api")?;
    if !output.status.success() {
        bail!("`proofmill-api migrate` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    sql(server, &format!("ALTER DATABASE {unfinished} RENAME TO {TEMPLATE}"))?;
    Ok(())
}

fn lock(server: &str) -> Result<File> {
    let name: String = server.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let path = std::env::temp_dir().join(format!("{name}.lock"));
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

fn sql(server: &str, statement: &str) -> Result<String> {
    let output = Command::new("psql")
        .args([server, "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--command", statement])
        .output()
        .context("cannot start psql")?;
    if !output.status.success() {
        bail!("`{statement}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn with_database(server: &str, name: &str) -> Result<String> {
    let (base, _) = server.rsplit_once('/').context("a database URL names a database")?;
    Ok(format!("{base}/{name}"))
}
