//! Share fields: which claims a session asks for, why, and which of them the holder lets go.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer as _, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::errors::{ApiError, ErrorCode};
use crate::json::shorten;
use crate::limits::{MAX_REASON_CHARS, MAX_SHARE_FIELDS};

/// The claim every session carries.
pub const DOCUMENT_ID: &str = "kayle_document_id";

/// Claims with a fixed name. Age gates (`age_over_N`) come on top.
pub const STATIC_CLAIMS: [&str; 13] = [
    "date_of_birth",
    "document_expiry_date",
    "document_number",
    "document_photo",
    "document_type_code",
    "family_name",
    "given_names",
    "issuing_country_code",
    "kayle_document_id",
    "kayle_human_id",
    "mrz_optional_data",
    "nationality_code",
    "sex_marker",
];

/// Who asked for a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ShareFieldSource {
    /// The relying client.
    #[serde(rename = "rc")]
    Requested,
    /// The default contract.
    #[serde(rename = "default")]
    Default,
}

/// One field that a session asks for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ShareField {
    /// Whether the holder must let it go.
    pub required: bool,
    /// Why it is asked for, shown to the holder; 1 to 200 characters.
    pub reason: String,
    /// Who asked.
    pub source: ShareFieldSource,
}

/// The fields of a session, keys sorted. [`DOCUMENT_ID`] is always there and required.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShareFields(BTreeMap<String, ShareField>);

impl ShareFields {
    /// The contract of a session that does not say: a minimal set that names nobody.
    pub fn default_contract() -> Self {
        let field = |required, reason: &str| ShareField {
            required,
            reason: reason.to_owned(),
            source: ShareFieldSource::Default,
        };
        Self(BTreeMap::from([
            (DOCUMENT_ID.to_owned(), document_id_field()),
            ("document_type_code".to_owned(), field(false, "To know which kind of document was verified")),
            ("issuing_country_code".to_owned(), field(false, "To know which country issued the document")),
        ]))
    }

    /// Reads the `share_fields` member of a create request as it was sent; `None` is the default contract. A key that stands
    /// there twice is refused: which of the two counts must not depend on who reads it.
    ///
    /// # Errors
    /// The published share-field codes, each naming the key.
    pub fn from_json(request: Option<&RawValue>) -> Result<Self, ApiError> {
        let Some(request) = request else { return Ok(Self::default_contract()) };
        if let Some(path) = repeated_key(request) {
            return Err(ApiError::new(
                ErrorCode::InvalidShareFields,
                format!("field `share_fields.{path}` was given twice"),
            ));
        }
        let value: Value = serde_json::from_str(request.get()).map_err(|_| {
            ApiError::new(ErrorCode::InvalidShareFields, "field `share_fields` has an unacceptable value")
        })?;
        Self::from_request(Some(&value))
    }

    /// The same of a value that was read already.
    ///
    /// # Errors
    /// The published share-field codes, each naming the key.
    pub fn from_request(request: Option<&Value>) -> Result<Self, ApiError> {
        let Some(request) = request.filter(|value| !value.is_null()) else {
            return Ok(Self::default_contract());
        };
        let Some(map) = request.as_object() else {
            return Err(ApiError::new(
                ErrorCode::InvalidShareFields,
                "field `share_fields` must be an object of claim key to {required, reason}",
            ));
        };
        if map.len() > MAX_SHARE_FIELDS {
            return Err(ApiError::new(
                ErrorCode::TooManyShareFields,
                format!("field `share_fields` has {} keys; the limit is {MAX_SHARE_FIELDS}", map.len()),
            ));
        }
        let mut fields = BTreeMap::new();
        let mut age_gate: Option<&str> = None;
        for (key, value) in map {
            match ClaimKey::parse(key)? {
                ClaimKey::Static => {}
                ClaimKey::AgeOver(_) => {
                    if let Some(other) = age_gate.replace(key) {
                        return Err(ApiError::new(
                            ErrorCode::MultipleAgeGatesNotAllowed,
                            format!("field `share_fields` has two age gates, `{other}` and `{key}`"),
                        ));
                    }
                }
            }
            fields.insert(key.clone(), read_field(key, value)?);
        }
        match fields.get_mut(DOCUMENT_ID) {
            Some(field) => field.required = true,
            None => {
                fields.insert(DOCUMENT_ID.to_owned(), document_id_field());
            }
        }
        Ok(Self(fields))
    }

