//! Minted documents: genuine ones of every algorithm pass, and each forgery fails for its own reason.
#![allow(clippy::unwrap_used, missing_docs)]

mod mint;

use mint::*;
use proofmill_emrtd::{
    ActiveAuthentication, CertificateStatus, ChipAuthentication, ChipTranscript, CrlProblem, Deviation,
    DocumentEvidence, Gate, GateResult, ImageType, Part, Policy, Reason, Report, RevocationStatus, SigningTimeSource,
    Terminal, TrustError, TrustStore, TrustStoreBuilder, UnixTime, Verification,
    crypto::{digest::Digest, provider::Scheme},
    inspect, verify,
};
use proptest::prelude::*;
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};

/// 2026-06-15T12:00:00Z
const NOW: UnixTime = UnixTime(1_781_524_800);
const CHALLENGE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

struct Document {
    csca: Certificate,
    dsc: Certificate,
    dg1: Vec<u8>,
    dg2: Vec<u8>,
    dg14: Option<Vec<u8>>,
    dg15: Option<Vec<u8>>,
    answer: Option<Vec<u8>>,
    crls: Vec<Vec<u8>>,
}

impl Document {
    fn new() -> Document {
        Document::of("UT", "UTO", &p256(2), &p256(1))
    }

    fn of(country: &str, state: &str, key: &Signer, csca: &Signer) -> Document {
        Document {
            csca: Certificate::csca(country, csca),
            dsc: Certificate::dsc(country, key, csca),
            dg1: dg1(state, "740812", "330101"),
            dg2: dg2(JPEG),
            dg14: None,
            dg15: None,
            answer: None,
            crls: vec![],
        }
    }

    fn sod(&self) -> Sod {
        let mut groups = vec![(1, &self.dg1[..]), (2, &self.dg2[..])];
        groups.extend(self.dg14.as_deref().map(|bytes| (14, bytes)));
        groups.extend(self.dg15.as_deref().map(|bytes| (15, bytes)));
        Sod::new(&self.dsc, &groups)
    }

    fn trust(&self) -> TrustStore {
        let mut builder = TrustStoreBuilder::new();
        builder.add_csca(&self.csca.der(), "test").unwrap();
        for crl in &self.crls {
            builder.add_crl(crl, "test").unwrap();
        }
        builder.build(7)
    }

    fn with<R>(&self, sod: &[u8], use_evidence: impl FnOnce(&DocumentEvidence<'_>) -> R) -> R {
        use_evidence(&DocumentEvidence {
            sod,
            dg1: Some(&self.dg1),
            dg2: Some(&self.dg2),
            dg14: self.dg14.as_deref(),
            dg15: self.dg15.as_deref(),
            active_authentication: self
                .answer
                .as_deref()
                .map(|signature| ActiveAuthentication { challenge: &CHALLENGE, signature }),
            ..Default::default()
        })
    }

    fn verify(&self) -> Report {
        self.verify_sod(&self.sod().der())
    }

    fn verify_sod(&self, sod: &[u8]) -> Report {
        self.verify_under(sod, &Policy::default())
    }

    fn verify_under(&self, sod: &[u8], policy: &Policy) -> Report {
        self.with(sod, |evidence| verify(evidence, &self.trust(), policy, NOW).report)
    }
}

/// The report of a document whose SOD was minted with one knob turned.
fn turned(turn: impl FnOnce(&mut Sod)) -> Report {
    let document = Document::new();
    let mut sod = document.sod();
    turn(&mut sod);
    document.verify_sod(&sod.der())
}

#[test]
fn a_genuine_passport_passes_and_yields_its_data() {
    let document = Document::new();
    let sod = document.sod().der();
    let trust = document.trust();
    document.with(&sod, |evidence| {
        let Verification { report, mrz, portrait, further_portraits, signer: _ } =
            verify(evidence, &trust, &Policy::default(), NOW);
        assert_eq!(report.reason, None);
        assert!(report.is_valid() && report.failed_gate().is_none());
        assert_eq!(report.deviations, []);
        assert_eq!(report.gates.passive_authentication.result, GateResult::Passed);
        assert_eq!(report.gates.document_data, GateResult::Passed);
        assert_eq!(report.gates.active_authentication, GateResult::NotApplicable);
        assert_eq!(report.gates.chip_authentication, GateResult::NotApplicable);
        assert_eq!(report.revocation_status, RevocationStatus::Unknown);
        assert_eq!(report.signing_time, SigningTimeSource::SignedAttribute);
        assert_eq!(report.document_expired, Some(false));
        assert_eq!(report.signature_algorithm.as_deref(), Some("ecdsa_sha256/P-256"));
        let mrz = mrz.unwrap();
        assert_eq!(mrz.primary_identifier, "ERIKSSON");
        assert_eq!(mrz.date_of_expiry.to_iso(), "2033-01-01");
        let portrait = portrait.unwrap();
        assert_eq!(portrait.image, JPEG);
        assert_eq!(portrait.image_type, ImageType::Jpeg);
        assert_eq!((portrait.encoded_width, portrait.encoded_height), (413, 531));
        assert!(further_portraits.is_empty());
        assert_eq!((portrait.declared_width, portrait.declared_height), (413, 531));
    });
    assert_eq!(trust.epoch(), 7);
    assert_eq!(trust.remembered_signers(), 1);
}

#[test]
fn every_algorithm_verifies_and_its_broken_signature_does_not() {
    let pss = |digest, mask_digest, salt_length| Scheme::RsaPss { digest, mask_digest, salt_length };
    let mut signers = vec![];
    for digest in Digest::ALL {
        signers.push(rsa(1, Scheme::RsaPkcs1 { digest }));
        signers.push(Signer { bare_rsa_identifier: true, ..rsa(1, Scheme::RsaPkcs1 { digest }) });
        for salt_length in [digest.size(), 20, 64] {
            signers.push(rsa(1, pss(digest, digest, salt_length)));
        }
        for secret in [Secret::P256(2), Secret::P384(2), Secret::P521(2), Secret::Bp256(2), Secret::Bp384(2)] {
            signers.push(ec(secret.clone(), digest));
            signers.push(Signer { scheme: Scheme::EcdsaPlain { digest }, ..ec(secret, digest) });
        }
    }
    for secret in [Secret::P256(3), Secret::Bp256(3)] {
        for compressed in [false, true] {
            let parameters = Parameters { compressed, ..Parameters::default() };
            signers.push(Signer { explicit: Some(parameters), ..ec(secret.clone(), Digest::Sha256) });
        }
    }
    for key in &signers {
        let document = Document::of("UT", "UTO", key, &p256(1));
        let sod = document.sod();
        let report = document.verify_sod(&sod.der());
        let kind = report.signature_algorithm.clone();
        assert_eq!(report.reason, None, "{kind:?}");
        let mut der = sod.der();
        *der.last_mut().unwrap() ^= 1;
        assert_eq!(document.verify_sod(&der).reason, Some(Reason::SignatureInvalid), "{kind:?}");
    }
    // The same keys as country signing authorities.
    // A certificate's algorithm must name its digest: there is no SignerInfo to take it from.
    for csca in &signers {
        if csca.bare_rsa_identifier {
            assert_eq!(Document::of("UT", "UTO", &p256(2), csca).verify().reason, Some(Reason::ChainNotTrusted));
            continue;
        }
        let document = Document::of("UT", "UTO", &p256(2), csca);
        assert_eq!(document.verify().reason, None, "{:?}", csca.scheme);
    }
}

#[test]
fn a_changed_bare_rsa_identifier_takes_the_digest_of_the_signer() {
    let mut key = rsa(1, Scheme::RsaPkcs1 { digest: Digest::Sha256 });
    key.bare_rsa_identifier = true;
    let document = Document::of("UT", "UTO", &key, &p256(1));
    let mut sod = document.sod();
    sod.digest = Digest::Sha512;
    assert_eq!(document.verify_sod(&sod.der()).reason, Some(Reason::SignatureInvalid));
}

#[test]
fn explicit_parameters_must_be_a_known_curve_in_every_number() {
    let other = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        *bytes.last_mut().unwrap() ^= 2;
        Some(bytes)
    };
    let p = hex::decode("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff").unwrap();
    let a = hex::decode("ffffffff00000001000000000000000000000000fffffffffffffffffffffffc").unwrap();
    let b = hex::decode("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b").unwrap();
    let n = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    // CVE-2020-0601: a generator of the attacker's choice, a point on the curve.
    let forged_generator = ecdsa::SigningKey::<p256::NistP256>::from_slice(&[5; 32]).unwrap();
    let g = ecdsa::VerifyingKey::from(&forged_generator).to_sec1_point(false).as_bytes().to_vec();
    let compressed = ecdsa::VerifyingKey::from(&forged_generator).to_sec1_point(true).as_bytes().to_vec();
    for parameters in [
        Parameters { p: other(&p), ..Parameters::default() },
        Parameters { a: other(&a), ..Parameters::default() },
        Parameters { b: other(&b), ..Parameters::default() },
        Parameters { g: Some(g), ..Parameters::default() },
        Parameters { g: Some(compressed), ..Parameters::default() },
        Parameters { n: other(&n), ..Parameters::default() },
        Parameters { h: Some(2), ..Parameters::default() },
    ] {
        let key = Signer { explicit: Some(parameters.clone()), ..p256(2) };
        let document = Document::of("UT", "UTO", &key, &p256(1));
        assert_eq!(document.verify().reason, Some(Reason::UnknownCurve));
        let csca = Signer { explicit: Some(parameters), ..p256(1) };
        let document = Document::of("UT", "UTO", &p256(2), &csca);
        assert_eq!(document.verify().reason, Some(Reason::ChainNotTrusted));
    }
    let key = Signer { explicit: Some(Parameters { leave_out_cofactor: true, ..Parameters::default() }), ..p256(2) };
    let document = Document::of("UT", "UTO", &key, &p256(1));
    assert_eq!(document.verify().reason, Some(Reason::DeviationRefused(Deviation::EcCofactorAbsent)));
    let report = document.verify_under(&document.sod().der(), &Policy::lenient());
    assert_eq!((report.reason, report.deviations), (None, vec![Deviation::EcCofactorAbsent]));
}

