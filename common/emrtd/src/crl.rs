//! Certificate revocation lists, versions 1 and 2 (RFC 5280 section 5).

use std::ops::Range;

use serde::Serialize;

use crate::{
    asn1::{Asn1Error, Reader, Tag, Tlv, strip_zeros},
    certificate::{Certificate, range_in},
    crypto::{algorithm::SignatureAlgorithm, provider::SignatureError},
    evidence::UnixTime,
    name::{self, CanonicalName, Name},
    oid, time,
};

/// Which certificates of its issuer a list speaks for by its silence. An entry revokes whatever the scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CrlScope {
    /// All of them.
    Complete,
    /// Those of end entities: document signers.
    UserCertificates,
    /// Those of certification authorities.
    CaCertificates,
    /// None: a delta list, one for some reasons only, an indirect one, one of attribute certificates, or one with
    /// a critical extension that is not understood (RFC 5280 section 5.2).
    Partial,
}

pub(crate) struct Crl {
    der: Box<[u8]>,
    tbs: Range<usize>,
    signature: Range<usize>,
    outer_algorithm: Range<usize>,
    algorithm: Option<SignatureAlgorithm>,
    /// 1 or 2.
    pub version: u8,
    pub issuer: CanonicalName,
    issuer_raw: Range<usize>,
    pub issuer_country: Option<String>,
    /// Names that the issuer had before, of the same country (issuerAltName, ICAO Doc 9303-12 section 7.1.4).
    pub former_names: Vec<CanonicalName>,
    pub authority_key_identifier: Option<Box<[u8]>>,
    pub number: Option<Box<[u8]>>,
    pub this_update: UnixTime,
    pub next_update: Option<UnixTime>,
    /// Where the serial numbers lie, ordered by what they are.
    revoked: Vec<Range<u32>>,
    pub scope: CrlScope,
    /// A list of changes to another one.
    pub delta: bool,
    /// A list with certificates of other issuers.
    pub indirect: bool,
    /// The value of issuingDistributionPoint.
    distribution_point: Range<usize>,
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
        let version = match fields.optional(Tag::INTEGER)? {
            Some(version) => match version.small()? {
                number @ 0..=1 => number as u8 + 1,
                _ => return Err(Asn1Error::Value),
            },
            None => 1,
        };
        let inner_algorithm = fields.expect(Tag::SEQUENCE)?;
        let issuer_tlv = fields.expect(Tag::SEQUENCE)?;
        let issuer = name::parse(&issuer_tlv)?;
        let this_update = time::parse_asn1(&fields.next()?).ok_or(Asn1Error::Value)?;
        let next_update = match fields.peek() {
            Some(Tag::UTC_TIME | Tag::GENERALIZED_TIME) => {
                Some(time::parse_asn1(&fields.next()?).ok_or(Asn1Error::Value)?)
            }
            _ => None,
        };
        let entries = fields.optional(Tag::SEQUENCE)?;
        let extensions = match fields.optional(Tag::context(0))? {
            Some(explicit) => {
                let mut explicit = explicit.reader();
                let sequence = explicit.expect(Tag::SEQUENCE)?;
                explicit.finish()?;
                Extensions::parse(&sequence)?
            }
            None => Extensions::default(),
        };
        fields.finish()?;
        let mut not_understood = extensions.not_understood;
        let mut revoked = Vec::new();
        if let Some(entries) = entries {
            not_understood |= !read_entries(&entries, der, &issuer.canonical, extensions.delta, &mut revoked)?;
        }
        let at = |range: &Range<u32>| der.get(range.start as usize..range.end as usize).unwrap_or_default();
        revoked.sort_unstable_by(|one, other| at(one).cmp(at(other)));
        revoked.dedup_by(|one, other| at(one) == at(other));
        let algorithm = SignatureAlgorithm::parse(&outer_algorithm);
        if algorithm != SignatureAlgorithm::parse(&inner_algorithm) {
            return Err(Asn1Error::Value);
        }
        let point = extensions.distribution_point.map(DistributionPoint::parse);
        let scope = match &point {
            _ if not_understood || extensions.delta => CrlScope::Partial,
            Some(point) => point.scope,
            None => CrlScope::Complete,
        };
        Ok(Crl {
            tbs: range_in(der, tbs.raw),
            signature: range_in(der, signature),
            outer_algorithm: range_in(der, outer_algorithm.raw),
            algorithm,
            version,
            issuer: issuer.canonical,
            issuer_raw: range_in(der, issuer_tlv.raw),
            former_names: extensions
                .former_names
                .into_iter()
                .filter(|former| former.country.is_some() && former.country == issuer.country)
                .map(|former| former.canonical)
                .collect(),
            issuer_country: issuer.country,
            authority_key_identifier: extensions.authority_key_identifier.map(Into::into),
            number: extensions.number.map(Into::into),
            this_update,
            next_update,
            revoked,
            scope,
            delta: extensions.delta,
            indirect: point.is_some_and(|point| point.indirect),
            distribution_point: extensions.distribution_point.map_or(0..0, |value| range_in(der, value)),
            der: der.into(),
        })
    }

    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The issuer's name as received.
    pub fn issuer_raw(&self) -> &[u8] {
        self.der.get(self.issuer_raw.clone()).unwrap_or_default()
    }

    /// The AlgorithmIdentifier beside the signature, as received.
    pub fn algorithm_raw(&self) -> &[u8] {
        self.der.get(self.outer_algorithm.clone()).unwrap_or_default()
    }

    pub fn algorithm(&self) -> Option<SignatureAlgorithm> {
        self.algorithm
    }

    /// How many certificates of its issuer the list names.
    pub fn len(&self) -> usize {
        self.revoked.len()
    }

    /// Whether the list names a certificate of its issuer.
    pub fn names(&self, serial: &[u8]) -> bool {
        self.revoked.binary_search_by(|entry| self.serial(entry).cmp(serial)).is_ok()
    }

    /// Whether this list says all that another one says, as lately or later: of the same issuer, key and scope, and naming every
    /// certificate that the other names.
    pub fn supersedes(&self, other: &Crl) -> bool {
        let point = |list: &Crl| list.der.get(list.distribution_point.clone()).unwrap_or_default().to_vec();
        self.issuer == other.issuer
            && self.authority_key_identifier == other.authority_key_identifier
            && (self.scope, self.delta, self.indirect) == (other.scope, other.delta, other.indirect)
            && point(self) == point(other)
            && self.former_names == other.former_names
            && (self.this_update, self.next_update) >= (other.this_update, other.next_update)
            && self.next_update >= other.next_update
            && other.revoked.iter().all(|entry| self.names(other.serial(entry)))
    }

    fn serial(&self, entry: &Range<u32>) -> &[u8] {
        self.der.get(entry.start as usize..entry.end as usize).unwrap_or_default()
    }

    /// Whether a time lies between the list's issue and its next one. A list that does not say when the next comes
    /// is never current: RFC 5280 section 5.1.2.5 requires it, and without it a list could be held back for ever.
    pub fn is_current(&self, at: UnixTime) -> bool {
        self.this_update <= at && self.next_update.is_some_and(|next| at <= next)
    }

    /// Whether the list would name a certificate if it were revoked.
    pub fn covers(&self, certificate: &Certificate) -> bool {
        let in_scope = match self.scope {
            CrlScope::Complete => true,
            CrlScope::UserCertificates => !certificate.is_authority(),
            CrlScope::CaCertificates => certificate.is_authority(),
            CrlScope::Partial => false,
        };
        let point = self.der.get(self.distribution_point.clone()).unwrap_or_default();
        in_scope && (point.is_empty() || same_distribution_point(point, certificate.crl_distribution_points()))
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

/// Reads revokedCertificates; false when an entry says something that is not understood.
///
/// Only serial numbers count. Reason and dates do not: a certificate on hold is not to be relied on, and the day since
/// which a key may have been in other hands is no proof of what was signed before it, for the thief dates as he likes.
fn read_entries(
    entries: &Tlv<'_>,
    der: &[u8],
    issuer: &CanonicalName,
    delta: bool,
    revoked: &mut Vec<Range<u32>>,
) -> Result<bool, Asn1Error> {
    let mut understood = true;
    // In an indirect list an entry is of the issuer named last (RFC 5280 section 5.3.3).
    let mut of_issuer = true;
    let mut entries = entries.reader();
    while !entries.is_empty() {
        let mut entry = entries.expect(Tag::SEQUENCE)?.reader();
        let serial = strip_zeros(entry.expect(Tag::INTEGER)?.value);
        entry.next()?;
        let mut removed = false;
        if let Some(extensions) = entry.optional(Tag::SEQUENCE)? {
            let mut extensions = extensions.reader();
            while !extensions.is_empty() {
                let (kind, critical, value) = extension(&mut extensions)?;
                if kind == oid::CRL_REASON.as_bytes() {
                    // ENUMERATED removeFromCRL (8), with which a delta list takes back an entry; in a whole list it
                    // has no meaning and revokes like any other.
                    removed = delta && Reader::new(value).expect(Tag(0x0a)).is_ok_and(|reason| reason.value == [8]);
                } else if kind == oid::CERTIFICATE_ISSUER.as_bytes() {
                    let named = directory_names(value);
                    of_issuer = named.first().is_some_and(|named| named.canonical == *issuer);
                } else if kind != oid::INVALIDITY_DATE.as_bytes() && kind != oid::HOLD_INSTRUCTION_CODE.as_bytes() {
                    understood &= !critical;
                }
            }
        }
        entry.finish()?;
        if of_issuer && !removed {
            let range = range_in(der, serial);
            let offset = |at: usize| u32::try_from(at).map_err(|_| Asn1Error::Length);
            revoked.push(offset(range.start)?..offset(range.end)?);
        }
    }
    Ok(understood)
}

/// The directory names among GeneralNames.
fn directory_names(value: &[u8]) -> Vec<Name> {
    /// More names than an authority has had.
    const MAX: usize = 16;
    let mut found = Vec::new();
    let Ok(names) = Reader::new(value).expect(Tag::SEQUENCE) else { return found };
    let mut names = names.reader();
    while let Ok(general) = names.next() {
        if general.tag == Tag::context(4)
            && found.len() < MAX
            && let Ok(directory_name) = general.reader().expect(Tag::SEQUENCE)
            && let Ok(name) = name::parse(&directory_name)
        {
            found.push(name);
        }
    }
    found
}

#[derive(Default)]
struct Extensions<'a> {
    delta: bool,
    authority_key_identifier: Option<&'a [u8]>,
    number: Option<&'a [u8]>,
    distribution_point: Option<&'a [u8]>,
    former_names: Vec<Name>,
    /// A critical extension that is unknown.
    not_understood: bool,
}

