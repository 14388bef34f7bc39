//! Every published limit, by name.

use std::time::Duration;

/// Bytes of one selfie frame.
pub const MAX_SELFIE_BYTES: usize = 4 << 20;
/// Selfie frames of one attempt.
pub const MAX_SELFIES: usize = 5;
/// Bytes of DG2.
pub const MAX_DG2_BYTES: usize = 1 << 20;
/// Bytes of any other part.
pub const MAX_PART_BYTES: usize = 64 << 10;
/// Bytes of a reader's signed statement.
pub const MAX_READER_ATTESTATION_BYTES: usize = 16 << 10;
/// Bytes of a whole evidence request.
pub const MAX_EVIDENCE_REQUEST_BYTES: usize = 24 << 20;
/// Bytes of one line of a bulk request or of an offline evidence file.
pub const MAX_BULK_LINE_BYTES: usize = 34 << 20;
/// Lines of a bulk request.
pub const MAX_BULK_LINES: usize = 1_000;
/// Bytes of any other JSON request.
pub const MAX_JSON_REQUEST_BYTES: usize = 256 << 10;
/// Share fields of a session.
pub const MAX_SHARE_FIELDS: usize = 32;
/// Characters of a share field's reason, after trimming.
pub const MAX_REASON_CHARS: usize = 200;
/// Bytes of a redirect or webhook URL.
pub const MAX_URL_BYTES: usize = 2_048;
/// Endpoints one session may name.
pub const MAX_SESSION_ENDPOINTS: usize = 25;
/// Characters of an `Idempotency-Key`.
pub const MAX_IDEMPOTENCY_KEY_CHARS: usize = 255;
/// Items of a page.
pub const MAX_PAGE: u32 = 100;
/// Items of a page when the request does not say.
pub const DEFAULT_PAGE: u32 = 10;
/// Tries per check (contract 2) and attempts per session (contract 1).
pub const MAX_TRIES: u32 = 3;

/// Life of a session.
pub const SESSION_LIFE: Duration = Duration::from_secs(60 * 60);
/// Life of an opened attempt's handoff.
pub const HANDOFF_LIFE: Duration = Duration::from_secs(5 * 60);
/// How old a reader's statement may be when it is submitted.
pub const READER_ATTESTATION_LIFE: Duration = Duration::from_secs(5 * 60);
/// How far a reader's clock may be ahead of ours.
pub const READER_CLOCK_SKEW: Duration = Duration::from_secs(60);
/// How long an idempotent response is kept.
pub const IDEMPOTENCY_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a rotated signing secret still signs.
pub const SECRET_OVERLAP: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest `wait` of a long poll.
pub const MAX_LONG_POLL: Duration = Duration::from_secs(20);

/// Delays before tries 1 to 8 of a webhook delivery; ±20 % jitter applies.
pub const DELIVERY_DELAYS: [Duration; 8] = [
    Duration::ZERO,
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 60 * 60),
    Duration::from_secs(5 * 60 * 60),
    Duration::from_secs(10 * 60 * 60),
    Duration::from_secs(10 * 60 * 60),
];
