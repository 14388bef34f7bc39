//! The whole face path over a batch of attempts.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::compare::{Distances, Finding, Thresholds};
use crate::decode::{Format, decode_as, memory};
use crate::device::{Device, discover};
use crate::engine::{self, Engine, EngineStatus};
use crate::error::EngineError;
use crate::face::arcface::Alignment;
use crate::face::chip::{Chip, ChipPlan};
use crate::face::detect::{self, Detection};
use crate::face::gate;
use crate::face::landmarker::Landmarker;
use crate::face::landmarks::{self, Landmarks, search_box};
use crate::face::letterbox::LetterboxPlan;
use crate::face::quality::{Source, measure};
use crate::face::replay::Detail;
use crate::geometry::PixelRect;
use crate::image::{DecodeLimits, ImageError, RgbImage};
use crate::outcome::{FaceFailure, FaceOutcome, FaceReason, FaceVerdict};
use crate::pack::{Aligner, DETECTOR_INPUT, Metric, Pack, PackIdentity};
use crate::policy::{GatePolicy, MatchPolicy};
use crate::presentation::{PresentationAttack, PresentationAttackDetector};

/// Half precision moves a distance by up to 0.0014 (bfloat16 by 0.0045). What comes this near a
/// threshold is computed again in single precision, so that every device gives the processor's
/// verdict.
const MARGIN: f32 = 0.01;

/// What the chip's portrait may be (ICAO 9303-10, ISO/IEC 19794-5).
const PORTRAIT_FORMATS: [Format; 2] = [Format::Jpeg, Format::Jpeg2000];
/// What a selfie frame may be.
const SELFIE_FORMATS: [Format; 1] = [Format::Jpeg];

/// A loaded pack on a device, and the policy that decides.
pub struct Matcher {
    identity: PackIdentity,
    threshold: f32,
    policy: MatchPolicy,
    device: Device,
    aligner: Aligner,
    /// Of packs that bring one.
    landmarker: Option<Landmarker>,
    /// Of the embedder's input.
    side: usize,
    anchors: Vec<[f32; 2]>,
    engine: Engine,
    recomputed: AtomicU64,
    presentation: Option<Arc<dyn PresentationAttackDetector>>,
}

/// One attempt's pictures, decoded and ready for a batch. Wiped when dropped; it has no `Debug`.
pub struct Prepared {
    portrait: Picture,
    frames: Vec<Picture>,
    /// Given back once the pictures are gone: fields are dropped in this order.
    _held: Option<Box<dyn Any + Send + Sync>>,
}

struct Picture {
    image: RgbImage,
    input: Box<LetterboxPlan>,
}

/// Numbers that stand for a face, and how they are compared. Wiped when dropped; it has no
/// `Debug`.
#[derive(Clone)]
pub struct Embedding {
    values: Zeroizing<Vec<f32>>,
    metric: Metric,
}

impl Embedding {
    /// Takes the numbers of an embedding made elsewhere, to be compared by Euclidean distance;
    /// `None` unless there are some.
    pub fn new(values: Vec<f32>) -> Option<Self> {
        Self::measured_by(values, Metric::Euclidean)
    }

    /// The same, to be compared by `metric`.
    pub fn measured_by(values: Vec<f32>, metric: Metric) -> Option<Self> {
        let values = Zeroizing::new(values);
        (!values.is_empty()).then_some(Self { values, metric })
    }

