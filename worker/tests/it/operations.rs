//! What operators see of the face stage, over real HTTP: devices that work, that fail, and that come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proofmill_api::{Ops, ops_router, serve_router};
use proofmill_contract::{AttemptStatus, ContractVersion};
use proofmill_face::{
    BatchEngine, Device, EngineError, EngineStatus, FaceOutcome, LoadOptions, Matcher, Pack, Prepared, Standby,
};
use proofmill_fixtures::{Algorithm, Case};
use proofmill_worker::face::{FaceService, FaceStage};
use proofmill_worker::settings::BatchArgs;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::gallery::{Gallery, pack};
use crate::support::{World, eventually};

/// The real engine in the place of a GPU, until it is told to fail.
struct Failing {
    inner: Arc<Matcher>,
    device: Device,
    broken: Arc<AtomicBool>,
}

impl Failing {
    fn sound(&self) -> Result<(), EngineError> {
        match self.broken.load(Ordering::SeqCst) {
            true => Err(EngineError::Cuda("CUDA_ERROR_ILLEGAL_ADDRESS".to_owned())),
            false => Ok(()),
        }
    }
}

impl BatchEngine<Prepared> for Failing {
    fn device(&self) -> Device {
        self.device
    }

    fn run(&self, batch: &[Prepared]) -> Result<Vec<FaceOutcome>, EngineError> {
        self.sound()?;
        self.inner.match_batch(batch)
    }

    fn probe(&self) -> Result<(), EngineError> {
        self.sound()
    }

    fn status(&self) -> EngineStatus {
        EngineStatus { memory: Some((1_000, 400)), out_of_memory: 2, recomputed: 3, ..self.inner.status() }
    }
}

/// The operator's port.
struct Port {
    address: std::net::SocketAddr,
    stop: CancellationToken,
}

