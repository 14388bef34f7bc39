//! One line of NDJSON evidence: the bulk request's line and the offline job's line.
//!
//! `{"id"?, "attempt_id"? or "session"?, "idempotency_key"?, "selected_field_keys", "sod", "dg1", "dg2", "dg14"?, "dg15"?,
//! "active_authentication"?, "chip_authentication"?, "card_security"?, "reader_attestation"?, "challenge"?,
//! "selfie": […]}`: parts in standard base64, `chip_authentication` as a JSON object, `reader_attestation` as the compact
//! JWS, `challenge` as 16 hex digits.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::errors::{ApiError, ErrorCode};
use crate::evidence::{Evidence, Part};
use crate::json::{self, Whole};
use crate::limits::{MAX_SELFIE_BYTES, MAX_SELFIES, MAX_SHARE_FIELDS};

/// Bytes of a caller's name for a line: names are held while the line waits, and are no place for evidence.
const MAX_NAME_BYTES: usize = 255;

/// A line, read.
pub struct EvidenceLine {
    /// The caller's name for the item, if any.
    pub id: Option<String>,
    /// The attempt it belongs to (bulk).
    pub attempt_id: Option<String>,
    /// The session to create for it, as JSON, in place of an attempt that was opened before (bulk).
    pub session: Option<String>,
    /// The line's idempotency key (bulk).
    pub idempotency_key: Option<String>,
    /// Claims that the holder agreed to share (bulk).
    pub selected_field_keys: Vec<String>,
    /// The active-authentication challenge that the caller sent to the chip (offline job only).
    pub challenge: Option<[u8; 8]>,
    /// The evidence.
    pub evidence: Evidence,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    attempt_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    session: Option<&'a RawValue>,
    #[serde(borrow, default)]
    idempotency_key: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "up_to_share_fields")]
    selected_field_keys: Vec<String>,
    #[serde(borrow, default)]
    challenge: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    sod: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    dg1: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    dg2: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    dg14: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    dg15: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    active_authentication: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    chip_authentication: Option<&'a RawValue>,
    #[serde(borrow, default)]
    card_security: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    reader_attestation: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "up_to_selfies")]
    selfie: Vec<Text<'a>>,
}

impl EvidenceLine {
    /// Reads a line. Sizes are checked before anything is decoded.
    ///
    /// # Errors
    /// `INVALID_REQUEST` for what is not such a JSON object (field or position named, content not), `EVIDENCE_PART_INVALID`
    /// and `PAYLOAD_TOO_LARGE` by part name.
    pub fn parse(line: &[u8]) -> Result<Self, ApiError> {
        let wire: Wire<'_> = json::parse(line, Whole::Line)?;
        let mut evidence = Evidence::new();
        let parts = [
            (Part::Sod, &wire.sod),
            (Part::Dg1, &wire.dg1),
            (Part::Dg2, &wire.dg2),
            (Part::Dg14, &wire.dg14),
            (Part::Dg15, &wire.dg15),
            (Part::ActiveAuthentication, &wire.active_authentication),
            (Part::CardSecurity, &wire.card_security),
        ];
        for (part, text) in parts {
            if let Some(text) = text {
                evidence.insert(part, decode(part.name(), text, part.limit())?)?;
            }
        }
        if let Some(raw) = wire.chip_authentication {
            evidence.insert(Part::ChipAuthentication, raw.get().as_bytes().to_vec())?;
        }
        if let Some(jws) = &wire.reader_attestation {
            evidence.attest(jws.as_bytes().to_vec())?;
        }
        for Text(text) in &wire.selfie {
            evidence.push_selfie(decode("selfie", text, MAX_SELFIE_BYTES)?)?;
        }
        let names = [("id", &wire.id), ("attempt_id", &wire.attempt_id), ("idempotency_key", &wire.idempotency_key)];
        if let Some((name, _)) =
            names.into_iter().find(|(_, text)| text.as_ref().is_some_and(|text| text.len() > MAX_NAME_BYTES))
        {
            return Err(ApiError::invalid_field(name, format_args!("longer than {MAX_NAME_BYTES} bytes")));
        }
        Ok(Self {
            id: wire.id.map(Cow::into_owned),
            attempt_id: wire.attempt_id.map(Cow::into_owned),
            session: wire.session.map(|json| json.get().to_owned()),
            idempotency_key: wire.idempotency_key.map(Cow::into_owned),
            selected_field_keys: wire.selected_field_keys,
            challenge: wire.challenge.as_deref().map(read_challenge).transpose()?,
            evidence,
        })
    }
}

