//! Attempts, until their evidence is accepted.

use proofmill_contract::{AttemptId, OrganisationId, SessionId, Timestamp};
use proofmill_vault::SealedRef;

use super::{Store, run, run_once};
use crate::error::StoreError;
use crate::model::{
    Answer, Attempt, AttemptWithSession, BindTerminal, NewAttempt, NewSession, Offer, OpenAttempt, Opening, Page,
    PageRequest, Session, Submission, SubmitResult,
};

/// Every method fails with `Unavailable` when the database does; other errors are named where they occur.
impl Store {
    /// Opens an attempt, or finds the one that is open.
    pub async fn open_attempt(&self, new: NewAttempt, now: Timestamp) -> Result<OpenAttempt, StoreError> {
        self.open_attempt_once(new, None, now).await
    }

    /// The same, with the answer stored in the same transaction.
    ///
    /// # Errors
    /// `KeyTakenOver` if the request's key is another's by now.
    pub async fn open_attempt_once(
        &self,
        new: NewAttempt,
        answer: Option<Answer<OpenAttempt>>,
        now: Timestamp,
    ) -> Result<OpenAttempt, StoreError> {
        run_once!(self, answer, now, attempts::open(&new, now))
    }

    /// Opens an attempt in each of many sessions of one organisation, in one transaction: one result for each, in
    /// order. A session that is named twice gets the same attempt twice.
    ///
    /// # Errors
    /// `KeyTakenOver` if the request's key is another's by now.
    pub async fn open_attempts(
        &self,
        organisation: &OrganisationId,
        new: Vec<NewAttempt>,
        answer: Option<Answer<Vec<Opening>>>,
        now: Timestamp,
    ) -> Result<Vec<Opening>, StoreError> {
        let organisation = organisation.clone();
        run_once!(self, answer, now, attempts::open_many(&organisation, &new, now))
    }

    /// An attempt with its session.
    pub async fn attempt(
        &self,
        organisation: Option<&OrganisationId>,
        id: &AttemptId,
        now: Timestamp,
    ) -> Result<Option<AttemptWithSession>, StoreError> {
        match self.attempt_grouped(organisation, id).await? {
            Some(found) if found.session.is_due(now) => {
                let session = found.session.id;
                let _: Option<Session> = run!(self, write, expiry::expire_and_get(&session, now))?;
                self.attempt_grouped(organisation, id).await
            }
            Some(found) if found.attempt.is_stale(now) => {
                self.cancel_stale(std::slice::from_ref(&found.attempt), now).await?;
                self.attempt_grouped(organisation, id).await
            }
            found => Ok(found),
        }
    }

    /// A session's attempts, newest first. Those whose handoff is over without evidence are cancelled here.
    ///
    /// # Errors
    /// `InvalidCursor`.
    pub async fn list_attempts(
        &self,
        session: &SessionId,
        page: PageRequest,
        now: Timestamp,
    ) -> Result<Page<Attempt>, StoreError> {
        let session = session.clone();
        let read = || async {
            let (session, page) = (session.clone(), page.clone());
            run!(self, read, attempts::list(&session, &page))
        };
        let found: Page<Attempt> = read().await?;
        if self.cancel_stale(&found.items, now).await? { read().await } else { Ok(found) }
    }

    /// Several sessions' attempts, oldest first. Those whose handoff is over without evidence are cancelled here.
    pub async fn attempts_of(&self, sessions: &[SessionId], now: Timestamp) -> Result<Vec<Attempt>, StoreError> {
        let read = || async {
            let sessions = sessions.to_vec();
            run!(self, read, attempts::of_sessions(&sessions))
        };
        let found: Vec<Attempt> = read().await?;
        if self.cancel_stale(&found, now).await? { read().await } else { Ok(found) }
    }

    /// Cancels those whose handoff is over without evidence, as the sweep would; says whether there were any.
    async fn cancel_stale(&self, attempts: &[Attempt], now: Timestamp) -> Result<bool, StoreError> {
        let stale = attempts.iter().filter(|attempt| attempt.is_stale(now));
        let ids: Vec<String> = stale.map(|attempt| attempt.id.to_string()).collect();
        if ids.is_empty() {
            return Ok(false);
        }
        let _: usize = run!(self, write, expiry::cancel_unsubmitted(&ids, now))?;
        Ok(true)
    }

    /// Records that the attempt's write token was used: its session is then in progress.
    pub async fn write_token_used(&self, id: &AttemptId, now: Timestamp) -> Result<bool, StoreError> {
        let id = id.clone();
        run!(self, write, attempts::write_token_used(&id, now))
    }

    /// Binds the sealed key of the server's terminal to an attempt: the first one wins, for good.
    pub async fn bind_terminal(
        &self,
        id: &AttemptId,
        sealed: SealedRef,
        now: Timestamp,
    ) -> Result<BindTerminal, StoreError> {
        let id = id.clone();
        run!(self, write, terminal::bind(&id, &sealed, now))
    }

    /// Accepts evidence. The attempt's row is the outbox: once this returns `Accepted`, nothing is lost.
    pub async fn submit_evidence(
        &self,
        id: &AttemptId,
        submission: Submission,
        now: Timestamp,
    ) -> Result<SubmitResult, StoreError> {
        self.submit_evidence_once(id, submission, None, now).await
    }

    /// The same, with the answer stored in the same transaction.
    ///
    /// # Errors
    /// `KeyTakenOver` if the request's key is another's by now.
    pub async fn submit_evidence_once(
        &self,
        id: &AttemptId,
        submission: Submission,
        answer: Option<Answer<SubmitResult>>,
        now: Timestamp,
    ) -> Result<SubmitResult, StoreError> {
        self.submit_grouped(Offer { attempt: id.clone(), submission, answer, now }).await
    }

    /// Creates a session with an attempt whose evidence is accepted at once: all of it or nothing.
    ///
    /// # Errors
    /// `EndpointUnavailable`; `KeyTakenOver` if the request's key is another's by now.
    pub async fn submit_in_new_session(
        &self,
        session: NewSession,
        attempt: NewAttempt,
        submission: Submission,
        answer: Option<Answer<AttemptWithSession>>,
        now: Timestamp,
    ) -> Result<AttemptWithSession, StoreError> {
        run_once!(self, answer, now, submit::submit_in_new_session(&session, &attempt, &submission, now))
    }
}
