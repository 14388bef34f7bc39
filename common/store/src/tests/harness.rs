//! A database of its own for each test, and short ways to get a session to where a test needs it.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proofmill_contract::events::EventType;
use proofmill_contract::limits::{HANDOFF_LIFE, SESSION_LIFE};
use proofmill_contract::{
    AttemptId, Checks, ContractVersion, EncryptionKeyId, EndpointId, FailureCode, Lane, OrganisationId,
    OrganisationPolicy, Outcome, SessionId, ShareFields, Timestamp,
};
use proofmill_jose::DecryptionKey;
use proofmill_vault::SealedRef;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use serde_json::{Value, json};

use crate::{
    Attempt, Event, EventFilter, Lease, LeasedAttempt, NewAttempt, NewEndpoint, NewOrganisation, NewSession,
    NewWebhookKey, OpenAttempt, PageRequest, Session, SettleResult, Store, StoreConfig, Submission, SubmitResult,
    Verdict, WebhookKey,
};

/// Turns `async fn name(world: World)` into one test per database.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[test] fn $name() { $crate::tests::harness::on_sqlite(super::$name) })*
        }
        mod postgres {
            $(#[test] fn $name() { $crate::tests::harness::on_postgres(super::$name) })*
        }
    };
}
pub(super) use on_both;

pub(super) const LEASE: Duration = Duration::from_secs(60);
pub(super) const START: Timestamp = Timestamp::from_secs(1_795_000_000);

pub(super) fn on_sqlite<F: Future<Output = ()>>(test: fn(World) -> F) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("store.sqlite").display());
    runtime().block_on(async { test(World::open(url).await).await });
}