    /// The numbers.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

/// The distance between two faces, by the metric of their pack; the same person up to the
/// threshold. Embeddings that cannot be compared, of different packs, are infinitely far apart.
pub fn distance(a: &Embedding, b: &Embedding) -> f32 {
    if a.metric != b.metric || a.values.len() != b.values.len() {
        return f32::INFINITY;
    }
    let pairs = || a.values.iter().zip(b.values.iter());
    match a.metric {
        Metric::Euclidean => pairs().map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt(),
        Metric::Cosine => {
            // In 64 bits: near 1 the cosine of two copies would lose what tells them apart.
            let sum = |values: &mut dyn Iterator<Item = (f32, f32)>| -> f64 {
                values.map(|(a, b)| f64::from(a) * f64::from(b)).sum()
            };
            let dot = sum(&mut pairs().map(|(a, b)| (*a, *b)));
            let norms = sum(&mut pairs().map(|(a, _)| (*a, *a))) * sum(&mut pairs().map(|(_, b)| (*b, *b)));
            let cosine = dot / norms.sqrt();
            if cosine.is_finite() { (1.0 - cosine).clamp(0.0, 2.0) as f32 } else { f32::INFINITY }
        }
    }
}

impl Matcher {
    /// Builds the networks of `pack` on `device` under the pack's own policy. libtorch will use
    /// `threads` threads, process-wide; 0 leaves its own choice.
    pub fn new(pack: Pack, device: Device, threads: usize) -> Result<Self, EngineError> {
        let policy = pack.policy();
        Self::with_policy(pack, device, threads, policy)
    }

    /// Like [`Self::new`], under a policy of the operator's.
    pub fn with_policy(pack: Pack, device: Device, threads: usize, policy: MatchPolicy) -> Result<Self, EngineError> {
        // Also when the processor is wanted: this must come before libtorch's first use.
        let devices = discover();
        if device != Device::Cpu && !devices.contains(&device) {
            return Err(EngineError::NoDevice(device.to_string()));
        }
        let Pack { mut identity, operating_points, detector, aligner, embedder, .. } = pack;
        if let Some(name) = &policy.operating_point {
            identity.operating_point.clone_from(name);
        }
        let threshold = operating_points
            .iter()
            .find(|point| point.name == identity.operating_point)
            .map(|point| point.threshold)
            .ok_or_else(|| {
                let known: Vec<&str> = operating_points.iter().map(|point| point.name.as_str()).collect();
                EngineError::Config(format!(
                    "pack {} has no operating point {:?}; it has {}",
                    identity.name,
                    identity.operating_point,
                    known.join(", ")
                ))
            })?;
        policy.check().map_err(|error| EngineError::Config(error.to_string()))?;
        if policy.compared_frames == 0 || policy.max_frames == 0 {
            return Err(EngineError::Config("max_frames and compared_frames must be at least 1".to_owned()));
        }
        match i32::try_from(threads) {
            // The cores run networks side by side, each single-threaded.
            _ if device == Device::Cpu => tch::set_num_threads(1),
            Ok(threads) if threads > 0 => tch::set_num_threads(threads),
            _ => {}
        }
        let landmarker = match &aligner {
            Aligner::Arcface4 { points: Some(points), .. } => Some(Landmarker::build(points)?),
            Aligner::Arcface4 { points: None, .. } | Aligner::Dlib5 { .. } => None,
        };
        let engine = Engine::build(&detector, &embedder, device, threads)?;
        let matcher = Self {
            identity,
            threshold,
            policy,
            device,
            aligner,
            landmarker,
            side: embedder.side(),
            anchors: detect::anchors(),
            engine,
            recomputed: AtomicU64::new(0),
            presentation: None,
        };
        matcher.self_check()?;
        Ok(matcher)
    }

    /// The same, with a detector of presentation attacks. Without one, nobody looks, and every
    /// outcome says so.
    pub fn with_presentation_attack_detector(mut self, detector: Arc<dyn PresentationAttackDetector>) -> Self {
        self.presentation = Some(detector);
        self
    }

    /// Which model and threshold decide: goes on record with each verdict.
    pub fn identity(&self) -> &PackIdentity {
        &self.identity
    }

    /// Where the networks run.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The policy that decides.
    pub fn policy(&self) -> &MatchPolicy {
        &self.policy
    }

    /// Two faces match when their distance is at most this.
    pub fn threshold(&self) -> f32 {
        self.threshold
    }

    /// What the engine has done since it started; for metrics.
    pub fn status(&self) -> EngineStatus {
        EngineStatus { recomputed: self.recomputed.load(Ordering::Relaxed), ..self.engine.status() }
    }

