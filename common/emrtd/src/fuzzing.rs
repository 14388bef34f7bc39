//! What the fuzz targets run: one function per kind of input, from any bytes, with what must hold
//! whatever they are. Not part of the library's interface.
//!
//! The functions are here, and not in the fuzz crate, so that they reach the parsers themselves
//! and a property test of the normal suite runs the same ones.

use std::sync::OnceLock;

use crate::{
    active_authentication,
    asn1::encode_length,
    card_security::inspect_card_security,
    certificate::Certificate,
    chip_authentication::{self, Offer, ServerTerminal, verify_chip_authentication},
    cms::SignedData,
    crl::Crl,
    crypto::{
        curve::Curve,
        digest::Digest,
        key::{KeyError, PublicKey},
    },
    dg2::{self, Dg2Info},
    evidence::{
        ActiveAuthentication, ChipAuthentication, ChipAuthenticationMapping, ChipAuthenticationToken, ChipTranscript,
        DocumentEvidence, Terminal, UnixTime,
    },
    mrz::{Dg1Info, parse_dg1},
    oid,
    policy::Policy,
    security_options::{self, NamedDigest, SecurityOptions},
    sod_info::SodInfo,
    trust::{MasterList, TrustStore, TrustStoreBuilder},
    verify::{inspect, verify},
};

/// 2026-06-15T12:00:00Z
const NOW: UnixTime = UnixTime(1_781_524_800);

/// A kind of input: its name, which is that of the fuzz target, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 11] = [
    ("sod", sod),
    ("certificate", certificate),
    ("crl", crl),
    ("master_list", master_list),
    ("dg1", dg1),
    ("dg2", dg2),
    ("dg14", dg14),
    ("dg15", dg15),
    ("chip_authentication", |data| {
        chip_authentication(data);
    }),
    ("card_security", card_security),
    ("ec_parameters", ec_parameters),
];

/// EF.SOD: nothing is trusted by a store that trusts nobody.
pub fn sod(data: &[u8]) {
    let evidence = DocumentEvidence { sod: data, ..Default::default() };
    let _ = SodInfo::read(data);
    for policy in [Policy::default(), Policy::strict(), Policy::lenient()] {
        assert!(!inspect(&evidence, nobody(), &policy, NOW).report.is_valid());
        let verification = verify(&evidence, nobody(), &policy, NOW);
        assert!(verification.mrz.is_none() && verification.portrait.is_none());
    }
}

/// A certificate: its bytes are kept as received.
pub fn certificate(data: &[u8]) {
    if let Ok(certificate) = Certificate::parse(data) {
        assert_eq!(certificate.der(), data);
        let _ = certificate.verify_signature(&certificate);
        let mut builder = TrustStoreBuilder::new();
        let _ = (builder.add_csca(data, "fuzzing"), builder.add_dsc(data, "fuzzing"));
        let store = builder.build(1);
        assert_eq!(store.certificates().count(), 2);
        for stored in store.certificates() {
            assert!(stored.der() == data && stored.info().is_some() && stored.judge(NOW).is_some());
        }
    }
}

/// A certificate revocation list: one without a known issuer does not count.
pub fn crl(data: &[u8]) {
    if let Ok(list) = Crl::parse(data) {
        let _ = (list.names(&[1]), list.is_current(NOW), list.len());
        let mut builder = TrustStoreBuilder::new();
        assert!(builder.add_crl(data, "fuzzing").is_ok());
        let store = builder.build(1);
        assert_eq!(store.rejected_crls().len(), 1);
        assert!(store.judge_crl(data, NOW).is_ok_and(|judged| judged.problem.is_some()));
    }
}

/// A master list, under the certificates it embeds.
pub fn master_list(data: &[u8]) {
    let Ok(parsed) = SignedData::parse(data) else { return };
    let whole = MasterList::read_unverified(data).is_ok_and(|list| list.signature_holds());
    assert!(whole || MasterList::verify_self_anchored(data).is_err());
    for anchor in parsed.certificates.iter().take(4) {
        if let Ok(list) = MasterList::verify(data, anchor) {
            assert!(whole);
            assert_eq!(list.certificates().count(), list.len());
            let (total, refused) = TrustStoreBuilder::new().add_master_list(&list, "fuzzing");
            assert!(refused <= total && total <= data.len());
        }
    }
}

/// EF.DG1.
pub fn dg1(data: &[u8]) {
    if let Ok((mrz, _)) = parse_dg1(data, NOW, None) {
        assert!(!mrz.document_number.is_empty() && mrz.date_of_birth.year.is_none_or(|year| year <= 2026));
    }
    let info = Dg1Info::read(data, NOW);
    assert_eq!(info.problem.is_none(), parse_dg1(data, NOW, None).is_ok());
}

/// EF.DG2: the image is a part of it.
pub fn dg2(data: &[u8]) {
    if let Ok((portraits, _)) = dg2::parse_all(data) {
        let mut end = data.as_ptr_range().start;
        for portrait in portraits {
            let part = portrait.image.as_ptr_range();
            assert!(end <= part.start && part.end <= data.as_ptr_range().end, "one behind the other, inside the file");
            end = part.end;
        }
    }
    assert_eq!(Dg2Info::read(data).problem.is_none(), dg2::parse(data).is_ok());
}

