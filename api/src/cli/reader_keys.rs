//! `org reader-keys add|list|revoke`: the public keys of readers that sign what they read.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use proofmill_api::{StorageArgs, settings};
use proofmill_contract::{Clock, OrganisationId, ReaderKeyId};
use proofmill_jose::VerifyingKey;
use proofmill_store::{NewReaderKey, ReaderKey, RegisterReaderKey, StoreError};
use proofmill_telemetry::SystemClock;
use serde_json::{Value, json};

/// A public key has some hundred bytes; a file of more is not one.
const MAX_KEY_FILE_BYTES: u64 = 64 << 10;

#[derive(Subcommand)]
pub enum ReaderKeysCommand {
    /// Register a reader's public key: P-256 (ES256) or Ed25519 (EdDSA), a JWK or a PEM file `PUBLIC KEY`
    Add(AddArgs),
    /// List an organisation's reader keys, revoked ones included
    List {
        /// The organisation's id
        #[arg(long)]
        org: OrganisationId,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key: from now on nothing that it signed counts, and neither it nor its name is registered again
    Revoke {
        /// The organisation's id
        #[arg(long)]
        org: OrganisationId,
        /// The key's id `rdk_…`, or its name
        #[arg(value_name = "KEY")]
        key: String,
    },
}

#[derive(Args)]
pub struct AddArgs {
    /// The organisation's id
    #[arg(long)]
    org: OrganisationId,
    /// The file of the public key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// What the reader calls its key: `kid` in the header of what it signs [default: the JWK's `kid`, or its thumbprint]
    #[arg(long)]
    kid: Option<String>,
    /// What you call the reader
    #[arg(long)]
    name: Option<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub async fn run(storage: &StorageArgs, command: ReaderKeysCommand) -> anyhow::Result<()> {
    match command {
        ReaderKeysCommand::Add(args) => add(storage, args).await,
        ReaderKeysCommand::List { org, json } => {
            let store = settings::open_existing_store(storage).await?;
            store.organisation(&org).await?.with_context(|| format!("there is no organisation {org}"))?;
            for row in store.list_reader_keys(&org).await? {
                super::print(json, &view(&row), || line(&row));
            }
            Ok(())
        }
        ReaderKeysCommand::Revoke { org, key } => {
            let store = settings::open_existing_store(storage).await?;
            let revoked = store.revoke_reader_key(&org, &key, SystemClock.now()).await?;
            anyhow::ensure!(revoked, "organisation {org} has no valid reader key {key}");
            println!("revoked {key}");
            Ok(())
        }
    }
}

async fn add(storage: &StorageArgs, args: AddArgs) -> anyhow::Result<()> {
    let path = args.key.display();
    let size = args.key.metadata().with_context(|| format!("cannot read {path}"))?.len();
    anyhow::ensure!(
        size <= MAX_KEY_FILE_BYTES,
        "{path} is larger than a public key: at most {MAX_KEY_FILE_BYTES} bytes"
    );
    let text = std::fs::read_to_string(&args.key).with_context(|| format!("cannot read {path}"))?;
    let key = read(args.kid.as_deref(), &text).with_context(|| format!("{path} cannot be registered"))?;

    let store = settings::open_existing_store(storage).await?;
    let org = &args.org;
    store.organisation(org).await?.with_context(|| format!("there is no organisation {org}"))?;
    let now = SystemClock.now();
    let new = NewReaderKey {
        id: ReaderKeyId::generate(now, &mut rand::rng()),
        organisation_id: org.clone(),
        kid: key.key_id().to_owned(),
        name: args.name,
        jwk: key.to_jwk(),
    };
    let row = match store.create_reader_key(new, now).await {
        Err(StoreError::Conflict(_)) => {
            anyhow::bail!("organisation {org} has or had a reader key `{}`: give this one another --kid", key.key_id())
        }
        Err(error) => return Err(error.into()),
        Ok(RegisterReaderKey::Registered(row)) => row,
        Ok(RegisterReaderKey::SameKey(row)) => anyhow::bail!(
            "organisation {org} has or had this very public key as reader key `{}`, which is {}: a key is registered once",
            row.kid,
            state(&row)
        ),
    };
    super::print(args.json, &view(&row), || line(&row));
    Ok(())
}

fn read(kid: Option<&str>, text: &str) -> anyhow::Result<VerifyingKey> {
    if text.trim_start().starts_with('{') {
        // serde's own text could quote a private key.
        let jwk: Value = serde_json::from_str(text).map_err(|error| {
            anyhow::anyhow!("not JSON: it breaks at line {} column {}", error.line(), error.column())
        })?;
        return Ok(VerifyingKey::from_jwk(kid, &jwk)?);
    }
    Ok(VerifyingKey::from_pem(kid, text)?)
}

fn view(row: &ReaderKey) -> Value {
    json!({
        "id": row.id,
        "organisation_id": row.organisation_id,
        "kid": row.kid,
        "name": row.name,
        "jwk": row.jwk,
        "created_at": row.created_at,
        "revoked_at": row.revoked_at,
    })
}

fn line(row: &ReaderKey) -> String {
    let algorithm = row.jwk["alg"].as_str().unwrap_or("?");
    format!("{}  {algorithm}  {}  {}  {}", row.id, state(row), row.kid, row.name.as_deref().unwrap_or(""))
}

fn state(row: &ReaderKey) -> &'static str {
    if row.revoked_at.is_some() { "revoked" } else { "valid" }
}