    /// Whether the device still works: the self-test that it passed when it was built.
    pub(crate) fn probe(&self) -> Result<(), EngineError> {
        self.self_check()
    }

    /// How many batches may be matched at once.
    pub(crate) fn lanes(&self) -> usize {
        self.engine.lanes()
    }

    /// Bytes that [`Self::prepare`] takes at most while it lasts, by what the pictures' headers declare.
    pub fn memory(&self, portrait: &[u8], selfies: &[&[u8]]) -> usize {
        let needs = |bytes: &[u8], limits: &DecodeLimits| match memory(bytes, limits) {
            0 => 0,
            decoding => decoding + LetterboxPlan::MOST,
        };
        let frames = selfies.iter().take(self.policy.max_frames);
        needs(portrait, &self.policy.portrait_limits)
            + frames.map(|selfie| needs(selfie, &self.policy.selfie_limits)).sum::<usize>()
    }

    /// Decodes the portrait and the selfie frames, on the processor; call it from any thread.
    /// Frames are decoded in parallel when called inside a rayon pool with room. Without frames the
    /// portrait is judged alone: it is unusable, or there is nothing to compare it with.
    pub fn prepare(&self, portrait: &[u8], selfies: &[&[u8]]) -> Result<Prepared, FaceFailure> {
        if selfies.len() > self.policy.max_frames {
            return Err(FaceFailure::Selfie(FaceReason::FrameCount));
        }
        let unreadable = |error: ImageError| FaceReason::ImageUnreadable(error.fault());
        let portrait = Picture::decode(portrait, &self.policy.portrait_limits, &PORTRAIT_FORMATS)
            .map_err(|error| FaceFailure::Portrait(unreadable(error)))?;
        // The same file twice needs no decoding to be known.
        if selfies.iter().enumerate().any(|(index, selfie)| selfies[index + 1..].contains(selfie)) {
            return Err(FaceFailure::Selfie(FaceReason::FramesIdentical));
        }
        let frames = selfies
            .par_iter()
            .map(|selfie| Picture::decode(selfie, &self.policy.selfie_limits, &SELFIE_FORMATS))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| FaceFailure::Selfie(unreadable(error)))?;
        if frames.iter().enumerate().any(|(index, frame)| frames[index + 1..].iter().any(|other| frame.same(other))) {
            return Err(FaceFailure::Selfie(FaceReason::FramesIdentical));
        }
        Ok(Prepared { portrait, frames, _held: None })
    }

    /// Detects, gates, aligns, embeds and compares a batch of attempts: one outcome for each, in
    /// order. An outcome does not depend on its neighbours.
    pub fn match_batch(&self, batch: &[Prepared]) -> Result<Vec<FaceOutcome>, EngineError> {
        let inputs: Vec<&LetterboxPlan> =
            batch.iter().flat_map(|attempt| attempt.pictures().map(|picture| &*picture.input)).collect();
        let mut detections = self.detect_inputs(&inputs)?.into_iter();

        // Find each picture's one face and plan its chip; make all chips; judge them.
        let chosen: Vec<Result<Chosen, FaceVerdict>> = batch
            .iter()
            .map(|attempt| {
                let count = 1 + attempt.frames.len();
                self.choose(attempt, detections.by_ref().take(count).collect())
            })
            .collect();
        let faces: Vec<(&RgbImage, &Detection)> = chosen.iter().flatten().flat_map(Chosen::faces).collect();
        let mut plans = self.plan_all(&faces)?.into_iter();
        let planned: Vec<Result<Planned, FaceVerdict>> =
            chosen.into_iter().map(|attempt| attempt.and_then(|attempt| attempt.planned(&mut plans))).collect();
        let plans: Vec<&ChipPlan> = planned.iter().flatten().flat_map(Planned::plans).collect();
        let mut aligned = self.engine.align(&plans)?.into_iter();
        let with_chips: Vec<Result<(Planned, Vec<engine::Aligned>), FaceVerdict>> = planned
            .into_iter()
            .map(|attempt| {
                let attempt = attempt?;
                let chips = aligned.by_ref().take(attempt.plans().count()).collect();
                Ok((attempt, chips))
            })
            .collect();
        let mut usable: Vec<Result<Usable, FaceVerdict>> = with_chips
            .into_par_iter()
            .map(|attempt| attempt.and_then(|(attempt, aligned)| self.judge(attempt, aligned)))
            .collect();

        self.embed_missing(usable.iter_mut().flatten().flat_map(Usable::faces_mut).collect())?;
        self.recompute_near(usable.iter_mut().flatten().collect())?;
        usable
            .into_par_iter()
            .zip(batch)
            .map(|(usable, attempt)| match usable {
                Ok(usable) => self.present(attempt, self.decide(&usable)),
                Err(verdict) => Ok(verdict.into()),
            })
            .collect()
    }

