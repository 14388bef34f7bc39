//! The offline job's output: one line an item, in input order, as JSON or as a table.

use std::io::{self, Write};

use proofmill_contract::{ApiError, Outcome};
use serde_json::{Value, json};

use crate::decide::Decision;

/// What became of one item.
pub struct Row {
    /// The caller's name for it, if it could be read.
    pub id: Option<String>,
    /// Its line or number.
    pub line: u64,
    /// Whether the challenge came with the item: then active authentication says nothing about when it was answered.
    pub caller_challenge: bool,
    /// What was decided, or why nothing was.
    pub result: Result<Decision, ItemError>,
}

/// Why an item has no verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemError {
    /// It could not be read; the error names what and where.
    Broken(ApiError),
    /// The machine failed, not the item.
    Fault(String),
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Table,
}

/// Writes the table's head; JSON has none.
///
/// # Errors
/// The output is closed.
pub fn head(format: Format, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Json => Ok(()),
        Format::Table => writeln!(out, "{:>6}  {:<28}  {:<8}  {:<40}  REASON", "LINE", "ID", "VERDICT", "FAILURE CODE"),
    }
}

/// Writes one row.
///
/// # Errors
/// The output is closed.
pub fn row(format: Format, row: &Row, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Json => {
            serde_json::to_writer(&mut *out, &json(row))?;
            out.write_all(b"\n")
        }
        Format::Table => {
            let (verdict, code, reason) = match &row.result {
                Ok(decision) => {
                    let reason = decision.checks.reason.clone().unwrap_or_default();
                    match decision.outcome {
                        Outcome::Accepted => ("accepted", "", reason),
                        Outcome::Rejected(code) => ("rejected", code.as_str(), reason),
                    }
                }
                Err(ItemError::Broken(error)) => ("error", error.code.as_str(), error.message.clone()),
                Err(ItemError::Fault(error)) => ("error", "UNAVAILABLE", error.clone()),
            };
            let id = printable(row.id.as_deref().unwrap_or("-"));
            let line = format!("{:>6}  {id:<28}  {verdict:<8}  {code:<40}  {reason}", row.line);
            writeln!(out, "{}", line.trim_end())
        }
    }
}

fn json(row: &Row) -> Value {
    let mut object = json!({ "id": row.id, "line": row.line });
    match &row.result {
        Ok(decision) => {
            let code = match decision.outcome {
                Outcome::Accepted => None,
                Outcome::Rejected(code) => Some(code.as_str()),
            };
            object["verdict"] = json!(if code.is_none() { "accepted" } else { "rejected" });
            object["failure_code"] = json!(code);
            object["checks"] = json!(decision.checks);
        }
        Err(ItemError::Broken(error)) => {
            object["verdict"] = json!("error");
            object["error"] = json!({ "code": error.code, "message": error.message });
        }
        Err(ItemError::Fault(message)) => {
            object["verdict"] = json!("error");
            object["error"] = json!({ "code": "UNAVAILABLE", "message": message });
        }
    }
    if row.caller_challenge {
        object["challenge"] = json!("caller_supplied");
    }
    object
}

/// An id comes from the input: it must not move the cursor or colour the screen.
fn printable(id: &str) -> String {
    id.chars().take(64).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proofmill_contract::{Checks, ErrorCode, FailureCode};

    fn written(format: Format, value: &Row) -> String {
        let mut out = Vec::new();
        row(format, value, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_verdict_is_one_json_line_and_names_a_callers_challenge() {
        let decision = Decision {
            outcome: Outcome::Rejected(FailureCode::SelfieFaceMismatch),
            checks: Checks { reason: Some("face_mismatch".into()), ..Checks::default() },
        };
        let text =
            written(Format::Json, &Row { id: Some("x".into()), line: 3, caller_challenge: true, result: Ok(decision) });
        assert_eq!(text.matches('\n').count(), 1);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["line"], 3);
        assert_eq!(value["verdict"], "rejected");
        assert_eq!(value["failure_code"], "selfie_face_mismatch");
        assert_eq!(value["checks"]["reason"], "face_mismatch");
        assert_eq!(value["challenge"], "caller_supplied");
    }

    #[test]
    fn an_id_cannot_drive_the_terminal() {
        let error = ItemError::Broken(ApiError::new(ErrorCode::EvidencePartMissing, "evidence part `sod` is missing"));
        let text = written(
            Format::Table,
            &Row { id: Some("\u{1b}[2Jx\n".into()), line: 1, caller_challenge: false, result: Err(error) },
        );
        assert!(!text.contains('\u{1b}') && text.trim_end().lines().count() == 1, "{text:?}");
        assert!(text.contains("EVIDENCE_PART_MISSING"));
    }
}
