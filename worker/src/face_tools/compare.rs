//! `face compare`: two pictures, their faces, the gates and the distance. A development tool.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use clap::Subcommand;
use proofmill_face::face::{gate, replay};
use proofmill_face::{Detection, FaceReason, PackIdentity, Quality, RgbImage, distance};
use serde::Serialize;

use super::instrument::{Instrument, Observation, Role, ToolArgs};
use super::picture::{PictureError, read_picture};
use super::printable;

/// What every answer says about itself.
const NOTICE: &str =
    "development tool: the product never shows a distance, and decides on several frames under a policy";

const COMPARE_HELP: &str = "\
A development tool: it shows the distance, which the product never does. A is judged as a document's portrait, B as a selfie.
`decision` is about the distance alone; `gates` says what the product would refuse. Everything stays on this machine.
A pack that is not for commercial use runs here without being asked for: its licence is yours to keep.

Exit status: 0 match, 1 no match or no face, 2 could not run (a picture cannot be read, the pack does not load)";

/// `proofmill-worker face`.
#[derive(Subcommand, Debug)]
pub enum FaceCommand {
    /// Compare the faces of two pictures (development tool)
    #[command(after_help = COMPARE_HELP)]
    Compare(CompareArgs),
}

/// `proofmill-worker face compare`.
#[derive(clap::Args, Debug)]
pub struct CompareArgs {
    /// The reference: JPEG, JPEG 2000 or PNG
    pub a: PathBuf,
    /// The probe: JPEG, JPEG 2000 or PNG
    pub b: PathBuf,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// Model pack, device and threads
    #[command(flatten)]
    pub tool: ToolArgs,
}

/// Runs the command; the answer is the process's exit status.
///
/// # Errors
/// The pack does not load, the engine fails, or the output cannot be written.
pub fn run(command: &FaceCommand) -> anyhow::Result<u8> {
    let FaceCommand::Compare(args) = command;
    let started = Instant::now();
    let instrument = args.tool.open()?;
    let answer = compare(&instrument, &args.a, &args.b, started)?;
    let mut out = io::stdout().lock();
    let written = if args.json { json(&answer, &mut out) } else { text(&answer, &mut out) };
    match written.and_then(|()| out.flush()) {
        // Whoever read has enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(2),
        written => written.context("cannot write the comparison")?,
    }
    Ok(answer.exit_status())
}

