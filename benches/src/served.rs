//! `proofmill-api serve` over PostgreSQL and RabbitMQ, and no worker: what it accepts stays accepted.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use proofmill_tests::database::TestDatabase;
use proofmill_tests::environment;
use proofmill_tests::process::{self, Running};

use crate::meter::{self, Metered};

/// The running API, with an organisation and its key.
pub struct Served {
    /// `host:port`.
    pub address: String,
    /// The API key.
    pub key: String,
    /// The database.
    pub database: TestDatabase,
    amqp_port: u16,
    api: Running,
    _folder: tempfile::TempDir,
}

impl Served {
    /// Starts it. The quota is as wide as it can be: it is not what is measured.
    ///
    /// # Errors
    /// When a server is not there or the program does not start.
    pub async fn start() -> Result<Self> {
        let cluster = environment::cluster().context("`cargo xtask bench` starts the servers")?;
        let database = TestDatabase::create(&cluster.database_url)?;
        let folder = tempfile::Builder::new().prefix("proofmill-bench-").tempdir()?;
        let free = || -> Result<String> { Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.to_string()) };
        let (address, metrics) = (free()?, free()?);
        let keys = folder.path().join("keys");
        let mut serve = environment::command("proofmill-api")?;
        serve.arg("serve").args(["--listen", &address, "--metrics-listen", &metrics]);
        serve.args(["--database-url", &database.url, "--amqp-uri", &cluster.amqp_uri]);
        serve.args(["--amqp-prefix", &format!("bench-{}", database.name), "--key-rate", "1000000"]);
        serve.arg("--keys-dir").arg(&keys).arg("--vault-dir").arg(folder.path().join("vault"));
        if let Some(extra) = std::env::var_os("PROOFMILL_BENCH_API_OPTIONS") {
            serve.args(extra.to_string_lossy().split_whitespace());
        }
        let mut api = Running::start("proofmill-api", serve, &folder.path().join("api.log"))?;
        api.ready(&metrics).await?;
        let administer = |words: &[&str]| -> Result<serde_json::Value> {
            let mut command = environment::command("proofmill-api")?;
            command.args(words).args(["--json", "--database-url", &database.url]).arg("--keys-dir").arg(&keys);
            process::json(&mut command)
        };
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned).context("the command line prints ids");
        let organisation = text(&administer(&["org", "create", "--name", "bench"])?["id"])?;
        let key = text(&administer(&["keys", "create", "--org", &organisation])?["api_key"])?;
        let authority = cluster.amqp_uri.rsplit('@').next().and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let amqp_port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(5672);
        Ok(Self { address, key, database, amqp_port, api, _folder: folder })
    }

    /// Resident memory, in MiB.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn resident_mib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.api.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the kernel tells it")?;
        Ok(line.trim().trim_end_matches(" kB").trim().parse::<f64>()? / 1024.0)
    }

    /// Who has to do with a submission, by name; the broker is missing where the kernel does not say whose it is.
    ///
    /// # Errors
    /// When the kernel or PostgreSQL tells nothing.
    pub fn metered(&self) -> Result<Vec<(&'static str, Metered)>> {
        let lasting = self.sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")?;
        let postgres = meter::parent(lasting.parse().context("PostgreSQL has a checkpointer")?)?;
        let mut metered =
            vec![("the api", Metered::Process(self.api.id())), ("PostgreSQL, all of it", Metered::Family(postgres))];
        if let Some(broker) = meter::listener(self.amqp_port)? {
            metered.push(("RabbitMQ", Metered::Process(broker)));
        }
        metered
            .extend([("the load generator", Metered::Process(std::process::id())), ("the machine", Metered::Machine)]);
        Ok(metered)
    }

    /// What the database's server has counted since its start: commits, syncs of its write-ahead log, and its bytes.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub fn counted(&self) -> Result<[f64; 3]> {
        let told = self.sql(
            "SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()), wal_sync, wal_bytes FROM pg_stat_wal",
        )?;
        let mut columns = told.split('|').map(str::parse::<f64>);
        let mut next = || columns.next().context("a column is missing")?.context("a column is no number");
        Ok([next()?, next()?, next()?])
    }

    /// Runs statements behind the API's back.
    ///
    /// # Errors
    /// When PostgreSQL refuses one.
    pub fn sql(&self, statements: &str) -> Result<String> {
        let output = Command::new("psql")
            .args([
                &self.database.url,
                "--no-psqlrc",
                "--quiet",
                "--tuples-only",
                "--no-align",
                "-v",
                "ON_ERROR_STOP=1",
            ])
            .args(["--command", statements])
            .output()
            .context("cannot start psql")?;
        ensure!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Copies of a session, with ids and times of their own: `from` to `to`, counted. What the API would have written,
    /// without the time that it would have taken.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub fn copy_session(&self, id: &str, from: usize, to: usize) -> Result<()> {
        let day = "86400000000";
        self.sql(&format!(
            "INSERT INTO sessions SELECT (jsonb_populate_record(t, jsonb_build_object(
                 'id', substr(t.id, 1, 13) || lpad(to_hex(n), 54, '0'),
                 'expires_at', t.expires_at + {day}))).*
             FROM sessions t, generate_series({from}, {to}) n WHERE t.id = '{id}'"
        ))?;
        Ok(())
    }

    /// Commits a second of transactions that insert one row, over so many connections (pgbench).
    ///
    /// # Errors
    /// When pgbench does.
    pub fn bare_commits(&self, connections: usize, seconds: u32) -> Result<f64> {
        self.sql("CREATE TABLE IF NOT EXISTS bench_commits (id BIGSERIAL PRIMARY KEY, octets BYTEA NOT NULL)")?;
        let script = self._folder.path().join("commit.sql");
        fs::write(&script, "INSERT INTO bench_commits (octets) VALUES (decode(repeat('00', 256), 'hex'));\n")?;
        let output = Command::new("pgbench")
            .args(["--no-vacuum", "--protocol=prepared", "--client", &connections.to_string(), "--jobs=1"])
            .args(["--time", &seconds.to_string(), "--file"])
            .arg(&script)
            .arg(&self.database.url)
            .output()
            .context("cannot start pgbench")?;
        ensure!(output.status.success(), "pgbench: {}", String::from_utf8_lossy(&output.stderr).trim());
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let rate = printed.lines().find_map(|line| line.strip_prefix("tps = ")).context("pgbench prints its rate")?;
        Ok(rate.split(' ').next().unwrap_or_default().parse()?)
    }
}
