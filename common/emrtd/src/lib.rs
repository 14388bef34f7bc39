#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod active_authentication;
mod asn1;
mod certificate;
mod chip_authentication;
mod cms;
mod country;
mod crl;
pub mod crypto;
mod deviation;
mod dg2;
mod evidence;
#[doc(hidden)]
pub mod fuzzing;
mod lds;
mod mrz;
mod name;
mod oid;
mod policy;
mod portrait;
mod report;
mod security_options;
mod sod;
mod time;
mod trust;
mod verify;

pub use active_authentication::recovered_message_holds;
pub use chip_authentication::{ServerTerminal, verify_chip_authentication};
pub use deviation::{Deviation, DeviationSet};
pub use dg2::parse as portrait;
pub use evidence::{ActiveAuthentication, ChipAuthentication, DocumentEvidence, Part, Terminal, UnixTime};
pub use mrz::{Date, DocumentType, Mrz, PartialDate, Sex};
pub use policy::Policy;
pub use portrait::{ImageType, Portrait};
pub use report::{
    CertificateStatus, Gate, GateResult, Gates, MrzField, PassiveAuthentication, Reason, Report, RevocationStatus,
    SigningTimeSource, Verification,
};
pub use trust::{
    CrlProblem, MasterList, MasterListError, RejectedCrl, TrustCounts, TrustError, TrustStore, TrustStoreBuilder,
};
pub use verify::{MAX_DG2, MAX_PART, inspect, verify};
