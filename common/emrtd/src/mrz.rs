//! The machine readable zone of DG1 (ICAO Doc 9303-3 to 9303-6).

mod check_digit;
mod date;
mod info;
mod layout;
mod parse;

pub use date::{Date, PartialDate};
pub use info::{CheckDigitInfo, DateInfo, Dg1Content, Dg1Info};
pub(crate) use parse::{MrzError, parse_dg1};

use zeroize::ZeroizeOnDrop;

/// The format of the machine readable zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, zeroize::Zeroize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentType {
    /// Three lines of 30 characters (ICAO Doc 9303-5).
    Td1,
    /// Two lines of 36 characters (ICAO Doc 9303-6).
    Td2,
    /// Two lines of 44 characters, the passport (ICAO Doc 9303-4).
    Td3,
}

/// The holder's sex as the document states it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, zeroize::Zeroize)]
pub enum Sex {
    /// `M`.
    Male,
    /// `F`.
    Female,
    /// `X` or a filler.
    Unspecified,
}

/// The data of the machine readable zone, check digits verified, fillers removed.
///
/// Zeroised on drop; no `Debug`, no `Serialize`: the caller takes the fields that the
/// holder agreed to share, one by one.
#[derive(ZeroizeOnDrop)]
pub struct Mrz {
    /// The format.
    pub document_type: DocumentType,
    /// Document code, such as `P` or `PP`.
    pub document_code: String,
    /// Issuing state or organisation as printed, such as `UTO`, `D` or `GBD`.
    pub issuing_state: String,
    /// Primary identifier, usually the family name; fillers are spaces.
    pub primary_identifier: String,
    /// Secondary identifier, usually the given names; empty when there is none.
    pub secondary_identifier: String,
    /// Document number, long numbers joined.
    pub document_number: String,
    /// Nationality as printed.
    pub nationality: String,
    /// Date of birth; month and day may be unknown.
    pub date_of_birth: PartialDate,
    /// Sex.
    pub sex: Sex,
    /// Last day of validity.
    pub date_of_expiry: Date,
    /// Optional data, all such fields joined by a space, fillers are spaces.
    pub optional_data: String,
}
