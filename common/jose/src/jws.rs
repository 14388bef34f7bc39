//! Compact JSON Web Signatures (RFC 7515): what a registered signer states, and the signer's own side of it.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::json;

use crate::jwk::check_key_id;
use crate::public_key::{PublicKeyError, SignatureAlgorithm, VerifyingKey};

/// Bytes of a signature that is read at all.
pub const MAX_JWS_BYTES: usize = 64 << 10;

/// Why a text is not a signature that counts. Quotes nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Not three parts of base64url, or the header is not an object with text members.
    #[error("not a compact JWS")]
    Malformed,
    /// `alg` is none of those that are accepted, or not the key's.
    #[error("its algorithm is not accepted")]
    Algorithm,
    /// The header demands something that is not understood (`crit`, `b64`).
    #[error("its header has a critical member")]
    Critical,
    /// Not signed by this key, or changed since.
    #[error("its signature does not hold")]
    Signature,
}

/// Why nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// The key's name is unusable.
    #[error(transparent)]
    Key(PublicKeyError),
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Internal,
}

/// A signature that was read and not yet verified. What was signed is out of reach until [`Jws::verify`].
pub struct Jws<'a> {
    algorithm: SignatureAlgorithm,
    key_id: Option<String>,
    signed: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
    #[serde(default, deserialize_with = "present")]
    b64: bool,
}

/// Even `null` is there.
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(value).map(|_| true)
}

impl<'a> Jws<'a> {
    /// Reads a compact JWS. Keys that the header brings or points to (`jwk`, `jku`, `x5c`, `x5u`) are never used.
    ///
    /// # Errors
    /// [`JwsError::Malformed`], [`JwsError::Algorithm`], [`JwsError::Critical`].
    pub fn parse(text: &'a str) -> Result<Self, JwsError> {
        if text.len() > MAX_JWS_BYTES {
            return Err(JwsError::Malformed);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(JwsError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(JwsError::Malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::Malformed);
        let header = decode(header)?;
        // A struct would also read an array, by position.
        if header.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(JwsError::Malformed);
        }
        let header: Header = serde_json::from_slice(&header).map_err(|_| JwsError::Malformed)?;
        if header.crit || header.b64 {
            return Err(JwsError::Critical);
        }
        let algorithm = SignatureAlgorithm::from_name(&header.alg).ok_or(JwsError::Algorithm)?;
        // No key can have such a name: callers may look the rest up as they are.
        if header.kid.as_deref().is_some_and(|kid| check_key_id(kid).is_err()) {
            return Err(JwsError::Malformed);
        }
        Ok(Self { algorithm, key_id: header.kid, signed, payload: decode(payload)?, signature: decode(signature)? })
    }

    /// What the header calls the signer's key.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// What it claims to be signed with.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// What was signed, if this key signed it. The key decides the algorithm: a header that names another is refused.
    ///
    /// # Errors
    /// [`JwsError::Algorithm`], [`JwsError::Signature`].
    pub fn verify(&self, key: &VerifyingKey) -> Result<&[u8], JwsError> {
        if key.algorithm() != self.algorithm {
            return Err(JwsError::Algorithm);
        }
        if key.verifies(self.signed.as_bytes(), &self.signature) { Ok(&self.payload) } else { Err(JwsError::Signature) }
    }
}

/// A signer's private key: for the demonstration and the tests, and as a reference for those who build readers.
pub struct SigningKey {
    pair: Pair,
    public: VerifyingKey,
}

enum Pair {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl SigningKey {
    /// A fresh P-256 key.
    ///
    /// # Errors
    /// [`SigningError`] if the generator fails or the name cannot be used.
    pub fn es256(key_id: &str) -> Result<Self, SigningError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| SigningError::Internal)?;
        let (x, y) = pair.public_key().as_ref().get(1..65).ok_or(SigningError::Internal)?.split_at(32);
        let jwk = json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) });
        let public = VerifyingKey::from_jwk(Some(key_id), &jwk).map_err(SigningError::Key)?;
        Ok(Self { pair: Pair::Es256(pair), public })
    }

    /// A fresh Ed25519 key.
    ///
    /// # Errors
    /// [`SigningError`] if the generator fails or the name cannot be used.
    pub fn ed25519(key_id: &str) -> Result<Self, SigningError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| SigningError::Internal)?;
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref()) });
        let public = VerifyingKey::from_jwk(Some(key_id), &jwk).map_err(SigningError::Key)?;
        Ok(Self { pair: Pair::EdDsa(pair), public })
    }

    /// The public half, to be registered.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.public
    }

    /// Signs a payload; the header names algorithm and key.
    ///
    /// # Errors
    /// [`SigningError`] if the generator fails.
    pub fn sign(&self, payload: &[u8]) -> Result<String, SigningError> {
        let header = json!({ "alg": self.public.algorithm().name(), "kid": self.public.key_id() });
        self.sign_under(&header.to_string(), payload)
    }

    /// Signs a payload under a header of the caller's making.
    ///
    /// # Errors
    /// [`SigningError`] if the generator fails.
    pub fn sign_under(&self, header: &str, payload: &[u8]) -> Result<String, SigningError> {
        let signed = format!("{}.{}", encode(header.as_bytes()), encode(payload));
        let signature = match &self.pair {
            Pair::Es256(pair) => {
                let signature =
                    pair.sign(&SystemRandom::new(), signed.as_bytes()).map_err(|_| SigningError::Internal)?;
                encode(signature.as_ref())
            }
            Pair::EdDsa(pair) => encode(pair.sign(signed.as_bytes()).as_ref()),
        };
        Ok(format!("{signed}.{signature}"))
    }
}

