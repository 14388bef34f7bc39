//! `org id-keys list|rotate`

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use proofmill_api::{StorageArgs, settings, tenancy};
use proofmill_contract::{Clock, OrganisationId};
use proofmill_store::{IdKey, IdKind};
use proofmill_telemetry::SystemClock;
use serde_json::{Value, json};

#[derive(Subcommand)]
pub enum IdKeysCommand {
    /// List the versions of an organisation's keys, without the keys themselves
    List {
        /// The organisation's id
        #[arg(long)]
        org: OrganisationId,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Begin a new version: from now on the same document, or person, gets another id
    ///
    /// Ids made before no longer match those made afterwards, so an integrator who recognises documents or people by them
    /// must know. Meant for a key that may have leaked. What is being decided at this moment may still get an id of the version
    /// before; each session records the version of its ids. Replaced keys are kept, sealed, so that an id given out before can
    /// be derived again.
    Rotate {
        /// The organisation's id
        #[arg(long)]
        org: OrganisationId,
        /// Which id gets a new key
        #[arg(long, value_name = "KIND")]
        kind: KindArg,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub enum KindArg {
    /// `kayle_document_id`
    Document,
    /// `kayle_human_id`
    Human,
    /// Both
    Both,
}

impl KindArg {
    fn kinds(self) -> &'static [IdKind] {
        match self {
            KindArg::Document => &[IdKind::Document],
            KindArg::Human => &[IdKind::Human],
            KindArg::Both => &IdKind::ALL,
        }
    }
}

pub async fn run(storage: &StorageArgs, command: IdKeysCommand) -> anyhow::Result<()> {
    let store = settings::open_existing_store(storage).await?;
    match command {
        IdKeysCommand::List { org, json } => {
            store.organisation(&org).await?.with_context(|| format!("there is no organisation {org}"))?;
            for key in store.id_keys(&org).await? {
                super::print(json, &view(&key), || line(&key));
            }
        }
        IdKeysCommand::Rotate { org, kind, json } => {
            let deployment = settings::open_deployment_key(storage, &store).await?;
            for &kind in kind.kinds() {
                let version = tenancy::rotate_id_key(&store, &deployment, &org, kind, SystemClock.now()).await?;
                super::print(json, &json!({ "kind": kind.as_str(), "version": version }), || {
                    format!("{kind} ids of {org} are made under version {version} from now on")
                });
            }
        }
    }
    Ok(())
}

fn view(key: &IdKey) -> Value {
    json!({
        "kind": key.kind.as_str(),
        "version": key.version,
        "since": key.since,
        "retired_at": key.retired_at,
    })
}

fn line(key: &IdKey) -> String {
    let state = key.retired_at.map_or("current".to_owned(), |until| format!("retired {until}"));
    format!("{:8}  version {}  since {}  {state}", key.kind.as_str(), key.version, key.since)
}
