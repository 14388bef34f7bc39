//! Chip authentication: genuine sessions on every curve, in every group and with every cipher
//! hold, and each forgery fails for its own reason.
//!
//! Keys and shared secrets come from OpenSSL and Python, and the chip's answer is computed by
//! other implementations than the library's.
#![allow(clippy::unwrap_used, missing_docs)]

mod mint;

use mint::*;
use proofmill_emrtd::{
    ChipAuthentication, ChipAuthenticationToken, ChipTranscript, Deviation, DocumentEvidence, Gate, GateResult, Policy,
    Reason, Report, ServerTerminal, Terminal, TrustStore, TrustStoreBuilder, UnixTime, inspect, verify,
    verify_chip_authentication,
};
use proptest::prelude::*;

/// 2026-06-15T12:00:00Z
const NOW: UnixTime = UnixTime(1_781_524_800);

/// Curve, the terminal's private key and point, the chip's point, shared x.
const CURVES: &str = include_str!("../src/crypto/key_agreement_vectors.txt");
/// Group, the terminal's exponent and element, the chip's element, shared element.
const GROUPS: &str = include_str!("../src/crypto/diffie_hellman_vectors.txt");

#[derive(Clone)]
struct Session {
    dg14: Vec<u8>,
    terminal: Terminal,
    private: Vec<u8>,
    public: Vec<u8>,
    response: Vec<u8>,
    counter: Vec<u8>,
}

