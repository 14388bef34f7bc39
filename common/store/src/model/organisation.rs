use proofmill_contract::{ApiKeyId, ContractVersion, OrganisationId, OrganisationPolicy, Timestamp};

/// An organisation to create. The two derivation keys come sealed under the deployment key.
#[derive(Clone)]
pub struct NewOrganisation {
    /// Its id.
    pub id: OrganisationId,
    /// Its name, shown to holders.
    pub name: String,
    /// The contract version of sessions that do not name one.
    pub default_contract_version: ContractVersion,
    /// How it treats borderline documents.
    pub policy: OrganisationPolicy,
    /// Whether it works with specimen documents.
    pub sandbox: bool,
    /// The key of `kayle_document_id`, sealed.
    pub document_id_key_sealed: Vec<u8>,
    /// The key of `kayle_human_id`, sealed.
    pub human_id_key_sealed: Vec<u8>,
}

/// A stored organisation.
#[derive(Clone)]
pub struct Organisation {
    /// Its id.
    pub id: OrganisationId,
    /// Its name, shown to holders.
    pub name: String,
    /// The contract version of sessions that do not name one.
    pub default_contract_version: ContractVersion,
    /// How it treats borderline documents.
    pub policy: OrganisationPolicy,
    /// Whether it works with specimen documents.
    pub sandbox: bool,
    /// The key of `kayle_document_id`, sealed.
    pub document_id_key_sealed: Vec<u8>,
    /// Its version.
    pub document_id_key_version: u32,
    /// The key of `kayle_human_id`, sealed.
    pub human_id_key_sealed: Vec<u8>,
    /// Its version.
    pub human_id_key_version: u32,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What to change of an organisation; `None` leaves a field as it is.
#[derive(Clone, Default, Debug)]
pub struct OrganisationUpdate {
    /// Its name.
    pub name: Option<String>,
    /// The contract version of sessions that do not name one.
    pub default_contract_version: Option<ContractVersion>,
    /// How it treats borderline documents.
    pub policy: Option<OrganisationPolicy>,
    /// Whether it works with specimen documents.
    pub sandbox: Option<bool>,
    /// Changes nothing unless the organisation last changed at this time: of two who change a policy that both have read, one
    /// wins and the other is told.
    pub if_unchanged_since: Option<Timestamp>,
}

/// An API key to store: its SHA-256 and the prefix it is looked up by, never the key.
#[derive(Clone)]
pub struct NewApiKey {
    /// Its public name.
    pub id: ApiKeyId,
    /// Whose it is.
    pub organisation_id: OrganisationId,
    /// The first characters of the key.
    pub prefix: String,
    /// SHA-256 of the whole key.
    pub hash: [u8; 32],
    /// What it may do, such as `sessions:write`.
    pub scopes: Vec<String>,
}

/// A stored API key. Has no `Debug`: its hash belongs into no log.
#[derive(Clone)]
pub struct ApiKey {
    /// Its public name.
    pub id: ApiKeyId,
    /// Whose it is.
    pub organisation_id: OrganisationId,
    /// The first characters of the key.
    pub prefix: String,
    /// SHA-256 of the whole key, to be compared in constant time.
    pub hash: [u8; 32],
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}
