//! Settles, webhooks and neighbours: what verdicts cost to write, what webhooks cost to send, and what an endpoint that hangs or
//! drips costs the others. Each beside the bare work in the same run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, PgConnection, RunQueryDsl as _, sql_query};
use futures::stream::{self, StreamExt as _};
use proofmill_benches::{Bed, Receivers, loopback};
use proofmill_contract::{Clock as _, EndpointId};
use proofmill_store::{SettleResult, Verdict};
use proofmill_telemetry::{BuildInfo, Metrics, SystemClock};
use proofmill_webhooks::{Client, Sender, SenderConfig, Timeouts, system_lookup};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Measures settles and webhooks on PostgreSQL, and neighbours of endpoints that hang.
#[derive(Parser)]
struct Arguments {
    /// A PostgreSQL server on which a database may be made.
    #[arg(long, env = "PROOFMILL_TEST_DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// Verdicts of a round.
    #[arg(long, default_value_t = 3_000)]
    verdicts: usize,
    /// Rounds, of which the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Verdicts of one transaction, at most: what a settler takes when they come in faster than it commits.
    #[arg(long, default_value_t = 64)]
    group: usize,
    /// Endpoints over which a round's webhooks are spread.
    #[arg(long, default_value_t = 4)]
    endpoints: usize,
    /// Events a second while neighbours are measured; each goes to seven endpoints.
    #[arg(long, default_value_t = 40)]
    rate: usize,
    /// Seconds of each phase with neighbours, two to a round; 0 leaves them out.
    #[arg(long, default_value_t = 30)]
    seconds: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some(loopback::ROLE) {
        return loopback::receive().await;
    }
    let arguments = Arguments::parse();
    let database = Database::create(&arguments.database_url)?;
    let bed = Bed::open(&database.url).await?;
    let receivers = Receivers::start().await?;
    stages(&arguments, &database, &bed, &receivers).await?;
    if arguments.seconds > 0 {
        neighbours(&arguments, &bed, &receivers).await?;
    }
    Ok(())
}

async fn stages(arguments: &Arguments, database: &Database, bed: &Bed, receivers: &Receivers) -> Result<()> {
    let mut endpoints = Vec::new();
    for number in 0..arguments.endpoints {
        endpoints.push(bed.endpoint(&receivers.url(&format!("/well/{number}"))).await?);
    }
    println!("settles and webhooks, PostgreSQL, {} verdicts a round, one webhook each:", arguments.verdicts);
    let (mut settles, mut sends) = (Vec::new(), Vec::new());
    for round in 1..=arguments.rounds {
        let mut verdicts = Vec::new();
        for (number, endpoint) in endpoints.iter().enumerate() {
            let share =
                arguments.verdicts / endpoints.len() + usize::from(number < arguments.verdicts % endpoints.len());
            verdicts.extend(bed.verdicts(share, std::slice::from_ref(endpoint)).await?);
        }
        let settled = settle(bed, verdicts, arguments.group).await?;
        let commits = bare_commits(&database.url, arguments.verdicts)?;
        let sent = send(bed, arguments.verdicts).await?;
        let posts = bare_posts(receivers, arguments.verdicts).await?;
        receivers.latencies().await?;
        println!(
            "  round {round}: {settled:>6.0} settles/s, bare commits {commits:>6.0}/s, ratio {:>5.2}; \
             {sent:>6.0} webhooks/s, bare loopback POSTs {posts:>6.0}/s, ratio {:>4.2}",
            settled / commits,
            sent / posts
        );
        settles.push((settled, settled / commits));
        sends.push((sent, sent / posts));
    }
    let (rate, ratio) = median(settles);
    println!(
        "  median settles, group of {:<3}                          {rate:>8.0}/s = {ratio:.2} x bare commits",
        arguments.group
    );
    let (rate, ratio) = median(sends);
    println!("  median webhooks signed, sent, acknowledged, recorded  {rate:>8.0}/s = {ratio:.2} x bare POSTs");
    Ok(())
}