impl Session {
    fn with<R>(&self, use_transcript: impl FnOnce(ChipTranscript<'_>) -> R) -> R {
        use_transcript(ChipTranscript::Version1(ChipAuthentication {
            terminal: self.terminal,
            terminal_private_key: &self.private,
            terminal_public_key: &self.public,
            protected_response: &self.response,
            send_sequence_counter: &self.counter,
        }))
    }

    fn verify(&self) -> Result<(), Reason> {
        self.with(|transcript| verify_chip_authentication(&self.dg14, &transcript)).map(|_| ())
    }

    /// The verdict after a change.
    fn turned(&self, turn: impl FnOnce(&mut Session)) -> Result<(), Reason> {
        let mut other = self.clone();
        turn(&mut other);
        other.verify()
    }
}

fn counter(cipher: u8, value: u8) -> Vec<u8> {
    let mut counter = vec![0; if cipher == 1 { 8 } else { 16 }];
    *counter.last_mut().unwrap() = value;
    counter
}

/// The numbers of a line after its name.
fn numbers(line: &str) -> (&str, [Vec<u8>; 4]) {
    let fields: Vec<&str> = line.split(' ').collect();
    (fields[0], [1, 2, 3, 4].map(|index: usize| hex::decode(fields[index]).unwrap()))
}

fn curve_line(name: &str) -> [Vec<u8>; 4] {
    numbers(CURVES.lines().find(|line| numbers(line).0 == name).unwrap()).1
}

fn curve_oid(name: &str) -> String {
    let fixed = match name {
        "P-192" => "1.2.840.10045.3.1.1",
        "P-224" => "1.3.132.0.33",
        "P-256" => "1.2.840.10045.3.1.7",
        "P-384" => "1.3.132.0.34",
        "P-521" => "1.3.132.0.35",
        _ => "",
    };
    if !fixed.is_empty() {
        return fixed.into();
    }
    let size = name.strip_prefix("brainpoolP").unwrap();
    let at = ["160", "192", "224", "256", "320", "384", "512"].iter().position(|bits| size.starts_with(bits)).unwrap();
    format!("1.3.36.3.3.2.8.1.1.{}", 2 * at + if size.ends_with("r1") { 1 } else { 2 })
}

fn ec_spki(parameters: &[u8], point: &[u8]) -> Vec<u8> {
    seq(&[&seq(&[&oid("1.2.840.10045.2.1"), parameters]), &bits(point)])
}

fn named_spki(curve: &str, point: &[u8]) -> Vec<u8> {
    ec_spki(&oid(&curve_oid(curve)), point)
}

/// A genuine session on a curve, by an integrator's terminal.
fn on_curve(curve: &str, cipher: u8) -> Session {
    let [private, public, chip, shared] = curve_line(curve);
    let counter = counter(cipher, 2);
    Session {
        dg14: security_infos(&[
            chip_protocol_info(2, cipher, 1, None),
            chip_key_info(2, &named_spki(curve, &chip), None),
        ]),
        terminal: Terminal::Integrator,
        private,
        public,
        response: protected_response(cipher, &shared, &counter),
        counter,
    }
}

fn p256_session() -> Session {
    on_curve("P-256", 2)
}

#[test]
fn sessions_on_every_curve_and_with_every_cipher_hold() {
    let mut held = 0;
    for line in CURVES.lines() {
        let (curve, _) = numbers(line);
        for cipher in 1..=4 {
            let session = on_curve(curve, cipher);
            for terminal in [Terminal::Integrator, Terminal::Server] {
                assert_eq!(session.turned(|session| session.terminal = terminal), Ok(()), "{curve} {cipher}");
            }
            held += 1;
        }
    }
    assert_eq!(held, 19 * 4);
}

#[test]
fn sessions_in_the_standardised_groups_hold() {
    let standardised = |name: &str| match name {
        "RFC_5114_2.1" => Some(0),
        "RFC_5114_2.2" => Some(1),
        "RFC_5114_2.3" => Some(2),
        _ => None,
    };
    let mut held = 0;
    for line in GROUPS.lines() {
        let (name, [private, public, chip, shared]) = numbers(line);
        let Some(id) = standardised(name) else { continue };
        let algorithm = seq(&[&oid("0.4.0.127.0.7.1.2"), &int(id)]);
        let spki = seq(&[&algorithm, &bits(&big(&chip))]);
        for cipher in [1, 4] {
            let counter = counter(cipher, 2);
            let session = Session {
                dg14: security_infos(&[chip_protocol_info(1, cipher, 1, None), chip_key_info(1, &spki, None)]),
                terminal: Terminal::Integrator,
                private: private.clone(),
                public: public.clone(),
                response: protected_response(cipher, &shared, &counter),
                counter,
            };
            for terminal in [Terminal::Integrator, Terminal::Server] {
                assert_eq!(session.turned(|session| session.terminal = terminal), Ok(()), "{name}");
            }
            let wrong = session.turned(|session| *session.private.last_mut().unwrap() ^= 1);
            assert_eq!(wrong, Err(Reason::ChipAuthenticationTerminalKeyInvalid), "{name}");
        }
        held += 1;
    }
    assert_eq!(held, 6);
}

/// Groups whose order is (p - 1)/2 come with their numbers: there are no standardised ones of them.
#[test]
fn sessions_in_the_groups_of_rfc_3526_hold() {
    // Computed from the formulas of the RFC, independent of the library's own table.
    const PRIMES: &str = include_str!("rfc_3526_primes.txt");
    let mut held = 0;
    for line in PRIMES.lines() {
        let (name, p) = line.split_once(' ').unwrap();
        let p = hex::decode(p).unwrap();
        let half: Vec<u8> = (0..p.len()).map(|at| p[at] >> 1 | if at == 0 { 0 } else { p[at - 1] << 7 }).collect();
        for line in GROUPS.lines().filter(|line| numbers(line).0 == name) {
            let (_, [private, public, chip, shared]) = numbers(line);
            let pkcs_3 = seq(&[&oid("1.2.840.113549.1.3.1"), &seq(&[&big(&p), &int(2)])]);
            let x9_42 = seq(&[&oid("1.2.840.10046.2.1"), &seq(&[&big(&p), &int(2), &big(&half)])]);
            for algorithm in [pkcs_3, x9_42] {
                let spki = seq(&[&algorithm, &bits(&big(&chip))]);
                let session = Session {
                    dg14: security_infos(&[chip_protocol_info(1, 4, 1, None), chip_key_info(1, &spki, None)]),
                    terminal: Terminal::Server,
                    private: private.clone(),
                    public: public.clone(),
                    response: protected_response(4, &shared, &counter(4, 2)),
                    counter: counter(4, 2),
                };
                assert_eq!(session.verify(), Ok(()), "{name}");
                // Of small order: one, minus one; and p itself.
                let mut minus_one = p.clone();
                *minus_one.last_mut().unwrap() -= 1;
                for bad in [&[1][..], &minus_one, &p] {
                    let refused = session.turned(|session| {
                        let spki = seq(&[&algorithm, &bits(&big(bad))]);
                        session.dg14 = security_infos(&[chip_key_info(1, &spki, None)]);
                    });
                    assert_eq!(refused, Err(Reason::ChipAuthenticationKeyInvalid), "{name}");
                }
                held += 1;
            }
        }
    }
    assert_eq!(held, 16);
}

#[test]
fn groups_given_by_their_numbers_must_be_known_ones() {
    let (_, [private, public, chip, shared]) =
        numbers(GROUPS.lines().find(|line| line.starts_with("RFC_5114_2.1")).unwrap());
    let p = hex::decode(concat!(
        "b10b8f96a080e01dde92de5eae5d54ec52c99fbcfb06a3c69a6a9dca52d23b616073e28675a23d189838ef1e2ee652c0",
        "13ecb4aea906112324975c3cd49b83bfaccbdd7d90c4bd7098488e9c219a73724effd6fae5644738faa31a4ff55bccc0",
        "a151af5f0dc8b4bd45bf37df365c1a65e68cfda76d4da708df1fb2bc2e4a4371"
    ))
    .unwrap();
    let g = hex::decode(concat!(
        "a4d1cbd5c3fd34126765a442efb99905f8104dd258ac507fd6406cff14266d31266fea1e5c41564b777e690f5504f213",
        "160217b4b01b886a5e91547f9e2749f4d7fbd7d3b9a92ee1909d0d2263f80a76a6a24c087a091f531dbf0a0169b6a28a",
        "d662a4d18e73afa32d779d5918d08bc8858f4dcef97c2a24855e6eeb22b3b2e5"
    ))
    .unwrap();
    let q = hex::decode("f518aa8781a8df278aba4e7d64b7cb9d49462353").unwrap();
    let verdict = |parameters: &[u8], algorithm: &str, chip: &[u8]| {
        let spki = seq(&[&seq(&[&oid(algorithm), parameters]), &bits(&big(chip))]);
        let counter = counter(1, 2);
        Session {
            dg14: security_infos(&[chip_key_info(1, &spki, None)]),
            terminal: Terminal::Integrator,
            private: private.clone(),
            public: public.clone(),
            response: protected_response(1, &shared, &counter),
            counter,
        }
        .verify()
    };
    const PKCS_3: &str = "1.2.840.113549.1.3.1";
    const X9_42: &str = "1.2.840.10046.2.1";
    assert_eq!(verdict(&seq(&[&big(&p), &big(&g)]), PKCS_3, &chip), Ok(()));
    assert_eq!(verdict(&seq(&[&big(&p), &big(&g), &int(160)]), PKCS_3, &chip), Ok(()));
    assert_eq!(verdict(&seq(&[&big(&p), &big(&g), &big(&q)]), X9_42, &chip), Ok(()));

    let unknown = Err(Reason::ChipAuthenticationGroupUnknown);
    assert_eq!(verdict(&seq(&[&big(&p), &int(2)]), PKCS_3, &chip), unknown);
    assert_eq!(verdict(&seq(&[&big(&q), &big(&g)]), PKCS_3, &chip), unknown);
    assert_eq!(verdict(&seq(&[&big(&p), &big(&g), &int(2)]), X9_42, &chip), unknown);
    let invalid = Err(Reason::ChipAuthenticationKeyInvalid);
    assert_eq!(verdict(&seq(&[&big(&p)]), PKCS_3, &chip), invalid);
    // Zero, one, minus one (order two), and one outside the subgroup.
    let mut minus_one = p.clone();
    *minus_one.last_mut().unwrap() -= 1;
    for bad in [&[0][..], &[1], &minus_one, &p, &[3]] {
        assert_eq!(verdict(&seq(&[&big(&p), &big(&g)]), PKCS_3, bad), invalid);
    }
}

#[test]
fn without_a_protocol_it_is_triple_des() {
    let [private, public, chip, shared] = curve_line("P-256");
    let dg14 = security_infos(&[chip_key_info(2, &named_spki("P-256", &chip), None)]);
    for cipher in 1..=4 {
        let session = Session {
            dg14: dg14.clone(),
            terminal: Terminal::Integrator,
            private: private.clone(),
            public: public.clone(),
            counter: counter(cipher, 2),
            response: protected_response(cipher, &shared, &counter(cipher, 2)),
        };
        let expected = if cipher == 1 { Ok(()) } else { Err(Reason::ChipAuthenticationInvalid) };
        assert_eq!(session.verify(), expected);
    }
}

#[test]
fn keys_and_protocols_are_matched_by_their_identifiers() {
    let session = p256_session();
    let own = curve_line("P-256")[2].clone();
    let key = |point: &[u8], identifier| chip_key_info(2, &named_spki("P-256", point), identifier);
    let protocol = |cipher, identifier| chip_protocol_info(2, cipher, 1, identifier);
    let verdict = |infos: &[Vec<u8>]| session.turned(|session| session.dg14 = security_infos(infos));
    let unsupported = Err(Reason::ChipAuthenticationUnsupported);
    let other = p256(7).point();

    assert_eq!(verdict(&[key(&own, Some(1)), protocol(2, Some(1))]), Ok(()));
    assert_eq!(verdict(&[key(&own, Some(1)), protocol(2, Some(2))]), unsupported);
    // One key needs no identifier.
    assert_eq!(verdict(&[key(&own, None), protocol(2, Some(2))]), Ok(()));
    assert_eq!(verdict(&[key(&own, Some(1)), protocol(2, None)]), Ok(()));
    // Two do.
    let two = [key(&other, Some(1)), key(&own, Some(2))];
    let with = |more: &[Vec<u8>]| verdict(&[&two[..], more].concat());
    assert_eq!(with(&[protocol(2, Some(2)), protocol(4, Some(1))]), Ok(()));
    assert_eq!(with(&[protocol(4, Some(2)), protocol(2, Some(1))]), Err(Reason::ChipAuthenticationInvalid));
    assert_eq!(with(&[protocol(2, None)]), unsupported);
    assert_eq!(with(&[protocol(2, Some(3))]), unsupported);
    // A key of another kind is not in the way, and one that cannot be used neither.
    let unknown = chip_key_info(1, &seq(&[&seq(&[&oid("0.4.0.127.0.7.1.2"), &int(99)]), &bits(&int(5))]), None);
    assert_eq!(verdict(&[unknown.clone(), key(&own, None), protocol(2, None)]), Ok(()));
    assert_eq!(verdict(&[unknown]), Err(Reason::ChipAuthenticationGroupUnknown));
}

#[test]
fn what_a_chip_does_not_offer_is_not_accepted() {
    let session = p256_session();
    let key = chip_key_info(2, &named_spki("P-256", &curve_line("P-256")[2]), None);
    let verdict = |infos: &[Vec<u8>]| session.turned(|session| session.dg14 = security_infos(infos));
    let unsupported = Err(Reason::ChipAuthenticationUnsupported);
    assert_eq!(verdict(&[]), unsupported);
    assert_eq!(verdict(&[chip_protocol_info(2, 2, 1, None)]), unsupported);
    assert_eq!(verdict(&[key.clone(), chip_protocol_info(2, 2, 2, None)]), unsupported, "version 2");
    assert_eq!(verdict(&[key.clone(), chip_protocol_info(2, 9, 1, None)]), unsupported, "unknown cipher");
    assert_eq!(verdict(&[key.clone(), chip_protocol_info(2, 4, 1, None)]), Err(Reason::ChipAuthenticationInvalid));
    assert_eq!(verdict(&vec![key; 9]), Err(Reason::ChipAuthenticationInfoMalformed), "more keys than any chip has");
    let element = seq(&[&seq(&[&oid("0.4.0.127.0.7.1.2"), &int(2)]), &bits(&big(&[0x55; 256]))]);
    let in_group = |spki: &[u8], count| verdict(&vec![chip_key_info(1, spki, None); count]);
    assert_eq!(in_group(&element, 8), Err(Reason::ChipAuthenticationKeyInvalid));
    let large = seq(&[&seq(&[&oid("1.2.840.113549.1.3.1"), &seq(&[&big(&[0xff; 1024]), &int(2)])]), &bits(&int(5))]);
    assert_eq!(in_group(&large, 4), Err(Reason::ChipAuthenticationGroupUnknown));
    assert_eq!(in_group(&large, 5), Err(Reason::ChipAuthenticationInfoMalformed), "dearer than any chip's");
    for end in 0..session.dg14.len() {
        let cut = session.turned(|session| session.dg14.truncate(end));
        assert_eq!(cut, Err(Reason::ChipAuthenticationInfoMalformed));
    }
}

#[test]
fn no_changed_octet_of_a_transcript_goes_unnoticed() {
    for session in [p256_session(), on_curve("brainpoolP512r1", 1), on_curve("P-384", 4)] {
        assert_every_octet_counts(&session);
    }
}

fn assert_every_octet_counts(session: &Session) {
    assert_eq!(session.verify(), Ok(()));
    type Part = fn(&mut Session) -> &mut Vec<u8>;
    let parts: [Part; 4] = [|s| &mut s.response, |s| &mut s.public, |s| &mut s.counter, |s| &mut s.private];
    for part in parts {
        let length = part(&mut session.clone()).len();
        for at in 0..length {
            for mask in [0x01, 0x80] {
                let changed = session.turned(|session| part(session)[at] ^= mask);
                assert!(changed.is_err(), "octet {at} of {length}");
            }
            assert!(session.turned(|session| part(session).truncate(at)).is_err(), "cut at {at} of {length}");
        }
        assert!(session.turned(|session| part(session).push(0)).is_err());
    }
}

#[test]
fn forged_transcripts_fail() {
    let session = p256_session();
    let [_, _, _, shared] = curve_line("P-256");
    let invalid = Err(Reason::ChipAuthenticationInvalid);
    // A clone has the data and not the key: its answers are under another secret.
    let clone = session.turned(|session| session.response = protected_response(2, &[9; 32], &counter(2, 2)));
    assert_eq!(clone, invalid);
    // An answer of this session replayed as a later one.
    assert_eq!(session.turned(|session| session.counter = counter(2, 4)), invalid);
    // An answer from a session with another terminal key.
    let other = p256(5);
    let replayed = session.turned(|session| {
        session.private = vec![5; 32];
        session.public = other.point();
    });
    assert_eq!(replayed, invalid);
    // The right answer under another key of DG14.
    let wrong_key = session.turned(|session| {
        session.dg14 = security_infos(&[
            chip_protocol_info(2, 2, 1, None),
            chip_key_info(2, &named_spki("P-256", &other.point()), None),
        ]);
    });
    assert_eq!(wrong_key, invalid);
    // An answer under the counter of a command.
    let odd = session.turned(|session| {
        session.counter = counter(2, 3);
        session.response = protected_response(2, &shared, &counter(2, 3));
    });
    assert_eq!(odd, Err(Reason::ChipAuthenticationTranscriptMalformed));
    // An answer that is not under secure messaging.
    let plain = session.turned(|session| session.response = vec![0x90, 0]);
    assert_eq!(plain, Err(Reason::ChipAuthenticationTranscriptMalformed));
}

#[test]
fn a_later_answer_counts_for_an_integrators_terminal_only() {
    let [_, _, _, shared] = curve_line("P-256");
    let later = |terminal| {
        p256_session().turned(|session| {
            session.terminal = terminal;
            session.counter = counter(2, 4);
            session.response = protected_response(2, &shared, &counter(2, 4));
        })
    };
    assert_eq!(later(Terminal::Integrator), Ok(()));
    assert_eq!(later(Terminal::Server), Err(Reason::ChipAuthenticationTranscriptMalformed));
}

#[test]
fn terminal_keys_that_are_none_are_refused() {
    let session = p256_session();
    let n = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    let refused = Err(Reason::ChipAuthenticationTerminalKeyInvalid);
    for terminal in [Terminal::Integrator, Terminal::Server] {
        for private in [&[][..], &[0], &[0; 32], &n, &[0xff; 32], &[1; 33]] {
            let verdict = session.turned(|session| {
                session.terminal = terminal;
                session.private = private.to_vec();
            });
            assert_eq!(verdict, refused);
        }
        let mut off = session.public.clone();
        *off.last_mut().unwrap() ^= 1;
        // Nothing, infinity, off the curve, of another curve, and another's key.
        let others = [vec![], vec![0], off, curve_line("P-384")[1].clone(), p256(5).point()];
        for public in others {
            let verdict = session.turned(|session| {
                session.terminal = terminal;
                session.public = public;
            });
            assert_eq!(verdict, refused);
        }
    }
}

/// A point of small order lies on another curve than its own: with it an attacker would learn a
/// terminal's key piece by piece, and could answer without knowing the chip's key at all.
#[test]
fn points_that_are_none_of_the_curve_are_refused() {
    let session = p256_session();
    let x_of_order_two = |x: u8| {
        // (x, 0) has order two on y² = x³ + ax + b' for some b' that is not b.
        let mut point = vec![0; 65];
        point[0] = 4;
        point[32] = x;
        point
    };
    let mut off = curve_line("P-256")[2].clone();
    *off.last_mut().unwrap() ^= 1;
    let compressed_off = [&[2][..], &[0; 31], &[1]].concat();
    let points = [
        off,
        vec![0],
        vec![],
        x_of_order_two(1),
        x_of_order_two(7),
        vec![4; 1],
        compressed_off,
        curve_line("brainpoolP256r1")[2].clone(),
        curve_line("P-384")[2].clone(),
    ];
    for terminal in [Terminal::Integrator, Terminal::Server] {
        for point in &points {
            let verdict = session.turned(|session| {
                session.terminal = terminal;
                session.dg14 = security_infos(&[
                    chip_protocol_info(2, 2, 1, None),
                    chip_key_info(2, &named_spki("P-256", point), None),
                ]);
            });
            // x = 1 may have a root; then it is a point of the curve, and only not the chip's.
            assert!(
                matches!(verdict, Err(Reason::ChipAuthenticationKeyInvalid) | Err(Reason::ChipAuthenticationInvalid)),
                "{verdict:?}"
            );
            assert!(point.len() == 33 || verdict == Err(Reason::ChipAuthenticationKeyInvalid));
        }
    }
}

#[test]
fn explicit_parameters_must_be_those_of_a_known_curve() {
    // Chip and terminal have the same key: the parameters' numbers are what is looked at.
    let verdict = |change: Parameters| {
        let key = Signer { explicit: Some(change), ..p256(7) };
        Session {
            dg14: security_infos(&[chip_protocol_info(2, 2, 1, None), chip_key_info(2, &key.spki(), None)]),
            terminal: Terminal::Integrator,
            private: vec![7; 32],
            public: p256(7).point(),
            response: protected_response(2, &[0; 32], &counter(2, 2)),
            counter: counter(2, 2),
        }
        .verify()
    };
    // The curve is known, and only the answer is wrong.
    assert_eq!(verdict(Parameters::default()), Err(Reason::ChipAuthenticationInvalid));
    let unknown = Err(Reason::ChipAuthenticationGroupUnknown);
    assert_eq!(verdict(Parameters { g: Some(p256(9).point()), ..Parameters::default() }), unknown);
    assert_eq!(verdict(Parameters { b: Some(vec![1; 32]), ..Parameters::default() }), unknown);
    assert_eq!(verdict(Parameters { n: Some(vec![1; 32]), ..Parameters::default() }), unknown);
    assert_eq!(verdict(Parameters { h: Some(2), ..Parameters::default() }), unknown);
    let session = p256_session();
    let other = session.turned(|session| {
        let spki = ec_spki(&oid("1.3.132.0.10"), &curve_line("P-256")[2]);
        session.dg14 = security_infos(&[chip_key_info(2, &spki, None)]);
    });
    assert_eq!(other, unknown, "secp256k1");
}

// -- version 2

/// A chip's token over the terminal's key, by other implementations than the library's.
fn token(cipher: u8, shared: &[u8], nonce: &[u8], kind: u8, public: &[u8]) -> Vec<u8> {
    use des::cipher::{Block, BlockCipherEncrypt, KeyInit};
    use sha1::Digest as _;
    let value = match kind {
        1 => tlv(0x84, &public[public.iter().take_while(|octet| **octet == 0).count()..]),
        _ => tlv(0x86, public),
    };
    let inner = [oid(&format!("0.4.0.127.0.7.2.2.3.{kind}.{cipher}")), value].concat();
    let message = [&[0x7f][..], &tlv(0x49, &inner)].concat();
    let seed = [shared, nonce, &[0, 0, 0, 2]].concat();
    if cipher == 1 {
        let key = sha1::Sha1::digest(&seed)[..16].to_vec();
        let mut padded = [&message[..], &[0x80]].concat();
        padded.resize(padded.len().next_multiple_of(8), 0);
        let single = des::Des::new_from_slice(&key[..8]).unwrap();
        let triple = des::TdesEde2::new_from_slice(&key).unwrap();
        let mut state = [0u8; 8];
        let last = padded.len() / 8 - 1;
        for (at, part) in padded.chunks(8).enumerate() {
            let block: [u8; 8] = std::array::from_fn(|octet| state[octet] ^ part[octet]);
            let mut block = Block::<des::Des>::from(block);
            if at == last {
                triple.encrypt_block(&mut block)
            } else {
                single.encrypt_block(&mut block)
            }
            state = block.into();
        }
        return state.to_vec();
    }
    use aws_lc_rs::cmac;
    let (algorithm, key) = match cipher {
        2 => (cmac::AES_128, sha1::Sha1::digest(&seed)[..16].to_vec()),
        3 => (cmac::AES_192, sha2::Sha256::digest(&seed)[..24].to_vec()),
        _ => (cmac::AES_256, sha2::Sha256::digest(&seed).to_vec()),
    };
    cmac::sign(&cmac::Key::new(algorithm, &key).unwrap(), &message).unwrap().as_ref()[..8].to_vec()
}

const NONCE: [u8; 8] = *b"from PCC";

/// What a transcript of version 2 gives.
fn token_verdict(dg14: &[u8], private: &[u8], public: &[u8], nonce: &[u8], token: &[u8]) -> Result<(), Reason> {
    let transcript = ChipTranscript::Version2(ChipAuthenticationToken {
        terminal_private_key: private,
        terminal_public_key: public,
        nonce,
        token,
    });
    assert_eq!(transcript.terminal(), Terminal::Integrator);
    verify_chip_authentication(dg14, &transcript).map(|_| ())
}

#[test]
fn tokens_on_every_curve_and_with_every_cipher_hold_and_no_changed_octet_does() {
    for line in CURVES.lines() {
        let (curve, [private, public, chip, shared]) = numbers(line);
        for cipher in 1..=4 {
            let key = chip_key_info(2, &named_spki(curve, &chip), None);
            let dg14 = security_infos(&[chip_protocol_info(2, cipher, 2, None), key.clone()]);
            let token = token(cipher, &shared, &NONCE, 2, &public);
            let verdict =
                |dg14: &[u8], nonce: &[u8], token: &[u8]| token_verdict(dg14, &private, &public, nonce, token);
            assert_eq!(verdict(&dg14, &NONCE, &token), Ok(()), "{curve} {cipher}");
            for at in 0..8 {
                let mut other = token.clone();
                other[at] ^= 1;
                assert_eq!(verdict(&dg14, &NONCE, &other), Err(Reason::ChipAuthenticationInvalid));
                let mut other = NONCE;
                other[at] ^= 1;
                assert_eq!(verdict(&dg14, &other, &token), Err(Reason::ChipAuthenticationInvalid), "a replay");
            }
            // Version 1 makes no tokens, nor does a key without a protocol.
            let version_1 = security_infos(&[chip_protocol_info(2, cipher, 1, None), key.clone()]);
            assert_eq!(verdict(&version_1, &NONCE, &token), Err(Reason::ChipAuthenticationUnsupported));
            assert_eq!(verdict(&security_infos(&[key]), &NONCE, &token), Err(Reason::ChipAuthenticationUnsupported));
        }
    }
}

#[test]
fn tokens_in_groups_hold_over_the_shortest_encoding() {
    for (id, name) in [(0, "RFC_5114_2.1"), (1, "RFC_5114_2.2"), (2, "RFC_5114_2.3")] {
        for line in GROUPS.lines().filter(|line| numbers(line).0 == name) {
            let (_, [private, public, chip, shared]) = numbers(line);
            let spki = seq(&[&seq(&[&oid("0.4.0.127.0.7.1.2"), &int(id)]), &bits(&big(&chip))]);
            for cipher in 1..=4 {
                let dg14 = security_infos(&[chip_protocol_info(1, cipher, 2, None), chip_key_info(1, &spki, None)]);
                let token = token(cipher, &shared, &NONCE, 1, &public);
                assert_eq!(token_verdict(&dg14, &private, &public, &NONCE, &token), Ok(()), "{name}");
            }
        }
    }
}

#[test]
fn forged_tokens_fail() {
    let [private, public, chip, shared] = curve_line("P-256");
    let dg14 = |point: &[u8]| {
        security_infos(&[chip_protocol_info(2, 4, 2, None), chip_key_info(2, &named_spki("P-256", point), None)])
    };
    let genuine = token(4, &shared, &NONCE, 2, &public);
    let invalid = Err(Reason::ChipAuthenticationInvalid);
    // Another chip; a clone that does not know the secret; another terminal's token; the code over no key.
    assert_eq!(token_verdict(&dg14(&p256(7).point()), &private, &public, &NONCE, &genuine), invalid);
    let clone = token(4, &[9; 32], &NONCE, 2, &public);
    assert_eq!(token_verdict(&dg14(&chip), &private, &public, &NONCE, &clone), invalid);
    assert_eq!(token_verdict(&dg14(&chip), &[5; 32], &p256(5).point(), &NONCE, &genuine), invalid);
    let over_chip = token(4, &shared, &NONCE, 2, &chip);
    assert_eq!(token_verdict(&dg14(&chip), &private, &public, &NONCE, &over_chip), invalid);
    // The nonce of another length, the token too.
    let malformed = Err(Reason::ChipAuthenticationTranscriptMalformed);
    for nonce in [&[][..], &NONCE[1..], &[0; 33]] {
        let token = token(4, &shared, nonce, 2, &public);
        assert_eq!(token_verdict(&dg14(&chip), &private, &public, nonce, &token), malformed);
    }
    for end in 0..8 {
        assert_eq!(token_verdict(&dg14(&chip), &private, &public, &NONCE, &genuine[..end]), malformed);
    }
    // Keys that are none, and a public key that is not the private one's.
    let refused = Err(Reason::ChipAuthenticationTerminalKeyInvalid);
    for (private, public) in [
        (&[][..], &public[..]),
        (&[0; 32], &public),
        (&private, &[0]),
        (&private, &p256(5).point()),
        (&[1; 33], &public),
    ] {
        assert_eq!(token_verdict(&dg14(&chip), private, public, &NONCE, &genuine), refused);
    }
    let mut off = chip.clone();
    *off.last_mut().unwrap() ^= 1;
    let invalid_key = Err(Reason::ChipAuthenticationKeyInvalid);
    assert_eq!(token_verdict(&dg14(&off), &private, &public, &NONCE, &genuine), invalid_key);
}

#[test]
fn infos_of_domain_parameters_are_passed_over() {
    // ChipAuthenticationDomainParameterInfo, of identity cards.
    let parameters = seq(&[&oid("0.4.0.127.0.7.2.2.3.2"), &seq(&[&oid("0.4.0.127.0.7.1.2"), &int(13)]), &int(41)]);
    let session = on_curve("brainpoolP256r1", 2);
    let [_, _, chip, _] = curve_line("brainpoolP256r1");
    let with_parameters = session.turned(|session| {
        session.dg14 = security_infos(&[
            parameters,
            chip_protocol_info(2, 2, 1, Some(41)),
            chip_key_info(2, &named_spki("brainpoolP256r1", &chip), Some(41)),
        ]);
    });
    assert_eq!(with_parameters, Ok(()));
}

// -- in a document

struct Document {
    dsc: Certificate,
    dg1: Vec<u8>,
    dg2: Vec<u8>,
    trust: TrustStore,
}

impl Document {
    fn new() -> Document {
        let csca = Certificate::csca("UT", &p256(1));
        let mut builder = TrustStoreBuilder::new();
        builder.add_csca(&csca.der(), "test").unwrap();
        Document {
            dsc: Certificate::dsc("UT", &p256(2), &p256(1)),
            dg1: dg1("UTO", "740812", "330101"),
            dg2: dg2(JPEG),
            trust: builder.build(1),
        }
    }