    /// Finds the faces of each picture, best first.
    pub fn detect(&self, images: &[&RgbImage]) -> Result<Vec<Vec<Detection>>, EngineError> {
        let inputs: Vec<LetterboxPlan> = images.par_iter().map(|image| LetterboxPlan::new(image)).collect();
        self.detect_inputs(&inputs.iter().collect::<Vec<_>>())
    }

    /// Plans how a detected face is cut out: the chip, and what else the embedder needs.
    ///
    /// # Errors
    /// A landmarker of the pack's own failed; nothing else can.
    pub fn plan_chip(&self, image: &RgbImage, detection: &Detection) -> Result<ChipPlan, EngineError> {
        let side = match &self.aligner {
            Aligner::Dlib5 { .. } => return Ok(ChipPlan::new(image, &self.landmarks(image, detection))),
            Aligner::Arcface4 { side, .. } => *side,
        };
        let alignment = match &self.landmarker {
            Some(landmarker) => Alignment::of_five(&landmarker.points(image, detection)?),
            None => Alignment::of(detection),
        };
        Ok(ChipPlan::arcface(image, alignment.as_ref(), side))
    }

    /// Places the five landmarks of a detected face. Where the pack has no such trees, they
    /// are those of a mean face with the detector's eyes, nose and mouth.
    pub fn landmarks(&self, image: &RgbImage, detection: &Detection) -> Landmarks {
        match &self.aligner {
            Aligner::Dlib5 { predictor, box_scale } => {
                landmarks::predict(predictor, image, &search_box(&detection.bounds, *box_scale))
            }
            Aligner::Arcface4 { .. } => {
                Alignment::of(detection).map_or(Landmarks([[0, 0]; 5]), |alignment| alignment.landmarks())
            }
        }
    }

    /// Places the five landmarks of the face that fills `area`; `None` where the pack has no
    /// model of them.
    pub fn landmarks_in(&self, image: &RgbImage, area: &PixelRect) -> Option<Landmarks> {
        match &self.aligner {
            Aligner::Dlib5 { predictor, .. } => Some(landmarks::predict(predictor, image, area)),
            Aligner::Arcface4 { .. } => None,
        }
    }

    /// Turns aligned faces into embeddings, in single precision on any device. A device that runs
    /// out of memory gets half the batch.
    pub fn embed(&self, chips: &[&Chip]) -> Result<Vec<Embedding>, EngineError> {
        self.engine.embed(chips)
    }

    /// Makes chips and embeddings of plans as a batch does: on a CUDA device both in one pass, the
    /// embeddings in half precision.
    pub fn align(&self, plans: &[&ChipPlan]) -> Result<Vec<(Chip, Embedding)>, EngineError> {
        let mut faces: Vec<Face> = self
            .engine
            .align(plans)?
            .into_iter()
            .map(|aligned| Face { chip: aligned.chip, embedding: aligned.embedding, rank: 0.0 })
            .collect();
        self.embed_missing(faces.iter_mut().collect())?;
        Ok(faces.into_iter().filter_map(|face| Some((face.chip, face.embedding?))).collect())
    }

