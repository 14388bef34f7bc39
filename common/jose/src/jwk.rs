//! A receiver's public RSA key as a JSON Web Key (RFC 7517, RFC 7518 §6.3.1).

use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey, PublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

/// Fewer bits are not accepted (RFC 7518 §4.3).
pub const MIN_RSA_BITS: usize = 2048;
/// More bits the cryptographic library does not take.
pub const MAX_RSA_BITS: usize = 8192;
/// Public exponents are odd, at least 3 and below 2^33: cryptographic libraries read larger ones and then refuse to compute
/// with them.
const MAX_EXPONENT_BITS: usize = 33;
/// A modulus of two large primes has no factor below this.
const SMALL_FACTORS: u64 = 1_000;
/// Bytes of a key id: it travels in the header of every message.
pub const MAX_KEY_ID_BYTES: usize = 255;

/// Members that only a private or symmetric key has (RFC 7518 §6.3.2, §6.4.1).
pub(crate) const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Why a JWK cannot be used to encrypt. Names the member, never its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// The key id is empty, too long or has control characters.
    #[error("key id must be 1 to {MAX_KEY_ID_BYTES} bytes without control characters")]
    KeyId,
    /// Not a JSON object.
    #[error("jwk must be a JSON object")]
    NotAnObject,
    /// A member that must be there is missing or has another type.
    #[error("jwk member `{0}` is missing or not a string")]
    Missing(&'static str),
    /// A member has a value that is not accepted.
    #[error("jwk member `{member}` must be {expected}")]
    Invalid {
        /// The member.
        member: &'static str,
        /// What would be accepted.
        expected: &'static str,
    },
    /// Somebody is about to hand out a private key.
    #[error("jwk has the private member `{0}`: send the public key only, and replace this key")]
    Private(&'static str),
    /// The modulus is too short or too long.
    #[error("rsa modulus has {0} bits: {MIN_RSA_BITS} to {MAX_RSA_BITS} are accepted")]
    Size(usize),
    /// The exponent is not one that messages can be encrypted with.
    #[error("jwk member `e` must be an odd number from 3 to 2^33 - 1; 65537 (`AQAB`) is usual")]
    Exponent,
    /// The numbers are not an RSA public key.
    #[error("n and e are not a usable RSA public key")]
    Rejected,
}

/// A receiver's public key, checked, ready to encrypt to (RSA-OAEP-256).
pub struct EncryptionKey {
    key_id: String,
    n: Vec<u8>,
    e: Vec<u8>,
    oaep: OaepPublicEncryptingKey,
}

impl EncryptionKey {
    /// Reads and checks a public JWK; `key_id` is the caller's name for it and becomes `kid`.
    ///
    /// `use`, `key_ops` and `alg` may be absent (RFC 7517 §4.3 advises against sending `use` and
    /// `key_ops` together), but what is present must allow encryption with RSA-OAEP-256.
    /// Members that this product does not know are ignored and not kept.
    ///
    /// # Errors
    /// See [`JwkError`].
    pub fn from_jwk(key_id: &str, jwk: &Value) -> Result<Self, JwkError> {
        check_key_id(key_id)?;
        let jwk = jwk.as_object().ok_or(JwkError::NotAnObject)?;
        if let Some(member) = PRIVATE_MEMBERS.into_iter().find(|member| jwk.contains_key(*member)) {
            return Err(JwkError::Private(member));
        }
        if text(jwk, "kty")? != "RSA" {
            return Err(JwkError::Invalid { member: "kty", expected: "`RSA`" });
        }
        check_purpose(jwk)?;
        let n = unsigned(jwk, "n")?;
        let e = unsigned(jwk, "e")?;
        let key = Self::from_components(key_id, n, e)?;
        // The library accepts numbers that it cannot encrypt with, and that would be found when a verdict is to be sent.
        if has_small_factor(&key.n) || !key.encrypts() {
            return Err(JwkError::Rejected);
        }
        Ok(key)
    }

    /// Reads back a key that [`EncryptionKey::from_jwk`] accepted, without the tests that take as long as an encryption.
    ///
    /// # Errors
    /// See [`JwkError`].
    pub fn from_registered_jwk(key_id: &str, jwk: &Value) -> Result<Self, JwkError> {
        let jwk = jwk.as_object().ok_or(JwkError::NotAnObject)?;
        Self::from_components(key_id, unsigned(jwk, "n")?, unsigned(jwk, "e")?)
    }

    /// From the big-endian modulus and exponent, without leading zeros.
    pub(crate) fn from_components(key_id: &str, n: Vec<u8>, e: Vec<u8>) -> Result<Self, JwkError> {
        check_key_id(key_id)?;
        let bits = bit_length(&n);
        if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
            return Err(JwkError::Size(bits));
        }
        let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
        if !odd(&e) || e == [1] || bit_length(&e) > MAX_EXPONENT_BITS {
            return Err(JwkError::Exponent);
        }
        if !odd(&n) {
            return Err(JwkError::Rejected);
        }
        let key: PublicEncryptingKey =
            PublicKeyComponents { n: n.as_slice(), e: e.as_slice() }.try_into().map_err(|_| JwkError::Rejected)?;
        let oaep = OaepPublicEncryptingKey::new(key).map_err(|_| JwkError::Rejected)?;
        Ok(Self { key_id: key_id.to_owned(), n, e, oaep })
    }

    /// The caller's name for the key, the `kid` of every message encrypted to it.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Bits of the modulus.
    pub fn bits(&self) -> usize {
        bit_length(&self.n)
    }

    /// The canonical public JWK: what [`EncryptionKey::from_jwk`] reads back to the same key.
    pub fn to_jwk(&self) -> Value {
        json!({
            "kty": "RSA",
            "n": URL_SAFE_NO_PAD.encode(&self.n),
            "e": URL_SAFE_NO_PAD.encode(&self.e),
            "alg": "RSA-OAEP-256",
            "use": "enc",
            "key_ops": ["encrypt"],
            "kid": self.key_id,
        })
    }

    /// Whether something encrypts.
    fn encrypts(&self) -> bool {
        let mut wrapped = vec![0; self.oaep.ciphertext_size()];
        self.oaep.encrypt(&OAEP_SHA256_MGF1SHA256, &[0; 32], &mut wrapped, None).is_ok()
    }

    pub(crate) fn oaep(&self) -> &OaepPublicEncryptingKey {
        &self.oaep
    }
}

