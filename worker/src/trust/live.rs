//! The trust store in use, and its replacement while the process runs.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use proofmill_contract::Clock;
use proofmill_emrtd::TrustStore;
use proofmill_telemetry::Metrics;
use proofmill_trust::{State, TrustSource};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::describe;

/// The store in use. Who begins a verification takes the store of that moment and keeps it to the end.
#[derive(Clone)]
pub struct LiveTrust(Arc<RwLock<Arc<TrustStore>>>);

impl From<Arc<TrustStore>> for LiveTrust {
    fn from(store: Arc<TrustStore>) -> LiveTrust {
        LiveTrust(Arc::new(RwLock::new(store)))
    }
}

impl LiveTrust {
    /// The store of this moment.
    pub fn current(&self) -> Arc<TrustStore> {
        // The lock is held for a clone or an assignment, neither of which can leave anything half done.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another in its place; the one before is dropped by the last who uses it.
    pub fn replace(&self, store: Arc<TrustStore>) -> Arc<TrustStore> {
        std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), store)
    }
}

/// Looks after the store in use.
pub struct Reloader {
    source: TrustSource,
    live: LiveTrust,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    every: Duration,
    /// Of the files when the store in use was read.
    state: State,
    /// What was wrong at the last look: said once, and not every time.
    failure: Option<String>,
    hangups: Signal,
}

impl Reloader {
    /// Loads the store for the first time, and is ready to look for changes `every` so often. From now on a hangup signal
    /// means to look at once, and no longer ends the process.
    ///
    /// # Errors
    /// There is no store that can be used.
    pub async fn start(
        source: TrustSource,
        every: Duration,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Reloader> {
        let hangups = signal(SignalKind::hangup()).context("cannot watch for hangup signals")?;
        let reading = source.clone();
        let (state, store) = tokio::task::spawn_blocking(move || read(&reading, 1)).await?;
        let store = Arc::new(store?);
        tracing::info!(epoch = store.epoch(), "trust store: {}", describe(&store));
        let reloader =
            Reloader { live: LiveTrust::from(store), source, clock, metrics, every, state, failure: None, hangups };
        reloader.measure();
        Ok(reloader)
    }

    /// The store in use, now and later.
    pub fn live(&self) -> LiveTrust {
        self.live.clone()
    }

    /// Looks until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let asked = tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(self.every) => false,
                hangup = self.hangups.recv() => hangup.is_some(),
            };
            self.look(asked).await;
        }
    }

    /// Loads the store anew if its files have changed since, if the last look failed, or if `asked`. What cannot be loaded changes
    /// nothing but counters and the log.
    async fn look(&mut self, asked: bool) {
        let (source, known) = (self.source.clone(), self.state.clone());
        let anyway = asked || self.failure.is_some();
        let next = self.live.current().epoch() + 1;
        let reading = move || (anyway || source.state() != known).then(|| read(&source, next));
        let outcome = match tokio::task::spawn_blocking(reading).await {
            Ok(None) => return self.measure(),
            Ok(Some((state, store))) => store.map(|store| (state, store)).map_err(|error| format!("{error:#}")),
            Err(panicked) => Err(panicked.to_string()),
        };
        match outcome {
            Ok((state, store)) => {
                let (store, recovered) = (Arc::new(store), self.failure.take().is_some());
                self.state = state;
                let before = self.live.replace(store.clone());
                tracing::info!(
                    old_epoch = before.epoch(),
                    new_epoch = store.epoch(),
                    recovered,
                    "trust store replaced: {}; before: {}",
                    describe(&store),
                    describe(&before)
                );
            }
            Err(error) => {
                self.metrics.trust_reload_failures.inc();
                if self.failure.as_ref() != Some(&error) {
                    let epoch = self.live.current().epoch();
                    tracing::error!(
                        epoch,
                        "the changed trust store cannot be loaded, the one before stays in use: {error}"
                    );
                    self.failure = Some(error);
                }
            }
        }
        self.measure();
    }

    fn measure(&self) {
        let store = self.live.current();
        let counts = store.counts();
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.trust_epoch.set(i64::try_from(store.epoch()).unwrap_or(i64::MAX));
        self.metrics.trust_anchors.set(gauge(counts.cscas));
        for (kind, count) in [
            ("csca", counts.cscas),
            ("dsc", counts.document_signers),
            ("crl", counts.crls),
            ("crl_not_counting", counts.rejected_crls),
        ] {
            self.metrics.trust_certificates.with_label_values(&[kind]).set(gauge(count));
        }
        let newest = super::newest_crls(&store);
        if let Some(oldest) = newest.iter().map(|list| list.this_update).min() {
            self.metrics.trust_crl_oldest_seconds.set((self.clock.now().as_secs() - oldest.0).max(0) as f64);
        }
        if let Some(due) = newest.iter().filter_map(|list| list.next_update).min() {
            self.metrics.trust_crl_next_update.set(due.0 as f64);
        }
    }
}

