//! Encryption keys of an endpoint: one active at a time.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use proofmill_contract::{ApiError, EncryptionKeyId, ErrorCode};
use proofmill_jose::EncryptionKey;
use proofmill_store::{NewWebhookKey, StoreError, WebhookKey};
use serde::Deserialize;
use serde_json::{Value, json};

use super::endpoint_id;
use super::endpoints::not_found;
use crate::http::auth::{Authorised, WebhooksRead, WebhooksWrite};
use crate::http::body::JsonBytes;
use crate::http::envelope;
use crate::http::error::{Error, Result};
use crate::http::idempotency::{self, Creation};
use crate::http::page;
use crate::http::query::Query;
use crate::state::Ctx;

const ALGORITHM: &str = "RSA-OAEP-256";
const KEY_TYPE: &str = "RSA";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AddRequest {
    key_id: String,
    algorithm: String,
    key_type: String,
    jwk: Value,
}

/// `POST /v1/webhooks/endpoints/{id}/keys`
pub async fn add(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<WebhooksWrite>,
    Path(id): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response> {
    let endpoint_id = endpoint_id(&id)?;
    let request: AddRequest = body.parse()?;
    let organisation_id = caller.organisation.clone();
    let creation = Creation { organisation: caller.organisation, method, uri, headers, body: body.0 };
    let shared = ctx.clone();
    idempotency::once(&ctx, creation, |once| async move {
        let jwk = check(&request)?;
        let now = shared.clock.now();
        let key_id = request.key_id;
        let new = NewWebhookKey {
            id: EncryptionKeyId::generate(now, &mut rand::rng()),
            organisation_id,
            endpoint_id,
            key_id: key_id.clone(),
            jwk,
        };
        let reply = once.reply(|key: &Option<WebhookKey>| Ok(key.as_ref().map(|key| (StatusCode::CREATED, view(key)))));
        let key = shared.store.add_webhook_key_once(new, reply.stored(), now).await.map_err(|error| match error {
            StoreError::Conflict(_) => Error::from(
                ApiError::new(ErrorCode::Conflict, "field `key_id`: this endpoint has a key of that name")
                    .with_hint("take a new name for a new key, or reactivate the old one"),
            ),
            other => other.into(),
        })?;
        reply.respond(&key)?.ok_or_else(not_found)
    })
    .await
}

/// `GET /v1/webhooks/endpoints/{id}/keys`
pub async fn list(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<WebhooksRead>,
    Path(id): Path<String>,
    mut query: Query,
) -> Result<Response> {
    let request = page::request(&mut query)?;
    query.finish()?;
    let limit = request.limit;
    let id = endpoint_id(&id)?;
    let rows = ctx.store.list_webhook_keys(&caller.organisation, &id, request).await?.ok_or_else(not_found)?;
    let items = rows.items.iter().map(view).collect();
    Ok(page::response(limit, &rows, items))
}

/// `POST /v1/webhooks/keys/{id}/deactivate`
pub async fn deactivate(
    ctx: State<Ctx>,
    caller: Authorised<WebhooksWrite>,
    id: Path<String>,
    body: JsonBytes,
) -> Result<Response> {
    set_active(ctx, caller, id, body, false).await
}

/// `POST /v1/webhooks/keys/{id}/reactivate`
pub async fn reactivate(
    ctx: State<Ctx>,
    caller: Authorised<WebhooksWrite>,
    id: Path<String>,
    body: JsonBytes,
) -> Result<Response> {
    set_active(ctx, caller, id, body, true).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

async fn set_active(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<WebhooksWrite>,
    Path(id): Path<String>,
    body: JsonBytes,
    active: bool,
) -> Result<Response> {
    body.parse::<Empty>()?;
    let unknown = || Error::not_found("encryption key");
    let id = EncryptionKeyId::parse(&id).map_err(|_| unknown())?;
    let key = ctx
        .store
        .set_webhook_key_active(&caller.organisation, &id, active, ctx.clock.now())
        .await?
        .ok_or_else(unknown)?;
    Ok(envelope::data(StatusCode::OK, &view(&key)))
}

/// The canonical public key: members that are not needed are not kept.
fn check(request: &AddRequest) -> Result<Value> {
    let reject = |why: String| Error::new(ErrorCode::InvalidEncryptionKey, why);
    if request.algorithm != ALGORITHM {
        return Err(reject(format!("field `algorithm`: expected `{ALGORITHM}`")));
    }
    if request.key_type != KEY_TYPE {
        return Err(reject(format!("field `key_type`: expected `{KEY_TYPE}`")));
    }
    let key = EncryptionKey::from_jwk(&request.key_id, &request.jwk).map_err(|error| reject(error.to_string()))?;
    Ok(key.to_jwk())
}

fn view(key: &WebhookKey) -> Value {
    json!({
        "id": key.id,
        "endpoint_id": key.endpoint_id,
        "key_id": key.key_id,
        "algorithm": ALGORITHM,
        "key_type": KEY_TYPE,
        "jwk": key.jwk,
        "active": key.active,
        "created_at": key.created_at,
        "deactivated_at": key.deactivated_at,
    })
}
