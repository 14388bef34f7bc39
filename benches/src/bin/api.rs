//! The API's stages: submitting evidence, and reading sessions when there are many.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use proofmill_benches::{Connection, Load, Metered, Served, Spent};
use serde_json::{Value, json};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    stage: Stage,
}

#[derive(Subcommand)]
enum Stage {
    /// Submissions of 60 kB, against bare commits and bare HTTP; memory over all of them.
    Submit {
        /// How many submissions.
        #[arg(long, default_value_t = 20_000)]
        submissions: usize,
        /// Over how many connections.
        #[arg(long, default_value_t = 24)]
        connections: usize,
        /// Submissions a second in the part that measures latency.
        #[arg(long, default_value_t = 1_000.0)]
        rate: f64,
    },
    /// Reading one session and lists, among few and among many.
    Lists {
        /// How many are few.
        #[arg(long, default_value_t = 1_000)]
        few: usize,
        /// How many are many.
        #[arg(long, default_value_t = 1_000_000)]
        many: usize,
        /// Requests of each kind.
        #[arg(long, default_value_t = 1_000)]
        requests: usize,
    },
    /// A server that reads requests and answers them, and does nothing else.
    #[command(hide = true)]
    Bare,
}

/// The path that a request of a kind asks for.
type PathOf<'a> = dyn Fn(usize) -> String + 'a;

const BOUNDARY: &str = "proofmill-bench";
/// An attempt must be submitted within five minutes of its opening.
const OPENED_AT_ONCE: usize = 5_000;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match arguments.stage {
            Stage::Submit { submissions, connections, rate } => submit(submissions, connections, rate).await,
            Stage::Lists { few, many, requests } => lists(few, many, requests).await,
            Stage::Bare => bare().await,
        }
    })
}

async fn submit(submissions: usize, connections: usize, rate: f64) -> Result<()> {
    let served = Served::start().await?;
    let session = a_session(&served).await?;
    let mut copied = 0;
    let load = Load {
        address: served.address.clone(),
        method: "PUT",
        headers: format!(
            "Authorization: Bearer {}\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n",
            served.key
        ),
        body: evidence().into(),
        expects: 202,
    };
    let mut opened = async |count: usize| -> Result<Vec<String>> {
        served.copy_session(&session, copied + 1, copied + count)?;
        let paths = open(&served, &session, copied + 1, copied + count).await?;
        copied += count;
        Ok(paths)
    };
    println!("submit: evidence of {} bytes, {connections} connections", load.body.len());

    // The bare work first and last, so that a machine that drifts flatters neither.
    let server = BareServer::start()?;
    let bare_load = Load { address: server.address.clone(), ..load.clone() };
    let commits_before = served.bare_commits(connections, 5)?;
    let http_before = bare_load.closed(vec!["/".to_owned(); 10_000], connections).await?;

    load.closed(opened(1_000).await?, connections).await?; // warm
    let warm = served.resident_mib()?;
    println!("  resident after 1,000 submissions                    {warm:>9.1} MiB");
    let (mut left, mut done, mut taken) = (submissions, 1_000, Duration::ZERO);
    let mut costs = Costs::new(&served)?;
    let mut worst = Duration::ZERO;
    while left > 0 {
        let count = left.min(OPENED_AT_ONCE);
        let paths = opened(count).await?;
        costs.begin(&served)?;
        let outcome = load.closed(paths, connections).await?;
        costs.end(&served)?;
        (left, done, taken) = (left - count, done + count, taken + outcome.taken);
        worst = worst.max(outcome.quantile(0.99));
        println!(
            "  {done:>7} submitted: {:>8.1}/s, p50 {:.1?}, p99 {:.1?}; resident {:.1} MiB",
            outcome.per_second(),
            outcome.quantile(0.5),
            outcome.quantile(0.99),
            served.resident_mib()?,
        );
    }
    let paced = load.paced(opened(submissions.min(OPENED_AT_ONCE)).await?, connections * 2, rate).await?;

    let http_after = bare_load.closed(vec!["/".to_owned(); 10_000], connections).await?;
    let commits_after = served.bare_commits(connections, 5)?;
    let commits = (commits_before + commits_after) / 2.0;
    let http = (http_before.per_second() + http_after.per_second()) / 2.0;
    let accepted = submissions as f64 / taken.as_secs_f64();
    println!("  accepted                                            {accepted:>9.1}/s, worst p99 {worst:.1?}");
    costs.print(submissions as f64);
    println!(
        "  offered {rate}/s: answered {:.1}/s, p50 {:.1?}, p99 {:.1?}",
        paced.per_second(),
        paced.quantile(0.5),
        paced.quantile(0.99)
    );
    println!("  bare commits of one row (pgbench)                   {commits:>9.1}/s  ratio {:.2}", accepted / commits);
    println!("  bare HTTP of the same bodies                        {http:>9.1}/s  ratio {:.2}", accepted / http);
    // One after the other, which is how two cores would do the two of them.
    let both = 1.0 / (1.0 / commits + 1.0 / http);
    println!("  bare HTTP, then a bare commit                       {both:>9.1}/s  ratio {:.2}", accepted / both);
    Ok(())
}

