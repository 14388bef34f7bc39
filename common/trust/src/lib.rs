#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod anchors;
mod audit;
mod contents;
mod file;
mod item;
mod ldif;
mod lines;
mod load;
mod pem;
mod source;
mod store;

pub use anchors::Anchors;
pub use audit::{Audit, AuthorityRow, CountryAudit, CrlRow, Finding, Freshness, SignerAudit, Topic};
pub use contents::{Collected, Contents, Item};
pub use file::Header;
pub use item::{Fingerprint, Kind, Provenance, fingerprint, kind_of_certificate};
pub use ldif::LdifError;
pub use load::{LoadError, Loaded, State, TrustSource};
pub use pem::PemError;
pub use source::{Found, Reason, Refusal, Visitor, read, read_stream, size};
pub use store::{Counts, Import, StoreError, TrustFolder, export};
