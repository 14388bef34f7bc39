#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod jwe;
mod jwk;
mod jws;
mod public_key;
mod signature;

pub use jwe::{DecryptionKey, JweError, KeyError};
pub use jwk::{EncryptionKey, JwkError, MAX_KEY_ID_BYTES, MAX_RSA_BITS, MIN_RSA_BITS};
pub use jws::{Jws, JwsError, MAX_JWS_BYTES, SigningError, SigningKey};
pub use public_key::{PublicKeyError, SignatureAlgorithm, VerifyingKey};
pub use signature::{
    SecretError, SignatureError, Signatures, SigningSecret, WebhookHeaders, sign, verify_kayle, verify_standard,
};