#[test]
fn tampered_data_groups_fail_passive_authentication() {
    let mut document = Document::new();
    document.dg14 = Some(dg14(Digest::Sha256));
    document.dg15 = Some(tlv(0x6f, &p256(9).spki()));
    document.answer =
        Some(Signer { scheme: Scheme::EcdsaPlain { digest: Digest::Sha256 }, ..p256(9) }.sign(&CHALLENGE));
    let sod = document.sod().der();
    assert_eq!(document.verify_sod(&sod).reason, None);
    type Group = fn(&mut Document) -> &mut Vec<u8>;
    let groups: [(Part, Group); 4] = [
        (Part::Dg1, |document| &mut document.dg1),
        (Part::Dg2, |document| &mut document.dg2),
        (Part::Dg14, |document| document.dg14.as_mut().unwrap()),
        (Part::Dg15, |document| document.dg15.as_mut().unwrap()),
    ];
    for (part, group) in groups {
        let last = group(&mut document).len() - 1;
        group(&mut document)[last] ^= 1;
        let report = document.verify_sod(&sod);
        assert_eq!(report.reason, Some(Reason::DataGroupHashMismatch(part)));
        assert_eq!(report.failed_gate(), Some(Gate::PassiveAuthentication));
        assert_eq!(report.gates.passive_authentication.signature, GateResult::Passed);
        assert_eq!(report.gates.passive_authentication.data_group_hashes, GateResult::Failed);
        assert_eq!(report.gates.document_data, GateResult::NotRun);
        group(&mut document)[last] ^= 1;
    }
    // A chip's key that the SOD does not know is no key.
    let own = document.dg15.replace(tlv(0x6f, &p256(8).spki()));
    document.answer =
        Some(Signer { scheme: Scheme::EcdsaPlain { digest: Digest::Sha256 }, ..p256(8) }.sign(&CHALLENGE));
    assert_eq!(document.verify_sod(&sod).reason, Some(Reason::DataGroupHashMismatch(Part::Dg15)));
    document.dg15 = own;
}

#[test]
fn a_failed_verification_gives_out_no_personal_data() {
    let document = Document::new();
    let sod = turned_sod(&document, |sod| sod.hashes[1].1[0] ^= 1);
    document.with(&sod, |evidence| {
        let verification = verify(evidence, &document.trust(), &Policy::default(), NOW);
        assert!(verification.mrz.is_none() && verification.portrait.is_none());
        let json = serde_json::to_string(&verification.report).unwrap();
        for personal in ["ERIKSSON", "C01X", "1974", "740812", "UTO"] {
            assert!(!json.contains(personal), "{json}");
        }
    });
}

fn turned_sod(document: &Document, turn: impl FnOnce(&mut Sod)) -> Vec<u8> {
    let mut sod = document.sod();
    turn(&mut sod);
    sod.der()
}

