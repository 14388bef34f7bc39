//! Settings that every binary shares: where the data is, and how to serve.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use proofmill_queue::{Queue, QueueError, RabbitConfig};
use proofmill_settings::{address, number};
use proofmill_store::{Store, StoreConfig, StoreError};
use proofmill_vault::{DeploymentKey, EpochKeys, Vault, VaultError};
use url::Url;

use crate::http::rate_limit::Quota;
use crate::service_urls::{amqp_uri, database_url};
use crate::state::ApiConfig;
use crate::tenancy;

/// Jobs per lane that the in-process queue holds; the rest waits in the outbox.
const IN_PROCESS_CAPACITY: usize = 10_000;

/// Where the data is. `--data-dir` alone is the embedded mode; `--database-url` with `--amqp-uri` the cluster mode.
#[derive(Args, Clone)]
pub struct StorageArgs {
    /// Keep everything in this directory: SQLite file, keys, sealed evidence
    #[arg(long, env = "PROOFMILL_DATA_DIR", value_name = "DIR", global = true)]
    pub data_dir: Option<PathBuf>,
    /// PostgreSQL instead of the SQLite file: postgres://user:password@host/database
    #[arg(long, env = "PROOFMILL_DATABASE_URL", value_name = "URL", value_parser = database_url, hide_env_values = true, global = true)]
    pub database_url: Option<String>,
    /// Most connections to the database, 1 to 1000
    #[arg(long, env = "PROOFMILL_DATABASE_POOL", value_name = "N", default_value_t = 16, value_parser = number(1u32..=1000), global = true)]
    pub database_pool: u32,
    /// RabbitMQ instead of the in-process queue: amqp://user:password@host/vhost
    #[arg(long, env = "PROOFMILL_AMQP_URI", value_name = "URI", value_parser = amqp_uri, hide_env_values = true, global = true)]
    pub amqp_uri: Option<String>,
    /// First part of every queue's name, so that deployments can share a broker
    #[arg(long, env = "PROOFMILL_AMQP_PREFIX", value_name = "TEXT", default_value = "proofmill", value_parser = queue_prefix, global = true)]
    pub amqp_prefix: String,
    /// Directory of the deployment key and the epoch keys [default: DATA_DIR/keys]; keep it out of backups
    #[arg(long, env = "PROOFMILL_KEYS_DIR", value_name = "DIR", global = true)]
    pub keys_dir: Option<PathBuf>,
    /// Directory of the sealed evidence [default: DATA_DIR/vault]
    #[arg(long, env = "PROOFMILL_VAULT_DIR", value_name = "DIR", global = true)]
    pub vault_dir: Option<PathBuf>,
}

impl fmt::Debug for StorageArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageArgs")
            .field("data_dir", &self.data_dir)
            .field("database_url", &self.database_url.as_ref().map(|_| "[redacted]"))
            .field("database_pool", &self.database_pool)
            .field("amqp_uri", &self.amqp_uri.as_ref().map(|_| "[redacted]"))
            .field("amqp_prefix", &self.amqp_prefix)
            .field("keys_dir", &self.keys_dir)
            .field("vault_dir", &self.vault_dir)
            .finish()
    }
}

