/// What a request with an idempotency key is to do.
#[derive(Clone, PartialEq, Eq)]
pub enum Begin {
    /// Run, then `finish` or `abandon` with this token.
    Fresh(String),
    /// Answer with this sealed response and HTTP status.
    Replay {
        /// The sealed response.
        sealed: Vec<u8>,
        /// Its HTTP status.
        status: u16,
    },
    /// The first request still runs.
    InProgress,
    /// The key was used with another request.
    Reused,
}
