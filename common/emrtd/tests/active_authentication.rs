//! Active authentication: the answers of genuine chips of every make hold, and no other does.
#![allow(clippy::unwrap_used, missing_docs)]

mod mint;

use std::sync::OnceLock;

use mint::*;
use proofmill_emrtd::{
    ActiveAuthentication, Deviation, Reason, crypto::digest::Digest, crypto::provider::Scheme, recovered_message_holds,
    verify_active_authentication,
};
use proptest::prelude::*;
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use rsa::{BoxedUint, RsaPrivateKey, traits::PublicKeyParts};

const CHALLENGE: [u8; 8] = *b"RND.IFD!";

/// What a DG15, an answer and perhaps a DG14 give.
fn verdict(dg15: &[u8], signature: &[u8], dg14: Option<&[u8]>) -> Result<Vec<Deviation>, Reason> {
    let answer = ActiveAuthentication { challenge: &CHALLENGE, signature };
    verify_active_authentication(dg15, &answer, dg14).map(|deviations| deviations.iter().collect())
}

const INVALID: Result<Vec<Deviation>, Reason> = Err(Reason::ActiveAuthenticationInvalid);

// -- RSA

/// Keys of several sizes, of which 1031 bits are no whole number of octets, and one with exponent 3.
fn keys() -> &'static [RsaPrivateKey] {
    static KEYS: OnceLock<Vec<RsaPrivateKey>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        [(1024, 65_537u64), (1024, 3), (1031, 65_537), (1280, 65_537), (1792, 65_537)]
            .map(|(bits, exponent)| RsaPrivateKey::new_with_exp(&mut rng, bits, BoxedUint::from(exponent)).unwrap())
            .into()
    })
}

fn rsa_dg15(key: &RsaPrivateKey) -> Vec<u8> {
    let numbers = seq(&[&big(&key.n().to_be_bytes()), &big(&key.e().to_be_bytes())]);
    tlv(0x6f, &seq(&[&seq(&[&oid("1.2.840.113549.1.1.1"), NULL]), &bits(&numbers)]))
}

/// ISO/IEC 9796-2 scheme 1.
#[derive(Clone, Copy)]
struct Block {
    digest: Digest,
    trailer: &'static [u8],
    /// The whole message is inside.
    total: bool,
    /// Octets of padding behind the header.
    padding: usize,
    /// Octets of zeros before the header.
    zeros: usize,
}

const SHA_1: Block = Block { digest: Digest::Sha1, trailer: &[0xbc], total: false, padding: 0, zeros: 0 };

impl Block {
    fn octets(self, size: usize) -> Vec<u8> {
        let size = size - self.zeros;
        let mut recovered = vec![0; size - 1 - self.padding - self.digest.size() - self.trailer.len()];
        ChaCha20Rng::seed_from_u64(3).fill_bytes(&mut recovered);
        let high = if self.total { 0x40 } else { 0x60 };
        let mut out = vec![0; self.zeros];
        match self.padding {
            0 => out.push(high | 0x0a),
            padding => {
                out.push(high | 0x0b);
                out.resize(self.zeros + padding, 0xbb);
                out.push(0xba);
            }
        }
        let hash = if self.total {
            let at = recovered.len() - 8;
            recovered[at..].copy_from_slice(&CHALLENGE);
            self.digest.compute(&[&recovered])
        } else {
            self.digest.compute(&[&recovered, &CHALLENGE])
        };
        out.extend_from_slice(&recovered);
        out.extend_from_slice(hash.as_ref());
        out.extend_from_slice(self.trailer);
        out
    }

    /// The two numbers that open to this block, the smaller one first.
    fn signatures(self, key: &RsaPrivateKey) -> [Vec<u8>; 2] {
        let bits = key.n().bits().next_multiple_of(8);
        let block = self.octets(bits as usize / 8);
        let number = BoxedUint::from_be_slice(&block, key.n().bits_precision()).unwrap();
        let signature = rsa::hazmat::rsa_decrypt::<ChaCha20Rng>(None, key, &number).unwrap();
        let n = BoxedUint::from_be_slice(&key.n().to_be_bytes(), key.n().bits_precision()).unwrap();
        let other = n.wrapping_sub(&signature);
        let mut both = [signature, other].map(|number| {
            let octets = number.to_be_bytes();
            octets[octets.len() - bits as usize / 8..].to_vec()
        });
        both.sort();
        both
    }
}

