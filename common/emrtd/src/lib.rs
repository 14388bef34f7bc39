#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod active_authentication;
mod asn1;
mod card_security;
mod certificate;
mod chip_authentication;
mod cms;
mod country;
mod crl;
pub mod crypto;
mod deviation;
mod dg2;
mod evidence;
mod excerpts;
#[doc(hidden)]
pub mod fuzzing;
mod info;
mod lds;
mod mrz;
mod name;
mod oid;
mod policy;
mod portrait;
mod report;
mod security_infos;
mod security_options;
mod sod;
mod sod_info;
mod time;
mod trust;
mod verify;

pub use active_authentication::{recovered_message_holds, verify_active_authentication};
pub use card_security::{
    CardSecurityGates, CardSecurityReport, inspect_card_security, verify_chip_authentication_with_card_security,
};
pub use chip_authentication::{ServerTerminal, Transcript, TranscriptError, verify_chip_authentication};
pub use crl::CrlScope;
pub use deviation::{Deviation, DeviationSet};
pub use dg2::{Dg2Info, FaceFormat, FaceImageInfo, FaceImageKind, parse as portrait, parse_all as portraits};
pub use evidence::{
    ActiveAuthentication, ChipAuthentication, ChipAuthenticationMapping, ChipAuthenticationToken, ChipTranscript,
    DocumentEvidence, KeptDocument, Part, Terminal, UnixTime,
};
pub use excerpts::{data_group_matches, describe_active_authentication_key, embedded_certificates};
pub use info::{CertificateInfo, CrlInfo};
pub use mrz::{CheckDigitInfo, Date, DateInfo, Dg1Content, Dg1Info, DocumentType, Mrz, PartialDate, Sex};
pub use policy::Policy;
pub use portrait::{HeaderError, ImageType, MAX_PORTRAIT_PIXELS, MAX_PORTRAIT_SIDE, Portrait};
pub use report::{
    CardSecurityProblem, CertificateStatus, DocumentSigner, Gate, GateResult, Gates, MrzField, PassiveAuthentication,
    Reason, Report, RevocationStatus, SigningTimeSource, Verification,
};
pub use security_infos::{SecurityInfo, describe_security_infos};
pub use sod_info::{Encoding, LdsInfo, ObjectIdentifierInfo, SignerIdentifierInfo, SignerInfoDescription, SodInfo};
pub use trust::{
    CertificateJudgement, CertificateRole, Classification, CrlJudgement, CrlProblem, MasterList, MasterListAnchor,
    MasterListError, MasterListSigner, RejectedCrl, SignerAbsence, StoredCertificate, StoredCrl, TrustCounts,
    TrustError, TrustStore, TrustStoreBuilder, UnverifiedMasterList,
};
pub use verify::{MAX_DG2, MAX_PART, inspect, verify, verify_again};