/// What a line calls itself, as far as it can be told.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Names {
    /// The caller's name for the item.
    pub id: Option<String>,
    /// The attempt it belongs to.
    pub attempt_id: Option<String>,
    /// The line's idempotency key.
    pub idempotency_key: Option<String>,
}

impl Names {
    /// What a line that [`EvidenceLine::parse`] refused calls itself: the names that stand before the place where it stops
    /// being JSON. A name that is given twice, is no text or is too long is none.
    pub fn of(line: &[u8]) -> Self {
        let mut found = Found::default();
        let mut json = serde_json::Deserializer::from_slice(line);
        // The error is known already; what was read before it counts.
        let _ = (&mut found).deserialize(&mut json);
        let text = |name: Option<Option<String>>| name.flatten().filter(|text| text.len() <= MAX_NAME_BYTES);
        Self { id: text(found.id), attempt_id: text(found.attempt_id), idempotency_key: text(found.idempotency_key) }
    }
}

/// A name that was seen once is `Some(Some(_))`, one that cannot be told `Some(None)`.
#[derive(Default)]
struct Found {
    id: Option<Option<String>>,
    attempt_id: Option<Option<String>>,
    idempotency_key: Option<Option<String>>,
}

impl<'de> DeserializeSeed<'de> for &mut Found {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Found {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<Cow<'de, str>>()? {
            let place = match &*name {
                "id" => &mut self.id,
                "attempt_id" => &mut self.attempt_id,
                "idempotency_key" => &mut self.idempotency_key,
                _ => {
                    members.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            let text = match members.next_value::<&RawValue>() {
                Ok(raw) => serde_json::from_str::<String>(raw.get()).ok(),
                Err(error) => {
                    *place = Some(None);
                    return Err(error);
                }
            };
            *place = Some(if place.is_some() { None } else { text });
        }
        Ok(())
    }
}

/// A borrowed text: `Cow` alone would be copied when it stands in a list.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads a list that has a limit without gathering more than one item too many: the limit itself is reported later, by
/// name.
struct UpTo<T>(usize, PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for UpTo<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of at most {} items", self.0)
    }

    /// null, which is no list of anything.
    fn visit_unit<E>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut read = Vec::new();
        while read.len() <= self.0 {
            match items.next_element()? {
                Some(item) => read.push(item),
                None => return Ok(read),
            }
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(read)
    }
}

fn up_to_selfies<'de: 'a, 'a, D: Deserializer<'de>>(json: D) -> Result<Vec<Text<'a>>, D::Error> {
    json.deserialize_any(UpTo::<Text<'a>>(MAX_SELFIES, PhantomData))
}

fn up_to_share_fields<'de, D: Deserializer<'de>>(json: D) -> Result<Vec<String>, D::Error> {
    json.deserialize_any(UpTo::<String>(MAX_SHARE_FIELDS, PhantomData))
}

/// Reads a part from standard base64.
///
/// # Errors
/// `PAYLOAD_TOO_LARGE` for a text that is longer than a part of that limit can be, before anything is allocated for it;
/// `EVIDENCE_PART_INVALID` for one that is not base64.
pub fn decode(name: &str, text: &str, limit: usize) -> Result<Vec<u8>, ApiError> {
    // Four characters carry three bytes: too long a text is refused before a byte is allocated.
    if text.len() / 4 > limit / 3 + 1 {
        return Err(ApiError::too_large(name, limit));
    }
    STANDARD.decode(text).map_err(|_| {
        ApiError::new(ErrorCode::EvidencePartInvalid, format!("evidence part `{name}` is not standard base64"))
    })
}

