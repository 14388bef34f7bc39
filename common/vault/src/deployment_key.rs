//! The one long-lived secret of a deployment: it seals what the database may only hold sealed.

use std::fmt;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac};
use zeroize::Zeroizing;

use crate::error::VaultError;
use crate::secret_file::{self, KEY_BYTES};

const FORMAT: u8 = 1;
const SALT_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// 32 secret bytes, from a file or the environment. Wiped on drop, never printed.
///
/// It is used only through labelled sub-keys (HKDF, RFC 5869), so that a value sealed for one purpose
/// never opens, and a token made for one purpose never verifies, for another.
#[derive(Clone)]
pub struct DeploymentKey(Zeroizing<[u8; KEY_BYTES]>);

impl DeploymentKey {
    /// From 32 bytes of a cryptographically secure generator.
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// From 64 hexadecimal digits, as an environment variable carries it.
    ///
    /// # Errors
    /// [`VaultError::Invalid`]; the text is not echoed.
    pub fn from_hex(text: &str) -> Result<Self, VaultError> {
        let mut key = Zeroizing::new([0u8; KEY_BYTES]);
        hex::decode_to_slice(text.trim(), key.as_mut())
            .map_err(|_| VaultError::Invalid("deployment key: expected 64 hexadecimal digits"))?;
        Ok(Self(key))
    }

    /// From a file of 64 hexadecimal digits or 32 raw bytes, which only its owner may access.
    ///
    /// # Errors
    /// [`VaultError::Missing`], [`VaultError::KeyFile`] or [`VaultError::Unavailable`].
    pub fn from_file(path: &Path) -> Result<Self, VaultError> {
        match secret_file::read(path)? {
            Some(key) => Ok(Self(key)),
            None => Err(VaultError::Missing { what: "deployment key file", name: path.display().to_string() }),
        }
    }

    /// Writes a new random key to a file (mode 600) that must not exist yet.
    ///
    /// # Errors
    /// [`VaultError::KeyFileExists`]: losing a deployment key loses what it sealed, so none is ever replaced.
    pub fn create_file(path: &Path) -> Result<Self, VaultError> {
        let key = secret_file::random_key()?;
        secret_file::create(path, &key)?;
        Ok(Self(key))
    }

    /// Reads the file or, if there is none, creates it. Safe when several processes start at once.
    ///
    /// # Errors
    /// Those of the two others.
    pub fn load_or_create(path: &Path) -> Result<Self, VaultError> {
        match Self::from_file(path) {
            Err(VaultError::Missing { .. }) => match Self::create_file(path) {
                Err(VaultError::KeyFileExists { .. }) => Self::from_file(path),
                other => other,
            },
            other => other,
        }
    }

    /// Seals a value for one purpose (`label`), bound to `aad` (whose value it is).
    ///
    /// Every value gets a key and nonce of its own from a random salt, so the number of values is not
    /// limited by AES-GCM's 2^32 random nonces per key (NIST SP 800-38D §8.3).
    ///
    /// # Errors
    /// [`VaultError::Crypto`].
    pub fn seal(&self, label: &str, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, VaultError> {
        let mut salt = [0u8; SALT_BYTES];
        aws_lc_rs::rand::fill(&mut salt)?;
        let (key, nonce) = self.value_key(label, &salt)?;
        let mut sealed = vec![0u8; 1 + SALT_BYTES + plaintext.len() + TAG_BYTES];
        let (head, rest) = sealed.split_at_mut(1 + SALT_BYTES);
        let (ciphertext, tag) = rest.split_at_mut(plaintext.len());
        head[0] = FORMAT;
        head[1..].copy_from_slice(&salt);
        key.seal_out_of_place_scatter(nonce, Aad::from(aad), plaintext, ciphertext, &[], tag)?;
        Ok(sealed)
    }

    /// Opens a value sealed with the same label and `aad`.
    ///
    /// # Errors
    /// [`VaultError::Corrupt`] for anything else.
    pub fn open(&self, label: &str, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let corrupt = || VaultError::Corrupt { what: "sealed value" };
        let (&[format], rest) = sealed.split_first_chunk::<1>().ok_or_else(corrupt)?;
        let (salt, ciphertext) = rest.split_first_chunk::<SALT_BYTES>().ok_or_else(corrupt)?;
        if format != FORMAT {
            return Err(corrupt());
        }
        let (key, nonce) = self.value_key(label, salt)?;
        let mut plaintext = Zeroizing::new(ciphertext.to_vec());
        let length = key.open_in_place(nonce, Aad::from(aad), &mut plaintext).map_err(|_| corrupt())?.len();
        plaintext.truncate(length);
        Ok(plaintext)
    }

    /// HMAC-SHA256 for one purpose over the parts, each preceded by its length, so that `["ab","c"]`
    /// and `["a","bc"]` differ. For tokens and fingerprints.
    ///
    /// # Errors
    /// [`VaultError::Crypto`].
    pub fn hmac(&self, label: &str, parts: &[&[u8]]) -> Result<[u8; 32], VaultError> {
        let mut key = Zeroizing::new([0u8; KEY_BYTES]);
        self.derive(b"proofmill hmac v1", &["hmac", label], key.as_mut())?;
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()));
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut tag = [0u8; 32];
        tag.copy_from_slice(context.sign().as_ref());
        Ok(tag)
    }

    fn value_key(&self, label: &str, salt: &[u8; SALT_BYTES]) -> Result<(LessSafeKey, Nonce), VaultError> {
        let mut material = Zeroizing::new([0u8; KEY_BYTES + NONCE_LEN]);
        self.derive(salt, &["seal", label], material.as_mut())?;
        let (key, nonce) = material.split_at(KEY_BYTES);
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key)?);
        Ok((key, Nonce::try_assume_unique_for_key(nonce)?))
    }

    fn derive(&self, salt: &[u8], info: &[&str], out: &mut [u8]) -> Result<(), VaultError> {
        struct Length(usize);
        impl hkdf::KeyType for Length {
            fn len(&self) -> usize {
                self.0
            }
        }
        let mut encoded = Vec::new();
        for part in info {
            encoded.extend_from_slice(&(part.len() as u32).to_be_bytes());
            encoded.extend_from_slice(part.as_bytes());
        }
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(self.0.as_ref());
        prk.expand(&[&encoded], Length(out.len()))?.fill(out)?;
        Ok(())
    }
}

impl fmt::Debug for DeploymentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeploymentKey([redacted])")
    }
}
