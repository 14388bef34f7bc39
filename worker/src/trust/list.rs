//! `trust list`.

use std::io::{self, Write as _};

use clap::Args;
use proofmill_emrtd::{CertificateInfo, CrlInfo};
use proofmill_telemetry::tell;
use proofmill_trust::{Item, Kind};
use serde_json::{Value, json};

use super::command::{Selection, StoreArgs};

/// `trust list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    selection: Selection,
    /// One JSON object an item
    #[arg(long)]
    json: bool,
}

/// Lists; the answer is the exit status.
pub fn run(args: &ListArgs) -> anyhow::Result<u8> {
    let contents = args.store.read()?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut shown = 0;
    if !args.json {
        writeln!(out, "{:<5} {:<3} {:<20} {:<16} NAME", "KIND", "OF", "UNTIL", "SHA256")?;
    }
    for item in contents.items().filter(|item| args.selection.has_kind(item.kind)) {
        let row = Row::of(item);
        if !args.selection.has_country(row.country.as_deref()) {
            continue;
        }
        shown += 1;
        if args.json {
            writeln!(out, "{}", row.json)?;
        } else {
            let (country, short) = (row.country.as_deref().unwrap_or("??"), row.sha256.get(..16).unwrap_or_default());
            writeln!(out, "{:<5} {country:<3} {:<20} {short:<16} {}", item.kind.name(), row.until, row.name)?;
        }
    }
    out.flush()?;
    if !args.json {
        tell(format_args!(
            "epoch {} of {}: {shown} of {} items",
            contents.epoch(),
            contents.created_at(),
            contents.len()
        ));
    }
    Ok(0)
}

struct Row {
    sha256: String,
    country: Option<String>,
    until: String,
    name: String,
    json: Value,
}

impl Row {
    fn of(item: &Item) -> Row {
        let row = match item.kind {
            Kind::Crl => CrlInfo::parse(&item.der).map(|info| Row {
                sha256: info.sha256.clone(),
                country: info.country.clone(),
                until: info.next_update.map_or_else(|| "-".to_owned(), |time| time.to_string()),
                name: info.issuer.clone(),
                json: json!(info),
            }),
            Kind::Csca | Kind::Dsc => CertificateInfo::parse(&item.der).map(|info| Row {
                sha256: info.sha256.clone(),
                country: info.country.clone(),
                until: info.not_after.to_string(),
                name: info.subject.clone(),
                json: json!(info),
            }),
        };
        let mut row = row.unwrap_or_else(|error| Row {
            sha256: hex::encode(proofmill_trust::fingerprint(&item.der)),
            country: None,
            until: "-".to_owned(),
            name: error.to_string(),
            json: json!({ "error": error.to_string() }),
        });
        if let Some(object) = row.json.as_object_mut() {
            object.insert("kind".to_owned(), json!(item.kind));
            object.insert("provenance".to_owned(), json!(item.provenance));
        }
        row
    }
}
