//! Whole documents: folders of files as readers and specimens store them, and files of evidence objects.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use proofmill_contract::evidence::Part;
use proofmill_contract::evidence_line::EvidenceLine;
use proofmill_contract::limits::MAX_BULK_LINE_BYTES;
use proofmill_emrtd::{self as emrtd, ActiveAuthentication, DocumentEvidence, GateResult};
use zeroize::Zeroizing;

use super::context::Context;
use super::detail::Details;
use super::finding::{Finding, Trouble};
use super::parts::{PartFile, Parts};
use super::{data_groups, exchange, files, sod};

const KIND: &str = "document";
/// Folders inside folders, at most.
const MAX_DEPTH: usize = 8;

/// Judges every document below the paths, one finding each.
///
/// # Errors
/// Of `write`.
pub fn judge_all(
    context: &Context,
    paths: &[PathBuf],
    write: &mut dyn FnMut(Finding) -> io::Result<()>,
) -> io::Result<()> {
    for path in paths {
        let mut found = false;
        let mut counted = |finding| {
            found = true;
            write(finding)
        };
        if path.is_dir() {
            folder(context, path, 0, &mut counted)?;
        } else {
            evidence_file(context, path, &mut counted)?;
        }
        if !found {
            let message = "no SOD or data group in the folder, and no .json or .ndjson file of evidence".to_owned();
            write(Finding::broken(&path.display().to_string(), KIND, Trouble::new("no_document", message)))?;
        }
    }
    Ok(())
}

/// A folder is a document if a part of one lies in it; else it may hold documents.
fn folder(
    context: &Context,
    path: &Path,
    depth: usize,
    write: &mut dyn FnMut(Finding) -> io::Result<()>,
) -> io::Result<()> {
    if Parts::are_in(path) {
        return write(document_folder(context, path));
    }
    let has_extension = |path: &Path, known: [&str; 2]| {
        path.extension().is_some_and(|extension| known.iter().any(|known| extension.eq_ignore_ascii_case(known)))
    };
    for entry in files::entries(path).unwrap_or_default() {
        if entry.is_dir() {
            if depth < MAX_DEPTH {
                folder(context, &entry, depth + 1, write)?;
            }
        } else if entry.is_file() && has_extension(&entry, ["json", "ndjson"]) {
            evidence_file(context, &entry, write)?;
        }
    }
    Ok(())
}

fn document_folder(context: &Context, path: &Path) -> Finding {
    let name = path.display().to_string();
    let parts = match Parts::read(path) {
        Ok(parts) => parts,
        Err(trouble) => return Finding::broken(&name, KIND, trouble),
    };
    let challenge = match parts.get(PartFile::Challenge).map(read_challenge).transpose() {
        Ok(challenge) => challenge,
        Err(trouble) => return Finding::broken(&name, KIND, trouble),
    };
    let document = Document {
        sod: parts.get(PartFile::Sod),
        groups: (1..=16).filter_map(|number| Some((number, parts.get(PartFile::DataGroup(number))?))).collect(),
        active_authentication: parts.get(PartFile::ActiveAuthentication),
        challenge: challenge.as_ref().map(|challenge| challenge.as_slice()),
        chip_authentication: parts.get(PartFile::ChipAuthentication),
        card_security: parts.get(PartFile::CardSecurity),
    };
    let mut finding = document.judge(context, &name);
    let mut names = Details::default();
    for (part, path, _) in &parts.found {
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        names.add(&part.to_string(), file);
    }
    finding.details.add("parts", names);
    if !parts.ignored.is_empty() {
        finding.details.add("ignored", parts.ignored);
    }
    finding
}