#[test]
fn every_trailer_recovery_and_key_size_holds_in_both_forms() {
    let trailers: [(Digest, &[u8]); 6] = [
        (Digest::Sha1, &[0xbc]),
        (Digest::Sha1, &[0x33, 0xcc]),
        (Digest::Sha224, &[0x38, 0xcc]),
        (Digest::Sha256, &[0x34, 0xcc]),
        (Digest::Sha384, &[0x36, 0xcc]),
        (Digest::Sha512, &[0x35, 0xcc]),
    ];
    let mut held = 0;
    for key in keys() {
        let dg15 = rsa_dg15(key);
        let whole = key.n().bits().is_multiple_of(8);
        for (digest, trailer) in trailers {
            for total in [false, true] {
                for (padding, zeros) in [(0, 0), (1, 0), (3, 0), (0, 1), (2, 1), (0, 8)] {
                    if zeros == 0 && !whole {
                        // Such a block would not be below the modulus.
                        continue;
                    }
                    let block = Block { digest, trailer, total, padding, zeros };
                    for signature in block.signatures(key) {
                        assert_eq!(
                            verdict(&dg15, &signature, None),
                            Ok(vec![]),
                            "{digest:?} {total} {padding} {zeros}"
                        );
                        held += 1;
                    }
                }
            }
        }
    }
    assert_eq!(held, 2 * 6 * 2 * (4 * 6 + 3));
}

#[test]
fn blocks_that_are_not_of_the_scheme_fail() {
    let key = &keys()[0];
    let dg15 = rsa_dg15(key);
    let sign = |block: &[u8]| {
        let number = BoxedUint::from_be_slice(block, key.n().bits_precision()).unwrap();
        rsa::hazmat::rsa_decrypt::<ChaCha20Rng>(None, key, &number).unwrap().to_be_bytes()
    };
    let genuine = SHA_1.octets(128);
    assert_eq!(verdict(&dg15, &sign(&genuine), None), Ok(vec![]));
    for trailer in [&[0xcc][..], &[0x31, 0xcc], &[0x32, 0xcc], &[0x37, 0xcc], &[0x34, 0xbc, 0x00], &[0xbb]] {
        let mut other = genuine.clone();
        let at = other.len() - trailer.len();
        other[at..].copy_from_slice(trailer);
        assert_eq!(verdict(&dg15, &sign(&other), None), INVALID, "{trailer:02x?}");
    }
    // Another header; padding that never ends, or of other nibbles.
    for header in [0x4a, 0x2a, 0x6c, 0x6f, 0x60, 0x5a, 0x7a] {
        let mut other = genuine.clone();
        other[0] = header;
        assert_eq!(verdict(&dg15, &sign(&other), None), INVALID, "{header:02x}");
    }
    let endless = [&[0x6b][..], &[0xbb; 127]].concat();
    assert_eq!(verdict(&dg15, &sign(&endless), None), INVALID);
    // More zeros than any chip's: then it is a short message, and not one of this scheme.
    let short = Block { zeros: 9, ..SHA_1 }.octets(128);
    assert_eq!(verdict(&dg15, &sign(&short), None), INVALID);
    // A digest that does not fit.
    let tiny = [&[0; 8][..], &genuine[..100], &[0x35, 0xcc]].concat();
    assert!(!recovered_message_holds(&tiny, &CHALLENGE));
    for end in 0..64 {
        assert!(!recovered_message_holds(&genuine[..end], &CHALLENGE));
        assert!(!recovered_message_holds(&genuine[128 - end..], &CHALLENGE));
    }
    // Total recovery of another message: any old answer would do.
    let mut old = Block { total: true, ..SHA_1 }.octets(128);
    let at = old.len() - 21 - 8;
    old[at] ^= 1;
    let hash = Digest::Sha1.compute(&[&old[1..at + 8]]).as_ref().to_vec();
    old[at + 8..at + 28].copy_from_slice(&hash);
    assert_eq!(verdict(&dg15, &sign(&old), None), INVALID);
}

