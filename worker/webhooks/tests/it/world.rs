//! A store with an organisation, a clock that is moved by hand, and a receiver that keeps every byte.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proofmill_contract::events::EventType;
use proofmill_contract::ids::signing_secret;
use proofmill_contract::{
    Clock, ContractVersion, EncryptionKeyId, EndpointId, ManualClock, OrganisationId, OrganisationPolicy, SessionId,
    ShareFields, Timestamp,
};
use proofmill_jose::DecryptionKey;
use proofmill_store::{
    Delivery, DeliveryFilter, NewEndpoint, NewOrganisation, NewSession, NewWebhookKey, PageRequest, Store, StoreConfig,
};
use proofmill_telemetry::{BuildInfo, Metrics, SystemClock};
use proofmill_vault::DeploymentKey;
use proofmill_webhooks::{Client, Sender, SenderConfig, Timeouts, system_lookup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

pub struct World {
    pub store: Store,
    pub clock: Arc<ManualClock>,
    pub deployment: Arc<DeploymentKey>,
    pub organisation: OrganisationId,
    _folder: Arc<tempfile::TempDir>,
}

/// An endpoint as its owner knows it.
pub struct Endpoint {
    pub id: EndpointId,
    pub secret: String,
    pub key: DecryptionKey,
}

/// A sender at work.
pub struct Running {
    pub metrics: Arc<Metrics>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }

    /// Without waiting for what is in flight.
    pub fn abandon(self) {
        self.task.abort();
    }
}

impl World {
    pub async fn new() -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let url = format!("sqlite:{}", folder.path().join("store.sqlite").display());
        let store = Store::open(StoreConfig { url, pool_size: 4 }).await.unwrap();
        store.migrate().await.unwrap();
        // Receivers hold signatures against their own clocks, so it starts at the real time.
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let organisation = new_organisation(&store, clock.now()).await;
        let deployment = Arc::new(DeploymentKey::from_bytes([7; 32]));
        Self { store, clock, deployment, organisation, _folder: folder }
    }

    /// The same store and clock as another organisation sees them.
    pub async fn another_organisation(&self) -> Self {
        let organisation = new_organisation(&self.store, self.clock.now()).await;
        let (store, clock) = (self.store.clone(), self.clock.clone());
        Self { store, clock, deployment: self.deployment.clone(), organisation, _folder: self._folder.clone() }
    }

    pub async fn endpoint(&self, url: &str) -> Endpoint {
        let now = self.clock.now();
        let id = EndpointId::generate(now, &mut rand::rng());
        let secret = signing_secret(&mut rand::rng());
        let new = NewEndpoint {
            id: id.clone(),
            organisation_id: self.organisation.clone(),
            url: url.into(),
            name: None,
            labels: vec![],
            enabled: true,
            subscribed_event_types: EventType::ALL.to_vec(),
            undelivered_payload_retention_hours: 72,
            signing_secret_sealed: self.seal(&id, &secret),
        };
        self.store.create_endpoint(new, now).await.unwrap();
        let key = DecryptionKey::generate("key-2026", 2048).unwrap();
        let new = NewWebhookKey {
            id: EncryptionKeyId::generate(now, &mut rand::rng()),
            organisation_id: self.organisation.clone(),
            endpoint_id: id.clone(),
            key_id: key.key_id().to_owned(),
            jwk: key.public_jwk(),
        };
        self.store.add_webhook_key(new, now).await.unwrap().unwrap();
        Endpoint { id, secret, key }
    }

    pub fn seal(&self, endpoint: &EndpointId, secret: &str) -> Vec<u8> {
        self.deployment.seal("webhook.signing_secret", endpoint.as_str().as_bytes(), secret.as_bytes()).unwrap()
    }

    /// An event for these endpoints: a session that is cancelled at once.
    pub async fn event(&self, endpoints: &[&Endpoint]) -> SessionId {
        let now = self.clock.now();
        let id = SessionId::generate(now, &mut rand::rng());
        let new = NewSession {
            id: id.clone(),
            organisation_id: self.organisation.clone(),
            contract_version: ContractVersion::V2,
            share_fields: ShareFields::default_contract(),
            redirect_url: None,
            webhook_endpoint_ids: Some(endpoints.iter().map(|endpoint| endpoint.id.clone()).collect()),
            cancel_token_hash: [7; 32],
            expires_at: now.plus(Duration::from_secs(3_600)),
        };
        self.store.create_session(new, now).await.unwrap();
        self.store.cancel_session(None, &id, now).await.unwrap();
        id
    }

    pub fn start(&self, config: SenderConfig, timeouts: Timeouts) -> Running {
        let build = BuildInfo { version: "0", commit: "test", role: "test" };
        let metrics = Arc::new(Metrics::new(&build).unwrap());
        let client = Client::new(system_lookup(), true, timeouts).unwrap();
        let config = SenderConfig { poll_interval: Duration::from_millis(5), ..config };
        let (store, deployment, clock) = (self.store.clone(), self.deployment.clone(), self.clock.clone());
        let sender = Sender::new(store, deployment, clock, metrics.clone(), client, config).with_seed(1);
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(sender.run(shutdown.clone()));
        Running { metrics, shutdown, task }
    }

    pub async fn deliveries(&self, endpoint: &Endpoint) -> Vec<Delivery> {
        let filter = DeliveryFilter { endpoint_id: Some(endpoint.id.clone()), ..Default::default() };
        let page = PageRequest { limit: 100, starting_after: None };
        self.store.list_deliveries(&self.organisation, filter, page).await.unwrap().items
    }

    /// Waits until every delivery to an endpoint is as asked for.
    pub async fn until_all(&self, endpoint: &Endpoint, what: &str, is: impl Fn(&Delivery) -> bool) -> Vec<Delivery> {
        until(what, async || {
            let deliveries = self.deliveries(endpoint).await;
            (!deliveries.is_empty() && deliveries.iter().all(&is)).then_some(deliveries)
        })
        .await
    }
}

