//! States that do not exist: authorities, signers, revocation lists, master lists, directories.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use proofmill_fixtures::{Algorithm, SigningKey, der};
use proofmill_trust::{Anchors, Collected, fingerprint};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;

/// 2026-06-01, the day of everything here.
pub const NOW: proofmill_emrtd::UnixTime = proofmill_emrtd::UnixTime(1_780_272_000);

pub fn day(offset: i64) -> Timestamp {
    Timestamp::from_second(NOW.0).unwrap() + SignedDuration::from_hours(24 * offset)
}

/// A state's authority and its key.
pub struct Authority {
    pub country: &'static str,
    pub der: Vec<u8>,
    key: SigningKey,
    name: Vec<u8>,
}

impl Authority {
    pub fn new(country: &'static str, seed: u64) -> Authority {
        Authority::lasting(country, seed, 10 * 365)
    }

    /// Valid for so many days from now.
    pub fn lasting(country: &'static str, seed: u64, days: i64) -> Authority {
        let key = SigningKey::generate(Algorithm::EcdsaP256, &mut ChaCha20Rng::seed_from_u64(seed));
        let name = name(country, &format!("CSCA {country}"));
        let extensions = [authority_key(&key), key_usage(1, 0x06), basic_constraints(), subject_key(&key)];
        let der = certificate(&key, &name, &key, &name, seed, (-365, days), &extensions);
        Authority { country, der, key, name }
    }

    /// The certificate that introduces a successor's key, signed with this one.
    pub fn link_to(&self, next: &Authority) -> Vec<u8> {
        let extensions = [authority_key(&self.key), key_usage(1, 0x06), basic_constraints(), subject_key(&next.key)];
        certificate(&self.key, &self.name, &next.key, &next.name, 77, (-30, 3000), &extensions)
    }

    /// A document signer's certificate. All have one key: nothing here signs with it.
    pub fn signer(&self, serial: u64) -> Vec<u8> {
        let extensions = [authority_key(&self.key), key_usage(7, 0x80)];
        let subject = name(self.country, &format!("Signer {serial}"));
        certificate(&self.key, &self.name, &self.key, &subject, serial, (-100, 3000), &extensions)
    }

    pub fn crl(&self, number: u64, this_update: i64, next_update: i64, revoked: &[u64]) -> Vec<u8> {
        let entry = |serial: &u64| der::sequence(&[&der::integer(*serial), &der::time(day(-200))]);
        let entries: Vec<u8> = revoked.iter().flat_map(entry).collect();
        let entries = if entries.is_empty() { Vec::new() } else { der::sequence(&[&entries]) };
        let extensions = [authority_key(&self.key), extension("2.5.29.20", false, &der::integer(number))];
        let algorithm = Algorithm::EcdsaP256.signature_identifier(false);
        let body = der::sequence(&[
            &der::integer(1),
            &algorithm,
            &self.name,
            &der::time(day(this_update)),
            &der::time(day(next_update)),
            &entries,
            &der::explicit(0, &der::sequence(&[&extensions.concat()])),
        ]);
        der::sequence(&[&body, &algorithm, &der::bits(&self.key.sign(&body))])
    }

    /// A master list, signed by a list signer of this authority.
    pub fn master_list(&self, certificates: &[&[u8]]) -> Vec<u8> {
        let key = SigningKey::generate(Algorithm::EcdsaP256, &mut ChaCha20Rng::seed_from_u64(4711));
        let purpose = der::sequence(&[&der::oid("2.23.136.1.1.3")]);
        let extensions = [authority_key(&self.key), key_usage(7, 0x80), extension("2.5.29.37", true, &purpose)];
        let subject = name(self.country, "Master List Signer");
        let signer = certificate(&self.key, &self.name, &key, &subject, 99, (-100, 1000), &extensions);
        let set = der::set_of(certificates.iter().map(|der| der.to_vec()).collect());
        signed_data(&key, &signer, &self.name, 99, "2.23.136.1.1.2", &der::sequence(&[&der::integer(0), &set]))
    }

    /// Something signed that is no master list.
    pub fn deviation_list(&self) -> Vec<u8> {
        signed_data(&self.key, &self.der, &self.name, 1, "2.23.136.1.1.7", &der::sequence(&[&der::integer(0)]))
    }
}

