use std::fmt;

use proofmill_contract::Timestamp;

/// Which derived id a key is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IdKind {
    /// `kayle_document_id`.
    Document,
    /// `kayle_human_id`.
    Human,
}

impl IdKind {
    /// Both.
    pub const ALL: [IdKind; 2] = [IdKind::Document, IdKind::Human];

    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            IdKind::Document => "document",
            IdKind::Human => "human",
        }
    }
}

impl fmt::Display for IdKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One version of a key of derived ids. No `Debug`: it holds the sealed key.
#[derive(Clone)]
pub struct IdKey {
    /// Which id.
    pub kind: IdKind,
    /// 1, 2, …
    pub version: u32,
    /// The key, sealed under the deployment key.
    pub sealed: Vec<u8>,
    /// Since when ids are made under it.
    pub since: Timestamp,
    /// Until when they were; `None` for the current one.
    pub retired_at: Option<Timestamp>,
}

/// The versions under which the derived ids of one set of claims were made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdKeyVersions {
    /// Of `kayle_document_id`.
    pub document: u32,
    /// Of `kayle_human_id`.
    pub human: u32,
}
