//! What every route shares: the envelope, errors, reading requests, authentication, idempotency, rate limits.

pub mod auth;
pub mod body;
pub mod deadline;
pub mod envelope;
pub mod error;
pub mod head;
pub mod idempotency;
pub mod linger;
pub mod page;
pub mod query;
pub mod rate_limit;
pub mod refusals;
pub mod route;
