//! What every finding of a run depends on.

use std::path::PathBuf;

use proofmill_contract::Clock as _;
use proofmill_emrtd::{Policy, TrustStore, UnixTime};
use proofmill_telemetry::SystemClock;

use super::args::{Options, PolicyName, What};
use super::trust;

/// Trust, time, policy, and how much to show.
pub struct Context {
    /// Everything that `--trust` named; empty without.
    pub trust: TrustStore,
    /// Whether `--trust` named anything.
    pub has_trust: bool,
    /// What master lists must be signed under: what `--anchor` names or else the certificates that `--trust` does.
    pub anchors: Vec<Vec<u8>>,
    /// Which deviations are fatal.
    pub policy: Policy,
    /// Whether what is unknown, stale or expired is fatal.
    pub strict: bool,
    /// The moment as of which is judged.
    pub at: UnixTime,
    /// Whether personal data may be shown.
    pub personal: bool,
    /// Whether every entry of a list is shown.
    pub list: bool,
    /// Where images go.
    pub extract: Option<PathBuf>,
}

impl Context {
    /// Loads what the options name.
    ///
    /// # Errors
    /// A trust path cannot be read, or is refused.
    pub fn new(what: &What, options: &Options) -> anyhow::Result<Context> {
        let anchors = trust::anchors(&options.anchor)?;
        let trust = trust::load(&options.trust, &anchors)?;
        let at = options.at.unwrap_or_else(|| SystemClock.now());
        let (mut personal, mut list, mut extract) = (false, false, None);
        match what {
            What::Dg1(options) => personal = options.show_personal_data,
            What::Document(options) => personal = options.personal.show_personal_data,
            What::Dg2(options) => extract = options.extract.clone(),
            What::Masterlist(options) => list = options.list,
            _ => {}
        }
        Ok(Context {
            trust: trust.store,
            has_trust: !options.trust.is_empty(),
            anchors: if anchors.is_empty() { trust.certificates } else { anchors },
            policy: match options.policy {
                PolicyName::Default => Policy::default(),
                PolicyName::Strict => Policy::strict(),
                PolicyName::Lenient => Policy::lenient(),
            },
            strict: options.policy == PolicyName::Strict,
            at: UnixTime(at.as_secs()),
            personal,
            list,
            extract,
        })
    }
}
