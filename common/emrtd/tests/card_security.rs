//! EF.CardSecurity, and PACE with chip authentication mapping: what is signed, trusted and the
//! document's own holds, and each forgery fails for its own reason.
#![allow(clippy::unwrap_used, missing_docs)]

mod mint;

use mint::*;
use p256::elliptic_curve::ff::{Field, PrimeField};
use proofmill_emrtd::{
    CardSecurityProblem, CardSecurityReport, ChipAuthentication, ChipAuthenticationMapping, ChipTranscript, Deviation,
    DeviationSet, DocumentEvidence, Gate, GateResult, Part, Policy, Reason, Report, RevocationStatus,
    SigningTimeSource, Terminal, TrustStore, TrustStoreBuilder, UnixTime, describe_security_infos,
    inspect_card_security, verify, verify_chip_authentication, verify_chip_authentication_with_card_security,
};

/// 2026-06-15T12:00:00Z
const NOW: UnixTime = UnixTime(1_781_524_800);

const SECURITY_OBJECT: &str = "0.4.0.127.0.7.3.2.1";
/// Seeds: of the authority, the signer, the chip and the chip's ephemeral key of the mapping.
const CSCA: u8 = 1;
const DSC: u8 = 2;
const CHIP: u8 = 3;
const MAPPING: u8 = 4;

fn pace_info(mapping: u8, cipher: u8, parameters: u64) -> Vec<u8> {
    seq(&[&oid(&format!("0.4.0.127.0.7.2.2.4.{mapping}.{cipher}")), &int(2), &int(parameters)])
}

/// The key of a chip, on P-256 by its standardised number.
fn key_info(seed: u8, identifier: Option<u64>) -> Vec<u8> {
    let spki = seq(&[&seq(&[&oid("0.4.0.127.0.7.1.2"), &int(12)]), &bits(&p256(seed).point())]);
    chip_key_info(2, &spki, identifier)
}

/// What a chip says in both files.
fn infos(chip: u8) -> Vec<Vec<u8>> {
    vec![pace_info(6, 4, 12), chip_protocol_info(2, 4, 1, Some(12)), key_info(chip, Some(12))]
}

fn dsc() -> Certificate {
    Certificate::dsc("UT", &p256(DSC), &p256(CSCA))
}

fn signed_by(signer: &Certificate, infos: &[Vec<u8>]) -> Sod {
    Sod {
        wrapped: false,
        content_type: SECURITY_OBJECT.into(),
        content_type_attribute: SECURITY_OBJECT.into(),
        other_content: Some(tlv(0x31, &infos.concat())),
        ..Sod::new(signer, &[])
    }
}

fn card_security(chip: u8) -> Vec<u8> {
    signed_by(&dsc(), &infos(chip)).der()
}

fn builder() -> TrustStoreBuilder {
    let mut builder = TrustStoreBuilder::new();
    builder.add_csca(&Certificate::csca("UT", &p256(CSCA)).der(), "test").unwrap();
    builder
}

fn inspect(file: &[u8]) -> CardSecurityReport {
    inspect_card_security(file, &builder().build(1), &Policy::default(), NOW)
}

fn problem(file: &[u8]) -> Option<CardSecurityProblem> {
    match inspect(file).reason {
        None => None,
        Some(Reason::CardSecurity(problem)) => Some(problem),
        Some(other) => panic!("{other}"),
    }
}

// -- the file alone

#[test]
fn a_signed_file_is_described() {
    let report = inspect(&card_security(CHIP));
    assert_eq!(report.reason, None);
    assert!(report.is_valid());
    assert_eq!((report.gates.signature, report.gates.chain), (GateResult::Passed, GateResult::Passed));
    assert_eq!(report.gates.revocation, GateResult::NotRun);
    assert_eq!(report.revocation_status, RevocationStatus::Unknown);
    assert_eq!(report.signing_time, SigningTimeSource::SignedAttribute);
    assert_eq!(report.signature_algorithm.as_deref(), Some("ecdsa_sha256/P-256"));
    assert_eq!(report.deviations, []);
    let said: Vec<_> = report
        .security_infos
        .iter()
        .map(|info| (info.protocol.as_str(), info.version, info.identifier, info.domain.as_deref()))
        .collect();
    let expected = [
        ("id-PACE-ECDH-CAM-AES-CBC-CMAC-256", Some(2), Some(12), Some("P-256")),
        ("id-CA-ECDH-AES-CBC-CMAC-256", Some(1), Some(12), None),
        ("id-PK-ECDH", None, Some(12), Some("P-256")),
    ];
    assert_eq!(said, expected);
    assert_eq!(report.security_infos[0].object_identifier, "0.4.0.127.0.7.2.2.4.6.4");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["reason"], &json["gates"]["chain"]), (&serde_json::Value::Null, &"passed".into()));
    assert_eq!(json["security_infos"][1].get("domain"), None);
    assert_eq!(describe_security_infos(&security_infos(&infos(CHIP))), Ok(report.security_infos));
}