fn encode(octets: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> [SigningKey; 2] {
        [SigningKey::es256("reader 1").unwrap(), SigningKey::ed25519("reader 2").unwrap()]
    }

    fn parse(text: &str) -> JwsError {
        Jws::parse(text).err().unwrap()
    }

    #[test]
    fn what_a_key_signed_its_public_half_verifies() {
        for key in keys() {
            let text = key.sign(b"statement").unwrap();
            let jws = Jws::parse(&text).unwrap();
            assert_eq!(jws.key_id(), Some(key.verifying_key().key_id()));
            assert_eq!(jws.verify(key.verifying_key()).unwrap(), b"statement");
        }
    }

    /// RFC 8037 appendix A.4.
    #[test]
    fn the_standards_own_example_verifies() {
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
        let key = VerifyingKey::from_jwk(None, &jwk).unwrap();
        let text = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
            hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        let jws = Jws::parse(text).unwrap();
        assert_eq!((jws.key_id(), jws.algorithm()), (None, SignatureAlgorithm::EdDsa));
        assert_eq!(jws.verify(&key).unwrap(), b"Example of Ed25519 signing");
    }

    /// RFC 7515 appendix A.3.
    #[test]
    fn the_standards_own_es256_example_verifies() {
        let jwk = json!({
            "kty": "EC", "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        });
        let key = VerifyingKey::from_jwk(None, &jwk).unwrap();
        let text = "eyJhbGciOiJFUzI1NiJ9.\
            eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
            DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
        assert!(Jws::parse(text).unwrap().verify(&key).unwrap().starts_with(br#"{"iss":"joe","#));
    }

    #[test]
    fn another_key_another_algorithm_and_every_flipped_character_are_refused() {
        let [ec, ed] = keys();
        for (key, other) in [(&ec, &ed), (&ed, &ec)] {
            let text = key.sign(b"statement").unwrap();
            assert_eq!(Jws::parse(&text).unwrap().verify(other.verifying_key()), Err(JwsError::Algorithm));
            // The header may say what it likes: the key decides.
            let alg = json!({ "alg": other.verifying_key().algorithm().name() }).to_string();
            let claimed = key.sign_under(&alg, b"statement").unwrap();
            assert_eq!(Jws::parse(&claimed).unwrap().verify(key.verifying_key()), Err(JwsError::Algorithm));
            assert!(Jws::parse(&claimed).unwrap().verify(other.verifying_key()).is_err());
            for index in 0..text.len() {
                let mut changed = text.clone().into_bytes();
                changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
                let changed = String::from_utf8(changed).unwrap();
                let holds = Jws::parse(&changed).is_ok_and(|jws| jws.verify(key.verifying_key()).is_ok());
                assert!(!holds, "character {index}");
            }
        }
        let [another, _] = keys();
        let text = ec.sign(b"statement").unwrap();
        assert_eq!(Jws::parse(&text).unwrap().verify(another.verifying_key()), Err(JwsError::Signature));
    }

    #[test]
    fn unsigned_symmetric_and_critical_headers_are_refused() {
        let [key, _] = keys();
        let under = |header: &str| key.sign_under(header, b"{}").unwrap();
        for alg in ["none", "None", "HS256", "ES384", "RS256", "es256", "Ed25519", ""] {
            assert_eq!(parse(&under(&json!({ "alg": alg }).to_string())), JwsError::Algorithm, "{alg}");
        }
        for critical in [r#""crit":["exp"]"#, r#""crit":[]"#, r#""crit":null"#, r#""b64":false"#] {
            assert_eq!(parse(&under(&format!(r#"{{"alg":"ES256",{critical}}}"#))), JwsError::Critical);
        }
        for header in [
            "",
            "{}",
            "null",
            r#"["ES256",null,false,false]"#,
            r#"{"alg":null}"#,
            r#"{"alg":"ES256","kid":1}"#,
            r#"{"alg":"ES256","kid":""}"#,
            r#"{"alg":"ES256","kid":"a\u0000"}"#,
            r#"{"alg":"ES256","alg":"ES256"}"#,
            r#"{"alg":"ES256"}x"#,
        ] {
            assert_eq!(parse(&under(header)), JwsError::Malformed, "{header}");
        }
    }

    #[test]
    fn texts_of_another_form_are_malformed() {
        let [key, _] = keys();
        let text = key.sign(b"statement").unwrap();
        let parts: Vec<&str> = text.split('.').collect();
        for bad in [
            String::new(),
            ".".into(),
            "..".into(),
            parts[..2].join("."),
            format!("{text}."),
            format!("{text}="),
            format!("{text}\n"),
            format!(" {text}"),
            text.replace('.', ".."),
            "A".repeat(MAX_JWS_BYTES + 1),
        ] {
            assert_eq!(parse(&bad), JwsError::Malformed, "{bad:.40}");
        }
        // Detached and unsigned: readable, and signed by nobody.
        let unsigned = format!("{}.{}.", parts[0], parts[1]);
        assert_eq!(Jws::parse(&unsigned).unwrap().verify(key.verifying_key()), Err(JwsError::Signature));
    }
}
