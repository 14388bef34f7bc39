//! The document, from the table of routes.

use std::collections::BTreeMap;

use proofmill_contract::ErrorCode;
use serde_json::{Map, Value, json};

use super::operation::{Answer, Body, BodyKind, Content, Operation};
use super::{example, operations, schemas, webhooks};
use crate::http::route::{Access, Route};

/// The document that describes these routes.
pub fn document(routes: &[Route]) -> Value {
    let schemas = schemas::all();
    let mut paths = Map::new();
    for route in routes {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if path.get("parameters").is_none()
            && let Some(schema) = route.operation.names
        {
            path["parameters"] =
                json!([{ "name": "id", "in": "path", "required": true, "schema": schemas::reference(schema) }]);
        }
        path[route.method.to_lowercase()] = operation(route, &schemas);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Proofmill",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Verifies holders of electronic passports.",
            "description": operations::INTRODUCTION,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": operations::TAGS.iter().map(|(name, description)| json!({ "name": name, "description": description })).collect::<Vec<_>>(),
        "paths": paths,
        "webhooks": webhooks::all(&schemas),
        "components": {
            "schemas": schemas,
            "responses": ErrorCode::ALL
                .iter()
                .map(|code| (code.to_string(), failure(code.status(), &[*code])))
                .collect::<Map<_, _>>(),
            "headers": headers(),
            "parameters": { "IdempotencyKey": idempotency_key() },
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "kk_ and 32 characters",
                    "description": "An organisation's API key. Each operation names the scope that it needs.",
                },
                "writeToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "64 hex digits",
                    "description": "`mobile_write_token` of the attempt in the path.",
                },
            },
        },
    })
}

fn operation(route: &Route, schemas: &Map<String, Value>) -> Value {
    let Operation { id, tag, summary, description, query, body, links, callbacks, .. } = &route.operation;
    let mut parameters: Vec<Value> = query
        .iter()
        .map(|parameter| {
            json!({ "name": parameter.name, "in": "query", "description": parameter.description, "schema": parameter.schema })
        })
        .collect();
    if route.operation.idempotent {
        parameters.push(json!({ "$ref": "#/components/parameters/IdempotencyKey" }));
    }
    let description = match route.access {
        Access::Key(scope) => format!("{description}\n\nNeeds the scope `{scope}`."),
        Access::WriteToken | Access::Public => description.clone(),
    };
    let mut value = json!({
        "operationId": id,
        "tags": [tag],
        "summary": summary,
        "description": description.trim(),
        "security": match route.access {
            Access::Key(scope) => json!([{ "apiKey": [scope] }]),
            Access::WriteToken => json!([{ "writeToken": [] }]),
            Access::Public => json!([]),
        },
        "responses": responses(route, schemas),
    });
    if !parameters.is_empty() {
        value["parameters"] = parameters.into();
    }
    if let Some(body) = body {
        value["requestBody"] = request_body(body);
    }
    if let Some(callbacks) = callbacks {
        value["callbacks"] = callbacks.clone();
    }
    if !links.is_empty() {
        let links: Map<String, Value> = links.iter().map(|(name, link)| ((*name).to_owned(), link.clone())).collect();
        let first = route.operation.answers.first().map_or(200, |answer| answer.status).to_string();
        value["responses"][first]["links"] = links.into();
    }
    value
}

fn request_body(body: &Body) -> Value {
    let examples: Map<String, Value> = body
        .examples
        .iter()
        .map(|one| {
            // Which of the documented answers it gets, for whoever runs the examples.
            let value = json!({ "summary": one.summary, "value": one.value, "x-status": one.status });
            (one.name.to_owned(), value)
        })
        .collect();
    let content = match body.kind {
        BodyKind::Json => json!({ "application/json": { "schema": body.schema, "examples": examples } }),
        BodyKind::Form => json!({ "multipart/form-data": {
            "schema": body.schema,
            "encoding": {
                "manifest": { "contentType": "application/json" },
                "chip_authentication": { "contentType": "application/json" },
                "selfie": { "contentType": "image/jpeg" },
            },
            "examples": examples,
        } }),
        BodyKind::Lines => json!({ "application/x-ndjson": {
            "schema": { "type": "string", "description": "One JSON object a line; `x-line` is its schema." },
            "x-line": body.schema,
            "examples": examples,
        } }),
    };
    json!({ "required": body.required, "content": content })
}

fn responses(route: &Route, schemas: &Map<String, Value>) -> Value {
    let mut responses = Map::new();
    for answer in &route.operation.answers {
        responses.insert(answer.status.to_string(), success(route, answer, schemas));
    }
    let mut by_status: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
    for code in errors(route) {
        by_status.entry(code.status()).or_default().push(code);
    }
    for (status, codes) in by_status {
        // What fails in one way only fails so everywhere.
        responses.entry(status.to_string()).or_insert_with(|| match codes.as_slice() {
            [code] => json!({ "$ref": format!("#/components/responses/{code}") }),
            codes => failure(status, codes),
        });
    }
    responses.into()
}

