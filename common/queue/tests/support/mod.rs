//! A broker for tests: the one that `PROOFMILL_AMQP_URI` names, queues under a prefix of their own, removed at
//! the end; and a proxy that can cut the line.
#![allow(clippy::unwrap_used, dead_code)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lapin::options::{BasicGetOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use proofmill_contract::{AttemptId, Lane, Timestamp};
use proofmill_queue::{Delivery, JobRef, Queue, RabbitConfig, Topology};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub const DEADLINE: Duration = Duration::from_secs(30);

/// Queues of one test on the broker; deleted when dropped, even by a failing test.
pub struct TestBroker {
    pub uri: String,
    pub prefix: String,
}

impl TestBroker {
    /// `None`, with the reason printed, where there is no broker to test against.
    pub fn for_test(name: &str) -> Option<Self> {
        match std::env::var("PROOFMILL_AMQP_URI") {
            Ok(uri) if !uri.is_empty() => Some(Self::at(uri, name)),
            _ => {
                println!("skipped {name}: PROOFMILL_AMQP_URI is not set, so there is no RabbitMQ to test against");
                None
            }
        }
    }

    pub fn at(uri: String, name: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name: String = name.chars().take(30).collect();
        Self { uri, prefix: format!("test-{}-{count}-{:08x}-{name}", std::process::id(), rand::random::<u32>()) }
    }

    pub fn config(&self) -> RabbitConfig {
        self.config_at(&self.uri)
    }

    /// Reached by another address: through a proxy.
    pub fn config_at(&self, uri: &str) -> RabbitConfig {
        let mut config = RabbitConfig::new(uri, self.prefix.clone());
        config.retry_delays = vec![Duration::from_millis(300), Duration::from_secs(60)];
        config.timeout = Duration::from_secs(20);
        config.publish_window = 64;
        config.reconnect_min = Duration::from_millis(20);
        config.reconnect_max = Duration::from_millis(200);
        config
    }

    pub async fn queue(&self) -> Queue {
        connect(self.config()).await
    }

    /// A channel beside the product's own, to act as somebody else.
    pub async fn channel(&self) -> (Connection, Channel) {
        let connection = Connection::connect(&self.uri, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        (connection, channel)
    }

    /// Bodies waiting in a queue; takes them out.
    pub async fn drain(&self, queue: &str) -> Vec<Vec<u8>> {
        let (_connection, channel) = self.channel().await;
        let mut bodies = Vec::new();
        while let Some(message) = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap() {
            bodies.push(message.data.clone());
        }
        bodies
    }

    pub fn host_and_port(&self) -> String {
        let uri: lapin::uri::AMQPUri = self.uri.parse().unwrap();
        format!("{}:{}", uri.authority.host, uri.authority.port)
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        let (uri, config) = (self.uri.clone(), self.config());
        let cleaned = std::thread::spawn(move || {
            tokio::runtime::Runtime::new().unwrap().block_on(async {
                let Ok(connection) = Connection::connect(&uri, ConnectionProperties::default()).await else { return };
                for queue in queues(&config) {
                    let Ok(channel) = connection.create_channel().await else { return };
                    let _ = channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await;
                }
            });
        });
        let _ = cleaned.join();
    }
}

pub async fn connect(config: RabbitConfig) -> Queue {
    let queue = Queue::connect(config).await.unwrap();
    queue.wait_ready(DEADLINE).await.unwrap();
    queue
}

pub fn topology(queue: &Queue) -> Topology {
    match queue {
        Queue::Rabbit(rabbit) => rabbit.topology().clone(),
        Queue::InProcess(_) => panic!("not RabbitMQ"),
    }
}

pub fn jobs(count: usize, lane: Lane) -> Vec<JobRef> {
    let now = Timestamp::from_secs(1_800_000_000);
    (0..count).map(|_| JobRef::new(AttemptId::generate(now, &mut rand::rng()), lane)).collect()
}

pub async fn publish(queue: &Queue, jobs: &[JobRef]) {
    for result in queue.publish(jobs).await {
        result.unwrap();
    }
}

/// The next delivery, within the deadline.
pub async fn next(consumer: &mut proofmill_queue::Consumer) -> Delivery {
    tokio::time::timeout(DEADLINE, consumer.next()).await.expect("a delivery in time").expect("not cancelled")
}

/// Polls a condition until it holds.
pub async fn wait_until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn queues(config: &RabbitConfig) -> Vec<String> {
    // The names are the product's own; a queue handle without a broker is enough to ask for them.
    let runtime = tokio::runtime::Handle::current();
    let _guard = runtime.enter();
    let mut offline = config.clone();
    offline.uri = "amqp://127.0.0.1:1".into();
    match futures::executor::block_on(Queue::connect(offline)) {
        Ok(queue) => topology(&queue).queues(),
        Err(_) => Vec::new(),
    }
}

/// A TCP proxy that can be cut and restored.
pub struct Proxy {
    pub address: std::net::SocketAddr,
    state: Arc<Mutex<ProxyState>>,
}

#[derive(Default)]
struct ProxyState {
    cut: bool,
    connections: JoinSet<()>,
    /// Bytes that may still pass towards the broker before the line is cut.
    budget: Option<usize>,
    silent: bool,
}

impl ProxyState {
    fn cut(&mut self) {
        self.cut = true;
        self.connections.abort_all();
    }

