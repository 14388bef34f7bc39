//! `org create|list|set`, and what hangs on an organisation

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use proofmill_api::{StorageArgs, settings, tenancy};
use proofmill_contract::policy::{Demand, Tolerance};
use proofmill_contract::{Clock, ContractVersion, OrganisationId, OrganisationPolicy};
use proofmill_store::{Organisation, OrganisationUpdate, StoreError};
use proofmill_telemetry::SystemClock;
use serde_json::{Value, json};

use super::id_keys::IdKeysCommand;
use super::reader_keys::ReaderKeysCommand;

/// Characters of an organisation's name.
const MAX_NAME_CHARS: usize = 100;

#[derive(Subcommand)]
pub enum OrgCommand {
    /// Create an organisation
    Create(CreateArgs),
    /// List organisations
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Change an organisation
    Set(SetArgs),
    /// Public keys of readers that sign what they read
    #[command(subcommand)]
    ReaderKeys(ReaderKeysCommand),
    /// Keys under which an organisation's document and human ids are made
    #[command(subcommand)]
    IdKeys(IdKeysCommand),
}

#[derive(Args)]
pub struct CreateArgs {
    /// Its name, shown to holders
    #[arg(long)]
    name: String,
    /// It works with specimen documents: an unknown revocation status is accepted
    #[arg(long)]
    sandbox: bool,
    #[command(flatten)]
    policy: PolicyArgs,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct SetArgs {
    /// The organisation's id
    org: OrganisationId,
    /// Its name, shown to holders
    #[arg(long)]
    name: Option<String>,
    /// Whether it works with specimen documents. Changing it sets --unknown-revocation to what goes with it, unless that is given
    #[arg(long, value_name = "BOOL")]
    sandbox: Option<bool>,
    #[command(flatten)]
    policy: PolicyArgs,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct PolicyArgs {
    /// Contract version of sessions that do not name one: 1 or 2
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u8).range(1..=2))]
    contract_version: Option<u8>,
    /// What an expired document does
    #[arg(long, value_name = "TOLERANCE")]
    expired_documents: Option<ToleranceArg>,
    /// What a document signer of unknown revocation status does
    #[arg(long, value_name = "TOLERANCE")]
    unknown_revocation: Option<ToleranceArg>,
    /// Whether a chip that declares chip authentication must have answered it
    #[arg(long, value_name = "DEMAND")]
    chip_authentication: Option<DemandArg>,
    /// Whether a registered reader must have signed what it read
    #[arg(long, value_name = "DEMAND")]
    reader_attestation: Option<DemandArg>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ToleranceArg {
    /// It rejects the attempt
    Reject,
    /// It is reported and let through
    Accept,
}

#[derive(Clone, Copy, ValueEnum)]
enum DemandArg {
    /// Its absence is fine; what is supplied is still verified
    Off,
    /// Its absence rejects the attempt
    Required,
}

impl From<DemandArg> for Demand {
    fn from(arg: DemandArg) -> Self {
        match arg {
            DemandArg::Off => Demand::Off,
            DemandArg::Required => Demand::Required,
        }
    }
}

impl From<ToleranceArg> for Tolerance {
    fn from(arg: ToleranceArg) -> Self {
        match arg {
            ToleranceArg::Reject => Tolerance::Reject,
            ToleranceArg::Accept => Tolerance::Accept,
        }
    }
}

impl PolicyArgs {
    fn says_something(&self) -> bool {
        self.contract_version.is_some()
            || self.expired_documents.is_some()
            || self.unknown_revocation.is_some()
            || self.chip_authentication.is_some()
            || self.reader_attestation.is_some()
    }

    fn version(&self) -> anyhow::Result<Option<ContractVersion>> {
        Ok(self.contract_version.map(ContractVersion::try_from).transpose()?)
    }

    fn apply(&self, mut policy: OrganisationPolicy) -> OrganisationPolicy {
        if let Some(tolerance) = self.expired_documents {
            policy.expired_documents = tolerance.into();
        }
        if let Some(tolerance) = self.unknown_revocation {
            policy.unknown_revocation = tolerance.into();
        }
        if let Some(demand) = self.chip_authentication {
            policy.chip_authentication = demand.into();
        }
        if let Some(demand) = self.reader_attestation {
            policy.reader_attestation = demand.into();
        }
        policy
    }
}

