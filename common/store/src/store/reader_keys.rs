//! Public keys of readers that sign what they read.

use proofmill_contract::{OrganisationId, ReaderKeyId, Timestamp};

use super::{Store, run};
use crate::error::StoreError;
use crate::model::{NewReaderKey, ReaderKey, RegisterReaderKey};

/// Every method fails with `Unavailable` when the database does; other errors are named where they occur.
impl Store {
    /// Registers a reader's key, unless the organisation has or had the same one under any name.
    ///
    /// # Errors
    /// `Conflict` if the organisation has or had a key of this name, or does not exist.
    pub async fn create_reader_key(&self, new: NewReaderKey, now: Timestamp) -> Result<RegisterReaderKey, StoreError> {
        run!(self, write, reader_keys::create(&new, now))
    }

    /// An organisation's reader keys, revoked ones included, oldest first.
    pub async fn list_reader_keys(&self, organisation: &OrganisationId) -> Result<Vec<ReaderKey>, StoreError> {
        let organisation = organisation.clone();
        run!(self, read, reader_keys::list(&organisation))
    }

    /// The organisation's reader key of this name, even if it is revoked.
    pub async fn reader_key(&self, organisation: &OrganisationId, kid: &str) -> Result<Option<ReaderKey>, StoreError> {
        let (organisation, kid) = (organisation.clone(), kid.to_owned());
        run!(self, read, reader_keys::by_kid(&organisation, &kid))
    }

    /// The organisation's reader key of this id, even if it is revoked.
    pub async fn reader_key_by_id(
        &self,
        organisation: &OrganisationId,
        id: &ReaderKeyId,
    ) -> Result<Option<ReaderKey>, StoreError> {
        let (organisation, id) = (organisation.clone(), id.clone());
        run!(self, read, reader_keys::by_id(&organisation, &id))
    }

    /// Up to `limit` of the organisation's reader keys that are not revoked, oldest first.
    pub async fn active_reader_keys(
        &self,
        organisation: &OrganisationId,
        limit: usize,
    ) -> Result<Vec<ReaderKey>, StoreError> {
        let organisation = organisation.clone();
        run!(self, read, reader_keys::active(&organisation, limit))
    }

    /// Revokes the reader key of this id or name; `false` if there is none that is valid.
    pub async fn revoke_reader_key(
        &self,
        organisation: &OrganisationId,
        key: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (organisation, key) = (organisation.clone(), key.to_owned());
        run!(self, write, reader_keys::revoke(&organisation, &key, now))
    }
}