    /// The fields, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ShareField)> {
        self.0.iter().map(|(key, field)| (key.as_str(), field))
    }

    /// Checks what the holder lets go against what was asked for; sorted, without repeats.
    ///
    /// # Errors
    /// `SHARE_SELECTION_REQUIRED`, `SHARE_SELECTION_INVALID_FIELD`, `SHARE_SELECTION_MISSING_REQUIRED`.
    pub fn check_selection(&self, selected: &[String]) -> Result<Vec<String>, ApiError> {
        if selected.is_empty() {
            return Err(ApiError::new(
                ErrorCode::ShareSelectionRequired,
                "`selected_field_keys` must name the claims that the holder agreed to share",
            ));
        }
        let selected: BTreeSet<&str> = selected.iter().map(String::as_str).collect();
        if let Some(foreign) = selected.iter().find(|key| !self.0.contains_key(**key)) {
            return Err(ApiError::new(
                ErrorCode::ShareSelectionInvalidField,
                format!("`selected_field_keys` names `{}`, which this session does not ask for", shorten(foreign)),
            ));
        }
        let missing = self.0.iter().find(|(key, field)| field.required && !selected.contains(key.as_str()));
        if let Some((key, _)) = missing {
            return Err(ApiError::new(
                ErrorCode::ShareSelectionMissingRequired,
                format!("`selected_field_keys` lacks `{key}`, which this session requires"),
            ));
        }
        Ok(selected.into_iter().map(str::to_owned).collect())
    }
}

/// A key that `share_fields` may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClaimKey {
    /// One of [`STATIC_CLAIMS`].
    Static,
    /// `age_over_N`.
    AgeOver(u32),
}

impl ClaimKey {
    /// Reads a key.
    ///
    /// # Errors
    /// `UNKNOWN_CLAIM_KEY`, `INVALID_AGE_GATE_KEY`.
    pub fn parse(key: &str) -> Result<Self, ApiError> {
        if STATIC_CLAIMS.contains(&key) {
            return Ok(ClaimKey::Static);
        }
        let Some(age) = key.strip_prefix("age_over_") else {
            return Err(ApiError::new(
                ErrorCode::UnknownClaimKey,
                format!("field `share_fields` names `{}`, which is no claim", shorten(key)),
            ));
        };
        let plain = !age.starts_with('0') && age.len() <= 3 && age.bytes().all(|c| c.is_ascii_digit());
        match age.parse::<u32>() {
            Ok(years @ 12..=130) if plain => Ok(ClaimKey::AgeOver(years)),
            _ => Err(ApiError::new(
                ErrorCode::InvalidAgeGateKey,
                format!("`{}` is no age gate: N of age_over_N is 12 to 130 without leading zeros", shorten(key)),
            )),
        }
    }
}

fn document_id_field() -> ShareField {
    ShareField {
        required: true,
        reason: "To recognise the same document without learning who holds it".to_owned(),
        source: ShareFieldSource::Default,
    }
}

fn read_field(key: &str, value: &Value) -> Result<ShareField, ApiError> {
    let shape = || {
        ApiError::new(
            ErrorCode::InvalidShareFields,
            format!("field `share_fields.{key}` must be {{\"required\": boolean, \"reason\": text}} and nothing else"),
        )
    };
    let object = value.as_object().ok_or_else(shape)?;
    if object.keys().any(|name| name != "required" && name != "reason") {
        return Err(shape());
    }
    let required = object.get("required").and_then(Value::as_bool).ok_or_else(shape)?;
    let reason = match object.get("reason") {
        None | Some(Value::Null) => "",
        Some(Value::String(text)) => text.trim(),
        Some(_) => return Err(shape()),
    };
    if reason.is_empty() {
        return Err(ApiError::new(ErrorCode::ReasonRequired, format!("field `share_fields.{key}.reason` is missing")));
    }
    if reason.chars().count() > MAX_REASON_CHARS {
        return Err(ApiError::new(
            ErrorCode::ReasonTooLong,
            format!("field `share_fields.{key}.reason` is longer than {MAX_REASON_CHARS} characters"),
        ));
    }
    Ok(ShareField { required, reason: reason.to_owned(), source: ShareFieldSource::Requested })
}