#[test]
fn declared_groups_must_be_supplied_and_supplied_groups_declared() {
    let mut document = Document::new();
    document.dg14 = Some(dg14(Digest::Sha256));
    document.dg15 = Some(tlv(0x6f, &p256(9).spki()));
    let sod = document.sod().der();
    let trust = document.trust();
    let whole = |document: &Document, edit: &dyn Fn(&mut DocumentEvidence<'_>), look: bool| {
        let mut evidence = DocumentEvidence {
            sod: &sod,
            dg1: Some(&document.dg1),
            dg2: Some(&document.dg2),
            dg14: document.dg14.as_deref(),
            dg15: document.dg15.as_deref(),
            ..Default::default()
        };
        edit(&mut evidence);
        if look {
            inspect(&evidence, &trust, &Policy::default(), NOW)
        } else {
            verify(&evidence, &trust, &Policy::default(), NOW)
        }
        .report
    };
    type Edit = fn(&mut DocumentEvidence<'_>);
    let edits: [(Part, Edit); 4] = [
        (Part::Dg1, |evidence| evidence.dg1 = None),
        (Part::Dg2, |evidence| evidence.dg2 = None),
        (Part::Dg14, |evidence| evidence.dg14 = None),
        (Part::Dg15, |evidence| evidence.dg15 = None),
    ];
    for (part, edit) in edits {
        assert_eq!(whole(&document, &edit, false).reason, Some(Reason::DataGroupMissing(part)));
        assert_eq!(whole(&document, &edit, true).reason, None, "an inspection looks at what there is");
    }
    let strict = inspect(&DocumentEvidence { sod: &sod, ..Default::default() }, &trust, &Policy::strict(), NOW).report;
    assert!(!strict.is_valid());
    let plain = Document::new();
    let sod = plain.sod().der();
    let evidence = DocumentEvidence {
        sod: &sod,
        dg1: Some(&plain.dg1),
        dg2: Some(&plain.dg2),
        dg15: document.dg15.as_deref(),
        ..Default::default()
    };
    for report in
        [verify(&evidence, &trust, &Policy::default(), NOW), inspect(&evidence, &trust, &Policy::default(), NOW)]
    {
        assert_eq!(report.report.reason, Some(Reason::DataGroupNotDeclared(Part::Dg15)));
    }
}

#[test]
fn evidence_that_is_not_one_element_of_its_file_is_refused_first() {
    let document = Document::new();
    let sod = document.sod().der();
    let trust = document.trust();
    let check = |edit: &dyn Fn(&mut DocumentEvidence<'_>), expected: Reason| {
        document.with(&sod, |evidence| {
            let mut evidence =
                DocumentEvidence { sod: evidence.sod, dg1: evidence.dg1, dg2: evidence.dg2, ..Default::default() };
            edit(&mut evidence);
            let report = verify(&evidence, &trust, &Policy::default(), NOW).report;
            assert_eq!(report.reason, Some(expected));
            assert_eq!(report.failed_gate(), Some(Gate::EvidenceFormat));
            assert_eq!(report.gates.evidence_format, GateResult::Failed);
            assert_eq!(report.gates.passive_authentication.result, GateResult::NotRun);
        });
    };
    check(&|evidence| evidence.sod = b"", Reason::PartMalformed(Part::Sod));
    check(&|evidence| evidence.sod = b"not DER at all", Reason::PartMalformed(Part::Sod));
    check(&|evidence| evidence.sod = &[0x61, 0], Reason::PartMalformed(Part::Sod));
    check(&|evidence| evidence.sod = &[0x77, 0, 0], Reason::PartTrailingData(Part::Sod));
    check(&|evidence| evidence.dg1 = Some(&[0x61, 0, 0]), Reason::PartTrailingData(Part::Dg1));
    check(&|evidence| evidence.dg2 = Some(&[0x61, 0]), Reason::PartMalformed(Part::Dg2));
    check(&|evidence| evidence.dg14 = Some(&[0x6e, 5]), Reason::PartMalformed(Part::Dg14));
    check(&|evidence| evidence.dg15 = Some(&[0; 65 * 1024]), Reason::PartTooLarge(Part::Dg15));
    check(&|evidence| evidence.dg2 = Some(&[0; 1024 * 1024 + 1]), Reason::PartTooLarge(Part::Dg2));
}

#[test]
fn the_rules_of_signed_data_are_enforced() {
    let other = Certificate::dsc("UT", &p256(4), &p256(1));
    type Case = (&'static str, Reason, Box<dyn FnOnce(&mut Sod)>);
    let cases: Vec<Case> = vec![
        ("version 1", Reason::SodVersionUnsupported, Box::new(|sod| sod.version = 1)),
        ("version 4", Reason::SodVersionUnsupported, Box::new(|sod| sod.version = 4)),
        ("signer version", Reason::SignerInfoVersion, Box::new(|sod| sod.signer_version = 3)),
        (
            "content type",
            Reason::SodContentTypeUnexpected,
            Box::new(|sod| {
                sod.content_type = "0.4.0.127.0.7.3.2.1".into();
                sod.content_type_attribute = sod.content_type.clone();
            }),
        ),
        (
            "contentType attribute",
            Reason::ContentTypeMismatch,
            Box::new(|sod| sod.content_type_attribute = DATA.into()),
        ),
        ("messageDigest", Reason::MessageDigestMismatch, Box::new(|sod| sod.message_digest = Some(vec![7; 32]))),
        ("LDS version 2", Reason::LdsSecurityObjectMalformed, Box::new(|sod| sod.lds_version = 2)),
        ("version info in version 0", Reason::LdsSecurityObjectMalformed, Box::new(|sod| sod.lds_version_info = true)),
        ("data group 17", Reason::LdsSecurityObjectMalformed, Box::new(|sod| sod.hashes.push((17, vec![0; 32])))),
        ("data group 0", Reason::LdsSecurityObjectMalformed, Box::new(|sod| sod.hashes.push((0, vec![0; 32])))),
        ("a group twice", Reason::LdsSecurityObjectMalformed, Box::new(|sod| sod.hashes.push((1, vec![0; 32])))),
        ("a short hash", Reason::LdsSecurityObjectMalformed, Box::new(|sod| sod.hashes.push((3, vec![0; 20])))),
        ("no groups", Reason::LdsSecurityObjectMalformed, Box::new(|sod| sod.hashes.clear())),
        (
            "an attribute twice",
            Reason::SignedAttributesMalformed,
            Box::new(|sod| {
                sod.more_attributes = vec![seq(&[&oid("1.2.840.113549.1.9.4"), &set(&[&octets(&[0; 32])])])];
            }),
        ),
        ("another key", Reason::SignatureInvalid, Box::new(|sod| sod.key = p256(5))),
        (
            "another certificate",
            Reason::SignerCertificateNotFound,
            Box::new(move |sod| {
                let mut other = other;
                other.serial = vec![9];
                sod.certificates = vec![other.der()];
            }),
        ),
        ("no certificate", Reason::SignerCertificateNotFound, Box::new(|sod| sod.certificates.clear())),
        (
            "RSA algorithm with an EC key",
            Reason::SignatureAlgorithmUnsupported,
            Box::new(|sod| {
                sod.key = rsa(1, Scheme::RsaPkcs1 { digest: Digest::Sha256 });
            }),
        ),
    ];
    for (name, expected, turn) in cases {
        let report = turned(turn);
        assert_eq!(report.reason, Some(expected), "{name}");
        assert_eq!(report.gates.passive_authentication.signature, GateResult::Failed, "{name}");
    }
}

#[test]
fn nothing_may_stand_where_it_does_not_belong() {
    use Level::*;
    let levels = [
        (Wrapper, Reason::SodTrailingData),
        (ContentInfo, Reason::SodTrailingData),
        (Explicit, Reason::SodTrailingData),
        (SignedData, Reason::SodTrailingData),
        (EncapsulatedContentInfo, Reason::SodTrailingData),
        (EncapsulatedContent, Reason::SodTrailingData),
        (Lds, Reason::LdsSecurityObjectMalformed),
        (LdsContent, Reason::LdsSecurityObjectMalformed),
        (SignerInfos, Reason::SodMalformed),
        (SignerInfo, Reason::SodTrailingData),
        (Attribute, Reason::SignedAttributesMalformed),
        (DigestAlgorithm, Reason::SodMalformed),
    ];
    for (level, expected) in levels {
        for octets in [NULL, &[0], &[0x04, 0x01, 0x00]] {
            for encoding in [Encoding::Der, Encoding::Ber] {
                let report = turned(|sod| {
                    sod.trailing = Some((level, octets.to_vec()));
                    sod.encoding = encoding;
                });
                // Of a lone octet it depends on the level whether it reads as an element cut short.
                let reason = report.reason.unwrap();
                let either = [expected, Reason::SodMalformed, Reason::SodTrailingData];
                assert!(either.contains(&reason), "{level:?}: {reason}");
                if encoding == Encoding::Der && octets == NULL {
                    assert_eq!(reason, expected, "{level:?}");
                }
            }
        }
    }
}

#[test]
fn only_signed_attributes_count() {
    assert_eq!(turned(|sod| sod.without_attributes = true).reason, Some(Reason::SignedAttributesMalformed));
    // RFC 5652 leaves them out of signatures over id-data; ICAO Doc 9303-10 does not.
    let report = turned(|sod| {
        sod.without_attributes = true;
        sod.content_type = DATA.into();
    });
    assert_eq!(report.reason, Some(Reason::SignedAttributesMalformed));
    // Unsigned, another messageDigest is nobody's word.
    let other = seq(&[&oid("1.2.840.113549.1.9.4"), &set(&[&octets(&[7; 32])])]);
    let report = turned(|sod| sod.unsigned_attributes = other);
    assert_eq!((report.reason, report.deviations), (None, vec![]));
    let twice = |kind: &str, value: Vec<u8>| {
        let attribute = seq(&[&oid(kind), &set(&[&value])]);
        turned(|sod| sod.more_attributes = vec![attribute]).reason
    };
    for (kind, value) in [
        ("1.2.840.113549.1.9.3", oid(LDS)),
        ("1.2.840.113549.1.9.4", octets(&[0; 32])),
        ("1.2.840.113549.1.9.5", utc("250601120000Z")),
    ] {
        assert_eq!(twice(kind, value), Some(Reason::SignedAttributesMalformed), "{kind}");
    }
    assert_eq!(twice("1.2.3.4", int(1)), None, "an attribute of the issuer's own");
    let values = |values: &[&[u8]]| {
        let attribute = seq(&[&oid("1.2.840.113549.1.9.5"), &set(values)]);
        turned(|sod| {
            sod.signing_time = None;
            sod.more_attributes = vec![attribute];
        })
        .reason
    };
    assert_eq!(values(&[&utc("250601120000Z")]), None);
    let time = utc("250601120000Z");
    let (number, no_day) = (int(1), utc("250631120000Z"));
    let bad: [&[&[u8]]; 4] = [&[], &[&time, &time], &[&number], &[&no_day]];
    for bad in bad {
        assert_eq!(values(bad), Some(Reason::SignedAttributesMalformed));
    }
}

#[test]
fn every_content_type_of_an_lds_security_object_is_known_and_no_other() {
    let of = |content_type: &str| {
        let report = turned(|sod| {
            sod.content_type = content_type.into();
            sod.content_type_attribute = content_type.into();
        });
        (report.reason, report.deviations)
    };
    assert_eq!(of(LDS), (None, vec![]));
    for legacy in ["1.3.27.1.1.1", "1.2.528.1.1006.1.20.1"] {
        assert_eq!(of(legacy), (None, vec![Deviation::ContentTypeLegacy]), "{legacy}");
    }
    assert_eq!(of(DATA), (None, vec![Deviation::ContentTypeIdData]));
    for other in [MASTER_LIST, "2.23.136.1.1.7", "0.4.0.127.0.7.3.2.1", "1.2.840.113549.1.7.2"] {
        assert_eq!(of(other), (Some(Reason::SodContentTypeUnexpected), vec![]), "{other}");
    }
}

#[test]
fn a_digest_algorithm_that_is_not_listed_is_refused_unless_the_policy_is_lenient() {
    let document = Document::new();
    for listed in [digest_identifier(Digest::Sha512), seq(&[&oid("1.3.36.3.2.1")])] {
        let sod = turned_sod(&document, |sod| sod.listed_digest = Some(listed));
        let expected = Deviation::DigestAlgorithmNotListed;
        assert_eq!(document.verify_sod(&sod).reason, Some(Reason::DeviationRefused(expected)));
        let report = document.verify_under(&sod, &Policy::lenient());
        assert_eq!((report.reason, report.deviations), (None, vec![expected]));
    }
}

/// ecdsa-with-SHA1 beside SHA-256, and the like.
#[test]
fn a_signature_algorithm_of_another_digest_is_taken_at_its_word() {
    let keys: [fn(Digest) -> Signer; 3] = [
        |digest| ec(Secret::P256(2), digest),
        |digest| rsa(1, Scheme::RsaPkcs1 { digest }),
        |digest| Signer { scheme: Scheme::EcdsaPlain { digest }, ..p256(2) },
    ];
    for key in keys {
        let document = Document::of("UT", "UTO", &key(Digest::Sha256), &p256(1));
        for (signed_with, named, holds) in [
            (Digest::Sha256, Digest::Sha1, false),
            (Digest::Sha1, Digest::Sha1, true),
            (Digest::Sha512, Digest::Sha1, false),
        ] {
            let sod = turned_sod(&document, |sod| {
                sod.key = key(signed_with);
                sod.algorithm = Some(key(named).algorithm());
            });
            let report = document.verify_sod(&sod);
            if holds {
                assert_eq!((report.reason, report.deviations), (None, vec![Deviation::SignatureDigestDiffers]));
                assert!(document.verify_under(&sod, &Policy::strict()).reason.is_some());
            } else {
                assert_eq!(report.reason, Some(Reason::SignatureInvalid));
            }
        }
    }
}

#[test]
fn any_of_four_signers_may_be_the_one_that_holds() {
    let document = Document::new();
    let plain = document.sod();
    let forger = Certificate { key: p256(6), ..document.dsc.clone() };
    let forged = Sod { key: p256(6), ..plain.clone() }.signer();
    let unknown_digest = {
        let ripemd = seq(&[&oid("1.3.36.3.2.1")]);
        let own = digest_identifier(Digest::Sha256);
        let signer = plain.signer();
        // Behind a header of four octets or three.
        let header = if signer[1] == 0x82 { 4 } else { 3 };
        let at = signer.windows(own.len()).position(|window| window == own).unwrap();
        let body = [&signer[header..at], &ripemd, &signer[at + own.len()..]].concat();
        seq(&[&body])
    };
    let unknown_algorithm = Sod { algorithm: Some(seq(&[&oid("1.3.101.112")])), ..plain.clone() }.signer();
    let other_digest = Sod { message_digest: Some(vec![9; 32]), ..plain.clone() }.signer();
    for others in [
        vec![&forged],
        vec![&unknown_digest],
        vec![&unknown_algorithm],
        vec![&other_digest],
        vec![&forged, &unknown_algorithm, &other_digest],
    ] {
        let sod = turned_sod(&document, |sod| {
            sod.other_signers = others.into_iter().cloned().collect();
            sod.certificates.push(forger.der());
        });
        assert_eq!(document.verify_sod(&sod).reason, None);
    }
    for (alone, expected) in [
        (&forged, Reason::SignatureInvalid),
        (&unknown_digest, Reason::DigestAlgorithmUnsupported),
        (&unknown_algorithm, Reason::SignatureAlgorithmUnsupported),
        (&other_digest, Reason::MessageDigestMismatch),
    ] {
        let sod = Sod { other_signers: vec![alone.clone()], without_own_signer: true, ..plain.clone() };
        assert_eq!(document.verify_sod(&sod.der()).reason, Some(expected));
    }
    assert_eq!(turned(|sod| sod.without_own_signer = true).reason, Some(Reason::SignerInfoCount));
    let five = turned_sod(&document, |sod| sod.other_signers = vec![sod.signer(); 4]);
    assert_eq!(document.verify_sod(&five).reason, Some(Reason::SignerInfoCount));
    let four = turned_sod(&document, |sod| sod.other_signers = vec![sod.signer(); 3]);
    assert_eq!(document.verify_sod(&four).reason, None);
    // The forger's own key verifies the forger's signature, and its certificate has no chain: it lends nothing.
    let sod = turned_sod(&document, |sod| {
        sod.hashes[0].1 = vec![1; 32];
        sod.key = p256(6);
        sod.certificates = vec![Certificate { issuer_key: p256(6), ..forger.clone() }.der(), document.dsc.der()];
    });
    let report = document.verify_sod(&sod);
    assert_eq!(report.reason, Some(Reason::ChainNotTrusted));
    assert_eq!(report.gates.passive_authentication.chain, GateResult::Failed);
}

#[test]
fn policies_differ_in_what_they_accept_and_in_nothing_else() {
    let refused = |policy: Policy| -> Vec<Deviation> {
        Deviation::ALL.iter().copied().filter(|deviation| !policy.accepted.contains(*deviation)).collect()
    };
    assert_eq!(
        refused(Policy::default()),
        [
            Deviation::DigestAlgorithmNotListed,
            Deviation::SignedAttributesResorted,
            Deviation::DscCountryAbsent,
            Deviation::CertificateAlgorithmParametersDiffer,
            Deviation::CriticalExtensionUnknown,
            Deviation::EcCofactorAbsent,
        ]
    );
    assert_eq!(refused(Policy::strict()), Deviation::ALL);
    assert_eq!(refused(Policy::lenient()), []);
    for policy in [Policy::default(), Policy::lenient()] {
        assert!(!policy.unknown_revocation_fails && !policy.absent_data_groups_fail);
    }
    assert!(Policy::strict().unknown_revocation_fails && Policy::strict().absent_data_groups_fail);
    assert!(Policy::lenient().retry_resorted_attributes && !Policy::strict().retry_resorted_attributes);
}

#[test]
fn deviations_are_reported_and_refused_by_the_strict_policy() {
    type Case = (Deviation, Box<dyn Fn(&mut Sod)>);
    let cases: Vec<Case> = vec![
        (Deviation::SodWithoutWrapper, Box::new(|sod| sod.wrapped = false)),
        (Deviation::SodNotDer, Box::new(|sod| sod.encoding = Encoding::Ber)),
        (
            Deviation::ContentTypeIdData,
            Box::new(|sod| {
                sod.content_type = DATA.into();
                sod.content_type_attribute = DATA.into();
            }),
        ),
        (
            Deviation::ContentTypeLegacy,
            Box::new(|sod| {
                sod.content_type = "1.2.528.1.1006.1.20.1".into();
                sod.content_type_attribute = sod.content_type.clone();
            }),
        ),
        (Deviation::SignedAttributesUnsorted, Box::new(|sod| sod.attribute_order = AttributeOrder::Unsorted)),
        (Deviation::SignatureDigestDiffers, Box::new(|sod| sod.digest = Digest::Sha512)),
        (
            Deviation::NameEncodingDiffers,
            Box::new(|sod| {
                let reversed = seq(&[&attribute("2.5.4.3", 0x13, "csca"), &attribute("2.5.4.6", 0x0c, "ut")]);
                sod.signer_identifier = seq(&[&reversed, &big(&[0x10, 0x01])]);
            }),
        ),
    ];
    let document = Document::new();
    for (deviation, turn) in cases {
        let sod = turned_sod(&document, turn);
        let report = document.verify_sod(&sod);
        assert_eq!((report.reason, report.deviations), (None, vec![deviation]));
        let refused = Policy { accepted: Policy::default().accepted.without(deviation), ..Policy::default() };
        let report = document.verify_under(&sod, &refused);
        assert_eq!(report.reason, Some(Reason::DeviationRefused(deviation)));
        assert!(document.verify_under(&sod, &Policy::strict()).reason.is_some());
    }
    let sod = turned_sod(&document, |sod| sod.attribute_order = AttributeOrder::UnsortedAfterSigning);
    assert_eq!(document.verify_sod(&sod).reason, Some(Reason::SignatureInvalid));
    let lenient = document.verify_under(&sod, &Policy::lenient());
    assert_eq!((lenient.reason, lenient.deviations), (None, vec![Deviation::SignedAttributesResorted]));
}

#[test]
fn lds_version_1_and_key_identifiers_are_accepted() {
    let report = turned(|sod| {
        sod.lds_version = 1;
        sod.lds_version_info = true;
    });
    assert_eq!((report.reason, report.lds_version), (None, Some(1)));
    let report = turned(|sod| {
        sod.signer_version = 3;
        sod.signer_identifier = tlv(0x80, &p256(2).key_identifier());
    });
    assert_eq!((report.reason, report.deviations), (None, vec![]));
    let report = turned(|sod| {
        sod.signer_version = 3;
        sod.signer_identifier = tlv(0x80, &p256(3).key_identifier());
    });
    assert_eq!(report.reason, Some(Reason::SignerCertificateNotFound));
}

#[test]
fn a_stored_signer_serves_sods_that_embed_none_but_lends_no_trust() {
    let document = Document::new();
    let sod = turned_sod(&document, |sod| sod.certificates.clear());
    let mut builder = TrustStoreBuilder::new();
    builder.add_csca(&document.csca.der(), "test").unwrap();
    builder.add_dsc(&document.dsc.der(), "test").unwrap();
    let trust = builder.build(1);
    document.with(&sod, |evidence| assert_eq!(verify(evidence, &trust, &Policy::default(), NOW).report.reason, None));
    let mut builder = TrustStoreBuilder::new();
    builder.add_dsc(&document.dsc.der(), "test").unwrap();
    let trust = builder.build(1);
    document.with(&sod, |evidence| {
        let report = verify(evidence, &trust, &Policy::default(), NOW).report;
        assert_eq!(report.reason, Some(Reason::ChainNotTrusted));
        assert_eq!(report.gates.passive_authentication.signature, GateResult::Passed);
        assert_eq!(trust.remembered_signers(), 0, "the untrusted are not remembered");
    });
}

#[test]
fn one_store_serves_many_threads_and_chains_a_signer_once() {
    let document = Document::new();
    let sod = document.sod().der();
    let trust = document.trust();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    document.with(&sod, |evidence| {
                        assert_eq!(verify(evidence, &trust, &Policy::default(), NOW).report.reason, None);
                    });
                }
            });
        }
    });
    assert_eq!(trust.remembered_signers(), 1);
}