#[test]
fn infos_of_every_kind_are_named() {
    let algorithm = seq(&[&oid("0.4.0.127.0.7.1.2"), &int(13)]);
    let infos = [
        seq(&[&oid("2.23.136.1.1.5"), &int(1), &oid(plain_oid(proofmill_emrtd::crypto::digest::Digest::Sha384))]),
        seq(&[&oid("2.23.136.1.1.5"), &int(1), &oid("1.2.840.10045.4.3.2")]),
        seq(&[&oid("2.23.136.1.1.5"), &int(1), &oid("1.2.3")]),
        seq(&[&oid("0.4.0.127.0.7.2.2.2"), &int(1)]),
        seq(&[&oid("0.4.0.127.0.7.2.2.3.1.1"), &int(1)]),
        seq(&[&oid("0.4.0.127.0.7.2.2.3.2"), &algorithm, &int(7)]),
        seq(&[&oid("0.4.0.127.0.7.2.2.4.2"), &algorithm]),
        pace_info(1, 2, 2),
        pace_info(4, 2, 99),
        seq(&[&oid("2.23.136.1.1.13"), &octets(b"EF.DIR")]),
        seq(&[&oid("0.4.0.127.0.7.2.2.6"), &tlv(0x16, b"http://")]),
        seq(&[&oid("1.2.3.4"), &int(9)]),
        chip_key_info(2, &seq(&[&seq(&[&oid("0.4.0.127.0.7.1.2"), &int(12)]), &bits(&[0])]), None),
        chip_key_info(1, &seq(&[&seq(&[&oid("0.4.0.127.0.7.1.2"), &int(99)]), &bits(&int(5))]), None),
        chip_key_info(2, &p256(3).spki(), None),
    ];
    let described = describe_security_infos(&security_infos(&infos)).unwrap();
    let said: Vec<_> = described
        .iter()
        .map(|info| {
            let detail = info.domain.as_deref().or(info.signature_algorithm.as_deref()).unwrap_or_default();
            (info.protocol.as_str(), info.version, info.identifier, detail)
        })
        .collect();
    let active = "id-icao-mrtd-security-aaProtocolObject";
    let expected = [
        (active, Some(1), None, "ecdsa_plain_sha384"),
        (active, Some(1), None, "ecdsa_sha256"),
        (active, Some(1), None, "1.2.3"),
        ("id-TA", Some(1), None, ""),
        ("id-CA-DH-3DES-CBC-CBC", Some(1), None, ""),
        ("id-CA-ECDH", None, Some(7), "brainpoolP256r1"),
        ("id-PACE-ECDH-GM", None, None, "brainpoolP256r1"),
        ("id-PACE-DH-GM-AES-CBC-CMAC-128", Some(2), Some(2), "RFC 5114 section 2.3"),
        ("id-PACE-ECDH-IM-AES-CBC-CMAC-128", Some(2), Some(99), ""),
        ("id-EFDIR", None, None, ""),
        ("id-CI", None, None, ""),
        ("1.2.3.4", Some(9), None, ""),
        ("id-PK-ECDH", None, None, "chip_authentication_key_invalid"),
        ("id-PK-DH", None, None, "chip_authentication_group_unknown"),
        ("id-PK-ECDH", None, None, "P-256"),
    ];
    assert_eq!(said, expected);
    for broken in
        [&[][..], &[0x6e, 0], &[0x6e, 2, 0x31, 1], &tlv(0x6e, &set(&[&int(1)])), &tlv(0x6e, &set(&[&seq(&[])]))]
    {
        assert_eq!(describe_security_infos(broken), Err(Reason::ChipAuthenticationInfoMalformed));
    }
}