/// How to serve.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Address of the API
    #[arg(long, env = "PROOFMILL_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = address)]
    pub listen: SocketAddr,
    /// Address of /livez, /readyz and /metrics
    #[arg(long, env = "PROOFMILL_METRICS_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:9090", value_parser = address)]
    pub metrics_listen: SocketAddr,
    /// Where holders are sent; the session id follows [default: http://LISTEN/verify]
    #[arg(long, env = "PROOFMILL_VERIFY_BASE_URL", value_name = "URL", value_parser = base_url)]
    pub verify_base_url: Option<String>,
    /// Where errors link to, as URL#CODE: an absolute URL or a path of this server
    #[arg(long, env = "PROOFMILL_DOCS_URL", value_name = "URL", default_value = "/docs", value_parser = docs_url)]
    pub docs_url: String,
    /// Development only: webhooks may go to loopback addresses, by http too
    #[arg(long, env = "PROOFMILL_ALLOW_LOOPBACK_WEBHOOKS")]
    pub allow_loopback_webhooks: bool,
    /// How many proxies of yours append to X-Forwarded-For, 0 to 16
    #[arg(long, env = "PROOFMILL_TRUSTED_PROXIES", value_name = "N", default_value_t = 0, value_parser = number(0usize..=16))]
    pub trusted_proxies: usize,
    /// Requests per second and API key
    #[arg(long, env = "PROOFMILL_KEY_RATE", value_name = "N", default_value_t = 1_000, value_parser = number(1u32..=1_000_000))]
    pub key_rate: u32,
    /// Requests per ten seconds and client address, on public routes
    #[arg(long, env = "PROOFMILL_ADDRESS_RATE", value_name = "N", default_value_t = 120, value_parser = number(1u32..=1_000_000))]
    pub address_rate: u32,
    /// MiB of evidence held in memory while it arrives; beyond that submissions get 503
    #[arg(long, env = "PROOFMILL_EVIDENCE_MEMORY", value_name = "MIB", default_value_t = 512, value_parser = number(32u32..=1_048_576))]
    pub evidence_memory: u32,
    /// Seconds that a request may take, 25 to 600 (a long poll waits up to 20); uploads may be silent for as long
    #[arg(long, env = "PROOFMILL_REQUEST_TIMEOUT", value_name = "SECONDS", default_value_t = 30, value_parser = number(25u64..=600))]
    pub request_timeout: u64,
    /// Seconds that a submission may wait for the broker before further ones get 503, 5 to 86400
    #[arg(long, env = "PROOFMILL_MAX_OUTBOX_AGE", value_name = "SECONDS", default_value_t = 60, value_parser = number(5u64..=86_400))]
    pub max_outbox_age: u64,
}

impl ServeArgs {
    /// The routes' settings; `address` is the one that was really bound (`--listen` may name port 0).
    pub fn api_config(&self, address: SocketAddr) -> ApiConfig {
        ApiConfig {
            verify_base_url: self.verify_base_url.clone().unwrap_or_else(|| format!("http://{address}/verify")),
            docs_url: self.docs_url.clone(),
            request_timeout: Duration::from_secs(self.request_timeout),
            max_outbox_age: Duration::from_secs(self.max_outbox_age),
            allow_loopback_webhooks: self.allow_loopback_webhooks,
            trusted_proxies: self.trusted_proxies,
            per_key: Quota { burst: self.key_rate, window_s: 1 },
            per_address: Quota { burst: self.address_rate, window_s: 10 },
            max_evidence_memory: (self.evidence_memory as usize) << 20,
        }
    }
}

/// Which of the two ways to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// One process, no services: SQLite and the in-process queue.
    Embedded,
    /// PostgreSQL and RabbitMQ.
    Cluster,
}

/// Storage, opened.
#[derive(Clone)]
pub struct Opened {
    /// Sessions and attempts.
    pub store: Store,
    /// Sealed evidence.
    pub vault: Vault,
    /// Seals secrets and derives tokens.
    pub deployment: Arc<DeploymentKey>,
    /// Which way to run.
    pub mode: Mode,
}

/// Why the settings cannot be used. What it says includes the cause, which is therefore not told as its source again.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A setting is missing or does not go with another.
    #[error("{0}")]
    Usage(String),
    /// A directory cannot be made.
    #[error("directory {path}: {cause}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The store.
    #[error("store: {0}")]
    Store(StoreError),
    /// The vault or a key.
    #[error("vault: {0}")]
    Vault(VaultError),
    /// The queue.
    #[error("queue: {0}")]
    Queue(QueueError),
}

impl From<StoreError> for SettingsError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<VaultError> for SettingsError {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

impl From<QueueError> for SettingsError {
    fn from(error: QueueError) -> Self {
        Self::Queue(error)
    }
}

impl StorageArgs {
    /// The embedded mode in a directory.
    pub fn embedded(directory: &Path) -> Self {
        Self {
            data_dir: Some(directory.to_owned()),
            database_url: None,
            database_pool: 16,
            amqp_uri: None,
            amqp_prefix: "proofmill".to_owned(),
            keys_dir: None,
            vault_dir: None,
        }
    }

