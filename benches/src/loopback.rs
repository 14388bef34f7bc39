//! Webhook receivers in a process of their own: the load they cost is theirs, and so is their clock's thread.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use proofmill_contract::Clock as _;
use proofmill_telemetry::SystemClock;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

/// The first argument that makes a bench program the receiver.
pub const ROLE: &str = "receive";

/// The receiving process; it goes when this is dropped.
pub struct Receivers {
    _process: Child,
    address: String,
}

impl Receivers {
    /// Starts this program a second time as the receiver.
    pub async fn start() -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(ROLE)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the receiver")?;
        let output = process.stdout.take().context("its output")?;
        let address = BufReader::new(output).lines().next_line().await?.context("the receiver says its address")?;
        Ok(Self { _process: process, address })
    }

    /// A URL of the receiver: `/well/…` answers, `/hang` never does, `/drip` does so at a byte a second.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Milliseconds from each event to its arrival at `/well/…` since the last call.
    pub async fn latencies(&self) -> Result<Vec<u64>> {
        let mut stream = TcpStream::connect(&self.address).await?;
        stream.write_all(b"GET /latencies HTTP/1.1\r\n\r\n").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        text.lines().map(|line| line.parse().context("a latency")).collect()
    }
}

/// The receiver's own main: prints its address and serves until it is killed.
pub async fn receive() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let latencies = Arc::new(Mutex::new(Vec::new()));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let latencies = latencies.clone();
        tokio::spawn(async move { serve(stream, &latencies).await });
    }
}

async fn serve(mut stream: TcpStream, latencies: &Mutex<Vec<u64>>) -> Option<()> {
    let mut bytes = Vec::with_capacity(8 << 10);
    loop {
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8_lossy(bytes.get(..end)?).to_ascii_lowercase();
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let length: usize = field("content-length:").and_then(|value| value.parse().ok()).unwrap_or(0);
        while bytes.len() < end + length {
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
        let held = || latencies.lock().unwrap_or_else(PoisonError::into_inner);
        if head.starts_with("get /latencies") {
            let all = std::mem::take(&mut *held());
            let text: Vec<String> = all.iter().map(u64::to_string).collect();
            return stream.write_all(text.join("\n").as_bytes()).await.ok();
        } else if head.starts_with("post /well") {
            if let Some(created) = field("webhook-id:").and_then(created) {
                let now = u64::try_from(SystemClock.now().as_micros() / 1_000).unwrap_or(0);
                held().push(now.saturating_sub(created));
            }
        } else if head.starts_with("post /hang") {
            std::future::pending::<()>().await;
        } else if head.starts_with("post /drip") {
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" {
                stream.write_all(&[*byte]).await.ok()?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.ok()?;
        bytes.drain(..end + length);
    }
}

/// When an id was made, in Unix milliseconds: its first ten characters after the prefix, in base 36.
fn created(id: &str) -> Option<u64> {
    u64::from_str_radix(id.split_once('_')?.1.get(..10)?, 36).ok()
}
