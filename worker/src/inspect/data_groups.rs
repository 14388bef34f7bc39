//! Data groups by themselves. Whether one is authentic only the SOD can say, which `inspect document` asks.

use std::fs;
use std::path::Path;

use proofmill_emrtd::{
    self as emrtd, Deviation, Dg1Info, Dg2Info, GateResult, ImageType, MAX_DG2, MAX_PART, Part, Reason,
};
use serde::Serialize;

use super::context::Context;
use super::detail::{Detail, Details};
use super::finding::{Finding, Trouble, refused};

/// `inspect dg1`.
pub fn judge_dg1(context: &Context, file: &str, bytes: &[u8]) -> Vec<Finding> {
    judge(context, file, bytes, ("dg1", Part::Dg1, MAX_PART, "document_data"), |_| {
        let info = Dg1Info::read(bytes, context.at);
        (info.problem, info.deviations, describe_dg1(context, bytes))
    })
}

/// `inspect dg2`.
pub fn judge_dg2(context: &Context, file: &str, bytes: &[u8]) -> Vec<Finding> {
    judge(context, file, bytes, ("dg2", Part::Dg2, MAX_DG2, "document_data"), |finding| {
        let info = Dg2Info::read(bytes);
        let mut details = describe_dg2(bytes);
        if let (Some(image), true) = (ImageType::sniff(bytes), info.problem.is_some()) {
            details.add_serialised("bare_image", &image);
        }
        if let (Some(folder), None) = (&context.extract, info.problem) {
            match extract(folder, file, bytes) {
                Ok(written) => details.add("extracted", written),
                Err(trouble) => finding.fail(trouble.reason, Some(trouble.message)),
            }
        }
        (info.problem, info.deviations, details)
    })
}

/// `inspect dg14`.
pub fn judge_dg14(context: &Context, file: &str, bytes: &[u8]) -> Vec<Finding> {
    judge(context, file, bytes, ("dg14", Part::Dg14, MAX_PART, "structure"), |_| {
        (emrtd::describe_security_infos(bytes).err(), Vec::new(), describe_dg14(bytes))
    })
}

/// `inspect dg15`.
pub fn judge_dg15(context: &Context, file: &str, bytes: &[u8]) -> Vec<Finding> {
    judge(context, file, bytes, ("dg15", Part::Dg15, MAX_PART, "structure"), |_| {
        let key = emrtd::describe_active_authentication_key(bytes);
        let deviations = key.as_ref().map(|(_, deviations)| deviations.iter().collect()).unwrap_or_default();
        (key.err(), deviations, describe_dg15(bytes))
    })
}

/// What all of them have in common. Gates are named as in a document's report: DG1 and DG2 are data, and what DG14 and
/// DG15 hold is used elsewhere.
fn judge(
    context: &Context,
    file: &str,
    bytes: &[u8],
    (kind, part, limit, gate): (&'static str, Part, usize, &'static str),
    describe: impl FnOnce(&mut Finding) -> (Option<Reason>, Vec<Deviation>, Details),
) -> Vec<Finding> {
    let mut finding = Finding::new(file, kind);
    if bytes.len() > limit {
        finding.check("evidence_format", Err(Reason::PartTooLarge(part)), context);
        return vec![finding];
    }
    finding.gate("evidence_format", GateResult::Passed);
    let (problem, deviations, mut details) = describe(&mut finding);
    finding.note(deviations.iter().copied());
    finding.check(gate, problem.or(refused(&deviations, context)).map_or(Ok(()), Err), context);
    finding.gate("passive_authentication", GateResult::NotRun);
    // It is the reason.
    details.0.retain(|(name, _)| name != "problem");
    finding.details.add("bytes", bytes.len());
    finding.details.0.extend(details.0);
    vec![finding]
}

// -- descriptions

/// Masked: nothing of the holder but which state issued the document, unless personal data were asked for.
pub fn describe_dg1(context: &Context, bytes: &[u8]) -> Details {
    let mut details = members(&Dg1Info::read(bytes, context.at));
    if context.personal {
        match Dg1Info::unmasked(bytes, context.at) {
            Some(content) => details.add_serialised("content", &content),
            None => details.add("content", Detail::Null),
        }
    } else {
        details.add("content", "masked; --show-personal-data shows it");
    }
    details
}

/// Never the images.
pub fn describe_dg2(bytes: &[u8]) -> Details {
    members(&Dg2Info::read(bytes))
}

/// What the chip offers.
pub fn describe_dg14(bytes: &[u8]) -> Details {
    match emrtd::describe_security_infos(bytes) {
        Ok(infos) => {
            let mut details = Details::default();
            details.add_serialised("security_infos", &infos);
            details
        }
        Err(reason) => Details::default().with("problem", reason.to_string()),
    }
}

/// The key's kind and size.
pub fn describe_dg15(bytes: &[u8]) -> Details {
    match emrtd::describe_active_authentication_key(bytes) {
        Ok((key, _)) => Details::default().with("public_key", key),
        Err(reason) => Details::default().with("problem", reason.to_string()),
    }
}

/// The members of a description, less what stands in the finding itself.
fn members(info: &impl Serialize) -> Details {
    match Detail::of(info) {
        Detail::Map(mut members) => {
            members.0.retain(|(name, value)| match name.as_str() {
                "deviations" => false,
                "problem" => *value != Detail::Null,
                _ => true,
            });
            members
        }
        _ => Details::default(),
    }
}

// -- images

/// Writes every image beside the others, never over a file that is there.
fn extract(folder: &Path, file: &str, bytes: &[u8]) -> Result<Vec<String>, Trouble> {
    let failed = |error: std::io::Error| {
        Trouble::new("extraction_failed", format!("cannot write images into {}: {error}", folder.display()))
    };
    let (images, _) = emrtd::portraits(bytes).map_err(|reason| Trouble::new("no_image", reason.to_string()))?;
    fs::create_dir_all(folder).map_err(failed)?;
    let stem = Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let mut written = Vec::new();
    for (index, image) in images.iter().enumerate() {
        let extension = match image.image_type {
            ImageType::Jpeg => "jpg",
            ImageType::Jp2 => "jp2",
            ImageType::Jpeg2000Codestream => "j2k",
        };
        let path = folder.join(format!("{stem}-{}.{extension}", index + 1));
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        // For the owner's eyes alone.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut out = options.open(&path).map_err(failed)?;
        std::io::Write::write_all(&mut out, image.image).map_err(failed)?;
        written.push(path.display().to_string());
    }
    Ok(written)
}
