use diesel::prelude::*;
use proofmill_contract::Timestamp;

use super::{bytes, count, from_json, parse, time, to_json, version};
use crate::error::StoreError;
use crate::model::{ApiKey, NewApiKey, NewOrganisation, Organisation};
use crate::schema::{api_keys, organisations};

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = organisations)]
pub(crate) struct OrganisationRow {
    pub id: String,
    pub name: String,
    pub default_contract_version: i32,
    pub policy: String,
    pub sandbox: bool,
    pub document_id_key_sealed: Vec<u8>,
    pub document_id_key_version: i32,
    pub human_id_key_sealed: Vec<u8>,
    pub human_id_key_version: i32,
    pub created_at: i64,
    pub updated_at: i64,
}

impl OrganisationRow {
    pub(crate) fn new(new: &NewOrganisation, now: Timestamp) -> Result<Self, StoreError> {
        Ok(Self {
            id: new.id.to_string(),
            name: new.name.clone(),
            default_contract_version: u8::from(new.default_contract_version).into(),
            policy: to_json(&new.policy, "organisations.policy")?,
            sandbox: new.sandbox,
            document_id_key_sealed: new.document_id_key_sealed.clone(),
            document_id_key_version: 1,
            human_id_key_sealed: new.human_id_key_sealed.clone(),
            human_id_key_version: 1,
            created_at: now.0,
            updated_at: now.0,
        })
    }
}

impl TryFrom<OrganisationRow> for Organisation {
    type Error = StoreError;
    fn try_from(row: OrganisationRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: parse(&row.id, "organisations.id")?,
            name: row.name,
            default_contract_version: version(row.default_contract_version, "organisations.default_contract_version")?,
            policy: from_json(&row.policy, "organisations.policy")?,
            sandbox: row.sandbox,
            document_id_key_sealed: row.document_id_key_sealed,
            document_id_key_version: count(row.document_id_key_version, "organisations.document_id_key_version")?,
            human_id_key_sealed: row.human_id_key_sealed,
            human_id_key_version: count(row.human_id_key_version, "organisations.human_id_key_version")?,
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
        })
    }
}

#[derive(Queryable, Selectable, Insertable, Clone)]
#[diesel(table_name = api_keys)]
#[diesel(treat_none_as_default_value = false)]
pub(crate) struct ApiKeyRow {
    pub id: String,
    pub organisation_id: String,
    pub prefix: String,
    pub hash: Vec<u8>,
    pub scopes: String,
    pub created_at: i64,
    pub revoked_at: Option<i64>,
}

impl ApiKeyRow {
    pub(crate) fn new(new: &NewApiKey, now: Timestamp) -> Result<Self, StoreError> {
        Ok(Self {
            id: new.id.to_string(),
            organisation_id: new.organisation_id.to_string(),
            prefix: new.prefix.clone(),
            hash: new.hash.to_vec(),
            scopes: to_json(&new.scopes, "api_keys.scopes")?,
            created_at: now.0,
            revoked_at: None,
        })
    }
}

impl TryFrom<ApiKeyRow> for ApiKey {
    type Error = StoreError;
    fn try_from(row: ApiKeyRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: parse(&row.id, "api_keys.id")?,
            organisation_id: parse(&row.organisation_id, "api_keys.organisation_id")?,
            prefix: row.prefix,
            hash: bytes(&row.hash, "api_keys.hash")?,
            scopes: from_json(&row.scopes, "api_keys.scopes")?,
            created_at: Timestamp(row.created_at),
            revoked_at: time(row.revoked_at),
        })
    }
}