#[test]
fn every_candidate_is_tried() {
    // A certificate with the signer's name and number and another key stands first.
    let document = Document::new();
    let decoy = Certificate { key: p256(6), ..document.dsc.clone() };
    let sod = turned_sod(&document, |sod| sod.certificates = vec![decoy.der(), document.dsc.der()]);
    assert_eq!(document.verify_sod(&sod).reason, None);
    // An untrusted certificate with the right key stands first.
    let untrusted = Certificate { issuer_key: p256(7), ..document.dsc.clone() };
    let sod = turned_sod(&document, |sod| sod.certificates = vec![untrusted.der(), document.dsc.der()]);
    assert_eq!(document.verify_sod(&sod).reason, None);
    let sod = turned_sod(&document, |sod| sod.certificates = vec![untrusted.der()]);
    assert_eq!(document.verify_sod(&sod).reason, Some(Reason::ChainNotTrusted));
}

#[test]
fn chains_end_in_the_right_authority() {
    let changed = |change: &dyn Fn(&mut Document)| {
        let mut document = Document::new();
        change(&mut document);
        let report = document.verify();
        (report.reason, report.deviations)
    };
    // What nobody's documents are known to need is refused by default, and reported.
    let refused = |deviation, change: &dyn Fn(&mut Document)| {
        assert_eq!(changed(change), (Some(Reason::DeviationRefused(deviation)), vec![deviation]));
        let mut document = Document::new();
        change(&mut document);
        let report = document.verify_under(&document.sod().der(), &Policy::lenient());
        assert_eq!((report.reason, report.deviations), (None, vec![deviation]));
    };
    assert_eq!(changed(&|document| document.dsc.issuer_key = p256(7)).0, Some(Reason::ChainNotTrusted), "unknown CSCA");
    assert_eq!(changed(&|document| document.csca.key = p256(7)).0, Some(Reason::ChainNotTrusted));
    assert_eq!(
        changed(&|document| document.dsc.extensions[0] = key_usage(0x06)).0,
        Some(Reason::SignerCertificateUsage)
    );
    assert_eq!(
        changed(&|document| document.dsc.extensions.push(basic_constraints(true))).0,
        Some(Reason::SignerCertificateUsage)
    );
    assert_eq!(changed(&|document| document.dsc.extensions.push(basic_constraints(false))).0, None);
    let master_list_signer = extension("2.5.29.37", true, &seq(&[&oid("2.23.136.1.1.3")]));
    assert_eq!(
        changed(&|document| document.dsc.extensions.push(master_list_signer.clone())).0,
        Some(Reason::SignerCertificateUsage)
    );
    assert_eq!(changed(&|document| document.csca.extensions[0] = key_usage(0x80)).0, Some(Reason::ChainNotTrusted));
    assert_eq!(
        changed(&|document| document.csca.extensions[1] = basic_constraints(false)).0,
        Some(Reason::ChainNotTrusted)
    );
    assert_eq!(
        changed(&|document| document.dsc.subject = name("XX", "Document Signer")).0,
        Some(Reason::CertificateCountryMismatch)
    );
    assert_eq!(changed(&|document| document.dsc.subject = name("ut", "Document Signer")), (None, vec![]));
    assert_eq!(changed(&|document| document.dg1 = dg1("D", "740812", "330101")).0, Some(Reason::IssuingStateMismatch));
    refused(Deviation::DscCountryAbsent, &|document| {
        document.dsc.subject = seq(&[&attribute("2.5.4.3", 0x0c, "Document Signer")]);
    });
    assert_eq!(
        changed(&|document| {
            document.dsc.extensions.remove(0);
        }),
        (None, vec![Deviation::DscKeyUsageAbsent])
    );
    assert_eq!(
        changed(&|document| {
            document.csca.extensions.remove(0);
        }),
        (None, vec![Deviation::CscaKeyUsageAbsent])
    );
    assert_eq!(
        changed(&|document| {
            document.csca.extensions.remove(1);
        }),
        (None, vec![Deviation::CscaBasicConstraintsAbsent])
    );
    assert_eq!(
        changed(&|document| document.dsc.extensions[2] = authority_key_identifier(&[9; 20])),
        (None, vec![Deviation::AuthorityKeyIdentifierMismatch])
    );
    assert_eq!(
        changed(&|document| document.csca.subject = name("UT", "CSCA of another name")),
        (None, vec![Deviation::IssuerNameDiffers])
    );
    // The authority's certificate may be a later one of the same key.
    assert_eq!(
        changed(&|document| document.csca.not_before = "240101000000Z".into()),
        (None, vec![Deviation::DscIssuedOutsideCscaValidity])
    );
}