#[test]
fn no_changed_octet_of_an_answer_goes_unnoticed() {
    for key in &keys()[..3] {
        let dg15 = rsa_dg15(key);
        let zeros = usize::from(!key.n().bits().is_multiple_of(8));
        for signature in (Block { zeros, ..SHA_1 }).signatures(key) {
            for at in 0..signature.len() {
                let mut other = signature.clone();
                other[at] ^= 1;
                assert_eq!(verdict(&dg15, &other, None), INVALID, "octet {at}");
            }
            for end in 0..signature.len() {
                assert_eq!(verdict(&dg15, &signature[..end], None), INVALID);
            }
            // Zeros before a number do not change it; and without them it is the same too.
            let padded = [&[0; 5][..], &signature].concat();
            let stripped = &signature[signature.iter().take_while(|octet| **octet == 0).count()..];
            assert_eq!((verdict(&dg15, &padded, None), verdict(&dg15, stripped, None)), (Ok(vec![]), Ok(vec![])));
            // A number that is not below the modulus is none of its.
            let n = BoxedUint::from_be_slice_vartime(&key.n().to_be_bytes());
            let sum = BoxedUint::from_be_slice_vartime(&signature).concatenating_add(&n).to_be_bytes();
            assert_eq!(verdict(&dg15, &sum, None), INVALID);
            // Another chip's answer, and an answer to another challenge.
            let others = rsa_dg15(&keys()[4]);
            assert_eq!(verdict(&others, &signature, None), INVALID);
            for at in 0..8 {
                let mut challenge = CHALLENGE;
                challenge[at] ^= 1;
                let answer = ActiveAuthentication { challenge: &challenge, signature: &signature };
                let replay = verify_active_authentication(&dg15, &answer, None);
                assert_eq!(replay, Err(Reason::ActiveAuthenticationInvalid));
            }
        }
    }
}

#[test]
fn a_small_exponent_gives_no_forgery_by_roots() {
    // With exponent 3 the cube of a number of a third of the length is taken without the modulus: what a forger can
    // choose is the upper part, never the digest at the end.
    let dg15 = rsa_dg15(&keys()[1]);
    let block = Block { zeros: 0, ..SHA_1 }.octets(128);
    let upper = u128::from_be_bytes(block[..16].try_into().unwrap());
    // The cube root of the upper part, as near as it can be.
    let root = (upper as f64).cbrt() as u128;
    for near in root.saturating_sub(2)..root + 3 {
        for zeros in 0..45 {
            let candidate = [&near.to_be_bytes()[..], &vec![0; zeros]].concat();
            assert_eq!(verdict(&dg15, &candidate, None), INVALID);
        }
    }
    for number in [0u8, 1, 2] {
        assert_eq!(verdict(&dg15, &[number], None), INVALID);
    }
}

#[test]
fn dg15_without_a_usable_key_is_named() {
    let key_invalid = Err(Reason::ActiveAuthenticationKeyInvalid);
    let good = rsa_dg15(&keys()[0]);
    for end in 0..good.len() {
        assert_eq!(verdict(&good[..end], &[1], None), key_invalid);
    }
    assert_eq!(verdict(&[&good[..], &[0]].concat(), &[1], None), key_invalid);
    let rsa = |n: &[u8], e: &[u8]| {
        let numbers = seq(&[&big(n), &big(e)]);
        tlv(0x6f, &seq(&[&seq(&[&oid("1.2.840.113549.1.1.1"), NULL]), &bits(&numbers)]))
    };
    let n = keys()[0].n().to_be_bytes().to_vec();
    let mut even = n.clone();
    *even.last_mut().unwrap() &= 0xfe;
    for (n, e) in [(&n[..], &[2][..]), (&n, &[1]), (&n, &[0]), (&even, &[3]), (&n[..127], &[3]), (&n, &[1; 9])] {
        assert_eq!(verdict(&rsa(n, e), &[1], None), key_invalid);
    }
    let mut off = p256(9).point();
    *off.last_mut().unwrap() ^= 1;
    for point in [&off[..], &[0], &[]] {
        let spki = seq(&[&seq(&[&oid("1.2.840.10045.2.1"), &oid("1.2.840.10045.3.1.7")]), &bits(point)]);
        assert_eq!(verdict(&tlv(0x6f, &spki), &[1; 64], None), key_invalid);
    }
    for length in [0, 7, 9, 16] {
        let answer = ActiveAuthentication { challenge: &[1; 16][..length], signature: &[1] };
        let refused = verify_active_authentication(&good, &answer, None);
        assert_eq!(refused, Err(Reason::ActiveAuthenticationChallenge));
    }
}

