//! Trust that changes while the product runs.

use std::path::Path;
use std::process::Command;

use proofmill_tests::minted::World;
use proofmill_tests::{Integrator, Mode, Options, Server, environment, wait};
use serde_json::Value;

use crate::support::Scene;

mod embedded {
    #[test]
    fn an_imported_state_counts_without_a_restart() {
        super::play(proofmill_tests::Mode::Embedded);
    }
}

mod cluster {
    #[test]
    fn an_imported_state_counts_without_a_restart() {
        super::play(proofmill_tests::Mode::Cluster);
    }
}

fn play(mode: Mode) {
    let cluster = match mode {
        Mode::Embedded => None,
        Mode::Cluster => match environment::cluster() {
            Some(cluster) => Some(cluster),
            None => return,
        },
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(follow(mode, Options { cluster, ..Options::default() }));
}

async fn follow(mode: Mode, mut options: Options) {
    let folder = tempfile::tempdir().unwrap();
    let (store, file) = (folder.path().join("store"), folder.path().join("store/trust-store.ndjson"));
    // States of the same names with other keys: at first the product knows only them.
    let (world, others) = (World::mint(7).unwrap(), World::mint(8).unwrap());
    others.write_trust(&folder.path().join("others")).unwrap();
    world.write_trust(&folder.path().join("world")).unwrap();
    import(&store, &folder.path().join("others"));

    options.trust.push(store.clone());
    options.environment.push(("PROOFMILL_TRUST_RELOAD".into(), "1s".into()));
    let mut server = Server::start(mode, options).await.unwrap();
    let integrator = Integrator::set_up(&server, "Trust").await.unwrap();
    let process = server.worker().unwrap().id();
    let mut scene = Scene { server, integrator, world, trust: store.clone() };
    assert_eq!(metric(&scene, "proofmill_trust_epoch").await, 1.0);

    let session = scene.session(2).await;
    let genuine = scene.world.genuine();
    let attempt = scene.attempt(&session, &genuine).await;
    assert_eq!(
        (&attempt["status"], &attempt["failure_code"]),
        (&"failed".into(), &"document_authenticity_failed".into())
    );

    import(&store, &folder.path().join("world"));
    reaches(&scene, "proofmill_trust_epoch", 2.0).await;
    let attempt = scene.attempt(&session, &genuine).await;
    assert_eq!(attempt["status"], "succeeded", "{attempt}");
    assert_eq!(
        metric(&scene, "proofmill_trust_certificates{kind=\"csca\"}").await,
        2.0 * scene.world.countries() as f64
    );

    // A store that breaks is said to be broken, and the one before goes on.
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    reaches(&scene, "proofmill_trust_reload_failures_total", 1.0).await;
    let session = scene.session(2).await;
    let attempt = scene.attempt(&session, &genuine).await;
    assert_eq!(attempt["status"], "succeeded", "{attempt}");
    assert_eq!(metric(&scene, "proofmill_trust_epoch").await, 2.0);
    assert!(scene.logs().contains("the one before stays in use"), "{}", scene.logs());
    std::fs::write(&file, &whole).unwrap();
    let mut recovered = || {
        let said = scene.logs().contains("recovered=true");
        async move { Ok(said.then_some(())) }
    };
    wait::until("recovery in the log", &mut recovered).await.unwrap();

    assert_eq!(scene.server.worker().unwrap().id(), process);
    assert!(scene.server.lives(), "all of it in one process's life");
}

fn import(store: &Path, from: &Path) {
    let mut command: Command = environment::command("proofmill-worker").unwrap();
    let output = command.args(["trust", "import"]).arg(from).arg("--store").arg(store).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn reaches(scene: &Scene, name: &str, least: f64) {
    wait::until(name, || async { Ok((metric(scene, name).await >= least).then_some(())) }).await.unwrap();
}

async fn metric(scene: &Scene, name: &str) -> f64 {
    let url = format!("http://{}/metrics", scene.server.metrics_address());
    let text = reqwest::get(url).await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value: Option<Value> = line.and_then(|value| serde_json::from_str(value).ok());
    value.and_then(|value| value.as_f64()).unwrap_or_else(|| panic!("no {name} in\n{text}"))
}
