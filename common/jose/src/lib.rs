#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod jwe;
mod jwk;
mod signature;

pub use jwe::{DecryptionKey, JweError, KeyError};
pub use jwk::{EncryptionKey, JwkError, MAX_KEY_ID_BYTES, MAX_RSA_BITS, MIN_RSA_BITS};
pub use signature::{
    SecretError, SignatureError, Signatures, SigningSecret, WebhookHeaders, sign, verify_kayle, verify_standard,
};
