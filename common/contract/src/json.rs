//! Reading JSON that somebody sent: unknown fields refused by name, errors that name the field and what was expected there,
//! and that never quote a value.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::errors::{ApiError, ErrorCode};

/// Characters of a name from outside that an error repeats: it must not become a mirror of any size.
const MAX_ECHO: usize = 64;

/// What a JSON text is, for its errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whole<'a> {
    /// The body of a request.
    Body,
    /// A line of NDJSON.
    Line,
    /// The value of a field of something larger.
    Field(&'a str),
}

/// Reads a JSON object.
///
/// # Errors
/// `INVALID_REQUEST` with the field's name and what was expected there, or the place where the text stops being JSON.
pub fn parse<'de, T: Deserialize<'de>>(json: &'de [u8], whole: Whole<'_>) -> Result<T, ApiError> {
    // A struct would also read an array, by position: field order must not become part of the contract.
    if json.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|first| *first == b'[') {
        return Err(whole.is_not_it("expected a JSON object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(json);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        // Where a text was expected and an array stands, the library speaks of syntax.
        if error.inner().is_syntax() && serde_json::from_slice::<IgnoredAny>(json).is_ok() {
            return ApiError::invalid_field(&whole.within(&path), "has an unacceptable value");
        }
        whole.describe(&path, error.inner())
    })?;
    reader.end().map_err(|error| whole.describe(".", &error))?;
    Ok(value)
}

/// A name from outside as far as an error repeats it.
pub(crate) fn shorten(name: &str) -> String {
    name.chars().take(MAX_ECHO).collect()
}

impl Whole<'_> {
    fn describe(self, path: &str, error: &serde_json::Error) -> ApiError {
        use serde_json::error::Category;
        let name = match self {
            Whole::Body => "body".to_owned(),
            Whole::Line => "line".to_owned(),
            Whole::Field(field) => format!("value of `{field}`"),
        };
        let message = match error.classify() {
            Category::Data => return self.describe_field(path, &error.to_string()),
            Category::Eof => format!("the JSON {name} ends too early"),
            Category::Syntax | Category::Io => {
                format!("the {name} is not JSON (line {}, column {})", error.line(), error.column())
            }
        };
        ApiError::new(ErrorCode::InvalidRequest, message)
    }

    fn describe_field(self, path: &str, text: &str) -> ApiError {
        let at_root = path == "." || path.is_empty();
        if let Some(name) = quoted_name(text, "unknown field `") {
            let unknown = format!("unknown field `{name}`");
            return match self {
                Whole::Field(field) => ApiError::invalid_field(field, unknown),
                Whole::Body | Whole::Line => ApiError::new(ErrorCode::InvalidRequest, unknown),
            };
        }
        if let Some(name) = quoted_name(text, "missing field `") {
            let full = if at_root { name } else { format!("{path}.{name}") };
            return ApiError::invalid_field(&self.within(&full), "is missing");
        }
        if let Some(name) = quoted_name(text, "duplicate field `") {
            return ApiError::invalid_field(&self.within(&name), "was given twice");
        }
        // What stands before it may quote the value.
        let expected = text
            .rfind("expected ")
            .map(|at| plain(text[at..].split(" at line ").next().unwrap_or_default()))
            .unwrap_or_else(|| "has an unacceptable value".to_owned());
        if at_root { self.is_not_it(&expected) } else { ApiError::invalid_field(&self.within(path), expected) }
    }

    fn is_not_it(self, expected: &str) -> ApiError {
        let message = match self {
            Whole::Body => format!("the body is not the object this route takes: {expected}"),
            Whole::Line => format!("the line is not an evidence object: {expected}"),
            Whole::Field(field) => return ApiError::invalid_field(field, expected),
        };
        ApiError::new(ErrorCode::InvalidRequest, message)
    }

    /// The path of a field from the outside.
    fn within(self, path: &str) -> String {
        match self {
            Whole::Body | Whole::Line => path.to_owned(),
            Whole::Field(field) => format!("{field}.{path}"),
        }
    }
}

