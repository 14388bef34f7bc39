//! A database with attempts that wait for nothing but their verdict, made through the store as the product does.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use proofmill_contract::events::EventType;
use proofmill_contract::ids::{random_text, signing_secret};
use proofmill_contract::{
    AttemptId, Checks, Clock as _, ContractVersion, EncryptionKeyId, EndpointId, Lane, OrganisationId,
    OrganisationPolicy, Outcome, SessionId, ShareFields,
};
use proofmill_jose::DecryptionKey;
use proofmill_store::{
    EndpointUpdate, Lease, NewAttempt, NewEndpoint, NewOrganisation, NewSession, NewWebhookKey, OpenAttempt, Store,
    StoreConfig, Submission, SubmitResult, Verdict,
};
use proofmill_telemetry::SystemClock;
use proofmill_vault::{DeploymentKey, SealedRef};
use serde_json::json;

/// Long enough that no lease ends before its verdict.
const LEASE: Duration = Duration::from_secs(3_000);
const AT_ONCE: usize = 8;

/// A store with one organisation.
pub struct Bed {
    /// The store.
    pub store: Store,
    /// What its secrets are sealed under.
    pub deployment: Arc<DeploymentKey>,
    organisation: OrganisationId,
}

impl Bed {
    /// Opens and migrates an empty database and makes an organisation in it.
    pub async fn open(url: &str) -> Result<Self> {
        let store = Store::open(StoreConfig { url: url.to_owned(), pool_size: 16 }).await?;
        store.migrate().await?;
        let now = SystemClock.now();
        let organisation = OrganisationId::generate(now, &mut rand::rng());
        let new = NewOrganisation {
            id: organisation.clone(),
            name: "bench".into(),
            default_contract_version: ContractVersion::V2,
            policy: OrganisationPolicy::sandbox(),
            sandbox: true,
            document_id_key_sealed: vec![1],
            human_id_key_sealed: vec![2],
        };
        store.create_organisation(new, now).await?;
        Ok(Self { store, deployment: Arc::new(DeploymentKey::from_bytes([7; 32])), organisation })
    }

    /// An endpoint with an RSA-2048 key, whose private half nobody keeps.
    pub async fn endpoint(&self, url: &str) -> Result<EndpointId> {
        let now = SystemClock.now();
        let id = EndpointId::generate(now, &mut rand::rng());
        let secret = signing_secret(&mut rand::rng());
        let sealed = self.deployment.seal("webhook.signing_secret", id.as_str().as_bytes(), secret.as_bytes())?;
        let new = NewEndpoint {
            id: id.clone(),
            organisation_id: self.organisation.clone(),
            url: url.to_owned(),
            name: None,
            labels: Vec::new(),
            enabled: true,
            subscribed_event_types: EventType::ALL.to_vec(),
            undelivered_payload_retention_hours: 72,
            signing_secret_sealed: sealed,
        };
        self.store.create_endpoint(new, now).await?;
        let key = DecryptionKey::generate("bench", 2048)?;
        let new = NewWebhookKey {
            id: EncryptionKeyId::generate(now, &mut rand::rng()),
            organisation_id: self.organisation.clone(),
            endpoint_id: id.clone(),
            key_id: "bench".into(),
            jwk: key.public_jwk(),
        };
        self.store.add_webhook_key(new, now).await?.context("the endpoint exists")?;
        Ok(id)
    }

    /// Disables an endpoint, which ends what waits for it.
    pub async fn retire(&self, endpoint: &EndpointId) -> Result<()> {
        self.enable(endpoint, false).await
    }

    /// Enables it again, as well as new.
    pub async fn revive(&self, endpoint: &EndpointId) -> Result<()> {
        self.enable(endpoint, true).await
    }

    async fn enable(&self, endpoint: &EndpointId, enabled: bool) -> Result<()> {
        let update = EndpointUpdate { enabled: Some(enabled), ..EndpointUpdate::default() };
        let now = SystemClock.now();
        let updated = self.store.update_endpoint(&self.organisation, endpoint, update, now).await?;
        updated.context("the endpoint exists").map(drop)
    }

    /// Verdicts of leased attempts, each of a session of its own whose webhooks go to these endpoints.
    pub async fn verdicts(&self, count: usize, endpoints: &[EndpointId]) -> Result<Vec<Verdict>> {
        stream::iter(0..count).map(|_| self.verdict(endpoints)).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn verdict(&self, endpoints: &[EndpointId]) -> Result<Verdict> {
        let now = SystemClock.now();
        let session = SessionId::generate(now, &mut rand::rng());
        let new = NewSession {
            id: session.clone(),
            organisation_id: self.organisation.clone(),
            contract_version: ContractVersion::V2,
            share_fields: ShareFields::default_contract(),
            redirect_url: None,
            webhook_endpoint_ids: Some(endpoints.to_vec()),
            cancel_token_hash: [7; 32],
            expires_at: now.plus(Duration::from_secs(3_600)),
        };
        self.store.create_session(new, now).await?;
        let new = NewAttempt {
            id: AttemptId::generate(now, &mut rand::rng()),
            session_id: session,
            organisation_id: None,
            challenge: [9; 8],
            handoff_expires_at: now.plus(Duration::from_secs(300)),
            lane: Lane::Interactive,
        };
        let OpenAttempt::Opened(attempt) = self.store.open_attempt(new, now).await? else { bail!("not opened") };
        let submission = Submission {
            evidence_fingerprint: [1; 32],
            sealed: SealedRef {
                object: random_text(40, &mut rand::rng()),
                epoch: "20261122".into(),
                wrapped_key: vec![0xAB; 60],
            },
            selected_field_keys: CLAIMS.iter().map(|(key, _)| (*key).to_owned()).collect(),
            lane: Lane::Interactive,
            chip_evidence_kept_used: false,
            left_to_caller: Duration::ZERO,
        };
        let SubmitResult::Accepted(_) = self.store.submit_evidence(&attempt.id, submission, now).await? else {
            bail!("not accepted")
        };
        let Lease::Acquired(leased) = self.store.acquire_lease(&attempt.id, LEASE, now).await? else {
            bail!("not leased")
        };
        Ok(Verdict {
            attempt_id: attempt.id,
            lease_token: leased.token,
            outcome: Outcome::Accepted,
            checks: Checks::default(),
            claims: Some(CLAIMS.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect()),
            id_key_versions: None,
            kept_chip_evidence: None,
        })
    }
}

/// What a usual integrator asks for.
const CLAIMS: [(&str, &str); 6] = [
    ("date_of_birth", "1969-08-06"),
    ("document_number", "L898902C3"),
    ("family_name", "ERIKSSON"),
    ("given_names", "ANNA MARIA"),
    ("kayle_document_id", "kdid_6f1ed002ab5595859014ebf0951522d96f1ed002ab5595859014ebf0951522d9"),
    ("nationality_code", "UTO"),
];
