//! The main job end to end, on real input: what `cargo xtask demo` runs once everything is built.
//!
//! Passports are minted, genuine and forged; the product runs in its embedded mode; an organisation is set up by the
//! command line; every attempt goes in over HTTP, and every verdict comes back as a webhook that is verified and
//! decrypted here. The last line says how many were as expected.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use proofmill_tests::minted::{self, Specimen, World};
use proofmill_tests::{Integrator, Mode, Options, Server};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

#[derive(Parser)]
#[command(name = "proofmill-demo", about = "Mint passports, run the product, show every verdict", max_term_width = 100)]
struct Arguments {
    /// Attempts beside the one session that is driven to failure; every kind of forgery comes at least once
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    attempts: u32,
    /// What the countries, passports and keys are derived from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Attempts in flight at once
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    in_flight: u32,
    /// Where the server keeps its data; emptied first
    #[arg(long, default_value = "demo-data")]
    data_dir: PathBuf,
    /// Leave the server running at the end, and print how to talk to it
    #[arg(long)]
    keep: bool,
}

/// One line of the table.
struct Row {
    /// How many attempts it stands for.
    verdicts: usize,
    submitted: String,
    contract: u8,
    expected: String,
    got: String,
    /// The reason that the failing gate gives.
    why: String,
    milliseconds: u128,
    as_expected: bool,
    /// Webhooks due and webhooks that came, verified and decrypted.
    webhooks: (usize, usize),
}

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(Arguments::parse())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<bool> {
    let data_dir = fresh_folder(&arguments.data_dir)?;
    let minting = Instant::now();
    let world = World::mint(arguments.seed)?;
    let specimens = world.specimens((arguments.attempts as usize).max(World::cases()));
    let trust = data_dir.join("trust");
    world.write_trust(&trust)?;
    println!(
        "minted   {} passports of {} countries, {} of them forged or misused, in {:.1} s",
        specimens.len(),
        world.countries(),
        specimens.iter().filter(|specimen| specimen.expected.is_some()).count(),
        minting.elapsed().as_secs_f64()
    );

    let starting = Instant::now();
    let options = Options { trust: vec![trust.clone()], data_dir: Some(data_dir.clone()), ..Options::default() };
    let mut server = Server::start(Mode::Embedded, options).await?;
    println!(
        "started  proofmill-worker standalone on http://{} in {:.1} s",
        server.address(),
        starting.elapsed().as_secs_f64()
    );
    let integrator = Arc::new(Integrator::set_up(&server, "Demonstration").await?);
    let readers = world.register_readers(&server, &integrator.organisation)?;
    println!(
        "created  an organisation, an API key, a webhook endpoint with a fresh RSA key, {readers} readers, one revoked"
    );
    println!();

    let working = Instant::now();
    let rows = submit_all(&integrator, &specimens, arguments.in_flight as usize).await?;
    let seconds = working.elapsed().as_secs_f64();

    let verdicts: usize = rows.iter().map(|row| row.verdicts).sum();
    println!();
    println!(
        "{verdicts} attempts in {seconds:.1} s: {:.1} attempts/s with {} in flight, from session to decrypted webhook",
        verdicts as f64 / seconds,
        arguments.in_flight
    );
    if !server.lives() {
        anyhow::bail!("the server has ended; see {}", data_dir.join("worker.log").display());
    }
    print_places(&data_dir);
    if arguments.keep {
        keep(&mut server, &integrator, &world.genuine(), &data_dir)?;
    } else {
        println!("try next: cargo xtask demo --keep    (leaves the server running and prints curl lines)");
        println!("          cargo xtask test           (every test, with real PostgreSQL and RabbitMQ)");
    }
    println!();

    let as_expected: usize = rows.iter().filter(|row| row.as_expected).map(|row| row.verdicts).sum();
    let due: usize = rows.iter().map(|row| row.webhooks.0).sum();
    let verified: usize = rows.iter().map(|row| row.webhooks.1).sum();
    let unreadable = integrator.receiver.received().iter().filter(|one| one.payload.is_err()).count();
    println!(
        "demo: {as_expected} of {verdicts} verdicts as expected, {verified} of {} webhooks verified",
        due + unreadable
    );
    Ok(as_expected == verdicts && verified == due + unreadable)
}

