//! The trust store: what certificates and lists say, who signed them, which count, and for whom.
#![allow(clippy::unwrap_used, missing_docs)]

mod mint;

use mint::*;
use proofmill_emrtd::{
    CertificateInfo, CertificateRole, Classification, CrlInfo, CrlProblem, CrlScope, Deviation, DocumentEvidence,
    MasterList, MasterListAnchor, MasterListError, Policy, Reason, RevocationStatus, SignerAbsence, TrustError,
    TrustStore, TrustStoreBuilder, UnixTime, crypto::digest::Digest, crypto::provider::Scheme, inspect,
};

/// 2026-06-15T12:00:00Z
const NOW: UnixTime = UnixTime(1_781_524_800);

/// A certificate field by field, each its whole encoding.
#[derive(Clone)]
struct Raw {
    version: Vec<u8>,
    serial: Vec<u8>,
    issuer: Vec<u8>,
    validity: Vec<u8>,
    subject: Vec<u8>,
    spki: Vec<u8>,
    after_spki: Vec<u8>,
    extensions: Vec<Vec<u8>>,
    signer: Signer,
}

impl Raw {
    fn csca(key: &Signer) -> Raw {
        let csca = Certificate::csca("UT", key);
        Raw {
            version: tlv(0xa0, &int(2)),
            serial: int(1),
            issuer: csca.issuer,
            validity: seq(&[&utc("200101000000Z"), &utc("400101000000Z")]),
            subject: csca.subject,
            spki: key.spki(),
            after_spki: vec![],
            extensions: csca.extensions,
            signer: key.clone(),
        }
    }

    fn der(&self) -> Vec<u8> {
        let extensions: Vec<&[u8]> = self.extensions.iter().map(Vec::as_slice).collect();
        let extensions = if extensions.is_empty() { vec![] } else { tlv(0xa3, &seq(&extensions)) };
        let algorithm = self.signer.algorithm();
        let tbs = seq(&[
            &self.version,
            &self.serial,
            &algorithm,
            &self.issuer,
            &self.validity,
            &self.subject,
            &self.spki,
            &self.after_spki,
            &extensions,
        ]);
        seq(&[&tbs, &algorithm, &bits(&self.signer.sign(&tbs))])
    }
}

/// A revocation list whose entries are whole.
fn crl_with_entries(crl: &Crl, entries: &[Vec<u8>]) -> Vec<u8> {
    let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
    let extensions: Vec<&[u8]> = crl.extensions.iter().map(Vec::as_slice).collect();
    let tbs = seq(&[
        &crl.version.map(int).unwrap_or_default(),
        &crl.key.algorithm(),
        &crl.issuer,
        &utc(&crl.this_update),
        &crl.next_update.as_deref().map(utc).unwrap_or_default(),
        &seq(&entries),
        &if extensions.is_empty() { vec![] } else { tlv(0xa0, &seq(&extensions)) },
    ]);
    seq(&[&tbs, &crl.key.algorithm(), &bits(&crl.key.sign(&tbs))])
}

fn entry(serial: &[u8], extensions: &[Vec<u8>]) -> Vec<u8> {
    let extensions: Vec<&[u8]> = extensions.iter().map(Vec::as_slice).collect();
    let extensions = if extensions.is_empty() { vec![] } else { seq(&extensions) };
    seq(&[&big(serial), &utc("250101000000Z"), &extensions])
}

fn store(cscas: &[Vec<u8>], crls: &[Vec<u8>]) -> TrustStore {
    let mut builder = TrustStoreBuilder::new();
    for csca in cscas {
        builder.add_csca(csca, "list").unwrap();
    }
    for crl in crls {
        builder.add_crl(crl, "crl").unwrap();
    }
    builder.build(1)
}

const SIGNER: &[u8] = &[0x10, 0x01];

fn dsc() -> Certificate {
    Certificate::dsc("UT", &p256(2), &p256(1))
}

fn csca() -> Certificate {
    Certificate::csca("UT", &p256(1))
}

/// The status that lists give the usual signer under the usual authority.
fn status(crls: &[Vec<u8>]) -> RevocationStatus {
    status_of(&dsc(), &[csca().der()], crls)
}

fn status_of(dsc: &Certificate, cscas: &[Vec<u8>], crls: &[Vec<u8>]) -> RevocationStatus {
    let store = store(cscas, crls);
    assert_eq!(store.counts().rejected_crls, 0, "{:?}", store.rejected_crls());
    let judged = store.judge_certificate(&dsc.der(), NOW).unwrap();
    assert!(judged.trusted, "{:?}", judged.reason);
    let revoked = judged.revocation_status == RevocationStatus::Revoked;
    assert_eq!(judged.reason, revoked.then_some(Reason::CertificateRevoked));
    // A document is judged by the same rule.
    let sod = Sod::new(dsc, &[(1, b""), (2, b"")]).der();
    let evidence = DocumentEvidence { sod: &sod, ..Default::default() };
    let report = inspect(&evidence, &store, &Policy::default(), NOW).report;
    assert_eq!(report.revocation_status, judged.revocation_status);
    judged.revocation_status
}

use RevocationStatus::{Revoked, Unknown, VerifiedNotRevoked as NotRevoked};

// -- descriptions

#[test]
fn certificates_describe_themselves() {
    let key = Signer { explicit: Some(Parameters::default()), ..ec(Secret::Bp256(1), Digest::Sha256) };
    let csca = Certificate { serial: vec![0x0a, 0xff], ..Certificate::csca("UT", &key) };
    let info = CertificateInfo::parse(&csca.der()).unwrap();
    assert_eq!(info.subject, "CN=CSCA,C=UT");
    assert_eq!(info.issuer, "CN=CSCA,C=UT");
    assert_eq!((info.country.as_deref(), info.version, info.serial.as_str()), (Some("UT"), 3, "0aff"));
    assert_eq!(info.public_key, "brainpoolP256r1 (explicit parameters)");
    assert!(info.public_key_usable && info.self_issued && !info.extensions_malformed);
    assert_eq!(info.signature_algorithm, "ecdsa_sha256");
    assert_eq!(info.key_identifier, hex::encode(key.key_identifier()));
    assert_eq!((info.authority_key_identifier.as_deref(), info.certification_authority), (None, Some(true)));
    assert_eq!((info.path_length, info.key_usage), (Some(0), Some(vec!["keyCertSign", "cRLSign"])));
    assert_eq!(info.sha256, hex::encode(Digest::Sha256.compute(&[&csca.der()])));
    let json = serde_json::to_value(CertificateInfo::parse(&csca.der()).unwrap()).unwrap();
    assert_eq!(json["not_before"], "2020-01-01T00:00:00Z");
    assert_eq!(json["not_after"], "2040-01-01T00:00:00Z");

    let dsc = Certificate::dsc("UT", &rsa(0, Scheme::RsaPkcs1 { digest: Digest::Sha256 }), &key);
    let info = CertificateInfo::parse(&dsc.der()).unwrap();
    assert_eq!((info.public_key.as_str(), info.key_usage), ("rsa2048", Some(vec!["digitalSignature"])));
    assert_eq!(info.authority_key_identifier, Some(hex::encode(key.key_identifier())));
    assert!(!info.self_issued);
    assert!(matches!(CertificateInfo::parse(b"\x30\x00"), Err(TrustError::CertificateMalformed(_))));
}

