//! From the list's pictures to embeddings, each picture once, a bounded number of them in memory at a time.

use anyhow::Context as _;
use indicatif::ProgressBar;
use proofmill_face::face::replay::Detail;
use proofmill_face::{Chip, Embedding, FaceReason, RgbImage, distance};
use rayon::prelude::*;

use super::pairs::{Listed, Pair};
use crate::face_tools::{Instrument, PictureError, Role, read_picture};

/// Faces in one pass of the embedder.
const EMBEDDED_AT_ONCE: usize = 32;

/// What became of a picture.
pub enum Acquired {
    /// The file could not be read: that is no result, neither good nor bad.
    Unread(PictureError),
    /// It was read and gives no face that could be compared.
    Failed(&'static str),
    /// It shows a face.
    Face(Box<AcquiredFace>),
}

/// The dominant face of a picture, ready to be compared.
pub struct AcquiredFace {
    embedding: Embedding,
    detail: Option<Detail>,
    reference: Result<(), FaceReason>,
    probe: Result<(), FaceReason>,
}

/// How to acquire and compare.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// Whether pictures must pass the gates of their role.
    pub gates: bool,
    /// Whether to run the replay guard on each pair.
    pub replay_guard: bool,
}

/// What became of a pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Compared {
    /// A picture's file could not be read.
    Unread,
    /// Failure to acquire: why, of the reference and of the probe.
    NotAcquired(Option<&'static str>, Option<&'static str>),
    /// They were compared.
    Distance {
        /// Between the two faces.
        distance: f32,
        /// Whether the replay guard holds one picture for a copy of the other, if it was asked.
        copy: Option<bool>,
    },
}

impl Acquired {
    /// Why the picture cannot serve in a role, if it cannot.
    pub fn failure(&self, role: Role, gates: bool) -> Option<&'static str> {
        match self {
            Self::Unread(_) => None,
            Self::Failed(reason) => Some(reason),
            Self::Face(face) => {
                let passed = match role {
                    Role::Reference => face.reference,
                    Role::Probe => face.probe,
                };
                passed.err().filter(|_| gates).map(|reason| reason.as_str())
            }
        }
    }

    /// Whether the file could be read.
    pub fn was_read(&self) -> bool {
        !matches!(self, Self::Unread(_))
    }
}

/// Looks at every picture; in order.
///
/// # Errors
/// The engine failed. A picture that cannot be read is a result, not an error.
pub fn acquire(
    instrument: &Instrument,
    pictures: &[Listed],
    conditions: Conditions,
    bar: &ProgressBar,
) -> anyhow::Result<Vec<Acquired>> {
    let limits = instrument.limits();
    let mut done = Vec::with_capacity(pictures.len());
    let mut waiting = Vec::new();
    // Decoded pictures are what takes memory: as many as there are threads, and at least a small batch for the detector.
    for wave in pictures.chunks(instrument.threads.clamp(4, 32)) {
        let images: Vec<Result<RgbImage, PictureError>> =
            wave.par_iter().map(|picture| read_picture(&picture.path, &limits)).collect();
        let decoded: Vec<&RgbImage> = images.iter().flatten().collect();
        let mut observations = instrument.observe(&decoded).context("the detector failed")?.into_iter();
        for image in &images {
            match image {
                Err(error @ PictureError::File { .. }) => done.push(Acquired::Unread(error.clone())),
                Err(error) => done.push(Acquired::Failed(error.code())),
                Ok(_) => {
                    let observation = observations.next().context("the detector lost a picture")?;
                    let (reference, probe) = (observation.gates(Role::Reference), observation.gates(Role::Probe));
                    done.push(Acquired::Failed(FaceReason::NoFace.as_str()));
                    if let Some(face) = observation.face {
                        waiting.push(Waiting { at: done.len() - 1, chip: face.chip, reference, probe });
                    }
                }
            }
        }
        if waiting.len() >= EMBEDDED_AT_ONCE {
            embed(instrument, &mut waiting, conditions, &mut done)?;
        }
        bar.inc(wave.len() as u64);
    }
    embed(instrument, &mut waiting, conditions, &mut done)?;
    Ok(done)
}

/// A face that has not been embedded yet.
struct Waiting {
    at: usize,
    chip: Chip,
    reference: Result<(), FaceReason>,
    probe: Result<(), FaceReason>,
}

fn embed(
    instrument: &Instrument,
    waiting: &mut Vec<Waiting>,
    conditions: Conditions,
    done: &mut [Acquired],
) -> anyhow::Result<()> {
    let chips: Vec<&Chip> = waiting.iter().map(|face| &face.chip).collect();
    let embeddings = instrument.matcher.embed(&chips).context("the embedder failed")?;
    for (face, embedding) in waiting.drain(..).zip(embeddings) {
        let Waiting { at, chip, reference, probe } = face;
        let detail = conditions.replay_guard.then(|| Detail::of(&chip));
        if let Some(place) = done.get_mut(at) {
            *place = Acquired::Face(Box::new(AcquiredFace { embedding, detail, reference, probe }));
        }
    }
    Ok(())
}

/// Compares every pair; in order.
///
/// # Errors
/// The pack gave something that is no number.
pub fn compare(
    instrument: &Instrument,
    acquired: &[Acquired],
    pairs: &[Pair],
    conditions: Conditions,
) -> anyhow::Result<Vec<Compared>> {
    let copy_from = instrument.matcher.policy().replay.correlation;
    pairs
        .par_iter()
        .map(|pair| {
            let (Some(a), Some(b)) = (acquired.get(pair.a), acquired.get(pair.b)) else { return Ok(Compared::Unread) };
            if !a.was_read() || !b.was_read() {
                return Ok(Compared::Unread);
            }
            let failures = (a.failure(Role::Reference, conditions.gates), b.failure(Role::Probe, conditions.gates));
            let (Acquired::Face(a), Acquired::Face(b), (None, None)) = (a, b, failures) else {
                return Ok(Compared::NotAcquired(failures.0, failures.1));
            };
            let distance = distance(&a.embedding, &b.embedding);
            anyhow::ensure!(distance.is_finite(), "the model pack gave a distance that is no number");
            let details = a.detail.as_ref().zip(b.detail.as_ref());
            let copy = details.map(|(a, b)| a.correlation(b) >= copy_from);
            Ok(Compared::Distance { distance, copy })
        })
        .collect()
}
