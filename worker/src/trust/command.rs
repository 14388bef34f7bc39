//! `proofmill-worker trust`: the command line.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use proofmill_contract::Clock as _;
use proofmill_emrtd::UnixTime;
use proofmill_telemetry::{SystemClock, tell};
use proofmill_trust::{Contents, Fingerprint, Item, Kind, TrustFolder, fingerprint};

use super::{check, export, import, list, refresh};

/// `proofmill-worker trust`.
#[derive(Subcommand, Debug)]
pub enum TrustCommand {
    /// Take certificates, revocation lists and master lists into the store
    #[command(
        after_help = "Exit status: 0 everything was taken or known, 1 something was refused (it is named), 2 nothing was changed"
    )]
    Import(import::ImportArgs),
    /// List what the store holds
    List(list::ListArgs),
    /// Look at every certificate and list: what it rests on, what ends soon, what is missing
    #[command(after_help = "Exit status: 0 nothing is wrong, 1 something is, 2 could not look")]
    Check(check::CheckArgs),
    /// Write the store, or part of it, to files that `import` takes
    Export(export::ExportArgs),
    /// Import a folder again and again, whenever it changes, until a signal
    Refresh(refresh::RefreshArgs),
    /// Remove certificates or revocation lists by their SHA-256
    Remove(RemoveArgs),
}

/// Where the store is.
#[derive(Args, Clone, Debug)]
pub struct StoreArgs {
    /// Folder of the store [default: DATA_DIR/trust]
    #[arg(long, value_name = "DIR", env = "PROOFMILL_TRUST_STORE")]
    store: Option<PathBuf>,
    /// The data folder of `standalone`, whose trust store is meant
    #[arg(long, value_name = "DIR", env = "PROOFMILL_DATA_DIR")]
    data_dir: Option<PathBuf>,
}

/// `trust remove`.
#[derive(Args, Debug)]
pub struct RemoveArgs {
    /// SHA-256 of what is to go, in hexadecimal; the first 16 digits will do
    #[arg(required = true, value_name = "SHA256")]
    names: Vec<String>,
    #[command(flatten)]
    store: StoreArgs,
}

/// Part of a store.
#[derive(Args, Clone, Debug)]
pub struct Selection {
    /// Only of this country, as certificates name it: two letters
    #[arg(long, value_name = "XX")]
    country: Option<String>,
    /// Only of this kind
    #[arg(long, value_enum)]
    kind: Option<KindArg>,
}

/// A kind on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KindArg {
    /// Country signing certificates
    Csca,
    /// Document signers
    Dsc,
    /// Revocation lists
    Crl,
}

/// Runs a command; the answer is the process's exit status.
///
/// # Errors
/// It could not be done at all, and nothing was changed.
pub async fn run(command: TrustCommand) -> anyhow::Result<u8> {
    let outcome = match command {
        TrustCommand::Refresh(args) => refresh::run(args).await,
        // Files, folders and a lock that somebody else may hold: all of it blocks.
        TrustCommand::Import(args) => tokio::task::spawn_blocking(move || import::run(args)).await?,
        TrustCommand::List(args) => tokio::task::spawn_blocking(move || list::run(&args)).await?,
        TrustCommand::Check(args) => tokio::task::spawn_blocking(move || check::run(&args)).await?,
        TrustCommand::Export(args) => tokio::task::spawn_blocking(move || export::run(&args)).await?,
        TrustCommand::Remove(args) => tokio::task::spawn_blocking(move || remove(&args)).await?,
    };
    match outcome {
        // Whoever read has enough, as `head` does.
        Err(error)
            if error
                .root_cause()
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) =>
        {
            Ok(0)
        }
        outcome => outcome,
    }
}

impl StoreArgs {
    /// The store that is meant.
    pub fn folder(&self) -> anyhow::Result<TrustFolder> {
        let beside = || self.data_dir.as_ref().map(|folder| folder.join("trust"));
        let folder = self.store.clone().or_else(beside);
        let folder =
            folder.context("no trust store was named: give --store DIR, or the --data-dir DIR of `standalone`")?;
        Ok(TrustFolder::new(folder))
    }

    /// The store that is meant, read.
    pub fn read(&self) -> anyhow::Result<Contents> {
        let folder = self.folder()?;
        folder.read().with_context(|| folder.path().display().to_string())
    }
}

impl Selection {
    /// Whether a kind is selected.
    pub fn has_kind(&self, kind: Kind) -> bool {
        let selected = self.kind.map(|kind| match kind {
            KindArg::Csca => Kind::Csca,
            KindArg::Dsc => Kind::Dsc,
            KindArg::Crl => Kind::Crl,
        });
        selected.is_none_or(|selected| selected == kind)
    }

    /// Whether a country is selected.
    pub fn has_country(&self, country: Option<&str>) -> bool {
        self.country
            .as_deref()
            .is_none_or(|selected| country.is_some_and(|country| country.eq_ignore_ascii_case(selected)))
    }
}

/// The system's time, as the verifier counts it.
pub fn now() -> UnixTime {
    UnixTime(SystemClock.now().as_secs())
}

fn remove(args: &RemoveArgs) -> anyhow::Result<u8> {
    let folder = args.store.folder()?;
    let contents = args.store.read()?;
    let names = args.names.iter().map(|name| resolve(&contents, name)).collect::<anyhow::Result<Vec<_>>>()?;
    let (epoch, absent) =
        folder.remove(&names, now()).with_context(|| format!("cannot change {}", folder.path().display()))?;
    let mut out = io::stdout().lock();
    writeln!(out, "epoch {epoch}: {} removed", names.len() - absent.len())?;
    for name in &absent {
        tell(format_args!("{} has gone meanwhile", hex::encode(name)));
    }
    Ok(u8::from(!absent.is_empty()))
}

/// The item that a name, or the beginning of one, stands for.
fn resolve(contents: &Contents, name: &str) -> anyhow::Result<Fingerprint> {
    let wanted = name.to_ascii_lowercase();
    anyhow::ensure!(
        (16..=64).contains(&wanted.len()) && wanted.bytes().all(|digit| digit.is_ascii_hexdigit()),
        "{name}: expected a SHA-256, 16 to 64 hexadecimal digits"
    );
    let mut found: Vec<Fingerprint> = contents.items().map(|item: &Item| fingerprint(&item.der)).collect();
    found.retain(|known| hex::encode(known).starts_with(&wanted));
    found.sort_unstable();
    found.dedup();
    match found.as_slice() {
        [one] => Ok(*one),
        [] => anyhow::bail!("{name}: not in the store"),
        _ => anyhow::bail!("{name}: several items begin so"),
    }
}
