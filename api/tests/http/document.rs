//! Holds every answer that any test receives against the OpenAPI document: its status, code, headers and body.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use jsonschema::Validator;
use proofmill_api::openapi;
use serde_json::{Value, json};

/// An operation of the document.
#[derive(Clone, Copy)]
pub struct Operation {
    pub method: &'static str,
    pub path: &'static str,
    pub value: &'static Value,
    /// The path's own parameters.
    shared: &'static Value,
}

pub const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Every operation.
pub fn operations() -> Vec<Operation> {
    let paths = openapi::document()["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            METHODS.into_iter().filter_map(move |method| {
                let shared = item.get("parameters").unwrap_or(&Value::Null);
                Some(Operation { method, path, value: item.get(method)?, shared })
            })
        })
        .collect()
}

impl Operation {
    pub fn id(&self) -> &'static str {
        self.value["operationId"].as_str().unwrap()
    }

    pub fn http_method(&self) -> Method {
        self.method.to_uppercase().parse().unwrap()
    }

    /// The scope that its API key needs.
    pub fn scope(&self) -> Option<&'static str> {
        self.value["security"].pointer("/0/apiKey/0").and_then(Value::as_str)
    }

    pub fn needs_write_token(&self) -> bool {
        self.value["security"].pointer("/0/writeToken").is_some()
    }

    /// The schema's name of the `{id}` in its path.
    pub fn names(&self) -> Option<&'static str> {
        self.shared.pointer("/0/schema/$ref").and_then(Value::as_str).and_then(|target| target.rsplit('/').next())
    }

    pub fn parameters(&self, place: &str) -> Vec<&'static Value> {
        let own = self.value["parameters"].as_array().into_iter().flatten();
        own.map(resolve).filter(|parameter| parameter["in"] == place).collect()
    }

    /// Media type and description of its body.
    pub fn body(&self) -> Option<(&'static str, &'static Value)> {
        let content = self.value["requestBody"]["content"].as_object()?;
        content.iter().next().map(|(media_type, content)| (media_type.as_str(), content))
    }
}

/// What a reference leads to.
pub fn resolve(value: &'static Value) -> &'static Value {
    match value.get("$ref").and_then(Value::as_str) {
        None => value,
        Some(target) => openapi::document()
            .pointer(target.strip_prefix('#').unwrap())
            .unwrap_or_else(|| panic!("{target} leads nowhere")),
    }
}

/// A validator of a schema of the document.
pub fn validator(schema: &Value) -> Arc<Validator> {
    static KNOWN: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    let key = schema.to_string();
    if let Some(known) = KNOWN.lock().unwrap().get(&key) {
        return known.clone();
    }
    let root = json!({ "allOf": [schema], "components": { "schemas": openapi::document()["components"]["schemas"] } });
    let made = Arc::new(jsonschema::draft202012::options().should_validate_formats(true).build(&root).unwrap());
    KNOWN.lock().unwrap().insert(key, made.clone());
    made
}

/// Why a value is not what a schema describes.
pub fn mismatch(schema: &Value, value: &Value) -> Option<String> {
    let problems: Vec<String> =
        validator(schema).iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    (!problems.is_empty()).then(|| problems.join("\n"))
}

/// Panics unless the document says that this request may be answered so.
#[track_caller]
pub fn hold(method: &Method, uri: &Uri, status: StatusCode, headers: &HeaderMap, body: &str) {
    let what = format!("{method} {} -> {status}", uri.path());
    let id = headers.get("x-request-id").unwrap_or_else(|| panic!("{what}: no X-Request-Id")).to_str().unwrap();
    assert!(id.starts_with("req_") && id.len() == 30, "{what}: {id}");

    let mut here: Vec<Operation> = operations().into_iter().filter(|one| is_at(one.path, uri.path())).collect();
    // A path without an id goes before one with.
    if here.iter().any(|one| one.path == uri.path()) {
        here.retain(|one| one.path == uri.path());
    }
    let wanted = if *method == Method::HEAD { Method::GET } else { method.clone() };
    let Some(operation) = here.iter().find(|one| one.http_method() == wanted) else {
        let code = if here.is_empty() { "NOT_FOUND" } else { "METHOD_NOT_ALLOWED" };
        let answer: Value = serde_json::from_str(body).unwrap_or_default();
        // What is wrong with its head is said before what is wrong with its path.
        let codes = [code, "INVALID_REQUEST"];
        assert!(codes.iter().any(|code| answer["error"]["code"] == *code) || *method == Method::HEAD, "{what}: {body}");
        return;
    };
    let known = &operation.value["responses"];
    let response = known.get(status.as_str()).unwrap_or_else(|| {
        panic!("{what}: the status is not documented for `{}` (api/src/openapi/operations): {body}", operation.id())
    });
    let response = resolve(response);
    for (name, header) in response["headers"].as_object().into_iter().flatten() {
        hold_header(&what, name, resolve(header), headers);
    }
    if *method == Method::HEAD {
        return;
    }
    let media_type = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap().split(';').next().unwrap());
    let Some(content) = response.get("content") else {
        assert!(body.is_empty(), "{what}: the document says that there is no body: {body}");
        return;
    };
    let media_type = media_type.unwrap_or_else(|| panic!("{what}: no Content-Type"));
    let content = content.get(media_type).unwrap_or_else(|| panic!("{what}: {media_type} is not documented: {body}"));
    let problem = match (media_type, content.get("x-line")) {
        (_, Some(line)) => body
            .lines()
            .filter_map(|text| mismatch(line, &serde_json::from_str(text).unwrap()).map(|why| format!("{text}\n{why}")))
            .next(),
        ("application/json", None) => mismatch(&content["schema"], &serde_json::from_str(body).unwrap()),
        (_, None) => None,
    };
    if let Some(problem) = problem {
        panic!(
            "{what}: not as documented for `{}` (api/src/openapi/schemas, api/src/openapi/operations):\n{problem}\n{body}",
            operation.id()
        );
    }
}

fn hold_header(what: &str, name: &str, described: &Value, headers: &HeaderMap) {
    let Some(value) = headers.get(name) else {
        assert!(described["required"] != true, "{what}: no {name}");
        return;
    };
    let text = value.to_str().unwrap();
    let value = match described["schema"]["type"].as_str() {
        Some("integer") => json!(text.parse::<u64>().unwrap()),
        _ => json!(text),
    };
    if let Some(problem) = mismatch(&described["schema"], &value) {
        panic!("{what}: header {name}: {problem}");
    }
}

/// Whether a path is of a template.
fn is_at(template: &str, path: &str) -> bool {
    let (mut template, mut path) = (template.split('/'), path.split('/'));
    loop {
        match (template.next(), path.next()) {
            (None, None) => return true,
            (Some("{id}"), Some(id)) if !id.is_empty() => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}
