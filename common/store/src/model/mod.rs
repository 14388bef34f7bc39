//! What goes into the store and what comes out of it.

mod attempt;
mod delivery;
mod endpoint;
mod event;
mod idempotency;
mod organisation;
mod page;
mod session;
mod settle;
mod sweep;

pub use attempt::{
    Attempt, AttemptWithSession, BindTerminal, Lease, LeasedAttempt, NewAttempt, OpenAttempt, OutboxItem,
    QuarantinedAttempt, Submission, SubmitResult,
};
pub use delivery::{Delivery, DeliveryFilter, DeliveryOutcome, DeliveryStatus, DueDelivery, ReplayResult, RetryResult};
pub use endpoint::{Endpoint, EndpointUpdate, NewEndpoint, NewWebhookKey, SigningSecrets, WebhookKey};
pub use event::{Event, EventFilter};
pub use idempotency::Begin;
pub use organisation::{ApiKey, NewApiKey, NewOrganisation, Organisation, OrganisationUpdate};
pub use page::{Page, PageRequest};
pub use session::{CancelResult, NewSession, PublicCancel, Session, SessionFilter};
pub use settle::{SettleResult, Verdict};
pub use sweep::{Backlog, LaneBacklog};
