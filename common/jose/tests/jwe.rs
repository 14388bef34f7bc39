//! The compact JWE against an independent implementation (RustCrypto's `rsa` and `aes-gcm`, with the format
//! written out by hand from RFC 7516), and against every way to tamper with it.
#![allow(clippy::unwrap_used)]

use std::sync::LazyLock;

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use proofmill_jose::{DecryptionKey, EncryptionKey, JweError, KeyError};
use proptest::prelude::*;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::{Oaep, RsaPrivateKey};
use serde_json::{Value, json};
use sha2::Sha256;

static KEY: LazyLock<DecryptionKey> = LazyLock::new(|| DecryptionKey::generate("key-1", 2048).unwrap());
static PUBLIC: LazyLock<EncryptionKey> = LazyLock::new(|| EncryptionKey::from_jwk("key-1", &KEY.public_jwk()).unwrap());
static PLAIN: &[u8] = br#"{"type":"verification.session.failed"}"#;

#[test]
fn the_message_has_the_published_header_and_five_parts_of_the_right_lengths() {
    let jwe = PUBLIC.encrypt(PLAIN).unwrap();
    let parts: Vec<Vec<u8>> = jwe.split('.').map(|part| B64.decode(part).unwrap()).collect();
    assert_eq!(parts.len(), 5);
    assert_eq!(parts[0], br#"{"alg":"RSA-OAEP-256","enc":"A256GCM","kid":"key-1"}"#);
    assert_eq!(parts[1].len(), 256);
    assert_eq!(parts[2].len(), 12);
    assert_eq!(parts[3].len(), PLAIN.len());
    assert_eq!(parts[4].len(), 16);
    assert_eq!(KEY.decrypt(&jwe).unwrap().as_slice(), PLAIN);
}

/// As long a key as the cryptographic library takes; its private half was thrown away.
#[test]
fn a_key_of_8192_bits_is_encrypted_to() {
    let n = include_str!("modulus_8192.txt").trim();
    let key = EncryptionKey::from_jwk("long", &json!({ "kty": "RSA", "n": n, "e": "AQAB" })).unwrap();
    assert_eq!(key.bits(), 8192);
    let again = EncryptionKey::from_registered_jwk("long", &key.to_jwk()).unwrap();
    let jwe = again.encrypt(PLAIN).unwrap();
    let lengths: Vec<usize> = jwe.split('.').map(|part| B64.decode(part).unwrap().len()).collect();
    assert_eq!(lengths[1..], [1024, 12, PLAIN.len(), 16]);
}

#[test]
fn every_message_has_its_own_content_key_and_initialization_vector() {
    let first = PUBLIC.encrypt(PLAIN).unwrap();
    let second = PUBLIC.encrypt(PLAIN).unwrap();
    let differs = first.split('.').zip(second.split('.')).skip(1).all(|(a, b)| a != b);
    assert!(differs);
}

#[test]
fn an_independent_implementation_decrypts_what_we_encrypt() {
    let jwe = PUBLIC.encrypt(PLAIN).unwrap();
    let parts: Vec<&str> = jwe.split('.').collect();
    let decode = |index: usize| B64.decode(parts[index]).unwrap();
    let content_key = independent_key().decrypt(Oaep::<Sha256>::new(), &decode(1)).unwrap();
    let sealed = [decode(3), decode(4)].concat();
    let plain = Aes256Gcm::new_from_slice(&content_key)
        .unwrap()
        .decrypt(decode(2).as_slice().try_into().unwrap(), Payload { msg: &sealed, aad: parts[0].as_bytes() })
        .unwrap();
    assert_eq!(plain, PLAIN);
}

#[test]
fn we_decrypt_what_an_independent_implementation_encrypts() {
    for header in [
        json!({"enc": "A256GCM", "kid": "key-1", "alg": "RSA-OAEP-256", "typ": "JOSE"}),
        json!({"alg": "RSA-OAEP-256", "enc": "A256GCM"}),
    ] {
        assert_eq!(KEY.decrypt(&independent_jwe(&header)).unwrap().as_slice(), PLAIN, "{header}");
    }
}

#[test]
fn headers_that_change_the_meaning_are_refused_by_name() {
    let with = |member: &str, value: Value| {
        let mut header = json!({"alg": "RSA-OAEP-256", "enc": "A256GCM", "kid": "key-1"});
        header[member] = value;
        KEY.decrypt(&independent_jwe(&header)).unwrap_err()
    };
    assert_eq!(with("alg", json!("RSA-OAEP")), JweError::Unsupported("alg"));
    assert_eq!(with("enc", json!("A128GCM")), JweError::Unsupported("enc"));
    assert_eq!(with("zip", json!("DEF")), JweError::Unsupported("zip"));
    assert_eq!(with("crit", json!(["exp"])), JweError::Unsupported("crit"));
    assert_eq!(with("kid", json!("key-2")), JweError::OtherKey);
    assert!(matches!(with("alg", json!(1)), JweError::Malformed(_)));
}

#[test]
fn every_flipped_bit_is_noticed() {
    let jwe = PUBLIC.encrypt(PLAIN).unwrap();
    let parts: Vec<Vec<u8>> = jwe.split('.').map(|part| B64.decode(part).unwrap()).collect();
    for part in 0..5 {
        // Each bit of the encrypted key costs a private-key operation: a sample of them is enough there.
        let step = if part == 1 { 97 } else { 1 };
        for bit in (0..parts[part].len() * 8).step_by(step) {
            let mut changed = parts.clone();
            changed[part][bit / 8] ^= 1 << (bit % 8);
            let encoded: Vec<String> = changed.iter().map(|bytes| B64.encode(bytes)).collect();
            let error = KEY.decrypt(&encoded.join(".")).unwrap_err();
            match part {
                // The header may also turn into another algorithm, another key id or no JSON at all.
                0 => {}
                _ => assert_eq!(error, JweError::Authentication, "part {part} bit {bit}"),
            }
        }
    }
}

#[test]
fn a_wrong_key_and_a_changed_message_are_not_told_apart() {
    let other = DecryptionKey::generate("key-1", 2048).unwrap();
    assert_eq!(other.decrypt(&PUBLIC.encrypt(PLAIN).unwrap()).unwrap_err(), JweError::Authentication);
}

#[test]
fn malformed_messages_are_named() {
    let jwe = PUBLIC.encrypt(PLAIN).unwrap();
    let parts: Vec<&str> = jwe.split('.').collect();
    let replaced = |index: usize, with: &str| {
        let mut parts = parts.clone();
        parts[index] = with;
        KEY.decrypt(&parts.join(".")).unwrap_err()
    };
    for bad in ["", "a", "a.b.c.d", &format!("{jwe}.x"), &parts[..4].join(".")] {
        assert!(matches!(KEY.decrypt(bad), Err(JweError::Malformed(_))), "{bad}");
    }
    for (index, bad) in [(0, "!"), (0, "e30"), (1, "AAAA"), (1, "="), (2, "AAAA"), (3, "*"), (4, "AAAA")] {
        assert!(matches!(replaced(index, bad), JweError::Malformed(_)), "part {index} as {bad}");
    }
}

#[test]
fn long_and_empty_plaintexts_come_back() {
    for length in [0, 1, 15, 16, 17, 1 << 20] {
        let plain = vec![0x5a; length];
        assert_eq!(KEY.decrypt(&PUBLIC.encrypt(&plain).unwrap()).unwrap().as_slice(), plain);
    }
}

#[test]
fn a_private_key_survives_pem_and_other_input_is_refused() {
    let copy = DecryptionKey::from_pem("key-1", &KEY.to_pem()).unwrap();
    assert_eq!(copy.public_jwk(), KEY.public_jwk());
    assert_eq!(copy.decrypt(&PUBLIC.encrypt(PLAIN).unwrap()).unwrap().as_slice(), PLAIN);
    assert!(!format!("{copy:?}").contains(KEY.public_jwk()["n"].as_str().unwrap()));
    assert_eq!(DecryptionKey::from_pem("k", "").unwrap_err(), KeyError::Invalid);
    assert_eq!(DecryptionKey::from_pkcs8("k", &[0x30, 0]).unwrap_err(), KeyError::Invalid);
    assert_eq!(DecryptionKey::generate("k", 1024).unwrap_err(), KeyError::Size(1024));
}

proptest! {
    #[test]
    fn no_text_makes_decryption_panic(text in "[A-Za-z0-9_.=-]{0,200}") {
        prop_assert!(KEY.decrypt(&text).is_err());
    }
}

fn independent_key() -> RsaPrivateKey {
    RsaPrivateKey::from_pkcs8_pem(&KEY.to_pem()).unwrap()
}

fn independent_jwe(header: &Value) -> String {
    let header = B64.encode(serde_json::to_vec(header).unwrap());
    let content_key = [7u8; 32];
    let iv = [9u8; 12];
    let wrapped =
        independent_key().to_public_key().encrypt(&mut rand::rng(), Oaep::<Sha256>::new(), &content_key).unwrap();
    let sealed = Aes256Gcm::new_from_slice(&content_key)
        .unwrap()
        .encrypt(iv.as_slice().try_into().unwrap(), Payload { msg: PLAIN, aad: header.as_bytes() })
        .unwrap();
    let (ciphertext, tag) = sealed.split_at(PLAIN.len());
    [header, B64.encode(wrapped), B64.encode(iv), B64.encode(ciphertext), B64.encode(tag)].join(".")
}