    fn detect_inputs(&self, inputs: &[&LetterboxPlan]) -> Result<Vec<Vec<Detection>>, EngineError> {
        let seen = self.engine.detect(inputs)?;
        let pictures = seen.iter().zip(inputs);
        Ok(pictures
            .map(|(seen, input)| detect::decode(&seen.regressors, &seen.scores, &self.anchors, input.frame))
            .collect())
    }

    /// The portrait's one face, and each frame's.
    fn choose<'a>(&self, attempt: &'a Prepared, found: Vec<Vec<Detection>>) -> Result<Chosen<'a>, FaceVerdict> {
        let (portrait, frames) = found.split_first().ok_or(FaceVerdict::PortraitUnusable(FaceReason::NoFace))?;
        let one = |found: &[Detection], policy: &GatePolicy| gate::dominant(found, policy).cloned();
        Ok(Chosen {
            attempt,
            portrait: one(portrait, &self.policy.portrait).map_err(FaceVerdict::PortraitUnusable)?,
            frames: frames.iter().map(|found| one(found, &self.policy.selfie)).collect(),
        })
    }

    /// Plans the chips of faces, an equal part of them on each core. Fails only with the engine.
    fn plan_all(&self, faces: &[(&RgbImage, &Detection)]) -> Result<Vec<FacePlan>, EngineError> {
        let part = faces.len().div_ceil(rayon::current_num_threads()).max(1);
        // What is near in time shares a cache: few faces at once, and everything about them before the next.
        let few = |faces: &[(&RgbImage, &Detection)]| {
            faces.chunks(landmarks::ABREAST).map(|faces| self.plan_few(faces)).collect::<Result<Vec<_>, _>>()
        };
        let parts = faces.par_chunks(part).map(few).collect::<Result<Vec<_>, _>>()?;
        Ok(parts.into_iter().flatten().flatten().collect())
    }

    fn plan_few(&self, faces: &[(&RgbImage, &Detection)]) -> Result<Vec<FacePlan>, EngineError> {
        // First what reads a face from its first row to its last: memory is quickest then, and the landmarks, which look
        // here and there, find it in the cache.
        let sources: Vec<Source> = faces.iter().map(|(image, found)| Source::of(image, found)).collect();
        let chips: Vec<ChipPlan> = match &self.aligner {
            Aligner::Dlib5 { predictor, box_scale } => {
                let areas: Vec<(&RgbImage, PixelRect)> =
                    faces.iter().map(|(image, found)| (*image, search_box(&found.bounds, *box_scale))).collect();
                let landmarks = landmarks::predict_all(predictor, &areas);
                faces.iter().zip(&landmarks).map(|((image, _), landmarks)| ChipPlan::new(image, landmarks)).collect()
            }
            Aligner::Arcface4 { .. } => {
                faces.iter().map(|(image, found)| self.plan_chip(image, found)).collect::<Result<_, _>>()?
            }
        };
        Ok(chips.into_iter().zip(sources).map(|(chip, source)| FacePlan { chip, source }).collect())
    }

    /// The gates before a comparison.
    fn judge(&self, attempt: Planned, aligned: Vec<engine::Aligned>) -> Result<Usable, FaceVerdict> {
        let mut aligned = aligned.into_iter();
        let mut face = |planned: PlannedFace, policy: &GatePolicy| {
            // One for each plan; the engine answers for the number.
            let engine::Aligned { chip, embedding } = aligned.next().ok_or(FaceReason::NoFace)?;
            let quality = measure(&planned.plan.source, &planned.detection, &chip);
            gate::check(&quality, policy)?;
            Ok(Face { rank: quality.rank(planned.detection.score), chip, embedding })
        };
        let portrait = face(attempt.portrait, &self.policy.portrait).map_err(FaceVerdict::PortraitUnusable)?;
        let mut usable = Vec::new();
        let mut failure: Option<FaceReason> = None;
        for planned in attempt.frames {
            match planned.and_then(|planned| face(planned, &self.policy.selfie)) {
                Ok(face) => usable.push(face),
                // Somebody else in one frame makes the whole attempt doubtful.
                Err(FaceReason::SeveralFaces) => {
                    return Err(FaceVerdict::LivenessFailed(FaceReason::SeveralFaces));
                }
                // The reason of the frame that came furthest is the one worth telling.
                Err(reason) => {
                    failure = Some(match failure {
                        Some(earlier) if earlier != FaceReason::NoFace => earlier,
                        _ => reason,
                    });
                }
            }
        }
        if usable.is_empty() {
            // Only where there are no frames at all did none of them fail.
            let reason = failure.unwrap_or(FaceReason::FrameCount);
            return Err(FaceVerdict::LivenessFailed(reason));
        }
        usable.sort_by(|a, b| b.rank.total_cmp(&a.rank));
        Ok(Usable { portrait, frames: usable })
    }

    /// Embeds the faces that came without an embedding.
    fn embed_missing(&self, faces: Vec<&mut Face>) -> Result<(), EngineError> {
        let mut missing: Vec<&mut Face> = faces.into_iter().filter(|face| face.embedding.is_none()).collect();
        let embeddings = self.engine.embed(&missing.iter().map(|face| &face.chip).collect::<Vec<_>>())?;
        for (face, embedding) in missing.iter_mut().zip(embeddings) {
            face.embedding = Some(embedding);
        }
        Ok(())
    }

    /// Embeds anew, in single precision, the faces of attempts that half precision leaves open.
    fn recompute_near(&self, attempts: Vec<&mut Usable>) -> Result<(), EngineError> {
        if !self.engine.approximates() {
            return Ok(());
        }
        let near = |attempt: &Usable| {
            self.distances(attempt).is_none_or(|distances| distances.undecided(self.thresholds(), MARGIN))
        };
        let open: Vec<&mut Usable> = attempts.into_iter().filter(|attempt| near(attempt)).collect();
        self.recomputed.fetch_add(open.len() as u64, Ordering::Relaxed);
        let mut faces: Vec<&mut Face> = open.into_iter().flat_map(Usable::faces_mut).collect();
        for face in &mut faces {
            face.embedding = None;
        }
        self.embed_missing(faces)
    }

    fn distances(&self, attempt: &Usable) -> Option<Distances> {
        let frames: Vec<Embedding> = attempt.frames.iter().map(|face| face.embedding.clone()).collect::<Option<_>>()?;
        Distances::of(attempt.portrait.embedding.as_ref()?, &frames, self.policy.compared_frames)
    }

    fn thresholds(&self) -> Thresholds {
        Thresholds { frames: self.policy.frames_threshold.unwrap_or(self.threshold), portrait: self.threshold }
    }

    fn decide(&self, attempt: &Usable) -> FaceVerdict {
        let finding = match self.distances(attempt) {
            Some(distances) => distances.finding(self.thresholds()),
            None => return FaceVerdict::PortraitUnusable(FaceReason::NoFace),
        };
        if finding == Finding::FramesDiffer {
            return FaceVerdict::LivenessFailed(FaceReason::FramesDiffer);
        }
        let portrait = Detail::of(&attempt.portrait.chip);
        let copies = |face: &Face| portrait.correlation(&Detail::of(&face.chip)) >= self.policy.replay.correlation;
        let copied = attempt.frames.iter().any(copies);
        if copied {
            return FaceVerdict::LivenessFailed(FaceReason::PortraitReplay);
        }
        if finding == Finding::Match { FaceVerdict::Match } else { FaceVerdict::Mismatch }
    }

    /// Asks the detector of presentation attacks, where there is one, about frames that nothing
    /// else speaks against.
    fn present(&self, attempt: &Prepared, verdict: FaceVerdict) -> Result<FaceOutcome, EngineError> {
        let presentation_attack = match (&self.presentation, verdict) {
            (Some(detector), FaceVerdict::Match | FaceVerdict::Mismatch) => {
                let frames: Vec<&RgbImage> = attempt.frames.iter().map(|frame| &frame.image).collect();
                detector.judge(&frames)?
            }
            _ => PresentationAttack::NotPerformed,
        };
        let verdict = match presentation_attack {
            PresentationAttack::Attack => FaceVerdict::LivenessFailed(FaceReason::PresentationAttack),
            PresentationAttack::BonaFide | PresentationAttack::NotPerformed => verdict,
        };
        Ok(FaceOutcome { verdict, presentation_attack })
    }

    /// Runs each network once: a graph that does not fit together fails here, at start, and the
    /// first real batch does not pay for libtorch's warm-up. A network that tells nothing apart, or
    /// whose numbers depend on what else is in the batch, is refused: it would decide wrongly.
    fn self_check(&self) -> Result<(), EngineError> {
        let grey = vec![128u8; DETECTOR_INPUT * DETECTOR_INPUT * 3];
        if let Some(image) = RgbImage::new(DETECTOR_INPUT, DETECTOR_INPUT, grey) {
            self.detect(&[&image])?;
        }
        let chips: Vec<Chip> = [0.0, 1.0, 2.0].into_iter().filter_map(|seed| self.pattern(seed)).collect();
        let together = self.embed(&chips.iter().collect::<Vec<_>>())?;
        for (chip, expected) in chips.iter().zip(&together) {
            let alone = self.embed(&[chip])?;
            let largest = expected.values().iter().fold(0f32, |most, value| most.max(value.abs()));
            let same = |a: &f32, b: &f32| (a - b).abs() <= 1e-3 * largest;
            if !alone.iter().all(|alone| alone.values().iter().zip(expected.values()).all(|(a, b)| same(a, b))) {
                return Err(EngineError::Config(format!(
                    "the embedder of pack {} gives a face other numbers in another batch",
                    self.identity.name
                )));
            }
        }
        let apart = together.windows(2).all(|pair| match pair {
            [a, b] => distance(a, b) > 1e-6,
            _ => true,
        });
        if !apart {
            return Err(EngineError::Config(format!(
                "the embedder of pack {} gives different pictures the same numbers",
                self.identity.name
            )));
        }
        Ok(())
    }

    /// A picture with detail in it, as the embedder takes it.
    fn pattern(&self, seed: f32) -> Option<Chip> {
        let pixels = |side: usize| -> Vec<u8> {
            let value = |x: usize, y: usize, c: usize| {
                let (x, y) = (x as f32 / side as f32, y as f32 / side as f32);
                let wave = ((9.0 + 4.0 * seed) * x + c as f32).sin() * ((7.0 - 2.0 * seed) * y + seed).cos();
                (128.0 + 30.0 * (seed - 1.0) + 80.0 * wave) as u8
            };
            (0..side).flat_map(|y| (0..side).flat_map(move |x| (0..3).map(move |c| value(x, y, c)))).collect()
        };
        let chip = Chip::new(pixels(Chip::SIDE))?;
        Some(if self.side == Chip::SIDE { chip } else { chip.with_crop(pixels(self.side)) })
    }
}