    /// Which way to run.
    pub fn mode(&self) -> Mode {
        if self.database_url.is_some() { Mode::Cluster } else { Mode::Embedded }
    }

    /// Whether the settings go together, without opening anything; `serves` says whether queue, keys and evidence are needed
    /// too.
    ///
    /// # Errors
    /// [`SettingsError::Usage`].
    pub fn check(&self, serves: bool) -> Result<(), SettingsError> {
        self.store_url()?;
        if serves {
            self.queue_uri()?;
            self.keys_dir()?;
            self.vault_dir()?;
        }
        Ok(())
    }

    fn store_url(&self) -> Result<StoreUrl<'_>, SettingsError> {
        match (&self.database_url, &self.data_dir) {
            (Some(url), _) => Ok(StoreUrl::Server(url)),
            (None, Some(directory)) => Ok(StoreUrl::FileIn(directory)),
            (None, None) => Err(SettingsError::Usage(
                "give --data-dir DIR (embedded) or --database-url URL (cluster); PROOFMILL_DATA_DIR and \
                 PROOFMILL_DATABASE_URL work too"
                    .into(),
            )),
        }
    }

    /// The broker's URI; `None` for the in-process queue.
    fn queue_uri(&self) -> Result<Option<&str>, SettingsError> {
        match (&self.database_url, &self.amqp_uri) {
            (None, None) => Ok(None),
            (Some(_), Some(uri)) => Ok(Some(uri)),
            (Some(_), None) => Err(SettingsError::Usage("--database-url needs --amqp-uri beside it".into())),
            (None, Some(_)) => Err(SettingsError::Usage("--amqp-uri needs --database-url beside it".into())),
        }
    }

    fn keys_dir(&self) -> Result<PathBuf, SettingsError> {
        self.keys_dir.clone().or_else(|| Some(self.data_dir.as_ref()?.join("keys"))).ok_or_else(|| {
            SettingsError::Usage("give --keys-dir DIR, the directory of the deployment key and the epoch keys".into())
        })
    }

    fn vault_dir(&self) -> Result<PathBuf, SettingsError> {
        self.vault_dir
            .clone()
            .or_else(|| Some(self.data_dir.as_ref()?.join("vault")))
            .ok_or_else(|| SettingsError::Usage("give --vault-dir DIR, the directory of the sealed evidence".into()))
    }
}

/// Opens a store that is there: for commands that look at what others made. A directory that was mistyped is not made.
///
/// # Errors
/// [`SettingsError`].
pub async fn open_existing_store(args: &StorageArgs) -> Result<Store, SettingsError> {
    if let StoreUrl::FileIn(directory) = args.store_url()?
        && !directory.join(STORE_FILE).try_exists().unwrap_or(true)
    {
        return Err(SettingsError::Usage(format!(
            "--data-dir {}: there is no {STORE_FILE} in it; `org create` begins a new one",
            directory.display()
        )));
    }
    open_store(args).await
}

/// Opens the store alone; the embedded one is brought up to date on the way.
///
/// # Errors
/// [`SettingsError`].
pub async fn open_store(args: &StorageArgs) -> Result<Store, SettingsError> {
    let url = match args.store_url()? {
        StoreUrl::Server(url) => url.to_owned(),
        StoreUrl::FileIn(directory) => {
            private_directory(directory)?;
            format!("sqlite:{}", directory.join(STORE_FILE).display())
        }
    };
    let store = Store::open(StoreConfig { url, pool_size: args.database_pool }).await?;
    if args.mode() == Mode::Embedded {
        store.migrate().await?;
    }
    Ok(store)
}

/// Opens store, keys and vault.
///
/// # Errors
/// [`SettingsError`].
pub async fn open_storage(args: &StorageArgs) -> Result<Opened, SettingsError> {
    let store = open_store(args).await?;
    let deployment = open_deployment_key(args, &store).await?;
    let (epochs, evidence) = (args.keys_dir()?.join("epochs"), args.vault_dir()?);
    // Made anew, an unmounted directory would look like destroyed evidence, and attempts would be set aside for good.
    let evidence_waits = !store.epochs_in_use().await?.is_empty();
    let missing = [&epochs, &evidence].into_iter().find(|directory| !directory.is_dir());
    if let (true, Some(missing)) = (evidence_waits, missing) {
        return Err(SettingsError::Usage(format!(
            "attempts wait for their evidence, but {} is missing: put it back (is a volume not mounted?)",
            missing.display()
        )));
    }
    let vault = Vault::in_directory(&evidence, EpochKeys::open(&epochs)?)?;
    Ok(Opened { store, vault, deployment: Arc::new(deployment), mode: args.mode() })
}

