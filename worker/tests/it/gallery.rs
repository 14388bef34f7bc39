//! Minted passports and the real face stage, where set-up has fetched photos and model pack.

use std::sync::Arc;

use proofmill_contract::evidence::Part;
use proofmill_contract::{Clock as _, Evidence, Timestamp};
use proofmill_emrtd::TrustStore;
use proofmill_fixtures::{Case, Minted, Photos, World as Minting};
use proofmill_telemetry::{Metrics, SystemClock};
use proofmill_worker::face::{DeviceChoice, FaceService, PackTerms, pack_folder};
use proofmill_worker::settings::BatchArgs;

/// Countries, people and a face stage.
pub struct Gallery {
    pub minting: Minting,
    pub trust: Arc<TrustStore>,
    pub faces: Arc<FaceService>,
}

impl Gallery {
    /// `None`, and a line that says why, where set-up has not run.
    pub fn load() -> Option<Self> {
        let minting = minting()?;
        let folder = tempfile::tempdir().unwrap();
        minting.write_trust(folder.path()).unwrap();
        let trust = proofmill_worker::trust::load(&[folder.path().to_owned()], 1).unwrap();
        let metrics = Arc::new(Metrics::new(&proofmill_worker::build_info("test")).unwrap());
        let faces =
            FaceService::start(&pack()?, &PackTerms::default(), DeviceChoice::Cpu, 2, &BatchArgs::default(), metrics)
                .unwrap();
        Some(Self { minting, trust: Arc::new(trust), faces: Arc::new(faces) })
    }

    /// A submission of a case, its chip's answer to the attempt's challenge included.
    pub fn evidence(&self, case: Case, index: u64, challenge: &[u8; 8]) -> Evidence {
        evidence(&self.minting.submission(case, index), challenge)
    }
}

/// The pack's folder, if it is there.
pub fn pack() -> Option<std::path::PathBuf> {
    let asked = std::env::var_os("PROOFMILL_MODELS").map(std::path::PathBuf::from);
    let pack = pack_folder(asked.as_deref());
    if pack.join("pack.toml").is_file() {
        Some(pack)
    } else {
        println!("skipped: no model pack in {}; `cargo xtask setup` fetches it", pack.display());
        None
    }
}

/// Countries and people as of now, if the photos are there.
pub fn minting() -> Option<Minting> {
    match Photos::load(&Photos::default_folder()) {
        Ok(photos) => {
            let now: Timestamp = SystemClock.now();
            let at = jiff::Timestamp::from_second(now.as_secs()).unwrap();
            Some(Minting::mint(1, at, photos))
        }
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

pub fn evidence(minted: &Minted, challenge: &[u8; 8]) -> Evidence {
    let passport = &minted.passport;
    let mut evidence = Evidence::new();
    let parts = [
        (Part::Sod, Some(passport.sod.clone())),
        (Part::Dg1, Some(passport.dg1.clone())),
        (Part::Dg2, Some(passport.dg2.clone())),
        (Part::Dg14, passport.dg14.clone()),
        (Part::Dg15, passport.dg15.clone()),
        (Part::CardSecurity, passport.card_security.clone()),
        (Part::ActiveAuthentication, minted.active_authentication(challenge)),
        (Part::ChipAuthentication, minted.integrator_transcript().map(|json| json.to_string().into_bytes())),
    ];
    for (part, bytes) in parts {
        if let Some(bytes) = bytes {
            evidence.insert(part, bytes).unwrap();
        }
    }
    for selfie in &minted.selfies {
        evidence.push_selfie(selfie.clone()).unwrap();
    }
    evidence
}
