//! The values that labels may take. A label never holds an id, a key or anything about a person.

/// Lanes of the queue.
pub const LANES: &[&str] = &["interactive", "bulk"];

/// Stages of the road of an attempt, in order.
pub const STAGES: &[&str] = &["intake", "open", "document", "decode", "detect", "align", "embed", "decide", "settle"];

/// Why a batch was closed.
pub const CLOSE_REASONS: &[&str] = &["full", "deadline", "idle", "drain", "isolation"];

/// Lanes of the face batcher.
pub const FACE_LANES: &[&str] = &["interactive", "bulk", "isolated"];

/// Why faces are compared on the processor.
pub const FALLBACKS: &[&str] = &["no_driver", "no_libtorch_cuda", "no_device", "device_failed", "asked_for"];

/// What became of an attempt.
pub const OUTCOMES: &[&str] = &["accepted", "rejected", "cancelled"];

/// What became of a publish or of a webhook try.
pub const RESULTS: &[&str] = &["ok", "failed"];

/// Parts whose fault is never a user's failure.
pub const PARTS: &[&str] = &["store", "queue", "vault", "trust", "model", "gpu"];

/// What a sweep looks for.
pub const SWEEPS: &[&str] = &["sessions", "leases", "payloads", "evidence", "epochs", "outbox", "withdrawals", "log"];

/// What a trust store holds; `crl_not_counting` are lists that no certificate of it vouches for.
pub const TRUST_KINDS: &[&str] = &["csca", "dsc", "crl", "crl_not_counting"];
