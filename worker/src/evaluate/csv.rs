//! Comma-separated values (RFC 4180): quoted fields, also over several lines; line ends of either kind.

use std::borrow::Cow;

/// Reads records off a text.
pub struct Reader<'a> {
    rest: &'a str,
    line: u64,
}

/// A record and the line on which it begins, from 1.
#[derive(Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub line: u64,
    pub fields: Vec<Cow<'a, str>>,
}

/// Text that is not comma-separated values.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct CsvError {
    pub line: u64,
    pub message: &'static str,
}

impl<'a> Reader<'a> {
    /// Of a file's bytes; a byte order mark is passed over.
    ///
    /// # Errors
    /// The bytes are not UTF-8.
    pub fn new(bytes: &'a [u8]) -> Result<Self, CsvError> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            CsvError { line: 1 + lines_in(before), message: "not UTF-8" }
        })?;
        Ok(Self { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 })
    }

    /// The next record; blank lines are passed over.
    ///
    /// # Errors
    /// A quote is not closed or stands where none may.
    pub fn next_record(&mut self) -> Result<Option<Record<'a>>, CsvError> {
        while let Some(rest) = self.rest.strip_prefix("\r\n").or_else(|| self.rest.strip_prefix('\n')) {
            self.rest = rest;
            self.line += 1;
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut record = Record { line: self.line, fields: Vec::new() };
        loop {
            record.fields.push(if self.rest.starts_with('"') { self.quoted()? } else { self.plain()? });
            if let Some(rest) = self.rest.strip_prefix(',') {
                self.rest = rest;
                continue;
            }
            if !self.rest.is_empty() {
                self.rest =
                    self.rest.strip_prefix("\r\n").or_else(|| self.rest.strip_prefix('\n')).unwrap_or(self.rest);
                self.line += 1;
            }
            return Ok(Some(record));
        }
    }

    fn plain(&mut self) -> Result<Cow<'a, str>, CsvError> {
        let end = self.rest.find([',', '\n', '"']).unwrap_or(self.rest.len());
        let (field, rest) = self.rest.split_at(end);
        if rest.starts_with('"') {
            return Err(CsvError { line: self.line, message: "a quote inside a field that does not begin with one" });
        }
        self.rest = rest;
        if rest.starts_with(',') {
            return Ok(Cow::Borrowed(field));
        }
        // The carriage return belongs to the line's end, which is handed back whole.
        let field = match field.strip_suffix('\r') {
            Some(field) => field,
            None => field,
        };
        Ok(Cow::Borrowed(field))
    }

    fn quoted(&mut self) -> Result<Cow<'a, str>, CsvError> {
        let open = CsvError { line: self.line, message: "a quote is opened and not closed" };
        let body = self.rest.get(1..).unwrap_or_default();
        let mut field: Cow<'a, str> = Cow::Borrowed("");
        let mut from = body;
        loop {
            let Some((part, rest)) = from.split_once('"') else { return Err(open) };
            if field.is_empty() {
                field = Cow::Borrowed(part)
            } else {
                field.to_mut().push_str(part)
            }
            self.line += lines_in(part.as_bytes());
            if let Some(rest) = rest.strip_prefix('"') {
                field.to_mut().push('"');
                from = rest;
                continue;
            }
            let ended = rest.is_empty() || rest.starts_with([',', '\n']) || rest.starts_with("\r\n");
            if !ended {
                return Err(CsvError { line: self.line, message: "text after a closing quote" });
            }
            self.rest = rest;
            return Ok(field);
        }
    }
}

/// A field as it has to be written.
pub fn escape(field: &str) -> Cow<'_, str> {
    if field.contains([',', '"', '\n', '\r']) {
        Cow::Owned(format!("\"{}\"", field.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(field)
    }
}

fn lines_in(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &str) -> Result<Vec<(u64, Vec<String>)>, CsvError> {
        let mut reader = Reader::new(text.as_bytes())?;
        let mut all = Vec::new();
        while let Some(record) = reader.next_record()? {
            all.push((record.line, record.fields.into_iter().map(Cow::into_owned).collect()));
        }
        Ok(all)
    }

    fn fields(line: u64, fields: &[&str]) -> (u64, Vec<String>) {
        (line, fields.iter().map(|field| (*field).to_owned()).collect())
    }

    #[test]
    fn fields_are_plain_or_quoted_and_lines_end_either_way() {
        let text = "\u{feff}a,b,same\r\n\r\n\"x, y\",\"say \"\"hi\"\"\",1\n\n\"two\nlines\",,0\nlast,\"\",";
        assert_eq!(
            records(text).unwrap(),
            [
                fields(1, &["a", "b", "same"]),
                fields(3, &["x, y", "say \"hi\"", "1"]),
                fields(5, &["two\nlines", "", "0"]),
                fields(7, &["last", "", ""]),
            ]
        );
        assert_eq!(records("").unwrap(), []);
        assert_eq!(records("\"\"\"\"\r\n").unwrap(), [fields(1, &["\""])]);
    }

    #[test]
    fn what_is_malformed_is_named_with_its_line() {
        let error = |text: &str| records(text).unwrap_err().to_string();
        assert_eq!(error("a\n\"b"), "line 2: a quote is opened and not closed");
        assert_eq!(error("a\nb\"c\n"), "line 2: a quote inside a field that does not begin with one");
        assert_eq!(error("\"a\n\"b\n"), "line 2: text after a closing quote");
        assert_eq!(Reader::new(b"a\nb\n\xff").err().unwrap().to_string(), "line 3: not UTF-8");
    }

    #[test]
    fn what_is_escaped_is_read_back() {
        for field in ["plain", "a,b", "a\"b", "a\r\nb", ""] {
            let text = format!("{},x\n", escape(field));
            assert_eq!(records(&text).unwrap(), [fields(1, &[field, "x"])]);
        }
    }
}