/// Two settlers, as two workers would be; verdicts a second.
async fn settle(bed: &Bed, verdicts: Vec<Verdict>, group: usize) -> Result<f64> {
    let count = verdicts.len();
    let mut verdicts = verdicts.into_iter().peekable();
    let mut groups = Vec::new();
    while verdicts.peek().is_some() {
        groups.push(verdicts.by_ref().take(group.max(1)).collect::<Vec<_>>());
    }
    let started = Instant::now();
    let results: Vec<_> = stream::iter(groups)
        .map(|group| bed.store.settle(group, SystemClock.now()))
        .buffer_unordered(2)
        .collect()
        .await;
    let taken = started.elapsed();
    for result in results {
        let all = result?.iter().all(|one| matches!(one, SettleResult::Settled { deliveries: 1.., .. }));
        ensure!(all, "every verdict is settled and announced");
    }
    Ok(count as f64 / taken.as_secs_f64())
}

/// Transactions of one row of a webhook's size, from two connections.
fn bare_commits(url: &str, count: usize) -> Result<f64> {
    let mut connections = [PgConnection::establish(url)?, PgConnection::establish(url)?];
    connections[0]
        .batch_execute("CREATE TABLE IF NOT EXISTS bare (id BIGSERIAL PRIMARY KEY, payload TEXT NOT NULL)")?;
    let started = Instant::now();
    std::thread::scope(|scope| {
        let writers: Vec<_> = connections
            .iter_mut()
            .map(|connection| {
                scope.spawn(move || -> Result<()> {
                    let insert = format!("INSERT INTO bare (payload) VALUES ('{}')", "x".repeat(1_200));
                    for _ in 0..count / 2 {
                        sql_query(&insert).execute(connection)?;
                    }
                    Ok(())
                })
            })
            .collect();
        for writer in writers {
            writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??;
        }
        anyhow::Ok(())
    })?;
    Ok(count as f64 / started.elapsed().as_secs_f64())
}

/// A sender over what is due, until everything is delivered and recorded; deliveries a second.
async fn send(bed: &Bed, count: usize) -> Result<f64> {
    let started = Instant::now();
    let sender = Running::start(bed)?;
    while sender.delivered() < count as u64 {
        ensure!(started.elapsed() < Duration::from_secs(120), "{} of {count} are delivered", sender.delivered());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    sender.stop().await?;
    let taken = started.elapsed();
    let left = bed.store.backlog(SystemClock.now()).await?.deliveries_pending;
    ensure!(left == 0, "{left} deliveries are left");
    Ok(count as f64 / taken.as_secs_f64())
}

struct Running {
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    wakeup: Arc<tokio::sync::Notify>,
}

impl Running {
    fn start(bed: &Bed) -> Result<Self> {
        let metrics = Arc::new(Metrics::new(&BuildInfo { version: "0", commit: "bench", role: "bench" })?);
        let client = Client::new(system_lookup(), true, Timeouts::default())?;
        let (store, deployment) = (bed.store.clone(), bed.deployment.clone());
        let config = SenderConfig::default();
        let sender = Sender::new(store, deployment, Arc::new(SystemClock), metrics.clone(), client, config);
        let (shutdown, wakeup) = (CancellationToken::new(), sender.wakeup());
        let task = tokio::spawn(sender.run(shutdown.clone()));
        Ok(Self { metrics, shutdown, task, wakeup })
    }

    fn delivered(&self) -> u64 {
        self.metrics.webhook_tries.with_label_values(&["ok"]).get()
    }

    async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        Ok(self.task.await?)
    }
}

/// The same requests by a bare client: no store, no signature, as many at once as one endpoint's cap allows, to each.
async fn bare_posts(receivers: &Receivers, count: usize) -> Result<f64> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let body = "x".repeat(1_200);
    let url = receivers.url("/well/bare");
    let started = Instant::now();
    let answers: Vec<_> = stream::iter(0..count)
        .map(|_| {
            let request = client.post(&url).header("content-type", "application/jose").body(body.clone());
            async move { request.send().await?.error_for_status().map(drop) }
        })
        .buffer_unordered(64)
        .collect()
        .await;
    let taken = started.elapsed();
    answers.into_iter().collect::<Result<Vec<()>, _>>()?;
    Ok(count as f64 / taken.as_secs_f64())
}