#[test]
fn only_a_trusted_signature_over_security_infos_holds() {
    let sod = signed_by(&dsc(), &infos(CHIP));
    let turned = |turn: &dyn Fn(&mut Sod)| {
        let mut other = sod.clone();
        turn(&mut other);
        problem(&other.der())
    };
    use CardSecurityProblem::*;
    assert_eq!(turned(&|_| ()), None);
    assert_eq!(turned(&|sod| sod.wrapped = true), Some(Malformed), "the SOD's wrapper");
    assert_eq!(turned(&|sod| sod.version = 4), Some(VersionUnsupported));
    assert_eq!(turned(&|sod| sod.content_type = LDS.into()), Some(ContentTypeUnexpected));
    assert_eq!(turned(&|sod| sod.content_type_attribute = LDS.into()), Some(ContentMismatch));
    assert_eq!(turned(&|sod| sod.message_digest = Some(vec![0; 32])), Some(ContentMismatch));
    assert_eq!(turned(&|sod| sod.encoding = Encoding::Ber), Some(Malformed), "no DER");
    assert_eq!(turned(&|sod| sod.certificates.clear()), Some(SignerCertificateNotFound));
    assert_eq!(turned(&|sod| sod.key = p256(9)), Some(SignatureInvalid));
    assert_eq!(turned(&|sod| sod.signing_time = Some("220101000000Z".into())), Some(SignedOutsideValidity));
    assert_eq!(turned(&|sod| sod.signing_time = Some("270101000000Z".into())), Some(SigningTimeImplausible));
    assert_eq!(turned(&|sod| sod.signing_time = None), None);
    assert_eq!(turned(&|sod| sod.attribute_order = AttributeOrder::UnsortedAfterSigning), Some(SignatureInvalid));
    for content in [
        vec![],
        int(1),
        set(&[&int(1)]),
        set(&[&seq(&[])]),
        seq(&infos(CHIP).iter().map(|info| &info[..]).collect::<Vec<_>>()),
    ] {
        assert_eq!(turned(&|sod| sod.other_content = Some(content.clone())), Some(SecurityInfosMalformed));
    }
    let trailing = [tlv(0x31, &infos(CHIP).concat()), vec![0]].concat();
    assert_eq!(turned(&|sod| sod.other_content = Some(trailing.clone())), Some(SecurityInfosMalformed));
    let file = sod.der();
    assert_eq!(problem(&[&file[..], &[0]].concat()), Some(TrailingData));
    for end in 0..file.len() {
        assert!(problem(&file[..end]).is_some(), "cut at {end}");
    }
    assert_eq!(problem(&tlv(0x30, &vec![0; 70_000])), Some(Malformed), "larger than any");
}

#[test]
fn no_changed_octet_changes_what_is_said() {
    let file = card_security(CHIP);
    let said = inspect(&file).security_infos;
    let mut harmless = 0;
    for at in 0..file.len() {
        for mask in [0x01, 0x80] {
            let mut other = file.clone();
            other[at] ^= mask;
            let report = inspect(&other);
            if report.is_valid() {
                // Only what the signature does not cover: the list of digests, and the choice of certificates.
                assert_eq!(report.security_infos, said, "octet {at}");
                harmless += 1;
            }
        }
    }
    assert!(harmless < 40, "{harmless} of {}", 2 * file.len());
}

#[test]
fn signers_are_judged_as_those_of_sods_are() {
    use CardSecurityProblem::*;
    let by = |change: &dyn Fn(&mut Certificate)| {
        let mut signer = dsc();
        change(&mut signer);
        problem(&signed_by(&signer, &infos(CHIP)).der())
    };
    assert_eq!(by(&|_| ()), None);
    assert_eq!(by(&|signer| signer.issuer_key = p256(9)), Some(ChainNotTrusted), "nobody's signer");
    assert_eq!(
        by(&|signer| signer.subject = name("XX", "Document Signer")),
        Some(ChainNotTrusted),
        "another country's"
    );
    assert_eq!(by(&|signer| signer.extensions[0] = key_usage(0x02)), Some(ChainNotTrusted), "may not sign");
    assert_eq!(by(&|signer| signer.not_before = "250701000000Z".into()), Some(SignedOutsideValidity));
    // It signed while it was valid.
    assert_eq!(by(&|signer| signer.not_after = "260101000000Z".into()), None);

    let crl = |revoked: Vec<Vec<u8>>| {
        let mut builder = builder();
        let list = Crl {
            version: Some(1),
            issuer: name("UT", "CSCA"),
            key: p256(CSCA),
            this_update: "260601000000Z".into(),
            next_update: Some("260901000000Z".into()),
            revoked,
            extensions: vec![],
        };
        builder.add_crl(&list.der(), "test").unwrap();
        inspect_card_security(&card_security(CHIP), &builder.build(1), &Policy::default(), NOW)
    };
    let revoked = crl(vec![dsc().serial]);
    assert_eq!(revoked.reason, Some(Reason::CardSecurity(CertificateRevoked)));
    assert_eq!((revoked.gates.revocation, revoked.gates.chain), (GateResult::Failed, GateResult::Passed));
    let not_revoked = crl(vec![vec![7]]);
    assert_eq!((not_revoked.reason, not_revoked.gates.revocation), (None, GateResult::Passed));
}