// -- ECDSA

fn naming(algorithm: &str) -> Vec<u8> {
    security_infos(&[seq(&[&oid("2.23.136.1.1.5"), &int(1), &oid(algorithm)])])
}

fn chips() -> [Signer; 5] {
    [Secret::P256(9), Secret::P384(9), Secret::P521(9), Secret::Bp256(9), Secret::Bp384(9)]
        .map(|secret| ec(secret, Digest::Sha256))
}

#[test]
fn plain_and_der_answers_hold_with_every_digest_named() {
    // Digests longer and shorter than the order, and those that should not be.
    for chip in chips() {
        let dg15 = tlv(0x6f, &chip.spki());
        for digest in Digest::ALL {
            let plain = Signer { scheme: Scheme::EcdsaPlain { digest }, ..chip.clone() }.sign(&CHALLENGE);
            let der = Signer { scheme: Scheme::Ecdsa { digest }, ..chip.clone() }.sign(&CHALLENGE);
            let dg14 = naming(plain_oid(digest));
            assert_eq!(verdict(&dg15, &plain, Some(&dg14)), Ok(vec![]));
            assert_eq!(verdict(&dg15, &der, Some(&dg14)), Ok(vec![Deviation::ActiveAuthenticationDer]));
            for other in Digest::ALL.into_iter().filter(|other| *other != digest) {
                assert_eq!(verdict(&dg15, &plain, Some(&naming(plain_oid(other)))), INVALID, "what DG14 names counts");
            }
            // Unnamed, the one that holds is taken, and it is said.
            let unnamed = Deviation::ActiveAuthenticationDigestUnnamed;
            for dg14 in [None, Some(&security_infos(&[])[..])] {
                assert_eq!(verdict(&dg15, &plain, dg14), Ok(vec![unnamed]));
                assert_eq!(verdict(&dg15, &der, dg14), Ok(vec![Deviation::ActiveAuthenticationDer, unnamed]));
            }
        }
    }
    let plain = Signer { scheme: Scheme::EcdsaPlain { digest: Digest::Sha256 }, ..p256(9) }.sign(&CHALLENGE);
    let dg15 = tlv(0x6f, &p256(9).spki());
    assert_eq!(verdict(&dg15, &plain, Some(&naming("1.2.840.10045.4.3.2"))), Ok(vec![]), "not named as plain");
    let unknown = Err(Reason::ActiveAuthenticationAlgorithmUnknown);
    for dg14 in [naming("1.2.3.4"), naming("1.2.840.113549.1.1.1"), vec![], vec![0x6e, 1, 0x31]] {
        assert_eq!(verdict(&dg15, &plain, Some(&dg14)), unknown);
    }
}

