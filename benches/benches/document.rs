//! Document verification against its bare primitives: one signature verification by the fastest provider with a parsed key,
//! plus hashing the same bytes. Criterion measures each alone; the table at the end measures both in turns, in this run.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Duration;

use aws_lc_rs::digest::{self, digest};
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use cms::cert::CertificateChoices;
use cms::content_info::ContentInfo;
use cms::signed_data::SignedData;
use criterion::Criterion;
use der::{Decode, Encode};
use proofmill_benches::Paired;
use proofmill_emrtd::{DocumentEvidence, Policy, TrustStore, TrustStoreBuilder, UnixTime, verify};
use proofmill_fixtures::{Algorithm, Case, Minted, Photos, World};

fn main() {
    let photos = match Photos::load(&Photos::default_folder()) {
        Ok(photos) => photos,
        Err(error) => {
            println!("SKIPPED: {error}");
            return;
        }
    };
    let world = World::mint(1, "2026-11-22T12:00:00Z".parse().unwrap(), photos);
    let at = UnixTime(world.at().as_second());
    // Short: the ratios below are what counts, and they are measured in turns.
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let mut table = Vec::new();

    for algorithm in Algorithm::ALL {
        let minted = world.submission(Case::Genuine(algorithm), 0);
        let trust = trust(&world);
        let check = |trust: &TrustStore| {
            let evidence = evidence(&minted);
            let report = verify(&evidence, trust, &Policy::default(), at).report;
            assert!(report.is_valid(), "{algorithm:?}: {report:?}");
        };
        let name = algorithm.name();
        criterion.bench_function(&format!("document/{name}/memoised"), |b| b.iter(|| check(&trust)));
        criterion.bench_function(&format!("document/{name}/fresh_trust_store"), |b| {
            b.iter_batched(|| self::trust(&world), |trust| check(&trust), criterion::BatchSize::SmallInput);
        });
        let Some(bare) = Bare::of(algorithm, &minted) else { continue };
        criterion.bench_function(&format!("document/{name}/bare_primitives"), |b| b.iter(|| bare.run(&minted)));
        let paired = Paired::measure(Duration::from_millis(100), 15, || check(&trust), || bare.run(&minted));
        table.push((name, minted.passport.dg2.len(), paired));
    }
    criterion.final_summary();

    println!(
        "\ndocument verification, one core, DSC memoised, against one bare verification and the same hashes, in turns:"
    );
    println!("{:<32} {:>10} {:>14} {:>14} {:>7}", "algorithm", "DG2 bytes", "documents/s", "primitives/s", "ratio");
    for (name, bytes, paired) in table {
        println!(
            "{name:<32} {bytes:>10} {:>14.0} {:>14.0} {:>7.2}",
            1.0 / paired.ours.as_secs_f64(),
            1.0 / paired.bare.as_secs_f64(),
            paired.ratio()
        );
    }
}

fn trust(world: &World) -> TrustStore {
    let mut builder = TrustStoreBuilder::new();
    for country in world.countries() {
        builder.add_csca(&country.csca, country.alpha3).unwrap();
        builder.add_crl(&country.crl, country.alpha3).unwrap();
    }
    builder.build(1)
}

fn evidence(minted: &Minted) -> DocumentEvidence<'_> {
    DocumentEvidence {
        sod: &minted.passport.sod,
        dg1: Some(&minted.passport.dg1),
        dg2: Some(&minted.passport.dg2),
        ..DocumentEvidence::default()
    }
}

/// The work that no verifier can do without.
struct Bare {
    key: ParsedPublicKey,
    signed: Vec<u8>,
    signature: Vec<u8>,
    content: Vec<u8>,
    hash: &'static digest::Algorithm,
}

impl Bare {
    /// `None` where the fast provider lacks the algorithm.
    fn of(algorithm: Algorithm, minted: &Minted) -> Option<Self> {
        let (verification, hash): (&'static dyn VerificationAlgorithm, _) = match algorithm {
            Algorithm::RsaPkcs1Sha256 | Algorithm::RsaEncryptionSha256 => {
                (&signature::RSA_PKCS1_2048_8192_SHA256, &digest::SHA256)
            }
            Algorithm::RsaPkcs1Sha512 => (&signature::RSA_PKCS1_2048_8192_SHA512, &digest::SHA512),
            Algorithm::RsaPssSha256 => (&signature::RSA_PSS_2048_8192_SHA256, &digest::SHA256),
            Algorithm::EcdsaP256 | Algorithm::EcdsaP256Explicit => {
                (&signature::ECDSA_P256_SHA256_ASN1, &digest::SHA256)
            }
            Algorithm::EcdsaP384 | Algorithm::EcdsaP384Explicit => {
                (&signature::ECDSA_P384_SHA384_ASN1, &digest::SHA384)
            }
            Algorithm::EcdsaP521 => (&signature::ECDSA_P521_SHA512_ASN1, &digest::SHA512),
            Algorithm::EcdsaBrainpool256Explicit | Algorithm::EcdsaBrainpool384Explicit => return None,
        };
        let inner = der::AnyRef::from_der(&minted.passport.sod).unwrap().value();
        let signed: SignedData = ContentInfo::from_der(inner).unwrap().content.decode_as().unwrap();
        let info = signed.signer_infos.0.as_slice().first().unwrap();
        let CertificateChoices::Certificate(certificate) =
            signed.certificates.as_ref().unwrap().0.as_slice().first().unwrap().clone()
        else {
            return None;
        };
        let key = certificate.tbs_certificate().subject_public_key_info().subject_public_key.raw_bytes().to_vec();
        Some(Self {
            key: ParsedPublicKey::new(verification, &key).unwrap(),
            signed: info.signed_attrs.as_ref().unwrap().to_der().unwrap(),
            signature: info.signature.as_bytes().to_vec(),
            content: signed.encap_content_info.econtent.as_ref().unwrap().value().to_vec(),
            hash,
        })
    }

    fn run(&self, minted: &Minted) {
        self.key.verify_sig(&self.signed, &self.signature).unwrap();
        for bytes in [&self.content, &minted.passport.dg1, &minted.passport.dg2] {
            black_box(digest(self.hash, bytes));
        }
    }
}