impl<'a> Extensions<'a> {
    fn parse(sequence: &Tlv<'a>) -> Result<Extensions<'a>, Asn1Error> {
        let mut read = Extensions::default();
        let mut extensions = sequence.reader();
        while !extensions.is_empty() {
            let (kind, critical, value) = extension(&mut extensions)?;
            if kind == oid::DELTA_CRL_INDICATOR.as_bytes() {
                read.delta = true;
            } else if kind == oid::ISSUING_DISTRIBUTION_POINT.as_bytes() {
                // Two of them: it would be open which one counts.
                read.not_understood |= read.distribution_point.replace(value).is_some();
            } else if kind == oid::AUTHORITY_KEY_IDENTIFIER.as_bytes() {
                let identifier =
                    || Reader::new(value).expect(Tag::SEQUENCE)?.reader().optional(Tag::context_primitive(0));
                read.authority_key_identifier = identifier().ok().flatten().map(|tlv| tlv.value);
            } else if kind == oid::CRL_NUMBER.as_bytes() {
                read.number = Reader::new(value).expect(Tag::INTEGER).ok().map(|number| number.value);
            } else if kind == oid::ISSUER_ALT_NAME.as_bytes() {
                read.former_names = directory_names(value);
            } else {
                read.not_understood |= critical;
            }
        }
        Ok(read)
    }
}

/// IssuingDistributionPoint (RFC 5280 section 5.2.5).
struct DistributionPoint {
    scope: CrlScope,
    indirect: bool,
}

impl DistributionPoint {
    fn parse(value: &[u8]) -> DistributionPoint {
        let read = || {
            let mut file = Reader::new(value);
            let mut fields = file.expect(Tag::SEQUENCE)?.reader();
            file.finish()?;
            fields.optional(Tag::context(0))?;
            let mut flag = |number| {
                let flag = fields.optional(Tag::context_primitive(number))?;
                Ok::<_, Asn1Error>(flag.is_some_and(|flag| number == 3 || flag.value.iter().any(|octet| *octet != 0)))
            };
            let flags = [flag(1)?, flag(2)?, flag(3)?, flag(4)?, flag(5)?];
            fields.finish()?;
            Ok::<_, Asn1Error>(flags)
        };
        let (scope, indirect) = match read() {
            Ok([false, false, false, false, false]) => (CrlScope::Complete, false),
            Ok([true, false, false, false, false]) => (CrlScope::UserCertificates, false),
            Ok([false, true, false, false, false]) => (CrlScope::CaCertificates, false),
            Ok([_, _, _, indirect, _]) => (CrlScope::Partial, indirect),
            Err(_) => (CrlScope::Partial, false),
        };
        DistributionPoint { scope, indirect }
    }
}

/// Whether a list of a distribution point is the one that a certificate refers to (RFC 5280 section 6.3.3 (b) (2)).
/// Compared by their addresses; where either has none, there is nothing to tell partitions apart by.
fn same_distribution_point(issuing: &[u8], certificate: &[u8]) -> bool {
    let (issuing, certificate) = (addresses(issuing), addresses(certificate));
    issuing.is_empty() || certificate.is_empty() || issuing.iter().any(|address| certificate.contains(address))
}

/// The addresses in an IssuingDistributionPoint or in CRLDistributionPoints: `[6]` in `[0]` fullName.
fn addresses(value: &[u8]) -> Vec<&[u8]> {
    /// More than any certificate has; comparing them stays cheap.
    const MAX: usize = 32;
    let mut found = Vec::new();
    // distributionPoint [0] { fullName [0] { [6] } }, with SEQUENCEs around it.
    let mut pending = vec![(Reader::new(value), 0)];
    while let Some((mut reader, depth)) = pending.pop() {
        while let Ok(element) = reader.next() {
            match element.tag {
                Tag::SEQUENCE | Tag(0xa0) if depth < 5 && pending.len() < MAX => {
                    pending.push((element.reader(), depth + 1));
                }
                Tag(0x86) if found.len() < MAX => found.push(element.value),
                _ => {}
            }
        }
    }
    found
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
