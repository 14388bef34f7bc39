//! The test that keeps a defaults file true to its program.

use clap::CommandFactory;

use crate::layer::Layer;
use crate::schema::Schema;

/// What is wrong with a program's defaults file, for a test to find nothing: a setting that it does not mention, one that has no
/// comment, a default that is not the program's, an example that the program refuses. Examples are the lines
/// `#key = value`, for settings without a default.
pub fn check_manual<C: CommandFactory>(manual: &str, sections: &[&str]) -> Vec<String> {
    let schema = Schema::of(&C::command(), sections);
    let defaults = match Layer::parse("the defaults", manual, &schema) {
        Ok(layer) => layer,
        Err(error) => return vec![error.to_string()],
    };
    let with_examples: String =
        manual.lines().map(|line| uncommented(line).unwrap_or(line).to_owned() + "\n").collect();
    let examples = match Layer::parse("the examples", &with_examples, &schema) {
        Ok(layer) => layer,
        Err(error) => return vec![error.to_string()],
    };

    let mut mistakes = Vec::new();
    for (key, setting) in schema.iter() {
        if !examples.keys().any(|(_, named)| named == key) {
            mistakes.push(format!("`{key}` is missing"));
            continue;
        }
        for (section, expected) in &setting.defaults {
            let told = defaults.get(section, key).unwrap_or_default();
            if told != expected {
                mistakes
                    .push(format!("`{key}` is {told:?} for `{section}`, but the program's default is {expected:?}"));
            }
        }
    }
    mistakes.extend(uncommented_settings(manual));
    mistakes
}

/// The line `#key = value` without its mark.
fn uncommented(line: &str) -> Option<&str> {
    let rest = line.strip_prefix('#')?;
    let key = rest.split(" =").next()?;
    let is_key = !key.is_empty() && key.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
    (is_key && rest.contains(" = ")).then_some(rest)
}

/// Settings with no comment in the lines above them.
fn uncommented_settings(manual: &str) -> Vec<String> {
    let mut explained = false;
    let mut mistakes = Vec::new();
    for line in manual.lines() {
        let setting = uncommented(line).unwrap_or(line);
        if line.starts_with("# ") {
            explained = true;
        } else if line.trim().is_empty() || line.starts_with('[') {
            explained = false;
        } else if let Some((key, _)) = setting.split_once(" = ")
            && !explained
        {
            mistakes.push(format!("`{key}` has no comment above it"));
        }
    }
    mistakes
}
