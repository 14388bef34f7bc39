//! Signing secrets: sealed under the deployment key, shown to holders of `webhooks:write` only.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use proofmill_contract::{EndpointId, ids};
use proofmill_store::SigningSecrets;
use serde::Deserialize;
use serde_json::json;

use super::endpoint_id;
use super::endpoints::not_found;
use crate::http::auth::{Authorised, WebhooksWrite};
use crate::http::body::JsonBytes;
use crate::http::envelope;
use crate::http::error::{Error, Result};
use crate::http::idempotency::{self, Creation};
use crate::state::{AppState, Ctx};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

/// `POST /v1/webhooks/endpoints/{id}/signing-secret/reveal`
pub async fn reveal(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<WebhooksWrite>,
    Path(id): Path<String>,
    body: JsonBytes,
) -> Result<Response> {
    body.parse::<Empty>()?;
    let id = endpoint_id(&id)?;
    let secrets = ctx.store.signing_secrets(&caller.organisation, &id, ctx.clock.now()).await?.ok_or_else(not_found)?;
    let secret = ctx.deployment.open(SECRET_LABEL, id.as_str().as_bytes(), &secrets.current_sealed)?;
    let text = std::str::from_utf8(&secret).map_err(|error| Error::internal(&error))?;
    Ok(envelope::data(
        StatusCode::OK,
        &json!({ "signing_secret": text, "previous_expires_at": secrets.previous_expires_at }),
    ))
}

/// `POST /v1/webhooks/endpoints/{id}/signing-secret/rotate`
pub async fn rotate(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<WebhooksWrite>,
    Path(id): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response> {
    body.parse::<Empty>()?;
    let id = endpoint_id(&id)?;
    let organisation = caller.organisation.clone();
    let creation = Creation { organisation: caller.organisation, method, uri, headers, body: body.0 };
    let shared = ctx.clone();
    // A retried rotation must not push the secret that is in use out of its overlap: hence once per idempotency key.
    idempotency::once(&ctx, creation, |once| async move {
        let now = shared.clock.now();
        let secret = ids::signing_secret(&mut rand::rng());
        let sealed = seal_secret(&shared, &id, &secret)?;
        let reply = once.reply(move |secrets: &Option<SigningSecrets>| {
            let shown = |secrets: &SigningSecrets| json!({ "signing_secret": secret, "previous_expires_at": secrets.previous_expires_at });
            Ok(secrets.as_ref().map(|secrets| (StatusCode::OK, shown(secrets))))
        });
        let rotated =
            shared.store.rotate_signing_secret_once(&organisation, &id, sealed, reply.stored(), now).await?;
        reply.respond(&rotated)?.ok_or_else(not_found)
    })
    .await
}

const SECRET_LABEL: &str = "webhook.signing_secret";

/// Bound to its endpoint: a row copied to another endpoint does not open there.
pub(super) fn seal_secret(state: &AppState, endpoint: &EndpointId, secret: &str) -> Result<Vec<u8>> {
    Ok(state.deployment.seal(SECRET_LABEL, endpoint.as_str().as_bytes(), secret.as_bytes())?)
}
