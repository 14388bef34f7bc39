//! Anchors: certificates named by the operator, under which master lists count.

use std::path::PathBuf;

use proofmill_emrtd::{CertificateInfo, MasterList, MasterListAnchor, MasterListError};

use crate::item::{Kind, fingerprint};
use crate::source::{self, Found, Reason, Refusal, Visitor, label};

/// Certificates that vouch for master lists.
#[derive(Clone, Debug, Default)]
pub struct Anchors {
    certificates: Vec<Anchor>,
}

#[derive(Clone, Debug)]
struct Anchor {
    der: Vec<u8>,
    sha256: String,
    /// The subject, for provenance.
    name: String,
}

impl Anchors {
    /// No anchors: every master list is refused.
    pub const NONE: Anchors = Anchors { certificates: Vec::new() };

    /// Reads certificate files and folders of them; everything in them must be right.
    ///
    /// # Errors
    /// A path cannot be read, or has no certificate.
    pub fn read(paths: &[PathBuf]) -> Result<Anchors, Refusal> {
        let mut anchors = Anchors::default();
        for path in paths {
            let mut collected = Collected::default();
            source::read(std::slice::from_ref(path), &Anchors::NONE, &mut collected)?;
            if let Some(refusal) = collected.refused {
                return Err(refusal);
            }
            if collected.certificates.is_empty() {
                let (source, place) = (label(path), String::new());
                return Err(Refusal { source, place, reason: Reason::Empty, in_collection: false });
            }
            for der in collected.certificates {
                anchors.add(der);
            }
        }
        Ok(anchors)
    }

    /// Adds a certificate, DER. One that does not parse vouches for nothing.
    pub fn add(&mut self, der: Vec<u8>) {
        if !self.certificates.iter().any(|known| known.der == der) {
            let name = CertificateInfo::parse(&der).map_or_else(|_| "?".to_owned(), |info| info.subject);
            let sha256 = hex::encode(fingerprint(&der));
            self.certificates.push(Anchor { der, sha256, name });
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.certificates.len()
    }

    /// The list, and the name of the anchor under which its signature holds.
    pub(crate) fn verify(&self, list: &[u8]) -> Result<(MasterList, &str), MasterListError> {
        let anchors: Vec<&[u8]> = self.certificates.iter().map(|anchor| &*anchor.der).collect();
        let verified = MasterList::verify_with_any(list, &anchors)?;
        let (MasterListAnchor::Given { sha256 } | MasterListAnchor::WithinList { sha256 }) = verified.anchor();
        let named = self.certificates.iter().find(|anchor| anchor.sha256 == *sha256);
        Ok((verified, named.map_or("", |anchor| &anchor.name)))
    }
}

#[derive(Default)]
struct Collected {
    certificates: Vec<Vec<u8>>,
    refused: Option<Refusal>,
}

impl Visitor for Collected {
    fn found(&mut self, found: Found) {
        if found.kind != Kind::Crl {
            self.certificates.push(found.der);
        }
    }

    fn refused(&mut self, refusal: Refusal) {
        self.refused.get_or_insert(refusal);
    }
}
