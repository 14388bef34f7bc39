//! Sessions.

use proofmill_contract::{OrganisationId, SessionId, Timestamp};

use super::{Store, run, run_once};
use crate::error::StoreError;
use crate::model::{Answer, CancelResult, NewSession, Page, PageRequest, PublicCancel, Session, SessionFilter};

/// Every method fails with `Unavailable` when the database does; other errors are named where they occur.
impl Store {
    /// Creates a session.
    ///
    /// # Errors
    /// `EndpointUnavailable` names the first endpoint that is unknown, disabled or another organisation's.
    pub async fn create_session(&self, new: NewSession, now: Timestamp) -> Result<Session, StoreError> {
        self.create_session_once(new, None, now).await
    }

    /// Creates a session and stores the answer with it.
    ///
    /// # Errors
    /// `EndpointUnavailable`; `KeyTakenOver` if the request's key is another's by now.
    pub async fn create_session_once(
        &self,
        new: NewSession,
        answer: Option<Answer<Session>>,
        now: Timestamp,
    ) -> Result<Session, StoreError> {
        run_once!(self, answer, now, sessions::create(&new, now))
    }

    /// A session; `organisation: None` where the id is the capability. One that is past its time is expired here,
    /// unless evidence accepted in time still waits for its verdict.
    pub async fn session(
        &self,
        organisation: Option<&OrganisationId>,
        id: &SessionId,
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError> {
        let (organisation, id) = (organisation.cloned(), id.clone());
        let found: Option<Session> = run!(self, read, sessions::get(organisation.as_ref(), &id))?;
        match found {
            Some(session) if session.is_due(now) => {
                let id = session.id;
                run!(self, write, expiry::expire_and_get(&id, now))
            }
            found => Ok(found),
        }
    }

    /// An organisation's sessions, newest first. Those past their time are expired here.
    ///
    /// # Errors
    /// `InvalidCursor`.
    pub async fn list_sessions(
        &self,
        organisation: &OrganisationId,
        filter: SessionFilter,
        page: PageRequest,
        now: Timestamp,
    ) -> Result<Page<Session>, StoreError> {
        // Before the query, not after it: a filter by status must see the sessions as they now are.
        if self.any_session_due(organisation, now).await? {
            let organisation = organisation.clone();
            let _: usize = run!(self, write, expiry::expire_due_of(&organisation, now))?;
        }
        let organisation = organisation.clone();
        run!(self, read, sessions::list(&organisation, &filter, &page))
    }

    /// Cancels an active session and its open attempt. Idempotent.
    pub async fn cancel_session(
        &self,
        organisation: Option<&OrganisationId>,
        id: &SessionId,
        now: Timestamp,
    ) -> Result<CancelResult, StoreError> {
        let (organisation, id) = (organisation.cloned(), id.clone());
        run!(self, write, cancel::by_organisation(organisation.as_ref(), &id, now))
    }

    /// The holder's cancel; on a session that ended in success or failure it is a withdrawal.
    pub async fn public_cancel(
        &self,
        id: &SessionId,
        token_hash: [u8; 32],
        now: Timestamp,
    ) -> Result<PublicCancel, StoreError> {
        let id = id.clone();
        run!(self, write, cancel::by_holder(&id, &token_hash, now))
    }

    /// Asked first, so that a list does not take the writer's place when there is nothing to write.
    async fn any_session_due(&self, organisation: &OrganisationId, now: Timestamp) -> Result<bool, StoreError> {
        let organisation = organisation.clone();
        run!(self, read, expiry::any_due(&organisation, now))
    }
}