fn read_challenge(text: &str) -> Result<[u8; 8], ApiError> {
    let mut challenge = [0; 8];
    hex::decode_to_slice(text, &mut challenge)
        .map_err(|_| ApiError::invalid_field("challenge", "expected 16 hex digits"))?;
    Ok(challenge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_into_evidence() {
        let line = br#"{"id":"a","sod":"AQI=","dg1":"AQ==","dg2":"AQ==","challenge":"0102030405060708",
            "chip_authentication":{"terminal":"server"},"reader_attestation":"e30.e30.AA","selfie":["/9g="],"selected_field_keys":["kayle_document_id"]}"#;
        let read = EvidenceLine::parse(line).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(read.evidence.get(Part::Sod), Some(&[1, 2][..]));
        assert_eq!(read.evidence.get(Part::ChipAuthentication), Some(&br#"{"terminal":"server"}"#[..]));
        assert_eq!(read.evidence.reader_attestation(), Some(&b"e30.e30.AA"[..]));
        assert_eq!(read.evidence.selfies().len(), 1);
        assert_eq!(read.challenge, Some([1, 2, 3, 4, 5, 6, 7, 8]));
    }

    #[test]
    fn a_broken_line_keeps_the_names_that_stand_before_the_break() {
        let names = |line: &str| Names::of(line.as_bytes());
        let whole = r#"{"id":"a","selected_field_keys":[1],"attempt_id":"va_1","dg1":7,"idempotency_key":"k"}"#;
        let all = Names { id: Some("a".into()), attempt_id: Some("va_1".into()), idempotency_key: Some("k".into()) };
        assert_eq!(names(whole), all);
        assert_eq!(names(r#"{"id":"a","dg1":"AQ=="#), Names { id: Some("a".into()), ..Names::default() });
        assert_eq!(names(r#"{"id":"a","attempt_id":"va_1","dg1":"AQ==",,"#).attempt_id.as_deref(), Some("va_1"));
        // A name inside another member is not the line's.
        assert_eq!(names(r#"{"session":{"id":"a"},"dg1":"#), Names::default());
        for none in [r#"{"id":"a","id":"b"}"#, r#"{"id":7}"#, r#"{"id":"half"#, "no JSON", "[\"a\"]", ""] {
            assert_eq!(names(none).id, None, "{none}");
        }
        assert_eq!(names(&format!(r#"{{"id":"{}"}}"#, "A".repeat(256))).id, None);
    }

    #[test]
    fn long_names_and_long_lists_are_refused_without_being_gathered() {
        let error = |line: String| EvidenceLine::parse(line.as_bytes()).err().map(|e| (e.code, e.message)).unwrap();
        let (code, message) = error(format!(r#"{{"id":"{}"}}"#, "A".repeat(256)));
        assert!(code == ErrorCode::InvalidRequest && message.contains("`id`"), "{message}");
        let (code, message) = error(format!(r#"{{"selfie":["/9g="{}]}}"#, r#","/9g=""#.repeat(100_000)));
        assert!(code == ErrorCode::EvidencePartInvalid && message.contains("`selfie`"), "{message}");
        let many = format!(r#"{{"selected_field_keys":["a"{}]}}"#, r#","a""#.repeat(100_000));
        assert_eq!(EvidenceLine::parse(many.as_bytes()).map(|line| line.selected_field_keys.len()).unwrap_or(0), 33);
    }

    #[test]
    fn errors_name_the_place_and_never_quote_the_content() {
        let error = |line: &[u8]| EvidenceLine::parse(line).err().map(|e| (e.code, e.message)).unwrap();
        let (code, message) = error(br#"{"dg1":"P<UTOERIKSSON!"}"#);
        assert_eq!(code, ErrorCode::EvidencePartInvalid);
        assert!(message.contains("`dg1`") && !message.contains("ERIKSSON"), "{message}");
        for (line, expected) in [
            (&br#"{"mrz":"ERIKSSON"}"#[..], "unknown field `mrz`"),
            (br#"{"manifest":{"a":"ERIKSSON"}}"#, "unknown field `manifest`"),
            (br#"{"attempt_id":"a","sod":"AQ==","attempt_id":"ERIKSSON"}"#, "field `attempt_id`: was given twice"),
            (br#"{"selfie":"ERIKSSON"}"#, "field `selfie`: expected an array of at most 5 items"),
            (br#"{"selfie":["AQ==",{"ERIKSSON":1}]}"#, "field `selfie[1]`: expected a string"),
            (br#"{"selected_field_keys":7}"#, "field `selected_field_keys`: expected an array of at most 32 items"),
            (br#"{"dg1":["ERIKSSON"]}"#, "field `dg1`: expected a string"),
            (br#"["ERIKSSON"]"#, "the line is not an evidence object: expected a JSON object"),
            (b"null", "the line is not an evidence object: expected a JSON object"),
            (b"{\"dg1\":", "the JSON line ends too early"),
            (b"{\"dg1\" ERIKSSON", "the line is not JSON (line 1, column 8)"),
        ] {
            assert_eq!(error(line), (ErrorCode::InvalidRequest, expected.to_owned()));
        }
        let long = format!(r#"{{"{}":1}}"#, "x".repeat(100_000));
        assert!(error(long.as_bytes()).1.len() < 100);
        let null = EvidenceLine::parse(br#"{"selected_field_keys":null,"selfie":null}"#).ok().unwrap();
        assert!(null.selected_field_keys.is_empty() && null.evidence.selfies().len() == 0);
        let long = format!(r#"{{"dg1":"{}"}}"#, "A".repeat(100_000));
        assert_eq!(error(long.as_bytes()).0, ErrorCode::PayloadTooLarge);
    }
}
