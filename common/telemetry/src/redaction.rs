//! Keeping secrets and identities out of what people read.

use std::borrow::Cow;
use std::fmt;

const MASK: &str = "[redacted]";

/// A value that prints as `[redacted]`. For configuration with secrets in it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Redacted<T>(T);

impl<T> Redacted<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// Unwraps it.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl<T> fmt::Display for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl<T> From<T> for Redacted<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

/// Masks what must never be in a log, wherever it came from: API keys, signing secrets, bearer and cancel
/// tokens, passwords in URIs, lines of a machine-readable zone, long encoded data.
///
/// A second line of defence: the types that hold such things do not print in the first place. It cannot know a
/// name or a date of birth when it sees one.
pub fn scrub(line: &str) -> Cow<'_, str> {
    let mut line = Cow::Borrowed(line);
    for (marker, at_least, is_secret) in PREFIXED {
        line = replace(line, |text| find_prefixed(text, marker, *at_least, *is_secret));
    }
    line = replace(line, find_password);
    line = replace(line, |text| find_run(text, is_mrz_char, |run| run.len() >= 24 && run.contains("<<")));
    line = replace(line, |text| find_run(text, is_token_char, |run| run.len() == CANCEL_TOKEN_CHARS));
    replace(line, |text| find_run(text, is_encoded_char, |run| run.len() >= LONG_RUN))
}

/// Characters of a cancel token. No id has a run of this length: theirs are 32 or 64.
const CANCEL_TOKEN_CHARS: usize = 48;
/// An encoded run of this length is data, not an id: the longest id has 68 characters.
const LONG_RUN: usize = 160;

type IsChar = fn(char) -> bool;

/// What comes before a secret, the fewest characters that make one, and its alphabet.
const PREFIXED: &[(&str, usize, IsChar)] = &[
    ("kk_", 16, is_token_char),
    ("whsec_", 16, is_token_char),
    ("Bearer ", 1, is_bearer_char),
    ("bearer ", 1, is_bearer_char),
    ("cancel_token=", 1, is_bearer_char),
];

fn is_token_char(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn is_bearer_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~+/=".contains(c)
}

fn is_mrz_char(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit() || c == '<'
}

fn is_encoded_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_+/=".contains(c)
}

/// A part of the text that is to be masked, as byte positions.
type Span = (usize, usize);

fn replace(text: Cow<'_, str>, find: impl Fn(&str) -> Option<Span>) -> Cow<'_, str> {
    let Some(first) = find(&text) else { return text };
    let mut out = String::with_capacity(text.len());
    let mut rest: &str = &text;
    let mut found = Some(first);
    while let Some((start, end)) = found {
        // Spans end on character boundaries, because they are made of whole characters.
        let (Some(before), Some(after)) = (rest.get(..start), rest.get(end..)) else { break };
        out.push_str(before);
        out.push_str(MASK);
        rest = after;
        found = find(rest);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn find_prefixed(text: &str, marker: &str, at_least: usize, is_secret: IsChar) -> Option<Span> {
    text.match_indices(marker).find_map(|(position, _)| {
        let start = position + marker.len();
        let end = start + run_length(text.get(start..)?, is_secret);
        (end - start >= at_least).then_some((start, end))
    })
}

/// `scheme://user:password@host`: everything before the `@` goes.
fn find_password(text: &str) -> Option<Span> {
    text.match_indices("://").find_map(|(position, _)| {
        let start = position + 3;
        let authority = text.get(start..)?;
        let authority = authority.get(..run_length(authority, |c| !c.is_whitespace() && !"/\"'`<>".contains(c)))?;
        let at = authority.rfind('@')?;
        // Already masked: an endless replacement otherwise.
        (authority.get(..at)? != MASK).then_some((start, start + at))
    })
}

fn find_run(text: &str, is_part: IsChar, is_secret: impl Fn(&str) -> bool) -> Option<Span> {
    let mut start = 0;
    while start < text.len() {
        let rest = text.get(start..)?;
        let length = run_length(rest, is_part);
        if length > 0 && is_secret(rest.get(..length)?) {
            return Some((start, start + length));
        }
        // On to the next run: past this one and the character that ended it.
        start += length + rest.get(length..)?.chars().next().map_or(1, char::len_utf8);
    }
    None
}

fn run_length(text: &str, is_part: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is_part(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_identities_are_masked_wherever_they_stand() {
        let key = "kk_0123456789abcdefghijklmnopqrstuv";
        let secret = "whsec_0123456789abcdefghijklmnopqrstuv";
        let cancel = "a1".repeat(24);
        let mrz = "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<";
        let base64 = "/9j/4AAQSkZJRgABAQEAYABgAAD+".repeat(8);
        for (line, hidden) in [
            (format!("key {key} and {key}"), "0123456789"),
            (format!("{{\"secret\":\"{secret}\"}}"), "0123456789"),
            ("authorization: Bearer abc.DEF-1~2".to_owned(), "abc"),
            ("GET /v/x?cancel_token=abc".to_owned(), "abc"),
            (format!("token {cancel}."), "a1a1"),
            ("to amqp://user:pass@word@host:5672/%2f".to_owned(), "pass"),
            (format!("mrz {mrz}"), "ERIKSSON"),
            (format!("body {base64}"), "4AAQ"),
        ] {
            let scrubbed = scrub(&line);
            assert!(!scrubbed.contains(hidden), "{scrubbed}");
            assert!(scrubbed.contains(MASK), "{scrubbed}");
        }
        assert_eq!(
            scrub("to amqp://u:p@host/x and amqp://u:p@host/y"),
            "to amqp://[redacted]@host/x and amqp://[redacted]@host/y"
        );
    }

    #[test]
    fn ids_hashes_and_prose_stay_readable() {
        for line in [
            format!("attempt va_{} settled", "0a".repeat(32)),
            format!("endpoint whe_{} disabled", "0a".repeat(16)),
            format!("model sha256 {}", "0f".repeat(32)),
            "kk_ and whsec_ are prefixes; see https://example.org/a@b".to_owned(),
            "größer als 5 €: <<done>>".to_owned(),
            String::new(),
        ] {
            assert!(matches!(scrub(&line), Cow::Borrowed(same) if same == line), "{line}");
        }
    }

    #[test]
    fn a_redacted_value_never_prints() {
        let value = Redacted::new("hunter2".to_owned());
        assert_eq!((format!("{value}"), format!("{value:?}")), (MASK.to_owned(), MASK.to_owned()));
        assert_eq!(value.expose(), "hunter2");
    }
}