fn signed_data(key: &SigningKey, signer: &[u8], issuer: &[u8], serial: u64, kind: &str, content: &[u8]) -> Vec<u8> {
    let kind = der::oid(kind);
    let digest_algorithm = der::sequence(&[&der::oid("2.16.840.1.101.3.4.2.1")]);
    let attribute = |oid: &str, value: Vec<u8>| der::sequence(&[&der::oid(oid), &der::set_of(vec![value])]);
    let attributes = der::set_of(vec![
        attribute("1.2.840.113549.1.9.3", kind.clone()),
        attribute("1.2.840.113549.1.9.4", der::octets(&fingerprint(content))),
    ]);
    let mut tagged = attributes.clone();
    tagged[0] = 0xa0;
    let info = der::sequence(&[
        &der::integer(1),
        &der::sequence(&[issuer, &der::integer(serial)]),
        &digest_algorithm,
        &tagged,
        &Algorithm::EcdsaP256.signature_identifier(true),
        &der::octets(&key.sign(&attributes)),
    ]);
    let data = der::sequence(&[
        &der::integer(3),
        &der::set_of(vec![digest_algorithm]),
        &der::sequence(&[&kind, &der::explicit(0, &der::octets(content))]),
        &der::explicit(0, signer),
        &der::set_of(vec![info]),
    ]);
    der::sequence(&[&der::oid("1.2.840.113549.1.7.2"), &der::explicit(0, &data)])
}

fn certificate(
    issuer_key: &SigningKey,
    issuer: &[u8],
    key: &SigningKey,
    subject: &[u8],
    serial: u64,
    (from, to): (i64, i64),
    extensions: &[Vec<u8>],
) -> Vec<u8> {
    let algorithm = Algorithm::EcdsaP256.signature_identifier(false);
    let body = der::sequence(&[
        &der::explicit(0, &der::integer(2)),
        &der::integer(serial),
        &algorithm,
        issuer,
        &der::sequence(&[&der::time(day(from)), &der::time(day(to))]),
        subject,
        &key.public_key_info(),
        &der::explicit(3, &der::sequence(&[&extensions.concat()])),
    ]);
    der::sequence(&[&body, &algorithm, &der::bits(&issuer_key.sign(&body))])
}

fn name(country: &str, common_name: &str) -> Vec<u8> {
    let attribute = |oid: &str, value: Vec<u8>| der::set_of(vec![der::sequence(&[&der::oid(oid), &value])]);
    der::sequence(&[&attribute("2.5.4.6", der::printable(country)), &attribute("2.5.4.3", der::utf8(common_name))])
}

fn extension(oid: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { der::yes() } else { Vec::new() };
    der::sequence(&[&der::oid(oid), &critical, &der::octets(value)])
}

fn key_id(key: &SigningKey) -> Vec<u8> {
    fingerprint(&key.public_key_info())[..20].to_vec()
}

fn authority_key(key: &SigningKey) -> Vec<u8> {
    extension("2.5.29.35", false, &der::sequence(&[&der::implicit(0, &key_id(key))]))
}

fn subject_key(key: &SigningKey) -> Vec<u8> {
    extension("2.5.29.14", false, &der::octets(&key_id(key)))
}

fn key_usage(unused: u8, bits: u8) -> Vec<u8> {
    extension("2.5.29.15", true, &der::tlv(&[0x03], &[unused, bits]))
}

fn basic_constraints() -> Vec<u8> {
    extension("2.5.29.19", true, &der::sequence(&[&der::yes(), &der::integer(0)]))
}

/// One record of an LDIF file, its value folded as directories fold it.
pub fn ldif_record(dn: &str, attribute: &str, value: &[u8]) -> String {
    use base64::Engine as _;
    let line = format!("{attribute}:: {}", base64::engine::general_purpose::STANDARD.encode(value));
    let mut text = format!("dn: {dn}\nobjectClass: top\n");
    for (index, part) in line.as_bytes().chunks(76).enumerate() {
        if index > 0 {
            text.push(' ');
        }
        text.push_str(std::str::from_utf8(part).unwrap());
        text.push('\n');
    }
    text.push('\n');
    text
}

pub fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

pub fn anchors(certificates: &[&[u8]]) -> Anchors {
    let mut anchors = Anchors::default();
    certificates.iter().for_each(|der| anchors.add(der.to_vec()));
    anchors
}

/// Reads paths, which must succeed.
pub fn collect(paths: &[&Path], anchors: &Anchors) -> Collected {
    let paths: Vec<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
    let mut collected = Collected::default();
    proofmill_trust::read(&paths, anchors, &mut collected).unwrap_or_else(|refusal| panic!("{refusal}"));
    collected
}
