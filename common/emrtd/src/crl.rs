//! Certificate revocation lists, versions 1 and 2 (RFC 5280 section 5).

use std::{collections::HashSet, ops::Range};

use crate::{
    asn1::{Asn1Error, Reader, Tag, strip_zeros},
    certificate::Certificate,
    crypto::{algorithm::SignatureAlgorithm, provider::SignatureError},
    evidence::UnixTime,
    name::{self, CanonicalName},
    oid, time,
};

pub(crate) struct Crl {
    der: Box<[u8]>,
    tbs: Range<usize>,
    signature: Range<usize>,
    algorithm: Option<SignatureAlgorithm>,
    pub issuer: CanonicalName,
    pub authority_key_identifier: Option<Box<[u8]>>,
    pub this_update: UnixTime,
    pub next_update: Option<UnixTime>,
    revoked: HashSet<Box<[u8]>>,
    /// A delta list, one of limited scope, or one with a critical extension that is not understood: its entries revoke,
    /// its silence says nothing.
    pub partial: bool,
}

impl Crl {
    pub fn parse(der: &[u8]) -> Result<Crl, Asn1Error> {
        let mut file = Reader::new(der);
        let list = file.expect(Tag::SEQUENCE)?;
        file.finish()?;
        let mut parts = list.reader();
        let tbs = parts.expect(Tag::SEQUENCE)?;
        let outer_algorithm = parts.expect(Tag::SEQUENCE)?;
        let signature = parts.expect(Tag::BIT_STRING)?.bit_string()?;
        parts.finish()?;

        let mut fields = tbs.reader();
        if let Some(version) = fields.optional(Tag::INTEGER)?
            && version.small()? > 1
        {
            return Err(Asn1Error::Value);
        }
        let inner_algorithm = fields.expect(Tag::SEQUENCE)?;
        let issuer = name::parse(&fields.expect(Tag::SEQUENCE)?)?;
        let this_update = time::parse_asn1(&fields.next()?).ok_or(Asn1Error::Value)?;
        let next_update = match fields.peek() {
            Some(Tag::UTC_TIME | Tag::GENERALIZED_TIME) => {
                Some(time::parse_asn1(&fields.next()?).ok_or(Asn1Error::Value)?)
            }
            _ => None,
        };
        let mut revoked = HashSet::new();
        if let Some(entries) = fields.optional(Tag::SEQUENCE)? {
            let mut entries = entries.reader();
            while !entries.is_empty() {
                let mut entry = entries.expect(Tag::SEQUENCE)?.reader();
                let serial = strip_zeros(entry.expect(Tag::INTEGER)?.value);
                time::parse_asn1(&entry.next()?).ok_or(Asn1Error::Value)?;
                let removed = match entry.optional(Tag::SEQUENCE)? {
                    Some(extensions) => removes_from_list(extensions.reader())?,
                    None => false,
                };
                entry.finish()?;
                if !removed {
                    revoked.insert(serial.into());
                }
            }
        }
        let mut partial = false;
        let mut authority_key_identifier = None;
        if let Some(explicit) = fields.optional(Tag::context(0))? {
            let mut extensions = explicit.reader().expect(Tag::SEQUENCE)?.reader();
            while !extensions.is_empty() {
                let (kind, critical, value) = extension(&mut extensions)?;
                if kind == oid::DELTA_CRL_INDICATOR.as_bytes() || kind == oid::ISSUING_DISTRIBUTION_POINT.as_bytes() {
                    partial = true;
                } else if kind == oid::AUTHORITY_KEY_IDENTIFIER.as_bytes() {
                    let mut identifier = Reader::new(value).expect(Tag::SEQUENCE)?.reader();
                    authority_key_identifier =
                        identifier.optional(Tag::context_primitive(0))?.map(|tlv| tlv.value.into());
                } else if critical {
                    // RFC 5280 section 5.2: a list with a critical extension that is not understood proves nothing by
                    // its silence.
                    partial = true;
                }
            }
        }
        fields.finish()?;
        let algorithm = SignatureAlgorithm::parse(&outer_algorithm);
        if algorithm != SignatureAlgorithm::parse(&inner_algorithm) {
            return Err(Asn1Error::Value);
        }
        let offset = |part: &[u8]| {
            let start = (part.as_ptr() as usize).saturating_sub(der.as_ptr() as usize);
            start..start + part.len()
        };
        Ok(Crl {
            tbs: offset(tbs.raw),
            signature: offset(signature),
            algorithm,
            issuer: issuer.canonical,
            authority_key_identifier,
            this_update,
            next_update,
            revoked,
            partial,
            der: der.into(),
        })
    }

    pub fn len(&self) -> usize {
        self.revoked.len()
    }

    /// Whether the list names a certificate of its issuer.
    pub fn names(&self, serial: &[u8]) -> bool {
        self.revoked.contains(serial)
    }

    /// Whether the list's silence about a certificate means anything at a time.
    pub fn is_current(&self, at: UnixTime) -> bool {
        !self.partial && self.this_update <= at && self.next_update.is_some_and(|next| at <= next)
    }

    pub fn verify_signature(&self, issuer: &Certificate) -> Result<(), SignatureError> {
        let key = issuer.key.as_ref().map_err(|_| SignatureError::Unsupported)?;
        let scheme = self
            .algorithm
            .and_then(|algorithm| algorithm.scheme(None, key.key()))
            .ok_or(SignatureError::Unsupported)?;
        let tbs = self.der.get(self.tbs.clone()).unwrap_or_default();
        let signature = self.der.get(self.signature.clone()).unwrap_or_default();
        key.verify(scheme, &[tbs], signature).map(|_| ())
    }
}

/// Kind, whether critical, value.
fn extension<'a>(extensions: &mut Reader<'a>) -> Result<(&'a [u8], bool, &'a [u8]), Asn1Error> {
    let mut extension = extensions.expect(Tag::SEQUENCE)?.reader();
    let kind = extension.expect(Tag::OID)?.value;
    let critical = extension.optional(Tag::BOOLEAN)?.is_some_and(|flag| flag.value != [0]);
    let value = extension.expect(Tag::OCTET_STRING)?.value;
    extension.finish()?;
    Ok((kind, critical, value))
}

/// Whether an entry's reason is removeFromCRL (8), which a delta list uses to take an entry back.
fn removes_from_list(mut extensions: Reader<'_>) -> Result<bool, Asn1Error> {
    let mut removes = false;
    while !extensions.is_empty() {
        let (kind, _, value) = extension(&mut extensions)?;
        if kind == oid::CRL_REASON.as_bytes() {
            // ENUMERATED
            removes = Reader::new(value).expect(Tag(0x0a))?.value == [8];
        }
    }
    Ok(removes)
}