#[test]
fn a_strict_policy_refuses_unknown_revocation_and_every_deviation() {
    let strict = |policy: Policy, sod: &Sod| inspect_card_security(&sod.der(), &builder().build(1), &policy, NOW);
    let plain = signed_by(&dsc(), &infos(CHIP));
    let unknown = Some(Reason::CardSecurity(CardSecurityProblem::RevocationUnknown));
    assert_eq!(strict(Policy::strict(), &plain).reason, unknown);
    let unsorted = Sod { attribute_order: AttributeOrder::Unsorted, ..plain };
    let report = strict(Policy::default(), &unsorted);
    assert_eq!((report.reason, report.deviations), (None, vec![Deviation::SignedAttributesUnsorted]));
    let report = strict(Policy::strict(), &unsorted);
    assert_eq!(report.reason, Some(Reason::CardSecurity(CardSecurityProblem::DeviationRefused)));
    assert_eq!(report.deviations, [Deviation::SignedAttributesUnsorted]);
}

// -- PACE with chip authentication mapping

/// Mapping key and data of a genuine chip: the ephemeral private key divided by the static one.
fn mapping_of(chip: u8) -> (Vec<u8>, Vec<u8>) {
    let scalar = |seed: u8| p256::Scalar::from_repr([seed; 32].into()).unwrap();
    let data = scalar(MAPPING) * Field::invert(&scalar(chip)).unwrap();
    (p256(MAPPING).point(), data.to_repr().to_vec())
}

struct Document {
    dg1: Vec<u8>,
    dg2: Vec<u8>,
    dg14: Option<Vec<u8>>,
    card_security: Option<Vec<u8>>,
    trust: TrustStore,
}

impl Document {
    fn new() -> Document {
        Document {
            dg1: dg1("UTO", "740812", "330101"),
            dg2: dg2(JPEG),
            dg14: Some(security_infos(&infos(CHIP))),
            card_security: Some(card_security(CHIP)),
            trust: builder().build(1),
        }
    }

    fn report(&self, transcript: Option<ChipTranscript<'_>>) -> Report {
        self.report_under(&Policy::default(), transcript)
    }

    fn report_under(&self, policy: &Policy, transcript: Option<ChipTranscript<'_>>) -> Report {
        let mut groups = vec![(1, &self.dg1[..]), (2, &self.dg2[..])];
        groups.extend(self.dg14.as_ref().map(|dg14| (14, &dg14[..])));
        let sod = Sod::new(&dsc(), &groups).der();
        let evidence = DocumentEvidence {
            sod: &sod,
            dg1: Some(&self.dg1),
            dg2: Some(&self.dg2),
            dg14: self.dg14.as_deref(),
            chip_authentication: transcript,
            card_security: self.card_security.as_deref(),
            ..Default::default()
        };
        verify(&evidence, &self.trust, policy, NOW).report
    }

    fn mapped(&self, mapping_public_key: &[u8], chip_authentication_data: &[u8]) -> Report {
        let mapping = ChipAuthenticationMapping { mapping_public_key, chip_authentication_data };
        self.report(Some(ChipTranscript::PaceMapping(mapping)))
    }

    fn reason(&self) -> Option<Reason> {
        let (key, data) = mapping_of(CHIP);
        self.mapped(&key, &data).reason
    }
}

