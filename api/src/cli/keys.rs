//! `keys create|list|revoke`

use clap::Subcommand;
use proofmill_api::{StorageArgs, settings, tenancy};
use proofmill_contract::{ApiKeyId, Clock, OrganisationId};
use proofmill_store::ApiKey;
use proofmill_telemetry::SystemClock;
use serde_json::{Value, json};

#[derive(Subcommand)]
pub enum KeysCommand {
    /// Create an API key; it is shown once and stored nowhere
    Create {
        /// The organisation's id
        #[arg(long)]
        org: OrganisationId,
        /// A scope, may be repeated [default: all four]
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// List an organisation's keys, without the keys themselves
    List {
        /// The organisation's id
        #[arg(long)]
        org: OrganisationId,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key
    Revoke {
        /// The organisation's id
        #[arg(long)]
        org: OrganisationId,
        /// The key's public name, `key_…`
        key: ApiKeyId,
    },
}

pub async fn run(storage: &StorageArgs, command: KeysCommand) -> anyhow::Result<()> {
    let store = settings::open_existing_store(storage).await?;
    match command {
        KeysCommand::Create { org, scopes, json } => {
            let (row, key) = tenancy::create_api_key(&store, &org, &scopes, SystemClock.now()).await?;
            let mut value = view(&row);
            value["api_key"] = key.as_str().into();
            super::print(json, &value, || format!("{}\nshown once: {}", line(&row), key.as_str()));
        }
        KeysCommand::List { org, json } => {
            for row in store.list_api_keys(&org).await? {
                super::print(json, &view(&row), || line(&row));
            }
        }
        KeysCommand::Revoke { org, key } => {
            let revoked = store.revoke_api_key(&org, &key, SystemClock.now()).await?;
            anyhow::ensure!(revoked, "organisation {org} has no valid key {key}");
            println!("revoked {key}");
        }
    }
    Ok(())
}

fn view(row: &ApiKey) -> Value {
    json!({
        "id": row.id,
        "organisation_id": row.organisation_id,
        "prefix": row.prefix,
        "scopes": row.scopes,
        "created_at": row.created_at,
        "revoked_at": row.revoked_at,
    })
}

fn line(row: &ApiKey) -> String {
    let state = if row.revoked_at.is_some() { "revoked" } else { "valid" };
    format!("{}  {}…  {state}  {}", row.id, row.prefix, row.scopes.join(" "))
}
