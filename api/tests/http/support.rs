//! A deployment in a temporary folder, its tenants, and requests to it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use proofmill_api::{ApiConfig, AppState, StorageArgs, open_storage, router, tenancy};
use proofmill_contract::{
    AttemptId, Checks, ContractVersion, FailureCode, ManualClock, OrganisationId, OrganisationPolicy, Outcome, Secret,
    SessionId, Timestamp,
};
use proofmill_jose::DecryptionKey;
use proofmill_store::{Lease, SettleResult, Verdict};
use proofmill_telemetry::{BuildInfo, Metrics};
use proofmill_vault::KeptChipEvidence;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub struct World {
    pub state: AppState,
    pub clock: Arc<ManualClock>,
    router: Router,
    folder: TempDir,
}

pub struct Tenant {
    pub organisation: OrganisationId,
    pub key: String,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
    pub json: Value,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// Quotas are wide unless a test narrows them: the clock stands still, so a bucket never refills by itself.
    pub async fn with(change: impl FnOnce(&mut ApiConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let opened = open_storage(&StorageArgs::embedded(folder.path())).await.unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::parse_rfc3339("2026-11-22T09:30:00Z").unwrap()));
        let wide = proofmill_api::Quota { burst: 100_000, window_s: 1 };
        let mut config = ApiConfig {
            verify_base_url: "https://verify.example.com/verify".to_owned(),
            per_key: wide,
            per_address: wide,
            ..ApiConfig::default()
        };
        change(&mut config);
        let metrics = Metrics::new(&BuildInfo { version: "test", commit: "test", role: "api" }).unwrap();
        let state = AppState {
            store: opened.store,
            vault: opened.vault,
            deployment: opened.deployment,
            clock: clock.clone(),
            metrics: Arc::new(metrics),
            config,
            outbox: Arc::default(),
            shutdown: CancellationToken::new(),
        };
        Self { router: router(state.clone()), state, clock, folder }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn now(&self) -> Timestamp {
        use proofmill_contract::Clock;
        self.clock.now()
    }

    pub fn advance(&self, span: Duration) {
        self.clock.advance(span);
    }

    /// An organisation with a key that may do everything.
    pub async fn tenant(&self) -> Tenant {
        self.tenant_of(ContractVersion::V2).await
    }

    pub async fn tenant_of(&self, version: ContractVersion) -> Tenant {
        let policy = OrganisationPolicy::default();
        let store = &self.state.store;
        let organisation = tenancy::create_organisation(
            store,
            &self.state.deployment,
            "Example & Söhne",
            version,
            policy,
            false,
            self.now(),
        )
        .await
        .unwrap();
        let key = self.key(&organisation.id, &[]).await;
        Tenant { organisation: organisation.id, key }
    }

    pub async fn key(&self, organisation: &OrganisationId, scopes: &[&str]) -> String {
        let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let (_, key) = tenancy::create_api_key(&self.state.store, organisation, &scopes, self.now()).await.unwrap();
        key.to_string()
    }

    /// The same deployment under other settings.
    pub fn router_with(&self, change: impl FnOnce(&mut ApiConfig)) -> Router {
        let mut state = self.state.clone();
        change(&mut state.config);
        router(state)
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        Self::send_to(self.router.clone(), request).await
    }

