use diesel::prelude::*;
use proofmill_contract::{Counters, SessionStatus, Timestamp};
use proofmill_vault::SealedRef;

use super::{count, from_json, parse, time, to_json, version};
use crate::error::StoreError;
use crate::model::{IdKeyVersions, NewSession, Session};
use crate::schema::sessions;

#[derive(Queryable, Selectable, Insertable, Clone)]
#[diesel(table_name = sessions)]
#[diesel(treat_none_as_default_value = false)]
pub(crate) struct SessionRow {
    pub id: String,
    pub organisation_id: String,
    pub contract_version: i32,
    pub status: String,
    pub share_fields: String,
    pub redirect_url: Option<String>,
    pub webhook_endpoint_ids: Option<String>,
    pub cancel_token_hash: Vec<u8>,
    pub cancel_token_used_at: Option<i64>,
    pub nfc_tries_used: i32,
    pub liveness_tries_used: i32,
    pub rejected_attempts: i32,
    pub failure_code: Option<String>,
    pub kept_object: Option<String>,
    pub kept_epoch: Option<String>,
    pub kept_wrapped_key: Option<Vec<u8>>,
    pub expires_at: i64,
    pub completed_at: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
    pub document_id_key_version: Option<i32>,
    pub human_id_key_version: Option<i32>,
}

impl SessionRow {
    pub(crate) fn new(new: &NewSession, now: Timestamp) -> Result<Self, StoreError> {
        let endpoints = new.webhook_endpoint_ids.as_ref();
        Ok(Self {
            id: new.id.to_string(),
            organisation_id: new.organisation_id.to_string(),
            contract_version: u8::from(new.contract_version).into(),
            status: SessionStatus::Created.as_str().to_owned(),
            share_fields: to_json(&new.share_fields, "sessions.share_fields")?,
            redirect_url: new.redirect_url.clone(),
            webhook_endpoint_ids: endpoints.map(|ids| to_json(ids, "sessions.webhook_endpoint_ids")).transpose()?,
            cancel_token_hash: new.cancel_token_hash.to_vec(),
            cancel_token_used_at: None,
            nfc_tries_used: 0,
            liveness_tries_used: 0,
            rejected_attempts: 0,
            failure_code: None,
            kept_object: None,
            kept_epoch: None,
            kept_wrapped_key: None,
            expires_at: new.expires_at.0,
            completed_at: None,
            created_at: now.0,
            updated_at: now.0,
            document_id_key_version: None,
            human_id_key_version: None,
        })
    }

    pub(crate) fn status(&self) -> Result<SessionStatus, StoreError> {
        parse(&self.status, "sessions.status")
    }

    pub(crate) fn counters(&self) -> Result<Counters, StoreError> {
        Ok(Counters {
            nfc_tries_used: count(self.nfc_tries_used, "sessions.nfc_tries_used")?,
            liveness_tries_used: count(self.liveness_tries_used, "sessions.liveness_tries_used")?,
            rejected_attempts: count(self.rejected_attempts, "sessions.rejected_attempts")?,
        })
    }

    pub(crate) fn set_counters(&mut self, counters: Counters) {
        let number = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
        self.nfc_tries_used = number(counters.nfc_tries_used);
        self.liveness_tries_used = number(counters.liveness_tries_used);
        self.rejected_attempts = number(counters.rejected_attempts);
    }

    /// Records under which keys the derived ids were made.
    pub(crate) fn set_id_key_versions(&mut self, versions: IdKeyVersions) {
        self.document_id_key_version = i32::try_from(versions.document).ok();
        self.human_id_key_version = i32::try_from(versions.human).ok();
    }

    /// The kept chip evidence, if there is any.
    pub(crate) fn kept(&self) -> Option<SealedRef> {
        Some(SealedRef {
            object: self.kept_object.clone()?,
            epoch: self.kept_epoch.clone()?,
            wrapped_key: self.kept_wrapped_key.clone()?,
        })
    }

    /// Puts other chip evidence, or none, in the kept one's place; gives back the object that nothing refers to now.
    pub(crate) fn replace_kept(&mut self, kept: Option<&SealedRef>) -> Option<String> {
        let before = self.kept_object.take();
        self.kept_object = kept.map(|kept| kept.object.clone());
        self.kept_epoch = kept.map(|kept| kept.epoch.clone());
        self.kept_wrapped_key = kept.map(|kept| kept.wrapped_key.clone());
        before.filter(|object| self.kept_object.as_ref() != Some(object))
    }
}

impl TryFrom<SessionRow> for Session {
    type Error = StoreError;
    fn try_from(row: SessionRow) -> Result<Self, StoreError> {
        let endpoints = row.webhook_endpoint_ids.as_deref();
        Ok(Self {
            id: parse(&row.id, "sessions.id")?,
            organisation_id: parse(&row.organisation_id, "sessions.organisation_id")?,
            contract_version: version(row.contract_version, "sessions.contract_version")?,
            status: row.status()?,
            share_fields: from_json(&row.share_fields, "sessions.share_fields")?,
            webhook_endpoint_ids: endpoints.map(|ids| from_json(ids, "sessions.webhook_endpoint_ids")).transpose()?,
            failure_code: row.failure_code.as_deref().map(|c| parse(c, "sessions.failure_code")).transpose()?,
            counters: row.counters()?,
            chip_evidence_kept: row.kept_object.is_some(),
            redirect_url: row.redirect_url,
            expires_at: Timestamp(row.expires_at),
            completed_at: time(row.completed_at),
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
        })
    }
}
