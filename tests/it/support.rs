//! What every test begins with: the product running, an organisation, minted passports.

use std::future::Future;
use std::path::PathBuf;

use proofmill_tests::environment;
use proofmill_tests::minted::{Specimen, World};
use proofmill_tests::{ApiClient, Integrator, Mode, Opened, Options, Server, Submission};
use serde_json::{Value, json};

/// The product, an integrator, and passports whose issuers the product trusts.
pub struct Scene {
    pub server: Server,
    pub integrator: Integrator,
    pub world: World,
    /// The folder of what is trusted.
    pub trust: PathBuf,
}

/// Runs a test's body in one mode; the cluster mode only where its servers are.
pub fn play<F>(mode: Mode, body: impl FnOnce(Scene) -> F)
where
    F: Future<Output = ()>,
{
    let cluster = match mode {
        Mode::Embedded => None,
        Mode::Cluster => match environment::cluster() {
            Some(cluster) => Some(cluster),
            None => return,
        },
    };
    play_with(mode, Options { cluster, ..Options::default() }, body);
}

/// The same with options.
pub fn play_with<F>(mode: Mode, mut options: Options, body: impl FnOnce(Scene) -> F)
where
    F: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let trust = tempfile::tempdir().unwrap();
        let world = World::mint(7).unwrap();
        world.write_trust(trust.path()).unwrap();
        options.trust.push(trust.path().to_owned());
        // A killed worker's attempts are taken over when its lease has run out.
        options.environment.push(("PROOFMILL_LEASE".into(), "5".into()));
        let server = Server::start(mode, options).await.unwrap();
        let integrator = Integrator::set_up(&server, "Integration").await.unwrap();
        body(Scene { server, integrator, world, trust: trust.path().to_owned() }).await;
    });
}

/// A test per mode of each named body.
macro_rules! in_both_modes {
    ($($body:ident),* $(,)?) => {
        mod embedded { $(#[test] fn $body() { $crate::support::play(proofmill_tests::Mode::Embedded, super::$body); })* }
        mod cluster { $(#[test] fn $body() { $crate::support::play(proofmill_tests::Mode::Cluster, super::$body); })* }
    };
}
pub(crate) use in_both_modes;

impl Scene {
    pub fn api(&self) -> &ApiClient {
        &self.integrator.api
    }

    /// A session's id.
    pub async fn session(&self, contract: u8) -> String {
        let session = self.api().create_session(&json!({ "contract_version": contract })).await.unwrap();
        session["id"].as_str().unwrap().to_owned()
    }

    /// Registers the readers whose statements come with attested passports.
    pub fn register_readers(&self) {
        self.world.register_readers(&self.server, &self.integrator.organisation).unwrap();
    }

    /// Submits, and waits for the verdict.
    pub async fn settle(&self, opened: &Opened, submission: &Submission) -> Value {
        self.api().put_evidence(&opened.attempt_id, submission).await.unwrap().data().unwrap();
        self.api().settled(&opened.attempt_id).await.unwrap()
    }

    /// Opens, submits, and waits for the verdict.
    pub async fn attempt(&self, session: &str, specimen: &Specimen) -> Value {
        let opened = self.submit(session, specimen).await;
        self.api().settled(&opened.attempt_id).await.unwrap()
    }

    /// Opens and submits.
    pub async fn submit(&self, session: &str, specimen: &Specimen) -> Opened {
        let opened = self.api().open_attempt(session).await.unwrap();
        let submission = defaults(specimen.evidence(self.api(), &opened).await.unwrap());
        let answer = self.api().put_evidence(&opened.attempt_id, &submission).await.unwrap();
        assert_eq!((answer.status, answer.code()), (202, ""));
        opened
    }

    /// Everything the programs have printed.
    pub fn logs(&mut self) -> String {
        let mut text = self.server.worker().unwrap().log();
        text.push_str(&self.server.api().unwrap().log());
        text
    }
}

/// Selects what the default share fields offer.
pub fn defaults(mut submission: Submission) -> Submission {
    submission.selected = vec!["kayle_document_id".into(), "issuing_country_code".into()];
    submission
}