/// An attempt whose portrait shows one face, and whether its frames do.
struct Chosen<'a> {
    attempt: &'a Prepared,
    portrait: Detection,
    frames: Vec<Result<Detection, FaceReason>>,
}

impl Chosen<'_> {
    /// The faces and the pictures that they are in.
    fn faces(&self) -> impl Iterator<Item = (&RgbImage, &Detection)> {
        let frames = self.attempt.frames.iter().zip(&self.frames);
        let frames = frames.filter_map(|(picture, found)| Some((&picture.image, found.as_ref().ok()?)));
        std::iter::once((&self.attempt.portrait.image, &self.portrait)).chain(frames)
    }

    /// With the plans of its faces, in the order of [`Self::faces`].
    fn planned(self, plans: &mut impl Iterator<Item = FacePlan>) -> Result<Planned, FaceVerdict> {
        // There is one for each face.
        let mut with_plan = |detection: Detection| -> Result<PlannedFace, FaceReason> {
            Ok(PlannedFace { detection, plan: plans.next().ok_or(FaceReason::NoFace)? })
        };
        Ok(Planned {
            portrait: with_plan(self.portrait).map_err(FaceVerdict::PortraitUnusable)?,
            frames: self.frames.into_iter().map(|found| found.and_then(&mut with_plan)).collect(),
        })
    }
}