/// What the library expected, without the names of its language's types.
fn plain(expected: &str) -> String {
    let what = expected.strip_prefix("expected ").unwrap_or(expected);
    let integer = |bits: u32, signed: bool| {
        let highest = if signed { (1u128 << (bits - 1)) - 1 } else { (1u128 << bits) - 1 };
        let lowest = if signed { format!("-{}", highest + 1) } else { "0".to_owned() };
        format!("expected a whole number from {lowest} to {highest}")
    };
    match what {
        "u8" => integer(8, false),
        "u16" => integer(16, false),
        "u32" => integer(32, false),
        "u64" => integer(64, false),
        "i32" => integer(32, true),
        "i64" => integer(64, true),
        "usize" | "u128" | "i8" | "i16" | "i128" | "isize" => "expected a whole number".to_owned(),
        "f32" | "f64" => "expected a number".to_owned(),
        "a sequence" => "expected an array".to_owned(),
        "a map" => "expected a JSON object".to_owned(),
        "unit" => "expected null".to_owned(),
        _ if ["struct ", "struct variant "].iter().any(|start| what.starts_with(start)) => {
            "expected a JSON object".to_owned()
        }
        _ if ["tuple ", "a tuple "].iter().any(|start| what.starts_with(start)) => "expected an array".to_owned(),
        _ if ["enum ", "variant ", "unit struct ", "unit variant ", "newtype "].iter().any(|s| what.starts_with(s)) => {
            "has an unacceptable value".to_owned()
        }
        _ => expected.to_owned(),
    }
}

/// The name in back quotes after `prefix`, cut short.
fn quoted_name(text: &str, prefix: &str) -> Option<String> {
    let rest = text.strip_prefix(prefix)?;
    Some(shorten(rest.split('`').next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Sample {
        name: String,
        #[serde(default)]
        version: Option<u8>,
        #[serde(default)]
        labels: Vec<String>,
        #[serde(default)]
        inner: Option<Box<Sample>>,
    }

    fn message(text: &str, whole: Whole<'_>) -> String {
        let error = parse::<Sample>(text.as_bytes(), whole).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidRequest);
        assert!(!error.message.contains("ERIKSSON"), "{}", error.message);
        error.message
    }

    #[test]
    fn errors_name_the_field_and_speak_of_json_not_of_a_programming_language() {
        let body = |text: &str| message(text, Whole::Body);
        assert_eq!(body(r#"{"name":"a","version":"1"}"#), "field `version`: expected a whole number from 0 to 255");
        assert_eq!(body(r#"{"name":"a","version":300}"#), "field `version`: expected a whole number from 0 to 255");
        assert_eq!(body(r#"{"name":"a","labels":"ERIKSSON"}"#), "field `labels`: expected an array");
        assert_eq!(body(r#"{"name":"a","inner":7}"#), "field `inner`: expected a JSON object");
        let whole = "the body is not the object this route takes: expected a JSON object";
        assert_eq!((body("null"), body("[1]"), body("\"ERIKSSON\"")), (whole.into(), whole.into(), whole.into()));
        assert_eq!(body(r#"{"name":"a","name":"b"}"#), "field `name`: was given twice");
        let long = format!(r#"{{"{}":1}}"#, "x".repeat(5_000));
        assert_eq!(body(&long), format!("unknown field `{}`", "x".repeat(64)));
    }

    #[test]
    fn a_text_within_another_is_named_from_the_outside() {
        let within = |text: &str| message(text, Whole::Field("session"));
        assert_eq!(within(r#"{"name":"a","foo":1}"#), "field `session`: unknown field `foo`");
        assert_eq!(
            within(r#"{"name":"a","version":"ERIKSSON"}"#),
            "field `session.version`: expected a whole number from 0 to 255"
        );
        assert_eq!(within("{}"), "field `session.name`: is missing");
        for wrong in ["[]", "7", "\"ERIKSSON\""] {
            assert_eq!(within(wrong), "field `session`: expected a JSON object");
        }
        assert_eq!(message("7", Whole::Line), "the line is not an evidence object: expected a JSON object");
        assert!(message("{\"name\"", Whole::Line).contains("line ends too early"));
    }
}
