//! Findings for programs, one JSON object a line, and for people.

use std::io::{self, IsTerminal as _, Write};

use super::detail::{Detail, Details};
use super::finding::Finding;

/// How findings are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Json,
    Text { colour: bool },
}

impl Format {
    /// Text has colour only on a terminal, and there only if nobody asks for none (<https://no-color.org>).
    pub fn new(json: bool) -> Format {
        let colour = || io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        if json { Format::Json } else { Format::Text { colour: colour() } }
    }
}

/// Writes one finding.
pub fn write(format: Format, finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Json => {
            serde_json::to_writer(&mut *out, finding)?;
            writeln!(out)
        }
        Format::Text { colour } => text(finding, colour, out),
    }
}

const INDENT: usize = 2;

fn text(finding: &Finding, colour: bool, out: &mut dyn Write) -> io::Result<()> {
    let (verdict, code) = if finding.is_valid() { ("VALID", "1;32") } else { ("NOT VALID", "1;31") };
    if colour {
        write!(out, "\x1b[{code}m{verdict}\x1b[0m")?;
    } else {
        write!(out, "{verdict}")?;
    }
    write!(out, "  {} ({})", printable(&finding.file), finding.kind)?;
    if let Some(reason) = &finding.reason {
        write!(out, ": {reason}")?;
    }
    writeln!(out)?;
    if let Some(message) = &finding.message {
        writeln!(out, "{:INDENT$}{}", "", printable(message))?;
    }
    let gates = finding.gates.iter().map(|(name, result)| ((*name).to_owned(), Detail::from(*result))).collect();
    let mut shown = Details::default();
    shown.add("gates", Details(gates));
    if !finding.gates.is_empty() || !finding.deviations.is_empty() {
        let none = || Detail::from("none");
        let deviations = &finding.deviations;
        shown.add("deviations", if deviations.is_empty() { none() } else { Detail::from(deviations.clone()) });
    }
    // Stands among the gates already.
    shown.0.extend(finding.details.0.iter().filter(|(name, _)| name != "revocation_status").cloned());
    members(&shown, INDENT, out)?;
    writeln!(out)
}

/// Members in two columns; those that have members of their own below their name.
fn members(map: &Details, indent: usize, out: &mut dyn Write) -> io::Result<()> {
    let width = map.0.iter().filter(|(_, value)| line(value).is_some()).map(|(name, _)| name.chars().count()).max();
    let width = width.unwrap_or(0);
    for (name, value) in &map.0 {
        if value.is_empty() {
            continue;
        }
        let name = printable(name);
        match (line(value), value) {
            (Some(value), _) => writeln!(out, "{:indent$}{name:width$}  {value}", "")?,
            (None, Detail::Map(inner)) => {
                writeln!(out, "{:indent$}{name}", "")?;
                members(inner, indent + INDENT, out)?;
            }
            (None, Detail::List(items)) => {
                writeln!(out, "{:indent$}{name}", "")?;
                list(items, indent + INDENT, out)?;
            }
            (None, _) => {}
        }
    }
    Ok(())
}

fn list(items: &[Detail], indent: usize, out: &mut dyn Write) -> io::Result<()> {
    for item in items {
        match (line(item), item) {
            (Some(item), _) => writeln!(out, "{:indent$}- {item}", "")?,
            (None, Detail::Map(inner)) => {
                // The dash stands in the margin of the first member.
                let mut block = Vec::new();
                members(inner, indent + INDENT, &mut block)?;
                let block = String::from_utf8_lossy(&block);
                let body = block.get(indent + INDENT..).unwrap_or_default();
                write!(out, "{:indent$}- {body}", "")?;
            }
            (None, Detail::List(inner)) => list(inner, indent + INDENT, out)?,
            (None, _) => {}
        }
    }
    Ok(())
}

/// What fits on a line: single values, and short lists of them.
fn line(value: &Detail) -> Option<String> {
    match value {
        Detail::Null => Some("-".to_owned()),
        Detail::Flag(flag) => Some(if *flag { "yes" } else { "no" }.to_owned()),
        Detail::Number(number) => Some(number.to_string()),
        Detail::Text(text) => Some(printable(text)),
        Detail::List(items) => {
            let scalar = |item: &Detail| !matches!(item, Detail::List(_) | Detail::Map(_));
            let joined = items.iter().filter(|item| scalar(item)).filter_map(line).collect::<Vec<_>>().join(", ");
            (items.iter().all(scalar) && joined.chars().count() <= 100).then_some(joined)
        }
        // Counts.
        Detail::Map(members) => {
            let count = |(name, value): &(String, Detail)| match value {
                Detail::Number(number) => Some(format!("{} {number}", printable(name))),
                _ => None,
            };
            let counts = members.0.iter().map(count).collect::<Option<Vec<_>>>()?;
            (counts.len() <= 6).then(|| counts.join(", "))
        }
    }
}

/// Names in certificates and of files come from outside: they must not move the cursor or forge a line.
fn printable(text: &str) -> String {
    if text.chars().any(char::is_control) {
        text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(finding: &Finding) -> String {
        let mut out = Vec::new();
        write(Format::Text { colour: false }, finding, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_verdict_comes_first_and_columns_are_aligned() {
        let mut finding = Finding::new("a/EF_SOD.bin", "sod");
        finding.gates = vec![("signature", "passed"), ("chain", "failed")];
        finding.fail("chain_not_trusted", None);
        let signer = Details::default().with("country", "UT").with("serial", "0a");
        finding.details.add("certificates", vec![signer]);
        assert_eq!(
            shown(&finding),
            "NOT VALID  a/EF_SOD.bin (sod): chain_not_trusted\n  gates\n    signature  passed\n    chain      failed\n  \
             deviations  none\n  certificates\n    - country  UT\n      serial   0a\n\n"
        );
    }

    #[test]
    fn control_characters_of_names_are_written_out() {
        let mut finding = Finding::new("a\x1b[2Jb", "cert");
        finding.details.add("subject", "CN=x\nVALID");
        let shown = shown(&finding);
        assert!(!shown.contains('\x1b') && shown.contains("\\u{1b}[2Jb") && shown.contains("CN=x\\nVALID"), "{shown}");
    }

    #[test]
    fn a_json_finding_is_one_line_with_the_verdict_in_front() {
        let mut finding = Finding::new("x\n.bin", "dg2");
        finding.details.add("bytes", 3_usize);
        let mut out = Vec::new();
        write(Format::Json, &finding, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "{\"file\":\"x\\n.bin\",\"kind\":\"dg2\",\"valid\":true,\"gates\":{},\"deviations\":[],\"reason\":null,\"bytes\":3}\n"
        );
    }
}
