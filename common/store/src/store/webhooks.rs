//! Endpoints, their secrets and keys, events, deliveries.

use std::sync::Arc;
use std::time::Duration;

use proofmill_contract::{DeliveryId, EncryptionKeyId, EndpointId, EventId, OrganisationId, Timestamp};

use super::{Store, run, run_once};
use crate::error::StoreError;
use crate::model::{
    Answer, ClaimRequest, Claimed, Delivery, DeliveryFilter, DeliveryOutcome, DueDelivery, Endpoint, EndpointUpdate,
    Event, EventFilter, NewEndpoint, NewWebhookKey, Page, PageRequest, ReplayResult, RetryResult, SigningSecrets,
    TryEnded, WebhookKey,
};

/// Every method fails with `Unavailable` when the database does; other errors are named where they occur.
impl Store {
    /// Creates an endpoint with its first signing secret.
    pub async fn create_endpoint(&self, new: NewEndpoint, now: Timestamp) -> Result<Endpoint, StoreError> {
        self.create_endpoint_once(new, None, now).await
    }

    /// The same, with the answer stored in the same transaction.
    ///
    /// # Errors
    /// `KeyTakenOver` if the request's key is another's by now.
    pub async fn create_endpoint_once(
        &self,
        new: NewEndpoint,
        answer: Option<Answer<Endpoint>>,
        now: Timestamp,
    ) -> Result<Endpoint, StoreError> {
        run_once!(self, answer, now, endpoints::create(&new, now))
    }

    /// An organisation's endpoints, newest first.
    ///
    /// # Errors
    /// `InvalidCursor`.
    pub async fn list_endpoints(
        &self,
        organisation: &OrganisationId,
        page: PageRequest,
    ) -> Result<Page<Endpoint>, StoreError> {
        let organisation = organisation.clone();
        run!(self, read, endpoints::list(&organisation, &page))
    }

    /// An endpoint.
    pub async fn endpoint(
        &self,
        organisation: &OrganisationId,
        id: &EndpointId,
    ) -> Result<Option<Endpoint>, StoreError> {
        let (organisation, id) = (organisation.clone(), id.clone());
        run!(self, read, endpoints::get(&organisation, &id))
    }

    /// Changes an endpoint; `None` if there is none.
    pub async fn update_endpoint(
        &self,
        organisation: &OrganisationId,
        id: &EndpointId,
        update: EndpointUpdate,
        now: Timestamp,
    ) -> Result<Option<Endpoint>, StoreError> {
        let (organisation, id) = (organisation.clone(), id.clone());
        run!(self, write, endpoints::update(&organisation, &id, &update, now))
    }

    /// Deletes an endpoint, its secrets, keys and undelivered payloads; `false` if there is none.
    pub async fn delete_endpoint(
        &self,
        organisation: &OrganisationId,
        id: &EndpointId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (organisation, id) = (organisation.clone(), id.clone());
        run!(self, write, endpoints::delete(&organisation, &id, now))
    }

    /// An endpoint's signing secrets.
    pub async fn signing_secrets(
        &self,
        organisation: &OrganisationId,
        id: &EndpointId,
        now: Timestamp,
    ) -> Result<Option<SigningSecrets>, StoreError> {
        let (organisation, id) = (organisation.clone(), id.clone());
        run!(self, read, secrets::get(&organisation, &id, now))
    }

    /// Puts a new signing secret in place; the old one still signs for 24 h. `false` if there is no such endpoint.
    ///
    /// # Errors
    /// `TooManySigningSecrets` if one that signs would have to go before its time.
    pub async fn rotate_signing_secret(
        &self,
        organisation: &OrganisationId,
        id: &EndpointId,
        sealed: Vec<u8>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        Ok(self.rotate_signing_secret_once(organisation, id, sealed, None, now).await?.is_some())
    }

    /// The same, with the answer stored in the same transaction; gives back the endpoint's secrets.
    ///
    /// # Errors
    /// `TooManySigningSecrets`; `KeyTakenOver` if the request's key is another's by now.
    pub async fn rotate_signing_secret_once(
        &self,
        organisation: &OrganisationId,
        id: &EndpointId,
        sealed: Vec<u8>,
        answer: Option<Answer<Option<SigningSecrets>>>,
        now: Timestamp,
    ) -> Result<Option<SigningSecrets>, StoreError> {
        let (organisation, id) = (organisation.clone(), id.clone());
        run_once!(self, answer, now, secrets::rotate_and_get(&organisation, &id, &sealed, now))
    }

    /// Adds an encryption key and makes it the active one; `None` if there is no such endpoint.
    ///
    /// # Errors
    /// `Conflict` if the endpoint has a key of that name.
    pub async fn add_webhook_key(&self, new: NewWebhookKey, now: Timestamp) -> Result<Option<WebhookKey>, StoreError> {
        self.add_webhook_key_once(new, None, now).await
    }

    /// The same, with the answer stored in the same transaction.
    ///
    /// # Errors
    /// `Conflict`; `KeyTakenOver` if the request's key is another's by now.
    pub async fn add_webhook_key_once(
        &self,
        new: NewWebhookKey,
        answer: Option<Answer<Option<WebhookKey>>>,
        now: Timestamp,
    ) -> Result<Option<WebhookKey>, StoreError> {
        run_once!(self, answer, now, secrets::add_key(&new, now))
    }

    /// An endpoint's encryption keys, newest first; `None` if there is no such endpoint.
    ///
    /// # Errors
    /// `InvalidCursor`.
    pub async fn list_webhook_keys(
        &self,
        organisation: &OrganisationId,
        endpoint: &EndpointId,
        page: PageRequest,
    ) -> Result<Option<Page<WebhookKey>>, StoreError> {
        let (organisation, endpoint) = (organisation.clone(), endpoint.clone());
        run!(self, read, secrets::list_keys(&organisation, &endpoint, &page))
    }