/// 8 octets as they are, or hex digits.
fn read_challenge(bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, Trouble> {
    if bytes.len() == 8 {
        return Ok(Zeroizing::new(bytes.to_vec()));
    }
    let digits = bytes.trim_ascii();
    match hex::decode(digits) {
        Ok(challenge) if challenge.len() == 8 => Ok(Zeroizing::new(challenge)),
        _ => Err(Trouble::new("challenge_malformed", "the challenge is neither 8 octets nor 16 hex digits")),
    }
}

// -- evidence objects

/// A `.json` file is one object; any other has one a line.
fn evidence_file(context: &Context, path: &Path, write: &mut dyn FnMut(Finding) -> io::Result<()>) -> io::Result<()> {
    let name = path.display().to_string();
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
        return write(match files::read(path, MAX_BULK_LINE_BYTES) {
            Ok(text) => evidence(context, &name, &text),
            Err(trouble) => Finding::broken(&name, KIND, trouble),
        });
    }
    let unreadable = |error: &io::Error| Trouble::new("unreadable", format!("cannot read {name}: {error}"));
    let input: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(BufReader::new(io::stdin()))
    } else {
        match File::open(path) {
            Ok(file) => Box::new(BufReader::with_capacity(1 << 20, file)),
            Err(error) => return write(Finding::broken(&name, KIND, unreadable(&error))),
        }
    };
    let mut lines = Lines { input, number: 0 };
    loop {
        let line = match lines.next() {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(()),
            Err(error) => return write(Finding::broken(&name, KIND, unreadable(&error))),
        };
        let place = format!("{name}:{}", lines.number);
        write(match line {
            Line::Whole(text) if text.trim_ascii().is_empty() => continue,
            Line::Whole(text) => {
                let finding = evidence(context, &place, &text);
                // The next lines of a file that is no text would say the same.
                if lines.number == 1 && finding.reason.as_deref() == Some("evidence_malformed") && !is_text(&text) {
                    let message = "neither a folder of files nor a text file of evidence objects".to_owned();
                    return write(Finding::broken(&name, KIND, Trouble::new("no_document", message)));
                }
                finding
            }
            Line::TooLong => {
                let message = format!("line {} has more than {MAX_BULK_LINE_BYTES} bytes", lines.number);
                Finding::broken(&place, KIND, Trouble::new("line_too_long", message))
            }
        })?;
    }
}

fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
}

fn evidence(context: &Context, place: &str, text: &[u8]) -> Finding {
    let line = match EvidenceLine::parse(text) {
        Ok(line) => line,
        Err(error) => return Finding::broken(place, KIND, Trouble::new("evidence_malformed", error.message)),
    };
    let part = |part| line.evidence.get(part);
    let groups = [(1, Part::Dg1), (2, Part::Dg2), (14, Part::Dg14), (15, Part::Dg15)];
    let document = Document {
        sod: part(Part::Sod),
        groups: groups.into_iter().filter_map(|(number, group)| Some((number, part(group)?))).collect(),
        active_authentication: part(Part::ActiveAuthentication),
        challenge: line.challenge.as_ref().map(|challenge| &challenge[..]),
        chip_authentication: part(Part::ChipAuthentication),
        card_security: part(Part::CardSecurity),
    };
    let mut finding = document.judge(context, place);
    finding.details.add_some("id", line.id);
    finding
}

enum Line {
    Whole(Zeroizing<Vec<u8>>),
    /// Passed over without being held.
    TooLong,
}

struct Lines {
    input: Box<dyn BufRead>,
    number: u64,
}

impl Lines {
    fn next(&mut self) -> io::Result<Option<Line>> {
        let mut line = Zeroizing::new(Vec::new());
        let limit = MAX_BULK_LINE_BYTES as u64 + 1;
        if self.input.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if line.last() == Some(&b'\n') || (line.len() as u64) < limit {
            return Ok(Some(Line::Whole(line)));
        }
        // To the line's end, piece by piece.
        loop {
            line.clear();
            let read = self.input.by_ref().take(1 << 20).read_until(b'\n', &mut line)?;
            if read == 0 || line.last() == Some(&b'\n') {
                return Ok(Some(Line::TooLong));
            }
        }
    }
}

// -- one document

