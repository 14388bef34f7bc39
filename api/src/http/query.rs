//! Query parameters: each read by name, unknown ones refused by name.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use proofmill_contract::{ApiError, ErrorCode, Timestamp};

use super::error::{Error, Result};

/// The parameters not yet read.
pub struct Query(BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let mut map = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            let name: String = name.chars().take(64).collect();
            // PostgreSQL cannot even look for a NUL character.
            if value.contains('\0') {
                return Err(match name.as_str() {
                    "starting_after" => Error::new(ErrorCode::InvalidCursor, "the cursor names nothing in this list"),
                    _ => ApiError::invalid_field(&name, "holds a NUL character").into(),
                });
            }
            if map.insert(name.clone(), value.into_owned()).is_some() {
                return Err(ApiError::invalid_field(&name, "was given twice").into());
            }
        }
        Ok(Self(map))
    }
}

impl Query {
    /// A parameter as its type; `expected` is what the error says.
    pub fn take<T: FromStr>(&mut self, name: &str, expected: impl Display) -> Result<Option<T>> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(ApiError::invalid_field(name, format!("expected {expected}")).into()),
            },
        }
    }

    /// A moment in RFC 3339.
    pub fn take_time(&mut self, name: &str) -> Result<Option<Timestamp>> {
        match self.0.remove(name) {
            None => Ok(None),
            // A plus sign that was not percent-encoded arrives as a space, and there is no other in such a text.
            Some(text) => match Timestamp::parse_rfc3339(&text.replace(' ', "+")) {
                Some(time) => Ok(Some(time)),
                None => Err(ApiError::invalid_field(name, "expected an RFC 3339 time").into()),
            },
        }
    }

    /// `true` or `false`; absent is `false`.
    pub fn take_flag(&mut self, name: &str) -> Result<bool> {
        Ok(self.take::<bool>(name, "`true` or `false`")?.unwrap_or(false))
    }

    /// Refuses what nobody read.
    pub fn finish(self) -> Result<()> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(ApiError::invalid_field(&name, "this route takes no such parameter").into()),
        }
    }
}