impl std::fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EncryptionKey").field("key_id", &self.key_id).field("bits", &self.bits()).finish()
    }
}

pub(crate) fn check_key_id(key_id: &str) -> Result<(), JwkError> {
    if key_id.is_empty() || key_id.len() > MAX_KEY_ID_BYTES || key_id.chars().any(char::is_control) {
        return Err(JwkError::KeyId);
    }
    Ok(())
}

fn check_purpose(jwk: &Map<String, Value>) -> Result<(), JwkError> {
    if let Some(purpose) = jwk.get("use")
        && purpose != "enc"
    {
        return Err(JwkError::Invalid { member: "use", expected: "`enc`" });
    }
    if let Some(algorithm) = jwk.get("alg")
        && algorithm != "RSA-OAEP-256"
    {
        return Err(JwkError::Invalid { member: "alg", expected: "`RSA-OAEP-256`" });
    }
    if let Some(operations) = jwk.get("key_ops") {
        let error = JwkError::Invalid {
            member: "key_ops",
            expected: "an array with `encrypt`, and at most `wrapKey` beside it",
        };
        let operations = operations.as_array().ok_or_else(|| error.clone())?;
        let only_public = operations.iter().all(|op| op == "encrypt" || op == "wrapKey");
        if !only_public || !operations.iter().any(|op| op == "encrypt") {
            return Err(error);
        }
    }
    Ok(())
}

pub(crate) fn text<'a>(jwk: &'a Map<String, Value>, member: &'static str) -> Result<&'a str, JwkError> {
    jwk.get(member).and_then(Value::as_str).ok_or(JwkError::Missing(member))
}

