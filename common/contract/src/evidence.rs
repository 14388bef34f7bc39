//! The evidence of one attempt: biometric and identity data, held once and wiped when dropped.
//!
//! Nothing here has `Debug`, `Serialize` or `Clone`, so that evidence cannot reach a log, an error
//! text or a database by accident.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::errors::{ApiError, ErrorCode};
use crate::limits::{MAX_DG2_BYTES, MAX_PART_BYTES, MAX_READER_ATTESTATION_BYTES, MAX_SELFIE_BYTES, MAX_SELFIES};

/// The name of the reader's signed statement, in a manifest, in an evidence line and under seal.
pub const READER_ATTESTATION: &str = "reader_attestation";

/// How a JPEG begins: the SOI marker and the first octet of the marker after it (ISO/IEC 10918-1 annex B).
const JPEG_MAGIC: [u8; 3] = [0xff, 0xd8, 0xff];

/// Bytes that are wiped on drop.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes ownership of the bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

/// One named part of the evidence (ICAO 9303-10 data groups, 9303-11 protocols), selfies aside.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Part {
    /// EF.SOD.
    Sod,
    /// Machine-readable zone.
    Dg1,
    /// Encoded face.
    Dg2,
    /// Security options.
    Dg14,
    /// Active-authentication public key.
    Dg15,
    /// The chip's raw active-authentication signature.
    ActiveAuthentication,
    /// Chip-authentication transcript (JSON, hex members).
    ChipAuthentication,
    /// EF.CardSecurity.
    CardSecurity,
}

impl Part {
    /// Every part, in the order in which they are sealed and compared.
    pub const ALL: [Part; 8] = [
        Part::Sod,
        Part::Dg1,
        Part::Dg2,
        Part::Dg14,
        Part::Dg15,
        Part::ActiveAuthentication,
        Part::ChipAuthentication,
        Part::CardSecurity,
    ];

    /// The name in a multipart request and in an evidence line.
    pub const fn name(self) -> &'static str {
        match self {
            Part::Sod => "sod",
            Part::Dg1 => "dg1",
            Part::Dg2 => "dg2",
            Part::Dg14 => "dg14",
            Part::Dg15 => "dg15",
            Part::ActiveAuthentication => "active_authentication",
            Part::ChipAuthentication => "chip_authentication",
            Part::CardSecurity => "card_security",
        }
    }

    /// The part of that name.
    pub fn from_name(name: &str) -> Option<Part> {
        Part::ALL.into_iter().find(|part| part.name() == name)
    }

    /// The most bytes it may have.
    pub const fn limit(self) -> usize {
        match self {
            Part::Dg2 => MAX_DG2_BYTES,
            _ => MAX_PART_BYTES,
        }
    }
}

/// What was submitted for one attempt.
#[derive(Default)]
pub struct Evidence {
    parts: BTreeMap<Part, Secret>,
    selfies: Vec<Secret>,
    reader_attestation: Option<Secret>,
}

impl Evidence {
    /// No evidence yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part.
    ///
    /// # Errors
    /// `EVIDENCE_PART_INVALID` for an empty or repeated part, `PAYLOAD_TOO_LARGE` (part and limit named) above its limit.
    pub fn insert(&mut self, part: Part, bytes: Vec<u8>) -> Result<(), ApiError> {
        let secret = Secret::new(bytes);
        check_size(part.name(), secret.len(), part.limit())?;
        if self.parts.contains_key(&part) {
            return Err(ApiError::new(
                ErrorCode::EvidencePartInvalid,
                format!("evidence part `{}` was sent twice", part.name()),
            ));
        }
        self.parts.insert(part, secret);
        Ok(())
    }

