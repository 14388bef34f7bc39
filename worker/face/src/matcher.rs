//! The whole face path over a batch of attempts.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::decode::decode;
use crate::device::{Device, discover};
use crate::error::EngineError;
use crate::face::chip::{Chip, chip};
use crate::face::detect::{self, Detection};
use crate::face::gate;
use crate::face::landmarks::{self, Landmarks, search_box};
use crate::face::letterbox::{Letterboxed, letterbox};
use crate::face::quality::measure;
use crate::face::replay;
use crate::geometry::PixelRect;
use crate::image::{DecodeLimits, ImageError, RgbImage};
use crate::net::{self, graph::Graph, resnet::ResNet};
use crate::outcome::{FaceFailure, FaceOutcome, FaceReason, FaceVerdict};
use crate::pack::dlib::resnet::OUTPUT as EMBEDDING;
use crate::pack::dlib::shape::ShapePredictor;
use crate::pack::{DETECTOR_INPUT, DETECTOR_VALUES, Pack, PackIdentity};
use crate::policy::MatchPolicy;

/// Pictures that go through a network at once. Larger batches bring nothing on a processor and
/// only cost memory.
const CHUNK: usize = 32;

/// A loaded pack on a device, and the policy that decides.
pub struct Matcher {
    identity: PackIdentity,
    threshold: f32,
    policy: MatchPolicy,
    device: Device,
    predictor: ShapePredictor,
    box_scale: f32,
    anchors: Vec<[f32; 2]>,
    /// One forward pass at a time: a second one would only compete for the same cores or device.
    networks: Mutex<Networks>,
}

struct Networks {
    detector: Graph,
    /// Which output of the detector holds boxes and points, which the scores.
    boxes: usize,
    scores: usize,
    embedder: ResNet,
}

/// One attempt's pictures, decoded and ready for a batch. Wiped when dropped; it has no `Debug`.
pub struct Prepared {
    portrait: Picture,
    frames: Vec<Picture>,
}

struct Picture {
    image: RgbImage,
    input: Letterboxed,
}

/// 128 numbers that stand for a face; faces are compared by Euclidean distance. Wiped when
/// dropped; it has no `Debug`.
#[derive(Clone)]
pub struct Embedding(Zeroizing<Vec<f32>>);

impl Embedding {
    /// Takes the numbers of an embedding made elsewhere; `None` unless there are 128.
    pub fn new(values: Vec<f32>) -> Option<Self> {
        let values = Zeroizing::new(values);
        (values.len() == EMBEDDING).then_some(Self(values))
    }

    /// The numbers.
    pub fn values(&self) -> &[f32] {
        &self.0
    }
}

/// Euclidean distance between two faces; 0 to about 1.5, the same person below the threshold.
pub fn distance(a: &Embedding, b: &Embedding) -> f32 {
    let sum: f32 = a.0.iter().zip(b.0.iter()).map(|(a, b)| (a - b) * (a - b)).sum();
    sum.sqrt()
}

impl Matcher {
    /// Builds the networks of `pack` on `device` under the default policy. libtorch will use
    /// `threads` threads, process-wide; 0 leaves its own choice.
    pub fn new(pack: Pack, device: Device, threads: usize) -> Result<Self, EngineError> {
        Self::with_policy(pack, device, threads, MatchPolicy::default())
    }

