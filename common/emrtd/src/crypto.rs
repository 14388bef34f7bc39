//! Digests, keys, signature algorithms, and the providers that compute them.

pub(crate) mod algorithm;
pub mod curve;
pub(crate) mod diffie_hellman;
pub mod digest;
pub mod key;
pub(crate) mod key_agreement;
mod ladder;
pub mod provider;
mod weierstrass;