/// EF.DG14: security options and what chip authentication it offers.
pub fn dg14(data: &[u8]) {
    let options = SecurityOptions::parse(data);
    if let Ok(offers) = Offer::read(data) {
        assert!(offers.is_empty() || options.is_err() || options.is_ok_and(|options| options.chip_authentication));
        if let Ok(terminal) = ServerTerminal::start(data, |random| random.fill(5)) {
            assert!(offers.iter().any(|offer| offer.key.is_ok()));
            assert!(!terminal.public_key().is_empty() && !terminal.key_agreement().is_empty());
        }
    }
}

/// EF.DG15: no key verifies an empty answer.
pub fn dg15(data: &[u8]) {
    let Ok(parsed) = security_options::active_authentication_key(data) else { return };
    let answer = ActiveAuthentication { challenge: &[0; 8], signature: &[] };
    let named = Digest::ALL.into_iter().map(NamedDigest::Known).chain([NamedDigest::Absent, NamedDigest::Unknown]);
    for digest in named {
        assert!(active_authentication::verify(parsed.key.clone(), &answer, digest).is_err());
    }
}

/// A chip authentication transcript with its DG14, as [`transcript`] joins them; whether it holds.
pub fn chip_authentication(data: &[u8]) -> bool {
    let Some((kind, rest)) = data.split_first() else { return false };
    let mut parts = [&[][..]; 4];
    let mut rest = rest;
    for part in &mut parts {
        let Some((length, after)) = rest.split_first_chunk::<2>() else { return false };
        let Some((value, after)) = after.split_at_checked(usize::from(u16::from_be_bytes(*length))) else {
            return false;
        };
        (*part, rest) = (value, after);
    }
    let [dg14, private_key, public_key, proof] = parts;
    let with = |proof: &[u8]| {
        let transcript = match kind & 3 {
            2 => ChipTranscript::Version2(ChipAuthenticationToken {
                terminal_private_key: private_key,
                terminal_public_key: public_key,
                nonce: rest,
                token: proof,
            }),
            3 => ChipTranscript::PaceMapping(ChipAuthenticationMapping {
                mapping_public_key: public_key,
                chip_authentication_data: proof,
            }),
            kind => ChipTranscript::Version1(ChipAuthentication {
                terminal: if kind == 0 { Terminal::Integrator } else { Terminal::Server },
                terminal_private_key: private_key,
                terminal_public_key: public_key,
                protected_response: proof,
                send_sequence_counter: rest,
            }),
        };
        let card_security = security_options::security_infos(dg14).ok();
        let bound = chip_authentication::verify(dg14, card_security.as_ref(), &transcript).is_ok();
        // Bound to itself, a DG14 says neither more nor less.
        assert_eq!(bound, verify_chip_authentication(dg14, &transcript).is_ok());
        bound
    };
    let holds = with(proof);
    if holds {
        // Of a response the last octet but two is of the code; of the others it counts as any does.
        let mut other = proof.to_vec();
        if let Some(octet) = other.iter_mut().rev().nth(2) {
            *octet ^= 1;
            assert!(!with(&other));
        }
    }
    holds
}

/// The input of [`chip_authentication()`]: the kind, then DG14, private key, public key and proof
/// (response, token or data), each after its length in two octets, and last the counter or nonce.
pub fn transcript(dg14: &[u8], transcript: &ChipTranscript<'_>) -> Vec<u8> {
    let (kind, parts, last) = match transcript {
        ChipTranscript::Version1(of) => (
            u8::from(of.terminal == Terminal::Server),
            [of.terminal_private_key, of.terminal_public_key, of.protected_response],
            of.send_sequence_counter,
        ),
        ChipTranscript::Version2(of) => (2, [of.terminal_private_key, of.terminal_public_key, of.token], of.nonce),
        ChipTranscript::PaceMapping(of) => (3, [&[][..], of.mapping_public_key, of.chip_authentication_data], &[][..]),
    };
    let mut out = vec![kind];
    for part in [[dg14].as_slice(), &parts].concat() {
        out.extend((part.len() as u16).to_be_bytes());
        out.extend_from_slice(part);
    }
    out.extend_from_slice(last);
    out
}

/// EF.CardSecurity: nothing is trusted by a store that trusts nobody.
pub fn card_security(data: &[u8]) {
    for policy in [Policy::default(), Policy::strict(), Policy::lenient()] {
        assert!(!inspect_card_security(data, nobody(), &policy, NOW).is_valid());
    }
}

/// ECParameters, or a whole SubjectPublicKeyInfo: a key that is accepted is a point of a known curve.
pub fn ec_parameters(data: &[u8]) {
    check_key(PublicKey::from_spki(data));
    // As the parameters of a key whose point lies on no curve: only the parameters decide.
    let algorithm = element(0x30, &[&element(6, oid::EC_PUBLIC_KEY.as_bytes()), data].concat());
    let spki = element(0x30, &[algorithm, element(3, &[0, 4])].concat());
    assert!(PublicKey::from_spki(&spki).is_err());
}

fn check_key(key: Result<PublicKey, KeyError>) {
    match key {
        Ok(PublicKey::Ec { curve, point }) => {
            assert!(Curve::all().any(|known| known == curve));
            assert_eq!(PublicKey::ec(curve, &point), Ok(PublicKey::Ec { curve, point }));
        }
        Ok(key @ PublicKey::Rsa { .. }) => assert!((1024..=8192).contains(&key.bits())),
        Err(_) => {}
    }
}

fn element(tag: u8, value: &[u8]) -> Vec<u8> {
    [&[tag][..], &encode_length(value.len()), value].concat()
}

fn nobody() -> &'static TrustStore {
    static STORE: OnceLock<TrustStore> = OnceLock::new();
    STORE.get_or_init(|| TrustStoreBuilder::new().build(1))
}
