//! One worker's surroundings, real but for the switches that a test turns.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult,
};
use proofmill_api::Outbox;
use proofmill_api::relay::relay_once;
use proofmill_api::tenancy::create_organisation;
use proofmill_contract::evidence::Part;
use proofmill_contract::{
    AttemptId, Clock, ContractVersion, Evidence, Lane, ManualClock, OrganisationId, OrganisationPolicy, SessionId,
    ShareFields, Timestamp,
};
use proofmill_emrtd::{TrustStore, TrustStoreBuilder};
use proofmill_face::{FaceFailure, Prepared};
use proofmill_queue::{JobRef, Queue};
use proofmill_store::{
    Attempt, NewAttempt, NewSession, OpenAttempt, Session, Store, StoreConfig, Submission, SubmitResult,
};
use proofmill_telemetry::Metrics;
use proofmill_vault::{DeploymentKey, EpochKeys, Vault};
use proofmill_worker::face::{FaceAnswer, FaceLane, FaceStage};
use proofmill_worker::{Engine, Fault, Parts, Pipeline, PipelineConfig};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Long enough for a loaded machine; nothing waits for it unless it fails.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until `condition` gives something.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(started.elapsed() < DEADLINE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A worker's surroundings.
pub struct World {
    _folder: tempfile::TempDir,
    pub store: Store,
    pub vault: Vault,
    pub objects: Arc<Objects>,
    pub queue: Queue,
    pub clock: Arc<ManualClock>,
    pub metrics: Arc<Metrics>,
    pub deployment: Arc<DeploymentKey>,
    pub organisation: OrganisationId,
    pub config: PipelineConfig,
}

impl World {
    pub async fn new() -> Self {
        Self::with_policy(OrganisationPolicy::sandbox()).await
    }

    pub async fn with_policy(policy: OrganisationPolicy) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("store.sqlite").display());
        let store = Store::open(StoreConfig { url, pool_size: 4 }).await.unwrap();
        store.migrate().await.unwrap();
        let evidence = folder.path().join("vault");
        std::fs::create_dir_all(&evidence).unwrap();
        let objects = Arc::new(Objects::new(&evidence));
        let epochs = EpochKeys::open(&folder.path().join("epochs")).unwrap();
        let vault = Vault::new(objects.clone(), epochs);
        let deployment = Arc::new(DeploymentKey::from_bytes([7; 32]));
        // Today, so that fixtures minted for today are neither expired nor in the future.
        let clock = Arc::new(ManualClock::new(proofmill_telemetry::SystemClock.now()));
        let organisation =
            create_organisation(&store, &deployment, "Utopia", ContractVersion::V2, policy, true, clock.now())
                .await
                .unwrap()
                .id;
        let metrics = Arc::new(Metrics::new(&proofmill_worker::build_info("test")).unwrap());
        let config = PipelineConfig {
            retry_base: Duration::from_millis(5),
            retry_cap: Duration::from_millis(50),
            ..PipelineConfig::default()
        };
        Self {
            _folder: folder,
            store,
            vault,
            objects,
            queue: Queue::in_process(1_000),
            clock,
            metrics,
            deployment,
            organisation,
            config,
        }
    }

    /// Starts a worker; stop it with [`Worker::drain`].
    pub fn worker(&self, trust: Arc<TrustStore>, face: Arc<dyn FaceStage>) -> Worker {
        let parts = Parts {
            webhooks_due: Arc::default(),
            store: self.store.clone(),
            queue: self.queue.clone(),
            vault: self.vault.clone(),
            deployment: self.deployment.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            engine: Arc::new(Engine::new(trust, face, self.metrics.clone(), 2)),
        };
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(Pipeline::new(parts, self.config.clone()).run(shutdown.clone()));
        Worker { shutdown, task }
    }

    /// A worker for documents that never reach the faces.
    pub fn document_worker(&self) -> Worker {
        self.worker(Arc::new(TrustStoreBuilder::new().build(1)), Arc::new(NoFaces))
    }

    /// Creates a session and submits evidence for its first attempt, which then is in the outbox.
    pub async fn submit(&self, version: ContractVersion, evidence: &Evidence) -> (SessionId, AttemptId) {
        let session = self.session(version).await;
        let attempt = self.open(&session).await;
        self.put(&attempt.id, evidence).await;
        (session, attempt.id)
    }

    pub async fn session(&self, contract_version: ContractVersion) -> SessionId {
        let now = self.clock.now();
        let new = NewSession {
            id: SessionId::generate(now, &mut rand::rng()),
            organisation_id: self.organisation.clone(),
            contract_version,
            share_fields: ShareFields::default_contract(),
            redirect_url: None,
            webhook_endpoint_ids: None,
            cancel_token_hash: [1; 32],
            expires_at: now.plus(Duration::from_secs(3_600)),
        };
        self.store.create_session(new, now).await.unwrap().id
    }

    pub async fn open(&self, session: &SessionId) -> Attempt {
        self.open_with(session, rand::random()).await
    }

    pub async fn open_with(&self, session: &SessionId, challenge: [u8; 8]) -> Attempt {
        let now = self.clock.now();
        let new = NewAttempt {
            id: AttemptId::generate(now, &mut rand::rng()),
            session_id: session.clone(),
            organisation_id: None,
            challenge,
            handoff_expires_at: now.plus(Duration::from_secs(300)),
            lane: Lane::Interactive,
        };
        match self.store.open_attempt(new, now).await.unwrap() {
            OpenAttempt::Opened(attempt) => attempt,
            other => panic!("{other:?}"),
        }
    }

    pub async fn put(&self, attempt: &AttemptId, evidence: &Evidence) {
        let sealed = self.vault.seal(attempt, evidence, self.clock.now()).await.unwrap();
        let submission = Submission {
            evidence_fingerprint: rand::random(),
            sealed,
            selected_field_keys: vec!["kayle_document_id".into()],
            lane: Lane::Interactive,
            chip_evidence_kept_used: false,
            left_to_caller: Duration::ZERO,
        };
        match self.store.submit_evidence(attempt, submission, self.clock.now()).await.unwrap() {
            SubmitResult::Accepted(_) => {}
            other => panic!("{other:?}"),
        }
    }

    /// Outbox to queue.
    pub async fn relay(&self) {
        let relayed =
            relay_once(&self.store, &self.queue, &*self.clock, &self.metrics, &Outbox::default()).await.unwrap();
        assert_eq!(relayed.failed, 0);
    }

    /// The same job once more, as a broker may deliver it.
    pub async fn publish_again(&self, attempt: &AttemptId) {
        let results = self.queue.publish(&[JobRef::new(attempt.clone(), Lane::Interactive)]).await;
        assert!(results.iter().all(Result::is_ok));
    }

    pub async fn attempt(&self, id: &AttemptId) -> Attempt {
        self.store.attempt(None, id, self.clock.now()).await.unwrap().unwrap().attempt
    }

    pub async fn session_of(&self, id: &SessionId) -> Session {
        self.store.session(None, id, self.clock.now()).await.unwrap().unwrap()
    }

    /// Waits until an attempt has its verdict or was cancelled.
    pub async fn settled(&self, id: &AttemptId) -> Attempt {
        eventually("the attempt is settled", || async {
            let attempt = self.attempt(id).await;
            attempt.completed_at.is_some().then_some(attempt)
        })
        .await
    }

    /// Sealed objects that still exist.
    pub async fn sealed_objects(&self) -> usize {
        let later = Timestamp::from_secs(i64::from(u32::MAX));
        self.vault.list_older_than(later, 10_000).await.unwrap().len()
    }

    /// Verdicts that were settled, whichever way.
    pub fn verdicts(&self) -> u64 {
        ["accepted", "rejected"]
            .iter()
            .map(|outcome| self.metrics.verdicts.with_label_values(&["interactive", outcome]).get())
            .sum()
    }
}

