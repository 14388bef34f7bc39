//! The reference page: the document as one HTML page without scripts, so that it works offline and in print.

use std::fmt::Write as _;
use std::sync::LazyLock;

use proofmill_contract::ErrorCode;
use serde_json::{Map, Value};

use super::document;

/// What the page may load: its own style and nothing else.
pub const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static PAGE: LazyLock<String> = LazyLock::new(|| write(document()));

/// The page.
pub fn page() -> &'static str {
    &PAGE
}

/// The methods of a path, in the order of the page.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

fn write(document: &Value) -> String {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Proofmill API</title>\
         <style>{}</style></head><body><h1>Proofmill API</h1>",
        include_str!("reference.css")
    );
    paragraphs(&mut html, &document["info"]["description"]);
    html.push_str("<p>For programs: <a href=\"/openapi.json\">openapi.json</a> (OpenAPI 3.1).</p>");
    contents(&mut html, document);
    for tag in items(&document["tags"]) {
        let name = string(&tag["name"]);
        put(
            &mut html,
            format_args!("<h2 id=\"{0}\">{0}</h2><p>{1}</p>", escape(name), prose(string(&tag["description"]))),
        );
        for (method, path, operation) in operations(document).filter(|(_, _, operation)| operation["tags"][0] == name) {
            write_operation(&mut html, method, path, operation, &document["paths"][path]["parameters"]);
        }
    }
    html.push_str("<h2 id=\"events\">Events</h2>");
    for (name, webhook) in members(&document["webhooks"]) {
        write_event(&mut html, name, &webhook["post"]);
    }
    html.push_str("<h2 id=\"schemas\">Schemas</h2>");
    for (name, schema) in members(&document["components"]["schemas"]) {
        put(&mut html, format_args!("<h3 id=\"schema-{0}\">{0}</h3>", escape(name)));
        write_schema(&mut html, schema);
    }
    write_errors(&mut html);
    html.push_str("</body></html>");
    html
}

fn contents(html: &mut String, document: &Value) {
    html.push_str("<nav><ul>");
    for (method, path, operation) in operations(document) {
        put(
            html,
            format_args!(
                "<li><a href=\"#{}\"><code>{} {}</code></a></li>",
                escape(string(&operation["operationId"])),
                method.to_uppercase(),
                escape(path)
            ),
        );
    }
    html.push_str("<li><a href=\"#events\">Events</a></li><li><a href=\"#schemas\">Schemas</a></li>");
    html.push_str("<li><a href=\"#errors\">Error codes</a></li></ul></nav>");
}

fn write_operation(html: &mut String, method: &str, path: &str, operation: &Value, shared: &Value) {
    put(
        html,
        format_args!(
            "<h3 id=\"{}\">{}</h3><p><code class=\"method\">{}</code> <code>{}</code></p>",
            escape(string(&operation["operationId"])),
            escape(string(&operation["summary"])),
            method.to_uppercase(),
            escape(path)
        ),
    );
    paragraphs(html, &operation["description"]);
    let parameters: Vec<&Value> = items(shared).chain(items(&operation["parameters"])).collect();
    if !parameters.is_empty() {
        html.push_str("<table><tr><th>Parameter</th><th>In</th><th>Type</th><th></th></tr>");
        for parameter in parameters.into_iter().map(resolve) {
            put(
                html,
                format_args!(
                    "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td></tr>",
                    escape(string(&parameter["name"])),
                    escape(string(&parameter["in"])),
                    kind(&parameter["schema"]),
                    prose(string(&parameter["description"]))
                ),
            );
        }
        html.push_str("</table>");
    }
    for (media_type, content) in members(&operation["requestBody"]["content"]) {
        let line = content.get("x-line").map_or(&content["schema"], |line| line);
        put(html, format_args!("<p>Takes <code>{media_type}</code>: {}</p>", kind(line)));
        for (_, example) in members(&content["examples"]) {
            put(html, format_args!("<p>{}:</p>", escape(string(&example["summary"]))));
            pre(html, &example["value"]);
        }
    }
    html.push_str("<table><tr><th>Status</th><th></th><th>Body</th></tr>");
    for (status, response) in members(&operation["responses"]) {
        let response = resolve(response);
        let (mut body, mut example) = (String::new(), &Value::Null);
        for (media_type, content) in members(&response["content"]) {
            let schema = content.get("x-line").unwrap_or(&content["schema"]);
            let data = schema.pointer("/properties/data").unwrap_or(schema);
            body = format!(
                "<code>{media_type}</code> {}",
                if status.starts_with(['4', '5']) { String::new() } else { kind(data) }
            );
            example = content.get("example").unwrap_or(&Value::Null);
        }
        put(html, format_args!("<tr><td>{status}</td><td>"));
        paragraphs(html, &response["description"]);
        if !example.is_null() {
            html.push_str("<details><summary>Example</summary>");
            pre(html, example);
            html.push_str("</details>");
        }
        put(html, format_args!("</td><td>{body}</td></tr>"));
    }
    html.push_str("</table>");
}

