//! `trust check`.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use proofmill_contract::Timestamp;
use proofmill_emrtd::{CertificateStatus, Classification, UnixTime};
use proofmill_trust::{Audit, Finding};
use serde_json::json;

use super::command::{StoreArgs, now};
use crate::settings::{duration, moment};

/// `trust check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// One JSON object, with every country signing certificate
    #[arg(long)]
    json: bool,
    /// Every country signing certificate, in the text too
    #[arg(long, short)]
    verbose: bool,
    /// As of this moment (RFC 3339) instead of now
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<Timestamp>,
    /// What ends within this time is called expiring: a number and s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = duration)]
    expiring_within: Duration,
    /// Warnings count as problems
    #[arg(long)]
    strict: bool,
}

/// Checks; the answer is the exit status.
pub fn run(args: &CheckArgs) -> anyhow::Result<u8> {
    let contents = args.store.read()?;
    let (store, unusable) = contents.build(contents.epoch());
    let at = args.at.map_or_else(now, |at| UnixTime(at.as_secs()));
    let window = i64::try_from(args.expiring_within.as_secs()).unwrap_or(i64::MAX);
    let audit = Audit::of(&store, at, window, &unusable);
    let well = audit.is_well() && (!args.strict || audit.warnings.is_empty());
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.json {
        let mut report = serde_json::to_value(&audit)?;
        if let Some(report) = report.as_object_mut() {
            report.insert("ok".to_owned(), json!(well));
            report.insert("created_at".to_owned(), json!(contents.created_at()));
        }
        writeln!(out, "{report}")?;
    } else {
        text(&audit, args.verbose, &mut out)?;
    }
    out.flush()?;
    Ok(u8::from(!well))
}

fn text(audit: &Audit, verbose: bool, out: &mut impl Write) -> io::Result<()> {
    let counts = audit.counts;
    writeln!(
        out,
        "epoch {}: {} country signing certificates of {} countries, {} stored signers, {} revocation lists with {} entries",
        audit.epoch,
        counts.cscas,
        audit.countries.values().filter(|country| country.authorities > 0).count(),
        counts.document_signers,
        counts.crls,
        counts.revoked
    )?;
    let classes: Vec<String> = audit.classes.iter().map(|(class, count)| format!("{class} {count}")).collect();
    writeln!(out, "classes: {}", classes.join(", "))?;
    if counts.document_signers > 0 {
        let signers = &audit.signers;
        let not_trusted: usize = signers.not_trusted.values().sum();
        writeln!(
            out,
            "stored signers: {} trusted, {} revoked, {not_trusted} not trusted; {} expired, {} expiring",
            signers.trusted, signers.revoked, signers.expired, signers.expiring
        )?;
    }
    writeln!(out, "\nOF  CSCA EXPIRED EXPIRING   DSC  CRL REVOKED LISTS")?;
    for (code, country) in &audit.countries {
        writeln!(
            out,
            "{code:<3} {:>4} {:>7} {:>8} {:>5} {:>4} {:>7} {}",
            country.authorities,
            country.expired,
            country.expiring,
            country.signers,
            country.crls,
            country.revoked,
            format!("{:?}", country.freshness).to_lowercase()
        )?;
    }
    let mut rows = audit.authorities.iter().filter(|row| verbose || row.expiring).peekable();
    if rows.peek().is_some() {
        writeln!(out)?;
    }
    for row in rows {
        let class = match &row.classification {
            Classification::Link { via } => format!("link_ok via {}", via.get(..16).unwrap_or(via)),
            class => class.name().to_owned(),
        };
        let ends = match (row.status, row.expiring) {
            (_, true) => "expiring",
            (CertificateStatus::Expired, _) => "expired",
            (CertificateStatus::NotYetValid, _) => "not yet valid",
            (CertificateStatus::Valid, _) => "valid",
        };
        let short = row.sha256.get(..16).unwrap_or(&row.sha256);
        let country = row.country.as_deref().unwrap_or("??");
        writeln!(out, "{country:<3} {short} {ends} until {}, {class}, {}", row.not_after, row.subject)?;
    }
    let findings = |name: &str, findings: &[Finding], out: &mut dyn Write| {
        findings.iter().try_for_each(|finding| {
            let topic = serde_json::to_value(finding.topic).unwrap_or_default();
            writeln!(out, "{name} {}: {}", topic.as_str().unwrap_or_default(), finding.detail)
        })
    };
    if !(audit.problems.is_empty() && audit.warnings.is_empty()) {
        writeln!(out)?;
    }
    findings("problem", &audit.problems, out)?;
    findings("warning", &audit.warnings, out)
}