/// A running pipeline.
pub struct Worker {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Worker {
    /// Asks it to stop, without waiting.
    pub fn stop(&self) {
        self.shutdown.cancel();
    }

    /// Kills it, as far as a task can be killed: nothing that it holds is given back in order.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// Stops it and waits until it has drained.
    pub async fn drain(self) {
        self.stop();
        tokio::time::timeout(DEADLINE, self.task).await.expect("the pipeline drains").unwrap();
    }
}

/// Evidence that is no document: it fails the first gate.
pub fn garbage() -> Evidence {
    let mut evidence = Evidence::new();
    for part in [Part::Sod, Part::Dg1, Part::Dg2] {
        evidence.insert(part, b"no document at all".to_vec()).unwrap();
    }
    evidence.push_selfie(b"no picture".to_vec()).unwrap();
    evidence
}

/// A face stage that nothing may reach.
pub struct NoFaces;

impl FaceStage for NoFaces {
    fn prepare(&self, _portrait: &[u8], _selfies: &[&[u8]]) -> Result<Prepared, FaceFailure> {
        panic!("a document that failed reached the face stage")
    }

    fn submit(&self, _pictures: Prepared, _lane: FaceLane) -> BoxFuture<'_, Result<FaceAnswer, Fault>> {
        panic!("a document that failed reached the face stage")
    }