fn write_event(html: &mut String, name: &str, operation: &Value) {
    let plaintext = &operation["requestBody"]["content"]["application/jose"]["x-plaintext"];
    put(
        html,
        format_args!(
            "<h3 id=\"{0}\"><code>{0}</code></h3><p>{1}. Decrypted: {2}</p>",
            escape(name),
            escape(string(&operation["summary"])),
            kind(&plaintext["schema"])
        ),
    );
    pre(html, &plaintext["example"]);
}

fn write_schema(html: &mut String, schema: &Value) {
    paragraphs(html, &schema["description"]);
    let required: Vec<&str> = items(&schema["required"]).map(string).collect();
    let properties: Vec<_> = members(&schema["properties"]).collect();
    if properties.is_empty() {
        put(html, format_args!("<p>{}</p>", kind(schema)));
        return;
    }
    html.push_str("<table><tr><th>Member</th><th>Type</th><th></th></tr>");
    for (name, member) in properties {
        let need = if required.contains(&name) { "" } else { "optional; " };
        put(
            html,
            format_args!(
                "<tr><td><code>{}</code></td><td>{}</td><td>{need}{}</td></tr>",
                escape(name),
                kind(member),
                prose(string(&member["description"]))
            ),
        );
    }
    html.push_str("</table>");
}

/// The anchors that the `docs` link of every error leads to.
fn write_errors(html: &mut String) {
    html.push_str("<h2 id=\"errors\">Error codes</h2><table><tr><th>Status</th><th>Code</th><th></th></tr>");
    for code in ErrorCode::ALL {
        put(
            html,
            format_args!(
                "<tr id=\"{code}\"><td>{}</td><td><code>{code}</code></td><td>{}</td></tr>",
                code.status(),
                prose(code.description())
            ),
        );
    }
    html.push_str("</table>");
}

/// A schema in a few words, linked where it has a name.
fn kind(schema: &Value) -> String {
    if let Some(target) = schema["$ref"].as_str() {
        let name = target.rsplit('/').next().unwrap_or_default();
        return format!("<a href=\"#schema-{0}\">{0}</a>", escape(name));
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(variants) = schema[key].as_array() {
            return variants.iter().map(kind).collect::<Vec<_>>().join(" or ");
        }
    }
    if let Some(value) = schema.get("const") {
        return format!("<code>{}</code>", escape(&value.to_string()));
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> =
            values.iter().map(|value| format!("<code>{}</code>", escape(&value.to_string()))).collect();
        return values.join(", ");
    }
    let name = match &schema["type"] {
        Value::Array(names) => names.iter().map(string).collect::<Vec<_>>().join(" or "),
        name => string(name).to_owned(),
    };
    let mut text = match name.as_str() {
        "array" => format!("array of {}", kind(&schema["items"])),
        _ => escape(&name),
    };
    let limits = [
        ("format", ""),
        ("pattern", "pattern "),
        ("minimum", "at least "),
        ("maximum", "at most "),
        ("maxLength", "length at most "),
        ("minItems", "items at least "),
        ("maxItems", "items at most "),
        ("maxProperties", "members at most "),
        ("default", "default "),
    ];
    for (key, word) in limits {
        match schema.get(key) {
            None => {}
            Some(Value::String(limit)) => put(&mut text, format_args!(", {word}<code>{}</code>", escape(limit))),
            Some(limit) => put(&mut text, format_args!(", {word}{}", escape(&limit.to_string()))),
        }
    }
    text
}

fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    members(&document["paths"])
        .flat_map(|(path, item)| METHODS.into_iter().filter_map(move |method| Some((method, path, item.get(method)?))))
}

/// What a reference leads to.
fn resolve(value: &Value) -> &Value {
    let target = value["$ref"].as_str().and_then(|text| text.strip_prefix('#'));
    target.and_then(|pointer| document().pointer(pointer)).unwrap_or(value)
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter).map(|(name, value)| (name.as_str(), value))
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn paragraphs(html: &mut String, text: &Value) {
    for paragraph in string(text).split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        put(html, format_args!("<p>{}</p>", prose(paragraph)));
    }
}

fn pre(html: &mut String, value: &Value) {
    let text = match value {
        Value::String(text) => text.clone(),
        value => serde_json::to_string_pretty(value).unwrap_or_default(),
    };
    put(html, format_args!("<pre>{}</pre>", escape(&text)));
}

/// Text with its back-quoted words as code.
fn prose(text: &str) -> String {
    let mut html = String::new();
    for (index, piece) in text.split('`').enumerate() {
        match index % 2 {
            0 => html.push_str(&escape(piece)),
            _ => put(&mut html, format_args!("<code>{}</code>", escape(piece))),
        }
    }
    html
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn put(html: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = html.write_fmt(text);
}
