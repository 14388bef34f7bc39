//! `org create|list|set`

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use proofmill_api::{StorageArgs, settings, tenancy};
use proofmill_contract::policy::{Demand, Tolerance};
use proofmill_contract::{Clock, ContractVersion, OrganisationId, OrganisationPolicy};
use proofmill_store::{Organisation, OrganisationUpdate};
use proofmill_telemetry::SystemClock;
use serde_json::{Value, json};

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
        policy
    }
}

pub async fn run(storage: &StorageArgs, command: OrgCommand) -> anyhow::Result<()> {
    match command {
        OrgCommand::Create(args) => create(storage, args).await,
        OrgCommand::List { json } => list(storage, json).await,
        OrgCommand::Set(args) => set(storage, args).await,
    }
}

async fn create(storage: &StorageArgs, args: CreateArgs) -> anyhow::Result<()> {
    anyhow::ensure!(!args.name.trim().is_empty(), "--name must not be empty");
    let store = settings::open_store(storage).await?;
    let deployment = settings::open_deployment_key(storage, &store).await?;
    let base = if args.sandbox { OrganisationPolicy::sandbox() } else { OrganisationPolicy::default() };
    let organisation = tenancy::create_organisation(
        &store,
        &deployment,
        args.name.trim(),
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
    for organisation in settings::open_store(storage).await?.list_organisations().await? {
        super::print(json, &view(&organisation), || line(&organisation));
    }
    Ok(())
}

async fn set(storage: &StorageArgs, args: SetArgs) -> anyhow::Result<()> {
    let store = settings::open_store(storage).await?;
    let unknown = || format!("there is no organisation {}", args.org);
    let before = store.organisation(&args.org).await?.with_context(unknown)?;
    let update = OrganisationUpdate {
        name: args.name.clone(),
        default_contract_version: args.policy.version()?,
        policy: Some(args.policy.apply(before.policy)),
    };
    let after = store.update_organisation(&args.org, update, SystemClock.now()).await?.with_context(unknown)?;
    super::print(args.json, &view(&after), || line(&after));
    Ok(())
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
    format!("{}  {kind}  contract {version}  {}", organisation.id, organisation.name)
}
