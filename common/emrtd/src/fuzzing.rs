//! What the fuzz targets run: one function per kind of input, from any bytes, with what must hold
//! whatever they are. Not part of the library's interface.
//!
//! The functions are here, and not in the fuzz crate, so that they reach the parsers themselves
//! and a property test of the normal suite runs the same ones.

use std::sync::OnceLock;

use crate::{
    active_authentication,
    asn1::encode_length,
    certificate::Certificate,
    chip_authentication::{self, Offer, ServerTerminal},
    cms::SignedData,
    crl::Crl,
    crypto::{
        curve::Curve,
        key::{KeyError, PublicKey},
    },
    dg2,
    evidence::{ActiveAuthentication, ChipAuthentication, DocumentEvidence, Terminal, UnixTime},
    mrz::parse_dg1,
    oid,
    policy::Policy,
    security_options::{self, SecurityOptions},
    trust::{MasterList, TrustStore, TrustStoreBuilder},
    verify::{inspect, verify},
};

/// 2026-06-15T12:00:00Z
const NOW: UnixTime = UnixTime(1_781_524_800);

/// A kind of input: its name, which is that of the fuzz target, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 10] = [
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
    ("ec_parameters", ec_parameters),
];

/// EF.SOD: nothing is trusted by a store that trusts nobody.
pub fn sod(data: &[u8]) {
    let evidence = DocumentEvidence { sod: data, ..Default::default() };
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
        let counts = builder.build(1).counts();
        assert!(counts.cscas <= 1);
    }
}

/// A certificate revocation list: one without a known issuer does not count.
pub fn crl(data: &[u8]) {
    if let Ok(list) = Crl::parse(data) {
        let _ = (list.names(&[1]), list.is_current(NOW), list.len());
        let mut builder = TrustStoreBuilder::new();
        assert!(builder.add_crl(data, "fuzzing").is_ok());
        assert_eq!(builder.build(1).rejected_crls().len(), 1);
    }
}

/// A master list, under the certificates it embeds.
pub fn master_list(data: &[u8]) {
    let Ok(parsed) = SignedData::parse(data) else { return };
    for anchor in parsed.certificates.iter().take(4) {
        if let Ok(list) = MasterList::verify(data, anchor) {
            assert_eq!(list.certificates().count(), list.len());
            let (total, refused) = TrustStoreBuilder::new().add_master_list(&list, "fuzzing");
            assert!(refused <= total && total <= data.len());
        }
    }
}

/// EF.DG1.
pub fn dg1(data: &[u8]) {
    let _ = parse_dg1(data, NOW);
}

/// EF.DG2: the image is a part of it.
pub fn dg2(data: &[u8]) {
    if let Ok((portrait, _)) = dg2::parse(data) {
        let (whole, part) = (data.as_ptr_range(), portrait.image.as_ptr_range());
        assert!(whole.start <= part.start && part.end <= whole.end);
    }
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
    for digest in crate::crypto::digest::Digest::ALL {
        assert!(active_authentication::verify(parsed.key.clone(), &answer, Some(digest)).is_err());
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
    let [dg14, terminal_private_key, terminal_public_key, protected_response] = parts;
    let transcript = ChipAuthentication {
        terminal: if kind & 1 == 0 { Terminal::Integrator } else { Terminal::Server },
        terminal_private_key,
        terminal_public_key,
        protected_response,
        send_sequence_counter: rest,
    };
    let holds = chip_authentication::verify(dg14, &transcript).is_ok();
    if holds {
        // The last octet but two is of the code.
        let mut other = protected_response.to_vec();
        if let Some(octet) = other.iter_mut().rev().nth(2) {
            *octet ^= 1;
        }
        assert!(
            chip_authentication::verify(dg14, &ChipAuthentication { protected_response: &other, ..transcript })
                .is_err()
        );
    }
    holds
}

/// The input of [`chip_authentication`]: the kind of terminal, then DG14, private key, public key
/// and response, each after its length in two octets, and last the counter.
pub fn transcript(dg14: &[u8], transcript: &ChipAuthentication<'_>) -> Vec<u8> {
    let mut out = vec![u8::from(transcript.terminal == Terminal::Server)];
    for part in [dg14, transcript.terminal_private_key, transcript.terminal_public_key, transcript.protected_response] {
        out.extend((part.len() as u16).to_be_bytes());
        out.extend_from_slice(part);
    }
    out.extend_from_slice(transcript.send_sequence_counter);
    out
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
