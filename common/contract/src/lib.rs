#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod age;
pub mod checks;
pub mod claims;
pub mod errors;
pub mod events;
pub mod evidence;
pub mod evidence_line;
pub mod ids;
pub mod json;
pub mod limits;
pub mod policy;
pub mod session;
pub mod share;
pub mod time;
pub mod webhook_url;

pub use checks::{Checks, Gate, PresentationAttackDetection, RevocationStatus, Terminal};
pub use errors::{ApiError, ErrorCode};
pub use evidence::{Evidence, Part, Secret};
pub use ids::{
    ApiKeyId, AttemptId, DeliveryId, EncryptionKeyId, EndpointId, EventId, IdError, OrganisationId, ReaderKeyId,
    SessionId,
};
pub use policy::OrganisationPolicy;
pub use session::{AttemptStatus, ContractVersion, Counters, FailureCode, Lane, Outcome, Phase, SessionStatus, settle};
pub use share::{ShareFieldSource, ShareFields};
pub use time::{Clock, ManualClock, Timestamp};
