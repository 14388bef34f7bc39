//! The evidence request: `multipart/form-data`, each part and the whole under a limit.
//!
//! A part is gathered chunk by chunk and copied once into a buffer of its exact size, so that no half-grown copy of
//! somebody's passport is left in freed memory by us. The HTTP library's own read buffers are out of reach.

use axum::body::HttpBody;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::{StatusCode, header};
use bytes::Bytes;
use proofmill_contract::limits::{MAX_EVIDENCE_REQUEST_BYTES, MAX_PART_BYTES, MAX_SELFIE_BYTES};
use proofmill_contract::{ApiError, ErrorCode, Evidence, Part};
use proofmill_emrtd::{Terminal, Transcript};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::http::body;
use crate::http::error::{Error, Result};
use crate::memory_budget::{Exhausted, Held};

const MANIFEST: &str = "manifest";
const SELFIE: &str = "selfie";

/// An evidence request, read.
pub struct Form {
    /// What is to be verified.
    pub evidence: Evidence,
    /// Claims that the holder agreed to share.
    pub selected_field_keys: Vec<String>,
}

/// The `manifest` part.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    #[serde(default)]
    selected_field_keys: Option<Vec<String>>,
    /// The reader's signed statement. Whether it holds is a verdict, and not found out here.
    #[serde(default)]
    reader_attestation: Option<String>,
}

/// Reads the request.
///
/// # Errors
/// `UNSUPPORTED_MEDIA_TYPE`, `PAYLOAD_TOO_LARGE`, `UNAVAILABLE` when the budget is spent, `EVIDENCE_PART_MISSING`, `EVIDENCE_PART_INVALID`, `INVALID_REQUEST`.
pub async fn read(request: Request, held: &mut Held) -> Result<Form> {
    require_form(&request)?;
    // What the head says already need not be waited for.
    if request.body().size_hint().lower() > MAX_EVIDENCE_REQUEST_BYTES as u64 {
        return Err(ApiError::too_large("request", MAX_EVIDENCE_REQUEST_BYTES).into());
    }
    let mut request = request;
    DefaultBodyLimit::max(MAX_EVIDENCE_REQUEST_BYTES).apply(&mut request);
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|_| Error::new(ErrorCode::InvalidRequest, "the Content-Type names no multipart boundary"))?;
    let mut evidence = Evidence::new();
    let mut manifest = None;
    while let Some(field) = form.next_field().await.map_err(broken)? {
        let name: String = field.name().unwrap_or_default().chars().take(64).collect();
        match (name.as_str(), Part::from_name(&name)) {
            (MANIFEST, _) => {
                let bytes = Zeroizing::new(gather(field, MANIFEST, MAX_PART_BYTES, held).await?);
                if manifest.is_some() {
                    return Err(invalid_part(MANIFEST, "was sent twice"));
                }
                manifest = Some(read_manifest(&bytes)?);
            }
            (SELFIE, _) => evidence.push_selfie(gather(field, SELFIE, MAX_SELFIE_BYTES, held).await?)?,
            (name, Some(part)) => evidence.insert(part, gather(field, name, part.limit(), held).await?)?,
            (name, None) => {
                return Err(invalid_part(name, "is not known"));
            }
        }
    }
    let manifest =
        manifest.ok_or_else(|| Error::new(ErrorCode::EvidencePartMissing, "evidence part `manifest` is missing"))?;
    if let Some(jws) = manifest.reader_attestation {
        evidence.attest(jws.into_bytes())?;
    }
    Ok(Form { evidence, selected_field_keys: manifest.selected_field_keys.unwrap_or_default() })
}

fn read_manifest(bytes: &[u8]) -> Result<Manifest> {
    body::parse(bytes).map_err(|error| invalid_part(MANIFEST, &error.message))
}

/// Whose terminal the chip-authentication transcript names, if there is one. Whether it holds is the worker's to say.
///
/// # Errors
/// `EVIDENCE_PART_INVALID` for what is no transcript.
pub(crate) fn terminal_of(evidence: &Evidence) -> Result<Option<Terminal>> {
    let Some(bytes) = evidence.get(Part::ChipAuthentication) else { return Ok(None) };
    let name = Part::ChipAuthentication.name();
    match body::parse::<Transcript>(bytes) {
        Ok(transcript) => Ok(Some(transcript.terminal())),
        Err(error) => {
            // The transcript's own errors name a member in back quotes and quote no value.
            let own = serde_json::from_slice::<Transcript>(bytes).err().map(|error| error.to_string());
            let own =
                own.as_deref().filter(|text| text.starts_with('`')).and_then(|text| text.split(" at line ").next());
            Err(invalid_part(name, &format!("is not a transcript: {}", own.unwrap_or(&error.message))))
        }
    }
}

async fn gather(mut field: Field<'_>, name: &str, limit: usize, held: &mut Held) -> Result<Vec<u8>> {
    let mut chunks: Vec<Bytes> = Vec::new();
    let mut size = 0usize;
    while let Some(chunk) = field.chunk().await.map_err(broken)? {
        size = size.saturating_add(chunk.len());
        if size > limit {
            return Err(ApiError::too_large(name, limit).into());
        }
        held.take(chunk.len())
            .map_err(|Exhausted| Error::unavailable("vault", "too much evidence is being received at once"))?;
        chunks.push(chunk);
    }
    let mut bytes = Vec::with_capacity(size);
    chunks.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
    Ok(bytes)
}

fn require_form(request: &Request) -> Result<()> {
    let is_form = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("multipart/form-data"));
    if is_form {
        Ok(())
    } else {
        Err(Error::new(ErrorCode::UnsupportedMediaType, "expected `Content-Type: multipart/form-data`"))
    }
}

/// The library's texts may quote the request, so only the kind of the failure is told.
fn broken(error: MultipartError) -> Error {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        ApiError::too_large("request", MAX_EVIDENCE_REQUEST_BYTES).into()
    } else {
        Error::new(ErrorCode::InvalidRequest, "the multipart body is malformed or broke off")
    }
}

fn invalid_part(name: &str, why: &str) -> Error {
    Error::new(ErrorCode::EvidencePartInvalid, format!("evidence part `{name}` {why}"))
}