#[test]
fn every_key_under_one_name_is_tried() {
    let mut document = Document::new();
    document.dsc.extensions.truncate(2);
    let mut builder = TrustStoreBuilder::new();
    for seed in [20, 21, 1, 22] {
        builder.add_csca(&Certificate::csca("UT", &p256(seed)).der(), "test").unwrap();
    }
    let trust = builder.build(1);
    let sod = document.sod().der();
    document.with(&sod, |evidence| assert_eq!(verify(evidence, &trust, &Policy::default(), NOW).report.reason, None));
}

#[test]
fn german_and_british_codes_are_understood() {
    assert_eq!(Document::of("DE", "D", &p256(2), &p256(1)).verify().reason, None);
    let report = Document::of("GB", "GBD", &p256(2), &p256(1)).verify();
    assert_eq!((report.reason, report.deviations), (None, vec![Deviation::CountryAlias]));
    assert_eq!(Document::of("AT", "AUS", &p256(2), &p256(1)).verify().reason, Some(Reason::IssuingStateMismatch));
}

#[test]
fn validity_is_judged_at_signing() {
    let verify_with = |time: Option<&str>, not_before: &str, not_after: &str, expiry: &str| {
        let mut document = Document::new();
        document.csca.not_before = "100101000000Z".into();
        document.dsc.not_before = not_before.into();
        document.dsc.not_after = not_after.into();
        document.dg1 = dg1("UTO", "740812", expiry);
        let sod = turned_sod(&document, |sod| sod.signing_time = time.map(str::to_owned));
        document.verify_sod(&sod)
    };
    let signed = Some("250601120000Z");
    // The signer has expired since; the document has not.
    let report = verify_with(signed, "250101000000Z", "251231000000Z", "330101");
    assert_eq!((report.reason, report.signer_status), (None, Some(CertificateStatus::Expired)));
    for (not_before, not_after) in [("250602000000Z", "330101000000Z"), ("200101000000Z", "250601115959Z")] {
        assert_eq!(verify_with(signed, not_before, not_after, "330101").reason, Some(Reason::SignedOutsideValidity));
    }
    // After the verification, and after the document's expiry.
    assert_eq!(
        verify_with(Some("260615120001Z"), "250101000000Z", "330101000000Z", "330101").reason,
        Some(Reason::SigningTimeImplausible)
    );
    assert_eq!(
        verify_with(Some("260101000000Z"), "250101000000Z", "330101000000Z", "251231").reason,
        Some(Reason::SigningTimeImplausible)
    );
    // Without a signing time: from ten years and nine months before expiry to expiry or now.
    for (not_before, not_after, expected) in [
        ("250101000000Z", "251231000000Z", None),
        ("150101000000Z", "220331235959Z", Some(Reason::SignedOutsideValidity)),
        ("150101000000Z", "220401000000Z", None),
        ("260615120001Z", "330101000000Z", Some(Reason::SignedOutsideValidity)),
        ("260615120000Z", "330101000000Z", None),
    ] {
        let report = verify_with(None, not_before, not_after, "330101");
        assert_eq!(report.reason, expected, "{not_before} {not_after}");
        assert_eq!(report.signing_time, SigningTimeSource::ExpiryWindow);
    }
    // Neither: a lone SOD.
    let document = Document::new();
    let sod = turned_sod(&document, |sod| sod.signing_time = None);
    let report =
        inspect(&DocumentEvidence { sod: &sod, ..Default::default() }, &document.trust(), &Policy::default(), NOW)
            .report;
    assert_eq!((report.reason, report.signing_time), (None, SigningTimeSource::NotDetermined));
}

