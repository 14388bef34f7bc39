//! What goes into the store and what comes out of it.

mod attempt;
mod delivery;
mod endpoint;
mod event;
mod id_key;
mod idempotency;
mod organisation;
mod page;
mod reader_key;
mod session;
mod settle;
mod sweep;

pub(crate) use attempt::Offer;
pub use attempt::{
    Attempt, AttemptWithSession, BindTerminal, Lease, LeasedAttempt, LostEvidence, NewAttempt, OpenAttempt, Opening,
    OutboxItem, QuarantinedAttempt, Submission, SubmitResult,
};
pub use delivery::{
    ClaimRequest, Claimed, Delivery, DeliveryFilter, DeliveryOutcome, DeliveryStatus, DueDelivery, Pace, ReplayResult,
    RetryResult, TryEnded,
};
pub use endpoint::{Endpoint, EndpointUpdate, NewEndpoint, NewWebhookKey, SigningSecrets, WebhookKey};
pub use event::{Event, EventFilter};
pub use id_key::{IdKey, IdKeyVersions, IdKind};
pub use idempotency::{Answer, Begin, SealedAnswer};
pub use organisation::{ApiKey, NewApiKey, NewOrganisation, Organisation, OrganisationUpdate};
pub use page::{Page, PageRequest};
pub use reader_key::{NewReaderKey, ReaderKey, RegisterReaderKey};
pub use session::{CancelResult, NewSession, PublicCancel, Session, SessionFilter};
pub use settle::{SettleResult, Verdict};
pub use sweep::{Backlog, LaneBacklog};