    /// The report when the SOD declares `declared` as DG14, and the session's is supplied or not.
    fn report(&self, declared: Option<&[u8]>, session: &Session, supplied: bool, policy: &Policy) -> Report {
        let mut groups = vec![(1, &self.dg1[..]), (2, &self.dg2[..])];
        groups.extend(declared.map(|dg14| (14, dg14)));
        let sod = Sod::new(&self.dsc, &groups).der();
        session.with(|transcript| {
            let evidence = DocumentEvidence {
                sod: &sod,
                dg1: Some(&self.dg1),
                dg2: Some(&self.dg2),
                dg14: supplied.then_some(&session.dg14),
                chip_authentication: Some(transcript),
                ..Default::default()
            };
            let run = if supplied || declared.is_none() { verify } else { inspect };
            run(&evidence, &self.trust, policy, NOW).report
        })
    }
}

#[test]
fn the_gate_passes_with_a_key_that_the_sod_protects_and_says_whose_terminal_it_was() {
    let document = Document::new();
    for terminal in [Terminal::Integrator, Terminal::Server] {
        let session = Session { terminal, ..p256_session() };
        let report = document.report(Some(&session.dg14), &session, true, &Policy::default());
        assert_eq!(report.reason, None);
        assert_eq!(report.gates.chip_authentication, GateResult::Passed);
        assert_eq!(report.chip_authentication_terminal, Some(terminal));
    }
    let mut forged = p256_session();
    forged.response[3] ^= 1;
    let report = document.report(Some(&forged.dg14.clone()), &forged, true, &Policy::default());
    assert_eq!(report.reason, Some(Reason::ChipAuthenticationInvalid));
    assert_eq!((report.failed_gate(), report.is_valid()), (Some(Gate::ChipAuthentication), false));
    assert_eq!(report.gates.active_authentication, GateResult::NotApplicable);
}

#[test]
fn a_key_that_the_sod_does_not_protect_proves_nothing() {
    let document = Document::new();
    let session = p256_session();
    let reason =
        |declared: Option<&[u8]>, supplied| document.report(declared, &session, supplied, &Policy::default()).reason;
    let other = on_curve("P-384", 2).dg14;
    assert_eq!(
        reason(Some(&other), true),
        Some(Reason::DataGroupHashMismatch(proofmill_emrtd::Part::Dg14)),
        "another DG14"
    );
    assert_eq!(reason(None, true), Some(Reason::DataGroupNotDeclared(proofmill_emrtd::Part::Dg14)));
    assert_eq!(reason(None, false), Some(Reason::ChipAuthenticationUnbound));
    assert_eq!(reason(Some(&session.dg14), false), Some(Reason::ChipAuthenticationUnbound), "inspected without DG14");
}

#[test]
fn deviations_of_the_chips_key_are_reported_and_refused_by_policy() {
    let document = Document::new();
    let [private, public, chip, shared] = curve_line("P-256");
    let parameters =
        Signer { explicit: Some(Parameters { leave_out_cofactor: true, ..Default::default() }), ..p256(3) };
    let with_other_point = parameters.spki();
    let at = with_other_point.len() - 65;
    let spki = [&with_other_point[..at], &chip].concat();
    let session = Session {
        dg14: security_infos(&[chip_key_info(2, &spki, None)]),
        terminal: Terminal::Integrator,
        private,
        public,
        response: protected_response(1, &shared, &counter(1, 2)),
        counter: counter(1, 2),
    };
    let report = document.report(Some(&session.dg14), &session, true, &Policy::lenient());
    assert_eq!((report.reason, report.deviations), (None, vec![Deviation::EcCofactorAbsent]));
    let report = document.report(Some(&session.dg14), &session, true, &Policy::default());
    assert_eq!(report.reason, Some(Reason::ChipAuthenticationKeyInvalid));
}

// -- the server's terminal

/// Random octets for a terminal, other ones each time.
fn random(seed: u64) -> impl FnMut(&mut [u8]) {
    use rand_chacha::rand_core::{Rng, SeedableRng};
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(seed);
    move |octets| rng.fill_bytes(octets)
}

/// DG14 of a chip with the P-256 key of seed 3.
fn chip(cipher: u8, identifier: Option<u64>) -> Vec<u8> {
    security_infos(&[
        chip_protocol_info(2, cipher, 1, identifier),
        chip_key_info(2, &named_spki("P-256", &p256(3).point()), identifier),
    ])
}

#[test]
fn a_chip_that_follows_the_servers_commands_passes() {
    for cipher in 1..=4 {
        let dg14 = chip(cipher, None);
        let terminal = ServerTerminal::start(&dg14, random(1)).unwrap();
        // The chip's side, by aws-lc.
        let shared = p256_shared(3, terminal.public_key());
        let mut session = Session {
            dg14,
            terminal: Terminal::Server,
            private: terminal.private_key().to_vec(),
            public: terminal.public_key().to_vec(),
            response: protected_response(cipher, &shared, &counter(cipher, 2)),
            counter: counter(cipher, 2),
        };
        assert_eq!(session.verify(), Ok(()));
        // A chip with another key hears another secret.
        let clone = p256_shared(4, terminal.public_key());
        session.response = protected_response(cipher, &clone, &counter(cipher, 2));
        assert_eq!(session.verify(), Err(Reason::ChipAuthenticationInvalid));
    }
}

#[test]
fn the_servers_commands_are_those_of_the_standard() {
    let point = |terminal: &ServerTerminal| terminal.public_key().to_vec();
    // Triple DES: MSE:Set KAT with the public key.
    let terminal = ServerTerminal::start(&chip(1, None), random(1)).unwrap();
    let expected = [&[0x00, 0x22, 0x41, 0xa6, 67, 0x91, 65][..], &point(&terminal)].concat();
    assert_eq!(terminal.key_agreement(), [expected]);
    // AES: MSE:Set AT with the protocol and the key's identifier, then GENERAL AUTHENTICATE.
    let terminal = ServerTerminal::start(&chip(4, Some(7)), random(1)).unwrap();
    let protocol = [0x04, 0x00, 0x7f, 0x00, 0x07, 0x02, 0x02, 0x03, 0x02, 0x04];
    let set = [&[0x00, 0x22, 0x41, 0xa4, 15, 0x80, 10][..], &protocol, &[0x84, 1, 7]].concat();
    let general = [&[0x00, 0x86, 0x00, 0x00, 69, 0x7c, 67, 0x80, 65][..], &point(&terminal), &[0]].concat();
    assert_eq!(terminal.key_agreement(), [set, general]);
    // READ BINARY under the new keys.
    let proof = terminal.proof_command();
    assert_eq!(proof[..10], [0x0c, 0xb0, 0x8e, 0x00, 13, 0x97, 1, 8, 0x8e, 8]);
    assert_eq!((proof.len(), proof.last()), (19, Some(&0)));
    // An element of 2048 bits needs commands of extended length.
    let line = GROUPS.lines().find(|line| line.starts_with("RFC_5114_2.3")).unwrap();
    let spki = seq(&[&seq(&[&oid("0.4.0.127.0.7.1.2"), &int(2)]), &bits(&big(&numbers(line).1[2]))]);
    let dg14 = security_infos(&[chip_protocol_info(1, 2, 1, None), chip_key_info(1, &spki, None)]);
    let terminal = ServerTerminal::start(&dg14, random(1)).unwrap();
    let general = &terminal.key_agreement()[1];
    assert_eq!(general[..7], [0x00, 0x86, 0x00, 0x00, 0, 1, 8]);
    assert_eq!((general.len(), &general[general.len() - 2..]), (7 + 264 + 2, &[0, 0][..]));
}

#[test]
fn ephemeral_keys_are_random_and_in_range() {
    let keys: Vec<Vec<u8>> = (0..20)
        .map(|seed| ServerTerminal::start(&chip(2, None), random(seed)).unwrap().private_key().to_vec())
        .collect();
    let mut distinct = keys.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), keys.len());
    // A source of zeros or ones only is no source: an error, and no endless loop.
    for octet in [0, 0xff] {
        let broken = ServerTerminal::start(&chip(2, None), |random| random.fill(octet)).err();
        assert_eq!(broken, Some(Reason::ChipAuthenticationTerminalKeyInvalid));
    }
    // The order of P-521 is no whole number of octets, and brainpool's are far below one.
    for line in CURVES.lines() {
        let (curve, _) = numbers(line);
        let dg14 = security_infos(&[chip_key_info(2, &named_spki(curve, &curve_line(curve)[2]), None)]);
        for seed in 0..3 {
            assert!(ServerTerminal::start(&dg14, random(seed)).is_ok(), "{curve}");
        }
    }
}

