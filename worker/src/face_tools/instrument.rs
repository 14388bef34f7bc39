//! A model pack on one device, and what it sees in a picture.

use std::path::PathBuf;

use anyhow::Context as _;
use proofmill_face::{
    Bounds, Chip, DecodeLimits, Detection, EngineError, FaceReason, GatePolicy, Matcher, OperatingPoint, Quality,
    RgbImage, Source, face::gate, measure,
};
use rayon::prelude::*;

use crate::face::{self, DeviceChoice, GateArgs};
use crate::settings;

/// Model pack, device and threads.
#[derive(clap::Args, Clone, Debug)]
pub struct ToolArgs {
    /// Model pack folder, or a folder of packs [default: where `cargo xtask setup` puts it]
    #[arg(long, value_name = "DIR", env = "PROOFMILL_MODELS")]
    pub pack: Option<PathBuf>,
    /// Where the networks run; of several CUDA devices, the first
    #[arg(long, value_enum, default_value = "auto", env = "PROOFMILL_DEVICE")]
    pub device: DeviceChoice,
    /// Processor threads, for pictures and for libtorch alike [default: one per core]
    #[arg(long, value_name = "N", env = "PROOFMILL_THREADS", value_parser = settings::thread_count)]
    pub threads: Option<usize>,
    /// Limits of the face gates
    #[command(flatten)]
    pub gates: GateArgs,
}

impl ToolArgs {
    /// Loads the pack and builds its networks.
    ///
    /// # Errors
    /// The pack is absent, not the one it claims to be, or does not fit the device.
    pub fn open(&self) -> anyhow::Result<Instrument> {
        let threads = settings::processor_threads(self.threads);
        let folder = face::pack_folder(self.pack.as_deref());
        let device = *face::devices(self.device)?.first().context("no device to run on")?;
        let pack = face::load(&folder, face::FOR_TOOLS)?;
        let points = pack.operating_points().to_vec();
        let mut policy = pack.policy();
        self.gates.apply(&mut policy)?;
        let matcher = Matcher::with_policy(pack, device, threads, policy)
            .with_context(|| format!("cannot build the model pack {} on {device}", folder.display()))?;
        Ok(Instrument { matcher, points, threads })
    }
}

/// Which of the two pictures of a comparison one is: each has gates of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The one on file: the portrait of the document.
    Reference,
    /// The one that is presented: the selfie.
    Probe,
}

/// A model pack on one device.
pub struct Instrument {
    /// The face path.
    pub matcher: Matcher,
    /// The thresholds that the pack offers.
    pub points: Vec<OperatingPoint>,
    /// Processor threads.
    pub threads: usize,
}

/// What one picture shows.
pub struct Observation {
    /// Width and height, in pixels.
    pub size: (usize, usize),
    /// Faces at or above the score floor.
    pub faces: usize,
    /// The widest of them.
    pub face: Option<ObservedFace>,
    reference: Gates,
    probe: Gates,
}

/// What the gates of one role say of a picture.
#[derive(Clone, Debug)]
pub struct Gates {
    /// Faces that count.
    pub counted: usize,
    /// Whether that is exactly one.
    pub single: Result<(), FaceReason>,
    /// What the others say of the dominant face, in the order in which they decide; none without a face.
    pub results: Vec<gate::GateResult>,
}

/// The dominant face of a picture.
pub struct ObservedFace {
    /// Where it is.
    pub detection: Detection,
    /// What can be measured about it.
    pub quality: Quality,
    /// It alone, aligned.
    pub chip: Chip,
}

impl Observation {
    /// Whether the picture passes the gates of its role, or the first that it does not.
    pub fn gates(&self, role: Role) -> Result<(), FaceReason> {
        let gates = self.all_gates(role);
        gates.single?;
        gates.results.iter().find_map(|result| result.reason).map_or(Ok(()), Err)
    }

    /// What every gate of a role says.
    pub fn all_gates(&self, role: Role) -> &Gates {
        match role {
            Role::Reference => &self.reference,
            Role::Probe => &self.probe,
        }
    }
}

impl Instrument {
    /// Limits on a picture before decoding: what one of the two roles would take.
    pub fn limits(&self) -> DecodeLimits {
        let policy = self.matcher.policy();
        let (a, b) = (&policy.portrait_limits, &policy.selfie_limits);
        DecodeLimits {
            max_bytes: a.max_bytes.max(b.max_bytes),
            max_pixels: a.max_pixels.max(b.max_pixels),
            max_side: a.max_side.max(b.max_side),
        }
    }

    /// Finds, aligns and measures the faces of pictures; in order.
    ///
    /// # Errors
    /// The engine failed; that is no picture's fault.
    pub fn observe(&self, images: &[&RgbImage]) -> Result<Vec<Observation>, EngineError> {
        let found = self.matcher.detect(images)?;
        self.align(images, found)
    }

    /// The second half of [`Self::observe`], from what the detector found in each picture.
    ///
    /// # Errors
    /// As there.
    pub fn align(&self, images: &[&RgbImage], found: Vec<Vec<Detection>>) -> Result<Vec<Observation>, EngineError> {
        images.par_iter().zip(found).map(|(image, found)| self.look(image, &found)).collect()
    }

    fn look(&self, image: &RgbImage, found: &[Detection]) -> Result<Observation, EngineError> {
        let policy = self.matcher.policy();
        let size = (image.width(), image.height());
        let floor = policy.portrait.score_floor.min(policy.selfie.score_floor);
        let faces = || found.iter().filter(|face| face.score >= floor);
        let widest = faces().max_by(|a, b| a.bounds.width.total_cmp(&b.bounds.width));
        let face = match widest {
            None => None,
            Some(detection) => {
                let chip = self.matcher.plan_chip(image, detection)?.render();
                let quality = measure(&Source::of(image, detection), detection, &chip);
                Some(ObservedFace { detection: detection.clone(), quality, chip })
            }
        };
        let gates = |policy: &GatePolicy| {
            let single = match (gate::dominant(found, policy), &face) {
                (Ok(dominant), Some(face)) if same(&dominant.bounds, &face.detection.bounds) => Ok(()),
                // The roles disagree about which face it is: then there is more than one.
                (Ok(_), Some(_)) => Err(FaceReason::SeveralFaces),
                (Ok(_), None) => Err(FaceReason::NoFace),
                (Err(reason), _) => Err(reason),
            };
            let results = face.iter().flat_map(|face| gate::results(&face.quality, policy)).collect();
            Gates { counted: gate::counted(found, policy).len(), single, results }
        };
        let (reference, probe) = (gates(&policy.portrait), gates(&policy.selfie));
        Ok(Observation { size, faces: faces().count(), face, reference, probe })
    }
}

fn same(a: &Bounds, b: &Bounds) -> bool {
    a == b
}