#[test]
fn a_mapping_under_the_documents_own_signed_key_passes_as_an_integrators() {
    let document = Document::new();
    let (key, data) = mapping_of(CHIP);
    let report = document.mapped(&key, &data);
    assert_eq!((report.reason, report.deviations), (None, vec![]));
    assert_eq!(report.gates.chip_authentication, GateResult::Passed);
    assert_eq!(report.chip_authentication_terminal, Some(Terminal::Integrator), "no value of it was ours");
    // The encoding of the key plays no part, nor do zeros before the data.
    let compressed = [&[2 + (key[64] & 1)][..], &key[1..33]].concat();
    assert_eq!(document.mapped(&compressed, &[&[0], &data[..]].concat()).reason, None);
}

#[test]
fn a_mapping_needs_a_trusted_card_security_with_the_documents_key() {
    use CardSecurityProblem::*;
    let with = |card_security: Option<Vec<u8>>| Document { card_security, ..Document::new() }.reason();
    assert_eq!(with(None), Some(Reason::CardSecurityMissing));
    // Another genuine chip's file, which would bring that chip's key.
    assert_eq!(with(Some(card_security(8))), Some(Reason::ChipAuthenticationInvalid));
    // Nobody's signature, no signature, no keys.
    let nobody = Certificate { issuer_key: p256(9), ..dsc() };
    let forged = signed_by(&nobody, &infos(CHIP)).der();
    assert_eq!(with(Some(forged)), Some(Reason::CardSecurity(ChainNotTrusted)));
    let plain = tlv(0x31, &infos(CHIP).concat());
    assert_eq!(with(Some(plain)), Some(Reason::PartMalformed(Part::CardSecurity)));
    let keyless = signed_by(&dsc(), &infos(CHIP)[..2]).der();
    assert_eq!(with(Some(keyless)), Some(Reason::ChipAuthenticationUnbound));
    let trailing = [card_security(CHIP), vec![0]].concat();
    assert_eq!(with(Some(trailing)), Some(Reason::PartTrailingData(Part::CardSecurity)));
    let large = tlv(0x30, &vec![0; 70_000]);
    assert_eq!(with(Some(large)), Some(Reason::PartTooLarge(Part::CardSecurity)));
    // Both files must have the key, and in the same domain.
    let (key, data) = mapping_of(CHIP);
    let without_key = Document { dg14: Some(security_infos(&infos(CHIP)[..2])), ..Document::new() };
    assert_eq!(without_key.mapped(&key, &data).deviations, [Deviation::CardSecurityKeyNotInDg14]);
    assert_eq!(Document { dg14: None, ..Document::new() }.reason(), Some(Reason::ChipAuthenticationUnbound));
    // Written otherwise it is the same key.
    let explicit = Signer { explicit: Some(Parameters::default()), ..p256(CHIP) };
    let explicit = security_infos(&[chip_key_info(2, &explicit.spki(), None)]);
    assert_eq!(Document { dg14: Some(explicit), ..Document::new() }.reason(), None);
}

/// Germany keeps the key of the mapping out of DG14: it holds, as an integrator's word, and the report says what it lacks.
#[test]
fn a_key_outside_dg14_is_reported_and_refused_by_the_strict_policy() {
    let apart = [key_info(8, Some(13)), key_info(9, Some(72))];
    let document = Document { card_security: Some(signed_by(&dsc(), &apart).der()), ..Document::new() };
    let (key, data) = mapping_of(8);
    let report = |policy: &Policy, key: &[u8], data: &[u8]| {
        let mapping = ChipAuthenticationMapping { mapping_public_key: key, chip_authentication_data: data };
        document.report_under(policy, Some(ChipTranscript::PaceMapping(mapping)))
    };
    let not_in_dg14 = Deviation::CardSecurityKeyNotInDg14;
    for policy in [Policy::default(), Policy::lenient()] {
        let held = report(&policy, &key, &data);
        assert_eq!((held.reason, held.deviations), (None, vec![not_in_dg14]));
        // It must hold all the same.
        let (other, _) = mapping_of(9);
        assert_eq!(report(&policy, &key, &[1; 32]).reason, Some(Reason::ChipAuthenticationInvalid));
        assert_eq!(report(&policy, &other[..33], &data).reason, Some(Reason::ChipAuthenticationTranscriptMalformed));
    }
    let policy = Policy { accepted: Policy::default().accepted.without(not_in_dg14), ..Policy::default() };
    let refused = report(&policy, &key, &data);
    assert_eq!(refused.reason, Some(Reason::ChipAuthenticationUnbound));
    assert_eq!(refused.deviations, [not_in_dg14], "the report says that it holds, but for that");
}

