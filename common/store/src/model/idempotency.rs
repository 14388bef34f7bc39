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

/// The answer to a request with an idempotency key. It is written in the transaction that does what was asked, so that
/// neither exists without the other, whenever the process is killed.
pub struct Answer<T> {
    token: String,
    compose: Compose<T>,
}

/// From what was done to the sealed answer; `None` for a refusal, which frees the key.
type Compose<T> = Box<dyn Fn(&T) -> Result<Option<SealedAnswer>, String> + Send + Sync>;

/// An answer as it is stored.
pub struct SealedAnswer {
    /// HTTP status.
    pub status: u16,
    /// The sealed response.
    pub sealed: Vec<u8>,
}

impl<T> Answer<T> {
    /// The answer of the request that [`Begin::Fresh`] gave this token. `compose` may run more than once, because a
    /// transaction that lost a deadlock does.
    pub fn new(
        token: String,
        compose: impl Fn(&T) -> Result<Option<SealedAnswer>, String> + Send + Sync + 'static,
    ) -> Self {
        Self { token, compose: Box::new(compose) }
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) fn compose(&self, done: &T) -> Result<Option<SealedAnswer>, String> {
        (self.compose)(done)
    }
}
