//! Rows as the tables have them, and how they become values. A text that no enumeration knows is `Corrupt`: it was
//! written by another version or by hand, and guessing would be worse than stopping.

mod attempt;
mod organisation;
mod reader_key;
mod session;
mod webhook;

pub(crate) use attempt::{AttemptEnd, AttemptRow, attempt_end};
pub(crate) use organisation::{ApiKeyRow, OrganisationRow};
pub(crate) use reader_key::ReaderKeyRow;
pub(crate) use session::SessionRow;
pub(crate) use webhook::{
    DeliveryRow, EndpointRow, EventRow, IdempotencyRow, ListedDelivery, SecretRow, WebhookKeyRow, hours,
};

use std::str::FromStr;

use proofmill_contract::{ContractVersion, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::StoreError;

/// Reads a text column as the value it stands for.
pub(crate) fn parse<T: FromStr>(text: &str, column: &'static str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt(column))
}

/// Reads a JSON column.
pub(crate) fn from_json<T: DeserializeOwned>(text: &str, column: &'static str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt(column))
}

/// Writes a JSON column.
pub(crate) fn to_json<T: Serialize>(value: &T, column: &'static str) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| StoreError::Corrupt(column))
}

/// Reads a fixed number of bytes.
pub(crate) fn bytes<const N: usize>(bytes: &[u8], column: &'static str) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Corrupt(column))
}

/// Reads a count.
pub(crate) fn count(number: i32, column: &'static str) -> Result<u32, StoreError> {
    u32::try_from(number).map_err(|_| StoreError::Corrupt(column))
}

/// Reads a contract version.
pub(crate) fn version(number: i32, column: &'static str) -> Result<ContractVersion, StoreError> {
    u8::try_from(number).ok().and_then(|n| ContractVersion::try_from(n).ok()).ok_or(StoreError::Corrupt(column))
}

/// Reads an optional time.
pub(crate) fn time(micros: Option<i64>) -> Option<Timestamp> {
    micros.map(Timestamp)
}
