//! Organisations, API keys, idempotency keys.

use std::time::Duration;

use proofmill_contract::{ApiKeyId, OrganisationId, Timestamp};

use super::{Store, run};
use crate::error::StoreError;
use crate::model::{ApiKey, Begin, IdKey, IdKind, NewApiKey, NewOrganisation, Organisation, OrganisationUpdate};

/// Every method fails with `Unavailable` when the database does; other errors are named where they occur.
impl Store {
    /// Creates an organisation.
    ///
    /// # Errors
    /// `Conflict` if the id exists.
    pub async fn create_organisation(&self, new: NewOrganisation, now: Timestamp) -> Result<Organisation, StoreError> {
        run!(self, write, organisations::create(&new, now))
    }

    /// An organisation.
    pub async fn organisation(&self, id: &OrganisationId) -> Result<Option<Organisation>, StoreError> {
        let id = id.clone();
        run!(self, read, organisations::get(&id))
    }

    /// Every organisation, oldest first.
    pub async fn list_organisations(&self) -> Result<Vec<Organisation>, StoreError> {
        run!(self, read, organisations::list())
    }

    /// Changes an organisation; `None` if there is none.
    ///
    /// # Errors
    /// `Conflict` if it is not as the caller has read it.
    pub async fn update_organisation(
        &self,
        id: &OrganisationId,
        update: OrganisationUpdate,
        now: Timestamp,
    ) -> Result<Option<Organisation>, StoreError> {
        let id = id.clone();
        run!(self, write, organisations::update(&id, &update, now))
    }

    /// Puts a sealed key in the place of the current one, which is kept, if that is still `version`; gives back the new
    /// version. `None` if there is no such organisation.
    ///
    /// # Errors
    /// `Conflict` if the current key is another version.
    pub async fn rotate_id_key(
        &self,
        organisation: &OrganisationId,
        kind: IdKind,
        version: u32,
        sealed: Vec<u8>,
        now: Timestamp,
    ) -> Result<Option<u32>, StoreError> {
        let organisation = organisation.clone();
        run!(self, write, id_keys::rotate(&organisation, kind, version, &sealed, now))
    }

    /// Every version of an organisation's keys of derived ids, by kind, oldest first.
    pub async fn id_keys(&self, organisation: &OrganisationId) -> Result<Vec<IdKey>, StoreError> {
        let organisation = organisation.clone();
        run!(self, read, id_keys::list(&organisation))
    }

    /// Stores an API key's hash.
    ///
    /// # Errors
    /// `Conflict` if the id exists or the organisation does not.
    pub async fn create_api_key(&self, new: NewApiKey, now: Timestamp) -> Result<ApiKey, StoreError> {
        run!(self, write, organisations::create_api_key(&new, now))
    }

    /// Every key with this prefix, revoked ones included: the caller compares hashes in constant time.
    pub async fn api_keys_by_prefix(&self, prefix: &str) -> Result<Vec<ApiKey>, StoreError> {
        self.api_keys_grouped(prefix).await
    }

    /// An organisation's keys, oldest first.
    pub async fn list_api_keys(&self, organisation: &OrganisationId) -> Result<Vec<ApiKey>, StoreError> {
        let organisation = organisation.clone();
        run!(self, read, organisations::list_api_keys(&organisation))
    }

    /// Revokes a key; `false` if there is none that is valid.
    pub async fn revoke_api_key(
        &self,
        organisation: &OrganisationId,
        id: &ApiKeyId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (organisation, id) = (organisation.clone(), id.clone());
        run!(self, write, organisations::revoke_api_key(&organisation, &id, now))
    }

    /// Begins a request that carries an idempotency key: `fingerprint` is a keyed hash of the request. A request
    /// that neither finishes nor abandons within `lease` is taken for dead, and the next one runs.
    pub async fn begin_idempotent(
        &self,
        organisation: &OrganisationId,
        route: &str,
        key: &str,
        fingerprint: [u8; 32],
        lease: Duration,
        now: Timestamp,
    ) -> Result<Begin, StoreError> {
        let (organisation, route, key) = (organisation.clone(), route.to_owned(), key.to_owned());
        run!(self, write, idempotency::begin(&organisation, &route, &key, &fingerprint, lease, now))
    }

    /// Stores the sealed response; `false` if the lease was taken over.
    pub async fn finish_idempotent(
        &self,
        token: &str,
        status: u16,
        sealed: Vec<u8>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let token = token.to_owned();
        run!(self, write, idempotency::finish(&token, status, &sealed, now))
    }

    /// Gives the key free, so that the same request may run again at once.
    pub async fn abandon_idempotent(&self, token: &str) -> Result<bool, StoreError> {
        let token = token.to_owned();
        run!(self, write, idempotency::abandon(&token))
    }
}