/// Rejected attempts go to contract 1, which tells of each by webhook; under contract 2 a session tells only of its end,
/// so accepted ones go there, and one session that three forgeries bring to its end.
async fn submit_all(integrator: &Arc<Integrator>, specimens: &[Specimen], in_flight: usize) -> Result<Vec<Row>> {
    let slots = Arc::new(Semaphore::new(in_flight));
    let mut tasks = Vec::new();
    for specimen in specimens {
        let (integrator, specimen, slots) = (integrator.clone(), specimen.clone(), slots.clone());
        tasks.push(tokio::spawn(async move {
            let _slot = slots.acquire().await?;
            submit(&integrator, &specimen).await
        }));
    }
    if let Some(forged) = specimens.iter().find(|specimen| specimen.expected.is_some()) {
        let (integrator, forged, slots) = (integrator.clone(), forged.clone(), slots.clone());
        tasks.push(tokio::spawn(async move {
            let _slot = slots.acquire().await?;
            fail_a_session(&integrator, &forged).await
        }));
    }

    let header = ["#", "submitted", "v", "expected", "got", "ms", "why"].map(str::to_owned);
    println!("{}", table_line(header));
    let mut rows = Vec::new();
    for (task, number) in tasks.into_iter().zip(1..) {
        let row = task.await.context("a submission panicked")??;
        let mark = if row.as_expected { "" } else { "  <- not as expected" };
        println!(
            "{}{mark}",
            table_line([
                number.to_string(),
                row.submitted.clone(),
                row.contract.to_string(),
                row.expected.clone(),
                row.got.clone(),
                row.milliseconds.to_string(),
                row.why.clone(),
            ])
        );
        rows.push(row);
    }
    Ok(rows)
}

/// One attempt in a session of its own.
async fn submit(integrator: &Integrator, specimen: &Specimen) -> Result<Row> {
    let contract = if specimen.expected.is_some() { 1 } else { 2 };
    let session = integrator.api.create_session(&session_request(contract)).await?;
    let session = session["id"].as_str().context("a session has an id")?;
    let opened = integrator.api.open_attempt(session).await?;
    let submission = specimen.evidence(&integrator.api, &opened).await?;
    let began = Instant::now();
    integrator.api.put_evidence_with_token(&opened.attempt_id, &opened.write_token, &submission).await?.data()?;

    let expected_event = match contract {
        1 => "verification.attempt.failed",
        _ => "verification.session.succeeded",
    };
    // Whatever comes about this session is the answer, expected or not; contract 2 tells nothing of a first rejection,
    // so the attempt is asked as well.
    let attempt = integrator.api.settled(&opened.attempt_id).await?;
    let told = match (contract, attempt["status"] == "succeeded") {
        (1, true) => Some("verification.attempt.succeeded"),
        (1, false) => Some("verification.attempt.failed"),
        (_, true) => Some("verification.session.succeeded"),
        (_, false) => None,
    };
    let mut verified = 0;
    let mut claims_right = true;
    if let Some(event) = told {
        let payload = integrator.receiver.event(session, event).await?;
        verified = usize::from(event == expected_event);
        claims_right = attempt["status"] != "succeeded" || holds_the_selected_claims(&payload);
        if payload["data"]["failure_code"] != attempt["failure_code"] {
            claims_right = false;
        }
    }
    let arrived = integrator.receiver.about(session).first().map_or_else(Instant::now, |one| one.at);
    let expected = specimen.expected.map_or("accepted".to_owned(), |code| minted::in_contract_1(code).to_owned());
    let code = match attempt["status"].as_str() {
        Some("succeeded") => "accepted".to_owned(),
        _ => attempt["failure_code"].as_str().unwrap_or("no failure code").to_owned(),
    };
    Ok(Row {
        verdicts: 1,
        submitted: specimen.name.clone(),
        contract,
        as_expected: code == expected && claims_right,
        expected,
        got: code,
        why: attempt["checks"]["reason"].as_str().unwrap_or_default().to_owned(),
        milliseconds: arrived.saturating_duration_since(began).as_millis(),
        webhooks: (1, verified),
    })
}

/// Contract 2: the third failure of one check ends the session, and one webhook says so.
async fn fail_a_session(integrator: &Integrator, forged: &Specimen) -> Result<Row> {
    let session = integrator.api.create_session(&session_request(2)).await?;
    let session = session["id"].as_str().context("a session has an id")?;
    let began = Instant::now();
    let mut as_expected = true;
    for _ in 0..3 {
        let opened = integrator.api.open_attempt(session).await?;
        let submission = forged.evidence(&integrator.api, &opened).await?;
        integrator.api.put_evidence_with_token(&opened.attempt_id, &opened.write_token, &submission).await?.data()?;
        let attempt = integrator.api.settled(&opened.attempt_id).await?;
        as_expected &= attempt["failure_code"].as_str() == forged.expected;
    }
    let payload = integrator.receiver.event(session, "verification.session.failed").await?;
    let told = integrator.receiver.about(session);
    let ended = integrator.api.session(session).await?;
    as_expected &= told.len() == 1
        && payload["data"]["failure_code"].as_str() == forged.expected
        && payload["data"]["nfc_tries_used"] == ended["nfc_tries_used"]
        && payload["data"]["liveness_tries_used"] == ended["liveness_tries_used"];
    Ok(Row {
        verdicts: 3,
        submitted: format!("three times in one session: {}", forged.name),
        contract: 2,
        expected: "failed after the third".to_owned(),
        got: format!("{} after the third", ended["status"].as_str().unwrap_or_default()),
        why: format!("{} chip tries used", ended["nfc_tries_used"]),
        milliseconds: began.elapsed().as_millis(),
        as_expected: as_expected && ended["status"] == "failed",
        webhooks: (1, told.len()),
    })
}

