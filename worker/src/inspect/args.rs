//! The command line of `inspect`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use proofmill_contract::Timestamp;

/// `proofmill-worker inspect`.
#[derive(Args, Debug)]
pub struct InspectArgs {
    #[command(subcommand)]
    pub(super) what: What,
}

/// What to take the files for.
#[derive(Subcommand, Debug)]
pub(super) enum What {
    /// EF.SOD: signature, chain, revocation, structure
    Sod(Options),
    /// A whole document: a folder with EF.SOD and data groups, or a file of evidence objects, one a line
    Document(DocumentOptions),
    /// A CSCA master list: signature, every certificate classified
    Masterlist(ListOptions),
    /// A certificate: structure, and with --trust its chain and revocation
    Cert(Options),
    /// A revocation list: structure, freshness, and with --trust its signature
    Crl(Options),
    /// DG1, the machine readable zone: check digits and dates, personal data masked
    Dg1(PersonalOptions),
    /// DG2, the encoded face: format and images
    Dg2(ImageOptions),
    /// DG14, the security options: what the chip offers
    Dg14(Options),
    /// DG15, the active authentication key
    Dg15(Options),
    /// An active authentication exchange: JSON {dg15, nonce, signature, dg14?}, hex
    Aa(Options),
    /// A chip authentication transcript: JSON {dg14, TermPri, TermPubKey, SmRapdu, SmSsc}, hex
    Ca(Options),
    /// EF.CardSecurity: signature, chain, keys
    Cardsecurity(Options),
}

/// What every kind takes.
#[derive(Args, Clone, Debug)]
pub(super) struct Options {
    /// Files; folders are searched, `-` is standard input. DER, or PEM where the kind has it
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Certificates and revocation lists (DER or PEM), master lists (.ml), PKD exports (.ldif), or folders of them; may be
    /// repeated
    #[arg(long, value_name = "PATH", env = "PROOFMILL_TRUST", value_delimiter = ':')]
    pub trust: Vec<PathBuf>,
    /// The certificate that master lists must be signed under; may be repeated
    #[arg(long, value_name = "FILE")]
    pub anchor: Vec<PathBuf>,
    /// Judge as of this moment (RFC 3339) instead of now
    #[arg(long, value_name = "TIME", value_parser = crate::verify::moment)]
    pub at: Option<Timestamp>,
    /// Which departures from the standards are fatal
    #[arg(long, value_enum, default_value = "default")]
    pub policy: PolicyName,
    /// One JSON object per file, one a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Clone, Debug)]
pub(super) struct PersonalOptions {
    #[command(flatten)]
    pub common: Options,
    /// Show the content of the machine readable zone
    #[arg(long)]
    pub show_personal_data: bool,
}

#[derive(Args, Clone, Debug)]
pub(super) struct DocumentOptions {
    #[command(flatten)]
    pub personal: PersonalOptions,
}

#[derive(Args, Clone, Debug)]
pub(super) struct ListOptions {
    #[command(flatten)]
    pub common: Options,
    /// Show every entry of the list
    #[arg(long)]
    pub list: bool,
}

#[derive(Args, Clone, Debug)]
pub(super) struct ImageOptions {
    #[command(flatten)]
    pub common: Options,
    /// Write the images into this folder; they are biometric data, so --show-personal-data must be given too
    #[arg(long, value_name = "DIR", requires = "show_personal_data")]
    pub extract: Option<PathBuf>,
    /// Allow --extract
    #[arg(long)]
    pub show_personal_data: bool,
}

/// The library's policies by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum PolicyName {
    /// Accepts and reports the known departures of real documents
    Default,
    /// Refuses every departure, an unknown revocation status and absent data groups
    Strict,
    /// The default, and a second try over re-sorted signed attributes
    Lenient,
}

/// How `inspect --help` ends.
pub const HELP: &str = "\
Examples:
  proofmill-worker inspect sod EF_SOD.bin --trust DE_ML.ml --trust crls/
  proofmill-worker inspect document passport/ --trust trust/ --at 2026-11-22T09:00:00Z
  proofmill-worker inspect masterlist DE_ML.ml --anchor CSCA.cer
  proofmill-worker inspect aa exchange.json --json

A master list named with --trust must be signed under a certificate that
--anchor names or, without --anchor, under one that --trust names; else its
own certificates are taken, with a warning. One whose signature does not hold
is refused, and with it the command.

Exit status: 0 all valid, 1 some are not or could not be read, 2 could not run";