/// The same: what to cut out, and why not where a frame does not.
struct Planned {
    portrait: PlannedFace,
    frames: Vec<Result<PlannedFace, FaceReason>>,
}

struct PlannedFace {
    detection: Detection,
    plan: FacePlan,
}

struct FacePlan {
    chip: ChipPlan,
    /// The picture it lies in.
    source: Source,
}

impl Planned {
    fn plans(&self) -> impl Iterator<Item = &ChipPlan> {
        std::iter::once(&self.portrait).chain(self.frames.iter().flatten()).map(|face| &face.plan.chip)
    }
}

/// An attempt whose pictures passed their gates: chips, frames best first.
struct Usable {
    portrait: Face,
    frames: Vec<Face>,
}

struct Face {
    chip: Chip,
    embedding: Option<Embedding>,
    rank: f32,
}

impl Usable {
    fn faces_mut(&mut self) -> impl Iterator<Item = &mut Face> {
        std::iter::once(&mut self.portrait).chain(&mut self.frames)
    }
}

impl Prepared {
    /// The same pictures, and something that is dropped when they have been: a place in a budget, say.
    pub fn holding(self, held: impl Send + Sync + 'static) -> Self {
        Self { _held: Some(Box::new(held)), ..self }
    }

    /// How many selfie frames there are; none where the portrait is judged alone.
    pub fn frames(&self) -> usize {
        self.frames.len()
    }

