//! What one file says.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::error::SettingsError;
use crate::schema::{Schema, Setting};

/// The values of one file, by command (`""`: above the tables) and key; every one of them is acceptable.
pub(crate) struct Layer {
    pub origin: String,
    values: BTreeMap<(String, String), Vec<String>>,
}

impl Layer {
    /// Reads a file's text; `origin` is what errors call it.
    pub fn parse(origin: &str, text: &str, schema: &Schema) -> Result<Self, SettingsError> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| syntax(origin, text, &error))?;
        let mut layer = Self { origin: origin.to_owned(), values: BTreeMap::new() };
        for (key, value) in table {
            match value {
                Value::Table(inner) if schema.sections.contains(&key) => {
                    for (inner_key, value) in inner {
                        layer.insert(schema, &key, inner_key, &value)?;
                    }
                }
                value => layer.insert(schema, "", key, &value)?,
            }
        }
        Ok(layer)
    }

    /// What a command finds: in its own table, or above the tables.
    pub fn get(&self, section: &str, key: &str) -> Option<&[String]> {
        let own = (section.to_owned(), key.to_owned());
        let shared = (String::new(), key.to_owned());
        self.values.get(&own).or_else(|| self.values.get(&shared)).map(Vec::as_slice)
    }

    /// Every key with the table it stands in.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.keys().map(|(section, key)| (section.as_str(), key.as_str()))
    }

    fn insert(&mut self, schema: &Schema, section: &str, key: String, value: &Value) -> Result<(), SettingsError> {
        let origin = || self.origin.clone();
        let Some(setting) = schema.get(&key) else {
            return Err(SettingsError::UnknownKey { origin: origin(), nearest: schema.nearest(&key), key });
        };
        if !section.is_empty() && !setting.defaults.contains_key(section) {
            return Err(SettingsError::NotInSection { origin: origin(), key, section: section.to_owned() });
        }
        let refused =
            |shown: String, why: String| SettingsError::Value { origin: origin(), key: key.clone(), shown, why };
        let values = texts(setting, value).map_err(|why| refused(shown(setting, value), why.to_owned()))?;
        setting.check(&values).map_err(|why| refused(shown(setting, value), why))?;
        self.values.insert((section.to_owned(), key), values);
        Ok(())
    }
}

fn shown(setting: &Setting, value: &Value) -> String {
    if setting.secret { "[redacted]".to_owned() } else { value.to_string() }
}

/// A value as the command line would have it.
fn texts(setting: &Setting, value: &Value) -> Result<Vec<String>, &'static str> {
    match value {
        Value::Array(items) if setting.several => items.iter().map(text).collect(),
        Value::Array(_) => Err("it takes one value, not a list"),
        one => Ok(vec![text(one)?]),
    }
}

fn text(value: &Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(truth) => Ok(truth.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => Err("expected a text, a number, true or false"),
    }
}

/// The parser's own rendering would quote the line, which may hold a password.
fn syntax(origin: &str, text: &str, error: &toml::de::Error) -> SettingsError {
    let at = error.span().map_or(0, |span| span.start).min(text.len());
    let before = text.get(..at).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    SettingsError::Syntax {
        origin: origin.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        // Messages may end in what was found: only what was expected is told.
        why: error
            .message()
            .lines()
            .next()
            .unwrap_or("not TOML")
            .split('`')
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned(),
    }
}
