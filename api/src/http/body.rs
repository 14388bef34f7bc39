//! JSON request bodies: bounded, unknown fields refused by name, errors that name the field and never quote a value.

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use proofmill_contract::json::{self, Whole};
use proofmill_contract::limits::MAX_JSON_REQUEST_BYTES;
use proofmill_contract::{ApiError, ErrorCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

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
    if holds_nul(bytes) {
        return Err(ApiError::new(
            ErrorCode::InvalidRequest,
            "the body holds a NUL character, which no text here can have",
        ));
    }
    json::parse(bytes, Whole::Body)
}

/// The same of a JSON object that is the value of a field.
pub fn parse_field<T: DeserializeOwned>(field: &str, bytes: &[u8]) -> std::result::Result<T, ApiError> {
    if holds_nul(bytes) {
        return Err(ApiError::invalid_field(field, "holds a NUL character, which no text here can have"));
    }
    json::parse(bytes, Whole::Field(field))
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

async fn read(body: Body, limit: usize) -> Result<Bytes> {
    // What the head says already need not be waited for.
    if body.size_hint().lower() > limit as u64 {
        return Err(ApiError::too_large("body", limit).into());
    }
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
