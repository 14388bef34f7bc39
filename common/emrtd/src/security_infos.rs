//! SecurityInfos described for people (ICAO Doc 9303-11 section 9.2, BSI TR-03110-3 section A.1.1).
//! Of a kind of chip: no key and nothing of its holder.

use serde::Serialize;

use crate::{
    asn1::{Reader, Tag, Tlv},
    chip_authentication::{Offer, describe_domain, standardised_domain},
    crypto::algorithm::SignatureAlgorithm,
    oid,
    report::{CardSecurityProblem, Reason},
    security_options,
};

/// One SecurityInfo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecurityInfo {
    /// The protocol's name, such as `id-CA-ECDH-AES-CBC-CMAC-128`; its identifier when it is not known.
    pub protocol: String,
    /// The protocol's identifier in dotted decimal.
    pub object_identifier: String,
    /// Version of the protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The number that tells keys, or PACE's domain parameters, apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identifier: Option<u64>,
    /// Curve or group of a key or of PACE, such as `brainpoolP256r1`; why, where it cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The signature algorithm of active authentication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature_algorithm: Option<String>,
}

/// What a DG14 offers.
pub fn describe_security_infos(dg14: &[u8]) -> Result<Vec<SecurityInfo>, Reason> {
    let malformed = Reason::ChipAuthenticationInfoMalformed;
    let infos = security_options::security_infos(dg14).map_err(|_| malformed)?;
    describe(&infos).map_err(|_| malformed)
}

pub(crate) fn describe(infos: &Tlv<'_>) -> Result<Vec<SecurityInfo>, CardSecurityProblem> {
    let malformed = CardSecurityProblem::SecurityInfosMalformed;
    // It bounds how many keys are looked at.
    let offers = Offer::among(infos).map_err(|_| malformed)?;
    let mut domains = offers.iter().map(|offer| match &offer.key {
        Ok(key) => key.domain().name().to_owned(),
        Err(reason) => reason.to_string(),
    });
    let mut described = Vec::new();
    let mut each = infos.reader();
    while !each.is_empty() {
        let info = each.expect(Tag::SEQUENCE).map_err(|_| malformed)?;
        described.push(describe_one(&info, &mut domains).ok_or(malformed)?);
    }
    Ok(described)
}

/// smartcard: the arc of the protocols of BSI TR-03110.
const SMART_CARD: &[u8] = &[0x04, 0x00, 0x7f, 0x00, 0x07, 0x02, 0x02];
const PUBLIC_KEY: u8 = 1;
const TERMINAL_AUTHENTICATION: u8 = 2;
const CHIP_AUTHENTICATION: u8 = 3;
const PACE: u8 = 4;

/// `domains` are those of the keys, in order.
fn describe_one(info: &Tlv<'_>, domains: &mut impl Iterator<Item = String>) -> Option<SecurityInfo> {
    let mut fields = info.reader();
    let identifier = fields.expect(Tag::OID).ok()?.value;
    let dotted = oid::dotted(identifier);
    let mut described = SecurityInfo {
        protocol: name(identifier).unwrap_or_else(|| dotted.clone()),
        object_identifier: dotted,
        version: None,
        identifier: None,
        domain: None,
        signature_algorithm: None,
    };
    match identifier.strip_prefix(SMART_CARD) {
        Some([PUBLIC_KEY, 1 | 2, ..]) => {
            fields.expect(Tag::SEQUENCE).ok()?;
            described.domain = domains.next();
            described.identifier = small(&mut fields);
        }
        // Domain parameters of their own.
        Some([CHIP_AUTHENTICATION | PACE, _]) => {
            described.domain = Some(describe_domain(&fields.expect(Tag::SEQUENCE).ok()?));
            described.identifier = small(&mut fields);
        }
        Some([CHIP_AUTHENTICATION | TERMINAL_AUTHENTICATION, ..]) => {
            described.version = small(&mut fields);
            described.identifier = small(&mut fields);
        }
        Some([PACE, ..]) => {
            described.version = small(&mut fields);
            described.identifier = small(&mut fields);
            described.domain = described.identifier.and_then(standardised_name);
        }
        _ if identifier == oid::ACTIVE_AUTHENTICATION.as_bytes() => {
            described.version = small(&mut fields);
            let algorithm = fields.expect(Tag::OID).ok()?;
            described.signature_algorithm = Some(signature_algorithm(&algorithm));
        }
        _ => described.version = small(&mut fields),
    }
    Some(described)
}

fn small(fields: &mut Reader<'_>) -> Option<u64> {
    fields.optional(Tag::INTEGER).ok().flatten().and_then(|number| number.small().ok())
}

fn standardised_name(identifier: u64) -> Option<String> {
    standardised_domain(identifier).map(|domain| domain.name().to_owned())
}

fn signature_algorithm(identifier: &Tlv<'_>) -> String {
    let whole = Tlv { tag: Tag::SEQUENCE, value: identifier.raw, raw: identifier.raw, der: true };
    match SignatureAlgorithm::parse(&whole) {
        Some(SignatureAlgorithm::EcdsaPlain(digest)) => format!("ecdsa_plain_{}", digest.name()),
        Some(SignatureAlgorithm::Ecdsa(Some(digest))) => format!("ecdsa_{}", digest.name()),
        Some(SignatureAlgorithm::RsaPkcs1(Some(digest))) => format!("rsa_pkcs1_{}", digest.name()),
        _ => oid::dotted(identifier.value),
    }
}

fn name(identifier: &[u8]) -> Option<String> {
    if identifier == oid::ACTIVE_AUTHENTICATION.as_bytes() {
        return Some("id-icao-mrtd-security-aaProtocolObject".into());
    }
    if identifier == oid::EF_DIR.as_bytes() {
        return Some("id-EFDIR".into());
    }
    let arcs = identifier.strip_prefix(SMART_CARD)?;
    let cipher = |arc: u8| match arc {
        1 => Some("3DES-CBC-CBC"),
        2 => Some("AES-CBC-CMAC-128"),
        3 => Some("AES-CBC-CMAC-192"),
        4 => Some("AES-CBC-CMAC-256"),
        _ => None,
    };
    let agreement = |arc: u8| match arc {
        1 => Some("DH"),
        2 => Some("ECDH"),
        _ => None,
    };
    let mapping = |arc: u8| match arc {
        1 => Some("DH-GM"),
        2 => Some("ECDH-GM"),
        3 => Some("DH-IM"),
        4 => Some("ECDH-IM"),
        6 => Some("ECDH-CAM"),
        _ => None,
    };
    Some(match *arcs {
        [PUBLIC_KEY, kind] => format!("id-PK-{}", agreement(kind)?),
        [TERMINAL_AUTHENTICATION] => "id-TA".into(),
        [CHIP_AUTHENTICATION, kind] => format!("id-CA-{}", agreement(kind)?),
        [CHIP_AUTHENTICATION, kind, last] => format!("id-CA-{}-{}", agreement(kind)?, cipher(last)?),
        [PACE, kind] => format!("id-PACE-{}", mapping(kind)?),
        [PACE, kind, last] => format!("id-PACE-{}-{}", mapping(kind)?, cipher(last)?),
        [5, kind] => format!("id-RI-{}", agreement(kind)?),
        [6] => "id-CI".into(),
        [7] => "id-eIDSecurity".into(),
        [8] => "id-PT".into(),
        _ => return None,
    })
}
