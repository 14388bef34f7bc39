//! `trust export`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use proofmill_emrtd::{CertificateInfo, CrlInfo};
use proofmill_telemetry::tell;
use proofmill_trust::{Contents, Item, Kind, fingerprint};

use super::command::{Selection, StoreArgs};

/// `trust export`.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// A new file (pem, ndjson; `-` for standard output) or a new or empty folder (der)
    #[arg(value_name = "PATH")]
    to: PathBuf,
    /// How
    #[arg(long, value_enum, default_value = "ndjson")]
    format: Format,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    store: StoreArgs,
}

/// A format on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One text file that other programs read, without provenance
    Pem,
    /// A folder of files, without provenance
    Der,
    /// The store's own format: kinds and provenance come back on import
    Ndjson,
}

/// Exports; the answer is the exit status.
pub fn run(args: &ExportArgs) -> anyhow::Result<u8> {
    let mut contents = args.store.read()?;
    contents.retain(|item| args.selection.has_kind(item.kind) && args.selection.has_country(country(item).as_deref()));
    ensure!(!contents.is_empty(), "nothing in the store is selected");
    match args.format {
        Format::Ndjson => to_file(&args.to, |out| proofmill_trust::export(&contents, out))?,
        Format::Pem => to_file(&args.to, |out| contents.items().try_for_each(|item| pem(item, out)))?,
        Format::Der => to_folder(&args.to, &contents)?,
    }
    tell(format_args!("{} items exported", contents.len()));
    let changing = contents.items().filter(|item| item.kind == Kind::Csca && !looks_like_an_authority(item)).count();
    if args.format != Format::Ndjson && changing > 0 {
        tell(format_args!(
            "{changing} certificates that a master list names as authorities do not call themselves so: imported from this \
             format they would be document signers; ndjson keeps what they are"
        ));
    }
    Ok(0)
}

/// Written beside its place and moved there, so that a name never stands for half an export.
fn to_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
    if path == Path::new("-") {
        let mut out = BufWriter::new(io::stdout().lock());
        write(&mut out)?;
        out.flush()?;
        return Ok(());
    }
    ensure!(!path.exists(), "{} exists already", path.display());
    let context = || format!("cannot write {}", path.display());
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let file = File::create(&partial).with_context(context)?;
    let mut out = BufWriter::new(file);
    write(&mut out).and_then(|()| out.flush()).with_context(context)?;
    std::fs::rename(&partial, path).with_context(context)
}

fn to_folder(folder: &Path, contents: &Contents) -> anyhow::Result<()> {
    let context = || format!("cannot write {}", folder.display());
    if folder.exists() && folder.read_dir().with_context(context)?.next().is_some() {
        bail!("{} is not empty", folder.display());
    }
    for kind in Kind::ALL {
        std::fs::create_dir_all(folder.join(kind.name())).with_context(context)?;
    }
    for item in contents.items() {
        let name = hex::encode(fingerprint(&item.der));
        let short = name.get(..16).unwrap_or(&name);
        // Part of a file's name, and from a certificate.
        let country: String =
            country(item).unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).take(3).collect();
        let country = if country.is_empty() { "XX".to_owned() } else { country };
        let extension = if item.kind == Kind::Crl { "crl" } else { "cer" };
        let path = folder.join(item.kind.name()).join(format!("{country}-{short}.{extension}"));
        std::fs::write(path, &item.der).with_context(context)?;
    }
    Ok(())
}

/// With a line that says what it is; readers pass over text between blocks (RFC 7468 section 5.2).
fn pem(item: &Item, out: &mut dyn Write) -> io::Result<()> {
    let (label, name) = match item.kind {
        Kind::Crl => ("X509 CRL", CrlInfo::parse(&item.der).map(|info| info.issuer)),
        _ => ("CERTIFICATE", CertificateInfo::parse(&item.der).map(|info| info.subject)),
    };
    writeln!(out, "{} {}", item.kind, name.unwrap_or_default())?;
    writeln!(out, "-----BEGIN {label}-----")?;
    for line in STANDARD.encode(&item.der).as_bytes().chunks(64) {
        out.write_all(line)?;
        out.write_all(b"\n")?;
    }
    writeln!(out, "-----END {label}-----")
}

fn country(item: &Item) -> Option<String> {
    match item.kind {
        Kind::Crl => CrlInfo::parse(&item.der).ok()?.country,
        _ => CertificateInfo::parse(&item.der).ok()?.country,
    }
}

fn looks_like_an_authority(item: &Item) -> bool {
    proofmill_trust::kind_of_certificate(&item.der) == Ok(Kind::Csca)
}