    /// Memory that the pictures hold, in bytes.
    pub fn bytes(&self) -> usize {
        self.pictures().map(|picture| picture.image.data().len() + picture.input.bytes()).sum()
    }

    fn pictures(&self) -> impl Iterator<Item = &Picture> {
        std::iter::once(&self.portrait).chain(&self.frames)
    }
}

impl Picture {
    fn decode(bytes: &[u8], limits: &DecodeLimits, formats: &[Format]) -> Result<Self, ImageError> {
        let image = decode_as(bytes, limits, formats)?;
        let input = Box::new(LetterboxPlan::new(&image));
        Ok(Self { image, input })
    }

    /// Two moments before a camera differ at least in its noise, whatever the encoder does.
    fn same(&self, other: &Self) -> bool {
        self.image.width() == other.image.width() && self.image.data() == other.image.data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_the_packs_own() {
        let by = |metric| move |values: &[f32]| Embedding::measured_by(values.to_vec(), metric).unwrap();
        let (euclidean, cosine) = (by(Metric::Euclidean), by(Metric::Cosine));
        assert_eq!(distance(&euclidean(&[0.0, 3.0]), &euclidean(&[4.0, 0.0])), 5.0);
        assert_eq!(distance(&cosine(&[0.0, 3.0]), &cosine(&[4.0, 0.0])), 1.0);
        assert_eq!(distance(&cosine(&[1.0, 2.0]), &cosine(&[10.0, 20.0])), 0.0);
        assert_eq!(distance(&cosine(&[1.0, 2.0]), &cosine(&[-1.0, -2.0])), 2.0);
    }

    #[test]
    fn what_cannot_be_compared_is_never_near() {
        let by = |metric| move |values: &[f32]| Embedding::measured_by(values.to_vec(), metric).unwrap();
        let (euclidean, cosine) = (by(Metric::Euclidean), by(Metric::Cosine));
        assert_eq!(distance(&euclidean(&[1.0]), &euclidean(&[1.0, 0.0])), f32::INFINITY);
        assert_eq!(distance(&euclidean(&[1.0]), &cosine(&[1.0])), f32::INFINITY);
        assert_eq!(distance(&cosine(&[0.0, 0.0]), &cosine(&[0.0, 0.0])), f32::INFINITY);
        assert!(Embedding::new(Vec::new()).is_none());
    }

    #[test]
    fn a_matcher_can_be_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Matcher>();
        shared::<Prepared>();
    }
}