/// Five endpoints are measured; two more get the same events and behave, or one hangs and one drips.
async fn neighbours(arguments: &Arguments, bed: &Bed, receivers: &Receivers) -> Result<()> {
    let mut well = Vec::new();
    for number in 0..5 {
        well.push(bed.endpoint(&receivers.url(&format!("/well/{number}"))).await?);
    }
    let quiet = [bed.endpoint(&receivers.url("/other/1")).await?, bed.endpoint(&receivers.url("/other/2")).await?];
    let bad = [bed.endpoint(&receivers.url("/hang")).await?, bed.endpoint(&receivers.url("/drip")).await?];
    println!(
        "neighbours, {} events/s to five endpoints and two more, {} s a phase, from verdict to arrival:",
        arguments.rate, arguments.seconds
    );
    let mut ratios = Vec::new();
    for round in 1..=arguments.rounds {
        let alone = phase(arguments, bed, receivers, &well, &quiet).await?;
        let beside = phase(arguments, bed, receivers, &well, &bad).await?;
        println!(
            "  round {round}: two that behave p50 {} ms p99 {} ms; one hangs and one drips p50 {} ms p99 {} ms; p99 ratio {:.2}",
            alone.0,
            alone.1,
            beside.0,
            beside.1,
            beside.1 as f64 / alone.1 as f64
        );
        ratios.push((0.0, beside.1 as f64 / alone.1 as f64));
    }
    println!("  median p99 beside one that hangs and one that drips   = {:.2} x without", median(ratios).1);
    Ok(())
}

/// Median and 99th percentile, in milliseconds.
async fn phase(
    arguments: &Arguments,
    bed: &Bed,
    receivers: &Receivers,
    well: &[EndpointId],
    others: &[EndpointId],
) -> Result<(u64, u64)> {
    let events = arguments.rate * arguments.seconds;
    let endpoints: Vec<EndpointId> = well.iter().chain(others).cloned().collect();
    let verdicts = bed.verdicts(events, &endpoints).await?;
    receivers.latencies().await?;
    let sender = Running::start(bed)?;
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / arguments.rate as f64));
    let mut settles = JoinSet::new();
    for verdict in verdicts {
        ticks.tick().await;
        let (store, wakeup) = (bed.store.clone(), sender.wakeup.clone());
        settles.spawn(async move {
            let settled = store.settle(vec![verdict], SystemClock.now()).await;
            wakeup.notify_one();
            settled.map(drop)
        });
    }
    while let Some(settled) = settles.join_next().await {
        settled??;
    }
    let mut latencies = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(30);
    while latencies.len() < events * well.len() {
        ensure!(Instant::now() < deadline, "{} of {} arrived", latencies.len(), events * well.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
        latencies.extend(receivers.latencies().await?);
    }
    // What hangs is given up with the process; what waits for it must not burden the next phase.
    for endpoint in others {
        bed.retire(endpoint).await?;
    }
    sender.stop().await?;
    for endpoint in others {
        bed.revive(endpoint).await?;
    }
    latencies.sort_unstable();
    let at = |part: f64| latencies.get((latencies.len() as f64 * part) as usize).copied().context("no latencies");
    Ok((at(0.5)?, at(0.99)?))
}

fn median(mut pairs: Vec<(f64, f64)>) -> (f64, f64) {
    pairs.sort_by(|one, other| one.1.total_cmp(&other.1));
    pairs.get(pairs.len() / 2).copied().unwrap_or((f64::NAN, f64::NAN))
}

/// A database that goes with the run.
struct Database {
    server: String,
    name: String,
    url: String,
}

impl Database {
    fn create(server: &str) -> Result<Self> {
        let name = format!("proofmill_bench_{}", std::process::id());
        PgConnection::establish(server)?.batch_execute(&format!("CREATE DATABASE {name}"))?;
        let (base, _) = server.rsplit_once('/').context("a database URL names a database")?;
        Ok(Self { server: server.to_owned(), url: format!("{base}/{name}"), name })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let dropped = PgConnection::establish(&self.server)
            .map(|mut server| server.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name)));
        if !matches!(dropped, Ok(Ok(()))) {
            eprintln!("the database {} is left behind", self.name);
        }
    }
}
