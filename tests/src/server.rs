//! The product as it is run: the real programs, in either mode, on free ports.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::client::ApiClient;
use crate::database::TestDatabase;
use crate::environment::{self, Cluster};
use crate::process::{self, Running};

/// One of the two ways to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// `proofmill-worker standalone`: one process, SQLite, in-process queue.
    Embedded,
    /// `proofmill-api serve` and `proofmill-worker run`: PostgreSQL and RabbitMQ.
    Cluster,
}

/// How to start.
#[derive(Clone, Default)]
pub struct Options {
    /// Folders of certificates and revocation lists to trust.
    pub trust: Vec<PathBuf>,
    /// Further environment variables for every program.
    pub environment: Vec<(String, OsString)>,
    /// Where the data goes; a temporary folder when not given.
    pub data_dir: Option<PathBuf>,
    /// The servers of the cluster mode.
    pub cluster: Option<Cluster>,
}

/// The running product; stopped when dropped.
pub struct Server {
    mode: Mode,
    options: Options,
    data_dir: PathBuf,
    database: Option<TestDatabase>,
    api: Option<Running>,
    worker: Option<Running>,
    api_address: String,
    api_metrics: String,
    worker_metrics: String,
    _temporary: Option<tempfile::TempDir>,
}

impl Server {
    /// Starts everything and waits until it is ready.
    pub async fn start(mode: Mode, options: Options) -> Result<Self> {
        let (data_dir, temporary) = match &options.data_dir {
            Some(dir) => (dir.clone(), None),
            None => {
                let dir = tempfile::Builder::new().prefix("proofmill-it-").tempdir()?;
                (dir.path().to_owned(), Some(dir))
            }
        };
        let database = match (mode, &options.cluster) {
            (Mode::Embedded, _) => None,
            (Mode::Cluster, Some(cluster)) => Some(TestDatabase::create(&cluster.database_url)?),
            (Mode::Cluster, None) => anyhow::bail!("the cluster mode needs its servers"),
        };
        let [api_address, api_metrics, worker_metrics] = free_addresses()?;
        let mut server = Self {
            mode,
            options,
            data_dir,
            database,
            api: None,
            worker: None,
            api_address,
            api_metrics,
            worker_metrics,
            _temporary: temporary,
        };
        match mode {
            Mode::Embedded => server.start_worker().await?,
            Mode::Cluster => {
                server.start_api().await?;
                server.start_worker().await?;
            }
        }
        Ok(server)
    }

    /// Which mode it is.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// `host:port` of the API.
    pub fn address(&self) -> &str {
        &self.api_address
    }

    /// `host:port` of the worker's metrics, which in the embedded mode are everybody's.
    pub fn metrics_address(&self) -> &str {
        &self.worker_metrics
    }

    /// The folder with everything that is kept.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The database of the cluster mode.
    pub fn database_url(&self) -> Option<&str> {
        self.database.as_ref().map(|database| database.url.as_str())
    }

    /// A client of the API.
    pub fn client(&self, key: Option<&str>) -> ApiClient {
        ApiClient::new(&self.api_address, key)
    }

    /// Starts the program that verifies: `standalone` or `run`.
    pub async fn start_worker(&mut self) -> Result<()> {
        let mut command = environment::command("proofmill-worker")?;
        match self.mode {
            Mode::Embedded => {
                command.arg("standalone").args(["--listen", &self.api_address]);
                command.args(["--allow-loopback-webhooks", "--data-dir"]).arg(&self.data_dir);
            }
            Mode::Cluster => {
                command.arg("run");
                self.shared_options(&mut command)?;
            }
        }
        command.args(["--metrics-listen", &self.worker_metrics]);
        command.arg("--pack").arg(environment::pack()?);
        for trust in &self.options.trust {
            command.arg("--trust").arg(trust);
        }
        command.envs(self.options.environment.iter().cloned());
        let mut worker = Running::start("proofmill-worker", command, &self.data_dir.join("worker.log"))?;
        worker.ready(&self.worker_metrics).await?;
        self.worker = Some(worker);
        Ok(())
    }

    /// Starts `proofmill-api serve` (cluster mode).
    pub async fn start_api(&mut self) -> Result<()> {
        let mut command = environment::command("proofmill-api")?;
        command.arg("serve").args(["--listen", &self.api_address, "--metrics-listen", &self.api_metrics]);
        self.shared_options(&mut command)?;
        command.envs(self.options.environment.iter().cloned());
        let mut api = Running::start("proofmill-api", command, &self.data_dir.join("api.log"))?;
        api.ready(&self.api_metrics).await?;
        self.api = Some(api);
        Ok(())
    }