/// Asks again and again until there is an answer.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within 30 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One request, byte by byte.
#[derive(Clone, Debug)]
pub struct Request {
    pub line: String,
    /// Names as they were written.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// A header's value by its name, which is compared letter by letter.
    pub fn header(&self, name: &str) -> &str {
        let found: Vec<&str> =
            self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect();
        assert_eq!(found.len(), 1, "{name} in {:?}", self.headers);
        found[0]
    }
}

/// A receiver on loopback; what it answers is set per path.
#[derive(Clone)]
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    answers: Mutex<HashMap<String, &'static str>>,
    requests: Mutex<Vec<Request>>,
    release: tokio::sync::Notify,
}

impl Shared {
    fn answer_to(&self, path: &str) -> &'static str {
        self.answers.lock().unwrap().get(path).copied().unwrap_or(OK)
    }

    async fn released(&self, path: &str) -> &'static str {
        loop {
            let released = self.release.notified();
            match self.answer_to(path) {
                HANG => released.await,
                answer => return answer,
            }
        }
    }
}

pub const OK: &str = "HTTP/1.1 204 No Content\r\n\r\n";
pub const ERROR: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
pub const GONE: &str = "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n";
pub const BUSY: &str = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1000\r\nContent-Length: 0\r\n\r\n";
/// Nothing is answered, unless it is released.
pub const HANG: &str = "";

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let served = shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, served.clone()));
            }
        });
        Self { address, shared }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on; 204 where nothing is set.
    pub fn answer(&self, path: &str, with: &'static str) {
        self.shared.answers.lock().unwrap().insert(path.to_owned(), with);
    }

    /// Answers what hangs.
    pub fn release(&self, path: &str, with: &'static str) {
        self.answer(path, with);
        self.shared.release.notify_waiters();
    }

    pub fn requests(&self, path: &str) -> Vec<Request> {
        let to = format!("POST {path} HTTP/1.1");
        self.shared.requests.lock().unwrap().iter().filter(|request| request.line == to).cloned().collect()
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    while let Some(request) = read(&mut stream).await {
        let path = request.line.split(' ').nth(1).unwrap_or_default().to_owned();
        shared.requests.lock().unwrap().push(request);
        let answer = shared.answer_to(&path);
        let answer = if answer == HANG { shared.released(&path).await } else { answer };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// `None` at the end of the connection.
async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
    let mut lines = text.split("\r\n");
    let line = lines.next()?.to_owned();
    let headers: Vec<(String, String)> =
        lines.map(|line| line.split_once(": ").unwrap()).map(|(name, value)| (name.into(), value.into())).collect();
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = bytes.split_off(head + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Request { line, headers, body })
}

async fn new_organisation(store: &Store, now: Timestamp) -> OrganisationId {
    let organisation = OrganisationId::generate(now, &mut rand::rng());
    let new = NewOrganisation {
        id: organisation.clone(),
        name: "Example Bank".into(),
        default_contract_version: ContractVersion::V2,
        policy: OrganisationPolicy::sandbox(),
        sandbox: true,
        document_id_key_sealed: vec![1],
        human_id_key_sealed: vec![2],
    };
    store.create_organisation(new, now).await.unwrap();
    organisation
}