    /// Like [`Self::new`], under a policy of the operator's.
    pub fn with_policy(pack: Pack, device: Device, threads: usize, policy: MatchPolicy) -> Result<Self, EngineError> {
        // Also when the processor is wanted: this must come before libtorch's first use.
        let devices = discover();
        if device != Device::Cpu && !devices.contains(&device) {
            return Err(EngineError::NoDevice(device.to_string()));
        }
        let Pack { mut identity, operating_points, detector, predictor, embedder, box_scale } = pack;
        if let Some(name) = &policy.operating_point {
            identity.operating_point.clone_from(name);
        }
        let threshold = operating_points
            .iter()
            .find(|point| point.name == identity.operating_point)
            .map(|point| point.threshold)
            .ok_or_else(|| {
                EngineError::Config(format!(
                    "pack {} has no operating point {:?}",
                    identity.name, identity.operating_point
                ))
            })?;
        if policy.compared_frames == 0 || policy.max_frames == 0 {
            return Err(EngineError::Config("max_frames and compared_frames must be at least 1".to_owned()));
        }
        if let Ok(threads) = i32::try_from(threads)
            && threads > 0
        {
            tch::set_num_threads(threads);
        }
        let _no_grad = tch::no_grad_guard();
        let last = |output: usize| detector.shapes[detector.outputs[output]].last().copied();
        let boxes = usize::from(last(0) != Some(DETECTOR_VALUES));
        let networks = Networks {
            boxes,
            scores: 1 - boxes,
            detector: Graph::build(&detector, device.torch())?,
            embedder: ResNet::build(&embedder, device.torch())?,
        };
        let matcher = Self {
            identity,
            threshold,
            policy,
            device,
            predictor,
            box_scale,
            anchors: detect::anchors(),
            networks: Mutex::new(networks),
        };
        matcher.self_check()?;
        Ok(matcher)
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

    /// Decodes the portrait and the selfie frames, on the processor; call it from any thread.
    /// Frames are decoded in parallel when called inside a rayon pool with room.
    pub fn prepare(&self, portrait: &[u8], selfies: &[&[u8]]) -> Result<Prepared, FaceFailure> {
        if selfies.is_empty() || selfies.len() > self.policy.max_frames {
            return Err(FaceFailure::Selfie(FaceReason::FrameCount));
        }
        let unreadable = |error: ImageError| FaceReason::ImageUnreadable(error.fault());
        let portrait = Picture::decode(portrait, &self.policy.portrait_limits)
            .map_err(|error| FaceFailure::Portrait(unreadable(error)))?;
        let frames = selfies
            .par_iter()
            .map(|selfie| Picture::decode(selfie, &self.policy.selfie_limits))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| FaceFailure::Selfie(unreadable(error)))?;
        Ok(Prepared { portrait, frames })
    }

    /// Detects, gates, aligns, embeds and compares a batch of attempts: one outcome for each, in
    /// order. An outcome does not depend on its neighbours.
    pub fn match_batch(&self, batch: &[Prepared]) -> Result<Vec<FaceOutcome>, EngineError> {
        let inputs: Vec<&Letterboxed> =
            batch.iter().flat_map(|attempt| attempt.pictures().map(|picture| &picture.input)).collect();
        let mut detections = self.detect_inputs(&inputs)?.into_iter();
        let found: Vec<(&Prepared, Vec<Vec<Detection>>)> = batch
            .iter()
            .map(|attempt| {
                let count = 1 + attempt.frames.len();
                (attempt, detections.by_ref().take(count).collect())
            })
            .collect();

        let gated: Vec<Result<Aligned, FaceVerdict>> =
            found.into_par_iter().map(|(attempt, detections)| self.align(attempt, &detections)).collect();

        let chips: Vec<&Chip> = gated.iter().flatten().flat_map(Aligned::chips).collect();
        let mut embeddings = self.embed(&chips)?.into_iter();
        let compared: Vec<Result<(&Aligned, Vec<Embedding>), FaceVerdict>> = gated
            .iter()
            .map(|attempt| {
                let attempt = attempt.as_ref().map_err(|verdict| *verdict)?;
                let count = attempt.chips().count();
                Ok((attempt, embeddings.by_ref().take(count).collect()))
            })
            .collect();
        Ok(compared
            .into_par_iter()
            .map(|attempt| match attempt {
                Ok((attempt, embeddings)) => self.decide(attempt, &embeddings),
                Err(verdict) => verdict,
            })
            .map(|verdict| FaceOutcome { verdict })
            .collect())
    }

    /// Finds the faces of each picture, best first.
    pub fn detect(&self, images: &[&RgbImage]) -> Result<Vec<Vec<Detection>>, EngineError> {
        let inputs: Vec<Letterboxed> = images.par_iter().map(|image| letterbox(image)).collect();
        self.detect_inputs(&inputs.iter().collect::<Vec<_>>())
    }

    /// Places the five landmarks of a detected face.
    pub fn landmarks(&self, image: &RgbImage, detection: &Detection) -> Landmarks {
        self.landmarks_in(image, &search_box(&detection.bounds, self.box_scale))
    }