    /// Whether so many bytes may pass; cuts the line if not.
    fn allows(&mut self, bytes: usize) -> bool {
        match self.budget.map(|budget| budget.checked_sub(bytes)) {
            None => true,
            Some(Some(rest)) => {
                self.budget = Some(rest);
                true
            }
            Some(None) => {
                self.cut();
                false
            }
        }
    }
}

impl Proxy {
    pub async fn to(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(ProxyState::default()));
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut state = shared.lock().unwrap();
                if state.cut {
                    continue;
                }
                let (upstream, shared) = (upstream.clone(), shared.clone());
                state.connections.spawn(async move {
                    let Ok(mut server) = TcpStream::connect(&upstream).await else { return };
                    let (mut from_client, mut to_client) = client.split();
                    let (mut from_server, mut to_server) = server.split();
                    let up = async {
                        let mut buffer = vec![0u8; 16 << 10];
                        loop {
                            let read = from_client.read(&mut buffer).await.unwrap_or(0);
                            let passed = shared.lock().unwrap().allows(read);
                            while_silent(&shared).await;
                            if read == 0 || !passed || to_server.write_all(&buffer[..read]).await.is_err() {
                                return;
                            }
                        }
                    };
                    let down = async {
                        let mut buffer = vec![0u8; 16 << 10];
                        loop {
                            let read = from_server.read(&mut buffer).await.unwrap_or(0);
                            while_silent(&shared).await;
                            if read == 0 || to_client.write_all(&buffer[..read]).await.is_err() {
                                return;
                            }
                        }
                    };
                    tokio::select! {
                        () = up => {}
                        () = down => {}
                    }
                });
            }
        });
        Self { address, state }
    }

    /// Drops every connection and lets none through.
    pub fn cut(&self) {
        self.state.lock().unwrap().cut();
    }

    /// Drops every connection once so many more bytes have gone to the broker.
    pub fn cut_after(&self, bytes: usize) {
        self.state.lock().unwrap().budget = Some(bytes);
    }

    /// Keeps every connection open and passes nothing: what a pulled cable looks like.
    pub fn go_silent(&self) {
        self.state.lock().unwrap().silent = true;
    }

    pub fn restore(&self) {
        let mut state = self.state.lock().unwrap();
        state.cut = false;
        state.budget = None;
        state.silent = false;
    }

    /// The broker's URI with this proxy's address in it.
    pub fn uri(&self, original: &str) -> String {
        let uri: lapin::uri::AMQPUri = original.parse().unwrap();
        let info = &uri.authority.userinfo;
        let vhost = if uri.vhost == "/" { "%2f" } else { uri.vhost.as_str() };
        format!("amqp://{}:{}@{}/{vhost}", info.username, info.password, self.address)
    }
}

async fn while_silent(state: &Mutex<ProxyState>) {
    while state.lock().unwrap().silent {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub fn no_arguments() -> FieldTable {
    FieldTable::default()
}