/// Two digits of a year leave a century open, and a signing time closes it: nobody is born after their document.
#[test]
fn a_birth_is_never_after_the_signing() {
    let born = |birth: &str, signed: Option<&str>| {
        let mut document = Document::new();
        document.dg1 = dg1("UTO", birth, "300101");
        let sod = turned_sod(&document, |sod| sod.signing_time = signed.map(str::to_owned));
        document.with(&sod, |evidence| {
            let verification = verify(evidence, &document.trust(), &Policy::default(), NOW);
            assert_eq!(verification.report.reason, None);
            verification.mrz.unwrap().date_of_birth.to_iso().unwrap()
        })
    };
    assert_eq!(born("251001", None), "2025-10-01");
    assert_eq!(born("251001", Some("251002120000Z")), "2025-10-01");
    assert_eq!(born("251001", Some("250601120000Z")), "1925-10-01");
}

#[test]
fn expiry_of_the_document_is_reported_and_left_to_the_caller() {
    let mut document = Document::new();
    for (expiry, expired) in [("260614", true), ("260615", false), ("260616", false)] {
        document.dg1 = dg1("UTO", "740812", expiry);
        let report = document.verify();
        assert_eq!((report.reason, report.document_expired), (None, Some(expired)), "{expiry}");
    }
}

#[test]
fn revocation_lists_decide() {
    let status = |crls: &[Crl]| {
        let mut document = Document::new();
        document.crls = crls.iter().map(Crl::der).collect();
        let report = document.verify();
        let strict = document
            .verify_under(&document.sod().der(), &Policy { unknown_revocation_fails: true, ..Policy::default() });
        if report.revocation_status == RevocationStatus::Unknown {
            assert_eq!(strict.reason, Some(Reason::RevocationUnknown));
        } else {
            assert_eq!(strict.reason, report.reason);
        }
        (report.revocation_status, report.reason)
    };
    let signer: &[u8] = &[0x10, 0x01];
    let not_revoked = (RevocationStatus::VerifiedNotRevoked, None);
    let revoked = (RevocationStatus::Revoked, Some(Reason::CertificateRevoked));
    let unknown = (RevocationStatus::Unknown, None);
    let stale = |revoked: &[&[u8]]| Crl { next_update: Some("260610000000Z".into()), ..crl(revoked) };

    assert_eq!(status(&[crl(&[])]), not_revoked);
    assert_eq!(status(&[crl(&[&[5], &[6]])]), not_revoked);
    assert_eq!(status(&[Crl { version: None, extensions: vec![], ..crl(&[&[5]]) }]), not_revoked, "version 1");
    assert_eq!(status(&[crl(&[&[5], signer])]), revoked);
    assert_eq!(status(&[stale(&[signer])]), revoked, "an entry counts in a stale list");
    assert_eq!(status(&[crl(&[]), stale(&[signer])]), revoked, "and beside a current list without it");
    assert_eq!(status(&[stale(&[])]), unknown);
    assert_eq!(status(&[]), unknown);
    assert_eq!(status(&[Crl { this_update: "260616000000Z".into(), ..crl(&[]) }]), unknown, "from the future");
    assert_eq!(status(&[Crl { next_update: None, ..crl(&[]) }]), unknown);
    assert_eq!(status(&[crl(&[&[1]])]), revoked, "the country signing certificate itself");
    let delta = extension("2.5.29.27", true, &int(1));
    assert_eq!(status(&[Crl { extensions: vec![delta.clone()], ..crl(&[]) }]), unknown, "a delta list's silence");
    assert_eq!(status(&[Crl { extensions: vec![delta], ..crl(&[signer]) }]), revoked);
    let strange = |critical| extension("1.2.3.4", critical, &int(1));
    assert_eq!(status(&[Crl { extensions: vec![strange(true)], ..crl(&[]) }]), unknown, "RFC 5280 section 5.2");
    assert_eq!(status(&[Crl { extensions: vec![strange(false)], ..crl(&[]) }]), not_revoked);
    assert_eq!(status(&[Crl { extensions: vec![strange(true)], ..crl(&[signer]) }]), revoked);
}

/// The chain is found by key identifier where names differ; the list stands under the authority's own name.
#[test]
fn a_list_under_the_authoritys_own_name_covers_signers_that_name_it_otherwise() {
    let status = |revoked: &[&[u8]]| {
        let mut document = Document::new();
        document.csca.subject = name("UT", "CSCA of another name");
        document.crls = vec![Crl { issuer: name("UT", "CSCA of another name"), ..crl(revoked) }.der()];
        let report = document.verify();
        assert!(report.deviations.contains(&Deviation::IssuerNameDiffers));
        (report.revocation_status, report.reason)
    };
    assert_eq!(status(&[]), (RevocationStatus::VerifiedNotRevoked, None));
    assert_eq!(status(&[&[0x10, 0x01]]), (RevocationStatus::Revoked, Some(Reason::CertificateRevoked)));
}

#[test]
fn revocation_lists_need_the_signature_of_their_issuer() {
    let document = Document::new();
    let mut builder = TrustStoreBuilder::new();
    builder.add_csca(&document.csca.der(), "test").unwrap();
    builder.add_crl(&Crl { key: p256(7), ..crl(&[&[0x10, 0x01]]) }.der(), "forged").unwrap();
    builder.add_crl(&Crl { issuer: name("XX", "CSCA"), ..crl(&[]) }.der(), "stranger").unwrap();
    assert!(matches!(builder.add_crl(b"\x30\x03\x02\x01\x01", "junk"), Err(TrustError::CrlMalformed(_))));
    assert!(matches!(builder.add_csca(b"junk", "junk"), Err(TrustError::CertificateMalformed(_))));
    let trust = builder.build(1);
    let problems: Vec<_> = trust.rejected_crls().iter().map(|crl| (crl.provenance.as_str(), crl.problem)).collect();
    assert_eq!(problems, [("forged", CrlProblem::SignatureInvalid), ("stranger", CrlProblem::IssuerUnknown)]);
    let sod = document.sod().der();
    document.with(&sod, |evidence| {
        let report = verify(evidence, &trust, &Policy::default(), NOW).report;
        assert_eq!((report.reason, report.revocation_status), (None, RevocationStatus::Unknown));
    });
    assert_eq!((trust.counts().crls, trust.counts().rejected_crls), (0, 2));
}

#[test]
fn content_of_signed_groups_is_checked_after_them() {
    let content = |dg1: Option<Vec<u8>>, dg2: Option<Vec<u8>>| {
        let mut document = Document::new();
        document.dg1 = dg1.unwrap_or(document.dg1);
        document.dg2 = dg2.unwrap_or(document.dg2);
        let report = document.verify();
        if report.reason.is_some() {
            assert_eq!(report.failed_gate(), Some(Gate::DocumentData));
            assert_eq!(report.gates.passive_authentication.result, GateResult::Passed);
            assert_eq!(report.gates.document_data, GateResult::Failed);
        }
        (report.reason, report.deviations)
    };
    let mut wrong_digit = Document::new().dg1;
    *wrong_digit.last_mut().unwrap() = b'A';
    assert!(matches!(content(Some(wrong_digit), None).0, Some(Reason::MrzCheckDigit(_))));
    assert!(matches!(content(Some(dg1("UTO", "740231", "330101")), None).0, Some(Reason::MrzDateImpossible(_))));
    assert_eq!(content(Some(tlv(0x61, &[0x5f, 0x1f, 0])), None).0, Some(Reason::MrzMalformed));
    assert_eq!(content(None, Some(dg2(b""))).0, Some(Reason::PortraitAbsent));
    assert_eq!(content(None, Some(dg2(b"GIF89a"))).0, Some(Reason::PortraitFormatUnsupported));
    assert_eq!(content(None, Some(tlv(0x75, b""))).0, Some(Reason::FaceRecordMalformed));
    for off in [-8, -1, 1, 8] {
        assert_eq!(content(None, Some(facial(0, JPEG, off))), (None, vec![Deviation::FaceRecordLengthOff]), "{off}");
    }
    assert_eq!(content(None, Some(facial(1, &jp2(), 0))), (None, vec![]));
    assert_eq!(content(None, Some(facial(1, CODESTREAM, 0))), (None, vec![]));
    assert_eq!(content(None, Some(facial(0, &jp2(), 0))), (None, vec![Deviation::FaceImageTypeDiffers]));
}