#[test]
fn names_are_shown_as_rfc_4514_says_and_forge_no_line_of_a_log() {
    let subject = |attributes: &[Vec<u8>]| {
        let parts: Vec<&[u8]> = attributes.iter().map(Vec::as_slice).collect();
        CertificateInfo::parse(&Raw { subject: seq(&parts), ..Raw::csca(&p256(1)) }.der()).unwrap().subject
    };
    let cn = |tag, text: &str| attribute("2.5.4.3", tag, text);
    assert_eq!(subject(&[attribute("2.5.4.6", 0x13, "UT"), cn(0x0c, "a, b+c=\"d\"")]), r#"CN=a\, b\+c=\"d\",C=UT"#);
    assert_eq!(subject(&[cn(0x0c, " #x ")]), r"CN=\ #x\ ");
    assert_eq!(subject(&[cn(0x0c, "#x")]), r"CN=\#x");
    assert_eq!(subject(&[cn(0x0c, "a\nb\u{202e}")]), r"CN=a\0ab\e2\80\ae");
    assert_eq!(subject(&[attribute("1.2.3.4", 0x16, "x")]), "1.2.3.4=x");
    assert_eq!(subject(&[attribute("2.5.4.3", 0x30, "")]), "CN=#3000");
    assert_eq!(subject(&[]), "");
    let both = set(&[&seq(&[&oid("2.5.4.10"), &tlv(0x13, b"O")]), &seq(&[&oid("2.5.4.11"), &tlv(0x13, b"U")])]);
    assert_eq!(subject(&[both]), "O=O+OU=U");
}

#[test]
fn revocation_lists_describe_themselves() {
    let number = extension("2.5.29.20", false, &big(&[0x01, 0x02]));
    let list = Crl { extensions: [crl(&[]).extensions, vec![number]].concat(), ..crl(&[SIGNER, &[7], &[7]]) };
    let info = CrlInfo::parse(&list.der()).unwrap();
    assert_eq!((info.issuer.as_str(), info.country.as_deref(), info.version), ("CN=CSCA,C=UT", Some("UT"), 2));
    assert_eq!((info.number.as_deref(), info.entries), (Some("0102"), 2));
    assert_eq!(info.this_update.to_string(), "2026-06-01T00:00:00Z");
    assert_eq!((info.signature_algorithm.as_str(), info.scope), ("ecdsa_sha256", CrlScope::Complete));
    assert!(info.is_current(NOW) && !info.is_current(UnixTime(NOW.0 + 30 * 86_400)));
    assert!(!info.is_current(UnixTime(info.this_update.0 - 1)) && info.is_current(info.this_update));
    let plain =
        CrlInfo::parse(&Crl { version: None, next_update: None, extensions: vec![], ..crl(&[]) }.der()).unwrap();
    assert_eq!((plain.version, plain.number.as_deref(), plain.next_update), (1, None, None));
    assert!(!plain.is_current(NOW), "a list that names no end is never current");
    assert!(matches!(CrlInfo::parse(&csca().der()), Err(TrustError::CrlMalformed(_))));
}

// -- classification

#[test]
fn every_authority_has_exactly_one_class() {
    let old = csca();
    // A new key under the same name, and one under a new name; each with its link certificate.
    let link = |key: u8, subject: &str| Certificate {
        serial: vec![0x20, key],
        subject: name("UT", subject),
        key: p256(key),
        extensions: [
            Certificate::csca("UT", &p256(key)).extensions,
            vec![authority_key_identifier(&p256(1).key_identifier())],
        ]
        .concat(),
        ..csca()
    };
    let renamed =
        Certificate { issuer: name("UT", "New"), subject: name("UT", "New"), ..Certificate::csca("UT", &p256(4)) };
    let orphan = Certificate { issuer: name("UT", "Nobody"), ..Certificate::csca("UT", &p256(5)) };
    let forged = Certificate { issuer_key: p256(9), ..Certificate::csca("UT", &p256(6)) };
    let absent_key = Certificate {
        issuer_key: p256(9),
        extensions: [csca().extensions, vec![authority_key_identifier(&p256(9).key_identifier())]].concat(),
        serial: vec![0x31],
        ..csca()
    };
    let unverifiable = {
        let mut raw = Raw { issuer: name("UT", "Odd"), subject: name("UT", "Odd"), ..Raw::csca(&p256(7)) };
        raw.spki = seq(&[&seq(&[&oid("1.3.101.112")]), &bits(&[1; 32])]);
        raw.der()
    };
    let certificates = [
        old.der(),
        Certificate::csca("UT", &p256(3)).der(),
        link(3, "CSCA").der(),
        link(4, "New").der(),
        renamed.der(),
        orphan.der(),
        forged.der(),
        absent_key.der(),
        unverifiable,
    ];
    let store = store(&certificates, &[]);
    let classes: Vec<Classification> = store.certificates().map(|one| one.classification().unwrap().clone()).collect();
    let via_old = Classification::Link { via: CertificateInfo::parse(&old.der()).unwrap().sha256 };
    let absent = |detail| Classification::SignerAbsent { detail };
    assert_eq!(
        classes,
        [
            Classification::SelfSigned,
            Classification::SelfSigned,
            via_old.clone(),
            via_old,
            Classification::SelfSigned,
            absent(SignerAbsence::NoCertificateOfIssuer),
            absent(SignerAbsence::SignatureInvalid),
            absent(SignerAbsence::NoCertificateOfKey),
            absent(SignerAbsence::SignatureNotVerifiable),
        ]
    );
    let json: Vec<_> = classes.iter().map(|class| serde_json::to_value(class).unwrap()).collect();
    assert_eq!(json[0], serde_json::json!({"class": "self_signed_ok"}));
    assert_eq!(json[2]["class"], "link_ok");
    assert_eq!(json[6], serde_json::json!({"class": "signer_absent", "detail": "signature_invalid"}));
    assert!(classes.iter().zip(&json).all(|(class, json)| json["class"] == class.name()));
}

#[test]
fn a_link_needs_the_signature_of_an_authority() {
    // The signer of the name is there, and is no certification authority.
    let mut no_authority = csca();
    no_authority.extensions[1] = basic_constraints(false);
    let link = Certificate { subject: name("UT", "New"), key: p256(4), serial: vec![9], ..csca() };
    let class = |cscas: &[Vec<u8>]| store(cscas, &[]).judge_certificate(&link.der(), NOW).unwrap();
    assert!(matches!(class(&[csca().der()]).classification, Some(Classification::Link { .. })));
    assert!(matches!(class(&[no_authority.der()]).classification, Some(Classification::SignerAbsent { .. })));
    // It may be shown to a store without being in it: then it counts by its link alone.
    assert!(class(&[csca().der()]).trusted);
    let alone = class(&[]);
    assert!(!alone.trusted && alone.provenance.is_empty());
    assert_eq!(alone.reason, Some(Reason::ChainNotTrusted));
    // A self-signed one that nobody has listed does not.
    let stranger =
        store(&[csca().der()], &[]).judge_certificate(&Certificate::csca("UT", &p256(8)).der(), NOW).unwrap();
    assert_eq!((stranger.classification, stranger.trusted), (Some(Classification::SelfSigned), false));
}

// -- what a store says of a certificate

#[test]
fn certificates_are_judged_in_their_role() {
    let master_list_signer = Certificate {
        extensions: [dsc().extensions, vec![extension("2.5.29.37", true, &seq(&[&oid("2.23.136.1.1.3")]))]].concat(),
        ..dsc()
    };
    let store = store(&[csca().der()], &[]);
    let judge = |certificate: &Certificate| store.judge_certificate(&certificate.der(), NOW).unwrap();
    let authority = CertificateInfo::parse(&csca().der()).unwrap().sha256;

    let judged = judge(&dsc());
    assert_eq!((judged.role, judged.trusted, judged.reason), (CertificateRole::DocumentSigner, true, None));
    assert_eq!(judged.issued_by.as_ref(), Some(&authority));
    assert_eq!((judged.classification, judged.deviations.as_slice()), (None, &[][..]));
    let judged = judge(&csca());
    assert_eq!((judged.role, judged.trusted, judged.reason), (CertificateRole::Csca, true, None));
    assert_eq!((judged.issued_by, judged.provenance), (Some(authority), vec!["list".to_owned()]));
    let judged = judge(&master_list_signer);
    assert_eq!((judged.role, judged.trusted), (CertificateRole::MasterListSigner, true));
    // Another purpose of the authority's, in the role of a document signer.
    let visa = extension("2.5.29.37", true, &seq(&[&oid("2.23.136.1.1.11.1")]));
    let judged = judge(&Certificate { extensions: [dsc().extensions, vec![visa]].concat(), ..dsc() });
    assert_eq!((judged.trusted, judged.reason), (false, Some(Reason::SignerCertificateUsage)));
    let judged = judge(&Certificate { issuer_key: p256(9), ..dsc() });
    assert_eq!((judged.trusted, judged.reason, judged.issued_by), (false, Some(Reason::ChainNotTrusted), None));
    assert!(matches!(store.judge_certificate(b"junk", NOW), Err(TrustError::CertificateMalformed(_))));
    assert_eq!(serde_json::to_value(judge(&dsc())).unwrap()["role"], "document_signer");
}

#[test]
fn an_authority_signs_no_document_and_a_signer_no_certificate() {
    let reason = |signer: &Certificate, cscas: &[Vec<u8>]| {
        let sod = Sod::new(signer, &[(1, b""), (2, b"")]).der();
        let evidence = DocumentEvidence { sod: &sod, ..Default::default() };
        inspect(&evidence, &store(cscas, &[]), &Policy::default(), NOW).report.reason
    };
    assert_eq!(reason(&dsc(), &[csca().der()]), None);
    assert_eq!(reason(&csca(), &[csca().der()]), Some(Reason::SignerCertificateUsage));
    // Nor one that says nothing of its use, nor one that claims both.
    let bare = Certificate { extensions: vec![], ..csca() };
    assert_eq!(reason(&bare, &[bare.der()]), Some(Reason::SignerCertificateUsage));
    let both = Certificate { extensions: vec![key_usage(0x86)], ..csca() };
    assert_eq!(reason(&both, &[both.der()]), Some(Reason::SignerCertificateUsage));
    // A document signer on a list of authorities issues nothing.
    let below = Certificate {
        issuer: dsc().subject,
        issuer_key: p256(2),
        extensions: vec![key_usage(0x80)],
        ..Certificate::dsc("UT", &p256(3), &p256(2))
    };
    assert_eq!(reason(&below, &[csca().der(), dsc().der()]), Some(Reason::ChainNotTrusted));
    let also_no_authority = Certificate { extensions: vec![basic_constraints(false)], ..dsc() };
    assert_eq!(reason(&below, &[csca().der(), also_no_authority.der()]), Some(Reason::ChainNotTrusted));
}

#[test]
fn an_authority_is_found_among_a_thousand_of_its_name() {
    // With small keys of RSA none; the key of one seed under serial numbers that differ, and one more key.
    let mut builder = TrustStoreBuilder::new();
    for serial in 0..1_000u16 {
        let other = Raw { serial: big(&(serial + 2).to_be_bytes()), ..Raw::csca(&p256(9)) };
        builder.add_csca(&other.der(), "list").unwrap();
    }
    builder.add_csca(&csca().der(), "list").unwrap();
    let store = builder.build(1);
    assert!(store.judge_certificate(&dsc().der(), NOW).unwrap().trusted, "by the key identifier");
    let unnamed = Certificate { extensions: vec![key_usage(0x80)], ..dsc() };
    assert!(store.judge_certificate(&unnamed.der(), NOW).unwrap().trusted, "a key is tried once, however often listed");
    let forged = Certificate { issuer_key: p256(8), ..unnamed };
    assert_eq!(store.judge_certificate(&forged.der(), NOW).unwrap().reason, Some(Reason::ChainNotTrusted));
    let classes = store.certificates().filter(|one| *one.classification().unwrap() == Classification::SelfSigned);
    assert_eq!(classes.count(), 1_001);
}

#[test]
fn of_one_name_a_bounded_number_of_keys_is_tried() {
    let mut builder = TrustStoreBuilder::new();
    for seed in 10..50 {
        builder.add_csca(&Certificate::csca("UT", &p256(seed)).der(), "list").unwrap();
    }
    builder.add_csca(&csca().der(), "list").unwrap();
    let store = builder.build(1);
    let unnamed = |key: &Signer| {
        let signer = Certificate { extensions: vec![key_usage(0x80)], ..Certificate::dsc("UT", &p256(2), key) };
        store.judge_certificate(&signer.der(), NOW).unwrap().trusted
    };
    // The forty-first is not reached without a key identifier, and is found with one.
    assert_eq!((unnamed(&p256(10)), unnamed(&p256(41)), unnamed(&p256(1))), (true, true, false));
    assert!(store.judge_certificate(&dsc().der(), NOW).unwrap().trusted);
}

#[test]
fn countries_of_signer_and_authority_are_compared_by_what_they_mean() {
    let judged = |signer: &str, authority: &str| {
        let authority = Certificate { subject: name(authority, "CSCA"), issuer: name(authority, "CSCA"), ..csca() };
        let signer = Certificate { subject: name(signer, "DS"), issuer: authority.subject.clone(), ..dsc() };
        let judged = store(&[authority.der()], &[]).judge_certificate(&signer.der(), NOW).unwrap();
        (judged.reason, judged.deviations)
    };
    let different = (Some(Reason::CertificateCountryMismatch), vec![]);
    for (signer, authority) in [("gb", "GB"), ("GB", "gb"), ("DE ", "DE"), ("EU", "eu"), ("UN", "UN"), ("KS", "KS")] {
        assert_eq!(judged(signer, authority), (None, vec![]), "{signer} {authority}");
    }
    for (signer, authority) in [("UK", "GB"), ("XK", "KS"), ("HK", "CN"), ("EUE", "EU"), ("D", "DE"), ("DEU", "DE")] {
        assert_eq!(judged(signer, authority), (None, vec![Deviation::CountryAlias]), "{signer} {authority}");
    }
    for (signer, authority) in [("FR", "DE"), ("UN", "EU"), ("XK", "RS"), ("AT", "AU"), ("UT", "")] {
        assert_eq!(judged(signer, authority), different, "{signer} {authority}");
    }
    assert_eq!(judged("", "UT"), (None, vec![Deviation::DscCountryAbsent]));
}

// -- revocation

#[test]
fn silence_counts_only_in_the_right_scope() {
    let point = |fields: &[u8]| {
        let extensions = [crl(&[]).extensions, vec![extension("2.5.29.28", true, &tlv(0x30, fields))]].concat();
        let info = CrlInfo::parse(&Crl { extensions: extensions.clone(), ..crl(&[]) }.der()).unwrap();
        let silent = status(&[Crl { extensions: extensions.clone(), ..crl(&[]) }.der()]);
        let names = status(&[Crl { extensions, ..crl(&[SIGNER]) }.der()]);
        assert_eq!(names, Revoked, "an entry revokes whatever the scope");
        (info.scope, silent)
    };
    let flag = |number: u8| tlv(0x80 | number, &[0xff]);
    let address = |text: &str| tlv(0xa0, &tlv(0xa0, &tlv(0x86, text.as_bytes())));
    assert_eq!(point(&[]), (CrlScope::Complete, NotRevoked));
    assert_eq!(point(&address("http://ut.example/crl")), (CrlScope::Complete, NotRevoked));
    assert_eq!(point(&flag(1)), (CrlScope::UserCertificates, NotRevoked));
    assert_eq!(point(&[address("x"), flag(1)].concat()), (CrlScope::UserCertificates, NotRevoked));
    assert_eq!(point(&flag(2)), (CrlScope::CaCertificates, Unknown));
    assert_eq!(point(&tlv(0x83, &[1, 0x40])), (CrlScope::Partial, Unknown), "some reasons only");
    assert_eq!(point(&flag(4)), (CrlScope::Partial, Unknown), "indirect");
    assert_eq!(point(&flag(5)), (CrlScope::Partial, Unknown), "attribute certificates");
    assert_eq!(point(&[flag(1), flag(2)].concat()), (CrlScope::Partial, Unknown));
    assert_eq!(point(&tlv(0x81, &[0])), (CrlScope::Complete, NotRevoked), "a default written out");
    assert_eq!(point(&[9, 9, 9]), (CrlScope::Partial, Unknown), "malformed");

    // Of two partitions only the one counts that the signer refers to.
    let signer = |addresses: &[&str]| {
        let points: Vec<Vec<u8>> = addresses.iter().map(|text| seq(&[&address(text)])).collect();
        let points: Vec<&[u8]> = points.iter().map(Vec::as_slice).collect();
        Certificate {
            extensions: [dsc().extensions, vec![extension("2.5.29.31", false, &seq(&points))]].concat(),
            ..dsc()
        }
    };
    let partition =
        Crl { extensions: vec![extension("2.5.29.28", true, &seq(&[&address("http://ut.example/1")]))], ..crl(&[]) };
    let under = |addresses: &[&str]| status_of(&signer(addresses), &[csca().der()], &[partition.der()]);
    assert_eq!(under(&["http://ut.example/1"]), NotRevoked);
    assert_eq!(under(&["ldap://ut.example", "http://ut.example/1"]), NotRevoked);
    assert_eq!(under(&["http://ut.example/2"]), Unknown);
    assert_eq!(under(&[]), NotRevoked);
}

#[test]
fn entries_revoke_whatever_they_say_besides() {
    let reason = |code: u8| extension("2.5.29.21", false, &tlv(0x0a, &[code]));
    let with = |extensions: &[Vec<u8>], list: Crl| {
        status(&[crl_with_entries(&list, &[entry(&[7], &[]), entry(SIGNER, extensions)])])
    };
    let delta = Crl { extensions: vec![extension("2.5.29.27", true, &int(1))], ..crl(&[]) };
    for code in 0..=10 {
        assert_eq!(with(&[reason(code)], crl(&[])), Revoked, "reason {code}");
    }
    assert_eq!(with(&[reason(8)], delta.clone()), Unknown, "removeFromCRL takes an entry back, in a delta list");
    assert_eq!(with(&[reason(6)], delta.clone()), Revoked);
    // What one list takes back another may still say.
    let back = crl_with_entries(&delta, &[entry(SIGNER, &[reason(8)])]);
    assert_eq!(status(&[back, crl(&[SIGNER]).der()]), Revoked);
    let later = extension("2.5.29.24", false, &tlv(0x18, b"20260610000000Z"));
    assert_eq!(with(&[later], crl(&[])), Revoked, "signed before the key is known to have been stolen");
    assert_eq!(with(&[extension("1.2.3.4", true, &int(1))], crl(&[])), Revoked);
    assert_eq!(with(&[extension("2.5.29.21", true, &[9, 9])], crl(&[])), Revoked, "malformed");
    // Another's unknown critical extension spoils the silence about this one (RFC 5280 section 5.3).
    let other = |critical| crl_with_entries(&crl(&[]), &[entry(&[7], &[extension("1.2.3.4", critical, &int(1))])]);
    assert_eq!((status(&[other(true)]), status(&[other(false)])), (Unknown, NotRevoked));
    // In no order, and with numbers that are longer than they need be.
    let unordered = [entry(&[0xff; 20], &[]), entry(&[3], &[]), entry(SIGNER, &[]), entry(&[2], &[])];
    assert_eq!(status(&[crl_with_entries(&crl(&[]), &unordered)]), Revoked);
    let padded = seq(&[&tlv(2, &[0, 0, 0x10, 0x01]), &utc("250101000000Z")]);
    assert_eq!(status(&[crl_with_entries(&crl(&[]), &[padded])]), Revoked);
    assert_eq!(status(&[crl_with_entries(&crl(&[]), &[])]), NotRevoked, "an empty list of entries");
}

#[test]
fn entries_of_an_indirect_list_are_those_of_the_issuer_named_last() {
    let indirect = Crl { extensions: vec![extension("2.5.29.28", true, &tlv(0x30, &tlv(0x84, &[0xff])))], ..crl(&[]) };
    let of = |country: &str| extension("2.5.29.29", true, &seq(&[&tlv(0xa4, &name(country, "CSCA"))]));
    let status = |entries: &[Vec<u8>]| status(&[crl_with_entries(&indirect, entries)]);
    assert_eq!(status(&[entry(SIGNER, &[])]), Revoked, "of the list's own issuer before any is named");
    assert_eq!(status(&[entry(SIGNER, &[of("XX")])]), Unknown);
    assert_eq!(status(&[entry(&[7], &[of("XX")]), entry(SIGNER, &[])]), Unknown);
    assert_eq!(status(&[entry(&[7], &[of("XX")]), entry(SIGNER, &[of("UT")])]), Revoked);
}

#[test]
fn the_newest_list_of_a_key_decides_what_silence_means() {
    let from_to = |from: &str, to: &str, revoked: &[&[u8]]| {
        Crl { this_update: from.into(), next_update: Some(to.into()), ..crl(revoked) }.der()
    };
    let long = from_to("260101000000Z", "270101000000Z", &[]);
    let newer_ended = from_to("260601000000Z", "260610000000Z", &[]);
    let future = from_to("260616000000Z", "260716000000Z", &[]);
    assert_eq!(status(std::slice::from_ref(&long)), NotRevoked);
    assert_eq!(status(&[long.clone(), newer_ended.clone()]), Unknown, "the older one was superseded");
    assert_eq!(status(&[newer_ended.clone(), long.clone()]), Unknown);
    assert_eq!(status(&[long.clone(), future.clone()]), NotRevoked, "one that is not issued yet supersedes nothing");
    assert_eq!(status(&[future]), Unknown);
    assert_eq!(status(&[from_to("260616000000Z", "260716000000Z", &[SIGNER])]), Revoked, "but its entries count");
    let delta = Crl {
        this_update: "260610000000Z".into(),
        extensions: vec![extension("2.5.29.27", true, &int(1))],
        ..crl(&[])
    };
    assert_eq!(status(&[long.clone(), delta.der()]), NotRevoked, "a delta list supersedes nothing");
    assert_eq!(status(&[from_to("260101000000Z", "260201000000Z", &[SIGNER]), long]), Revoked, "an entry in any");
    let same_day = [from_to("260601000000Z", "260602000000Z", &[]), from_to("260601000000Z", "260701000000Z", &[])];
    assert_eq!(status(&same_day), NotRevoked, "of two of one time the longer");
    assert_eq!(status(&[from_to("260615120000Z", "260615120000Z", &[])]), NotRevoked, "both ends belong to it");
}

#[test]
fn a_list_of_any_key_of_the_authority_counts() {
    // 9303-12 section 7.1.4: the newest key signs one list for everything.
    let new_key = Certificate::csca("UT", &p256(3));
    let newest = |revoked: &[&[u8]]| {
        Crl { key: p256(3), extensions: vec![authority_key_identifier(&p256(3).key_identifier())], ..crl(revoked) }
            .der()
    };
    let cscas = [csca().der(), new_key.der()];
    assert_eq!(status_of(&dsc(), &cscas, &[newest(&[])]), NotRevoked);
    assert_eq!(status_of(&dsc(), &cscas, &[newest(&[SIGNER])]), Revoked);
    // Key identifiers that are absent or wrong only cost a try.
    let wrong = Crl { extensions: vec![authority_key_identifier(&[1; 20])], key: p256(3), ..crl(&[]) };
    assert_eq!(status_of(&dsc(), &cscas, &[wrong.der()]), NotRevoked);
    let absent = Crl { version: None, extensions: vec![], key: p256(3), ..crl(&[]) };
    assert_eq!(status_of(&dsc(), &cscas, &[absent.der()]), NotRevoked);
}

#[test]
fn names_of_one_authority_share_their_lists() {
    let new_name = name("UT", "CSCA 2");
    let renamed =
        Certificate { issuer: new_name.clone(), subject: new_name.clone(), ..Certificate::csca("UT", &p256(3)) };
    let link = Certificate { issuer: name("UT", "CSCA"), issuer_key: p256(1), serial: vec![0x44], ..renamed.clone() };
    let list = |revoked: &[&[u8]]| Crl { issuer: new_name.clone(), key: p256(3), extensions: vec![], ..crl(revoked) };
    let linked = [csca().der(), renamed.der(), link.der()];
    assert_eq!(status_of(&dsc(), &linked, &[list(&[]).der()]), NotRevoked, "the list of the new name covers the old");
    assert_eq!(status_of(&dsc(), &linked, &[list(&[SIGNER]).der()]), Revoked);
    // Without the link they are two authorities of one country.
    let apart = [csca().der(), renamed.der()];
    assert_eq!(status_of(&dsc(), &apart, &[list(&[]).der()]), Unknown);
    assert_eq!(status_of(&dsc(), &apart, &[list(&[SIGNER]).der()]), Unknown);
    // A link whose signature does not hold joins nothing.
    let forged = Certificate { issuer_key: p256(9), ..link.clone() };
    assert_eq!(status_of(&dsc(), &[csca().der(), renamed.der(), forged.der()], &[list(&[]).der()]), Unknown);
    // Unless the list itself names the former one, of the same country.
    let former = |country: &str| {
        let names = seq(&[&tlv(0xa4, &name(country, "CSCA"))]);
        Crl { extensions: vec![extension("2.5.29.18", false, &names)], ..list(&[SIGNER]) }.der()
    };
    assert_eq!(status_of(&dsc(), &apart, &[former("UT")]), Revoked);
    assert_eq!(status_of(&dsc(), &apart, &[former("XX")]), Unknown);
    // What an old name has numbered is no authority's certificate under the new one.
    let first = list(&[&[1]]).der();
    let judged = store(&linked, &[first]);
    assert_eq!(judged.judge_certificate(&csca().der(), NOW).unwrap().revocation_status, Unknown);
    assert_eq!(judged.judge_certificate(&renamed.der(), NOW).unwrap().revocation_status, Revoked);
}

#[test]
fn names_of_lists_are_compared_canonically_and_found_by_key() {
    let spelled = seq(&[&attribute("2.5.4.3", 0x13, "csca "), &attribute("2.5.4.6", 0x0c, "ut")]);
    let list = |issuer: Vec<u8>| Crl { issuer, ..crl(&[SIGNER]) }.der();
    assert_eq!(status(&[list(spelled)]), Revoked);
    // A name that nobody has, with the key identifier of the authority in the same country.
    assert_eq!(status(&[list(name("UT", "Passport CRL"))]), Revoked);
    let rejected = |crl: Vec<u8>, cscas: &[Vec<u8>]| {
        let store = store(cscas, &[crl]);
        assert_eq!(store.judge_certificate(&dsc().der(), NOW).unwrap().revocation_status, Unknown);
        store.rejected_crls()[0].problem
    };
    assert_eq!(rejected(list(name("XX", "Passport CRL")), &[csca().der()]), CrlProblem::IssuerUnknown);
    let no_key = Crl { issuer: name("UT", "Passport CRL"), extensions: vec![], ..crl(&[SIGNER]) };
    assert_eq!(rejected(no_key.der(), &[csca().der()]), CrlProblem::IssuerUnknown);
    // The authority has changed its key, and the store does not have the new one.
    let newer = Crl { extensions: vec![authority_key_identifier(&[7; 20])], key: p256(7), ..crl(&[SIGNER]) };
    assert_eq!(rejected(newer.der(), &[csca().der()]), CrlProblem::IssuerKeyUnknown);
    // A list in the name of an authority that exists is not its neighbour's, whatever key identifier it has.
    let neighbour =
        Certificate { issuer: name("UT", "B"), subject: name("UT", "B"), ..Certificate::csca("UT", &p256(5)) };
    assert_eq!(rejected(list(name("UT", "B")), &[csca().der(), neighbour.der()]), CrlProblem::IssuerKeyUnknown);
}

#[test]
fn only_who_may_signs_lists() {
    let rejected = |authority: Certificate| {
        let store = store(&[authority.der()], &[crl(&[SIGNER]).der()]);
        store.rejected_crls().first().map(|rejected| rejected.problem)
    };
    let changed = |at: usize, value: Vec<u8>| {
        let mut authority = csca();
        authority.extensions[at] = value;
        authority
    };
    assert_eq!(rejected(csca()), None);
    assert_eq!(rejected(changed(0, key_usage(0x02))), None, "cRLSign alone");
    assert_eq!(rejected(changed(0, key_usage(0x04))), Some(CrlProblem::SignatureInvalid), "keyCertSign alone");
    assert_eq!(rejected(changed(1, basic_constraints(false))), Some(CrlProblem::SignatureInvalid));
    // The right stands in one certificate of the key.
    let store =
        store(&[changed(0, key_usage(0x04)).der(), Certificate { serial: vec![2], ..csca() }.der()], &[crl(&[]).der()]);
    assert_eq!(store.counts().crls, 1);
    let may = store.certificates().nth(1).unwrap().sha256();
    assert_eq!(store.crls().next().unwrap().verified_under(), may);
}

#[test]
fn authorities_are_revoked_too() {
    let authority: &[u8] = &[1];
    assert_eq!(status(&[crl(&[authority]).der()]), Revoked, "by itself");
    // The second key, under the first key's name, revoked by it; documents of the first are untouched.
    let second = Certificate { serial: vec![0x99], ..Certificate::csca("UT", &p256(3)) };
    let signer = Certificate::dsc("UT", &p256(2), &p256(3));
    let cscas = [csca().der(), second.der()];
    let list = [crl(&[&[0x99]]).der()];
    assert_eq!(status_of(&signer, &cscas, &list), Revoked);
    assert_eq!(status_of(&dsc(), &cscas, &list), NotRevoked);
    let store = store(&cscas, &list);
    let judged = store.judge_certificate(&second.der(), NOW).unwrap();
    assert_eq!((judged.revocation_status, judged.reason), (Revoked, Some(Reason::CertificateRevoked)));
    assert_eq!(store.judge_certificate(&csca().der(), NOW).unwrap().revocation_status, NotRevoked);

    // A link certificate is revoked, so the key that it introduced is.
    let link = Certificate {
        serial: vec![0x55],
        issuer: name("UT", "CSCA"),
        issuer_key: p256(1),
        subject: name("UT", "New"),
        ..Certificate::csca("UT", &p256(4))
    };
    let renamed = Certificate {
        issuer: name("UT", "New"),
        ..Certificate { issuer_key: p256(4), serial: vec![3], ..link.clone() }
    };
    let signer = Certificate { issuer: name("UT", "New"), ..Certificate::dsc("UT", &p256(2), &p256(4)) };
    let cscas = [csca().der(), renamed.der(), link.der()];
    assert_eq!(status_of(&signer, &cscas, &[crl(&[&[0x55]]).der()]), Revoked);
    assert_eq!(status_of(&signer, &cscas, &[crl(&[&[0x56]]).der()]), NotRevoked);
}

#[test]
fn a_stolen_key_cannot_clear_what_it_signed() {
    // The second key is revoked by the first; then it issues a newer, empty list.
    let second = Certificate { serial: vec![0x99], ..Certificate::csca("UT", &p256(3)) };
    let cscas = [csca().der(), second.der()];
    let stolen = Crl { key: p256(3), this_update: "260610000000Z".into(), extensions: vec![], ..crl(&[]) };
    let stale = Crl { next_update: Some("260602000000Z".into()), ..crl(&[&[0x99]]) };
    assert_eq!(status_of(&dsc(), &cscas, &[stale.der(), stolen.der()]), Unknown, "its silence says nothing");
    let entries = Crl { revoked: vec![SIGNER.to_vec()], ..stolen.clone() };
    assert_eq!(status_of(&dsc(), &cscas, &[stale.der(), entries.der()]), Revoked, "its entries do");
    let store = store(&cscas, &[stale.der(), stolen.der()]);
    assert_eq!(store.crls().map(|list| list.signer_revoked()).collect::<Vec<_>>(), [false, true]);
    assert!(store.judge_crl(&stolen.der(), NOW).unwrap().signer_revoked);
}

#[test]
fn lists_of_another_country_say_nothing() {
    let other =
        Certificate { issuer: name("XX", "CSCA"), subject: name("XX", "CSCA"), ..Certificate::csca("XX", &p256(3)) };
    let foreign = Crl { issuer: name("XX", "CSCA"), key: p256(3), extensions: vec![], ..crl(&[SIGNER]) };
    assert_eq!(status_of(&dsc(), &[csca().der(), other.der()], &[foreign.der()]), Unknown);
}

#[test]
fn revocation_lists_are_judged() {
    let store = store(&[csca().der()], &[crl(&[SIGNER]).der()]);
    let judged = store.judge_crl(&crl(&[SIGNER]).der(), NOW).unwrap();
    assert_eq!((judged.problem, judged.current, judged.provenance), (None, true, vec!["crl".to_owned()]));
    assert_eq!(judged.verified_under, Some(CertificateInfo::parse(&csca().der()).unwrap().sha256));
    let forged = store.judge_crl(&Crl { key: p256(8), ..crl(&[]) }.der(), NOW).unwrap();
    assert_eq!((forged.problem, forged.verified_under), (Some(CrlProblem::SignatureInvalid), None));
    let stranger = store.judge_crl(&Crl { issuer: name("XX", "CSCA"), ..crl(&[]) }.der(), NOW).unwrap();
    assert_eq!(stranger.problem, Some(CrlProblem::IssuerUnknown));
    assert!(matches!(store.judge_crl(b"junk", NOW), Err(TrustError::CrlMalformed(_))));
    let mut broken = crl(&[SIGNER]).der();
    *broken.last_mut().unwrap() ^= 1;
    assert_eq!(store.judge_crl(&broken, NOW).unwrap().problem, Some(CrlProblem::SignatureInvalid));
}

#[test]
fn lists_of_every_algorithm_are_verified() {
    let pss = |salt_length| Scheme::RsaPss { digest: Digest::Sha256, mask_digest: Digest::Sha256, salt_length };
    for key in [
        rsa(1, Scheme::RsaPkcs1 { digest: Digest::Sha1 }),
        rsa(1, Scheme::RsaPkcs1 { digest: Digest::Sha512 }),
        rsa(1, pss(32)),
        rsa(1, pss(20)),
        ec(Secret::P384(1), Digest::Sha384),
        ec(Secret::Bp256(1), Digest::Sha1),
        Signer { explicit: Some(Parameters::default()), ..ec(Secret::Bp256(1), Digest::Sha256) },
        Signer { scheme: Scheme::EcdsaPlain { digest: Digest::Sha256 }, ..ec(Secret::Bp256(1), Digest::Sha256) },
        ec(Secret::Bp384(1), Digest::Sha512),
    ] {
        let authority = Certificate::csca("UT", &key);
        let signer = Certificate::dsc("UT", &p256(2), &key);
        let list = |revoked: &[&[u8]]| Crl { key: key.clone(), extensions: vec![], ..crl(revoked) }.der();
        assert_eq!(status_of(&signer, &[authority.der()], &[list(&[])]), NotRevoked, "{:?}", key.scheme);
        assert_eq!(status_of(&signer, &[authority.der()], &[list(&[SIGNER])]), Revoked, "{:?}", key.scheme);
        let mut broken = list(&[]);
        *broken.last_mut().unwrap() ^= 1;
        assert_eq!(store(&[authority.der()], &[broken]).counts().rejected_crls, 1, "{:?}", key.scheme);
    }
}

#[test]
fn no_changed_octet_of_a_list_goes_unnoticed() {
    let genuine = crl(&[SIGNER]).der();
    let mut counted = 0;
    for at in 0..genuine.len() {
        for bit in [0x01, 0x80] {
            let mut changed = genuine.clone();
            changed[at] ^= bit;
            let mut builder = TrustStoreBuilder::new();
            builder.add_csca(&csca().der(), "list").unwrap();
            if builder.add_crl(&changed, "crl").is_ok() {
                counted += builder.build(1).counts().crls;
            }
        }
    }
    assert_eq!(counted, 0);
}

// -- provenance and stored signers

#[test]
fn provenance_of_one_thing_from_several_places_is_kept_together() {
    let mut builder = TrustStoreBuilder::new();
    let forged = Crl { key: p256(9), ..crl(&[]) }.der();
    for place in ["a", "b", "a"] {
        builder.add_csca(&csca().der(), place).unwrap();
        builder.add_dsc(&dsc().der(), place).unwrap();
        builder.add_crl(&crl(&[]).der(), place).unwrap();
        builder.add_crl(&forged, place).unwrap();
    }
    let store = builder.build(1);
    let counts = store.counts();
    assert_eq!((counts.cscas, counts.document_signers, counts.crls, counts.rejected_crls), (1, 1, 1, 2));
    for certificate in store.certificates() {
        assert_eq!(certificate.provenance(), ["a", "b"]);
        let judged = certificate.judge(NOW).unwrap();
        assert_eq!((judged.trusted, judged.provenance.len()), (true, 2));
        assert_eq!(certificate.info().unwrap().sha256, certificate.sha256());
        assert_eq!(certificate.classification().is_some(), certificate.role() == CertificateRole::Csca);
    }
    let list = store.crls().next().unwrap();
    assert_eq!(
        (list.provenance(), list.is_current(NOW), list.info().entries),
        (&["a".into(), "b".into()][..], true, 0)
    );
    let rejected: Vec<&str> = store.rejected_crls().iter().map(|rejected| rejected.provenance.as_str()).collect();
    assert_eq!(rejected, ["a", "b"]);
    assert_eq!(store.judge_crl(&forged, NOW).unwrap().provenance, ["a", "b"]);
}

#[test]
fn a_stored_signer_is_found_among_many_of_its_number_and_key() {
    let mut builder = TrustStoreBuilder::new();
    builder.add_csca(&csca().der(), "list").unwrap();
    // The same number under other names, and the same name and key under other numbers.
    for index in 0..500u16 {
        let other = Raw { issuer: name("UT", &format!("CSCA {index}")), serial: big(SIGNER), ..Raw::csca(&p256(9)) };
        builder.add_dsc(&other.der(), "ldif").unwrap();
        let number = Raw { serial: big(&(index + 0x2000).to_be_bytes()), ..Raw::csca(&p256(9)) };
        builder.add_dsc(&number.der(), "ldif").unwrap();
    }
    builder.add_dsc(&dsc().der(), "ldif").unwrap();
    let store = builder.build(1);
    assert_eq!(store.counts().document_signers, 1_001);
    let by_number = Sod { certificates: vec![], ..Sod::new(&dsc(), &[(1, b""), (2, b"")]) };
    let identifier = tlv(0x80, &p256(2).key_identifier());
    let by_key = Sod { signer_version: 3, signer_identifier: identifier, ..by_number.clone() };
    for sod in [by_number.der(), by_key.der()] {
        let evidence = DocumentEvidence { sod: &sod, ..Default::default() };
        assert_eq!(inspect(&evidence, &store, &Policy::default(), NOW).report.reason, None);
    }
}

// -- odd certificates

#[test]
fn every_certificate_of_odd_encoding_is_listed_and_classified() {
    let usual = || Raw::csca(&p256(1));
    let validity = |from: &[u8], to: &[u8]| seq(&[from, to]);
    let general = |text: &str| tlv(0x18, text.as_bytes());
    let common = |tag: u8, octets: &[u8]| {
        seq(&[&attribute("2.5.4.6", 0x13, "UT"), &set(&[&seq(&[&oid("2.5.4.3"), &tlv(tag, octets)])])])
    };
    let renamed = |name: Vec<u8>| Raw { issuer: name.clone(), subject: name, ..usual() };
    let without = |at: usize| {
        let mut raw = usual();
        raw.extensions.remove(at);
        raw
    };
    let odd: Vec<(&str, Raw)> = vec![
        ("negative serial number", Raw { serial: tlv(2, &[0x80, 1]), ..usual() }),
        ("serial number zero", Raw { serial: tlv(2, &[0]), ..usual() }),
        ("empty serial number", Raw { serial: tlv(2, &[]), ..usual() }),
        ("long serial number", Raw { serial: tlv(2, &[0x7f; 40]), ..usual() }),
        ("padded serial number", Raw { serial: tlv(2, &[0, 0, 0, 1]), ..usual() }),
        ("version 1", Raw { version: vec![], extensions: vec![], ..usual() }),
        ("version 1 with extensions", Raw { version: vec![], ..usual() }),
        ("unique identifiers", Raw { after_spki: [tlv(0x81, &[0, 1]), tlv(0x82, &[0, 2])].concat(), ..usual() }),
        ("no seconds", Raw { validity: validity(&utc("2001010000Z"), &utc("4001010000Z")), ..usual() }),
        ("offsets", Raw { validity: validity(&utc("200101020000+0200"), &utc("400101000000-0500")), ..usual() }),
        (
            "fractions",
            Raw { validity: validity(&general("20200101000000.5Z"), &general("20400101000000Z")), ..usual() },
        ),
        ("year 2060", Raw { validity: validity(&utc("200101000000Z"), &general("20600101000000Z")), ..usual() }),
        ("BMPString", renamed(common(0x1e, &[0, 0x43, 1, 0x41]))),
        ("UniversalString", renamed(common(0x1c, &[0, 0, 0, 0x43]))),
        ("T61String", renamed(common(0x14, &[0x43, 0xe9]))),
        ("Latin-1 as UTF8String", renamed(common(0x0c, &[0x43, 0xe9]))),
        ("odd BMPString", renamed(common(0x1e, &[0, 0x43, 1]))),
        ("NumericString", renamed(common(0x12, b"12"))),
        ("empty name", renamed(seq(&[]))),
        ("empty country", renamed(name("", "CSCA"))),
        ("no key identifier", without(2)),
        ("no basicConstraints", without(1)),
        ("no keyUsage", without(0)),
        ("no extensions", Raw { extensions: vec![], ..usual() }),
        ("path length 5", {
            let mut raw = usual();
            raw.extensions[1] = extension("2.5.29.19", true, &tlv(0x30, &[1, 1, 0xff, 2, 1, 5]));
            raw
        }),
        ("unknown critical extension", {
            let mut raw = usual();
            raw.extensions.push(extension("1.2.3.4", true, b"?"));
            raw
        }),
    ];
    for (what, raw) in odd {
        let der = raw.der();
        let info = CertificateInfo::parse(&der).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(info.public_key_usable, "{what}");
        let store = store(std::slice::from_ref(&der), &[]);
        let listed = store.certificates().next().unwrap();
        assert_eq!(*listed.classification().unwrap(), Classification::SelfSigned, "{what}");
        assert_eq!(listed.der(), der, "{what}");
    }
}

#[test]
fn a_certificate_with_an_unknown_key_is_listed_and_fails_nobody_else() {
    let curve =
        |change: Parameters| Raw { spki: Signer { explicit: Some(change), ..p256(1) }.spki(), ..Raw::csca(&p256(1)) };
    let ec_key = |parameters: &[u8]| {
        let spki = seq(&[&seq(&[&oid("1.2.840.10045.2.1"), parameters]), &bits(&p256(1).point())]);
        Raw { spki, ..Raw::csca(&p256(1)) }
    };
    let characteristic_two = seq(&[
        &int(1),
        &seq(&[&oid("1.2.840.10045.1.2"), &seq(&[&int(163), &oid("1.2.840.10045.1.2.3.2"), &int(3)])]),
        &seq(&[&octets(&[1]), &octets(&[1])]),
        &octets(&[4, 1, 1]),
        &int(7),
    ]);
    let rsa_key = |modulus: Vec<u8>| {
        let numbers = seq(&[&modulus, &int(3)]);
        Raw { spki: seq(&[&seq(&[&oid("1.2.840.113549.1.1.1"), NULL]), &bits(&numbers)]), ..Raw::csca(&p256(1)) }
    };
    let strange: Vec<(&str, Raw)> = vec![
        ("another generator", curve(Parameters { g: Some(p256(1).point()), ..Default::default() })),
        ("characteristic two", ec_key(&characteristic_two)),
        ("an unknown named curve", ec_key(&oid("1.2.3.4.5"))),
        ("implicit parameters", ec_key(NULL)),
        ("no parameters", ec_key(&[])),
        ("EdDSA", Raw { spki: seq(&[&seq(&[&oid("1.3.101.112")]), &bits(&[1; 32])]), ..Raw::csca(&p256(1)) }),
        ("a tiny modulus", rsa_key(int(35))),
        ("nothing", Raw { spki: seq(&[]), ..Raw::csca(&p256(1)) }),
    ];
    let mut builder = TrustStoreBuilder::new();
    for (what, raw) in &strange {
        let info = CertificateInfo::parse(&raw.der()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(!info.public_key_usable && info.public_key.starts_with("not usable: "), "{what}: {}", info.public_key);
        builder.add_csca(&raw.der(), "list").unwrap();
    }
    builder.add_csca(&csca().der(), "list").unwrap();
    let store = builder.build(1);
    let classes: Vec<&str> = store.certificates().map(|one| one.classification().unwrap().name()).collect();
    // Their signatures are those of the usual key, which is in the store under the same name.
    assert_eq!(classes, [vec!["link_ok"; strange.len()], vec!["self_signed_ok"]].concat());
    assert!(store.judge_certificate(&dsc().der(), NOW).unwrap().trusted);

    // Compressed generators, absent cofactors and seeds are the same curve.
    for change in [
        Parameters { compressed: true, ..Default::default() },
        Parameters { leave_out_cofactor: true, ..Default::default() },
    ] {
        let info = CertificateInfo::parse(&curve(change).der()).unwrap();
        assert_eq!(info.public_key, "P-256 (explicit parameters)");
    }
}

#[test]
fn critical_extensions_that_are_not_understood_are_reported_and_refused_by_default() {
    let with = |kind: &str, critical: bool, of_signer: bool| {
        let extended = |certificate: Certificate| {
            let more = extension(kind, critical, &int(1));
            Certificate { extensions: [certificate.extensions, vec![more]].concat(), ..certificate }
        };
        let (signer, authority) = if of_signer { (extended(dsc()), csca()) } else { (dsc(), extended(csca())) };
        let store = store(&[authority.der()], &[]);
        let judged = store.judge_certificate(&signer.der(), NOW).unwrap();
        let sod = Sod::new(&signer, &[(1, b""), (2, b"")]).der();
        let evidence = DocumentEvidence { sod: &sod, ..Default::default() };
        let reason = inspect(&evidence, &store, &Policy::default(), NOW).report.reason;
        assert_eq!(inspect(&evidence, &store, &Policy::lenient(), NOW).report.reason, None);
        (judged.deviations, reason)
    };
    let unknown = Deviation::CriticalExtensionUnknown;
    for of_signer in [true, false] {
        assert_eq!(with("1.2.3.4", true, of_signer), (vec![unknown], Some(Reason::DeviationRefused(unknown))));
        assert_eq!(with("2.5.29.30", true, of_signer).0, [unknown], "name constraints");
        assert_eq!(with("1.2.3.4", false, of_signer), (vec![], None));
        for harmless in ["2.5.29.16", "2.5.29.18", "2.5.29.32", "2.23.136.1.1.6.1", "2.23.136.1.1.6.2", "2.5.29.31"] {
            assert_eq!(with(harmless, true, of_signer), (vec![], None), "{harmless}");
        }
    }
}

#[test]
fn a_name_that_is_the_same_only_canonically_is_reported() {
    let other = seq(&[&attribute("2.5.4.3", 0x13, "csca"), &attribute("2.5.4.6", 0x0c, "UT")]);
    let signer = Certificate { issuer: other, ..dsc() };
    let judged = store(&[csca().der()], &[]).judge_certificate(&signer.der(), NOW).unwrap();
    assert_eq!((judged.trusted, judged.deviations), (true, vec![Deviation::NameEncodingDiffers]));
}

#[test]
fn a_certificate_with_a_spoilt_extension_is_listed_and_of_no_use() {
    let spoilt: Vec<(&str, Vec<u8>)> = vec![
        ("keyUsage twice", key_usage(0x86)),
        ("basicConstraints twice", basic_constraints(true)),
        ("extendedKeyUsage malformed", extension("2.5.29.37", false, &[9])),
    ];
    for (what, more) in spoilt {
        let authority = Certificate { extensions: [csca().extensions, vec![more.clone()]].concat(), ..csca() };
        let info = CertificateInfo::parse(&authority.der()).unwrap();
        assert!(info.extensions_malformed, "{what}");
        let under = store(&[authority.der()], &[crl(&[SIGNER]).der()]);
        assert_eq!(under.certificates().next().unwrap().classification().unwrap().name(), "self_signed_ok", "{what}");
        let judged = under.judge_certificate(&dsc().der(), NOW).unwrap();
        assert_eq!(judged.reason, Some(Reason::ChainNotTrusted), "{what}");
        assert_eq!(under.counts().crls, 0, "{what}");
        let twice = Certificate { extensions: [dsc().extensions, vec![key_usage(0x80), more]].concat(), ..dsc() };
        let judged = store(&[csca().der()], &[]).judge_certificate(&twice.der(), NOW).unwrap();
        assert_eq!(judged.reason, Some(Reason::SignerCertificateUsage), "{what}");
    }
    let mut malformed = csca();
    malformed.extensions[0] = extension("2.5.29.15", true, &[3, 2, 9, 0x06]);
    assert!(CertificateInfo::parse(&malformed.der()).unwrap().extensions_malformed);
}

// -- master lists

/// A list of three certificates, signed by a master list signer of the usual authority.
struct List {
    signer: Certificate,
    content: Vec<u8>,
    embedded: Vec<Vec<u8>>,
}

impl List {
    fn new() -> List {
        let purpose = extension("2.5.29.37", true, &seq(&[&oid("2.23.136.1.1.3")]));
        let signer = Certificate {
            serial: vec![0x77],
            subject: name("UT", "Master List Signer"),
            extensions: [dsc().extensions, vec![purpose]].concat(),
            ..dsc()
        };
        let certificates =
            [csca().der(), Certificate::csca("XX", &p256(3)).der(), Certificate::csca("DE", &p256(4)).der()];
        let certificates: Vec<&[u8]> = certificates.iter().map(Vec::as_slice).collect();
        let content = seq(&[&int(0), &set(&certificates)]);
        List { embedded: vec![signer.der(), csca().der()], signer, content }
    }

    fn sod(&self) -> Sod {
        Sod {
            wrapped: false,
            content_type: MASTER_LIST.into(),
            content_type_attribute: MASTER_LIST.into(),
            other_content: Some(self.content.clone()),
            certificates: self.embedded.clone(),
            ..Sod::new(&self.signer, &[])
        }
    }

    fn der(&self) -> Vec<u8> {
        self.sod().der()
    }
}

fn refused(list: Result<MasterList, MasterListError>) -> MasterListError {
    list.err().unwrap()
}

#[test]
fn a_master_list_is_taken_whole_under_its_anchor() {
    let list = List::new();
    let sha256 = CertificateInfo::parse(&csca().der()).unwrap().sha256;
    let verified = MasterList::verify(&list.der(), &csca().der()).unwrap();
    assert_eq!((verified.len(), verified.is_empty()), (3, false));
    assert_eq!(*verified.anchor(), MasterListAnchor::Given { sha256: sha256.clone() });
    assert_eq!(verified.signer().subject, "CN=Master List Signer,C=UT");
    assert_eq!(verified.signing_time().unwrap().to_string(), "2025-06-01T12:00:00Z");
    let mut builder = TrustStoreBuilder::new();
    assert_eq!(builder.add_master_list(&verified, "UT list"), (3, 0));
    let ber = Sod { encoding: Encoding::Ber, ..list.sod() };
    assert_eq!(MasterList::verify(&ber.der(), &csca().der()).unwrap().len(), 3);

    let other = Certificate::csca("UT", &p256(5)).der();
    assert_eq!(refused(MasterList::verify(&list.der(), &other)), MasterListError::SignerNotIssuedByAnchor);
    assert_eq!(refused(MasterList::verify(&list.der(), b"junk")), MasterListError::AnchorUnusable);
    let anchors: [&[u8]; 3] = [b"junk", &other, &csca().der()];
    let verified = MasterList::verify_with_any(&list.der(), &anchors).unwrap();
    assert_eq!(*verified.anchor(), MasterListAnchor::Given { sha256: sha256.clone() });
    assert_eq!(
        refused(MasterList::verify_with_any(&list.der(), &anchors[..2])),
        MasterListError::SignerNotIssuedByAnchor
    );
    assert_eq!(refused(MasterList::verify_with_any(&list.der(), &[])), MasterListError::AnchorUnusable);
    let within = MasterList::verify_self_anchored(&list.der()).unwrap();
    assert_eq!(*within.anchor(), MasterListAnchor::WithinList { sha256 });
    assert_eq!(within.len(), 3);
}

#[test]
fn who_may_not_sign_a_master_list_signs_none() {
    let with = |change: &dyn Fn(&mut List)| {
        let mut list = List::new();
        change(&mut list);
        list.embedded[0] = list.signer.der();
        let read = MasterList::read_unverified(&list.der()).unwrap();
        (refused(MasterList::verify(&list.der(), &csca().der())), read.signature_holds())
    };
    // A document signer of the same authority must not name new authorities.
    assert_eq!(with(&|list| list.signer.extensions.truncate(3)), (MasterListError::SignerUsage, true));
    assert_eq!(with(&|list| list.signer.issuer_key = p256(9)), (MasterListError::SignerNotIssuedByAnchor, true));
    assert_eq!(
        with(&|list| list.signer.subject = name("XX", "Master List Signer")),
        (MasterListError::SignerNotIssuedByAnchor, true)
    );
    assert_eq!(
        with(&|list| list.signer.not_before = "250701000000Z".into()),
        (MasterListError::Signature(Reason::SignedOutsideValidity), false)
    );
    // A list that holds its own forger's certificate is anchored in itself, and says so.
    let forger = p256(9);
    let mut list = List::new();
    list.signer.issuer_key = forger.clone();
    list.signer.extensions[2] = authority_key_identifier(&forger.key_identifier());
    list.embedded[0] = list.signer.der();
    list.content = seq(&[&int(0), &set(&[&csca().der(), &Certificate::csca("UT", &forger).der()])]);
    let verified = MasterList::verify_self_anchored(&list.der()).unwrap();
    assert!(matches!(verified.anchor(), MasterListAnchor::WithinList { .. }));
    assert_eq!(refused(MasterList::verify(&list.der(), &csca().der())), MasterListError::SignerNotIssuedByAnchor);
    // Its own anchor must be on the list.
    list.content = seq(&[&int(0), &set(&[&csca().der()])]);
    assert_eq!(refused(MasterList::verify_self_anchored(&list.der())), MasterListError::SignerNotIssuedByAnchor);
}

#[test]
fn what_is_not_a_master_list_is_not_read_as_one() {
    let anchor = csca().der();
    let list = List::new();
    let other_type = Sod { content_type: LDS.into(), content_type_attribute: LDS.into(), ..list.sod() };
    let unexpected = MasterListError::Signature(Reason::SodContentTypeUnexpected);
    assert_eq!(refused(MasterList::verify(&other_type.der(), &anchor)), unexpected);
    for content in [seq(&[&int(1), &set(&[])]), seq(&[&int(0)]), seq(&[&int(0), &set(&[&int(1)])]), b"junk".to_vec()] {
        let list = List { content, ..List::new() };
        assert_eq!(refused(MasterList::verify(&list.der(), &anchor)), MasterListError::ContentMalformed);
        assert_eq!(MasterList::read_unverified(&list.der()).err(), Some(MasterListError::ContentMalformed));
    }
    assert!(MasterList::read_unverified(b"junk").is_err());
    // One certificate that cannot be read is counted, and does not cost the others.
    let content = seq(&[&int(0), &set(&[&csca().der(), &seq(&[&int(1)])])]);
    let verified = MasterList::verify(&List { content, ..List::new() }.der(), &anchor).unwrap();
    assert_eq!(TrustStoreBuilder::new().add_master_list(&verified, "list"), (2, 1));
}

#[test]
fn an_unverified_list_shows_what_is_in_it() {
    let list = List::new();
    let read = MasterList::read_unverified(&list.der()).unwrap();
    assert_eq!((read.len(), read.embedded_certificates().count(), read.signature_holds()), (3, 2, true));
    assert_eq!(read.certificates().next(), Some(&*csca().der()));
    let [signer] = read.signers() else { panic!("one signer") };
    assert_eq!(signer.certificate.as_ref().unwrap().subject, "CN=Master List Signer,C=UT");
    assert_eq!((signer.digest_algorithm, signer.signature_algorithm.as_str()), ("sha256", "ecdsa_sha256"));
    assert_eq!((signer.signature_holds, signer.reason), (true, None));
    assert!(read.deviations().is_empty());
    let changed = Sod { message_digest: Some(vec![0; 32]), ..list.sod() };
    let read = MasterList::read_unverified(&changed.der()).unwrap();
    assert_eq!((read.len(), read.signature_holds()), (3, false));
    assert_eq!(read.signers()[0].reason, Some(Reason::MessageDigestMismatch));
    let nobody = List { embedded: vec![], ..List::new() };
    let read = MasterList::read_unverified(&nobody.der()).unwrap();
    assert_eq!(read.signers()[0].reason, Some(Reason::SignerCertificateNotFound));
    assert_eq!(read.signers()[0].certificate, None);
}

#[test]
fn no_changed_octet_of_a_master_list_changes_what_is_taken_from_it() {
    let genuine = List::new().der();
    let expected: Vec<Vec<u8>> =
        MasterList::verify(&genuine, &csca().der()).unwrap().certificates().map(<[u8]>::to_vec).collect();
    let mut accepted = 0;
    for at in 0..genuine.len() {
        let mut changed = genuine.clone();
        changed[at] ^= 0x04;
        if let Ok(list) = MasterList::verify(&changed, &csca().der()) {
            // The set of digest algorithms and certificates beside the signer's are not signed.
            accepted += 1;
            assert!(list.certificates().eq(expected.iter().map(Vec::as_slice)), "changed at {at}");
        }
        assert!(MasterList::verify(&genuine[..at], &csca().der()).is_err(), "cut at {at}");
    }
    assert!(accepted < 500, "{accepted}");
}

#[test]
fn one_good_signature_of_several_is_enough() {
    // The signers of two lists of one content, joined.
    let list = List::new();
    let stranger = Certificate { key: p256(6), serial: vec![0x78], ..list.signer.clone() };
    let second = List { signer: stranger.clone(), content: list.content.clone(), embedded: vec![] };
    let joined = |first: &Sod, second: &Sod| join_signers(&first.der(), &second.der());
    assert_eq!(MasterList::verify(&joined(&second.sod(), &list.sod()), &csca().der()).unwrap().len(), 3);
    assert_eq!(MasterList::verify(&joined(&list.sod(), &second.sod()), &csca().der()).unwrap().len(), 3);
    let read = MasterList::read_unverified(&joined(&list.sod(), &second.sod())).unwrap();
    let holds: Vec<bool> = read.signers().iter().map(|signer| signer.signature_holds).collect();
    assert_eq!(holds.iter().filter(|holds| **holds).count(), 1);
    assert!(MasterList::verify(&joined(&second.sod(), &second.sod()), &csca().der()).is_err());
}

/// Value of an element, and what follows it.
fn split(der: &[u8]) -> (&[u8], &[u8]) {
    let (header, length) = match der[1] {
        short @ 0..=0x7f => (2, usize::from(short)),
        long => {
            let count = usize::from(long & 0x7f);
            (2 + count, der[2..2 + count].iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)))
        }
    };
    (&der[header..header + length], &der[header + length..])
}

