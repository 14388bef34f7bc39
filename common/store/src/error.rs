use diesel::result::{DatabaseErrorKind, Error as DieselError};
use proofmill_contract::EndpointId;

/// Why the store could not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached or is too busy: a system fault, retry later.
    #[error("database unavailable: {0}")]
    Unavailable(String),
    /// `starting_after` names nothing in this list.
    #[error("the cursor names nothing in this list")]
    InvalidCursor,
    /// A named endpoint is unknown, disabled or another organisation's.
    #[error("webhook endpoint {0} is unknown or disabled")]
    EndpointUnavailable(EndpointId),
    /// The organisation has as many webhook endpoints as one may have.
    #[error("the organisation has {0} webhook endpoints, and may have no more")]
    TooManyEndpoints(usize),
    /// The endpoint has as many signing secrets that sign as one may have: each rotated one signs for its whole day.
    #[error("{0} signing secrets of the endpoint sign, and no more may")]
    TooManySigningSecrets(usize),
    /// What the change names is taken, is missing or has changed meanwhile; names the constraint, never the data.
    #[error("refused by the constraint {0}")]
    Conflict(String),
    /// A rule that every row keeps would have been broken: our own fault, never the caller's. Names the constraint, never the
    /// data.
    #[error("the change would have broken the rule {0}")]
    RuleBroken(String),
    /// A stored value is not one this version can read; names the column, never the value.
    #[error("stored value of {0} cannot be read")]
    Corrupt(&'static str),
    /// The configuration is not usable.
    #[error("{0}")]
    Configuration(String),
    /// A lock order clash: the whole transaction was undone and may run again.
    #[error("transaction undone by a concurrent one: {0}")]
    Undone(String),
    /// The request's idempotency key was taken over while it ran: everything it did was undone.
    #[error("another request has taken the idempotency key over")]
    KeyTakenOver,
    /// The answer that was to be stored with the change could not be made: the change was undone.
    #[error("the answer to store could not be made: {0}")]
    Answer(String),
    /// Any other database error.
    #[error("database error: {0}")]
    Database(String),
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, StoreError::Unavailable(_) | StoreError::Undone(_))
    }

    /// Whether the transaction in which it happened is lost as a whole, so that a savepoint does not help.
    pub(crate) fn breaks_transaction(&self) -> bool {
        !matches!(self, StoreError::Conflict(_) | StoreError::RuleBroken(_) | StoreError::Corrupt(_))
    }
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::DatabaseError(kind, info) => {
                // `message` names tables and constraints; `details` would quote the row and is left out.
                let message = info.message().to_owned();
                match kind {
                    DatabaseErrorKind::UniqueViolation
                    | DatabaseErrorKind::ForeignKeyViolation
                    | DatabaseErrorKind::RestrictViolation
                    | DatabaseErrorKind::ExclusionViolation => {
                        StoreError::Conflict(info.constraint_name().map_or(message, str::to_owned))
                    }
                    DatabaseErrorKind::CheckViolation | DatabaseErrorKind::NotNullViolation => {
                        StoreError::RuleBroken(info.constraint_name().map_or(message, str::to_owned))
                    }
                    DatabaseErrorKind::SerializationFailure => StoreError::Undone(message),
                    DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand => {
                        StoreError::Unavailable(message)
                    }
                    _ if message.contains("deadlock detected") => StoreError::Undone(message),
                    _ if is_outage(&message) => StoreError::Unavailable(message),
                    _ => StoreError::Database(message),
                }
            }
            DieselError::BrokenTransactionManager => StoreError::Unavailable("connection lost in a transaction".into()),
            DieselError::RollbackErrorOnCommit { rollback_error: _, commit_error } => StoreError::from(*commit_error),
            other => StoreError::Database(other.to_string()),
        }
    }
}

impl From<diesel::r2d2::PoolError> for StoreError {
    fn from(error: diesel::r2d2::PoolError) -> Self {
        StoreError::Unavailable(error.to_string())
    }
}

/// Diesel has no kind for these: the server stops, starts, is full or locked.
fn is_outage(message: &str) -> bool {
    const OUTAGES: [&str; 12] = [
        "server closed the connection",
        "terminating connection",
        "the database system is",
        "could not connect",
        "connection to server",
        "no connection to the server",
        "too many clients",
        "canceling statement due to",
        "database is locked",
        "disk I/O error",
        "disk is full",
        "No space left on device",
    ];
    OUTAGES.iter().any(|outage| message.contains(outage))
}