/// What the submissions cost each process, and what they made PostgreSQL do.
struct Costs {
    of: Vec<(&'static str, Metered)>,
    spent: Vec<Spent>,
    counted: [f64; 3],
    before: (Vec<Spent>, [f64; 3]),
}

impl Costs {
    fn new(served: &Served) -> Result<Self> {
        let of = served.metered()?;
        Ok(Self { spent: vec![Spent::default(); of.len()], of, counted: [0.0; 3], before: (Vec::new(), [0.0; 3]) })
    }

    fn look(&self, served: &Served) -> Result<(Vec<Spent>, [f64; 3])> {
        Ok((self.of.iter().map(|(_, metered)| metered.spent()).collect::<Result<_>>()?, served.counted()?))
    }

    fn begin(&mut self, served: &Served) -> Result<()> {
        self.before = self.look(served)?;
        Ok(())
    }

    fn end(&mut self, served: &Served) -> Result<()> {
        let (spent, counted) = self.look(served)?;
        for (sum, (after, before)) in self.spent.iter_mut().zip(spent.into_iter().zip(&self.before.0)) {
            *sum += after - *before;
        }
        for (sum, (after, before)) in self.counted.iter_mut().zip(counted.into_iter().zip(self.before.1)) {
            *sum += after - before;
        }
        Ok(())
    }

