//! Exchanges with a chip as JSON objects with hex members: one object, a list of them, or a list by name.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::finding::Trouble;

/// One object of a file.
pub struct Object<'a> {
    /// Number from 1, where the file holds several.
    pub number: Option<usize>,
    /// Its name in a list by name.
    pub name: Option<String>,
    text: &'a RawValue,
}

/// More exchanges than anybody records in one file.
const MAX_OBJECTS: usize = 10_000;

/// The objects of a file. `known` are the members by which a single object is told from a list by name.
///
/// # Errors
/// `json_malformed`: neither an object nor a list of them.
pub fn objects<'a>(text: &'a [u8], known: &[&str]) -> Result<Vec<Object<'a>>, Trouble> {
    if let Ok(list) = serde_json::from_slice::<Vec<&RawValue>>(text) {
        if list.is_empty() || list.len() > MAX_OBJECTS {
            return Err(Trouble::new("json_malformed", format!("a list of {} objects", list.len())));
        }
        let numbered = list.into_iter().enumerate();
        return Ok(numbered.map(|(index, text)| Object { number: Some(index + 1), name: None, text }).collect());
    }
    let members: BTreeMap<Cow<'a, str>, &RawValue> = serde_json::from_slice(text).map_err(|error| malformed(&error))?;
    let single = members.keys().any(|name| known.contains(&&**name));
    let all_objects = members.values().all(|value| value.get().starts_with('{'));
    if single || members.is_empty() || !all_objects {
        let text = serde_json::from_slice(text).map_err(|error| malformed(&error))?;
        return Ok(vec![Object { number: None, name: None, text }]);
    }
    let several = members.len() > 1;
    let named = members.into_iter().enumerate();
    Ok(named
        .map(|(index, (name, text))| Object {
            number: several.then_some(index + 1),
            name: Some(name.into_owned()),
            text,
        })
        .collect())
}

impl<'a> Object<'a> {
    /// Reads the object; members that the type does not know are passed over.
    ///
    /// # Errors
    /// `json_malformed`.
    pub fn read<T: Deserialize<'a>>(&self) -> Result<T, Trouble> {
        serde_json::from_str(self.text.get()).map_err(|error| malformed(&error))
    }
}

/// serde's own text may quote the content, so only kind and place are told.
fn malformed(error: &serde_json::Error) -> Trouble {
    let kind = match error.classify() {
        serde_json::error::Category::Eof => "unexpected end",
        serde_json::error::Category::Syntax => "syntax error",
        serde_json::error::Category::Data => "a member of another kind than expected",
        serde_json::error::Category::Io => "read error",
    };
    Trouble::new(
        "json_malformed",
        format!("not such a JSON object: {kind} at line {}, column {}", error.line(), error.column()),
    )
}

/// Reads a member's hex digits; white space and colons between them are allowed.
///
/// # Errors
/// `member_missing`, `member_not_hex`, with the member's name.
pub fn bytes(name: &str, text: Option<&str>) -> Result<Zeroizing<Vec<u8>>, Trouble> {
    let text = text.ok_or_else(|| Trouble::new("member_missing", format!("member `{name}` is missing")))?;
    let digits: Zeroizing<Vec<u8>> =
        Zeroizing::new(text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b':').collect());
    hex::decode(&*digits)
        .map(Zeroizing::new)
        .map_err(|_| Trouble::new("member_not_hex", format!("member `{name}` is not hex")))
}

/// [`bytes`] of a member that may be absent or null.
///
/// # Errors
/// `member_not_hex`.
pub fn optional_bytes(name: &str, text: Option<&str>) -> Result<Option<Zeroizing<Vec<u8>>>, Trouble> {
    text.map(|text| bytes(name, Some(text))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Sample<'a> {
        #[serde(borrow)]
        nonce: Option<Cow<'a, str>>,
    }

    fn nonces(text: &str) -> Vec<(Option<usize>, Option<String>, Option<String>)> {
        let list = objects(text.as_bytes(), &["nonce"]).unwrap_or_else(|trouble| panic!("{}", trouble.message));
        list.iter()
            .map(|object| {
                let sample: Sample<'_> = object.read().unwrap_or_else(|trouble| panic!("{}", trouble.message));
                (object.number, object.name.clone(), sample.nonce.map(Cow::into_owned))
            })
            .collect()
    }

    #[test]
    fn one_object_lists_and_lists_by_name_are_read() {
        let nonce = Some("01".to_owned());
        assert_eq!(nonces(r#"{"nonce":"01","comment":{"x":1}}"#), [(None, None, nonce.clone())]);
        assert_eq!(nonces(r#"[{"nonce":"01"},{}]"#), [(Some(1), None, nonce.clone()), (Some(2), None, None)]);
        assert_eq!(nonces(r#"{"example":{"nonce":"01"}}"#), [(None, Some("example".to_owned()), nonce)]);
        assert_eq!(nonces("{}"), [(None, None, None)]);
    }

    #[test]
    fn errors_name_the_place_and_never_quote_the_content() {
        for text in ["", "[", "[]", "3", r#""ERIKSSON""#, r#"{"nonce":"ERIKSSON"#] {
            let trouble = objects(text.as_bytes(), &["nonce"]).err().unwrap();
            assert!(trouble.reason == "json_malformed" && !trouble.message.contains("ERIK"), "{}", trouble.message);
        }
        assert_eq!(bytes("nonce", None).unwrap_err().reason, "member_missing");
        let trouble = bytes("nonce", Some("ERIKSSON")).unwrap_err();
        assert!(trouble.reason == "member_not_hex" && !trouble.message.contains("ERIK"), "{}", trouble.message);
        assert_eq!(*bytes("nonce", Some("0A:0b 0c")).unwrap(), [10, 11, 12]);
    }
}
