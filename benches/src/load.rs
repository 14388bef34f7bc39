//! A load generator that costs as little as it can: HTTP/1.1 written by hand over connections that stay open.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Requests that differ in their path alone.
#[derive(Clone)]
pub struct Load {
    /// `host:port`.
    pub address: String,
    /// What stands before the path.
    pub method: &'static str,
    /// Further header lines, each with its end.
    pub headers: String,
    /// The body, the same each time.
    pub body: Arc<[u8]>,
    /// The status that every answer must have.
    pub expects: u16,
}

/// How long the answers took.
pub struct Outcome {
    /// Of all requests together.
    pub taken: Duration,
    latencies: Vec<Duration>,
}

impl Load {
    /// Sends a request for each path over so many connections, each as soon as the one before it is answered.
    ///
    /// # Errors
    /// When an answer is missing or has another status.
    pub async fn closed(&self, paths: Vec<String>, connections: usize) -> Result<Outcome> {
        self.run(paths, connections, None).await
    }

    /// Sends so many requests a second, whatever the answers take; a request that has to wait for a free connection has
    /// been waiting since its time came.
    ///
    /// # Errors
    /// As [`Load::closed`].
    pub async fn paced(&self, paths: Vec<String>, connections: usize, per_second: f64) -> Result<Outcome> {
        self.run(paths, connections, Some(per_second)).await
    }

    async fn run(&self, paths: Vec<String>, connections: usize, per_second: Option<f64>) -> Result<Outcome> {
        let (paths, next) = (Arc::new(paths), Arc::new(AtomicUsize::new(0)));
        let mut open = Vec::new();
        for _ in 0..connections {
            open.push(Connection::open(&self.address).await?);
        }
        let started = Instant::now();
        let workers: Vec<_> = open
            .into_iter()
            .map(|mut connection| {
                let (load, paths, next) = (self.clone(), paths.clone(), next.clone());
                tokio::spawn(async move {
                    let mut latencies = Vec::new();
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(path) = paths.get(index) else { return Ok::<_, anyhow::Error>(latencies) };
                        let due = match per_second {
                            Some(rate) => started + Duration::from_secs_f64(index as f64 / rate),
                            None => Instant::now(),
                        };
                        tokio::time::sleep_until(due).await;
                        let (status, body) = connection.send(&load, path).await?;
                        let told = String::from_utf8_lossy(&body);
                        ensure!(status == load.expects, "{} {path} was answered {status}: {told}", load.method);
                        latencies.push(due.elapsed());
                    }
                })
            })
            .collect();
        let mut latencies = Vec::with_capacity(paths.len());
        for worker in workers {
            latencies.extend(worker.await??);
        }
        let taken = started.elapsed();
        latencies.sort_unstable();
        Ok(Outcome { taken, latencies })
    }
}

impl Outcome {
    /// Answers a second.
    pub fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.taken.as_secs_f64()
    }

    /// The latency that this share of the answers did not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        let index = (self.latencies.len() as f64 * share).ceil() as usize;
        self.latencies.get(index.saturating_sub(1)).copied().unwrap_or_default()
    }
}

/// One connection that stays open.
pub struct Connection {
    stream: TcpStream,
    out: Vec<u8>,
    read: Vec<u8>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("nobody listens at {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, out: Vec::new(), read: Vec::new() })
    }

    /// Sends a request; status and body of its answer.
    ///
    /// # Errors
    /// When the answer breaks off or has no length.
    pub async fn send(&mut self, load: &Load, path: &str) -> Result<(u16, Vec<u8>)> {
        self.out.clear();
        let (method, headers, length) = (load.method, &load.headers, load.body.len());
        self.out.extend_from_slice(
            format!("{method} {path} HTTP/1.1\r\nHost: bench\r\n{headers}Content-Length: {length}\r\n\r\n").as_bytes(),
        );
        self.out.extend_from_slice(&load.body);
        self.stream.write_all(&self.out).await?;
        self.read.clear();
        loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = std::str::from_utf8(&self.read[..end])?.to_ascii_lowercase();
                let status = head.get(9..12).context("an answer begins with its status")?.parse()?;
                let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
                let length: usize = length.context("an answer has a length")?.trim().parse()?;
                while self.read.len() < end + 4 + length {
                    self.more().await?;
                }
                return Ok((status, self.read[end + 4..].to_vec()));
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<()> {
        let count = self.stream.read_buf(&mut self.read).await?;
        ensure!(count > 0, "the connection was closed in the middle of an answer");
        Ok(())
    }
}