/// Reads the deployment key; makes it while the store has no organisation yet, so that nothing can be sealed under
/// another one. A key that is missing or wrong later is an error: what the right one sealed would be lost without a word.
///
/// # Errors
/// [`SettingsError`].
pub async fn open_deployment_key(args: &StorageArgs, store: &Store) -> Result<DeploymentKey, SettingsError> {
    let keys = args.keys_dir()?;
    private_directory(&keys)?;
    let path = keys.join(DEPLOYMENT_KEY);
    let organisations = store.list_organisations().await?;
    let Some(organisation) = organisations.first() else {
        return Ok(DeploymentKey::load_or_create(&path)?);
    };
    let key = DeploymentKey::from_file(&path).map_err(|error| match error {
        VaultError::Missing { .. } => SettingsError::Usage(format!(
            "the store has organisations, but {} is missing: put the deployment's key back",
            path.display()
        )),
        other => other.into(),
    })?;
    let sealed = &organisation.document_id_key_sealed;
    match key.open(tenancy::DOCUMENT_ID_KEY, organisation.id.as_str().as_bytes(), sealed) {
        Ok(_) => Ok(key),
        Err(VaultError::Corrupt { .. }) => Err(SettingsError::Usage(format!(
            "{} is not the key under which this store's secrets were sealed: every process of a deployment needs the \
             same one",
            path.display()
        ))),
        Err(error) => Err(error.into()),
    }
}

/// Brings the schema up to date and, where a directory for keys is named, sees to the deployment key.
///
/// # Errors
/// [`SettingsError`].
pub async fn prepare(args: &StorageArgs) -> Result<(), SettingsError> {
    let store = open_store(args).await?;
    store.migrate().await?;
    if args.keys_dir().is_ok() {
        open_deployment_key(args, &store).await?;
    }
    Ok(())
}

/// Opens the queue that goes with the store.
///
/// # Errors
/// [`SettingsError`].
pub async fn open_queue(args: &StorageArgs) -> Result<Queue, SettingsError> {
    match args.queue_uri()? {
        None => Ok(Queue::in_process(IN_PROCESS_CAPACITY)),
        Some(uri) => Ok(Queue::connect(RabbitConfig::new(uri, &args.amqp_prefix)).await?),
    }
}

/// Where the store is.
enum StoreUrl<'a> {
    Server(&'a str),
    FileIn(&'a Path),
}

fn queue_prefix(text: &str) -> Result<String, String> {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(text.to_owned());
    }
    Err("expected 1 to 64 letters, digits, `-`, `_` and `.`".to_owned())
}

/// Session ids are appended to it as a last path segment, cancel tokens as its query.
fn base_url(text: &str) -> Result<String, String> {
    let expected = || "expected an http or https URL without query, fragment and user name".to_owned();
    let url = Url::parse(text).map_err(|_| expected())?;
    let plain =
        url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    if matches!(url.scheme(), "http" | "https") && url.has_host() && plain {
        Ok(text.to_owned())
    } else {
        Err(expected())
    }
}

fn docs_url(text: &str) -> Result<String, String> {
    let path =
        text.starts_with('/') && !text.starts_with("//") && text.bytes().all(|c| c.is_ascii_graphic() && c != b'#');
    if path { Ok(text.to_owned()) } else { base_url(text) }
}

/// The embedded store.
const STORE_FILE: &str = "proofmill.sqlite";
const DEPLOYMENT_KEY: &str = "deployment.key";

/// Makes a directory that nobody else may look into. One that exists stays as it is.
///
/// # Errors
/// [`SettingsError::Directory`].
pub fn private_directory(path: &Path) -> Result<(), SettingsError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|cause| SettingsError::Directory { path: path.to_owned(), cause })
}