#[test]
fn no_ephemeral_key_is_spent_on_a_chip_that_cannot_be_trusted_with_one() {
    let mut off = p256(3).point();
    *off.last_mut().unwrap() ^= 1;
    let start = |infos: &[Vec<u8>]| {
        let mut drawn = false;
        let reason = ServerTerminal::start(&security_infos(infos), |_| drawn = true).err();
        assert!(!drawn);
        reason
    };
    let invalid = Some(Reason::ChipAuthenticationKeyInvalid);
    assert_eq!(start(&[chip_key_info(2, &named_spki("P-256", &off), None)]), invalid);
    assert_eq!(start(&[chip_key_info(2, &named_spki("P-256", &[0]), None)]), invalid);
    let element = |number: u64| seq(&[&seq(&[&oid("0.4.0.127.0.7.1.2"), &int(2)]), &bits(&int(number))]);
    assert_eq!(start(&[chip_key_info(1, &element(1), None)]), invalid);
    let unsupported = Some(Reason::ChipAuthenticationUnsupported);
    assert_eq!(start(&[]), unsupported);
    let other = Parameters { g: Some(p256(9).point()), ..Parameters::default() };
    let own_generator = Signer { explicit: Some(other), ..p256(3) };
    let unknown = Some(Reason::ChipAuthenticationGroupUnknown);
    assert_eq!(start(&[chip_key_info(2, &own_generator.spki(), None)]), unknown);
    assert_eq!(ServerTerminal::start(&[], |_| ()).err(), Some(Reason::ChipAuthenticationInfoMalformed));
}