    /// The program that verifies.
    pub fn worker(&mut self) -> Result<&mut Running> {
        self.worker.as_mut().context("the worker is not running")
    }

    /// The program that serves the API.
    pub fn api(&mut self) -> Result<&mut Running> {
        match self.mode {
            Mode::Embedded => self.worker(),
            Mode::Cluster => self.api.as_mut().context("the api is not running"),
        }
    }

    /// `kill -9` of the program that verifies; in the embedded mode that is all of it.
    pub fn kill_worker(&mut self) -> Result<()> {
        self.worker.take().context("the worker is not running")?.kill()
    }

    /// `kill -9` of the program that serves the API; in the embedded mode that is all of it.
    pub fn kill_api(&mut self) -> Result<()> {
        match self.mode {
            Mode::Embedded => self.kill_worker(),
            Mode::Cluster => self.api.take().context("the api is not running")?.kill(),
        }
    }

    /// Starts the program that serves the API again, where it was.
    pub async fn serve_again(&mut self) -> Result<()> {
        match self.mode {
            Mode::Embedded => self.start_worker().await,
            Mode::Cluster => self.start_api().await,
        }
    }

    /// Whether every program that was started is still there.
    pub fn lives(&mut self) -> bool {
        self.worker.iter_mut().chain(&mut self.api).all(Running::lives)
    }

    /// Leaves the programs running when this value goes; their process ids.
    pub fn keep(&mut self) -> Vec<u32> {
        self.worker
            .iter_mut()
            .chain(&mut self.api)
            .map(|program| {
                program.keep();
                program.id()
            })
            .collect()
    }

    /// Creates an organisation by the command line; its id.
    pub fn create_organisation(&self, name: &str) -> Result<String> {
        let printed = process::json(self.api_command(&["org", "create"])?.args(["--name", name, "--json"]))?;
        text(&printed, "id")
    }

    /// Creates an API key by the command line.
    pub fn create_key(&self, organisation: &str) -> Result<String> {
        let printed = process::json(self.api_command(&["keys", "create"])?.args(["--org", organisation, "--json"]))?;
        text(&printed, "api_key")
    }

    /// Changes an organisation's policy by the command line.
    pub fn set_policy(&self, organisation: &str, options: &[&str]) -> Result<()> {
        process::json(self.api_command(&["org", "set", organisation])?.args(options).arg("--json"))?;
        Ok(())
    }

    /// Registers a reader's public key by the command line.
    pub fn add_reader_key(&self, organisation: &str, jwk: &Value) -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), jwk.to_string())?;
        let mut command = self.api_command(&["org", "reader-keys", "add", "--org", organisation, "--json"])?;
        process::json(command.arg("--key").arg(file.path()))?;
        Ok(())
    }

    /// Revokes one.
    pub fn revoke_reader_key(&self, organisation: &str, kid: &str) -> Result<()> {
        let output = self.api_command(&["org", "reader-keys", "revoke", "--org", organisation, kid])?.output()?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// A command of `proofmill-api`, told where the data is.
    pub fn api_command(&self, words: &[&str]) -> Result<Command> {
        let mut command = environment::command("proofmill-api")?;
        command.args(words);
        match &self.database {
            None => {
                command.arg("--data-dir").arg(&self.data_dir);
            }
            Some(database) => {
                command.args(["--database-url", &database.url]).arg("--keys-dir").arg(self.data_dir.join("keys"));
            }
        }
        Ok(command)
    }

    fn shared_options(&self, command: &mut Command) -> Result<()> {
        let database = self.database.as_ref().context("the cluster mode has a database")?;
        let cluster = self.options.cluster.as_ref().context("the cluster mode has a broker")?;
        command.args(["--database-url", &database.url, "--amqp-uri", &cluster.amqp_uri]);
        command.arg("--keys-dir").arg(self.data_dir.join("keys"));
        command.arg("--vault-dir").arg(self.data_dir.join("vault"));
        // Queues of its own: tests share the broker.
        command.args(["--amqp-prefix", &format!("test-{}", database.name)]);
        command.arg("--allow-loopback-webhooks");
        Ok(())
    }
}

/// Three at once, so that they differ.
fn free_addresses() -> Result<[String; 3]> {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port");
    let listeners = [listen()?, listen()?, listen()?];
    let mut addresses = [String::new(), String::new(), String::new()];
    for (address, listener) in addresses.iter_mut().zip(&listeners) {
        *address = listener.local_addr()?.to_string();
    }
    Ok(addresses)
}

fn text(printed: &Value, name: &str) -> Result<String> {
    printed[name].as_str().map(str::to_owned).with_context(|| format!("no `{name}` in {printed}"))
}
