//! JWE in compact serialisation (RFC 7516 §7.1) with RSA-OAEP-256 (RFC 7518 §4.3) and A256GCM (§5.3).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand;
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey, PublicKeyComponents,
};
use aws_lc_rs::signature::{KeyPair as _, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::{Zeroize as _, Zeroizing};

use crate::jwk::{EncryptionKey, JwkError, check_key_id};

const ALGORITHM: &str = "RSA-OAEP-256";
const ENCRYPTION: &str = "A256GCM";
const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;

/// Why a message could not be encrypted or decrypted. Says nothing of its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JweError {
    /// Not five base64url parts of the right lengths with a JSON header (RFC 7516 §7.1).
    #[error("not a compact JWE: {0}")]
    Malformed(&'static str),
    /// The header asks for something this product does not do.
    #[error("jwe header `{0}` is not supported")]
    Unsupported(&'static str),
    /// The message was encrypted to another key.
    #[error("jwe is for another key id")]
    OtherKey,
    /// Wrong key, or the message was changed. Deliberately one error for both (RFC 7516 §11.5).
    #[error("jwe does not decrypt under this key")]
    Authentication,
    /// The cryptographic library failed, for want of randomness for example.
    #[error("cryptographic operation failed")]
    Internal,
}

/// Why a private key could not be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Only 2048, 3072 and 4096 bits are made.
    #[error("rsa keys of {0} bits are not generated: use 2048, 3072 or 4096")]
    Size(u32),
    /// Not PKCS#8, in DER or in a PEM block `PRIVATE KEY`, of an RSA key of at least 2048 bits.
    #[error("not a PKCS#8 RSA private key of 2048 to 8192 bits")]
    Invalid,
    /// The key id is unusable.
    #[error(transparent)]
    KeyId(#[from] JwkError),
    /// The cryptographic library failed.
    #[error("rsa key generation failed")]
    Internal,
}

/// In this order the header is written; other orders are read as well.
#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    enc: &'a str,
    kid: &'a str,
}

#[derive(Deserialize)]
struct ReceivedHeader {
    alg: String,
    enc: String,
    kid: Option<String>,
    // Both change the meaning of the rest, so a reader that does not know them must refuse (RFC 7516 §4.1.3, §4.1.13).
    zip: Option<Value>,
    crit: Option<Value>,
}

impl EncryptionKey {
    /// Encrypts to this key under a fresh content key: compact JWE with the header `alg`, `enc`, `kid`.
    ///
    /// # Errors
    /// [`JweError::Internal`] if the cryptographic library fails.
    pub fn encrypt(&self, plaintext: &[u8]) -> Result<String, JweError> {
        let header = Header { alg: ALGORITHM, enc: ENCRYPTION, kid: self.key_id() };
        let header = serde_json::to_vec(&header).map_err(|_| JweError::Internal)?;
        let header = URL_SAFE_NO_PAD.encode(header);

        let mut content_key = Zeroizing::new([0u8; KEY_BYTES]);
        rand::fill(content_key.as_mut()).map_err(|_| JweError::Internal)?;
        let mut iv = [0u8; NONCE_LEN];
        rand::fill(&mut iv).map_err(|_| JweError::Internal)?;

        let mut wrapped = vec![0u8; self.oaep().ciphertext_size()];
        let wrapped = self
            .oaep()
            .encrypt(&OAEP_SHA256_MGF1SHA256, content_key.as_ref(), &mut wrapped, None)
            .map_err(|_| JweError::Internal)?;

        let mut ciphertext = vec![0u8; plaintext.len()];
        let mut tag = [0u8; TAG_BYTES];
        aead(&content_key)?
            .seal_out_of_place_scatter(
                Nonce::assume_unique_for_key(iv),
                Aad::from(header.as_bytes()),
                plaintext,
                &mut ciphertext,
                &[],
                &mut tag,
            )
            .map_err(|_| JweError::Internal)?;

        let mut jwe = header;
        for part in [&*wrapped, &iv, &ciphertext, &tag] {
            jwe.push('.');
            URL_SAFE_NO_PAD.encode_string(part, &mut jwe);
        }
        Ok(jwe)
    }
}

/// A receiver's private key: what an integrator holds, here for the demonstration and the tests.
pub struct DecryptionKey {
    key_id: String,
    oaep: OaepPrivateDecryptingKey,
    pkcs8: Zeroizing<Vec<u8>>,
    public: EncryptionKey,
}

impl DecryptionKey {
    /// A new key of 2048, 3072 or 4096 bits.
    ///
    /// # Errors
    /// [`KeyError`] for another size, an unusable key id or a failing library.
    pub fn generate(key_id: &str, bits: u32) -> Result<Self, KeyError> {
        let size = match bits {
            2048 => KeySize::Rsa2048,
            3072 => KeySize::Rsa3072,
            4096 => KeySize::Rsa4096,
            other => return Err(KeyError::Size(other)),
        };
        let key = PrivateDecryptingKey::generate(size).map_err(|_| KeyError::Internal)?;
        let der: Pkcs8V1Der<'static> = key.as_der().map_err(|_| KeyError::Internal)?;
        Self::from_pkcs8(key_id, der.as_ref())
    }

    /// From PKCS#8 (RFC 5208) in DER.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pkcs8(key_id: &str, der: &[u8]) -> Result<Self, KeyError> {
        check_key_id(key_id)?;
        let pair = RsaKeyPair::from_pkcs8(der).map_err(|_| KeyError::Invalid)?;
        let components = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let public = EncryptionKey::from_components(key_id, components.n, components.e)?;
        let key = PrivateDecryptingKey::from_pkcs8(der).map_err(|_| KeyError::Invalid)?;
        let oaep = OaepPrivateDecryptingKey::new(key).map_err(|_| KeyError::Invalid)?;
        Ok(Self { key_id: key_id.to_owned(), oaep, pkcs8: Zeroizing::new(der.to_vec()), public })
    }

    /// From a PEM block `PRIVATE KEY` (RFC 7468 §10).
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(key_id: &str, pem: &str) -> Result<Self, KeyError> {
        let (_, rest) = pem.split_once("-----BEGIN PRIVATE KEY-----").ok_or(KeyError::Invalid)?;
        let (body, _) = rest.split_once("-----END PRIVATE KEY-----").ok_or(KeyError::Invalid)?;
        let base64: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
        let der = Zeroizing::new(STANDARD.decode(base64.as_bytes()).map_err(|_| KeyError::Invalid)?);
        Self::from_pkcs8(key_id, &der)
    }

    /// The key as a PEM block `PRIVATE KEY`.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let base64 = Zeroizing::new(STANDARD.encode(self.pkcs8.as_slice()));
        let mut pem = Zeroizing::new(String::with_capacity(base64.len() + base64.len() / 64 + 64));
        pem.push_str("-----BEGIN PRIVATE KEY-----\n");
        let mut rest = base64.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(64));
            pem.push_str(line);
            pem.push('\n');
            rest = after;
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        pem
    }

    /// The caller's name for the key.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The public half, as it is registered with an endpoint.
    pub fn public_jwk(&self) -> Value {
        self.public.to_jwk()
    }

    /// Decrypts a compact JWE that was encrypted to this key.
    ///
    /// # Errors
    /// See [`JweError`].
    pub fn decrypt(&self, jwe: &str) -> Result<Zeroizing<Vec<u8>>, JweError> {
        let [header, wrapped, iv, ciphertext, tag] = split(jwe)?;
        self.check_header(header)?;

        let wrapped = decode(wrapped, "encrypted key is not base64url")?;
        if wrapped.len() != self.oaep.key_size_bytes() {
            return Err(JweError::Malformed("encrypted key has the wrong length"));
        }
        let iv: [u8; NONCE_LEN] = decode(iv, "initialization vector is not base64url")?
            .try_into()
            .map_err(|_| JweError::Malformed("initialization vector is not 12 bytes"))?;
        let tag = decode(tag, "authentication tag is not base64url")?;
        if tag.len() != TAG_BYTES {
            return Err(JweError::Malformed("authentication tag is not 16 bytes"));
        }
        let mut plaintext = Zeroizing::new(decode(ciphertext, "ciphertext is not base64url")?);

        let content_key = self.unwrap_key(&wrapped)?;
        aead(&content_key)?
            .open_in_place_separate_tag(
                Nonce::assume_unique_for_key(iv),
                Aad::from(header.as_bytes()),
                &tag,
                &mut plaintext,
            )
            .map_err(|_| JweError::Authentication)?;
        Ok(plaintext)
    }

    fn check_header(&self, header: &str) -> Result<(), JweError> {
        let header = decode(header, "protected header is not base64url")?;
        let header: ReceivedHeader = serde_json::from_slice(&header)
            .map_err(|_| JweError::Malformed("protected header is not JSON with alg and enc"))?;
        if header.alg != ALGORITHM {
            return Err(JweError::Unsupported("alg"));
        }
        if header.enc != ENCRYPTION {
            return Err(JweError::Unsupported("enc"));
        }
        if header.zip.is_some() {
            return Err(JweError::Unsupported("zip"));
        }
        if header.crit.is_some() {
            return Err(JweError::Unsupported("crit"));
        }
        match header.kid {
            Some(kid) if kid != self.key_id => Err(JweError::OtherKey),
            _ => Ok(()),
        }
    }

    /// A key that does not unwrap is replaced by a random one, so that a forged encrypted key and a
    /// forged ciphertext fail alike (RFC 7516 §11.5).
    fn unwrap_key(&self, wrapped: &[u8]) -> Result<Zeroizing<[u8; KEY_BYTES]>, JweError> {
        let mut content_key = Zeroizing::new([0u8; KEY_BYTES]);
        rand::fill(content_key.as_mut()).map_err(|_| JweError::Internal)?;
        let mut buffer = Zeroizing::new(vec![0u8; self.oaep.min_output_size()]);
        if let Ok(key) = self.oaep.decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut buffer, None) {
            if let Ok(key) = <&[u8; KEY_BYTES]>::try_from(&*key) {
                *content_key = *key;
            }
            key.zeroize();
        }
        Ok(content_key)
    }
}

impl std::fmt::Debug for DecryptionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DecryptionKey").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

fn aead(key: &[u8; KEY_BYTES]) -> Result<LessSafeKey, JweError> {
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).map_err(|_| JweError::Internal)?))
}

fn split(jwe: &str) -> Result<[&str; 5], JweError> {
    let mut parts = jwe.split('.');
    let mut next = || parts.next().ok_or(JweError::Malformed("fewer than five parts"));
    let five = [next()?, next()?, next()?, next()?, next()?];
    match parts.next() {
        None => Ok(five),
        Some(_) => Err(JweError::Malformed("more than five parts")),
    }
}

fn decode(part: &str, error: &'static str) -> Result<Vec<u8>, JweError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JweError::Malformed(error))
}
