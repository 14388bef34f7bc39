//! Many documents at once: threads, and memory over a million of them.

use std::time::Instant;

use proofmill_emrtd::TrustStore;
use proofmill_emrtd::crypto::{curve::Curve, digest::Digest};
use rayon::prelude::*;

use crate::mint::{Algorithm, Country, Document};
use crate::{check, trust};

const P256: Algorithm = Algorithm::Ecdsa { curve: Curve::P256, explicit: false };
/// Documents of one measurement.
const ROUND: usize = 20_000;
const RSA: Algorithm = Algorithm::Rsa { bits: 2048, pss: false };

/// Documents per second over threads, by one signer (the worst for a shared cache) and by many.
pub fn threads(country: &Country) {
    let many = signers(country, P256, 256);
    let one = vec![signers(country, RSA, 1).remove(0); 256];
    println!(
        "\nscaling over rayon threads, documents/s and against one thread; processor time of a document is what waiting for\n\
         caches and locks would raise, and other work on the machine does not:"
    );
    println!("{:>8} {:>32} {:>32}", "threads", "rsa2048, one signer", "P-256, 256 signers");
    let most = std::thread::available_parallelism().map_or(1, usize::from);
    let mut counts: Vec<usize> =
        std::iter::successors(Some(1), |count| Some(count * 2)).take_while(|count| *count < most).collect();
    counts.push(most);
    let mut alone: Option<[(f64, f64); 2]> = None;
    for threads in counts {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let cells = [&one, &many].map(|documents| {
            let trust = trust(country);
            // Caches and tables first, and then the median of some rounds.
            let mut rounds: Vec<(f64, f64)> = (0..6)
                .map(|_| {
                    let before = processor_seconds();
                    let rate = pool.install(|| rate(country, documents, &trust, ROUND));
                    (rate, (processor_seconds() - before) / ROUND as f64)
                })
                .skip(1)
                .collect();
            rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
            rounds[rounds.len() / 2]
        });
        let alone = *alone.get_or_insert(cells);
        let cell = |column: usize| {
            let (rate, seconds) = cells[column];
            format!("{rate:.0} ({:.2}x), {:.1} us", rate / alone[column].0, seconds * 1e6)
        };
        println!("{threads:>8} {:>32} {:>32}", cell(0), cell(1));
    }
}

/// Resident memory over a million documents of more signers than tables fit the budget.
pub fn million(country: &Country) {
    const SIGNERS: usize = 6000;
    const DOCUMENTS: usize = 1_000_000;
    let documents = signers(country, P256, SIGNERS);
    let trust = trust(country);
    println!("\n{DOCUMENTS} documents by {SIGNERS} P-256 signers, all cores, resident memory:");
    println!("{:>12} {:>12} {:>14}", "documents", "MiB", "documents/s");
    println!("{:>12} {:>12.1} {:>14}", 0, resident(), "");
    for done in 1..=10 {
        let rate = rate(country, &documents, &trust, DOCUMENTS / 10);
        println!("{:>12} {:>12.1} {rate:>14.0}", done * DOCUMENTS / 10, resident());
    }
}

/// Documents per second, each signer's turn after the other's.
fn rate(country: &Country, documents: &[Document], trust: &TrustStore, count: usize) -> f64 {
    let started = Instant::now();
    (0..count).into_par_iter().for_each(|index| check(country, &documents[index % documents.len()], trust));
    count as f64 / started.elapsed().as_secs_f64()
}

/// A document of each of so many signers.
fn signers(country: &Country, algorithm: Algorithm, count: usize) -> Vec<Document> {
    (0..count as u32)
        .into_par_iter()
        .map(|serial| country.document(algorithm, Digest::Sha256, &algorithm.generate(), 1000 + serial))
        .collect()
}

/// Resident memory in MiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.split_whitespace().next().and_then(|number| number.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}

/// Processor time of this process, user and system.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The fields after the name, which is in parentheses: utime and stime are the twelfth and thirteenth, in ticks of a
    // hundredth of a second (proc_pid_stat(5)).
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(f64::NAN);
    (ticks(11) + ticks(12)) / 100.0
}