/// The fields of SignedData, each whole.
fn fields(list: &[u8]) -> Vec<Vec<u8>> {
    let (content_info, _) = split(list);
    let (_, explicit) = split(content_info);
    let (mut rest, _) = split(split(explicit).0);
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let after = split(rest).1;
        fields.push(rest[..rest.len() - after.len()].to_vec());
        rest = after;
    }
    fields
}

/// The first list with the certificates and signers of both.
fn join_signers(first: &[u8], second: &[u8]) -> Vec<u8> {
    let (mut one, other) = (fields(first), fields(second));
    let certificates = |fields: &[Vec<u8>]| -> Vec<u8> {
        fields.iter().filter(|field| field[0] == 0xa0).flat_map(|field| split(field).0.to_vec()).collect()
    };
    let together = tlv(0xa0, &[certificates(&one), certificates(&other)].concat());
    let signers = tlv(0x31, &[split(one.last().unwrap()).0, split(other.last().unwrap()).0].concat());
    one.retain(|field| field[0] != 0xa0);
    one.pop();
    one.extend([together, signers]);
    let signed_data = tlv(0x30, &one.concat());
    seq(&[&oid("1.2.840.113549.1.7.2"), &tlv(0xa0, &signed_data)])
}

// -- hostile sizes

#[test]
fn large_hostile_certificates_and_lists_are_answered() {
    // A list of twenty thousand entries, a name of a mebibyte in one part and in a hundred thousand, extensions
    // without end, and a certificate nested in itself.
    let entries: Vec<Vec<u8>> = (0..20_000u32).rev().map(|serial| entry(&serial.to_be_bytes(), &[])).collect();
    let list = crl_with_entries(&crl(&[]), &entries);
    assert_eq!(status(&[list]), Revoked);
    let long = seq(&[&attribute("2.5.4.6", 0x13, "UT"), &attribute("2.5.4.3", 0x0c, &"x".repeat(1 << 20))]);
    let part = attribute("2.5.4.3", 0x0c, "x");
    let many = tlv(0x30, &part.repeat((1 << 20) / part.len()));
    let attribute_of_set = seq(&[&oid("2.5.4.3"), &tlv(0x0c, b"x")]);
    let wide = seq(&[&tlv(0x31, &attribute_of_set.repeat((1 << 20) / attribute_of_set.len()))]);
    let empty = tlv(0x30, &[0x31, 0].repeat(1 << 12));
    for subject in [long, many, wide, empty] {
        let raw = Raw { issuer: subject.clone(), subject, ..Raw::csca(&p256(1)) };
        assert!(CertificateInfo::parse(&raw.der()).is_err());
    }
    let purposes = extension("2.5.29.37", false, &tlv(0x30, &oid("1.2.3.4").repeat(100_000)));
    let raw = Raw { extensions: vec![purposes], ..Raw::csca(&p256(1)) };
    assert!(CertificateInfo::parse(&raw.der()).unwrap().extensions_malformed);
    let extensions: Vec<Vec<u8>> =
        (0..60_000).map(|number| extension(&format!("1.2.3.{number}"), false, &[])).collect();
    let raw = Raw { extensions, ..Raw::csca(&p256(1)) };
    assert!(matches!(CertificateInfo::parse(&raw.der()), Err(TrustError::CertificateMalformed(_))));
    let deep: Vec<u8> = [0x30, 0x80].repeat(1 << 19);
    assert!(CertificateInfo::parse(&deep).is_err() && CrlInfo::parse(&deep).is_err());
    assert!(MasterList::read_unverified(&deep).is_err());
}