/// Base64urlUInt (RFC 7518 §2): no padding, no leading zero octet. Some encoders do send one;
/// refusing it keeps one key from having two spellings.
fn unsigned(jwk: &Map<String, Value>, member: &'static str) -> Result<Vec<u8>, JwkError> {
    let invalid = JwkError::Invalid { member, expected: "base64url without padding or leading zero octets" };
    let text = text(jwk, member)?;
    if text.len() > MAX_RSA_BITS / 8 * 4 / 3 + 4 {
        return Err(JwkError::Invalid { member, expected: "at most 8192 bits" });
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid.clone())?;
    match bytes.first() {
        None | Some(0) => Err(invalid),
        Some(_) => Ok(bytes),
    }
}

/// Whether a big-endian number has an odd factor below [`SMALL_FACTORS`].
fn has_small_factor(number: &[u8]) -> bool {
    let remainder = |divisor| number.iter().fold(0, |rest: u64, byte| (rest << 8 | u64::from(*byte)) % divisor);
    (3..SMALL_FACTORS).step_by(2).any(|divisor| remainder(divisor) == 0)
}

fn bit_length(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DecryptionKey;
    use std::sync::LazyLock;

    static JWK: LazyLock<Value> = LazyLock::new(|| DecryptionKey::generate("k", 2048).unwrap().public_jwk());

    fn with(member: &str, value: Value) -> Result<EncryptionKey, JwkError> {
        let mut jwk = JWK.clone();
        jwk[member] = value;
        EncryptionKey::from_jwk("k", &jwk)
    }

    fn without(members: &[&str]) -> Result<EncryptionKey, JwkError> {
        let mut jwk = JWK.clone();
        for member in members {
            jwk.as_object_mut().unwrap().remove(*member);
        }
        EncryptionKey::from_jwk("k", &jwk)
    }

    #[test]
    fn a_public_key_reads_back_to_its_canonical_form() {
        let key = EncryptionKey::from_jwk("caller key 1", &JWK).unwrap();
        assert_eq!(key.key_id(), "caller key 1");
        assert_eq!(key.bits(), 2048);
        let mut expected = JWK.clone();
        expected["kid"] = json!("caller key 1");
        assert_eq!(key.to_jwk(), expected);
        assert_eq!(without(&["use", "key_ops", "alg", "kid"]).unwrap().to_jwk()["n"], JWK["n"]);
        with("x5t", json!("ignored")).unwrap();
    }

    #[test]
    fn private_and_symmetric_members_are_refused_by_name() {
        for member in PRIVATE_MEMBERS {
            assert_eq!(with(member, json!("AQ")).unwrap_err(), JwkError::Private(member));
        }
    }

    #[test]
    fn what_does_not_allow_encryption_is_refused_by_name() {
        let member = |error| match error {
            JwkError::Invalid { member, .. } => member,
            other => panic!("{other}"),
        };
        assert_eq!(member(with("use", json!("sig")).unwrap_err()), "use");
        assert_eq!(member(with("alg", json!("RSA-OAEP")).unwrap_err()), "alg");
        assert_eq!(member(with("key_ops", json!(["verify"])).unwrap_err()), "key_ops");
        assert_eq!(member(with("key_ops", json!(["encrypt", "decrypt"])).unwrap_err()), "key_ops");
        assert_eq!(member(with("key_ops", json!("encrypt")).unwrap_err()), "key_ops");
        assert_eq!(member(with("kty", json!("EC")).unwrap_err()), "kty");
        with("key_ops", json!(["encrypt", "wrapKey"])).unwrap();
    }

    #[test]
    fn numbers_that_are_not_a_canonical_key_are_refused() {
        assert_eq!(without(&["n"]).unwrap_err(), JwkError::Missing("n"));
        assert_eq!(with("e", json!(65537)).unwrap_err(), JwkError::Missing("e"));
        let n = URL_SAFE_NO_PAD.decode(JWK["n"].as_str().unwrap()).unwrap();
        let padded = [&[0u8], n.as_slice()].concat();
        for (member, bad) in [
            ("n", URL_SAFE_NO_PAD.encode(padded)),
            ("n", format!("{}=", JWK["n"].as_str().unwrap())),
            ("n", String::new()),
            ("n", "A".repeat(1 << 20)),
            ("e", "AAEAAQ".into()),
            ("e", "+/".into()),
        ] {
            assert!(matches!(with(member, json!(bad)), Err(JwkError::Invalid { .. })), "{member}");
        }
        assert_eq!(with("e", json!("AQ")).unwrap_err(), JwkError::Exponent);
        assert_eq!(with("e", json!("Ag")).unwrap_err(), JwkError::Exponent);
        let mut even = n.clone();
        *even.last_mut().unwrap() &= 0xfe;
        assert_eq!(with("n", json!(URL_SAFE_NO_PAD.encode(even))).unwrap_err(), JwkError::Rejected);
    }

    /// Keys that parse and that no message can be encrypted to, or that anybody can take apart.
    #[test]
    fn keys_that_never_encrypt_are_refused() {
        let number = |bytes: &[u8]| json!(URL_SAFE_NO_PAD.encode(bytes));
        let n = URL_SAFE_NO_PAD.decode(JWK["n"].as_str().unwrap()).unwrap();
        let mut beyond = n.clone();
        beyond[0] |= 0x80;
        *beyond.last_mut().unwrap() |= 1;
        for e in [&[2, 0, 0, 0, 1][..], &[1, 0, 0, 0, 0, 0, 0, 1], &n, &beyond, &[4], &[1, 0, 0]] {
            assert_eq!(with("e", number(e)).unwrap_err(), JwkError::Exponent, "{} bytes", e.len());
        }
        for e in [&[3][..], &[17], &[1, 0, 1], &[1, 0, 0, 0, 1], &[1, 0xff, 0xff, 0xff, 0xff]] {
            let key = with("e", number(e)).unwrap();
            assert_eq!(key.encrypt(b"x").unwrap().split('.').count(), 5);
        }
        // All ones is divisible by three; the others by 997, and by 3 only.
        assert_eq!(with("n", number(&[0xff; 256])).unwrap_err(), JwkError::Rejected);
        for factor in [3_u64, 997] {
            assert_eq!(with("n", number(&multiple(&n, factor))).unwrap_err(), JwkError::Rejected, "{factor}");
        }
        // It would be read back, had it been accepted before: settling must not pay for the tests again.
        let mut jwk = JWK.clone();
        jwk["n"] = number(&[0xff; 256]);
        EncryptionKey::from_registered_jwk("k", &jwk).unwrap();
    }

    fn multiple(number: &[u8], factor: u64) -> Vec<u8> {
        let mut carry = 0;
        let mut digits: Vec<u8> = Vec::new();
        for byte in number.iter().rev() {
            carry += u64::from(*byte) * factor;
            digits.push(carry as u8);
            carry >>= 8;
        }
        while carry > 0 {
            digits.push(carry as u8);
            carry >>= 8;
        }
        digits.reverse();
        digits
    }

    #[test]
    fn short_and_giant_moduli_are_refused_with_their_size() {
        let number = |bits: usize| {
            let mut bytes = vec![0xff; bits.div_ceil(8)];
            bytes[0] = 0xff >> (bytes.len() * 8 - bits);
            json!(URL_SAFE_NO_PAD.encode(bytes))
        };
        assert_eq!(with("n", number(1024)).unwrap_err(), JwkError::Size(1024));
        assert_eq!(with("n", number(2047)).unwrap_err(), JwkError::Size(2047));
        assert_eq!(with("n", number(8193)).unwrap_err(), JwkError::Size(8193));
        let told = with("n", number(8193)).unwrap_err().to_string();
        assert_eq!(told, "rsa modulus has 8193 bits: 2048 to 8192 are accepted");
        // Far beyond, the size is not worked out.
        let told = with("n", number(16_384)).unwrap_err().to_string();
        assert_eq!(told, "jwk member `n` must be at most 8192 bits");
    }

    #[test]
    fn unusable_key_ids_are_refused() {
        for id in ["", "a\nb", &"x".repeat(256)] {
            assert_eq!(EncryptionKey::from_jwk(id, &JWK).unwrap_err(), JwkError::KeyId);
        }
        assert_eq!(EncryptionKey::from_jwk("k", &json!([])).unwrap_err(), JwkError::NotAnObject);
    }
}