/// The answer, as it is written.
#[derive(Serialize)]
struct Answer {
    notice: &'static str,
    /// Between the dominant faces; null when there is none.
    distance: Option<f32>,
    threshold: f32,
    decision: Decision,
    /// Why there is no distance.
    reason: Option<&'static str>,
    a: Side,
    b: Side,
    gates: Vec<Gate>,
    pack: PackIdentity,
    device: String,
    ms: Times,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Decision {
    Match,
    NoMatch,
    /// There is no distance.
    NotCompared,
}

#[derive(Serialize)]
struct Side {
    file: String,
    width: Option<usize>,
    height: Option<usize>,
    /// Faces above the score floor.
    faces: usize,
    /// The detector's, of the dominant face.
    score: Option<f32>,
    r#box: Option<Box4>,
    points: Option<Points>,
    quality: Option<Quality>,
    error: Option<Fault>,
}

#[derive(Serialize)]
struct Box4 {
    x: f32,
    y: f32,
    width: f32,
    height: f32,
}

/// The detector's points, in pixels; the person's right is the picture's left.
#[derive(Serialize)]
struct Points {
    right_eye: [f32; 2],
    left_eye: [f32; 2],
    nose: [f32; 2],
    mouth: [f32; 2],
    right_ear: [f32; 2],
    left_ear: [f32; 2],
}

#[derive(Serialize)]
struct Fault {
    code: &'static str,
    message: String,
}

/// A gate of the product, and whether it would let the picture or the pair pass.
#[derive(Clone, Copy, Serialize)]
struct Gate {
    /// `a` is judged as a portrait, `b` as a selfie; null for both together.
    picture: Option<&'static str>,
    gate: &'static str,
    passed: bool,
    reason: Option<&'static str>,
    /// What was measured; null where nothing could be.
    value: Option<f32>,
    /// The least that passes.
    least: Option<f32>,
    /// The most that passes.
    most: Option<f32>,
}

/// How long each step took, in milliseconds; of both pictures together.
#[derive(Default, Serialize)]
struct Times {
    /// Loading the pack and building its networks.
    start: f64,
    decode: f64,
    detect: f64,
    align: f64,
    embed: f64,
    replay: f64,
    total: f64,
}

impl Answer {
    fn exit_status(&self) -> u8 {
        let broken = self.a.error.is_some() || self.b.error.is_some();
        match self.decision {
            Decision::Match => 0,
            Decision::NotCompared if broken => 2,
            Decision::NoMatch | Decision::NotCompared => 1,
        }
    }
}

fn compare(instrument: &Instrument, a: &Path, b: &Path, started: Instant) -> anyhow::Result<Answer> {
    let mut ms = Times { start: since(started), ..Times::default() };
    let limits = instrument.limits();
    let step = Instant::now();
    let pictures = [a, b].map(|path| read_picture(path, &limits));
    ms.decode = since(step);

    let step = Instant::now();
    let images: Vec<&RgbImage> = pictures.iter().flatten().collect();
    let found = instrument.matcher.detect(&images).context("the detector failed")?;
    ms.detect = since(step);
    let step = Instant::now();
    let mut observed = instrument.align(&images, found)?.into_iter();
    ms.align = since(step);
    let [a_seen, b_seen] = pictures.map(|picture| match picture {
        Ok(_) => observed.next().map_or_else(|| Err(lost()), Ok),
        Err(error) => Err(error),
    });

    let mut gates = every_gate("a", Role::Reference, &a_seen);
    gates.extend(every_gate("b", Role::Probe, &b_seen));
    let threshold = instrument.matcher.threshold();
    let mut measured = None;
    let faces = [&a_seen, &b_seen].map(|seen| seen.as_ref().ok().and_then(|seen| seen.face.as_ref()));
    if let [Some(a), Some(b)] = faces {
        let step = Instant::now();
        let embeddings = instrument.matcher.embed(&[&a.chip, &b.chip]).context("the embedder failed")?;
        ms.embed = since(step);
        let [a_embedding, b_embedding] = embeddings.as_slice() else { anyhow::bail!("the embedder lost a face") };
        let value = distance(a_embedding, b_embedding);
        anyhow::ensure!(value.is_finite(), "the model pack gave a distance that is no number");
        measured = Some(value);
        let step = Instant::now();
        gates.push(replay_gate(replay::correlation(&a.chip, &b.chip), instrument.matcher.policy().replay.correlation));
        ms.replay = since(step);
    }
    let decision = match measured {
        None => Decision::NotCompared,
        Some(distance) if distance <= threshold => Decision::Match,
        Some(_) => Decision::NoMatch,
    };
    let reason = if measured.is_some() { None } else { missing(&a_seen).or_else(|| missing(&b_seen)) };
    ms.total = since(started);
    Ok(Answer {
        notice: NOTICE,
        distance: measured,
        threshold,
        decision,
        reason,
        a: Side::of(a, &a_seen),
        b: Side::of(b, &b_seen),
        gates,
        pack: instrument.matcher.identity().clone(),
        device: instrument.matcher.device().to_string(),
        ms,
    })
}

type Seen = Result<Observation, PictureError>;

/// The engine answers for the number of its results; this is for one that does not.
fn lost() -> PictureError {
    PictureError::File { code: "picture_lost", message: "the engine gave no result for it".to_owned() }
}

fn since(start: Instant) -> f64 {
    (start.elapsed().as_secs_f64() * 1e5).round() / 1e2
}

/// Why a picture has no face to compare.
fn missing(seen: &Seen) -> Option<&'static str> {
    match seen {
        Err(error) => Some(error.code()),
        Ok(seen) if seen.face.is_none() => Some(FaceReason::NoFace.as_str()),
        Ok(_) => None,
    }
}

/// Every gate of one picture, in the order in which they decide; those that need a face are not asked without one.
fn every_gate(picture: &'static str, role: Role, seen: &Seen) -> Vec<Gate> {
    let readable = Gate {
        picture: Some(picture),
        gate: "image_readable",
        passed: true,
        reason: None,
        value: None,
        least: None,
        most: None,
    };
    let seen = match seen {
        Err(error) => return vec![Gate { passed: false, reason: Some(error.code()), ..readable }],
        Ok(seen) => seen.all_gates(role),
    };
    let single = Gate {
        gate: gate::SINGLE_FACE,
        passed: seen.single.is_ok(),
        reason: seen.single.err().map(|reason| reason.as_str()),
        value: Some(seen.counted as f32),
        least: Some(1.0),
        most: Some(1.0),
        ..readable
    };
    let measured = seen.results.iter().map(|result| Gate {
        picture: Some(picture),
        gate: result.gate,
        passed: result.reason.is_none(),
        reason: result.reason.map(|reason| reason.as_str()),
        value: Some(result.value),
        least: result.least,
        most: result.most,
    });
    [readable, single].into_iter().chain(measured).collect()
}

fn replay_gate(correlation: f32, limit: f32) -> Gate {
    let copy = correlation >= limit;
    Gate {
        picture: None,
        gate: "replay",
        passed: !copy,
        reason: copy.then(|| FaceReason::PortraitReplay.as_str()),
        value: Some(correlation),
        least: None,
        most: Some(limit),
    }
}

