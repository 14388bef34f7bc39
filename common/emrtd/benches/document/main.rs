//! Document verification by algorithm, measured in one run as ratios: against the bare primitives
//! on the same bytes, over threads, over a million documents, and against another implementation.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../../tests/aws_lc/mod.rs"]
mod aws_lc;
mod bare;
mod mint;
#[path = "../../../../benches/src/paired.rs"]
mod paired;
mod scale;

use std::process::Command;
use std::time::Duration;

use bare::Bare;
use mint::{Algorithm, Country, Document};
use paired::Paired;
use proofmill_emrtd::crypto::provider::{PreparedKey, Scheme, TableBudget};
use proofmill_emrtd::crypto::{curve::Curve, digest::Digest, key::PublicKey};
use proofmill_emrtd::{DocumentEvidence, Policy, TrustStore, TrustStoreBuilder, UnixTime, verify};

/// 2026-11-22.
const AT: UnixTime = UnixTime(1_795_305_600);
/// The size of a DG2 in which a portrait was not spared nor wasted.
const DG2: usize = 20_000;
/// Certificates of one key that take turns where no signer is remembered.
const FRESH: usize = 24;

fn main() {
    // `cargo bench -- --bench` hands in its own flag; anything else is a part to run.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let runs = |part: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == part);
    let country = Country::mint(DG2);
    if runs("documents") {
        documents(&country);
    }
    if runs("signatures") {
        signatures(&country);
    }
    if runs("threads") {
        scale::threads(&country);
    }
    if runs("million") {
        scale::million(&country);
    }
    if runs("peers") {
        peers(&country);
    }
}

fn rows() -> Vec<(Algorithm, Digest)> {
    let rsa = |bits, pss, digest| (Algorithm::Rsa { bits, pss }, digest);
    let ec = |curve, explicit, digest| (Algorithm::Ecdsa { curve, explicit }, digest);
    vec![
        rsa(2048, false, Digest::Sha256),
        rsa(2048, true, Digest::Sha256),
        rsa(3072, false, Digest::Sha256),
        rsa(4096, false, Digest::Sha512),
        ec(Curve::P192, false, Digest::Sha1),
        ec(Curve::P224, false, Digest::Sha224),
        ec(Curve::P256, false, Digest::Sha256),
        ec(Curve::P256, true, Digest::Sha256),
        ec(Curve::P384, false, Digest::Sha384),
        ec(Curve::P521, false, Digest::Sha512),
        ec(Curve::BrainpoolP224r1, false, Digest::Sha224),
        ec(Curve::BrainpoolP256r1, false, Digest::Sha256),
        ec(Curve::BrainpoolP256r1, true, Digest::Sha256),
        ec(Curve::BrainpoolP256t1, false, Digest::Sha256),
        ec(Curve::BrainpoolP320r1, false, Digest::Sha256),
        ec(Curve::BrainpoolP384r1, true, Digest::Sha384),
        ec(Curve::BrainpoolP512r1, true, Digest::Sha512),
        ec(Curve::BrainpoolP512t1, false, Digest::Sha512),
    ]
}

fn documents(country: &Country) {
    println!(
        "document verification, one core, DG2 of {} octets: with the signer's chain remembered, and with a signer never\n\
         seen before (its certificate parsed, its issuer found, its signature verified); bare: one signature verification\n\
         by AWS-LC with a parsed key and the hashes of the same bytes; ratio: remembered to bare, in turns\n\
         {:<30} {:>12} {:>12} {:>12} {:>7}",
        country.dg2.len(),
        "algorithm",
        "remembered/s",
        "new signer/s",
        "bare/s",
        "ratio"
    );
    for (algorithm, digest) in rows() {
        let key = algorithm.generate();
        let documents: Vec<Document> =
            (0..FRESH as u32).map(|serial| country.document(algorithm, digest, &key, 100 + serial)).collect();
        let bare = Bare::new(algorithm, digest, &key, &documents[0]);
        let trust = trust(country);
        let paired = Paired::measure(
            Duration::from_millis(40),
            11,
            || check(country, &documents[0], &trust),
            || bare.run(country),
        );
        let fresh = Paired::measure(
            Duration::from_millis(40),
            5,
            || {
                let trust = self::trust(country);
                documents.iter().for_each(|document| check(country, document, &trust));
            },
            || (),
        );
        println!(
            "{:<30} {:>12.0} {:>12.0} {:>12.0} {:>7.2}",
            algorithm.name(digest),
            1.0 / paired.ours.as_secs_f64(),
            FRESH as f64 / fresh.ours.as_secs_f64(),
            1.0 / paired.bare.as_secs_f64(),
            paired.ratio()
        );
    }
}

