//! The whole road against its stages alone, on the same evidence, in one run.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use proofmill_emrtd::{
    ActiveAuthentication, DocumentEvidence, Policy, TrustStore, TrustStoreBuilder, UnixTime, verify,
};
use proofmill_face::{Device, FaceVerdict, LoadOptions, Matcher, Pack};
use proofmill_fixtures::{Case, Minted, Photos};
use proofmill_tests::minted::{SELECTED, Specimen, World};
use proofmill_tests::{Integrator, Mode, Options, Server, environment};
use rayon::prelude::*;
use serde_json::{Map, Value, json};

/// Measures attempts per second through a standalone server, and through the document and face stages alone.
#[derive(Parser)]
struct Arguments {
    /// How many attempts.
    #[arg(long, default_value_t = 96)]
    attempts: usize,
    /// How many are on their way at once.
    #[arg(long, default_value_t = 24)]
    concurrency: usize,
    /// Pairs in a face batch of the stages alone.
    #[arg(long, default_value_t = 8)]
    batch: usize,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // Before any other use of libtorch.
    proofmill_face::discover();
    let stages = Stages::new(arguments.attempts)?;
    stages.run(arguments.batch)?; // warm
    let before = stages.run(arguments.batch)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let road = runtime.block_on(road(&arguments))?;
    let after = stages.run(arguments.batch)?;

    // Once before and once after the road, so that a machine that drifts does not flatter either.
    let alone = (before + after) / 2;
    let rate = |taken: Duration| arguments.attempts as f64 / taken.as_secs_f64();
    println!("whole road, standalone, {} genuine attempts, {} at once:", arguments.attempts, arguments.concurrency);
    println!("  road (HTTP in to webhook verified and decrypted)   {:>8.2} attempts/s", rate(road));
    println!("  document and face stages alone, all cores          {:>8.2} attempts/s", rate(alone));
    println!("  ratio                                              {:>8.2}", rate(road) / rate(alone));
    Ok(())
}

async fn road(arguments: &Arguments) -> Result<Duration> {
    let world = World::mint(1)?;
    let folder = tempfile::tempdir()?;
    world.write_trust(folder.path())?;
    let options = Options { trust: vec![folder.path().to_owned()], ..Options::default() };
    let server = Server::start(Mode::Embedded, options).await?;
    let integrator = Integrator::set_up(&server, "bench").await?;
    let specimen = world.genuine();
    let attempts = |count: usize, at_once: usize| {
        let (integrator, specimen) = (&integrator, &specimen);
        stream::iter(0..count)
            .map(move |_| one_attempt(integrator, specimen))
            .buffer_unordered(at_once)
            .try_collect::<Vec<()>>()
    };
    // A few to warm up, then the measured ones.
    attempts(8, 8).await?;
    let started = Instant::now();
    attempts(arguments.attempts, arguments.concurrency).await?;
    Ok(started.elapsed())
}

async fn one_attempt(integrator: &Integrator, specimen: &Specimen) -> Result<()> {
    let session = integrator.api.create_session(&request()).await?;
    let session = session["id"].as_str().context("a session has an id")?.to_owned();
    let opened = integrator.api.open_attempt(&session).await?;
    integrator.api.put_evidence(&opened.attempt_id, &specimen.submission(&opened.challenge)).await?.data()?;
    integrator.receiver.event(&session, "verification.session.succeeded").await?;
    Ok(())
}

/// A session that asks for what the specimens agree to share.
fn request() -> Value {
    let field = json!({ "required": true, "reason": "to measure" });
    json!({ "contract_version": 2, "share_fields": SELECTED.map(|key| (key.to_owned(), field.clone())).into_iter().collect::<Map<_, _>>() })
}

/// The stages alone: what no server can do without.
struct Stages {
    minted: Vec<Minted>,
    trust: TrustStore,
    at: UnixTime,
    matcher: Arc<Matcher>,
}

impl Stages {
    fn new(attempts: usize) -> Result<Self> {
        let photos = Photos::load(&environment::photos()?)?;
        #[allow(clippy::disallowed_methods)]
        let now = jiff::Timestamp::now();
        let world = proofmill_fixtures::World::mint(1, now, photos);
        let mut builder = TrustStoreBuilder::new();
        for country in world.countries() {
            builder.add_csca(&country.csca, country.alpha3)?;
            builder.add_crl(&country.crl, country.alpha3)?;
        }
        let pack = Pack::load(&environment::pack()?, LoadOptions::default())?;
        let threads = std::thread::available_parallelism()?.get();
        Ok(Self {
            minted: (0..attempts).map(|_| world.submission(Case::GenuineLdsV1, 0)).collect(),
            trust: builder.build(1),
            at: UnixTime(now.as_second()),
            matcher: Arc::new(Matcher::new(pack, Device::Cpu, threads)?),
        })
    }

    fn run(&self, batch: usize) -> Result<Duration> {
        let started = Instant::now();
        for chunk in self.minted.chunks(batch) {
            let prepared: Result<Vec<_>> = chunk.par_iter().map(|minted| self.prepare(minted)).collect();
            for outcome in self.matcher.match_batch(&prepared?)? {
                ensure!(matches!(outcome.verdict, FaceVerdict::Match), "a genuine pair was not matched");
            }
        }
        Ok(started.elapsed())
    }

    fn prepare(&self, minted: &Minted) -> Result<proofmill_face::Prepared> {
        let answer = minted.passport.answer_active_authentication(&minted.challenge);
        let evidence = DocumentEvidence {
            sod: &minted.passport.sod,
            dg1: Some(&minted.passport.dg1),
            dg2: Some(&minted.passport.dg2),
            dg14: minted.passport.dg14.as_deref(),
            dg15: minted.passport.dg15.as_deref(),
            active_authentication: answer
                .as_deref()
                .map(|signature| ActiveAuthentication { challenge: &minted.challenge, signature }),
            ..DocumentEvidence::default()
        };
        let verified = verify(&evidence, &self.trust, &Policy::default(), self.at);
        ensure!(verified.report.is_valid(), "a genuine document was refused: {:?}", verified.report.reason);
        let portrait = verified.portrait.context("a valid document has a portrait")?;
        let selfies: Vec<&[u8]> = minted.selfies.iter().map(Vec::as_slice).collect();
        self.matcher
            .prepare(black_box(portrait.image), &selfies)
            .map_err(|failure| anyhow::anyhow!("pictures refused: {:?}", failure.verdict()))
    }
}