impl Port {
    async fn open(world: &World, face: Arc<FaceService>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let ops = face.show(Ops::new(world.metrics.clone(), CancellationToken::new()));
        tokio::spawn(serve_router(ops_router(ops), listener, stop.clone()));
        Self { address, stop }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    async fn ready(&self) -> (u16, Value) {
        let (status, body) = self.get("/readyz").await;
        (status, serde_json::from_str(&body).unwrap())
    }

    async fn metrics(&self) -> String {
        self.get("/metrics").await.1
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

const GENUINE: Case = Case::Genuine(Algorithm::ALL[0]);

async fn submit(world: &World, gallery: &Gallery, count: u64) -> Vec<proofmill_contract::AttemptId> {
    let mut submitted = Vec::new();
    for index in 0..count {
        let session = world.session(ContractVersion::V2).await;
        let attempt = world.open(&session).await;
        world.put(&attempt.id, &gallery.evidence(GENUINE, index, &attempt.challenge)).await;
        submitted.push(attempt.id);
    }
    world.relay().await;
    submitted
}

fn service(
    world: &World,
    engines: Vec<Arc<dyn BatchEngine<Prepared>>>,
    standby: Option<Standby<Prepared>>,
) -> Option<Arc<FaceService>> {
    let service = FaceService::over(matcher()?, engines, standby, &BatchArgs::default(), world.metrics.clone());
    Some(Arc::new(service.unwrap()))
}

fn matcher() -> Option<Arc<Matcher>> {
    let pack = Pack::load(&pack()?, LoadOptions::default()).unwrap();
    Some(Arc::new(Matcher::new(pack, Device::Cpu, 1).unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_port_names_devices_and_why_it_is_the_processor() {
    let Some(gallery) = Gallery::load() else { return };
    let world = World::new().await;
    let batch = BatchArgs::default();
    let (terms, choice) = (proofmill_worker::face::PackTerms::default(), proofmill_worker::face::DeviceChoice::Cpu);
    let face = FaceService::start(&pack().unwrap(), &terms, choice, 2, &batch, world.metrics.clone()).unwrap();
    let face = Arc::new(face);
    let port = Port::open(&world, face.clone()).await;
    let worker = world.worker(gallery.trust.clone(), face.clone());
    let submitted = submit(&world, &gallery, 3).await;
    for attempt in &submitted {
        assert_eq!(world.settled(attempt).await.status, AttemptStatus::Succeeded);
    }
    let (status, body) = port.ready().await;
    assert_eq!((status, &body["parts"]["face"]), (200, &"ok".into()), "{body}");
    assert_eq!(body["details"]["face"]["runs_on"], "cpu: asked for");
    assert_eq!(body["details"]["face"]["devices"][0]["state"], "serving");
    assert!(body["details"]["face"]["model"].as_str().unwrap().starts_with("proofmill-open-1@"));
    let text = eventually("the batches are counted", || async {
        let text = port.metrics().await;
        text.contains("proofmill_batch_items_sum 3").then_some(text)
    })
    .await;
    for series in [
        r#"proofmill_face_device_info{device="cpu",kind="cpu",name=""} 1"#,
        r#"proofmill_face_device_serving{device="cpu"} 1"#,
        r#"proofmill_face_fallback{reason="asked_for"} 1"#,
        r#"proofmill_face_fallback{reason="device_failed"} 0"#,
        r#"proofmill_face_verdicts_total{finding="none",verdict="match"} 3"#,
        r#"proofmill_face_waiting{lane="interactive"} 0"#,
        r#"proofmill_device_out_of_memory_total{device="cpu"} 0"#,
        r#"proofmill_face_recomputed_total{device="cpu"} 0"#,
        r#"proofmill_batch_duration_seconds_count{device="cpu"}"#,
        r#"proofmill_device_busy_seconds_total{device="cpu"}"#,
        "proofmill_batch_fill_ratio_count",
        "proofmill_batch_wait_seconds_count",
    ] {
        assert!(text.contains(series), "{series}: {text}");
    }
    let closed: f64 = text
        .lines()
        .filter(|line| line.starts_with("proofmill_batches_total{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    assert!(closed >= 1.0, "{text}");
    for attempt in &submitted {
        assert!(!text.contains(attempt.as_str()) && !body.to_string().contains(attempt.as_str()));
    }
    worker.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_dies_is_taken_out_the_processor_takes_over_and_nobody_is_charged() {
    let Some(gallery) = Gallery::load() else { return };
    let world = World::new().await;
    let Some(matcher) = matcher() else { return };
    let (broken, processor_broken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let failing = |device, broken: &Arc<AtomicBool>| {
        let engine = Failing { inner: matcher.clone(), device, broken: broken.clone() };
        Arc::new(engine) as Arc<dyn BatchEngine<Prepared>>
    };
    let processor = failing(Device::Cpu, &processor_broken);
    let standby = Standby { device: Device::Cpu, max_batch: 4, build: Box::new(move || Ok(processor.clone())) };
    let face = service(&world, vec![failing(Device::Cuda(0), &broken)], Some(standby)).unwrap();
    let port = Port::open(&world, face.clone()).await;
    let worker = world.worker(gallery.trust.clone(), face.clone() as Arc<dyn FaceStage>);

    for attempt in submit(&world, &gallery, 2).await {
        assert_eq!(world.settled(&attempt).await.status, AttemptStatus::Succeeded);
    }
    let (status, body) = port.ready().await;
    assert_eq!((status, &body["details"]["face"]["runs_on"]), (200, &"cuda:0".into()));
    assert_eq!(body["details"]["face"]["devices"][1]["state"], "standby");
    eventually("the device's totals are counted", || async {
        let text = port.metrics().await;
        let all = [
            r#"proofmill_device_memory_bytes{device="cuda:0",state="used"} 600"#,
            r#"proofmill_device_memory_bytes{device="cuda:0",state="total"} 1000"#,
            r#"proofmill_device_out_of_memory_total{device="cuda:0"} 2"#,
            r#"proofmill_face_recomputed_total{device="cuda:0"} 3"#,
        ];
        all.iter().all(|series| text.contains(series)).then_some(())
    })
    .await;

    broken.store(true, Ordering::SeqCst);
    for attempt in submit(&world, &gallery, 5).await {
        assert_eq!(world.settled(&attempt).await.status, AttemptStatus::Succeeded);
    }
    let (status, body) = port.ready().await;
    assert_eq!(status, 200, "the processor is slow, and ready: {body}");
    let told = body["details"]["face"]["runs_on"].as_str().unwrap();
    assert!(told.contains("cuda:0 out of service (CUDA: CUDA_ERROR_ILLEGAL_ADDRESS)"), "{told}");
    assert!(told.ends_with("cpu: no CUDA device is in service"), "{told}");
    let text = port.metrics().await;
    for series in [
        r#"proofmill_face_device_serving{device="cuda:0"} 0"#,
        r#"proofmill_face_device_serving{device="cpu"} 1"#,
        r#"proofmill_face_device_failures_total{device="cuda:0"} 1"#,
        r#"proofmill_face_fallback{reason="device_failed"} 1"#,
        r#"proofmill_system_faults_total{part="gpu"} 0"#,
    ] {
        assert!(text.contains(series), "{series}: {text}");
    }
    assert!(!text.contains(r#"proofmill_face_returned_attempts_total{device="cuda:0"} 0"#), "{text}");

    // Now the processor too: attempts wait for a better day, and the process says that it is of no use.
    processor_broken.store(true, Ordering::SeqCst);
    let session = world.session(ContractVersion::V2).await;
    let attempt = world.open(&session).await;
    world.put(&attempt.id, &gallery.evidence(GENUINE, 9, &attempt.challenge)).await;
    world.relay().await;
    let (_, body) = eventually("the process is not ready", || async {
        let ready = port.ready().await;
        (ready.0 == 503).then_some(ready)
    })
    .await;
    assert_eq!(body["failing"], serde_json::json!(["face"]));
    assert!(body["parts"]["face"].as_str().unwrap().starts_with("no device is in service: cuda:0: "), "{body}");
    eventually("a fault of ours is counted", || async {
        (world.metrics.system_faults.with_label_values(&["gpu"]).get() > 0).then_some(())
    })
    .await;
    let session = world.session_of(&session).await;
    assert_eq!((session.counters.nfc_tries_used, session.counters.liveness_tries_used), (0, 0));
    worker.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_of_arrivals_says_when_and_how_many_and_never_whose() {
    let Some(gallery) = Gallery::load() else { return };
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("arrivals.csv");
    let batch = BatchArgs { record_arrivals: Some(path.clone()), ..BatchArgs::default() };
    let matcher = matcher().unwrap();
    let engines = vec![matcher.clone() as Arc<dyn BatchEngine<Prepared>>];
    let face = Arc::new(FaceService::over(matcher, engines, None, &batch, world.metrics.clone()).unwrap());
    let worker = world.worker(gallery.trust.clone(), face.clone());
    let submitted = submit(&world, &gallery, 3).await;
    for attempt in &submitted {
        world.settled(attempt).await;
    }
    worker.drain().await;
    face.drain().await;
    let text = std::fs::read_to_string(&path).unwrap();
    let trace = proofmill_face::batcher::Trace::parse(&text).unwrap();
    assert_eq!((trace.arrivals.len(), trace.batches.iter().map(|(size, _)| size).sum::<usize>()), (3, 3), "{text}");
    for attempt in &submitted {
        assert!(!text.contains(attempt.as_str()));
    }
    let again = FaceService::over(face.matcher().clone(), Vec::new(), None, &batch, world.metrics.clone());
    assert!(again.err().unwrap().to_string().contains("exists already"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    let nowhere = BatchArgs { record_arrivals: Some(folder.path().join("no/where.csv")), ..BatchArgs::default() };
    let refused = FaceService::over(face.matcher().clone(), Vec::new(), None, &nowhere, world.metrics.clone());
    assert!(refused.err().unwrap().to_string().contains("where.csv"));
}