#[test]
fn explicit_parameters_and_compressed_points_are_keys_too() {
    let plain = Signer { scheme: Scheme::EcdsaPlain { digest: Digest::Sha256 }, ..p256(9) }.sign(&CHALLENGE);
    let dg14 = naming(plain_oid(Digest::Sha256));
    let explicit = Signer { explicit: Some(Parameters::default()), ..p256(9) };
    assert_eq!(verdict(&tlv(0x6f, &explicit.spki()), &plain, Some(&dg14)), Ok(vec![]));
    let without_cofactor = Parameters { leave_out_cofactor: true, ..Parameters::default() };
    let explicit = Signer { explicit: Some(without_cofactor), ..p256(9) };
    assert_eq!(verdict(&tlv(0x6f, &explicit.spki()), &plain, Some(&dg14)), Ok(vec![Deviation::EcCofactorAbsent]));
    let own_generator = Parameters { g: Some(p256(3).point()), ..Parameters::default() };
    let forged = Signer { explicit: Some(own_generator), ..p256(9) };
    let refused = Err(Reason::ActiveAuthenticationKeyInvalid);
    assert_eq!(verdict(&tlv(0x6f, &forged.spki()), &plain, Some(&dg14)), refused);
    let point = p256(9).point();
    let compressed = [&[2 + (point[64] & 1)][..], &point[1..33]].concat();
    let spki = seq(&[&seq(&[&oid("1.2.840.10045.2.1"), &oid("1.2.840.10045.3.1.7")]), &bits(&compressed)]);
    assert_eq!(verdict(&tlv(0x6f, &spki), &plain, Some(&dg14)), Ok(vec![]));
}

#[test]
fn forged_ecdsa_answers_fail() {
    for chip in chips() {
        let chip = Signer { scheme: Scheme::EcdsaPlain { digest: Digest::Sha256 }, ..chip };
        let dg15 = tlv(0x6f, &chip.spki());
        let dg14 = naming(plain_oid(Digest::Sha256));
        let plain = chip.sign(&CHALLENGE);
        for dg14 in [Some(&dg14[..]), None] {
            for at in 0..plain.len() {
                let mut other = plain.clone();
                other[at] ^= 1;
                assert_eq!(verdict(&dg15, &other, dg14), INVALID);
                // r and s have their full length: shorter they could be cut in several ways.
                assert_eq!(verdict(&dg15, &plain[..at], dg14), INVALID);
                assert_eq!(verdict(&dg15, &plain[at + 1..], dg14), INVALID);
            }
            let half = plain.len() / 2;
            let zero = vec![0; half];
            for forged in [
                [&zero[..], &plain[half..]].concat(),
                [&plain[..half], &zero].concat(),
                vec![0; plain.len()],
                vec![0xff; plain.len()],
                [&plain[half..], &plain[..half]].concat(),
                [&[0], &plain[..half], &[0], &plain[half..]].concat(),
                chip.sign(b"another!"),
            ] {
                assert_eq!(verdict(&dg15, &forged, dg14), INVALID);
            }
        }
    }
}

proptest! {
    #[test]
    fn random_answers_never_pass(signature in proptest::collection::vec(any::<u8>(), 0..140), which in 0..2usize) {
        prop_assert_eq!(verdict(&rsa_dg15(&keys()[which]), &signature, None), INVALID);
        let dg15 = tlv(0x6f, &p256(9).spki());
        prop_assert_eq!(verdict(&dg15, &signature, None), INVALID);
    }
}

// -- real answers

#[test]
fn the_recovered_block_of_the_worked_example_holds() {
    let Some(path) = std::env::var_os("PROOFMILL_REFERENCE_DATA") else {
        println!("skipped: PROOFMILL_REFERENCE_DATA is not set, so there is no worked example to verify");
        return;
    };
    let folder = std::path::PathBuf::from(path).join("emrtd/aa");
    let mut held = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = std::fs::read(entry.unwrap().path()).unwrap();
        let examples: serde_json::Value = serde_json::from_slice(&file).unwrap();
        for (name, example) in examples.as_object().unwrap() {
            let field = |name: &str| example[name].as_str().map(|text| hex::decode(text).unwrap());
            let (Some(block), Some(challenge)) = (field("F"), field("rnd_ifd")) else { continue };
            assert!(recovered_message_holds(&block, &challenge), "{name}");
            for at in 0..block.len() {
                let mut other = block.clone();
                other[at] ^= 1;
                assert!(!recovered_message_holds(&other, &challenge), "{name}: octet {at}");
            }
            held += 1;
        }
    }
    assert!(held > 0);
}
