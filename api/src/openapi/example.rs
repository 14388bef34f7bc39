//! Examples of answers, composed from their schemas.

use serde_json::{Map, Value};

/// A value that the schema describes: its first example or only value, or one composed of its members'.
pub fn of(schema: &Value, schemas: &Map<String, Value>) -> Value {
    let first = |key: &str| schema.get(key).and_then(Value::as_array).and_then(|values| values.first()).cloned();
    // Before its target's: a member may know better.
    if let Some(example) = first("examples") {
        return example;
    }
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let name = target.rsplit('/').next().unwrap_or_default();
        return schemas.get(name).map_or(Value::Null, |schema| of(schema, schemas));
    }
    if let Some(example) =
        schema.get("const").cloned().or_else(|| first("enum")).or_else(|| schema.get("default").cloned())
    {
        return example;
    }
    if let Some(variant) = first("oneOf").or_else(|| first("anyOf")) {
        return of(&variant, schemas);
    }
    match schema.get("type").and_then(|kind| kind.as_str().or_else(|| kind.get(0)?.as_str())) {
        Some("object") => schema
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(name, member)| (name.clone(), of(member, schemas)))
            .collect::<Map<_, _>>()
            .into(),
        Some("array") => schema.get("items").map_or(Value::Null, |item| vec![of(item, schemas)].into()),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(0.into()),
        Some("boolean") => false.into(),
        Some("string") => "text".into(),
        _ => Value::Null,
    }
}
