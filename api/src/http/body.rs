//! JSON request bodies: bounded, unknown fields refused by name, errors that name the field and never quote a value.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use proofmill_contract::limits::MAX_JSON_REQUEST_BYTES;
use proofmill_contract::{ApiError, ErrorCode};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::error::{Error, Result};

/// The bytes of a JSON request, read under the limit; empty when there is no body.
#[derive(Clone)]
pub struct JsonBytes(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBytes {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        let is_json = is_json(request.headers());
        let bytes = read(request.into_body(), MAX_JSON_REQUEST_BYTES).await?;
        if !bytes.is_empty() && !is_json {
            return Err(Error::new(ErrorCode::UnsupportedMediaType, "expected `Content-Type: application/json`"));
        }
        Ok(Self(bytes))
    }
}

/// A body without any member.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

impl JsonBytes {
    /// Reads an object; no body at all reads as `{}`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        let bytes: &[u8] = if self.0.is_empty() { b"{}" } else { &self.0 };
        parse(bytes).map_err(Error::from)
    }
}

/// Reads a JSON object; the error names the field and what was expected there, and quotes no value.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> std::result::Result<T, ApiError> {
    // A struct would also read an array, by position: field order must not become part of the contract.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|first| *first == b'[') {
        let message = "the body is not the object this route takes: expected a JSON object";
        return Err(ApiError::new(ErrorCode::InvalidRequest, message));
    }
    if holds_nul(bytes) {
        return Err(ApiError::new(
            ErrorCode::InvalidRequest,
            "the body holds a NUL character, which no text here can have",
        ));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        // Where a text was expected and an array stands, the library speaks of syntax.
        if error.inner().is_syntax() && serde_json::from_slice::<IgnoredAny>(bytes).is_ok() {
            return ApiError::invalid_field(&path, "has an unacceptable value");
        }
        describe(&path, error.inner())
    })?;
    json.end().map_err(|error| describe(".", &error))?;
    Ok(value)
}

fn describe(path: &str, error: &serde_json::Error) -> ApiError {
    use serde_json::error::Category;
    let message = match error.classify() {
        Category::Data => {
            let text = error.to_string();
            let at_root = path == "." || path.is_empty();
            if let Some(name) = quoted_name(&text, "unknown field `") {
                return ApiError::new(ErrorCode::InvalidRequest, format!("unknown field `{name}`"));
            }
            if let Some(name) = quoted_name(&text, "missing field `") {
                let full = if at_root { name } else { format!("{path}.{name}") };
                return ApiError::invalid_field(&full, "is missing");
            }
            if let Some(name) = quoted_name(&text, "duplicate field `") {
                return ApiError::invalid_field(&name, "was given twice");
            }
            let expected = text
                .rfind("expected ")
                .map(|at| text[at..].split(" at line ").next().unwrap_or_default().to_owned())
                .unwrap_or_else(|| "has an unacceptable value".to_owned());
            if !at_root {
                return ApiError::invalid_field(path, expected);
            }
            format!("the body is not the object this route takes: {expected}")
        }
        Category::Eof => "the JSON body ends too early".to_owned(),
        Category::Syntax | Category::Io => {
            format!("the body is not JSON (line {}, column {})", error.line(), error.column())
        }
    };
    ApiError::new(ErrorCode::InvalidRequest, message)
}

/// Whether a JSON text holds U+0000, which PostgreSQL cannot store: by its escape, for JSON allows no other way.
fn holds_nul(json: &[u8]) -> bool {
    let mut rest = json;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        let escape = &rest[at + 1..];
        if escape.starts_with(b"u0000") {
            return true;
        }
        rest = escape.get(1..).unwrap_or_default();
    }
    false
}

/// The name in back quotes after `prefix`, cut short: an error must not become a mirror of any size.
fn quoted_name(text: &str, prefix: &str) -> Option<String> {
    let rest = text.strip_prefix(prefix)?;
    Some(rest.split('`').next().unwrap_or_default().chars().take(64).collect())
}

async fn read(body: Body, limit: usize) -> Result<Bytes> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            Err(ApiError::too_large("body", limit).into())
        }
        Err(_) => Err(Error::new(ErrorCode::InvalidRequest, "the request body broke off")),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_and_nul_characters_are_refused() {
        for body in [&b"[]"[..], b" [1]"] {
            let error = parse::<serde_json::Value>(body).unwrap_err();
            assert!(error.message.contains("JSON object"), "{}", error.message);
        }
        assert!(parse::<serde_json::Value>(br#"{"a":"x\u0000y"}"#).unwrap_err().message.contains("NUL"));
        // A backslash that is itself escaped makes plain text.
        assert!(parse::<serde_json::Value>(br#"{"a":"x\\u0000y"}"#).is_ok());
        assert!(parse::<serde_json::Value>(b"").is_err());
    }

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[allow(dead_code)]
        name: String,
        #[serde(default)]
        #[allow(dead_code)]
        labels: Vec<String>,
        #[serde(default)]
        #[allow(dead_code)]
        kind: Option<Kind>,
    }

    #[derive(Deserialize, Debug)]
    enum Kind {}

    fn message(text: &str) -> String {
        let error = parse::<Sample>(text.as_bytes()).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidRequest);
        error.message
    }

    #[test]
    fn errors_name_the_field_and_quote_no_value() {
        assert_eq!(message(r#"{"name":"a","shoe":1}"#), "unknown field `shoe`");
        assert_eq!(message(r#"{}"#), "field `name`: is missing");
        let wrong = message(r#"{"name":"a","labels":["x",{"ERIKSSON":1}]}"#);
        assert!(wrong.starts_with("field `labels[1]`: expected a string"), "{wrong}");
        let quoted = message(r#"{"name":"a","labels":"ERIKSSON"}"#);
        assert!(quoted.contains("`labels`") && !quoted.contains("ERIKSSON"), "{quoted}");
        assert_eq!(message(r#"{"name":"a","kind":[["ERIKSSON"]]}"#), "field `kind`: has an unacceptable value");
        assert!(message("{\"name\"").contains("ends too early"));
        assert!(message("not json").contains("column"));
        assert!(message(r#"{"name":"a"} x"#).contains("not JSON"));
    }
}