/// An invalid point would give an attacker the ephemeral key modulo its small order, and a clone an answer.
#[test]
fn forged_keys_of_every_curve_and_group_get_no_ephemeral_key() {
    let refused = |info: Vec<u8>| {
        let mut drawn = false;
        let reason = ServerTerminal::start(&security_infos(&[info]), |_| drawn = true).err();
        assert!(!drawn);
        reason
    };
    let invalid = Some(Reason::ChipAuthenticationKeyInvalid);
    for line in CURVES.lines() {
        let (curve, [_, _, chip, _]) = numbers(line);
        let size = chip.len() / 2;
        let mut off = chip.clone();
        *off.last_mut().unwrap() ^= 1;
        // On the curve with another b, (x, 0) has order two.
        let order_two = [&chip[..=size], &vec![0; size]].concat();
        let swapped = [&[4][..], &chip[1 + size..], &chip[1..=size]].concat();
        let beyond = [&[4][..], &vec![0xff; 2 * size]].concat();
        let hybrid = [&[6 | chip[2 * size] & 1][..], &chip[1..]].concat();
        let zero = [&[4][..], &vec![0; 2 * size]].concat();
        for bad in [off, order_two, swapped, beyond, hybrid, zero, vec![0], vec![], chip[..2 * size].to_vec()] {
            assert_eq!(refused(chip_key_info(2, &named_spki(curve, &bad), None)), invalid, "{curve}");
        }
        // A point of another curve of the same size.
        for other in CURVES.lines().map(numbers).filter(|(other, _)| *other != curve) {
            let (other_curve, [_, _, point, _]) = other;
            assert_eq!(refused(chip_key_info(2, &named_spki(curve, &point), None)), invalid, "{curve} {other_curve}");
        }
    }
    let p = hex::decode(concat!(
        "b10b8f96a080e01dde92de5eae5d54ec52c99fbcfb06a3c69a6a9dca52d23b616073e28675a23d189838ef1e2ee652c0",
        "13ecb4aea906112324975c3cd49b83bfaccbdd7d90c4bd7098488e9c219a73724effd6fae5644738faa31a4ff55bccc0",
        "a151af5f0dc8b4bd45bf37df365c1a65e68cfda76d4da708df1fb2bc2e4a4371"
    ))
    .unwrap();
    let mut minus_one = p.clone();
    *minus_one.last_mut().unwrap() -= 1;
    let genuine = numbers(GROUPS.lines().find(|line| line.starts_with("RFC_5114_2.1")).unwrap()).1[2].clone();
    let mut outside = genuine.clone();
    *outside.last_mut().unwrap() ^= 1;
    for bad in [&[][..], &[0], &[1], &[2], &minus_one, &p, &outside, &[&[1][..], &p].concat()] {
        let spki = seq(&[&seq(&[&oid("0.4.0.127.0.7.1.2"), &int(0)]), &bits(&big(bad))]);
        assert_eq!(refused(chip_key_info(1, &spki, None)), invalid);
    }
    let spki = seq(&[&seq(&[&oid("0.4.0.127.0.7.1.2"), &int(0)]), &bits(&big(&genuine))]);
    assert!(ServerTerminal::start(&security_infos(&[chip_key_info(1, &spki, None)]), random(1)).is_ok());
}