fn dg14(digest: Digest) -> Vec<u8> {
    let info = seq(&[&oid("2.23.136.1.1.5"), &int(1), &oid(plain_oid(digest))]);
    tlv(0x6e, &set(&[&info]))
}

#[test]
fn ecdsa_active_authentication_binds_the_challenge_to_the_chip() {
    for digest in Digest::ALL {
        for secret in [Secret::P256(9), Secret::P384(9), Secret::Bp256(9)] {
            let chip = Signer { scheme: Scheme::EcdsaPlain { digest }, ..ec(secret, digest) };
            let mut document = Document::new();
            document.dg14 = Some(dg14(digest));
            document.dg15 = Some(tlv(0x6f, &chip.spki()));
            assert_eq!(document.verify().reason, Some(Reason::ActiveAuthenticationMissing));
            document.answer = Some(chip.sign(&CHALLENGE));
            let report = document.verify();
            assert_eq!((report.reason, report.gates.active_authentication), (None, GateResult::Passed));
            // A replay of the answer to another challenge, another chip, junk.
            for wrong in [chip.sign(b"another!"), p256(10).sign(&CHALLENGE), vec![], vec![1; 64]] {
                document.answer = Some(wrong);
                let report = document.verify();
                assert_eq!(report.reason, Some(Reason::ActiveAuthenticationInvalid));
                assert_eq!(report.failed_gate(), Some(Gate::ActiveAuthentication));
                assert_eq!(report.gates.document_data, GateResult::Passed);
            }
            let portuguese = Signer { scheme: Scheme::Ecdsa { digest }, ..chip.clone() };
            document.answer = Some(portuguese.sign(&CHALLENGE));
            let report = document.verify();
            assert_eq!((report.reason, report.deviations), (None, vec![Deviation::ActiveAuthenticationDer]));
        }
    }
    let chip = Signer { scheme: Scheme::EcdsaPlain { digest: Digest::Sha256 }, ..p256(9) };
    let mut document = Document::new();
    document.dg15 = Some(tlv(0x6f, &chip.spki()));
    document.answer = Some(chip.sign(&CHALLENGE));
    let report = document.verify();
    assert_eq!((report.reason, report.deviations), (None, vec![Deviation::ActiveAuthenticationDigestUnnamed]));
    document.dg15 = None;
    assert_eq!(document.verify().reason, Some(Reason::ActiveAuthenticationUnbound));
    document.dg15 = Some(tlv(0x6f, &[0x30, 0]));
    assert_eq!(document.verify().reason, Some(Reason::ActiveAuthenticationKeyInvalid));
}

/// ISO/IEC 9796-2 scheme 1 by the chip's private key.
fn iso_9796_2(chip: &Signer, digest: Digest, trailer: &[u8], total: bool, pad: usize, complement: bool) -> Vec<u8> {
    let Secret::Rsa(key) = &chip.secret else { unreachable!() };
    let size = 256;
    let mut recovered = vec![0; size - 1 - pad - digest.size() - trailer.len()];
    ChaCha20Rng::seed_from_u64(3).fill_bytes(&mut recovered);
    let high = if total { 0x40 } else { 0x60 };
    let mut representative = match pad {
        0 => vec![high | 0x0a],
        _ => [&[high | 0x0b][..], &vec![0xbb; pad - 1], &[0xba]].concat(),
    };
    let hash = if total {
        let at = recovered.len() - 8;
        recovered[at..].copy_from_slice(&CHALLENGE);
        digest.compute(&[&recovered])
    } else {
        digest.compute(&[&recovered, &CHALLENGE])
    };
    representative.extend_from_slice(&recovered);
    representative.extend_from_slice(hash.as_ref());
    representative.extend_from_slice(trailer);
    assert_eq!(representative.len(), size);
    let number = rsa::BoxedUint::from_be_slice(&representative, 2048).unwrap();
    let signature = rsa::hazmat::rsa_decrypt::<ChaCha20Rng>(None, key.as_ref(), &number).unwrap();
    let signature = if complement {
        let n =
            rsa::BoxedUint::from_be_slice(&rsa::traits::PublicKeyParts::n(key.as_ref()).to_be_bytes(), 2048).unwrap();
        n.wrapping_sub(&signature)
    } else {
        signature
    };
    signature.to_be_bytes().to_vec()
}

#[test]
fn rsa_active_authentication_recovers_every_trailer() {
    let chip = rsa(2, Scheme::RsaPkcs1 { digest: Digest::Sha256 });
    let mut document = Document::new();
    document.dg15 = Some(tlv(0x6f, &chip.spki()));
    let sod = document.sod().der();
    for (digest, trailer) in [
        (Digest::Sha1, &[0xbc][..]),
        (Digest::Sha1, &[0x33, 0xcc]),
        (Digest::Sha224, &[0x38, 0xcc]),
        (Digest::Sha256, &[0x34, 0xcc]),
        (Digest::Sha384, &[0x36, 0xcc]),
        (Digest::Sha512, &[0x35, 0xcc]),
    ] {
        for total in [false, true] {
            for pad in [0, 1, 5] {
                for complement in [false, true] {
                    let answer = iso_9796_2(&chip, digest, trailer, total, pad, complement);
                    document.answer = Some(answer.clone());
                    let report = document.verify_sod(&sod);
                    assert_eq!(
                        (report.reason, report.gates.active_authentication),
                        (None, GateResult::Passed),
                        "{digest:?} {total} {pad}"
                    );
                    document.with(&sod, |evidence| {
                        let evidence = DocumentEvidence {
                            active_authentication: Some(ActiveAuthentication {
                                challenge: b"another!",
                                signature: &answer,
                            }),
                            sod: evidence.sod,
                            dg1: evidence.dg1,
                            dg2: evidence.dg2,
                            dg15: evidence.dg15,
                            ..Default::default()
                        };
                        let report = verify(&evidence, &document.trust(), &Policy::default(), NOW).report;
                        assert_eq!(report.reason, Some(Reason::ActiveAuthenticationInvalid), "a replay");
                    });
                }
            }
        }
    }
    for trailer in [&[0x31, 0xcc][..], &[0xcc], &[0x34, 0xbc]] {
        document.answer = Some(iso_9796_2(&chip, Digest::Sha256, trailer, false, 0, false));
        assert_eq!(document.verify_sod(&sod).reason, Some(Reason::ActiveAuthenticationInvalid));
    }
    for wrong in [vec![], vec![0; 256], vec![0xff; 256], vec![1; 300]] {
        document.answer = Some(wrong);
        assert_eq!(document.verify_sod(&sod).reason, Some(Reason::ActiveAuthenticationInvalid));
    }
    let answer = iso_9796_2(&chip, Digest::Sha256, &[0x34, 0xcc], false, 0, false);
    document.answer = Some([&[0, 0][..], &answer].concat());
    assert_eq!(document.verify_sod(&sod).reason, None, "leading zeros do not change a number");
    for length in [0, 7, 9] {
        document.with(&sod, |evidence| {
            let evidence = DocumentEvidence {
                active_authentication: Some(ActiveAuthentication { challenge: &[1; 9][..length], signature: &answer }),
                sod: evidence.sod,
                dg1: evidence.dg1,
                dg2: evidence.dg2,
                dg15: evidence.dg15,
                ..Default::default()
            };
            let report = verify(&evidence, &document.trust(), &Policy::default(), NOW).report;
            assert_eq!(report.reason, Some(Reason::ActiveAuthenticationChallenge));
        });
    }
}

#[test]
fn a_modulus_without_its_sign_octet_is_read_as_positive_and_reported() {
    let chip = rsa(2, Scheme::RsaPkcs1 { digest: Digest::Sha256 });
    let Secret::Rsa(key) = &chip.secret else { unreachable!() };
    let modulus = tlv(2, &rsa::traits::PublicKeyParts::n(key.as_ref()).to_be_bytes());
    let numbers = seq(&[&modulus, &int(65_537)]);
    let spki = seq(&[&seq(&[&oid("1.2.840.113549.1.1.1"), NULL]), &bits(&numbers)]);
    let mut document = Document::new();
    document.dg15 = Some(tlv(0x6f, &spki));
    document.answer = Some(iso_9796_2(&chip, Digest::Sha256, &[0x34, 0xcc], false, 0, false));
    let report = document.verify();
    assert_eq!((report.reason, report.deviations), (None, vec![Deviation::RsaModulusNegative]));
    let accepted = Policy::default().accepted.without(Deviation::RsaModulusNegative);
    let report = document.verify_under(&document.sod().der(), &Policy { accepted, ..Policy::default() });
    assert_eq!(report.reason, Some(Reason::ActiveAuthenticationKeyInvalid));
}

