//! The message: a reference to an attempt, nothing of its content.

use proofmill_contract::{AttemptId, Lane};
use serde::{Deserialize, Serialize};

/// A larger message is not ours.
pub const MAX_JOB_BYTES: usize = 1024;
/// Version of the message this crate writes.
const VERSION: u8 = 1;

/// One attempt to be worked on: ids only, under 1 KB, no hash of evidence (that would identify the person).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobRef {
    /// Version of the message.
    pub v: u8,
    /// The attempt.
    pub attempt_id: AttemptId,
    /// The queue it belongs to.
    pub lane: Lane,
}

/// A message body that is no job. The body is not echoed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedJob {
    /// Too long.
    #[error("message of {0} bytes is too long for a job")]
    TooLong(usize),
    /// Not the JSON object it should be.
    #[error("message is not a job: line {line} column {column}")]
    Json {
        /// Line of the first fault.
        line: usize,
        /// Column of the first fault.
        column: usize,
    },
    /// Written by another version of this product.
    #[error("job version {0} is not known")]
    Version(u8),
}

impl JobRef {
    /// A job of the current version.
    pub fn new(attempt_id: AttemptId, lane: Lane) -> Self {
        Self { v: VERSION, attempt_id, lane }
    }

    /// The message body.
    pub fn encode(&self) -> Vec<u8> {
        // Written by hand: no part can fail, and the caller has nobody to report a failure to.
        format!(r#"{{"v":{},"attempt_id":"{}","lane":"{}"}}"#, self.v, self.attempt_id, self.lane).into_bytes()
    }

    /// Reads a message body.
    ///
    /// # Errors
    /// [`MalformedJob`].
    pub fn decode(body: &[u8]) -> Result<Self, MalformedJob> {
        if body.len() > MAX_JOB_BYTES {
            return Err(MalformedJob::TooLong(body.len()));
        }
        let job: Self = serde_json::from_slice(body)
            .map_err(|error| MalformedJob::Json { line: error.line(), column: error.column() })?;
        if job.v != VERSION {
            return Err(MalformedJob::Version(job.v));
        }
        Ok(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> JobRef {
        JobRef::new(AttemptId::parse(&format!("va_{}", "0a".repeat(32))).unwrap(), Lane::Bulk)
    }

    #[test]
    fn a_job_reads_back_is_small_and_holds_three_fields() {
        let body = job().encode();
        assert!(body.len() < MAX_JOB_BYTES / 4);
        assert_eq!(JobRef::decode(&body), Ok(job()));
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), ["attempt_id", "lane", "v"]);
    }

    #[test]
    fn anything_else_is_malformed() {
        let body = String::from_utf8(job().encode()).unwrap();
        let json = |body: &str| matches!(JobRef::decode(body.as_bytes()), Err(MalformedJob::Json { .. }));
        assert!(json("") && json("null") && json("[1]") && json(&body[1..]));
        assert!(json(&body.replace("va_", "vs_")));
        assert!(json(&body.replace("bulk", "express")));
        assert!(json(&body.replace("\"v\"", "\"sha256\":\"\",\"v\"")));
        assert!(JobRef::decode(&[0xff; 40]).is_err());
        assert_eq!(JobRef::decode(body.replace(":1,", ":2,").as_bytes()), Err(MalformedJob::Version(2)));
        assert_eq!(JobRef::decode(&[b' '; 1025]), Err(MalformedJob::TooLong(1025)));
    }
}