pub async fn run(storage: &StorageArgs, command: OrgCommand) -> anyhow::Result<()> {
    match command {
        OrgCommand::Create(args) => create(storage, args).await,
        OrgCommand::List { json } => list(storage, json).await,
        OrgCommand::IdKeys(command) => super::id_keys::run(storage, command).await,
        OrgCommand::Set(args) => set(storage, args).await,
        OrgCommand::ReaderKeys(command) => super::reader_keys::run(storage, command).await,
    }
}

async fn create(storage: &StorageArgs, args: CreateArgs) -> anyhow::Result<()> {
    let name = named(&args.name)?;
    let store = settings::open_store(storage).await?;
    let deployment = settings::open_deployment_key(storage, &store).await?;
    let base = if args.sandbox { OrganisationPolicy::sandbox() } else { OrganisationPolicy::default() };
    let organisation = tenancy::create_organisation(
        &store,
        &deployment,
        &name,
        args.policy.version()?.unwrap_or_default(),
        args.policy.apply(base),
        args.sandbox,
        SystemClock.now(),
    )
    .await?;
    super::print(args.json, &view(&organisation), || {
        format!("{}\nnext: proofmill-api keys create --org {}", line(&organisation), organisation.id)
    });
    Ok(())
}

async fn list(storage: &StorageArgs, json: bool) -> anyhow::Result<()> {
    for organisation in settings::open_existing_store(storage).await?.list_organisations().await? {
        super::print(json, &view(&organisation), || line(&organisation));
    }
    Ok(())
}

async fn set(storage: &StorageArgs, args: SetArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.name.is_some() || args.sandbox.is_some() || args.policy.says_something(),
        "nothing to change: name at least one setting, such as --name or --expired-documents"
    );
    let store = settings::open_existing_store(storage).await?;
    let unknown = || format!("there is no organisation {}", args.org);
    let before = store.organisation(&args.org).await?.with_context(unknown)?;
    let policy = args.policy.apply(policy_of(&before, args.sandbox));
    let update = OrganisationUpdate {
        name: args.name.as_deref().map(named).transpose()?,
        default_contract_version: args.policy.version()?,
        policy: Some(policy),
        sandbox: args.sandbox,
        if_unchanged_since: Some(before.updated_at),
    };
    let after = match store.update_organisation(&args.org, update, SystemClock.now()).await {
        Err(StoreError::Conflict(_)) => {
            anyhow::bail!("organisation {} was changed by somebody else at the same time: try again", args.org)
        }
        after => after?.with_context(unknown)?,
    };
    super::print(args.json, &view(&after), || line(&after));
    Ok(())
}

/// An organisation's policy, if it becomes a sandbox or stops being one with what goes with that.
fn policy_of(organisation: &Organisation, sandbox: Option<bool>) -> OrganisationPolicy {
    let mut policy = organisation.policy.clone();
    if let Some(sandbox) = sandbox.filter(|sandbox| *sandbox != organisation.sandbox) {
        let base = if sandbox { OrganisationPolicy::sandbox() } else { OrganisationPolicy::default() };
        policy.unknown_revocation = base.unknown_revocation;
    }
    policy
}

fn tolerance(tolerance: Tolerance) -> &'static str {
    match tolerance {
        Tolerance::Reject => "reject",
        Tolerance::Accept => "accept",
    }
}

fn demand(demand: Demand) -> &'static str {
    match demand {
        Demand::Off => "off",
        Demand::Required => "required",
    }
}

/// A name as it is stored: holders must be able to read it.
fn named(text: &str) -> anyhow::Result<String> {
    let name = text.trim();
    let readable = (1..=MAX_NAME_CHARS).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    anyhow::ensure!(readable, "--name must have 1 to {MAX_NAME_CHARS} characters and no control characters");
    Ok(name.to_owned())
}

fn view(organisation: &Organisation) -> Value {
    json!({
        "id": organisation.id,
        "name": organisation.name,
        "default_contract_version": organisation.default_contract_version,
        "policy": organisation.policy,
        "sandbox": organisation.sandbox,
        "created_at": organisation.created_at,
        "updated_at": organisation.updated_at,
    })
}

fn line(organisation: &Organisation) -> String {
    let kind = if organisation.sandbox { "sandbox" } else { "live" };
    let version = u8::from(organisation.default_contract_version);
    let OrganisationPolicy { expired_documents, unknown_revocation, chip_authentication, reader_attestation } =
        &organisation.policy;
    format!(
        "{}  {kind}  contract {version}  expired documents {}, unknown revocation {}, chip authentication {}, reader \
         attestation {}  {}",
        organisation.id,
        tolerance(*expired_documents),
        tolerance(*unknown_revocation),
        demand(*chip_authentication),
        demand(*reader_attestation),
        organisation.name
    )
}
