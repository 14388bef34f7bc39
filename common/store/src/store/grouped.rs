//! Calls of many callers that share a trip to the database: submissions, and the reads before each of them.

use std::cell::Cell;
use std::sync::Arc;

use proofmill_contract::{AttemptId, OrganisationId};
use proofmill_gather::{Gathered, Unfinished};

use super::{Pool, Store, run_once};
use crate::error::StoreError;
use crate::limits::{GROUP_READS, GROUP_SUBMISSIONS, GROUPS_AT_ONCE};
use crate::model::{ApiKey, AttemptWithSession, Offer, SubmitResult};

/// What gathers. Cheap to clone.
#[derive(Clone)]
pub(super) struct Groups {
    submissions: Gathered<Arc<Offer>, Result<Option<SubmitResult>, StoreError>>,
    attempts: Gathered<(AttemptId, Option<OrganisationId>), Result<Option<AttemptWithSession>, StoreError>>,
    api_keys: Gathered<String, Result<Vec<ApiKey>, StoreError>>,
}

impl Groups {
    pub(super) fn new() -> Self {
        Self {
            submissions: Gathered::new(GROUP_SUBMISSIONS, GROUPS_AT_ONCE),
            attempts: Gathered::new(GROUP_READS, GROUPS_AT_ONCE),
            api_keys: Gathered::new(GROUP_READS, GROUPS_AT_ONCE),
        }
    }
}

impl Store {
    /// Submits together with those who come at the same time; what the group leaves is submitted by itself.
    pub(super) async fn submit_grouped(&self, offer: Offer) -> Result<SubmitResult, StoreError> {
        let offer = Arc::new(offer);
        let pool = self.pool.clone();
        let together = self.groups.submissions.call(offer.clone(), move |offers| submit_together(&pool, &offers));
        match together.await?? {
            Some(result) => Ok(result),
            None => {
                run_once!(self, offer.answer, offer.now, submit::submit(&offer.attempt, &offer.submission, offer.now))
            }
        }
    }

    /// Reads an attempt together with those that are asked for at the same time.
    pub(super) async fn attempt_grouped(
        &self,
        organisation: Option<&OrganisationId>,
        id: &AttemptId,
    ) -> Result<Option<AttemptWithSession>, StoreError> {
        let pool = self.pool.clone();
        let read = move |calls: Vec<(AttemptId, Option<OrganisationId>)>| {
            each(&calls, || match &pool {
                Pool::Sqlite(pool) => pool.read_by_key(|conn| crate::sqlite::queries::attempts::get_many(conn, &calls)),
                Pool::Postgres(pool) => {
                    pool.read_by_key(|conn| crate::postgres::queries::attempts::get_many(conn, &calls))
                }
            })
        };
        self.groups.attempts.call((id.clone(), organisation.cloned()), read).await?
    }

    /// Finds API keys together with those that are looked for at the same time.
    pub(super) async fn api_keys_grouped(&self, prefix: &str) -> Result<Vec<ApiKey>, StoreError> {
        let pool = self.pool.clone();
        let read = move |prefixes: Vec<String>| {
            each(&prefixes, || match &pool {
                Pool::Sqlite(pool) => pool
                    .read_by_key(|conn| crate::sqlite::queries::organisations::api_keys_by_prefixes(conn, &prefixes)),
                Pool::Postgres(pool) => pool
                    .read_by_key(|conn| crate::postgres::queries::organisations::api_keys_by_prefixes(conn, &prefixes)),
            })
        };
        self.groups.api_keys.call(prefix.to_owned(), read).await?
    }
}

impl From<Unfinished> for StoreError {
    fn from(error: Unfinished) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// The results of a trip, or its failure for each call.
fn each<T, R>(
    calls: &[T],
    trip: impl FnOnce() -> Result<Vec<Result<R, StoreError>>, StoreError>,
) -> Vec<Result<R, StoreError>> {
    trip().unwrap_or_else(|error| calls.iter().map(|_| Err(error.clone())).collect())
}

/// How far the transaction of a group came.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    NotBegun,
    Begun,
    ToCommit,
}

/// One transaction for all. `None` for whom it left out, and for everybody when it was undone: each may then try alone,
/// because nothing was written. A failure is told to all when the database is away, or when a lost connection hides
/// whether the commit was done: a second try would find its own evidence and take it for a repeat.
fn submit_together(pool: &Pool, offers: &[Arc<Offer>]) -> Vec<Result<Option<SubmitResult>, StoreError>> {
    let stage = Cell::new(Stage::NotBegun);
    macro_rules! submit {
        ($pool:expr, $backend:ident) => {
            $pool.write_by_key(|conn| {
                stage.set(Stage::Begun);
                let offers = offers.iter().map(Arc::as_ref);
                let results = crate::$backend::queries::submit::submit_many(conn, offers)?;
                stage.set(Stage::ToCommit);
                Ok(results)
            })
        };
    }
    let written = match pool {
        Pool::Sqlite(pool) => submit!(pool, sqlite),
        Pool::Postgres(pool) => submit!(pool, postgres),
    };
    match written {
        Ok(results) => results.into_iter().map(Ok).collect(),
        Err(error @ StoreError::Unavailable(_)) if stage.get() != Stage::Begun => {
            offers.iter().map(|_| Err(error.clone())).collect()
        }
        Err(error) => {
            tracing::debug!(%error, submissions = offers.len(), "a group of submissions was undone; each goes on alone");
            offers.iter().map(|_| Ok(None)).collect()
        }
    }
}

#[cfg(test)]
impl Store {
    /// One group, as it would be if these had come at the same time.
    pub(crate) async fn submit_group(&self, offers: Vec<Arc<Offer>>) -> Vec<Result<Option<SubmitResult>, StoreError>> {
        let pool = self.pool.clone();
        super::blocking(move || Ok(submit_together(&pool, &offers))).await.unwrap()
    }
}
