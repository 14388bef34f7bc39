//! From the detector's raw outputs to faces.

use super::letterbox::Frame;
use crate::geometry::{Bounds, Point};
use crate::pack::{DETECTOR_ANCHORS, DETECTOR_INPUT, DETECTOR_VALUES};

/// Points that the detector places on a face.
pub const POINTS: usize = 6;

/// A face, in the picture's pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// The detector's confidence, 0.5 to 1.
    pub score: f32,
    /// Forehead to chin, ear to ear.
    pub bounds: Bounds,
    /// Right eye, left eye (the person's), nose tip, middle of the mouth, right ear, left ear.
    pub points: [Point; POINTS],
}

/// Scores below this are noise.
pub const SCORE_MIN: f32 = 0.5;
/// Overlap (intersection over union) from which two detections are of one face.
const SAME_FACE: f32 = 0.3;
/// Raw scores are clipped to this before the logistic function.
const CLIP: f32 = 100.0;

/// The centres that the raw outputs refer to, in units of the input's side: two for each cell of
/// a 16 x 16 grid, six for each of an 8 x 8 one.
pub(crate) fn anchors() -> Vec<[f32; 2]> {
    let mut out = Vec::with_capacity(DETECTOR_ANCHORS);
    for (cells, copies) in [(16usize, 2usize), (8, 6)] {
        for row in 0..cells {
            for column in 0..cells {
                let centre = [(column as f32 + 0.5) / cells as f32, (row as f32 + 0.5) / cells as f32];
                out.extend(std::iter::repeat_n(centre, copies));
            }
        }
    }
    out
}

/// A candidate in units of the input's side.
struct Candidate {
    score: f32,
    /// Left, top, right, bottom.
    corners: [f32; 4],
    points: [[f32; 2]; POINTS],
}

/// Decodes one picture's raw outputs; the faces come best first.
pub(crate) fn decode(regressors: &[f32], scores: &[f32], anchors: &[[f32; 2]], frame: Frame) -> Vec<Detection> {
    let mut candidates: Vec<Candidate> = regressors
        .chunks_exact(DETECTOR_VALUES)
        .zip(scores)
        .zip(anchors)
        .filter_map(|((raw, score), anchor)| candidate(raw, *score, *anchor))
        .collect();
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    merge(candidates).into_iter().map(|candidate| candidate.place(frame)).collect()
}

fn candidate(raw: &[f32], score: f32, anchor: [f32; 2]) -> Option<Candidate> {
    let score = 1.0 / (1.0 + (-score.clamp(-CLIP, CLIP)).exp());
    // A network gone wrong gives NaN, which no comparison catches.
    if score < SCORE_MIN || score.is_nan() || raw.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let unit = |at: usize, axis: usize| raw[at] / DETECTOR_INPUT as f32 + anchor[axis];
    let (cx, cy) = (unit(0, 0), unit(1, 1));
    let (w, h) = (raw[2] / DETECTOR_INPUT as f32, raw[3] / DETECTOR_INPUT as f32);
    if w <= 0.0 || h <= 0.0 {
        return None;
    }
    Some(Candidate {
        score,
        corners: [cx - w / 2.0, cy - h / 2.0, cx + w / 2.0, cy + h / 2.0],
        points: std::array::from_fn(|point| [unit(4 + 2 * point, 0), unit(5 + 2 * point, 1)]),
    })
}

/// Non-maximum suppression in which a face is the mean of its candidates, weighted by score.
fn merge(mut rest: Vec<Candidate>) -> Vec<Candidate> {
    let mut faces = Vec::new();
    while let Some(best) = rest.first() {
        let corners = best.corners;
        let score = best.score;
        let (same, others): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|candidate| overlap(&candidate.corners, &corners) > SAME_FACE);
        rest = others;
        if same.is_empty() {
            // Only a box without an area does not overlap itself; decoding leaves none.
            break;
        }
        let total: f32 = same.iter().map(|candidate| candidate.score).sum();
        let mean = |of: &dyn Fn(&Candidate) -> f32| same.iter().map(|c| of(c) * c.score).sum::<f32>() / total;
        faces.push(Candidate {
            score,
            corners: std::array::from_fn(|i| mean(&|c: &Candidate| c.corners[i])),
            points: std::array::from_fn(|p| std::array::from_fn(|axis| mean(&|c: &Candidate| c.points[p][axis]))),
        });
    }
    faces
}

fn overlap(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let area = |r: &[f32; 4]| (r[2] - r[0]).max(0.0) * (r[3] - r[1]).max(0.0);
    let shared = area(&[a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    let union = area(a) + area(b) - shared;
    if union > 0.0 { shared / union } else { 0.0 }
}

impl Candidate {
    fn place(&self, frame: Frame) -> Detection {
        let [left, top, right, bottom] = self.corners;
        Detection {
            score: self.score,
            bounds: Bounds {
                x: left * frame.side + frame.left,
                y: top * frame.side + frame.top,
                width: (right - left) * frame.side,
                height: (bottom - top) * frame.side,
            },
            points: self.points.map(|[x, y]| Point { x: x * frame.side + frame.left, y: y * frame.side + frame.top }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Frame = Frame { side: 256.0, left: 0.0, top: -64.0 };

    /// Raw outputs in which the given anchors see a face of this size right at their centre.
    fn raw(faces: &[(usize, f32, f32)]) -> (Vec<f32>, Vec<f32>) {
        let mut regressors = vec![0.0; DETECTOR_ANCHORS * DETECTOR_VALUES];
        let mut scores = vec![-200.0; DETECTOR_ANCHORS];
        for (anchor, score, size) in faces {
            scores[*anchor] = *score;
            regressors[anchor * DETECTOR_VALUES + 2] = *size;
            regressors[anchor * DETECTOR_VALUES + 3] = *size;
        }
        (regressors, scores)
    }

    #[test]
    fn there_are_as_many_anchors_as_outputs() {
        let anchors = anchors();
        assert_eq!(anchors.len(), DETECTOR_ANCHORS);
        assert_eq!(anchors[0], [1.0 / 32.0, 1.0 / 32.0]);
        assert_eq!(anchors[512], [1.0 / 16.0, 1.0 / 16.0]);
    }

    #[test]
    fn overlapping_candidates_become_one_face_weighted_by_score() {
        // Anchors 0 and 1 share a centre; anchor 511 is the opposite corner.
        let (regressors, scores) = raw(&[(0, 2.0, 20.0), (1, 0.0, 30.0), (511, 1.0, 20.0)]);
        let faces = decode(&regressors, &scores, &anchors(), WHOLE);
        assert_eq!(faces.len(), 2);
        let (high, low) = (1.0 / (1.0 + (-2f32).exp()), 0.5);
        let expected = (20.0 * high + 30.0 * low) / (high + low) * 2.0;
        assert!((faces[0].bounds.width - expected).abs() < 1e-3);
        assert_eq!(faces[0].score, high);
        assert!(faces[0].score > faces[1].score);
        // The picture is 256 wide and 128 high: the square begins 64 pixels above it.
        assert!((faces[0].points[2].x - 8.0).abs() < 1e-4);
        assert!((faces[0].points[2].y + 56.0).abs() < 1e-4);
    }

    #[test]
    fn weak_candidates_and_numbers_that_are_none_are_dropped() {
        let (mut regressors, scores) = raw(&[(0, -0.1, 20.0), (600, 3.0, 20.0), (700, 3.0, -5.0)]);
        regressors[600 * DETECTOR_VALUES + 5] = f32::NAN;
        assert!(decode(&regressors, &scores, &anchors(), WHOLE).is_empty());
    }
}
