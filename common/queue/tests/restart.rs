//! The broker itself dies and comes back, or runs out of memory. Needs a broker of its own: set `PROOFMILL_RABBITMQ_SERVER` to the
//! server program (Debian: `/usr/lib/rabbitmq/bin/rabbitmq-server`).
#![allow(clippy::unwrap_used)]

mod support;

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use proofmill_contract::Lane;
use proofmill_queue::JobRef;
use support::{TestBroker, jobs, next, publish};

#[tokio::test]
async fn after_the_broker_is_killed_and_started_again_nothing_is_lost_and_everything_goes_on() {
    let Some(mut server) = Server::for_test("restart") else { return };
    let broker = TestBroker::at(server.uri(), "restart");
    let queue = proofmill_queue::Queue::connect(broker.config()).await.unwrap();
    queue.wait_ready(Duration::from_secs(120)).await.unwrap();
    let stored = jobs(20, Lane::Interactive);
    publish(&queue, &stored).await;
    let mut consumer = queue.consume(Lane::Interactive, 5).await.unwrap();
    let unsettled = next(&mut consumer).await;
    assert_eq!(unsettled.job, stored[0]);

    server.kill();
    support::wait_until("the loss is noticed", || async { queue.ready().await.is_err() }).await;
    let meanwhile = jobs(10, Lane::Interactive);
    assert!(queue.publish(&meanwhile).await.iter().all(Result::is_err));
    server.start();

    // As a relay does: repeats what failed until all is stored.
    let mut pending = meanwhile.clone();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
    while !pending.is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "{} jobs could not be published again", pending.len());
        let results = queue.publish(&pending).await;
        pending = pending.into_iter().zip(results).filter(|(_, result)| result.is_err()).map(|(job, _)| job).collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    assert!(unsettled.ack().await.is_err());
    let mut expected: Vec<JobRef> = stored.into_iter().chain(meanwhile).collect();
    while !expected.is_empty() {
        let delivery = next(&mut consumer).await;
        let job = delivery.job.clone();
        // A node that has just started may drop a channel once more: then the job comes again.
        if delivery.ack().await.is_ok() {
            expected.retain(|other| *other != job);
        }
    }
    consumer.cancel().await;
    drop(broker);
}

#[tokio::test]
async fn a_broker_short_of_memory_is_reported_and_acks_still_get_through() {
    let Some(server) = Server::for_test("memory") else { return };
    let broker = TestBroker::at(server.uri(), "memory");
    let mut config = broker.config();
    config.timeout = Duration::from_secs(10);
    let queue = proofmill_queue::Queue::connect(config.clone()).await.unwrap();
    queue.wait_ready(Duration::from_secs(120)).await.unwrap();
    let published = jobs(2, Lane::Bulk);
    publish(&queue, &published).await;
    let mut consumer = queue.consume(Lane::Bulk, 1).await.unwrap();
    let first = next(&mut consumer).await;

    server.control(&["set_vm_memory_high_watermark", "0.000001"]);
    let refused = queue.publish(&jobs(1, Lane::Interactive)).await;
    assert_eq!(refused, [Err(proofmill_queue::PublishError::Timeout)]);
    assert!(matches!(queue.ready().await, Err(proofmill_queue::QueueError::Blocked(_))));
    assert!(!queue.stats().connected);
    first.ack().await.unwrap();
    next(&mut consumer).await.ack().await.unwrap();

    server.control(&["set_vm_memory_high_watermark", "0.9"]);
    queue.wait_ready(Duration::from_secs(60)).await.unwrap();
    publish(&queue, &jobs(1, Lane::Interactive)).await;
}

/// A private broker in a temporary folder, on free ports, killed when dropped.
struct Server {
    program: String,
    folder: PathBuf,
    port: u16,
    distribution_port: u16,
    epmd_port: u16,
    child: Option<Child>,
}

impl Server {
    /// `None`, with the reason printed, where no broker may be started.
    fn for_test(name: &str) -> Option<Self> {
        match std::env::var("PROOFMILL_RABBITMQ_SERVER") {
            Ok(program) if !program.is_empty() => {
                let mut server = Self::new(program, name);
                server.start();
                Some(server)
            }
            _ => {
                println!("skipped {name}: PROOFMILL_RABBITMQ_SERVER is not set, so there is no broker to start");
                None
            }
        }
    }

    fn new(program: String, name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("proofmill-queue-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let listeners: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        std::fs::write(folder.join("enabled_plugins"), "[].").unwrap();
        std::fs::write(folder.join("rabbitmq.conf"), format!("listeners.tcp.default = 127.0.0.1:{}\n", ports[0]))
            .unwrap();
        Self { program, folder, port: ports[0], distribution_port: ports[1], epmd_port: ports[2], child: None }
    }

    fn uri(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }

    fn start(&mut self) {
        let log = std::fs::File::create(self.folder.join("out.log")).unwrap();
        let mut command = Command::new(&self.program);
        self.environment(&mut command);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        self.child = Some(command.spawn().unwrap());
    }

    /// As a power cut does: no farewell.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let group = format!("-{}", child.id());
            Command::new("kill").args(["-KILL", "--", &group]).status().unwrap();
            child.wait().unwrap();
        }
    }

    /// Runs `rabbitmqctl`, which lies beside the server program.
    fn control(&self, arguments: &[&str]) {
        let mut command = Command::new(Path::new(&self.program).with_file_name("rabbitmqctl"));
        self.environment(&mut command);
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn environment(&self, command: &mut Command) {
        let path = |name: &str| self.folder.join(name);
        command
            .env("HOME", path("home"))
            .env("RABBITMQ_NODENAME", format!("restart{}@localhost", self.port))
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_MNESIA_BASE", path("data"))
            .env("RABBITMQ_LOG_BASE", path("log"))
            .env("RABBITMQ_CONFIG_FILE", path("rabbitmq"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null");
        for folder in ["home", "data", "log"] {
            std::fs::create_dir_all(path(folder)).unwrap();
        }
    }
}

impl Drop for Server {
    #[expect(clippy::disallowed_methods, reason = "polls another process, with a deadline")]
    fn drop(&mut self) {
        self.kill();
        // The port mapper that the node started goes on by itself otherwise. It refuses to stop until it has
        // noticed that the node is gone.
        for _ in 0..100 {
            let mut epmd = Command::new("epmd");
            self.environment(&mut epmd);
            match epmd.arg("-kill").stdout(Stdio::null()).stderr(Stdio::null()).status() {
                Ok(status) if !status.success() => std::thread::sleep(Duration::from_millis(50)),
                _ => break,
            }
        }
        remove(&self.folder);
    }
}

fn remove(folder: &Path) {
    let _ = std::fs::remove_dir_all(folder);
}