#[test]
fn a_chip_authentication_transcript_is_never_passed_over() {
    let document = Document::new();
    let sod = document.sod().der();
    document.with(&sod, |evidence| {
        let transcript = ChipAuthentication {
            terminal: Terminal::Integrator,
            terminal_private_key: &[1; 32],
            terminal_public_key: &[4; 65],
            protected_response: &[0; 16],
            send_sequence_counter: &[0; 16],
        };
        let evidence = DocumentEvidence {
            sod: evidence.sod,
            dg1: evidence.dg1,
            dg2: evidence.dg2,
            chip_authentication: Some(ChipTranscript::Version1(transcript)),
            ..Default::default()
        };
        let report = verify(&evidence, &document.trust(), &Policy::default(), NOW).report;
        assert_eq!(report.reason, Some(Reason::ChipAuthenticationUnbound));
        assert_eq!(report.gates.chip_authentication, GateResult::Failed);
        assert_eq!(report.chip_authentication_terminal, Some(Terminal::Integrator));
    });
    let mut offered = Document::new();
    let info = seq(&[&oid("0.4.0.127.0.7.2.2.3.2.2"), &int(1)]);
    offered.dg14 = Some(tlv(0x6e, &set(&[&info])));
    assert_eq!(
        offered.verify().gates.chip_authentication,
        GateResult::NotRun,
        "offered and not run: the caller's policy decides"
    );
}

#[test]
fn minted_structures_are_what_other_libraries_read() {
    use cms::{content_info::ContentInfo, signed_data::SignedData};
    use der::{Decode, Encode};
    let document = Document::new();
    let mut sod = document.sod();
    sod.wrapped = false;
    let info = ContentInfo::from_der(&sod.der()).unwrap();
    let data: SignedData = info.content.decode_as().unwrap();
    assert_eq!(data.encap_content_info.econtent.unwrap().value(), sod.content());
    let certificate = x509_cert::Certificate::from_der(&document.dsc.der()).unwrap();
    assert_eq!(certificate.tbs_certificate().serial_number().as_bytes(), &[0x10, 0x01]);
    assert_eq!(certificate.to_der().unwrap(), document.dsc.der());
    x509_cert::crl::CertificateList::<x509_cert::certificate::Rfc5280>::from_der(&crl(&[&[5]]).der()).unwrap();
}

#[test]
fn evidence_cut_anywhere_is_refused() {
    let mut document = Document::new();
    document.dg14 = Some(dg14(Digest::Sha256));
    document.dg15 = Some(tlv(0x6f, &p256(9).spki()));
    document.answer =
        Some(Signer { scheme: Scheme::EcdsaPlain { digest: Digest::Sha256 }, ..p256(9) }.sign(&CHALLENGE));
    let trust = document.trust();
    for encoding in [Encoding::Der, Encoding::Ber] {
        let sod = turned_sod(&document, |sod| sod.encoding = encoding);
        document.with(&sod, |whole| {
            assert_eq!(verify(whole, &trust, &Policy::default(), NOW).report.reason, None);
            let cut = |edit: &dyn Fn(&mut DocumentEvidence<'_>)| {
                let mut evidence = DocumentEvidence {
                    sod: whole.sod,
                    dg1: whole.dg1,
                    dg2: whole.dg2,
                    dg14: whole.dg14,
                    dg15: whole.dg15,
                    active_authentication: Some(ActiveAuthentication {
                        challenge: &CHALLENGE,
                        signature: document.answer.as_deref().unwrap(),
                    }),
                    ..Default::default()
                };
                edit(&mut evidence);
                assert!(!verify(&evidence, &trust, &Policy::default(), NOW).report.is_valid());
            };
            for end in 0..sod.len() {
                cut(&|evidence| evidence.sod = &evidence.sod[..end]);
            }
            for end in 0..document.dg1.len() {
                cut(&|evidence| evidence.dg1 = Some(&evidence.dg1.unwrap()[..end]));
            }
            for end in 0..document.dg2.len() {
                cut(&|evidence| evidence.dg2 = Some(&evidence.dg2.unwrap()[..end]));
            }
            for end in 0..document.dg15.as_ref().unwrap().len() {
                cut(&|evidence| evidence.dg15 = Some(&evidence.dg15.unwrap()[..end]));
            }
        });
    }
}

#[test]
fn no_changed_octet_of_the_sod_goes_unnoticed() {
    let document = Document::new();
    let sod = document.sod().der();
    let trust = document.trust();
    let mut unnoticed = Vec::new();
    for at in 0..sod.len() {
        for flip in [0x01, 0x80] {
            let mut mutant = sod.clone();
            mutant[at] ^= flip;
            document.with(&mutant, |evidence| {
                let report = verify(evidence, &trust, &Policy::default(), NOW).report;
                // The name of the signer's issuer in other letters is the same name.
                if report.is_valid() && report.deviations != [Deviation::NameEncodingDiffers] {
                    unnoticed.push(at);
                }
            });
        }
    }
    assert_eq!(unnoticed, [0usize; 0], "every octet is signed, required, or of a name");
}

#[test]
fn groups_signed_with_hostile_content_are_parsed_without_panic() {
    // Signed, so that the parsers behind passive authentication see the bytes.
    let genuine = Document::new();
    for end in 3..genuine.dg2.len().min(120) {
        let mut document = Document::new();
        document.dg2 = tlv(0x75, &genuine.dg2[2..end.max(2)]);
        let _ = document.verify();
        let mut document = Document::new();
        document.dg1 = tlv(0x61, &genuine.dg1[2..end.min(genuine.dg1.len())]);
        let _ = document.verify();
    }
    for at in 0..genuine.dg2.len() {
        let mut document = Document::new();
        document.dg2[at] ^= 0xff;
        let _ = document.verify();
    }
}

#[test]
fn large_hostile_input_is_answered() {
    let trust = Document::new().trust();
    let deep: Vec<u8> = [0x30, 0x80].repeat(30_000);
    let wide = tlv(0x77, &tlv(0x30, &[5, 0].repeat(30_000)));
    let many_sets = tlv(0x77, &[&[0x30, 0x80][..], &[0x31, 0x80, 0, 0].repeat(15_000), &[0, 0]].concat());
    for sod in [&deep[..], &wide, &many_sets] {
        let evidence = DocumentEvidence { sod, ..Default::default() };
        assert!(!verify(&evidence, &trust, &Policy::default(), NOW).report.is_valid());
        assert!(!inspect(&evidence, &trust, &Policy::lenient(), NOW).report.is_valid());
    }
    let mut builder = TrustStoreBuilder::new();
    assert!(builder.add_csca(&deep, "deep").is_err());
    assert!(builder.add_crl(&tlv(0x30, &[0x30, 0].repeat(30_000)), "wide").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_evidence_is_refused_without_panic(
        parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 5),
        tagged in any::<bool>(),
    ) {
        let trust = TrustStoreBuilder::new().build(1);
        let wrap = |tag: u8, body: &[u8]| if tagged { tlv(tag, body) } else { body.to_vec() };
        let (sod, dg1, dg2, dg14, dg15) = (
            wrap(0x77, &parts[0]), wrap(0x61, &parts[1]), wrap(0x75, &parts[2]), wrap(0x6e, &parts[3]), wrap(0x6f, &parts[4]),
        );
        let evidence = DocumentEvidence {
            sod: &sod, dg1: Some(&dg1), dg2: Some(&dg2), dg14: Some(&dg14), dg15: Some(&dg15),
            active_authentication: Some(ActiveAuthentication { challenge: &parts[0], signature: &parts[1] }),
            ..Default::default()
        };
        prop_assert!(!verify(&evidence, &trust, &Policy::default(), NOW).report.is_valid());
        prop_assert!(!inspect(&evidence, &trust, &Policy::lenient(), NOW).report.is_valid());
        let _ = proofmill_emrtd::portrait(&parts[2]);
        let _ = proofmill_emrtd::recovered_message_holds(&parts[3], &parts[4]);
        let _ = proofmill_emrtd::crypto::key::PublicKey::from_spki(&parts[4]);
        let mut builder = TrustStoreBuilder::new();
        prop_assert!(builder.add_csca(&sod, "random").is_err());
        prop_assert!(builder.add_crl(&sod, "random").is_err());
    }

    #[test]
    fn random_changes_to_a_genuine_document_never_panic_nor_pass_silently(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let document = Document::new();
        let genuine = document.sod().der();
        let mut sod = genuine.clone();
        for (index, value) in &changes {
            let at = index.index(sod.len());
            sod[at] = *value;
        }
        let report = document.verify_sod(&sod);
        if report.is_valid() && report.deviations.is_empty() {
            prop_assert_eq!(sod, genuine);
        }
    }
}
