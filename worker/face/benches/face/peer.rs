//! Ours against dlib's Python pipeline, on the same files in the same run.

use std::path::{Path, PathBuf};
use std::process::Command;

use proofmill_face::{FaceVerdict, Matcher};

use crate::common::pictures::{jpeg, photo, scaled};
use crate::timing::{Clock, in_turns};

/// The photographs: each as a portrait against each other one as a selfie.
const PHOTOS: [&str; 5] = ["obama.jpg", "obama2.jpg", "obama3.jpg", "biden.jpg", "astronaut.png"];
/// dlib's threshold, which is the default pack's too.
const THRESHOLD: f64 = 0.6;

#[derive(serde::Deserialize)]
struct Peer {
    pipeline: String,
    ms_per_pair: f64,
    distances: Vec<Option<f64>>,
}

pub fn run(matcher: &Matcher, on_one_core: impl FnOnce(&mut (dyn FnMut() + Send))) {
    let folder = tempfile::tempdir().unwrap();
    let Some(pairs) = write(folder.path()) else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/peers/dlib_pairs.py");
    let python = std::env::var_os("PROOFMILL_PEER_PYTHON").unwrap_or_else(|| "python3".into());
    let output = Command::new(&python).arg(script).arg(folder.path().join("pairs.csv")).output();
    let text = match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        Ok(output) => return println!("the peer failed: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => return println!("skipped: {} does not run: {error}", Path::new(&python).display()),
    };
    let peers: Vec<Peer> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if peers.is_empty() {
        return print!("{text}");
    }

    let mut ours = Vec::new();
    on_one_core(&mut || {
        let attempt = |(a, b): &(PathBuf, PathBuf)| {
            matcher.prepare(&std::fs::read(a).unwrap(), &[&std::fs::read(b).unwrap()]).unwrap()
        };
        let verdicts = |size: usize| -> Vec<bool> {
            let batches = pairs
                .chunks(size)
                .flat_map(|batch| matcher.match_batch(&batch.iter().map(attempt).collect::<Vec<_>>()).unwrap());
            batches.map(|outcome| outcome.verdict == FaceVerdict::Match).collect()
        };
        for size in [1usize, 8] {
            let [run] = in_turns(3, Clock::Processor, [&mut || drop(verdicts(size))]);
            ours.push((size, run.median.as_secs_f64() * 1e3 / pairs.len() as f64, verdicts(size)));
        }
    });
    println!("{} pairs, portraits 413 pixels wide, selfies 864; processor time of one core.\n", pairs.len());
    println!(
        "| peer | its ms a pair | ours, one at a time | ours, 8 at a time | same decisions |\n|---|---|---|---|---|"
    );
    for peer in &peers {
        let decided: Vec<bool> =
            peer.distances.iter().map(|distance| distance.is_some_and(|distance| distance <= THRESHOLD)).collect();
        let same = ours[0].2.iter().zip(&decided).filter(|(a, b)| a == b).count();
        let cell = |(_, ms, _): &(usize, f64, Vec<bool>)| format!("{ms:.1} ms: {:.1} x", peer.ms_per_pair / ms);
        let [one, eight] = [&ours[0], &ours[1]].map(cell);
        println!("| {} | {:.1} | {one} | {eight} | {same} of {} |", peer.pipeline, peer.ms_per_pair, pairs.len());
    }
}

/// Writes the pictures and the list of pairs, and returns the pairs.
fn write(folder: &Path) -> Option<Vec<(PathBuf, PathBuf)>> {
    let mut pairs = Vec::new();
    let mut list = String::from("a,b\n");
    for (index, name) in PHOTOS.iter().enumerate() {
        let picture = photo(name)?;
        std::fs::write(folder.join(format!("portrait-{index}.jpg")), jpeg(&scaled(&picture, 413), 75)).unwrap();
        let selfie = if picture.width() > 864 { scaled(&picture, 864) } else { picture };
        std::fs::write(folder.join(format!("selfie-{index}.jpg")), jpeg(&selfie, 85)).unwrap();
    }
    for a in 0..PHOTOS.len() {
        for b in (0..PHOTOS.len()).filter(|b| *b != a) {
            let names = (format!("portrait-{a}.jpg"), format!("selfie-{b}.jpg"));
            list.push_str(&format!("{},{}\n", names.0, names.1));
            pairs.push((folder.join(names.0), folder.join(names.1)));
        }
    }
    std::fs::write(folder.join("pairs.csv"), list).unwrap();
    Some(pairs)
}