    fn model(&self) -> &str {
        "none"
    }
}

/// A directory of objects, with switches for what can go wrong in one.
pub struct Objects {
    inner: LocalFileSystem,
    /// Every read fails, as when a bucket is away.
    pub away: AtomicBool,
    /// Reads of objects of these owners panic.
    pub poisoned: Mutex<Vec<String>>,
    /// Reads of objects of these owners wait for the signal.
    pub held: Mutex<HashMap<String, Arc<Notify>>>,
    /// Reads that were begun, of all objects and by name.
    pub reads: AtomicUsize,
    names: Mutex<Vec<String>>,
    /// Reads under way, and the most there were while a poisoned object was being read.
    under_way: AtomicUsize,
    pub beside_poison: AtomicUsize,
}

impl Objects {
    fn new(folder: &Path) -> Self {
        Self {
            inner: LocalFileSystem::new_with_prefix(folder).unwrap(),
            away: AtomicBool::new(false),
            poisoned: Mutex::default(),
            held: Mutex::default(),
            reads: AtomicUsize::new(0),
            names: Mutex::default(),
            under_way: AtomicUsize::new(0),
            beside_poison: AtomicUsize::new(0),
        }
    }

    /// Holds reads of an attempt's evidence until the returned signal is given.
    pub fn hold(&self, attempt: &AttemptId) -> Arc<Notify> {
        let signal = Arc::new(Notify::new());
        self.held.lock().unwrap().insert(attempt.to_string(), signal.clone());
        signal
    }

    /// Reads of an attempt's evidence that were begun.
    pub fn reads_of(&self, attempt: &AttemptId) -> usize {
        self.names.lock().unwrap().iter().filter(|name| name.contains(attempt.as_str())).count()
    }

    async fn trouble(&self, location: &ObjectPath) -> object_store::Result<()> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) {
            return Err(object_store::Error::Generic { store: "test", source: "the bucket is away".into() });
        }
        let name = location.to_string();
        self.names.lock().unwrap().push(name.clone());
        let signal = self.held.lock().unwrap().iter().find(|(id, _)| name.contains(*id)).map(|(_, s)| s.clone());
        if let Some(signal) = signal {
            signal.notified().await;
        }
        let poisoned = self.poisoned.lock().unwrap().iter().any(|id| name.contains(id));
        if poisoned {
            self.beside_poison.fetch_max(self.under_way.load(Ordering::SeqCst) - 1, Ordering::SeqCst);
            panic!("this evidence breaks whoever opens it");
        }
        Ok(())
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Objects")
    }
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Objects")
    }
}

/// Counts reads under way, panics included.
struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait::async_trait]
impl ObjectStore for Objects {
    async fn put_opts(
        &self,
        at: &ObjectPath,
        payload: PutPayload,
        opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.inner.put_opts(at, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        at: &ObjectPath,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, at: &ObjectPath, opts: GetOptions) -> object_store::Result<GetResult> {
        let _under_way = UnderWay::begin(&self.under_way);
        self.trouble(at).await?;
        self.inner.get_opts(at, opts).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<ObjectPath>>,
    ) -> BoxStream<'static, object_store::Result<ObjectPath>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &ObjectPath, to: &ObjectPath, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