#[test]
fn a_mapping_is_looked_at_with_its_card_security_alone() {
    let (key, data) = mapping_of(8);
    let mapping = |data| ChipAuthenticationMapping { mapping_public_key: &key, chip_authentication_data: data };
    let look = |dg14: Option<&[u8]>, file: &[u8], data| {
        verify_chip_authentication_with_card_security(dg14, file, &ChipTranscript::PaceMapping(mapping(data)))
    };
    let file = card_security(8);
    assert_eq!(look(None, &file, &data), Ok(DeviationSet::EMPTY));
    let other = DeviationSet::EMPTY.with(Deviation::CardSecurityKeyNotInDg14);
    assert_eq!(look(Some(&security_infos(&infos(CHIP))), &file, &data), Ok(other));
    assert_eq!(look(Some(&security_infos(&infos(8))), &file, &data), Ok(DeviationSet::EMPTY));
    assert_eq!(look(None, &file, &[1; 32]), Err(Reason::ChipAuthenticationInvalid));
    assert_eq!(look(None, &card_security(CHIP), &data), Err(Reason::ChipAuthenticationInvalid));
    let cut = Reason::CardSecurity(CardSecurityProblem::Malformed);
    assert_eq!(look(None, &file[..file.len() - 1], &data), Err(cut));
}

#[test]
fn another_countrys_card_security_is_refused_even_with_the_right_key() {
    let mut builder = builder();
    builder.add_csca(&Certificate::csca("XX", &p256(6)).der(), "test").unwrap();
    let signer = Certificate::dsc("XX", &p256(7), &p256(6));
    let document = Document {
        card_security: Some(signed_by(&signer, &infos(CHIP)).der()),
        trust: builder.build(1),
        ..Document::new()
    };
    assert_eq!(document.reason(), Some(Reason::CardSecurity(CardSecurityProblem::CountryMismatch)));
    // Of the same country another signer may have signed it.
    let other = Certificate { serial: vec![9], ..Certificate::dsc("UT", &p256(7), &p256(CSCA)) };
    let document = Document { card_security: Some(signed_by(&other, &infos(CHIP)).der()), ..Document::new() };
    assert_eq!(document.reason(), None);
}

#[test]
fn forged_mappings_fail() {
    let document = Document::new();
    let (key, data) = mapping_of(CHIP);
    let reason = |key: &[u8], data: &[u8]| document.mapped(key, data).reason;
    let invalid = Some(Reason::ChipAuthenticationInvalid);
    let malformed = Some(Reason::ChipAuthenticationTranscriptMalformed);
    for at in 0..data.len() {
        let mut other = data.clone();
        other[at] ^= 1;
        assert_eq!(reason(&key, &other), invalid, "octet {at}");
    }
    for at in 0..key.len() {
        let mut other = key.clone();
        other[at] ^= 1;
        assert_eq!(reason(&other, &data), malformed, "octet {at}: off the curve, or no encoding");
    }
    // Another chip's mapping; the static key itself; the other point with the same x.
    let (other_key, other_data) = mapping_of(8);
    assert_eq!(reason(&other_key, &other_data), invalid);
    assert_eq!(reason(&p256(CHIP).point(), &data), invalid);
    let negative = [&[3 - (key[64] & 1)][..], &key[1..33]].concat();
    assert_eq!(reason(&negative, &data), invalid);
    // Infinity, nothing, points of other curves, and of small order on none.
    let small = [&[4][..], &[0; 31], &[1], &[0; 32]].concat();
    let other_curve = ec(Secret::Bp256(5), proofmill_emrtd::crypto::digest::Digest::Sha256).point();
    let larger = ec(Secret::P384(5), proofmill_emrtd::crypto::digest::Digest::Sha256).point();
    for bad in [&[0][..], &[], &[4], &small, &other_curve, &larger] {
        assert_eq!(reason(bad, &data), malformed);
    }
    // Zero, the order, and beyond it.
    let n = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    for bad in [&[][..], &[0], &[0; 32], &n, &[0xff; 32], &[&[1], &data[..]].concat()] {
        assert_eq!(reason(&key, bad), malformed);
    }
    let report = document.mapped(&key, &n);
    assert_eq!(
        (report.failed_gate(), report.gates.chip_authentication),
        (Some(Gate::ChipAuthentication), GateResult::Failed)
    );
}

