use diesel::prelude::*;
use proofmill_contract::Timestamp;

use super::{from_json, parse, time, to_json};
use crate::error::StoreError;
use crate::model::{NewReaderKey, ReaderKey};
use crate::schema::reader_keys;

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = reader_keys)]
#[diesel(treat_none_as_default_value = false)]
pub(crate) struct ReaderKeyRow {
    pub id: String,
    pub organisation_id: String,
    pub kid: String,
    pub name: Option<String>,
    pub jwk: String,
    pub created_at: i64,
    pub revoked_at: Option<i64>,
}

impl ReaderKeyRow {
    pub(crate) fn new(new: &NewReaderKey, now: Timestamp) -> Result<Self, StoreError> {
        Ok(Self {
            id: new.id.to_string(),
            organisation_id: new.organisation_id.to_string(),
            kid: new.kid.clone(),
            name: new.name.clone(),
            jwk: to_json(&new.jwk, "reader_keys.jwk")?,
            created_at: now.0,
            revoked_at: None,
        })
    }
}

impl TryFrom<ReaderKeyRow> for ReaderKey {
    type Error = StoreError;
    fn try_from(row: ReaderKeyRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: parse(&row.id, "reader_keys.id")?,
            organisation_id: parse(&row.organisation_id, "reader_keys.organisation_id")?,
            kid: row.kid,
            name: row.name,
            jwk: from_json(&row.jwk, "reader_keys.jwk")?,
            created_at: Timestamp(row.created_at),
            revoked_at: time(row.revoked_at),
        })
    }
}
