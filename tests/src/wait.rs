//! Waiting for a condition, with a deadline, never for a length of time.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Long enough for a busy two-core machine on which a killed sender held a delivery for a minute (its lease);
/// nothing else here takes that long when it works.
pub const PATIENCE: Duration = Duration::from_secs(150);

/// Asks until there is an answer; fails after [`PATIENCE`], naming what did not happen.
pub async fn until<T, F>(what: &str, mut ask: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            bail!("{what}: not within {} s", PATIENCE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
