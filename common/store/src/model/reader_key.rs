use proofmill_contract::{OrganisationId, ReaderKeyId, Timestamp};
use serde_json::Value;

/// A reader's public key to register. Its JWK has been checked by the caller.
#[derive(Clone)]
pub struct NewReaderKey {
    /// Its id.
    pub id: ReaderKeyId,
    /// Whose it is.
    pub organisation_id: OrganisationId,
    /// What statements call it: `kid` of the JWS. One name per organisation, for ever.
    pub kid: String,
    /// What people call it.
    pub name: Option<String>,
    /// The public JWK.
    pub jwk: Value,
}

/// What registering a reader's key did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterReaderKey {
    /// It is registered.
    Registered(ReaderKey),
    /// The organisation has or had this very public key, as this entry.
    SameKey(ReaderKey),
}

/// A registered reader's public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderKey {
    /// Its id.
    pub id: ReaderKeyId,
    /// Whose it is.
    pub organisation_id: OrganisationId,
    /// What statements call it.
    pub kid: String,
    /// What people call it.
    pub name: Option<String>,
    /// The public JWK.
    pub jwk: Value,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}