fn session_request(contract: u8) -> Value {
    json!({
        "contract_version": contract,
        "share_fields": {
            "kayle_document_id": { "required": true, "reason": "One account per document" },
            "nationality_code": { "required": true, "reason": "Sanctions screening" },
            "age_over_18": { "required": false, "reason": "Adults only" },
        },
    })
}

fn holds_the_selected_claims(payload: &Value) -> bool {
    let keys = |value: &Value| -> Vec<String> {
        value.as_object().map(|claims| claims.keys().cloned().collect()).unwrap_or_default()
    };
    let mut held = keys(&payload["data"]["claims"]);
    held.sort();
    let claims = &payload["data"]["claims"];
    held == minted::SELECTED
        && claims["kayle_document_id"].as_str().is_some_and(|id| id.starts_with("kdid_"))
        && claims["age_over_18"].is_boolean()
}

/// Columns of fixed widths; the last is as long as it is.
fn table_line([number, submitted, version, expected, got, ms, why]: [String; 7]) -> String {
    format!("{number:>3}  {submitted:<48} {version:>1}  {expected:<37} {got:<37} {ms:>6}  {why}")
}

fn fresh_folder(path: &Path) -> Result<PathBuf> {
    // Emptied only if it is ours: a mistyped path must not cost anybody a folder.
    let mark = path.join(".proofmill-demo");
    if path.exists() {
        let empty = std::fs::read_dir(path)?.next().is_none();
        if !mark.exists() && !empty {
            anyhow::bail!("{} is not a folder of an earlier demonstration", path.display());
        }
        std::fs::remove_dir_all(path).with_context(|| format!("cannot empty {}", path.display()))?;
    }
    std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
    std::fs::write(&mark, "Made by proofmill-demo, which empties this folder when it runs again.\n")?;
    path.canonicalize().with_context(|| format!("cannot find {}", path.display()))
}

fn print_places(data_dir: &Path) {
    println!("data     {} (database, sealed evidence, keys, log)", data_dir.display());
    println!(
        "trust    {} (certificates and revocation lists of the invented countries)",
        data_dir.join("trust").display()
    );
}

/// Leaves the server running, with one specimen on disk for the curl lines.
fn keep(server: &mut Server, integrator: &Integrator, specimen: &Specimen, data_dir: &Path) -> Result<()> {
    let ids: Vec<String> = server.keep().iter().map(u32::to_string).collect();
    let sample = data_dir.join("sample");
    std::fs::create_dir_all(&sample)?;
    let mut form = String::new();
    let submission = specimen.submission(&[0; 8]);
    let selfies = submission.selfies.iter().map(|bytes| ("selfie", bytes));
    for (name, bytes) in submission.parts.iter().map(|(name, bytes)| (*name, bytes)).chain(selfies) {
        let path = sample.join(name);
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        form.push_str(&format!(" -F {name}=@{}", path.display()));
    }
    println!("server   still running; stop it with: kill {}", ids.join(" "));
    println!("try next:");
    println!("  API=http://{} KEY={}", server.address(), integrator.api_key);
    println!("  data() {{ python3 -c 'import json,sys; print(json.load(sys.stdin)[\"data\"][sys.argv[1]])' \"$1\"; }}");
    println!(
        "  SESSION=$(curl -s -X POST $API/v1/sessions -H \"Authorization: Bearer $KEY\" -H 'Content-Type: application/json' -d '{{}}' | data id)"
    );
    println!(
        "  ATTEMPT=$(curl -s -X POST $API/v1/sessions/$SESSION/attempts -H \"Authorization: Bearer $KEY\" -H 'Content-Type: application/json' -d '{{}}' | data attempt_id)"
    );
    println!(
        "  curl -s -X PUT $API/v1/attempts/$ATTEMPT/evidence -H \"Authorization: Bearer $KEY\"{form} -F 'manifest={{\"selected_field_keys\":[\"kayle_document_id\"]}}'"
    );
    println!("  curl -s \"$API/v1/attempts/$ATTEMPT?wait=20\" -H \"Authorization: Bearer $KEY\"");
    println!("  curl -s \"$API/v1/webhooks/deliveries?limit=3\" -H \"Authorization: Bearer $KEY\"");
    Ok(())
}