/// What a route can fail with: what every route of its kind can, then its own.
fn errors(route: &Route) -> Vec<ErrorCode> {
    use ErrorCode::{
        Forbidden, HandoffTokenInvalid, InternalServerError, InvalidRequest, RateLimited, RequestTimeout, Unauthorized,
        Unavailable,
    };
    let mut codes = vec![InvalidRequest, RequestTimeout, RateLimited, InternalServerError, Unavailable];
    match route.access {
        Access::Key(_) => codes.extend([Unauthorized, Forbidden]),
        Access::WriteToken => codes.push(HandoffTokenInvalid),
        Access::Public => {}
    }
    codes.extend_from_slice(&route.operation.errors);
    ErrorCode::ALL.iter().copied().filter(|code| codes.contains(code)).collect()
}

fn success(route: &Route, answer: &Answer, schemas: &Map<String, Value>) -> Value {
    let enveloped = |data: &Value, pagination: bool| {
        let mut members = json!({ "data": data, "error": { "type": "null" } });
        let mut required = vec!["data", "error"];
        if pagination {
            members["pagination"] = schemas::reference("Pagination");
            required.push("pagination");
        }
        json!({ "type": "object", "properties": members, "required": required, "additionalProperties": false })
    };
    let json_content = |schema: Value| {
        let example = example::of(&schema, schemas);
        json!({ "application/json": { "schema": schema, "example": example } })
    };
    let content = match &answer.content {
        Content::Nothing => None,
        Content::Data(data) => Some(json_content(enveloped(data, false))),
        Content::Page(item) => Some(json_content(enveloped(&json!({ "type": "array", "items": item }), true))),
        Content::Document(schema) => Some(json!({ "application/json": { "schema": schema } })),
        Content::Html => Some(json!({ "text/html": { "schema": { "type": "string" } } })),
        Content::Lines(line) => Some(json!({ "application/x-ndjson": {
            "schema": { "type": "string", "description": "One JSON object a line; `x-line` is its schema." },
            "x-line": line,
            "example": format!("{}\n", example::of(line, schemas)),
        } })),
    };
    let mut names = vec!["X-Request-Id", "RateLimit", "RateLimit-Policy"];
    if route.operation.idempotent {
        names.push("Idempotency-Replayed");
    }
    let mut response = json!({ "description": answer.description, "headers": header_references(&names) });
    if let Some(content) = content {
        response["content"] = content;
    }
    response
}

fn failure(status: u16, codes: &[ErrorCode]) -> Value {
    let mut names = vec!["X-Request-Id", "RateLimit", "RateLimit-Policy"];
    if codes.iter().any(|code| matches!(code, ErrorCode::RateLimited | ErrorCode::Unavailable)) {
        names.push("Retry-After");
    }
    if status == 401 {
        names.push("WWW-Authenticate");
    }
    let texts: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
    let description: Vec<String> = codes.iter().map(|code| format!("`{code}`: {}", code.description())).collect();
    json!({
        "description": description.join("\n\n"),
        "headers": header_references(&names),
        "content": { "application/json": {
            "schema": { "allOf": [
                schemas::reference("ErrorAnswer"),
                { "properties": { "error": { "properties": { "code": { "enum": texts } } } } },
            ] },
        } },
    })
}

fn header_references(names: &[&str]) -> Value {
    names
        .iter()
        .map(|name| ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") })))
        .collect::<Map<_, _>>()
        .into()
}

fn headers() -> Value {
    json!({
        "X-Request-Id": {
            "description": "This request's id, in every answer.",
            "required": true,
            "schema": { "type": "string", "pattern": "^req_[a-z0-9]{26}$" },
        },
        "RateLimit": {
            "description": "What is left of the quota, and in how many seconds it is whole again: `\"key\";r=999;t=1`.",
            "schema": { "type": "string", "pattern": "^\"(key|address)\";r=[0-9]+;t=[0-9]+$" },
        },
        "RateLimit-Policy": {
            "description": "The quota, and its window in seconds: `\"key\";q=1000;w=1`.",
            "schema": { "type": "string", "pattern": "^\"(key|address)\";q=[0-9]+;w=[0-9]+$" },
        },
        "Retry-After": {
            "description": "Seconds after which to try again.",
            "required": true,
            "schema": { "type": "integer", "minimum": 1 },
        },
        "Idempotency-Replayed": {
            "description": "There when the answer is that of an earlier request with the same key.",
            "schema": { "type": "string", "const": "true" },
        },
        "WWW-Authenticate": {
            "description": "How to authenticate.",
            "required": true,
            "schema": { "type": "string", "const": "Bearer" },
        },
    })
}

fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Visible ASCII characters. The same key with the same request gets the stored answer for 24 hours; with another request it is refused.",
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": proofmill_contract::limits::MAX_IDEMPOTENCY_KEY_CHARS,
            "pattern": "^[ -~]+$",
            "examples": ["order-7781"],
        },
    })
}