    pub async fn send_to(router: Router, request: Request<Body>) -> Answer {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let response = router.oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        crate::document::hold(&method, &uri, parts.status, &parts.headers, &text);
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, text, json }
    }

    /// A POST that another runtime may send, and be dropped with.
    pub fn posting(&self, path: &str, body: &Value) -> impl Future<Output = Answer> + Send + 'static {
        Self::send_to(self.router.clone(), json_request(Method::POST, path, "", body))
    }

    pub async fn get(&self, key: &str, path: &str) -> Answer {
        self.send(request(Method::GET, path, key).body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, key: &str, path: &str, body: Value) -> Answer {
        self.send(json_request(Method::POST, path, key, &body)).await
    }

    pub async fn patch(&self, key: &str, path: &str, body: Value) -> Answer {
        self.send(json_request(Method::PATCH, path, key, &body)).await
    }

    pub async fn delete(&self, key: &str, path: &str) -> Answer {
        self.send(request(Method::DELETE, path, key).body(Body::empty()).unwrap()).await
    }

    /// A POST with an idempotency key.
    pub async fn post_once(&self, key: &str, path: &str, idempotency_key: &str, body: Value) -> Answer {
        let mut request = json_request(Method::POST, path, key, &body);
        request.headers_mut().insert("idempotency-key", idempotency_key.parse().unwrap());
        self.send(request).await
    }

    pub async fn session(&self, tenant: &Tenant, body: Value) -> Value {
        self.post(&tenant.key, "/v1/sessions", body).await.data(StatusCode::CREATED)
    }

    /// A session's id and an attempt opened in it.
    pub async fn opened(&self, tenant: &Tenant) -> (String, Value) {
        let session = text(&self.session(tenant, json!({})).await["id"]);
        let handoff =
            self.post("", &format!("/v1/verify/session/{session}/handoff"), json!({})).await.data(StatusCode::CREATED);
        (session, handoff)
    }

    pub async fn submit(&self, tenant: &Tenant, attempt: &str, form: Form) -> Answer {
        self.put(&format!("/v1/attempts/{attempt}/evidence"), &tenant.key, form).await
    }

    pub async fn put(&self, path: &str, bearer: &str, form: Form) -> Answer {
        let request = request(Method::PUT, path, bearer).header(header::CONTENT_TYPE, Form::CONTENT_TYPE);
        self.send(request.body(Body::from(form.finish())).unwrap()).await
    }

    /// A session with one submitted attempt: (session, attempt).
    pub async fn submitted(&self, tenant: &Tenant) -> (String, String) {
        let (session, handoff) = self.opened(tenant).await;
        let attempt = text(&handoff["attempt_id"]);
        self.submit(tenant, &attempt, Form::genuine()).await.data(StatusCode::ACCEPTED);
        (session, attempt)
    }

    /// What a worker does once it has decided.
    pub async fn settle(&self, attempt: &str, outcome: Outcome) -> SettleResult {
        let id = AttemptId::parse(attempt).unwrap();
        let lease = self.state.store.acquire_lease(&id, Duration::from_secs(60), self.now()).await.unwrap();
        let Lease::Acquired(leased) = lease else { panic!("the attempt cannot be leased") };
        let verdict = Verdict {
            attempt_id: id,
            lease_token: leased.token,
            outcome,
            checks: Checks::default(),
            claims: (outcome == Outcome::Accepted).then(|| json!({ "kayle_document_id": "kdid_test" })),
            id_key_versions: None,
            kept_chip_evidence: None,
        };
        self.state.store.settle(vec![verdict], self.now()).await.unwrap().remove(0)
    }

    pub async fn reject(&self, attempt: &str, code: FailureCode) -> SettleResult {
        self.settle(attempt, Outcome::Rejected(code)).await
    }

    /// What a worker does when chip evidence passed and the selfie did not.
    pub async fn reject_and_keep(&self, session: &str, attempt: &str) -> SettleResult {
        let id = AttemptId::parse(attempt).unwrap();
        let lease = self.state.store.acquire_lease(&id, Duration::from_secs(60), self.now()).await.unwrap();
        let Lease::Acquired(leased) = lease else { panic!("the attempt cannot be leased") };
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
        let (dg1, dg2) = (secret(MRZ), secret("portrait"));
        let kept = KeptChipEvidence { dg1, dg2, signer: secret("certificate"), results: secret("{}") };
        let session = SessionId::parse(session).unwrap();
        let sealed = self.state.vault.seal_kept(&session, &kept, self.now()).await.unwrap();
        let verdict = Verdict {
            attempt_id: id,
            lease_token: leased.token,
            outcome: Outcome::Rejected(FailureCode::SelfieFaceMismatch),
            checks: Checks::default(),
            claims: None,
            id_key_versions: None,
            kept_chip_evidence: Some(sealed),
        };
        self.state.store.settle(vec![verdict], self.now()).await.unwrap().remove(0)
    }

    /// How many sealed objects the vault holds.
    pub async fn sealed_objects(&self) -> usize {
        let later = self.now().plus(Duration::from_secs(86_400 * 3_650));
        self.state.vault.list_older_than(later, 1_000).await.unwrap().len()
    }

    /// Whether any file of the deployment, database and log included, holds these bytes.
    pub fn any_file_holds(&self, needle: &str) -> bool {
        self.any_file_holds_bytes(needle.as_bytes())
    }

    pub fn any_file_holds_bytes(&self, needle: &[u8]) -> bool {
        fn search(folder: &Path, needle: &[u8]) -> bool {
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
                if path.is_dir() {
                    search(&path, needle)
                } else {
                    std::fs::read(&path).unwrap().windows(needle.len()).any(|window| window == needle)
                }
            })
        }
        search(self.folder.path(), needle)
    }
}

