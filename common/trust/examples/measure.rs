//! How long a store of the world's size takes: 1,500 authorities, 30,000 document signers, 150 revocation lists of 300
//! entries.
#![allow(clippy::unwrap_used, dead_code)]

#[path = "../tests/it/mint.rs"]
mod mint;

use std::io::Write as _;
use std::time::Instant;

use mint::{Authority, NOW, ldif_record};
use proofmill_trust::{Anchors, Audit, Collected, TrustFolder};

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    std::fs::create_dir(&input).unwrap();
    let states: Vec<Authority> = (0..1_500).map(|seed| Authority::new("UT", seed)).collect();
    let serials: Vec<u64> = (1_000_000..1_000_300).collect();
    let mut pem = std::fs::File::create(input.join("authorities.pem")).unwrap();
    let mut ldif = std::io::BufWriter::new(std::fs::File::create(input.join("directory.ldif")).unwrap());
    for state in &states {
        pem.write_all(mint::pem("CERTIFICATE", &state.der).as_bytes()).unwrap();
    }
    for (number, state) in (0..150).zip(&states) {
        let crl = state.crl(1, -1, 30, &serials);
        ldif.write_all(ldif_record(&format!("cn={number},o=crl"), "certificateRevocationList;binary", &crl).as_bytes())
            .unwrap();
    }
    for (number, state) in (0..30_000).zip(states.iter().cycle()) {
        let signer = state.signer(number);
        ldif.write_all(ldif_record(&format!("cn={number},o=dsc"), "userCertificate;binary", &signer).as_bytes())
            .unwrap();
    }
    drop(ldif);
    let timed = |what: &str, started: Instant| println!("{what}: {:.2} s", started.elapsed().as_secs_f64());

    let started = Instant::now();
    let mut collected = Collected::default();
    proofmill_trust::read(&[input], &Anchors::NONE, &mut collected).unwrap_or_else(|error| panic!("{error}"));
    timed("read PEM and LDIF", started);
    let started = Instant::now();
    let store = TrustFolder::new(folder.path().join("store"));
    let import = store.import(collected, None, NOW).unwrap();
    timed("merge and write", started);
    println!("{import:?}, {} octets", std::fs::metadata(store.file()).unwrap().len());
    let started = Instant::now();
    let contents = store.read().unwrap();
    timed("read the store", started);
    let started = Instant::now();
    let (trust, unusable) = contents.build(contents.epoch());
    timed("build the verifier's store, every list verified", started);
    println!("{:?}, {} unusable", trust.counts(), unusable.len());
    drop(contents);
    let started = Instant::now();
    let audit = Audit::of(&trust, NOW, 90 * 86_400, &unusable);
    timed("audit, every certificate's signature verified", started);
    println!("{:?}, signers {:?}", audit.classes, audit.signers);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default());
}