/// The files' state is taken before they are read: a change while reading is seen at the next look.
fn read(source: &TrustSource, epoch: u64) -> (State, anyhow::Result<TrustStore>) {
    (source.state(), super::load_source(source, epoch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    use proofmill_contract::ManualClock;
    use proofmill_fixtures::{Algorithm, Country};
    use proofmill_telemetry::SystemClock;
    use proofmill_trust::{Anchors, Collected, TrustFolder};
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng as _;

    fn country(alpha2: &'static str, alpha3: &'static str, seed: u64) -> Country {
        let at = jiff::Timestamp::from_second(SystemClock.now().as_secs()).unwrap();
        Country::mint(alpha2, alpha3, Algorithm::EcdsaP256, at, &mut ChaCha20Rng::seed_from_u64(seed))
    }

    async fn reloader(path: &Path) -> (Reloader, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let metrics = Arc::new(Metrics::new(&crate::build_info("test")).unwrap());
        let source = TrustSource { paths: vec![path.to_owned()], anchors: Vec::new() };
        (Reloader::start(source, Duration::from_secs(3_600), clock.clone(), metrics).await.unwrap(), clock)
    }

    #[tokio::test]
    async fn plain_files_are_followed_and_a_broken_one_keeps_what_was() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (country("UT", "UTO", 1), country("XA", "XAA", 2));
        fs::write(folder.path().join("one.cer"), &one.csca).unwrap();
        let (mut reloader, _) = reloader(folder.path()).await;
        let live = reloader.live();
        let begun_with = live.current();
        assert_eq!((begun_with.epoch(), begun_with.counts().cscas), (1, 1));
        reloader.look(false).await;
        assert!(Arc::ptr_eq(&begun_with, &live.current()), "nothing has changed: the caches stay warm");

        fs::write(folder.path().join("two.cer"), &two.csca).unwrap();
        reloader.look(false).await;
        let grown = live.current();
        assert_eq!((grown.epoch(), grown.counts().cscas), (2, 2));
        assert_eq!(begun_with.counts().cscas, 1, "what was begun goes on with its own store");

        fs::write(folder.path().join("three.cer"), b"garbage").unwrap();
        for failures in 1..=3 {
            reloader.look(false).await;
            assert!(Arc::ptr_eq(&grown, &live.current()));
            assert_eq!(reloader.metrics.trust_reload_failures.get(), failures);
        }
        fs::remove_file(folder.path().join("three.cer")).unwrap();
        reloader.look(false).await;
        assert_eq!(live.current().epoch(), 3, "a failed look is followed by another");
        assert_eq!(reloader.metrics.trust_reload_failures.get(), 3);
        let again = live.current();
        reloader.look(true).await;
        assert!(!Arc::ptr_eq(&again, &live.current()), "asked for, it is loaded whatever the files say");

        for name in ["one.cer", "two.cer"] {
            fs::remove_file(folder.path().join(name)).unwrap();
        }
        reloader.look(false).await;
        assert_eq!(live.current().counts().cscas, 2, "a store without authorities is a broken one");
        assert_eq!(reloader.metrics.trust_reload_failures.get(), 4);
    }

    #[tokio::test]
    async fn a_hangup_signal_looks_at_once_and_ends_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("one.cer"), &country("UT", "UTO", 1).csca).unwrap();
        let (reloader, _) = reloader(folder.path()).await;
        let (live, shutdown) = (reloader.live(), CancellationToken::new());
        let running = tokio::spawn(reloader.run(shutdown.clone()));
        fs::write(folder.path().join("two.cer"), &country("XA", "XAA", 2).csca).unwrap();
        let own = std::process::id().to_string();
        assert!(std::process::Command::new("kill").args(["-s", "HUP", &own]).status().unwrap().success());
        let reloaded = async {
            while live.current().counts().cscas < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // The timer would take an hour.
        tokio::time::timeout(Duration::from_secs(60), reloaded).await.unwrap();
        shutdown.cancel();
        running.await.unwrap();
    }

    #[tokio::test]
    async fn a_store_brings_its_epoch_and_the_gauges_follow() {
        let folder = tempfile::tempdir().unwrap();
        let store = TrustFolder::new(folder.path().join("store"));
        let import = |der: &[u8]| {
            let path = folder.path().join("x");
            fs::write(&path, der).unwrap();
            let mut collected = Collected::default();
            proofmill_trust::read(&[path], &Anchors::NONE, &mut collected).unwrap();
            store.import(collected, None, super::super::command::now()).unwrap();
        };
        let utopia = country("UT", "UTO", 1);
        import(&utopia.csca);
        let (mut reloader, clock) = reloader(store.path()).await;
        assert_eq!((reloader.metrics.trust_epoch.get(), reloader.metrics.trust_anchors.get()), (1, 1));
        import(&utopia.crl);
        reloader.look(false).await;
        let metrics = reloader.metrics.clone();
        assert_eq!(metrics.trust_epoch.get(), 2);
        assert_eq!(metrics.trust_certificates.with_label_values(&["crl"]).get(), 1);
        // Its list is of yesterday.
        assert_eq!(metrics.trust_crl_oldest_seconds.get(), 86_400.0);
        assert!(metrics.trust_crl_next_update.get() > clock.now().as_secs() as f64);
        clock.advance(Duration::from_secs(10));
        reloader.look(false).await;
        assert_eq!(metrics.trust_crl_oldest_seconds.get(), 86_410.0, "it ages without a change");
    }
}
