//! Digests, keys, signature algorithms, and the providers that compute them.

pub(crate) mod algorithm;
pub mod curve;
pub mod digest;
pub mod key;
pub mod provider;
mod weierstrass;
