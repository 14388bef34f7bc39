//! The LDS security object inside the SOD (ICAO Doc 9303-10 section 4.6.2.3).

use crate::{
    asn1::{Asn1Error, Reader, Tag},
    crypto::digest::Digest,
    report::Reason,
};

pub(crate) struct LdsSecurityObject<'a> {
    pub version: u8,
    pub digest: Digest,
    hashes: Vec<(u8, &'a [u8])>,
}

impl<'a> LdsSecurityObject<'a> {
    pub fn parse(content: &'a [u8]) -> Result<LdsSecurityObject<'a>, Reason> {
        parse(content).map_err(|error| match error {
            Failure::Digest => Reason::DigestAlgorithmUnsupported,
            Failure::Malformed => Reason::LdsSecurityObjectMalformed,
        })
    }

    /// The declared hash of a data group.
    pub fn hash(&self, data_group: u8) -> Option<&'a [u8]> {
        self.hashes.iter().find(|(number, _)| *number == data_group).map(|(_, hash)| *hash)
    }
}

enum Failure {
    Malformed,
    Digest,
}

impl From<Asn1Error> for Failure {
    fn from(_: Asn1Error) -> Failure {
        Failure::Malformed
    }
}

fn parse(content: &[u8]) -> Result<LdsSecurityObject<'_>, Failure> {
    let mut file = Reader::new(content);
    let object = file.expect(Tag::SEQUENCE)?;
    file.finish()?;
    let mut fields = object.reader();
    let version = match fields.expect(Tag::INTEGER)?.small()? {
        0 => 0,
        1 => 1,
        _ => return Err(Failure::Malformed),
    };
    let digest = Digest::from_algorithm_identifier(&fields.expect(Tag::SEQUENCE)?).ok_or(Failure::Digest)?;
    let mut list = fields.expect(Tag::SEQUENCE)?.reader();
    let mut hashes: Vec<(u8, &[u8])> = Vec::new();
    while !list.is_empty() {
        let mut entry = list.expect(Tag::SEQUENCE)?.reader();
        let number = match entry.expect(Tag::INTEGER)?.small()? {
            number @ 1..=16 => number as u8,
            _ => return Err(Failure::Malformed),
        };
        let hash = entry.expect(Tag::OCTET_STRING)?.value;
        entry.finish()?;
        // Of a group listed twice it would be open which hash counts.
        if hash.len() != digest.size() || hashes.iter().any(|(other, _)| *other == number) {
            return Err(Failure::Malformed);
        }
        hashes.push((number, hash));
    }
    // DG1 and DG2 at least: SEQUENCE SIZE (2..ub-DataGroups).
    if hashes.len() < 2 {
        return Err(Failure::Malformed);
    }
    // LDSVersionInfo belongs to version 1 alone, where it is optional.
    if version == 1
        && let Some(info) = fields.optional(Tag::SEQUENCE)?
    {
        let mut info = info.reader();
        info.expect(Tag::PRINTABLE_STRING)?;
        info.expect(Tag::PRINTABLE_STRING)?;
        info.finish()?;
    }
    fields.finish()?;
    Ok(LdsSecurityObject { version, digest, hashes })
}