/// The signatures alone: what the tables gain, and what a key costs that has none.
fn signatures(country: &Country) {
    println!(
        "\nECDSA verification alone, one core: a key with its table, the same key without, and AWS-LC\n\
         {:<30} {:>12} {:>12} {:>12} {:>7} {:>7}",
        "curve", "table/s", "no table/s", "aws-lc/s", "table", "none"
    );
    for (algorithm, digest) in rows() {
        let Algorithm::Ecdsa { curve, explicit: false } = algorithm else { continue };
        let key = algorithm.generate();
        let document = country.document(algorithm, digest, &key, 100);
        let bare = Bare::new(algorithm, digest, &key, &document);
        let public = PublicKey::from_spki(&key.public_key_to_der().unwrap()).unwrap();
        let (seldom, busy) = (PreparedKey::new(public.clone()), PreparedKey::new(public));
        busy.share_budget(&TableBudget::new(1 << 20));
        assert!(busy.expand());
        let scheme = Scheme::Ecdsa { digest };
        let verify = |key: &PreparedKey| {
            let hash = digest.compute(&[&document.attributes]);
            let native = proofmill_emrtd::crypto::provider::Provider::Native;
            key.verify_digest_with(native, scheme, hash.as_ref(), &document.signature).unwrap();
        };
        let slice = Duration::from_millis(20);
        let with = Paired::measure(slice, 9, || verify(&busy), || bare.signature());
        let without = Paired::measure(slice, 9, || verify(&seldom), || bare.signature());
        println!(
            "{:<30} {:>12.0} {:>12.0} {:>12.0} {:>7.2} {:>7.2}",
            curve.name(),
            1.0 / with.ours.as_secs_f64(),
            1.0 / without.ours.as_secs_f64(),
            1.0 / with.bare.as_secs_f64(),
            with.ratio(),
            without.ratio()
        );
    }
}

/// Another implementation on the same SODs in the same run, if this machine has it.
fn peers(country: &Country) {
    let folder = tempfile::tempdir().unwrap();
    let trust = trust(country);
    println!("\nSOD signatures, one core, against pymrtd (which checks no chain and hashes no data group):");
    for (algorithm, digest) in [rows()[0], rows()[1], rows()[6], rows()[11]] {
        let key = algorithm.generate();
        let document = country.document(algorithm, digest, &key, 100);
        let name = algorithm.name(digest).replace(' ', "_");
        std::fs::write(folder.path().join(format!("{name}.sod")), &document.sod).unwrap();
        let ours = Paired::measure(Duration::from_millis(40), 5, || check(country, &document, &trust), || ());
        println!("{name:<30} ours, whole document with chain: {:>8.0}/s", 1.0 / ours.ours.as_secs_f64());
    }
    let python = std::env::var("PROOFMILL_PEER_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/pymrtd.py");
    match Command::new(&python).arg(script).arg(folder.path()).status() {
        Ok(status) if status.success() => {}
        Ok(status) => println!("{script} ended with {status}"),
        Err(error) => println!("SKIPPED pymrtd: cannot run {python}: {error}"),
    }
}

fn trust(country: &Country) -> TrustStore {
    let mut builder = TrustStoreBuilder::new();
    builder.add_csca(&country.csca(), "bench").unwrap();
    builder.build(1)
}

fn check(country: &Country, document: &Document, trust: &TrustStore) {
    let evidence = DocumentEvidence {
        sod: &document.sod,
        dg1: Some(&country.dg1),
        dg2: Some(&country.dg2),
        ..DocumentEvidence::default()
    };
    let report = verify(&evidence, trust, &Policy::default(), AT).report;
    assert!(report.is_valid(), "{report:?}");
}