/// A document's parts, whatever they came in.
struct Document<'a> {
    sod: Option<&'a [u8]>,
    groups: Vec<(u8, &'a [u8])>,
    active_authentication: Option<&'a [u8]>,
    challenge: Option<&'a [u8]>,
    chip_authentication: Option<&'a [u8]>,
    card_security: Option<&'a [u8]>,
}

impl Document<'_> {
    fn judge(&self, context: &Context, name: &str) -> Finding {
        let mut finding = Finding::new(name, KIND);
        let group = |number| self.groups.iter().find(|(known, _)| *known == number).map(|(_, bytes)| *bytes);
        let Some(sod) = self.sod else {
            finding.fail("sod_missing", Some("without EF.SOD nothing can be verified".to_owned()));
            self.describe(context, &mut finding);
            return finding;
        };
        let transcript = match self.chip_authentication.map(exchange::transcript).transpose() {
            Ok(transcript) => transcript,
            Err(trouble) => return Finding::broken(name, KIND, trouble),
        };
        let evidence = DocumentEvidence {
            sod,
            dg1: group(1),
            dg2: group(2),
            dg14: group(14),
            dg15: group(15),
            // Without its challenge an answer proves nothing: an empty one fails its gate by name.
            active_authentication: self
                .active_authentication
                .map(|signature| ActiveAuthentication { challenge: self.challenge.unwrap_or_default(), signature }),
            chip_authentication: transcript.as_ref().map(|transcript| transcript.evidence(None)),
            card_security: self.card_security,
        };
        let report = emrtd::inspect(&evidence, &context.trust, &context.policy, context.at).report;
        finding.report(&report, context);
        self.other_groups(sod, &mut finding);
        sod::describe_report(&report, &mut finding.details);
        finding.details.add("data_groups", self.states(sod));
        sod::describe(context, sod, &mut finding);
        self.describe(context, &mut finding);
        finding
    }

    /// Groups that the library does not read are judged by their hash alone.
    fn other_groups(&self, sod: &[u8], finding: &mut Finding) {
        let others = self.groups.iter().filter(|(number, _)| !matches!(number, 1 | 2 | 14 | 15));
        for (number, bytes) in others {
            let reason = match emrtd::data_group_matches(sod, *number, bytes) {
                Some(true) => continue,
                Some(false) => format!("data_group_hash_mismatch(dg{number})"),
                None => format!("data_group_not_declared(dg{number})"),
            };
            for (name, result) in &mut finding.gates {
                if matches!(*name, "data_group_hashes" | "passive_authentication") {
                    *result = super::finding::gate_text(GateResult::Failed);
                }
            }
            finding.fail(reason, None);
        }
    }

    /// What becomes of each group that is supplied or declared.
    fn states(&self, sod: &[u8]) -> Details {
        let declared = emrtd::SodInfo::read(sod).lds.map(|lds| lds.data_groups).unwrap_or_default();
        let mut states = Details::default();
        for number in 1..=16u8 {
            let supplied = self.groups.iter().find(|(known, _)| *known == number);
            let state = match (supplied, declared.contains(&u64::from(number))) {
                (Some((_, bytes)), true) => match emrtd::data_group_matches(sod, number, bytes) {
                    Some(true) => "matches",
                    Some(false) => "differs",
                    None => "not_comparable",
                },
                (Some(_), false) => "not_declared",
                (None, true) => "not_supplied",
                (None, false) => continue,
            };
            states.add(&format!("dg{number}"), state);
        }
        states
    }

    fn describe(&self, context: &Context, finding: &mut Finding) {
        for (number, bytes) in &self.groups {
            let described = match number {
                1 => data_groups::describe_dg1(context, bytes),
                2 => data_groups::describe_dg2(bytes),
                14 => data_groups::describe_dg14(bytes),
                15 => data_groups::describe_dg15(bytes),
                _ => Details::default().with("bytes", bytes.len()),
            };
            finding.details.add(&format!("dg{number}"), described);
        }
    }
}