    /// Adds a selfie frame.
    ///
    /// # Errors
    /// `EVIDENCE_PART_INVALID` for an empty frame or a sixth one, `PAYLOAD_TOO_LARGE` above its limit.
    pub fn push_selfie(&mut self, bytes: Vec<u8>) -> Result<(), ApiError> {
        let secret = Secret::new(bytes);
        check_size("selfie", secret.len(), MAX_SELFIE_BYTES)?;
        if self.selfies.len() == MAX_SELFIES {
            return Err(ApiError::new(
                ErrorCode::EvidencePartInvalid,
                format!("evidence part `selfie` was sent more than {MAX_SELFIES} times"),
            ));
        }
        self.selfies.push(secret);
        Ok(())
    }

    /// Adds the reader's signed statement (a compact JWS). It holds hashes of the evidence, which identify the holder, and
    /// so it is treated like evidence.
    ///
    /// # Errors
    /// `EVIDENCE_PART_INVALID` for an empty or repeated one, `PAYLOAD_TOO_LARGE` above its limit.
    pub fn attest(&mut self, jws: Vec<u8>) -> Result<(), ApiError> {
        let secret = Secret::new(jws);
        check_size(READER_ATTESTATION, secret.len(), MAX_READER_ATTESTATION_BYTES)?;
        if self.reader_attestation.replace(secret).is_some() {
            return Err(ApiError::new(
                ErrorCode::EvidencePartInvalid,
                format!("evidence part `{READER_ATTESTATION}` was sent twice"),
            ));
        }
        Ok(())
    }

    /// The reader's signed statement, if there is one.
    pub fn reader_attestation(&self) -> Option<&[u8]> {
        self.reader_attestation.as_ref().map(Secret::as_bytes)
    }

    /// Takes a part out, so that it can outlive the rest.
    pub fn take(&mut self, part: Part) -> Option<Secret> {
        self.parts.remove(&part)
    }

    /// A part's bytes, if it was sent.
    pub fn get(&self, part: Part) -> Option<&[u8]> {
        self.parts.get(&part).map(Secret::as_bytes)
    }

    /// The parts that were sent, in [`Part`]'s order.
    pub fn parts(&self) -> impl Iterator<Item = (Part, &[u8])> {
        self.parts.iter().map(|(part, secret)| (*part, secret.as_bytes()))
    }

    /// The selfie frames, in the order sent.
    pub fn selfies(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.selfies.iter().map(Secret::as_bytes)
    }

    /// Bytes in all.
    pub fn total_bytes(&self) -> usize {
        self.parts.values().chain(&self.selfies).chain(&self.reader_attestation).map(Secret::len).sum()
    }

    /// Whether only selfies were sent (contract 2, after chip evidence passed).
    pub fn is_selfies_only(&self) -> bool {
        self.parts.is_empty() && !self.selfies.is_empty()
    }

    /// Demands that every selfie begins as a JPEG does. Whether it decodes is a verdict, and not found out here.
    ///
    /// # Errors
    /// `EVIDENCE_PART_INVALID`, naming the frame by its place.
    pub fn require_jpeg_selfies(&self) -> Result<(), ApiError> {
        match self.selfies.iter().position(|selfie| !selfie.as_bytes().starts_with(&JPEG_MAGIC)) {
            None => Ok(()),
            Some(index) => Err(ApiError::new(
                ErrorCode::EvidencePartInvalid,
                format!("evidence part `selfie` is not a JPEG (frame {} of {})", index + 1, self.selfies.len()),
            )),
        }
    }

    /// Demands the parts without which no document can be verified.
    ///
    /// # Errors
    /// `EVIDENCE_PART_MISSING`, naming the first missing part.
    pub fn require_complete(&self) -> Result<(), ApiError> {
        let missing = [Part::Sod, Part::Dg1, Part::Dg2]
            .into_iter()
            .find(|part| !self.parts.contains_key(part))
            .map(Part::name)
            .or_else(|| self.selfies.is_empty().then_some("selfie"));
        match missing {
            None => Ok(()),
            Some(name) => {
                Err(ApiError::new(ErrorCode::EvidencePartMissing, format!("evidence part `{name}` is missing"))
                    .with_hint("sod, dg1, dg2 and at least one selfie are always needed"))
            }
        }
    }
}