impl Gate {
    fn name(&self) -> String {
        self.picture.map_or_else(String::new, |picture| format!("{picture} ")) + self.gate
    }

    fn limits(&self) -> String {
        let limit =
            |word: &str, limit: Option<f32>| limit.map_or_else(String::new, |limit| format!(", {word} {limit}"));
        limit("least", self.least) + &limit("most", self.most)
    }
}

impl Side {
    fn of(path: &Path, seen: &Seen) -> Self {
        let face = seen.as_ref().ok().and_then(|seen| seen.face.as_ref());
        let size = seen.as_ref().ok().map(|seen| seen.size);
        Self {
            file: path.display().to_string(),
            width: size.map(|size| size.0),
            height: size.map(|size| size.1),
            faces: seen.as_ref().map_or(0, |seen| seen.faces),
            score: face.map(|face| face.detection.score),
            r#box: face.map(|face| Box4::of(&face.detection)),
            points: face.map(|face| Points::of(&face.detection)),
            quality: face.map(|face| face.quality),
            error: seen.as_ref().err().map(|error| Fault { code: error.code(), message: error.to_string() }),
        }
    }
}

impl Box4 {
    fn of(detection: &Detection) -> Self {
        let bounds = &detection.bounds;
        Self { x: bounds.x, y: bounds.y, width: bounds.width, height: bounds.height }
    }
}

impl Points {
    fn of(detection: &Detection) -> Self {
        let [right_eye, left_eye, nose, mouth, right_ear, left_ear] = detection.points.map(|point| [point.x, point.y]);
        Self { right_eye, left_eye, nose, mouth, right_ear, left_ear }
    }
}

fn json(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, answer)?;
    writeln!(out)
}

fn text(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    let (verdict, relation) = match answer.decision {
        Decision::Match => ("MATCH", "at most"),
        Decision::NoMatch => ("NO MATCH", "more than"),
        Decision::NotCompared => ("NOT COMPARED", ""),
    };
    let PackIdentity { name, version, operating_point, .. } = &answer.pack;
    match answer.distance {
        Some(distance) => writeln!(out, "{verdict}  distance {distance:.4}, {relation} {}", answer.threshold)?,
        None => writeln!(out, "{verdict}  {}", answer.reason.unwrap_or("no distance"))?,
    }
    let refused = answer.gates.iter().filter_map(|gate| Some(format!("{} ({})", gate.reason?, gate.name())));
    let refused = refused.collect::<Vec<_>>().join(", ");
    if answer.distance.is_some() && !refused.is_empty() {
        writeln!(out, "  the product would refuse this pair: {refused}")?;
    }
    for (letter, side) in [("A", &answer.a), ("B", &answer.b)] {
        writeln!(out, "  {letter}  {}", printable(&side.file))?;
        if let Some(error) = &side.error {
            writeln!(out, "     {}: {}", error.code, printable(&error.message))?;
            continue;
        }
        let (width, height) = (side.width.unwrap_or(0), side.height.unwrap_or(0));
        writeln!(out, "     {width}x{height} pixels, faces: {}", side.faces)?;
        if let (Some(bounds), Some(score)) = (&side.r#box, side.score) {
            let Box4 { x, y, width, height } = bounds;
            writeln!(out, "     box {x:.0},{y:.0} {width:.0}x{height:.0}, score {score:.3}")?;
        }
        if let Some(quality) = &side.quality {
            writeln!(out, "     {}", measurements(quality))?;
        }
    }
    let passed = answer.gates.iter().filter(|gate| gate.passed).count();
    writeln!(out, "  gates passed: {passed} of {}", answer.gates.len())?;
    for gate in answer.gates.iter().filter(|gate| !gate.passed) {
        let found = gate.value.map_or(String::new(), |value| format!(" ({value:.3}{})", gate.limits()));
        writeln!(out, "  gate {}: {}{found}", gate.name(), gate.reason.unwrap_or("failed"))?;
    }
    let ms = &answer.ms;
    writeln!(out, "  {name} {version}, operating point {operating_point}, on {}", answer.device)?;
    writeln!(
        out,
        "  ms: start {:.0}, decode {:.1}, detect {:.1}, align {:.1}, embed {:.1}, replay {:.1}",
        ms.start, ms.decode, ms.detect, ms.align, ms.embed, ms.replay
    )?;
    writeln!(out, "{}", answer.notice)
}

/// Names and values as the JSON has them.
fn measurements(quality: &Quality) -> String {
    let Ok(serde_json::Value::Object(members)) = serde_json::to_value(quality) else { return String::new() };
    let shown = members.iter().map(|(name, value)| match value.as_f64() {
        Some(number) => format!("{name} {number:.3}"),
        None => format!("{name} {value}"),
    });
    shown.collect::<Vec<_>>().join(", ")
}
