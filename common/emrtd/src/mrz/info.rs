//! What is in DG1, for people: first without a word of whose document it is, and with it only when it is asked for by name.

use serde::Serialize;
use zeroize::ZeroizeOnDrop;

use super::{
    DocumentType, MrzError, Sex,
    layout::Layout,
    parse::{parse_dg1, zone},
};
use crate::{
    deviation::Deviation,
    evidence::UnixTime,
    report::{MrzField, Reason},
};

/// A description of DG1 that says nothing of its holder but which state issued the document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dg1Info {
    /// The format, told by the number of characters.
    pub document_type: Option<DocumentType>,
    /// Document code, such as `P` or `PD`.
    pub document_code: Option<String>,
    /// Issuing state or organisation, such as `UTO` or `D`.
    pub issuing_state: Option<String>,
    /// Every check digit and whether it holds.
    pub check_digits: Vec<CheckDigitInfo>,
    /// What is known of the date of birth.
    pub date_of_birth: Option<DateInfo>,
    /// What is known of the date of expiry.
    pub date_of_expiry: Option<DateInfo>,
    /// Whether the document had expired at the time given.
    pub expired: Option<bool>,
    /// How the zone deviates.
    pub deviations: Vec<Deviation>,
    /// Why the zone is refused, if it is.
    pub problem: Option<Reason>,
}

/// One check digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CheckDigitInfo {
    /// What it is of.
    pub field: MrzField,
    /// Whether it is right.
    pub holds: bool,
}

/// What kind of date a field holds, without the date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DateInfo {
    /// A day of the calendar.
    Complete,
    /// Year, month or day are fillers: not known to the issuer (ICAO Doc 9303-3 section 4.8).
    PartlyUnknown,
    /// No day of any calendar.
    Impossible,
}

/// What DG1 says of its holder. Serialises, since showing it is what it is for; no `Debug`, and zeroised on drop.
#[derive(Serialize, ZeroizeOnDrop)]
pub struct Dg1Content {
    /// The lines of the zone.
    pub lines: Vec<String>,
    /// Primary identifier; this and what follows only of a zone that is not refused.
    pub primary_identifier: Option<String>,
    /// Secondary identifier.
    pub secondary_identifier: Option<String>,
    /// Document number.
    pub document_number: Option<String>,
    /// Nationality as printed.
    pub nationality: Option<String>,
    /// `YYYY-MM-DD`, with `XX` for what is not known.
    pub date_of_birth: Option<String>,
    /// `M`, `F` or `X`.
    pub sex: Option<String>,
    /// `YYYY-MM-DD`.
    pub date_of_expiry: Option<String>,
    /// Optional data.
    pub optional_data: Option<String>,
}

impl Dg1Info {
    /// Describes EF.DG1 as it is read at a time.
    pub fn read(dg1: &[u8], at: UnixTime) -> Dg1Info {
        let mut info = Dg1Info {
            document_type: None,
            document_code: None,
            issuing_state: None,
            check_digits: Vec::new(),
            date_of_birth: None,
            date_of_expiry: None,
            expired: None,
            deviations: Vec::new(),
            problem: None,
        };
        match parse_dg1(dg1, at, None) {
            Ok((mrz, deviations)) => {
                info.expired = Some(at >= mrz.date_of_expiry.end());
                info.date_of_birth = Some(match mrz.date_of_birth.complete() {
                    Some(_) => DateInfo::Complete,
                    None => DateInfo::PartlyUnknown,
                });
                info.date_of_expiry = Some(DateInfo::Complete);
                info.deviations = deviations.iter().collect();
            }
            Err(error) => {
                match error {
                    MrzError::Date(MrzField::DateOfBirth) => {
                        info.date_of_birth = Some(DateInfo::Impossible);
                        info.date_of_expiry = Some(DateInfo::Complete);
                    }
                    MrzError::Date(_) => info.date_of_expiry = Some(DateInfo::Impossible),
                    _ => {}
                }
                info.problem = Some(error.into());
            }
        }
        if let Some((layout, zone)) = layout_of(dg1) {
            let letters = |columns: &std::ops::Range<usize>| {
                let field = zone.get(columns.clone()).unwrap_or_default();
                let shown = field.iter().filter(|byte| **byte != b'<').map(|byte| char::from(*byte));
                Some(shown.collect::<String>())
            };
            info.document_type = Some(layout.document_type);
            info.document_code = letters(&layout.code);
            info.issuing_state = letters(&layout.issuer);
            info.check_digits =
                layout.check_digits(zone).map(|(field, holds)| CheckDigitInfo { field, holds }).collect();
        }
        info
    }

    /// The holder's data, for somebody who asked to see them. `None` when DG1 holds no zone of a known format.
    pub fn unmasked(dg1: &[u8], at: UnixTime) -> Option<Dg1Content> {
        let (layout, zone) = layout_of(dg1)?;
        let line = |line: &[u8]| line.iter().map(|byte| char::from(*byte)).collect::<String>();
        let mrz = parse_dg1(dg1, at, None).ok().map(|(mrz, _)| mrz);
        let mrz = mrz.as_ref();
        Some(Dg1Content {
            lines: zone.chunks(layout.columns).map(line).collect(),
            primary_identifier: mrz.map(|mrz| mrz.primary_identifier.clone()),
            secondary_identifier: mrz.map(|mrz| mrz.secondary_identifier.clone()),
            document_number: mrz.map(|mrz| mrz.document_number.clone()),
            nationality: mrz.map(|mrz| mrz.nationality.clone()),
            date_of_birth: mrz.map(|mrz| {
                let part = |part: Option<u8>| part.map_or_else(|| "XX".to_owned(), |part| format!("{part:02}"));
                let date = mrz.date_of_birth;
                let year = date.year.map_or_else(|| "XXXX".to_owned(), |year| format!("{year:04}"));
                format!("{year}-{}-{}", part(date.month), part(date.day))
            }),
            sex: mrz.map(|mrz| {
                match mrz.sex {
                    Sex::Male => "M",
                    Sex::Female => "F",
                    Sex::Unspecified => "X",
                }
                .to_owned()
            }),
            date_of_expiry: mrz.map(|mrz| mrz.date_of_expiry.to_iso()),
            optional_data: mrz.map(|mrz| mrz.optional_data.clone()),
        })
    }
}

fn layout_of(dg1: &[u8]) -> Option<(&'static Layout, &[u8])> {
    let (zone, _) = zone(dg1).ok()?;
    Some((Layout::of(zone.len())?, zone))
}