fn check_size(name: &str, len: usize, limit: usize) -> Result<(), ApiError> {
    if len == 0 {
        return Err(ApiError::new(ErrorCode::EvidencePartInvalid, format!("evidence part `{name}` is empty")));
    }
    if len > limit {
        return Err(ApiError::too_large(name, limit));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_missing_part_is_named() {
        let mut evidence = Evidence::new();
        evidence.insert(Part::Sod, vec![1]).unwrap();
        evidence.insert(Part::Dg1, vec![1]).unwrap();
        let error = evidence.require_complete().unwrap_err();
        assert_eq!(error.code, ErrorCode::EvidencePartMissing);
        assert!(error.message.contains("`dg2`"), "{}", error.message);
        evidence.insert(Part::Dg2, vec![1]).unwrap();
        assert!(evidence.require_complete().unwrap_err().message.contains("`selfie`"));
        evidence.push_selfie(vec![1]).unwrap();
        assert!(evidence.require_complete().is_ok());
    }

    #[test]
    fn sizes_repeats_and_a_sixth_selfie_are_refused_by_name() {
        let mut evidence = Evidence::new();
        let error = evidence.insert(Part::Dg1, vec![0; Part::Dg1.limit() + 1]).unwrap_err();
        assert_eq!(error.code, ErrorCode::PayloadTooLarge);
        assert!(error.message.contains("`dg1`") && error.message.contains("65536"), "{}", error.message);
        assert!(evidence.insert(Part::Dg2, vec![]).is_err());
        evidence.insert(Part::Sod, vec![1]).unwrap();
        assert!(evidence.insert(Part::Sod, vec![1]).is_err());
        for _ in 0..MAX_SELFIES {
            evidence.push_selfie(vec![1]).unwrap();
        }
        assert!(evidence.push_selfie(vec![1]).is_err());
    }

    #[test]
    fn selfies_are_told_from_other_files_by_how_they_begin() {
        let mut evidence = Evidence::new();
        evidence.push_selfie(b"\xff\xd8\xff\xe0 and so on".to_vec()).unwrap();
        evidence.require_jpeg_selfies().unwrap();
        for other in [&b"\x89PNG\r\n\x1a\n"[..], b"\xff\xd8", b"\xff\xd8\x00\xff"] {
            let mut evidence = Evidence::new();
            evidence.push_selfie(b"\xff\xd8\xff\xe0".to_vec()).unwrap();
            evidence.push_selfie(other.to_vec()).unwrap();
            let error = evidence.require_jpeg_selfies().unwrap_err();
            assert_eq!(error.code, ErrorCode::EvidencePartInvalid);
            assert!(error.message.contains("`selfie`") && error.message.contains("2 of 2"), "{}", error.message);
        }
    }

    #[test]
    fn a_statement_alone_is_no_chip_evidence_and_comes_once() {
        let mut evidence = Evidence::new();
        evidence.push_selfie(vec![1]).unwrap();
        evidence.attest(b"a.b.c".to_vec()).unwrap();
        assert!(evidence.is_selfies_only());
        assert_eq!((evidence.reader_attestation(), evidence.total_bytes()), (Some(&b"a.b.c"[..]), 6));
        assert_eq!(evidence.attest(b"a.b.c".to_vec()).unwrap_err().code, ErrorCode::EvidencePartInvalid);
        let attest = |bytes: usize| Evidence::new().attest(vec![b'a'; bytes]).map_err(|error| error.code);
        assert_eq!(attest(0), Err(ErrorCode::EvidencePartInvalid));
        assert_eq!(attest(MAX_READER_ATTESTATION_BYTES + 1), Err(ErrorCode::PayloadTooLarge));
    }

    #[test]
    fn a_part_that_is_taken_out_is_no_longer_there() {
        let mut evidence = Evidence::new();
        evidence.insert(Part::Dg1, vec![7]).unwrap();
        assert_eq!(evidence.take(Part::Dg1).map(|part| part.len()), Some(1));
        assert!(evidence.get(Part::Dg1).is_none() && evidence.take(Part::Dg1).is_none());
    }
}