    /// Makes a key the active one of its endpoint, or takes it out of use; `None` if there is no such key.
    pub async fn set_webhook_key_active(
        &self,
        organisation: &OrganisationId,
        id: &EncryptionKeyId,
        active: bool,
        now: Timestamp,
    ) -> Result<Option<WebhookKey>, StoreError> {
        let (organisation, id) = (organisation.clone(), id.clone());
        run!(self, write, secrets::set_key_active(&organisation, &id, active, now))
    }

    /// Claims deliveries that are due and marks them `sending`: at most `per_endpoint` of one endpoint are in flight at a
    /// time, over all senders, so that a slow one cannot fill the batch; none of an endpoint whose breaker is open; and no
    /// organisation, nor all that is slow together, gets all of the sender's room.
    pub async fn claim_deliveries(&self, request: ClaimRequest, now: Timestamp) -> Result<Claimed, StoreError> {
        run!(self, write, claims::claim(&request, now))
    }

    /// The same in one go, for a caller that does not go on.
    pub async fn claim_due_deliveries(
        &self,
        limit: usize,
        per_endpoint: usize,
        lease_for: Duration,
        now: Timestamp,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        let request = ClaimRequest {
            limit,
            reserved: 0,
            divided: false,
            per_endpoint,
            per_new_endpoint: per_endpoint,
            per_organisation: usize::MAX,
            paces: Arc::default(),
            probes: limit,
            lease_for,
            after: None,
        };
        Ok(self.claim_deliveries(request, now).await?.deliveries)
    }

    /// Records how tries ended, in one transaction; for each in turn, whether its lease was still held.
    pub async fn record_deliveries(&self, ended: Vec<TryEnded>, now: Timestamp) -> Result<Vec<bool>, StoreError> {
        run!(self, write, deliveries::record(&ended, now))
    }

    /// The same for one try that says nothing of its endpoint; `false` if the lease was lost.
    pub async fn record_delivery(
        &self,
        id: &DeliveryId,
        lease_token: &str,
        outcome: DeliveryOutcome,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let lease_token = lease_token.to_owned();
        let ended = TryEnded { id: id.clone(), lease_token, sent_to: None, outcome, endpoint_well: None };
        Ok(self.record_deliveries(vec![ended], now).await? == [true])
    }

    /// Ends deliveries that an open breaker has held back until the end of their payload's life: the longest that a schedule
    /// takes, and then as long as their endpoint keeps what was not delivered; so many of `limit`. Those that were never
    /// tried are left to be claimed once, breaker or not, and end after that.
    pub async fn give_up_deliveries(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        run!(self, write, deliveries::give_up(now, limit))
    }

    /// When the next delivery is due, for a sender that would otherwise poll.
    pub async fn next_delivery_due(&self) -> Result<Option<Timestamp>, StoreError> {
        run!(self, read, deliveries::next_due())
    }

    /// An organisation's deliveries, newest first.
    ///
    /// # Errors
    /// `InvalidCursor`.
    pub async fn list_deliveries(
        &self,
        organisation: &OrganisationId,
        filter: DeliveryFilter,
        page: PageRequest,
    ) -> Result<Page<Delivery>, StoreError> {
        let organisation = organisation.clone();
        run!(self, read, events::list_deliveries(&organisation, &filter, &page))
    }

    /// An organisation's events, newest first.
    ///
    /// # Errors
    /// `InvalidCursor`.
    pub async fn list_events(
        &self,
        organisation: &OrganisationId,
        filter: EventFilter,
        page: PageRequest,
    ) -> Result<Page<Event>, StoreError> {
        let organisation = organisation.clone();
        run!(self, read, events::list(&organisation, &filter, &page))
    }

    /// An event.
    pub async fn event(&self, organisation: &OrganisationId, id: &EventId) -> Result<Option<Event>, StoreError> {
        let (organisation, id) = (organisation.clone(), id.clone());
        run!(self, read, events::get(&organisation, &id))
    }

    /// Makes a delivery due now with a fresh schedule.
    pub async fn retry_delivery(
        &self,
        organisation: &OrganisationId,
        id: &DeliveryId,
        now: Timestamp,
    ) -> Result<RetryResult, StoreError> {
        self.retry_delivery_once(organisation, id, None, now).await
    }

    /// The same, with the answer stored in the same transaction.
    ///
    /// # Errors
    /// `KeyTakenOver` if the request's key is another's by now.
    pub async fn retry_delivery_once(
        &self,
        organisation: &OrganisationId,
        id: &DeliveryId,
        answer: Option<Answer<RetryResult>>,
        now: Timestamp,
    ) -> Result<RetryResult, StoreError> {
        let (organisation, id) = (organisation.clone(), id.clone());
        run_once!(self, answer, now, events::retry_delivery(&organisation, &id, now))
    }

    /// Makes every delivery of an event due now, delivered ones included, where the payload still exists.
    pub async fn replay_event(
        &self,
        organisation: &OrganisationId,
        id: &EventId,
        now: Timestamp,
    ) -> Result<ReplayResult, StoreError> {
        self.replay_event_once(organisation, id, None, now).await
    }

    /// The same, with the answer stored in the same transaction.
    ///
    /// # Errors
    /// `KeyTakenOver` if the request's key is another's by now.
    pub async fn replay_event_once(
        &self,
        organisation: &OrganisationId,
        id: &EventId,
        answer: Option<Answer<ReplayResult>>,
        now: Timestamp,
    ) -> Result<ReplayResult, StoreError> {
        let (organisation, id) = (organisation.clone(), id.clone());
        run_once!(self, answer, now, events::replay(&organisation, &id, now))
    }
}