pub(super) fn on_postgres<F: Future<Output = ()>>(test: fn(World) -> F) {
    let Ok(server) = std::env::var("PROOFMILL_TEST_DATABASE_URL") else {
        eprintln!("skipped: PROOFMILL_TEST_DATABASE_URL is not set, so there is no PostgreSQL to test on");
        return;
    };
    let database = Database::create(&server);
    runtime().block_on(async { test(World::open(database.url.clone()).await).await });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A database that goes when the test ends, however it ends.
struct Database {
    server: String,
    name: String,
    url: String,
}

impl Database {
    fn create(server: &str) -> Self {
        let suffix = proofmill_contract::ids::random_text(16, &mut rand::rng());
        let name = format!("proofmill_test_{suffix}");
        admin(server, &format!("CREATE DATABASE {name}"));
        let (front, query) = server.split_once('?').map_or((server, None), |(front, query)| (front, Some(query)));
        // scheme://authority/database: only the database is replaced.
        let (scheme, rest) = front.split_once("://").unwrap();
        let authority = rest.split('/').next().unwrap();
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        Self { server: server.to_owned(), url: format!("{scheme}://{authority}/{name}{query}"), name }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        admin(&self.server, &format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

fn admin(server: &str, sql: &str) {
    use diesel::connection::SimpleConnection;
    use diesel::{Connection, PgConnection};
    PgConnection::establish(server).unwrap().batch_execute(sql).unwrap();
}

/// A migrated store with one organisation.
pub(super) struct World {
    pub store: Store,
    pub url: String,
    pub organisation: OrganisationId,
}

/// A webhook endpoint whose deliveries the test can read.
pub(super) struct Receiver {
    pub endpoint: EndpointId,
    pub key: DecryptionKey,
}

impl World {
    async fn open(url: String) -> Self {
        let store = Store::open(StoreConfig { url: url.clone(), pool_size: 8 }).await.unwrap();
        store.migrate().await.unwrap();
        let organisation = new_organisation(&store).await;
        Self { store, url, organisation }
    }

    pub async fn session(&self, version: ContractVersion, now: Timestamp) -> Session {
        self.session_for(version, None, now).await
    }

    pub async fn session_for(
        &self,
        version: ContractVersion,
        endpoints: Option<Vec<EndpointId>>,
        now: Timestamp,
    ) -> Session {
        self.store.create_session(new_session(&self.organisation, version, endpoints, now), now).await.unwrap()
    }

    /// Opens an attempt, which must be possible.
    pub async fn attempt(&self, session: &SessionId, now: Timestamp) -> Attempt {
        match self.store.open_attempt(new_attempt(session, now), now).await.unwrap() {
            OpenAttempt::Opened(attempt) => attempt,
            other => panic!("{other:?}"),
        }
    }

    /// Opens an attempt and submits evidence, which must be accepted.
    pub async fn submitted(&self, session: &SessionId, now: Timestamp) -> AttemptId {
        let attempt = self.attempt(session, now).await;
        match self.store.submit_evidence(&attempt.id, submission(1), now).await.unwrap() {
            SubmitResult::Accepted(accepted) => accepted.id,
            other => panic!("{other:?}"),
        }
    }

    /// Opens, submits and leases an attempt.
    pub async fn leased(&self, session: &SessionId, now: Timestamp) -> LeasedAttempt {
        let id = self.submitted(session, now).await;
        self.lease(&id, now).await
    }

    pub async fn lease(&self, id: &AttemptId, now: Timestamp) -> LeasedAttempt {
        match self.store.acquire_lease(id, LEASE, now).await.unwrap() {
            Lease::Acquired(leased) => leased,
            _ => panic!("the attempt is not free"),
        }
    }

    pub async fn settle_one(&self, verdict: Verdict, now: Timestamp) -> SettleResult {
        self.store.settle(vec![verdict], now).await.unwrap().pop().unwrap()
    }

    /// An attempt of the session from opening to its verdict.
    pub async fn decide(&self, session: &SessionId, outcome: Outcome, now: Timestamp) -> SettleResult {
        let leased = self.leased(session, now).await;
        self.settle_one(verdict(&leased, outcome), now).await
    }

    pub async fn reload(&self, session: &SessionId, now: Timestamp) -> Session {
        self.store.session(Some(&self.organisation), session, now).await.unwrap().unwrap()
    }

    /// A session's attempts as they are stored, oldest first.
    pub async fn attempts(&self, session: &SessionId) -> Vec<Attempt> {
        self.store.attempts_of(std::slice::from_ref(session), START).await.unwrap()
    }

    /// An endpoint's keys, newest first.
    pub async fn keys(&self, organisation: &OrganisationId, endpoint: &EndpointId) -> Option<Vec<WebhookKey>> {
        let keys = self.store.list_webhook_keys(organisation, endpoint, PageRequest::default()).await.unwrap();
        keys.map(|keys| keys.items)
    }

    pub async fn receiver(&self, now: Timestamp) -> Receiver {
        let endpoint = self.endpoint(EventType::ALL.to_vec(), 72, now).await;
        let key = self.key(&endpoint, now).await;
        Receiver { endpoint, key }
    }

    pub async fn endpoint(&self, types: Vec<EventType>, retention: u32, now: Timestamp) -> EndpointId {
        let id = EndpointId::generate(now, &mut rand::rng());
        let new = NewEndpoint {
            id: id.clone(),
            organisation_id: self.organisation.clone(),
            url: "https://hooks.example/proofmill".into(),
            name: None,
            labels: vec!["test".into()],
            enabled: true,
            subscribed_event_types: types,
            undelivered_payload_retention_hours: retention,
            signing_secret_sealed: b"sealed secret 1".to_vec(),
        };
        self.store.create_endpoint(new, now).await.unwrap();
        id
    }

    pub async fn key(&self, endpoint: &EndpointId, now: Timestamp) -> DecryptionKey {
        let key = DecryptionKey::generate(&format!("key {}", unique()), 2048).unwrap();
        let new = NewWebhookKey {
            id: EncryptionKeyId::generate(now, &mut rand::rng()),
            organisation_id: self.organisation.clone(),
            endpoint_id: endpoint.clone(),
            key_id: key.key_id().to_owned(),
            jwk: key.public_jwk(),
        };
        self.store.add_webhook_key(new, now).await.unwrap().unwrap();
        key
    }

    /// Every event of a session, oldest first.
    pub async fn events(&self, session: &SessionId) -> Vec<Event> {
        let page = PageRequest { limit: 100, starting_after: None };
        let page = self.store.list_events(&self.organisation, EventFilter::default(), page).await.unwrap();
        let mut events: Vec<Event> = page.items.into_iter().filter(|event| &event.session_id == session).collect();
        events.reverse();
        events
    }

    pub async fn event_types(&self, session: &SessionId) -> Vec<&'static str> {
        self.events(session).await.into_iter().map(|event| event.event_type.as_str()).collect()
    }

    /// Claims what is due and decrypts it, as `(type, plaintext)`.
    pub async fn received(&self, receiver: &Receiver, now: Timestamp) -> Vec<Value> {
        let due = self.store.claim_due_deliveries(100, 100, LEASE, now).await.unwrap();
        let open = |payload: &str| receiver.key.decrypt(payload).unwrap();
        due.iter().map(|due| serde_json::from_slice(&open(&due.payload)).unwrap()).collect()
    }
}

pub(super) async fn new_organisation(store: &Store) -> OrganisationId {
    let id = OrganisationId::generate(START, &mut rand::rng());
    let new = NewOrganisation {
        id: id.clone(),
        name: "Example Bank".into(),
        default_contract_version: ContractVersion::V2,
        policy: OrganisationPolicy::sandbox(),
        sandbox: true,
        document_id_key_sealed: vec![1, 2, 3],
        human_id_key_sealed: vec![4, 5, 6],
    };
    store.create_organisation(new, START).await.unwrap();
    id
}

pub(super) fn new_session(
    organisation: &OrganisationId,
    version: ContractVersion,
    endpoints: Option<Vec<EndpointId>>,
    now: Timestamp,
) -> NewSession {
    NewSession {
        id: SessionId::generate(now, &mut rng()),
        organisation_id: organisation.clone(),
        contract_version: version,
        share_fields: ShareFields::default_contract(),
        redirect_url: Some("https://shop.example/back".into()),
        webhook_endpoint_ids: endpoints,
        cancel_token_hash: [7; 32],
        expires_at: now.plus(SESSION_LIFE),
    }
}

pub(super) fn new_attempt(session: &SessionId, now: Timestamp) -> NewAttempt {
    NewAttempt {
        id: AttemptId::generate(now, &mut rng()),
        session_id: session.clone(),
        organisation_id: None,
        challenge: [9; 8],
        handoff_expires_at: now.plus(HANDOFF_LIFE),
        lane: Lane::Interactive,
    }
}

/// A submission; the number stands for the bytes of the evidence.
pub(super) fn submission(bytes: u8) -> Submission {
    Submission {
        evidence_fingerprint: [bytes; 32],
        sealed: sealed("evidence"),
        selected_field_keys: vec!["family_name".into(), "kayle_document_id".into()],
        lane: Lane::Interactive,
        chip_evidence_kept_used: false,
        left_to_caller: Duration::ZERO,
    }
}

/// A reference to a sealed object of its own.
pub(super) fn sealed(name: &str) -> SealedRef {
    SealedRef { object: format!("{name}-{}", unique()), epoch: "20261118".into(), wrapped_key: vec![0xAB; 40] }
}

/// A verdict under the given lease, with claims if it accepts.
pub(super) fn verdict(leased: &LeasedAttempt, outcome: Outcome) -> Verdict {
    Verdict {
        attempt_id: leased.attempt.id.clone(),
        lease_token: leased.token.clone(),
        outcome,
        checks: Checks { reason: Some("from_the_test".into()), ..Checks::default() },
        claims: (outcome == Outcome::Accepted)
            .then(|| json!({ "family_name": "ERIKSSON", "kayle_document_id": "kdid_test" })),
        id_key_versions: None,
        kept_chip_evidence: None,
    }
}

pub(super) const MISMATCH: Outcome = Outcome::Rejected(FailureCode::SelfieFaceMismatch);
pub(super) const FORGED: Outcome = Outcome::Rejected(FailureCode::DocumentAuthenticityFailed);
pub(super) const CLONED: Outcome = Outcome::Rejected(FailureCode::DocumentAntiCloningAttestationFailed);

pub(super) fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Ids only have to differ within one test's database.
fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(unique())
}