/// The first key that stands twice in the object or in a field of it.
fn repeated_key(request: &RawValue) -> Option<String> {
    let fields = members(request);
    if let Some(key) = repeated(&fields) {
        return Some(shorten(key));
    }
    fields.iter().find_map(|(key, field)| {
        let inner = members(field);
        repeated(&inner).map(|name| format!("{}.{}", shorten(key), shorten(name)))
    })
}

fn repeated<'a>(members: &'a [(Cow<'_, str>, &RawValue)]) -> Option<&'a str> {
    let mut seen = BTreeSet::new();
    members.iter().map(|(key, _)| key.as_ref()).find(|key| !seen.insert(*key))
}

/// The members of an object in their order, repeats included; none of anything else.
fn members(json: &RawValue) -> Vec<(Cow<'_, str>, &RawValue)> {
    struct Members;

    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }

    serde_json::Deserializer::from_str(json.get()).deserialize_map(Members).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn code(request: Value) -> ErrorCode {
        ShareFields::from_request(Some(&request)).unwrap_err().code
    }

    #[test]
    fn the_document_id_is_always_there_and_required() {
        let empty = ShareFields::from_request(Some(&json!({}))).unwrap();
        assert_eq!(empty.iter().map(|(k, f)| (k, f.required)).collect::<Vec<_>>(), [(DOCUMENT_ID, true)]);
        let optional = json!({"kayle_document_id": {"required": false, "reason": "x"}});
        assert!(ShareFields::from_request(Some(&optional)).unwrap().0[DOCUMENT_ID].required);
        assert_eq!(ShareFields::from_request(None).unwrap().iter().count(), 3);
    }

    #[test]
    fn fields_are_stored_sorted_trimmed_and_with_who_asked() {
        let asked = json!({
            "given_names": {"required": true, "reason": "  to greet you  "},
            "age_over_18": {"required": false, "reason": "x".repeat(200)},
        });
        let fields = ShareFields::from_request(Some(&asked)).unwrap();
        let keys: Vec<&str> = fields.iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["age_over_18", "given_names", DOCUMENT_ID]);
        let stored = serde_json::to_value(&fields).unwrap();
        assert_eq!(stored["given_names"], json!({"required": true, "reason": "to greet you", "source": "rc"}));
        assert_eq!(stored[DOCUMENT_ID]["source"], "default");
        assert_eq!(ShareFields::from_request(Some(&Value::Null)).unwrap(), ShareFields::default_contract());
        let default = serde_json::to_value(ShareFields::default_contract()).unwrap();
        let required = |key: &str| default[key]["required"].as_bool();
        assert_eq!(
            [DOCUMENT_ID, "document_type_code", "issuing_country_code"].map(required),
            [Some(true), Some(false), Some(false)]
        );
        assert!(default.as_object().unwrap().values().all(|field| field["source"] == "default"));
    }

    #[test]
    fn a_reason_is_counted_in_characters() {
        let with = |reason: String| {
            ShareFields::from_request(Some(&json!({"sex_marker": {"required": true, "reason": reason}})))
        };
        assert!(with("é".repeat(200)).is_ok());
        assert_eq!(with("é".repeat(201)).unwrap_err().code, ErrorCode::ReasonTooLong);
    }

    #[test]
    fn only_twelve_to_a_hundred_and_thirty_are_ages() {
        for good in ["age_over_12", "age_over_18", "age_over_99", "age_over_100", "age_over_130"] {
            assert!(matches!(ClaimKey::parse(good), Ok(ClaimKey::AgeOver(_))), "{good}");
        }
        for bad in
            ["age_over_", "age_over_11", "age_over_131", "age_over_018", "age_over_+18", "age_over_1e1", "age_over_18 "]
        {
            assert_eq!(ClaimKey::parse(bad).unwrap_err().code, ErrorCode::InvalidAgeGateKey, "{bad}");
        }
        for unknown in ["age_under_18", "Age_over_18", "FAMILY_NAME", "", "family_name "] {
            assert_eq!(ClaimKey::parse(unknown).unwrap_err().code, ErrorCode::UnknownClaimKey, "{unknown}");
        }
    }

    #[test]
    fn each_wrong_shape_has_its_code() {
        let field = json!({"required": true, "reason": "x"});
        assert_eq!(code(json!([])), ErrorCode::InvalidShareFields);
        assert_eq!(code(json!({"family_name": {"required": 1, "reason": "x"}})), ErrorCode::InvalidShareFields);
        assert_eq!(
            code(json!({"family_name": {"required": true, "reason": "x", "a": 1}})),
            ErrorCode::InvalidShareFields
        );
        assert_eq!(code(json!({"shoe_size": field})), ErrorCode::UnknownClaimKey);
        assert_eq!(code(json!({"age_over_018": field})), ErrorCode::InvalidAgeGateKey);
        assert_eq!(code(json!({"age_over_11": field})), ErrorCode::InvalidAgeGateKey);
        assert_eq!(code(json!({"age_over_131": field})), ErrorCode::InvalidAgeGateKey);
        assert_eq!(code(json!({"age_over_18": field, "age_over_21": field})), ErrorCode::MultipleAgeGatesNotAllowed);
        assert_eq!(code(json!({"family_name": {"required": true, "reason": "  "}})), ErrorCode::ReasonRequired);
        let long = "x".repeat(201);
        assert_eq!(code(json!({"family_name": {"required": true, "reason": long}})), ErrorCode::ReasonTooLong);
        let many: serde_json::Map<_, _> = (12..=44).map(|n| (format!("age_over_{n}"), field.clone())).collect();
        assert_eq!(code(Value::Object(many)), ErrorCode::TooManyShareFields);
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_by_name() {
        let read = |text: &str| ShareFields::from_json(Some(serde_json::from_str(text).unwrap()));
        let field = r#"{"required": true, "reason": "x"}"#;
        // The second is written with an escape, and is the same key.
        let twice = read(&format!(r#"{{"sex_marker": {field}, "sex\u005fmarker": {field}}}"#)).unwrap_err();
        let inner = read(r#"{"sex_marker": {"required": true, "reason": "x", "required": false}}"#).unwrap_err();
        for (error, path) in [(twice, "`share_fields.sex_marker`"), (inner, "`share_fields.sex_marker.required`")] {
            assert_eq!(error.code, ErrorCode::InvalidShareFields);
            assert!(error.message.contains(path), "{}", error.message);
        }
        assert_eq!(read(&format!(r#"{{"sex_marker": {field}}}"#)).unwrap().iter().count(), 2);
        assert_eq!(read("[]").unwrap_err().code, ErrorCode::InvalidShareFields);
        assert_eq!(ShareFields::from_json(None).unwrap(), ShareFields::default_contract());
    }

    #[test]
    fn a_selection_is_sorted_and_held_against_the_request() {
        let fields = ShareFields::from_request(Some(&json!({
            "family_name": {"required": true, "reason": "x"},
            "age_over_18": {"required": false, "reason": "x"},
        })))
        .unwrap();
        let pick = |keys: &[&str]| fields.check_selection(&keys.iter().map(|k| (*k).to_owned()).collect::<Vec<_>>());
        assert_eq!(pick(&["kayle_document_id", "family_name", "family_name"]).unwrap(), ["family_name", DOCUMENT_ID]);
        assert_eq!(pick(&[]).unwrap_err().code, ErrorCode::ShareSelectionRequired);
        assert_eq!(pick(&["family_name"]).unwrap_err().code, ErrorCode::ShareSelectionMissingRequired);
        let foreign = pick(&["family_name", DOCUMENT_ID, "given_names"]).unwrap_err();
        assert_eq!(foreign.code, ErrorCode::ShareSelectionInvalidField);
    }
}