impl Answer {
    /// `data` of a success with this status.
    #[track_caller]
    pub fn data(self, status: StatusCode) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.json["error"], Value::Null);
        self.json["data"].clone()
    }

    /// The message of an error with this code, which must be in the published shape.
    #[track_caller]
    pub fn error(&self, code: &str) -> String {
        let error = &self.json["error"];
        assert_eq!(error["code"], code, "{} {}", self.status, self.text);
        let known = proofmill_contract::ErrorCode::ALL.iter().find(|known| known.as_str() == code).unwrap();
        assert_eq!(self.status.as_u16(), known.status());
        assert_eq!(self.json["data"], Value::Null);
        assert_eq!(error["request_id"].as_str().unwrap(), self.headers["x-request-id"].to_str().unwrap());
        assert!(error["docs"].as_str().unwrap().contains(code));
        error["message"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

pub fn request(method: Method, path: &str, bearer: &str) -> axum::http::request::Builder {
    let builder = Request::builder().method(method).uri(path);
    if bearer.is_empty() { builder } else { builder.header(header::AUTHORIZATION, format!("Bearer {bearer}")) }
}

pub fn json_request(method: Method, path: &str, bearer: &str, body: &Value) -> Request<Body> {
    request(method, path, bearer)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

/// A public RSA key as an integrator registers it.
pub fn key_body(key_id: &str) -> Value {
    key_pair(key_id).0
}

/// The same, with what opens what is encrypted to it.
pub fn key_pair(key_id: &str) -> (Value, DecryptionKey) {
    let key = DecryptionKey::generate(key_id, 2048).unwrap();
    let body = json!({ "key_id": key_id, "algorithm": "RSA-OAEP-256", "key_type": "RSA", "jwk": key.public_jwk() });
    (body, key)
}

/// Text of a machine-readable zone: no error may ever contain it.
pub const MRZ: &str = "P<UTOERIKSSON<<ANNA<MARIA";

/// A multipart body, written by hand so that a test can break it.
#[derive(Clone, Default)]
pub struct Form(Vec<u8>);

impl Form {
    pub const CONTENT_TYPE: &str = "multipart/form-data; boundary=proofmill-test";

    /// What is accepted for verification; whether it is a passport is the worker's to say.
    pub fn genuine() -> Self {
        Self::default()
            .part("dg1", MRZ.as_bytes())
            .part("dg2", b"portrait")
            .part("sod", b"signature")
            .part("selfie", b"\xff\xd8\xff selfie")
            .consent()
    }

    pub fn part(mut self, name: &str, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(
            format!("--proofmill-test\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").as_bytes(),
        );
        self.0.extend_from_slice(bytes);
        self.0.extend_from_slice(b"\r\n");
        self
    }

    /// A manifest that lets go what every session asks for.
    pub fn consent(self) -> Self {
        self.manifest(&json!({ "selected_field_keys": ["kayle_document_id"] }))
    }

    pub fn manifest(self, manifest: &Value) -> Self {
        self.part("manifest", manifest.to_string().as_bytes())
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"--proofmill-test--\r\n");
        self.0
    }

    /// Without its end.
    pub fn unfinished(self) -> Vec<u8> {
        self.0
    }
}
