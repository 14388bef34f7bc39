//! API keys: `Authorization: Bearer kk_…`, looked up by prefix, compared as SHA-256 in constant time, scoped.

use std::marker::PhantomData;

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use proofmill_contract::{ApiKeyId, ErrorCode, OrganisationId};

use super::error::{Error, Result};
use super::rate_limit;
use crate::state::Ctx;

/// Every scope a key can have.
pub const SCOPES: [&str; 4] = ["sessions:read", "sessions:write", "webhooks:read", "webhooks:write"];
/// Characters of a key that are stored in clear, to find it by; 124 bits remain secret.
pub const KEY_PREFIX_CHARS: usize = 11;

/// Whose request this is.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The organisation: every query is bounded by it.
    pub organisation: OrganisationId,
    /// The key's public name.
    pub key: ApiKeyId,
    scopes: Vec<String>,
}

/// Middleware of every route that takes an API key.
pub async fn require_key(State(ctx): State<Ctx>, mut request: Request, next: Next) -> Response {
    let caller = match authenticate(&ctx, request.headers()).await {
        Ok(caller) => caller,
        Err(error) => {
            // Guessing is charged to the address, so that it cannot be done at full speed.
            let address = rate_limit::client_address(&ctx, &request);
            let verdict = match error.api.code {
                ErrorCode::Unauthorized => ctx.limits.address(address, ctx.clock.now()),
                _ => return error.into_response(),
            };
            let refusal = if verdict.allowed { error } else { verdict.error() };
            return verdict.stamp(refusal.into_response());
        }
    };
    let verdict = ctx.limits.key(&caller.key, ctx.clock.now());
    if !verdict.allowed {
        return verdict.stamp(verdict.error().into_response());
    }
    request.extensions_mut().insert(caller);
    verdict.stamp(next.run(request).await)
}

/// The bearer token of a request, if it has one. Of two, none: a proxy in front may have looked at the other.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let value = value.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// SHA-256 of a whole key. A plain hash suffices because the key is 165 random bits: there is nothing to guess from.
pub fn key_hash(key: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, key.as_bytes()).as_ref());
    hash
}

async fn authenticate(ctx: &Ctx, headers: &HeaderMap) -> Result<Caller> {
    let refused = |message: &str| Error::new(ErrorCode::Unauthorized, message);
    let token = bearer(headers).ok_or_else(|| refused("send one `Authorization: Bearer kk_…`"))?;
    let well_formed = token.len() == 35
        && token
            .strip_prefix("kk_")
            .is_some_and(|rest| rest.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()));
    if !well_formed {
        return Err(refused("this is not an API key"));
    }
    let hash = key_hash(token);
    let mut found = None;
    for row in ctx.store.api_keys_by_prefix(&token[..KEY_PREFIX_CHARS]).await? {
        if aws_lc_rs::constant_time::verify_slices_are_equal(&row.hash, &hash).is_ok() {
            found = Some(row);
        }
    }
    match found {
        Some(row) if row.revoked_at.is_none() => {
            Ok(Caller { organisation: row.organisation_id, key: row.id, scopes: row.scopes })
        }
        // One message for unknown and revoked: a finder of a revoked key learns nothing.
        _ => Err(refused("unknown or revoked API key")),
    }
}

/// A scope as a type, so that a handler cannot be written without naming the one it needs.
pub trait Scope {
    /// The scope as published.
    const NAME: &'static str;
}

macro_rules! scopes {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub struct $name; impl Scope for $name { const NAME: &'static str = $text; })*
    };
}

scopes! {
    /// Reading sessions and attempts.
    SessionsRead = "sessions:read";
    /// Creating, cancelling, submitting.
    SessionsWrite = "sessions:write";
    /// Reading endpoints, keys, deliveries, events.
    WebhooksRead = "webhooks:read";
    /// Changing endpoints, keys, secrets.
    WebhooksWrite = "webhooks:write";
}

/// A caller that holds the scope `S`.
pub struct Authorised<S> {
    /// Whose request this is.
    pub caller: Caller,
    scope: PhantomData<S>,
}

impl<S: Scope> FromRequestParts<Ctx> for Authorised<S> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &Ctx) -> Result<Self> {
        let caller = parts
            .extensions
            .get::<Caller>()
            .ok_or_else(|| Error::internal(&"a route that needs a key is mounted without the key middleware"))?;
        if !caller.scopes.iter().any(|scope| scope == S::NAME) {
            return Err(Error::new(ErrorCode::Forbidden, format!("this key lacks the scope `{}`", S::NAME)));
        }
        Ok(Self { caller: caller.clone(), scope: PhantomData })
    }
}
