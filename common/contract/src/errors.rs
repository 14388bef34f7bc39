//! Error codes that integrators see, with their HTTP status: the whole list, in one place.

use std::fmt;

use serde::Serialize;

macro_rules! codes {
    ($(#[doc = $doc:literal] $name:ident = $text:literal, $status:literal;)*) => {
        /// A machine-readable error code.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum ErrorCode { $(#[doc = $doc] $name,)* }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name,)*];

            /// The code as integrators read it.
            pub const fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$name => $text,)* }
            }

            /// The HTTP status that goes with it.
            pub const fn status(self) -> u16 {
                match self { $(ErrorCode::$name => $status,)* }
            }

            /// What it means, in a sentence.
            pub const fn description(self) -> &'static str {
                match self { $(ErrorCode::$name => $doc.trim_ascii(),)* }
            }
        }
    };
}

codes! {
    /// A field is wrong; the message names it.
    InvalidRequest = "INVALID_REQUEST", 400;
    /// `starting_after` names nothing.
    InvalidCursor = "INVALID_CURSOR", 400;
    /// Not a session id.
    InvalidSessionId = "INVALID_SESSION_ID", 400;
    /// Not an acceptable redirect URL.
    InvalidRedirectUrl = "INVALID_REDIRECT_URL", 400;
    /// A named endpoint is unknown, disabled or another organisation's.
    WebhookEndpointUnavailable = "WEBHOOK_ENDPOINT_UNAVAILABLE", 400;
    /// Not an acceptable webhook URL.
    WebhookUrlRejected = "WEBHOOK_URL_REJECTED", 400;
    /// Not an acceptable encryption key.
    InvalidEncryptionKey = "INVALID_ENCRYPTION_KEY", 400;
    /// The share fields are not a map of the published shape.
    InvalidShareFields = "INVALID_SHARE_FIELDS", 400;
    /// A share field names no claim.
    UnknownClaimKey = "UNKNOWN_CLAIM_KEY", 400;
    /// An age gate outside 12..=130 or with a leading zero.
    InvalidAgeGateKey = "INVALID_AGE_GATE_KEY", 400;
    /// More than one age gate.
    MultipleAgeGatesNotAllowed = "MULTIPLE_AGE_GATES_NOT_ALLOWED", 400;
    /// A share field has no reason.
    ReasonRequired = "REASON_REQUIRED", 400;
    /// A share field's reason is longer than 200 characters.
    ReasonTooLong = "REASON_TOO_LONG", 400;
    /// More than 32 share fields.
    TooManyShareFields = "TOO_MANY_SHARE_FIELDS", 400;
    /// The submission selects no share field.
    ShareSelectionRequired = "SHARE_SELECTION_REQUIRED", 400;
    /// A required share field is not selected.
    ShareSelectionMissingRequired = "SHARE_SELECTION_MISSING_REQUIRED", 400;
    /// A selected share field was not requested.
    ShareSelectionInvalidField = "SHARE_SELECTION_INVALID_FIELD", 400;
    /// A needed evidence part was not sent.
    EvidencePartMissing = "EVIDENCE_PART_MISSING", 400;
    /// An evidence part cannot be what it claims.
    EvidencePartInvalid = "EVIDENCE_PART_INVALID", 400;
    /// Selfies alone are not enough in this session.
    ChipEvidenceRequired = "CHIP_EVIDENCE_REQUIRED", 400;
    /// No key, a wrong key or a revoked key.
    Unauthorized = "UNAUTHORIZED", 401;
    /// Wrong cancel token.
    CancelTokenInvalid = "CANCEL_TOKEN_INVALID", 401;
    /// Wrong write token.
    HandoffTokenInvalid = "HANDOFF_TOKEN_INVALID", 401;
    /// The write token's five minutes are over.
    HandoffTokenExpired = "HANDOFF_TOKEN_EXPIRED", 401;
    /// The write token was used.
    HandoffTokenConsumed = "HANDOFF_TOKEN_CONSUMED", 401;
    /// The key lacks the scope.
    Forbidden = "FORBIDDEN", 403;
    /// No such thing, or another organisation's.
    NotFound = "NOT_FOUND", 404;
    /// No such session, or another organisation's.
    SessionNotFound = "SESSION_NOT_FOUND", 404;
    /// The method is not offered here.
    MethodNotAllowed = "METHOD_NOT_ALLOWED", 405;
    /// The request took too long to arrive.
    RequestTimeout = "REQUEST_TIMEOUT", 408;
    /// The thing is not in a state that allows this.
    Conflict = "CONFLICT", 409;
    /// The session's attempt is being verified.
    SessionInProgress = "SESSION_IN_PROGRESS", 409;
    /// The session has ended.
    SessionTerminal = "SESSION_TERMINAL", 409;
    /// The cancel token was used.
    CancelTokenUsed = "CANCEL_TOKEN_USED", 409;
    /// Other evidence was submitted for this attempt.
    EvidenceAlreadySubmitted = "EVIDENCE_ALREADY_SUBMITTED", 409;
    /// Chip authentication began with another DG14.
    ChipAuthenticationStarted = "CHIP_AUTHENTICATION_STARTED", 409;
    /// The payload is destroyed, so it cannot be sent again.
    WebhookPayloadExpired = "WEBHOOK_PAYLOAD_EXPIRED", 409;
    /// The first request with this idempotency key still runs.
    IdempotencyInProgress = "IDEMPOTENCY_IN_PROGRESS", 409;
    /// The session expired.
    SessionExpired = "SESSION_EXPIRED", 410;
    /// A part or the request is too large; the message names part and limit.
    PayloadTooLarge = "PAYLOAD_TOO_LARGE", 413;
    /// Not the content type this route takes.
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", 415;
    /// The idempotency key was used with another request.
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", 422;
    /// Too many requests.
    RateLimited = "RATE_LIMITED", 429;
    /// Our fault.
    InternalServerError = "INTERNAL_SERVER_ERROR", 500;
    /// Our fault, for the moment; retry.
    Unavailable = "UNAVAILABLE", 503;
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error for an integrator: a code, a sentence that names what and where, and a hint.
/// It never carries evidence bytes or MRZ text.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    /// The machine-readable code.
    pub code: ErrorCode,
    /// What is wrong and where.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Seconds after which a retry may succeed.
    pub retry_after_s: Option<u32>,
}

impl ApiError {
    /// An error with a code and a message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, retry_after_s: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds when to try again.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// `INVALID_REQUEST` for a named field.
    pub fn invalid_field(field: &str, why: impl fmt::Display) -> Self {
        Self::new(ErrorCode::InvalidRequest, format!("field `{field}`: {why}"))
    }

    /// `PAYLOAD_TOO_LARGE` for a named part.
    pub fn too_large(part: &str, limit: usize) -> Self {
        Self::new(ErrorCode::PayloadTooLarge, format!("`{part}` is larger than its limit of {limit} bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_statuses_are_errors() {
        let mut texts: Vec<_> = ErrorCode::ALL.iter().map(|c| c.as_str()).collect();
        texts.sort_unstable();
        let count = texts.len();
        texts.dedup();
        assert_eq!(texts.len(), count);
        assert!(ErrorCode::ALL.iter().all(|c| (400..=599).contains(&c.status())));
    }
}
