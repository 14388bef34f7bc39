//! A signer's public key: P-256 (ES256) or Ed25519 (EdDSA), from a JWK (RFC 7517, RFC 7518 §6.2, RFC 8037) or from PEM
//! (SubjectPublicKeyInfo, RFC 5280 §4.1.2.7, RFC 7468 §13).

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use crate::jwk::{PRIVATE_MEMBERS, check_key_id, text};

/// Octets of a coordinate of P-256, and of an Ed25519 key.
const OCTETS: usize = 32;

/// What stands before the uncompressed point of a P-256 key in its SubjectPublicKeyInfo (RFC 5480 §2.1.1, §2.2): sequence,
/// id-ecPublicKey, secp256r1, bit string, point format 4.
const P256_PREFIX: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];
/// The same of an Ed25519 key (RFC 8410 §4).
const ED25519_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A signature algorithm of JWS (RFC 7518 §3.4, RFC 8037 §3.1). There are no others: least of all `none`, or a symmetric
/// one that would take a public key for its secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignatureAlgorithm {
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl SignatureAlgorithm {
    /// The value of `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            SignatureAlgorithm::Es256 => "ES256",
            SignatureAlgorithm::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [SignatureAlgorithm::Es256, SignatureAlgorithm::EdDsa].into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// Why a public key cannot be used to verify. Names the member, never its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// The JWK's form, its name, or a private member.
    #[error(transparent)]
    Jwk(#[from] crate::JwkError),
    /// Not a PEM file of one public key.
    #[error("not a PEM public key: {0}")]
    Pem(&'static str),
    /// The coordinates are not a point that may be used.
    #[error("not a point of the key's curve")]
    Point,
}

/// A signer's public key, checked.
#[derive(Clone)]
pub struct VerifyingKey {
    key_id: String,
    algorithm: SignatureAlgorithm,
    /// x and y, or the Ed25519 key.
    coordinates: Vec<u8>,
    parsed: ParsedPublicKey,
}

impl VerifyingKey {
    /// Reads and checks a public JWK. `key_id` is the caller's name for it; without one its own `kid` counts, and without
    /// that its thumbprint (RFC 7638).
    ///
    /// `use`, `key_ops` and `alg` may be absent; what is present must allow verification with the key's one algorithm.
    ///
    /// # Errors
    /// See [`PublicKeyError`].
    pub fn from_jwk(key_id: Option<&str>, jwk: &Value) -> Result<Self, PublicKeyError> {
        use crate::JwkError;
        let jwk = jwk.as_object().ok_or(JwkError::NotAnObject)?;
        if let Some(member) = PRIVATE_MEMBERS.into_iter().find(|member| jwk.contains_key(*member)) {
            return Err(JwkError::Private(member).into());
        }
        let (algorithm, curve, members): (_, _, &[&'static str]) = match text(jwk, "kty")? {
            "EC" => (SignatureAlgorithm::Es256, "P-256", &["x", "y"]),
            "OKP" => (SignatureAlgorithm::EdDsa, "Ed25519", &["x"]),
            _ => return Err(JwkError::Invalid { member: "kty", expected: "`EC` or `OKP`" }.into()),
        };
        if text(jwk, "crv")? != curve {
            let expected = "`P-256` for `EC`, `Ed25519` for `OKP`";
            return Err(JwkError::Invalid { member: "crv", expected }.into());
        }
        check_purpose(jwk, algorithm)?;
        let mut coordinates = Vec::with_capacity(2 * OCTETS);
        for member in members {
            coordinates.extend(coordinate(jwk, member)?);
        }
        let own = jwk.get("kid").map(|kid| kid.as_str().ok_or(JwkError::Missing("kid"))).transpose()?;
        Self::from_coordinates(key_id.or(own), algorithm, coordinates)
    }

    /// Reads a PEM file of one public key (`-----BEGIN PUBLIC KEY-----`). `key_id` is the caller's name for it; without one
    /// it is called by its thumbprint (RFC 7638).
    ///
    /// # Errors
    /// See [`PublicKeyError`].
    pub fn from_pem(key_id: Option<&str>, pem: &str) -> Result<Self, PublicKeyError> {
        if pem.contains("PRIVATE KEY-----") {
            return Err(PublicKeyError::Pem("it holds a private key: send the public key only, and replace this key"));
        }
        let body = pem
            .trim()
            .strip_prefix("-----BEGIN PUBLIC KEY-----")
            .and_then(|rest| rest.strip_suffix("-----END PUBLIC KEY-----"))
            .ok_or(PublicKeyError::Pem("expected one block `PUBLIC KEY` and nothing else"))?;
        let base64: String = body.split_ascii_whitespace().collect();
        let der = STANDARD.decode(base64).map_err(|_| PublicKeyError::Pem("its content is not base64"))?;
        let (algorithm, coordinates) = if let Some(point) = der.strip_prefix(&P256_PREFIX) {
            (SignatureAlgorithm::Es256, point)
        } else if let Some(key) = der.strip_prefix(&ED25519_PREFIX) {
            (SignatureAlgorithm::EdDsa, key)
        } else {
            return Err(PublicKeyError::Pem("expected an uncompressed P-256 or an Ed25519 key"));
        };
        Self::from_coordinates(key_id, algorithm, coordinates.to_vec())
    }

    fn from_coordinates(
        key_id: Option<&str>,
        algorithm: SignatureAlgorithm,
        coordinates: Vec<u8>,
    ) -> Result<Self, PublicKeyError> {
        let (verifier, octets): (&'static dyn VerificationAlgorithm, Vec<u8>) = match algorithm {
            SignatureAlgorithm::Es256 => (&ECDSA_P256_SHA256_FIXED, [&[4], coordinates.as_slice()].concat()),
            SignatureAlgorithm::EdDsa => (&ED25519, coordinates.clone()),
        };
        let expected = match algorithm {
            SignatureAlgorithm::Es256 => 2 * OCTETS,
            SignatureAlgorithm::EdDsa => OCTETS,
        };
        // The library also reads whole key files; only the bare point is offered to it.
        if coordinates.len() != expected || is_of_small_order(algorithm, &coordinates) {
            return Err(PublicKeyError::Point);
        }
        let parsed = ParsedPublicKey::new(verifier, octets).map_err(|_| PublicKeyError::Point)?;
        let mut key = Self { key_id: String::new(), algorithm, coordinates, parsed };
        key.key_id = key_id.map_or_else(|| key.thumbprint(), str::to_owned);
        check_key_id(&key.key_id)?;
        Ok(key)
    }

    /// The caller's name for the key: the `kid` of what it signs.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The one algorithm that it may verify.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The canonical public JWK: what [`VerifyingKey::from_jwk`] reads back to the same key.
    pub fn to_jwk(&self) -> Value {
        let mut jwk = self.members();
        jwk["alg"] = self.algorithm.name().into();
        jwk["use"] = "sig".into();
        jwk["key_ops"] = json!(["verify"]);
        jwk["kid"] = self.key_id.as_str().into();
        jwk
    }

    /// The key's JWK thumbprint (RFC 7638): base64url of SHA-256 over its required members in order.
    pub fn thumbprint(&self) -> String {
        // Members of a `Value` object stand in lexicographic order, without white space: the form that RFC 7638 asks for.
        URL_SAFE_NO_PAD.encode(digest(&SHA256, self.members().to_string().as_bytes()))
    }

    /// Whether a signature over a message is this key's.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }

    /// What makes the key.
    fn members(&self) -> Value {
        let encode = |octets: &[u8]| URL_SAFE_NO_PAD.encode(octets);
        match self.algorithm {
            SignatureAlgorithm::Es256 => {
                let (x, y) = self.coordinates.split_at(OCTETS.min(self.coordinates.len()));
                json!({ "crv": "P-256", "kty": "EC", "x": encode(x), "y": encode(y) })
            }
            SignatureAlgorithm::EdDsa => {
                json!({ "crv": "Ed25519", "kty": "OKP", "x": encode(&self.coordinates) })
            }
        }
    }
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyingKey").field("key_id", &self.key_id).field("algorithm", &self.algorithm).finish()
    }
}

fn check_purpose(jwk: &Map<String, Value>, algorithm: SignatureAlgorithm) -> Result<(), crate::JwkError> {
    use crate::JwkError::Invalid;
    if jwk.get("use").is_some_and(|purpose| purpose != "sig") {
        return Err(Invalid { member: "use", expected: "`sig`" });
    }
    if jwk.get("alg").is_some_and(|name| name != algorithm.name()) {
        return Err(Invalid { member: "alg", expected: "`ES256` for `EC`, `EdDSA` for `OKP`" });
    }
    let only_verify =
        |operations: &Value| operations.as_array().is_some_and(|all| all.len() == 1 && all[0] == "verify");
    if jwk.get("key_ops").is_some_and(|operations| !only_verify(operations)) {
        return Err(Invalid { member: "key_ops", expected: "`[\"verify\"]`" });
    }
    Ok(())
}

/// A coordinate has its full length, leading zeros included (RFC 7518 §6.2.1.2).
fn coordinate(jwk: &Map<String, Value>, member: &'static str) -> Result<Vec<u8>, crate::JwkError> {
    let expected = "base64url of 32 octets, without padding";
    let text = text(jwk, member)?;
    let octets = if text.len() == 43 { URL_SAFE_NO_PAD.decode(text).ok() } else { None };
    octets.ok_or(crate::JwkError::Invalid { member, expected })
}

/// Whether everybody can sign in the name of an Ed25519 key: of a point of small order almost any signature is one. They
/// are eight points; y is 0, 1, -1 or one of two others, or a spelling of these beyond the prime.
fn is_of_small_order(algorithm: SignatureAlgorithm, key: &[u8]) -> bool {
    /// The two values of y of the points of order eight, little-endian.
    const ORDER_EIGHT: [[u8; 32]; 2] = [
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
            0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
            0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    let (SignatureAlgorithm::EdDsa, Ok(mut y)) = (algorithm, <[u8; 32]>::try_from(key)) else { return false };
    y[31] &= 0x7f;
    // The prime is 2^255 - 19: 0, 1 and -1, and 0 and 1 again beyond it.
    let near_prime = |low: u8| y[0] == low && y[1..31].iter().all(|octet| *octet == 0xff) && y[31] == 0x7f;
    let small = |low: u8| y[0] == low && y[1..].iter().all(|octet| *octet == 0);
    ORDER_EIGHT.contains(&y) || small(0) || small(1) || [0xec, 0xed, 0xee].into_iter().any(near_prime)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JwkError;
    use crate::jws::SigningKey;

    fn ec() -> Value {
        SigningKey::es256("reader").unwrap().verifying_key().to_jwk()
    }

    fn okp() -> Value {
        SigningKey::ed25519("reader").unwrap().verifying_key().to_jwk()
    }

    fn with(mut jwk: Value, member: &str, value: Value) -> Result<VerifyingKey, PublicKeyError> {
        jwk[member] = value;
        VerifyingKey::from_jwk(None, &jwk)
    }

    #[test]
    fn a_key_reads_back_to_its_canonical_form_and_is_named_in_three_ways() {
        for jwk in [ec(), okp()] {
            assert_eq!(VerifyingKey::from_jwk(None, &jwk).unwrap().to_jwk(), jwk);
            assert_eq!(VerifyingKey::from_jwk(Some("other"), &jwk).unwrap().key_id(), "other");
            let mut bare = jwk.clone();
            for member in ["kid", "use", "alg", "key_ops"] {
                bare.as_object_mut().unwrap().remove(member);
            }
            let key = VerifyingKey::from_jwk(None, &bare).unwrap();
            assert_eq!(key.key_id(), key.thumbprint());
            with(jwk, "x5t", json!("ignored")).unwrap();
        }
    }

    /// RFC 8037 appendix A.3.
    #[test]
    fn a_thumbprint_is_that_of_the_standard() {
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
        let key = VerifyingKey::from_jwk(None, &jwk).unwrap();
        assert_eq!(key.key_id(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn private_members_and_other_purposes_are_refused_by_name() {
        let member = |result: Result<VerifyingKey, PublicKeyError>| match result.unwrap_err() {
            PublicKeyError::Jwk(JwkError::Invalid { member, .. } | JwkError::Private(member)) => member,
            other => panic!("{other}"),
        };
        for jwk in [ec(), okp()] {
            for private in PRIVATE_MEMBERS {
                assert_eq!(member(with(jwk.clone(), private, json!("AQ"))), private);
            }
            assert_eq!(member(with(jwk.clone(), "use", json!("enc"))), "use");
            assert_eq!(member(with(jwk.clone(), "alg", json!("HS256"))), "alg");
            assert_eq!(member(with(jwk.clone(), "key_ops", json!(["verify", "sign"]))), "key_ops");
            assert_eq!(member(with(jwk.clone(), "kty", json!("oct"))), "kty");
            assert_eq!(member(with(jwk.clone(), "crv", json!("P-384"))), "crv");
        }
        assert_eq!(member(with(ec(), "alg", json!("EdDSA"))), "alg");
        for bad in [json!("AA"), json!("A".repeat(44)), json!("+".repeat(43))] {
            assert_eq!(member(with(ec(), "y", bad.clone())), "y");
            assert_eq!(member(with(okp(), "x", bad)), "x");
        }
        assert_eq!(with(ec(), "x", json!(1)).unwrap_err(), JwkError::Missing("x").into());
        assert_eq!(with(ec(), "kid", json!("a\nb")).unwrap_err(), JwkError::KeyId.into());
        assert_eq!(VerifyingKey::from_jwk(None, &json!([])).unwrap_err(), JwkError::NotAnObject.into());
    }

    #[test]
    fn points_off_the_curve_and_of_small_order_are_refused() {
        let flipped = |jwk: &Value, member: &str| {
            let mut octets = URL_SAFE_NO_PAD.decode(jwk[member].as_str().unwrap()).unwrap();
            octets[31] ^= 1;
            json!(URL_SAFE_NO_PAD.encode(octets))
        };
        let jwk = ec();
        assert_eq!(with(jwk.clone(), "y", flipped(&jwk, "y")).unwrap_err(), PublicKeyError::Point);
        let zero = json!(URL_SAFE_NO_PAD.encode([0; 32]));
        assert_eq!(with(okp(), "x", zero).unwrap_err(), PublicKeyError::Point);
        let mut identity = [0; 32];
        identity[0] = 1;
        for sign in [0, 0x80] {
            identity[31] = sign;
            assert_eq!(with(okp(), "x", json!(URL_SAFE_NO_PAD.encode(identity))).unwrap_err(), PublicKeyError::Point);
        }
    }

    #[test]
    fn pem_files_are_read_and_what_is_none_is_told() {
        for key in [SigningKey::es256("k").unwrap(), SigningKey::ed25519("k").unwrap()] {
            let key = key.verifying_key();
            let (prefix, octets): (&[u8], _) = match key.algorithm {
                SignatureAlgorithm::Es256 => (&P256_PREFIX, &key.coordinates),
                SignatureAlgorithm::EdDsa => (&ED25519_PREFIX, &key.coordinates),
            };
            let text = STANDARD.encode([prefix, octets].concat());
            let (front, back) = text.split_at(20);
            let pem = format!("-----BEGIN PUBLIC KEY-----\n{front}\r\n{back}\n-----END PUBLIC KEY-----\n");
            let read = VerifyingKey::from_pem(Some("k"), &pem).unwrap();
            assert_eq!(read.to_jwk(), key.to_jwk());
            assert_eq!(VerifyingKey::from_pem(None, &pem).unwrap().key_id(), key.thumbprint());
            let error = |pem: &str| VerifyingKey::from_pem(None, pem).unwrap_err().to_string();
            assert!(error(&pem.replace("PUBLIC", "PRIVATE")).contains("private key"));
            assert!(error(&pem.replace("PUBLIC KEY", "CERTIFICATE")).contains("`PUBLIC KEY`"));
            assert!(error(&pem.repeat(2)).contains("PEM"));
            assert!(error(&pem.replace(front, "!!!!")).contains("base64"));
            assert!(error(&pem.replace(front, "")).contains("P-256"));
            assert!(error("").contains("PEM"));
        }
    }
}