proptest! {
    #[test]
    fn random_transcripts_never_pass(
        server in any::<bool>(),
        private in proptest::collection::vec(any::<u8>(), 0..40),
        public in proptest::collection::vec(any::<u8>(), 0..70),
        response in proptest::collection::vec(any::<u8>(), 0..40),
        counter in proptest::collection::vec(any::<u8>(), 0..17),
        own in any::<[bool; 4]>(),
    ) {
        // Some parts genuine, so that the others are looked at.
        let genuine = p256_session();
        let pick = |own: bool, random: Vec<u8>, genuine: &[u8]| if own { genuine.to_vec() } else { random };
        let session = Session {
            dg14: genuine.dg14.clone(),
            terminal: if server { Terminal::Server } else { Terminal::Integrator },
            private: pick(own[0], private, &genuine.private),
            public: pick(own[1], public, &genuine.public),
            response: pick(own[2], response, &genuine.response),
            counter: pick(own[3], counter, &genuine.counter),
        };
        prop_assert_eq!(session.verify().is_ok(), own == [true; 4]);
    }

    #[test]
    fn random_codes_and_secrets_never_pass(code in any::<[u8; 8]>(), secret in any::<[u8; 32]>(), cipher in 1..=4u8) {
        let session = on_curve("P-256", cipher);
        let forged = session.turned(|session| {
            let at = session.response.len() - 10;
            session.response[at..at + 8].copy_from_slice(&code);
        });
        prop_assert!(forged.is_err());
        let forged = session.turned(|session| session.response = protected_response(cipher, &secret, &session.counter));
        prop_assert!(forged.is_err());
    }
}

// -- real sessions

#[test]
fn real_sessions_hold_and_no_changed_octet_does() {
    let Some(path) = std::env::var_os("PROOFMILL_REFERENCE_DATA") else {
        println!("skipped: PROOFMILL_REFERENCE_DATA is not set, so there are no real sessions to verify");
        return;
    };
    let file = std::fs::read(std::path::PathBuf::from(path).join("emrtd/ca/sessions.json")).unwrap();
    let sessions: Vec<serde_json::Value> = serde_json::from_slice(&file).unwrap();
    assert!(sessions.len() >= 2);
    for entry in sessions {
        let field = |name: &str| hex::decode(entry[name].as_str().unwrap()).unwrap();
        let session = Session {
            dg14: field("dg14"),
            terminal: Terminal::Integrator,
            private: field("TermPri"),
            public: field("TermPubKey"),
            response: field("SmRapdu"),
            counter: field("SmSsc"),
        };
        println!("{}: {:?}", entry["name"], session.verify());
        assert_every_octet_counts(&session);
        // Both curves have a constant-time provider.
        assert_eq!(session.turned(|session| session.terminal = Terminal::Server), Ok(()));
    }
}
