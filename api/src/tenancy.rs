//! Making organisations and API keys: the command line's work, and the tests'.

use proofmill_contract::{ApiKeyId, ContractVersion, OrganisationId, OrganisationPolicy, Timestamp, ids};
use proofmill_store::{ApiKey, IdKind, NewApiKey, NewOrganisation, Organisation, Store, StoreError};
use proofmill_vault::{DeploymentKey, VaultError};
use rand::Rng;
use zeroize::Zeroizing;

use crate::http::auth;

/// Every scope a key can have.
pub const SCOPES: [&str; 4] = auth::SCOPES;

/// Labels under which an organisation's derivation keys are sealed; its id is the associated data.
pub const DOCUMENT_ID_KEY: &str = "organisation.document_id_key";
/// See [`DOCUMENT_ID_KEY`].
pub const HUMAN_ID_KEY: &str = "organisation.human_id_key";

/// Why it could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TenancyError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A derivation key could not be sealed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// No such scope.
    #[error("`{0}` is no scope; there are sessions:read, sessions:write, webhooks:read and webhooks:write")]
    Scope(String),
    /// No such organisation.
    #[error("there is no organisation `{0}`")]
    Organisation(OrganisationId),
}

/// Creates an organisation with fresh derivation keys of its own, so that its document ids cannot be linked to another's.
///
/// # Errors
/// [`TenancyError`].
pub async fn create_organisation(
    store: &Store,
    deployment: &DeploymentKey,
    name: &str,
    default_contract_version: ContractVersion,
    policy: OrganisationPolicy,
    sandbox: bool,
    now: Timestamp,
) -> Result<Organisation, TenancyError> {
    let id = OrganisationId::generate(now, &mut rand::rng());
    let new = NewOrganisation {
        document_id_key_sealed: fresh_id_key(deployment, DOCUMENT_ID_KEY, &id)?,
        human_id_key_sealed: fresh_id_key(deployment, HUMAN_ID_KEY, &id)?,
        id,
        name: name.to_owned(),
        default_contract_version,
        policy,
        sandbox,
    };
    Ok(store.create_organisation(new, now).await?)
}

/// Replaces an organisation's key of one derived id by a fresh one; gives back the new version. The replaced key is kept.
///
/// # Errors
/// [`TenancyError`]; `Store(Conflict)` if somebody else rotates at the same time.
pub async fn rotate_id_key(
    store: &Store,
    deployment: &DeploymentKey,
    organisation: &OrganisationId,
    kind: IdKind,
    now: Timestamp,
) -> Result<u32, TenancyError> {
    let unknown = || TenancyError::Organisation(organisation.clone());
    let row = store.organisation(organisation).await?.ok_or_else(unknown)?;
    let (label, version) = match kind {
        IdKind::Document => (DOCUMENT_ID_KEY, row.document_id_key_version),
        IdKind::Human => (HUMAN_ID_KEY, row.human_id_key_version),
    };
    let sealed = fresh_id_key(deployment, label, organisation)?;
    store.rotate_id_key(organisation, kind, version, sealed, now).await?.ok_or_else(unknown)
}

/// A random key, sealed for its organisation and its use.
fn fresh_id_key(
    deployment: &DeploymentKey,
    label: &'static str,
    organisation: &OrganisationId,
) -> Result<Vec<u8>, VaultError> {
    let mut key = Zeroizing::new([0u8; 32]);
    rand::rng().fill_bytes(key.as_mut());
    deployment.seal(label, organisation.as_str().as_bytes(), key.as_ref())
}

/// Creates an API key. The key itself is returned once and stored nowhere.
///
/// # Errors
/// [`TenancyError`].
pub async fn create_api_key(
    store: &Store,
    organisation: &OrganisationId,
    scopes: &[String],
    now: Timestamp,
) -> Result<(ApiKey, Zeroizing<String>), TenancyError> {
    if let Some(unknown) = scopes.iter().find(|scope| !SCOPES.contains(&scope.as_str())) {
        return Err(TenancyError::Scope(unknown.clone()));
    }
    if store.organisation(organisation).await?.is_none() {
        return Err(TenancyError::Organisation(organisation.clone()));
    }
    let key = Zeroizing::new(ids::api_key(&mut rand::rng()));
    let scopes = if scopes.is_empty() { SCOPES.map(str::to_owned).to_vec() } else { distinct(scopes) };
    let new = NewApiKey {
        id: ApiKeyId::generate(now, &mut rand::rng()),
        organisation_id: organisation.clone(),
        prefix: key.chars().take(auth::KEY_PREFIX_CHARS).collect(),
        hash: auth::key_hash(&key),
        scopes,
    };
    Ok((store.create_api_key(new, now).await?, key))
}

/// In the order of their first mention.
fn distinct(scopes: &[String]) -> Vec<String> {
    let mut distinct: Vec<String> = Vec::new();
    for scope in scopes {
        if !distinct.contains(scope) {
            distinct.push(scope.clone());
        }
    }
    distinct
}