    fn print(&self, submissions: f64) {
        println!("  each submission:                                processor ms    thread switches");
        for ((name, _), spent) in self.of.iter().zip(&self.spent) {
            let (milliseconds, switches) = (spent.seconds * 1e3 / submissions, spent.switches / submissions);
            println!("    {name:<40} {milliseconds:>14.3} {switches:>18.1}");
        }
        let [commits, syncs, bytes] = self.counted.map(|count| count / submissions);
        println!("    transactions {commits:.2}, syncs of the write-ahead log {syncs:.3}, its bytes {bytes:.0}");
    }
}

async fn lists(few: usize, many: usize, requests: usize) -> Result<()> {
    let served = Served::start().await?;
    let session = a_session(&served).await?;
    let load = Load {
        address: served.address.clone(),
        method: "GET",
        headers: format!("Authorization: Bearer {}\r\n", served.key),
        body: Arc::from([]),
        expects: 200,
    };
    let id = |number: usize| format!("{}{number:0>54x}", &session[..13]);
    let measure = async |count: usize| -> Result<Vec<(&'static str, Duration)>> {
        served.sql("VACUUM ANALYZE sessions")?;
        let step = (count / requests).max(1);
        let place = |n: usize| 1 + (n * step * 7) % count;
        let kinds: [(&str, Box<PathOf<'_>>); 6] = [
            ("get one", Box::new(move |n| format!("/v1/sessions/{}", id(place(n))))),
            ("list, newest 10", Box::new(|_| "/v1/sessions".to_owned())),
            (
                "list, 100 from anywhere",
                Box::new(move |n| format!("/v1/sessions?limit=100&starting_after={}", id(place(n)))),
            ),
            (
                "list, 10 with attempts",
                Box::new(move |n| format!("/v1/sessions?include_attempts=true&starting_after={}", id(place(n)))),
            ),
            ("list, a status that none has", Box::new(|_| "/v1/sessions?status=failed".to_owned())),
            ("list, created before all", Box::new(|_| "/v1/sessions?created_to=2020-01-01T00:00:00Z".to_owned())),
        ];
        let mut medians = Vec::new();
        for (name, path) in kinds {
            load.closed((0..requests / 10).map(&path).collect(), 1).await?;
            let outcome = load.closed((0..requests).map(&path).collect(), 1).await?;
            medians.push((name, outcome.quantile(0.5)));
        }
        Ok(medians)
    };
    served.copy_session(&session, 1, few)?;
    let among_few = measure(few).await?;
    served.copy_session(&session, few + 1, many)?;
    let among_many = measure(many).await?;
    println!("median of {requests} requests, one at a time{:>20} {:>12}", format!("{few}"), format!("{many}"));
    for ((name, small), (_, large)) in among_few.iter().zip(&among_many) {
        let ratio = large.as_secs_f64() / small.as_secs_f64();
        println!("  {name:<40} {small:>12.1?} {large:>12.1?}  {ratio:.2}x");
    }
    Ok(())
}

/// The id of a session made by the API, to make copies of.
async fn a_session(served: &Served) -> Result<String> {
    let answer = post(served, "/v1/sessions", &json!({}), 201).await?;
    answer["data"]["id"].as_str().map(str::to_owned).context("a session has an id")
}

/// Opens an attempt in each copy; the paths to submit to.
async fn open(served: &Served, session: &str, from: usize, to: usize) -> Result<Vec<String>> {
    let mut paths = Vec::with_capacity(to + 1 - from);
    let ids: Vec<String> = (from..=to).map(|number| format!("{}{number:0>54x}", &session[..13])).collect();
    for chunk in ids.chunks(1_000) {
        let answer = post(served, "/v1/attempts/open", &json!({ "session_ids": chunk }), 200).await?;
        for item in answer["data"].as_array().context("a list of attempts")? {
            let id = item["attempt_id"].as_str().with_context(|| format!("no attempt was opened: {item}"))?;
            paths.push(format!("/v1/attempts/{id}/evidence"));
        }
    }
    Ok(paths)
}

async fn post(served: &Served, path: &str, body: &Value, expects: u16) -> Result<Value> {
    let load = Load {
        address: served.address.clone(),
        method: "POST",
        headers: format!("Authorization: Bearer {}\r\nContent-Type: application/json\r\n", served.key),
        body: body.to_string().into_bytes().into(),
        expects,
    };
    let (status, body) = Connection::open(&served.address).await?.send(&load, path).await?;
    ensure!(status == expects, "{path} was answered {status}: {}", String::from_utf8_lossy(&body));
    Ok(serde_json::from_slice(&body)?)
}

/// About 60 kB: what a passport with a small portrait and one selfie have.
fn evidence() -> Vec<u8> {
    let mut form = Vec::new();
    let mut part = |name: &str, bytes: &[u8]| {
        form.extend_from_slice(
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").as_bytes(),
        );
        form.extend_from_slice(bytes);
        form.extend_from_slice(b"\r\n");
    };
    let octets = |length: usize| (0..length).map(|n| (n * 31 % 251) as u8).collect::<Vec<u8>>();
    let selfie = [&[0xff, 0xd8, 0xff, 0xe0][..], &octets(36_000)].concat();
    part("manifest", br#"{"selected_field_keys":["kayle_document_id"]}"#);
    part("dg1", &octets(93));
    part("dg2", &octets(20_000));
    part("sod", &octets(3_000));
    part("selfie", &selfie);
    form.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    form
}

/// The bare server in a process of its own.
struct BareServer {
    address: String,
    child: Child,
}

impl BareServer {
    fn start() -> Result<Self> {
        use std::io::BufRead as _;
        let mut child = Command::new(std::env::current_exe()?)
            .arg("bare")
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the bare server")?;
        let mut address = String::new();
        let printed = child.stdout.take().context("its output is a pipe")?;
        std::io::BufReader::new(printed).read_line(&mut address)?;
        Ok(Self { address: address.trim().to_owned(), child })
    }
}

impl Drop for BareServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn bare() -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let answer = async |_: axum::body::Bytes| (axum::http::StatusCode::ACCEPTED, r#"{"data":null,"error":null}"#);
    let router = axum::Router::new().fallback(answer).layer(axum::extract::DefaultBodyLimit::max(1 << 20));
    axum::serve(listener, router).await?;
    Ok(())
}