#[test]
fn a_mapping_holds_on_every_curve() {
    // Curve, a private key, its point, another point, and x of their product: the other point is the chip's key, the
    // private key the data, and one of the two points with this x the mapping key.
    const CURVES: &str = include_str!("../src/crypto/key_agreement_vectors.txt");
    let mut held = 0;
    for line in CURVES.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [data, _, chip, x] = [1, 2, 3, 4].map(|at: usize| hex::decode(fields[at]).unwrap());
        let number = match fields[0] {
            "P-192" => 8,
            "brainpoolP192r1" => 9,
            "P-224" => 10,
            "brainpoolP224r1" => 11,
            "P-256" => 12,
            "brainpoolP256r1" => 13,
            "brainpoolP320r1" => 14,
            "P-384" => 15,
            "brainpoolP384r1" => 16,
            "brainpoolP512r1" => 17,
            "P-521" => 18,
            _ => continue,
        };
        let spki = seq(&[&seq(&[&oid("0.4.0.127.0.7.1.2"), &int(number)]), &bits(&chip)]);
        let dg14 = security_infos(&[chip_key_info(2, &spki, None)]);
        let verdicts = [2, 3].map(|sign| {
            let key = [&[sign][..], &x].concat();
            let mapping = ChipAuthenticationMapping { mapping_public_key: &key, chip_authentication_data: &data };
            verify_chip_authentication(&dg14, &ChipTranscript::PaceMapping(mapping)).map(|_| ())
        });
        let invalid = Err(Reason::ChipAuthenticationInvalid);
        assert!(verdicts == [Ok(()), invalid] || verdicts == [invalid, Ok(())], "{}: {verdicts:?}", fields[0]);
        held += 1;
    }
    assert_eq!(held, 11);
    // There is no such thing in a group of integers.
    let spki = seq(&[&seq(&[&oid("0.4.0.127.0.7.1.2"), &int(0)]), &bits(&big(&[9; 20]))]);
    let mapping = ChipAuthenticationMapping { mapping_public_key: &[9; 20], chip_authentication_data: &[1] };
    let dg14 = security_infos(&[chip_key_info(1, &spki, None)]);
    let verdict = verify_chip_authentication(&dg14, &ChipTranscript::PaceMapping(mapping));
    assert!(matches!(verdict, Err(Reason::ChipAuthenticationUnsupported | Reason::ChipAuthenticationKeyInvalid)));
}

// -- beside other transcripts

#[test]
fn a_supplied_card_security_is_never_passed_over() {
    let document = Document::new();
    let report = document.report(None);
    assert_eq!((report.reason, report.gates.chip_authentication), (None, GateResult::NotRun));
    let mut forged = card_security(CHIP);
    *forged.last_mut().unwrap() ^= 1;
    let report = Document { card_security: Some(forged), ..Document::new() }.report(None);
    assert_eq!(report.reason, Some(Reason::CardSecurity(CardSecurityProblem::SignatureInvalid)));
    assert_eq!(report.failed_gate(), Some(Gate::ChipAuthentication));
    assert_eq!(report.gates.passive_authentication.result, GateResult::Passed);
    assert_eq!(report.reason.unwrap().to_string(), "card_security(signature_invalid)");
}

#[test]
fn a_protocol_that_only_card_security_names_is_offered_for_a_bound_key() {
    let private = [5; 32];
    let public = p256(5).point();
    let counter = [&[0; 15][..], &[2]].concat();
    let response = protected_response(4, &p256_shared(CHIP, &public), &counter);
    let transcript = || {
        ChipTranscript::Version1(ChipAuthentication {
            terminal: Terminal::Server,
            terminal_private_key: &private,
            terminal_public_key: &public,
            protected_response: &response,
            send_sequence_counter: &counter,
        })
    };
    let dg14 = Some(security_infos(&[chip_protocol_info(2, 1, 1, Some(12)), key_info(CHIP, Some(12))]));
    let document = Document { dg14: dg14.clone(), ..Document::new() };
    assert_eq!(document.report(Some(transcript())).reason, None);
    assert_eq!(
        Document { card_security: None, dg14, ..Document::new() }.report(Some(transcript())).reason,
        Some(Reason::ChipAuthenticationInvalid),
        "triple DES alone, as DG14 says"
    );
    // A key that only EF.CardSecurity has may be any chip's.
    let of_other = Some(security_infos(&infos(8)));
    let document = Document { dg14: of_other, ..Document::new() };
    assert_eq!(document.report(Some(transcript())).reason, Some(Reason::ChipAuthenticationInvalid));
}