    /// Places the five landmarks of the face that fills `area`.
    pub fn landmarks_in(&self, image: &RgbImage, area: &PixelRect) -> Landmarks {
        landmarks::predict(&self.predictor, image, area)
    }

    /// Turns aligned faces into embeddings. A device that runs out of memory gets half the batch.
    pub fn embed(&self, chips: &[&Chip]) -> Result<Vec<Embedding>, EngineError> {
        let mut out = Vec::with_capacity(chips.len());
        let mut chunk = CHUNK;
        let mut rest = chips;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(chunk.min(rest.len()));
            match self.embed_chunk(now) {
                Ok(embeddings) => {
                    out.extend(embeddings);
                    rest = later;
                }
                Err(EngineError::OutOfMemory(_)) if now.len() > 1 => chunk = now.len() / 2,
                Err(error) => return Err(error),
            }
        }
        Ok(out)
    }

    fn embed_chunk(&self, chips: &[&Chip]) -> Result<Vec<Embedding>, EngineError> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(chips.len() * Chip::SIDE * Chip::SIDE * 3));
        for chip in chips {
            bytes.extend_from_slice(chip.pixels());
        }
        let _no_grad = tch::no_grad_guard();
        let mut input = net::pixels(&bytes, chips.len(), Chip::SIDE)?;
        let values = {
            let networks = self.networks();
            let output = networks.embedder.forward(&input)?;
            Zeroizing::new(net::values(&output)?)
        };
        let _ = input.f_zero_()?;
        let embeddings: Vec<Embedding> =
            values.chunks_exact(EMBEDDING).map(|values| Embedding(Zeroizing::new(values.to_vec()))).collect();
        if embeddings.len() != chips.len() || values.iter().any(|value| !value.is_finite()) {
            return Err(EngineError::Torch("the embedder returned no numbers".to_owned()));
        }
        Ok(embeddings)
    }

    fn detect_inputs(&self, inputs: &[&Letterboxed]) -> Result<Vec<Vec<Detection>>, EngineError> {
        let mut out = Vec::with_capacity(inputs.len());
        for chunk in inputs.chunks(CHUNK) {
            let mut bytes = Zeroizing::new(Vec::with_capacity(chunk.len() * DETECTOR_INPUT * DETECTOR_INPUT * 3));
            for input in chunk {
                bytes.extend_from_slice(&input.pixels);
            }
            let _no_grad = tch::no_grad_guard();
            let mut pixels = net::pixels(&bytes, chunk.len(), DETECTOR_INPUT)?;
            let (regressors, scores) = {
                let networks = self.networks();
                let input = net::graph::normalise(&pixels.f_to_device(self.device.torch())?)?;
                let outputs = networks.detector.forward(&input)?;
                (net::values(&outputs[networks.boxes])?, net::values(&outputs[networks.scores])?)
            };
            let _ = pixels.f_zero_()?;
            let per_picture = self.anchors.len();
            let pictures =
                regressors.chunks_exact(per_picture * DETECTOR_VALUES).zip(scores.chunks_exact(per_picture)).zip(chunk);
            out.extend(
                pictures.map(|((regressors, scores), input)| {
                    detect::decode(regressors, scores, &self.anchors, input.frame)
                }),
            );
        }
        if out.len() == inputs.len() {
            Ok(out)
        } else {
            Err(EngineError::Torch("the detector returned too little".to_owned()))
        }
    }

    /// The gates before a comparison: the portrait's one face, and the usable frames' faces.
    fn align(&self, attempt: &Prepared, detections: &[Vec<Detection>]) -> Result<Aligned, FaceVerdict> {
        let (portrait, frames) = detections.split_first().ok_or(FaceVerdict::PortraitUnusable(FaceReason::NoFace))?;
        let portrait = self
            .usable_face(&attempt.portrait.image, portrait, &self.policy.portrait)
            .map_err(FaceVerdict::PortraitUnusable)?;

        let mut usable = Vec::new();
        let mut failure: Option<FaceReason> = None;
        for (picture, found) in attempt.frames.iter().zip(frames) {
            match self.usable_face(&picture.image, found, &self.policy.selfie) {
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
            let reason = failure.unwrap_or(FaceReason::NoFace);
            return Err(FaceVerdict::LivenessFailed(reason));
        }
        usable.sort_by(|a, b| b.rank.total_cmp(&a.rank));
        Ok(Aligned { portrait, frames: usable })
    }

    fn usable_face(
        &self,
        image: &RgbImage,
        detections: &[Detection],
        policy: &crate::policy::GatePolicy,
    ) -> Result<Face, FaceReason> {
        let detection = gate::dominant(detections, policy)?;
        let chip = chip(image, &self.landmarks(image, detection));
        let quality = measure(image, detection, &chip);
        gate::check(&quality, policy)?;
        Ok(Face { rank: quality.rank(detection.score), chip })
    }

    fn decide(&self, attempt: &Aligned, embeddings: &[Embedding]) -> FaceVerdict {
        let Some((portrait, frames)) = embeddings.split_first() else {
            return FaceVerdict::PortraitUnusable(FaceReason::NoFace);
        };
        let same = self.policy.frames_threshold.unwrap_or(self.threshold);
        for (index, frame) in frames.iter().enumerate() {
            if frames[index + 1..].iter().any(|other| distance(frame, other) > same) {
                return FaceVerdict::LivenessFailed(FaceReason::FramesDiffer);
            }
        }
        let copied = attempt
            .frames
            .iter()
            .any(|frame| replay::correlation(&attempt.portrait.chip, &frame.chip) >= self.policy.replay.correlation);
        if copied {
            return FaceVerdict::LivenessFailed(FaceReason::PortraitReplay);
        }
        // The frames are sorted best first.
        let distances =
            frames.iter().take(self.policy.compared_frames).map(|frame| distance(portrait, frame)).collect();
        match median(distances) {
            Some(distance) if distance <= self.threshold => FaceVerdict::Match,
            _ => FaceVerdict::Mismatch,
        }
    }

    /// Runs each network once: a graph that does not fit together fails here, at start, and the
    /// first real batch does not pay for libtorch's warm-up.
    fn self_check(&self) -> Result<(), EngineError> {
        let grey = |side: usize| vec![128u8; side * side * 3];
        let image = RgbImage::new(DETECTOR_INPUT, DETECTOR_INPUT, grey(DETECTOR_INPUT));
        if let Some(image) = image {
            self.detect(&[&image])?;
        }
        if let Some(chip) = Chip::new(grey(Chip::SIDE)) {
            self.embed(&[&chip])?;
        }
        Ok(())
    }

    fn networks(&self) -> MutexGuard<'_, Networks> {
        // The networks are never changed, so a panic elsewhere leaves them whole.
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The median; of an even number, the mean of the middle two.
fn median(mut values: Vec<f32>) -> Option<f32> {
    values.sort_by(f32::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some((values.get(values.len() / 2 - 1)? + upper) / 2.0)
}

/// An attempt whose pictures passed their gates: chips, frames best first.
struct Aligned {
    portrait: Face,
    frames: Vec<Face>,
}

struct Face {
    chip: Chip,
    rank: f32,
}

impl Aligned {
    fn chips(&self) -> impl Iterator<Item = &Chip> {
        std::iter::once(&self.portrait).chain(&self.frames).map(|face| &face.chip)
    }
}

impl Prepared {
    /// Memory that the pictures hold, in bytes.
    pub fn bytes(&self) -> usize {
        self.pictures().map(|picture| picture.image.data().len() + picture.input.pixels.len()).sum()
    }

    fn pictures(&self) -> impl Iterator<Item = &Picture> {
        std::iter::once(&self.portrait).chain(&self.frames)
    }
}

impl Picture {
    fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Self, ImageError> {
        let image = decode(bytes, limits)?;
        let input = letterbox(&image);
        Ok(Self { image, input })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_middle_two() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![0.5]), Some(0.5));
        assert_eq!(median(vec![0.9, 0.1, 0.4]), Some(0.4));
        assert_eq!(median(vec![0.2, 0.4]), Some(0.3));
    }

    #[test]
    fn a_matcher_can_be_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Matcher>();
        shared::<Prepared>();
    }
}
