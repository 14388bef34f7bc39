//! What a caller hands in: the bytes of one document, borrowed and never copied whole.

use crate::report::DocumentSigner;

/// Seconds since the Unix epoch, UTC. The library has no clock: every time is an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub i64);

impl std::fmt::Display for UnixTime {
    /// RFC 3339 in UTC, such as `2026-11-22T00:00:00Z`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (year, month, day) = crate::time::civil_from_days(self.0.div_euclid(86_400));
        let second = self.0.rem_euclid(86_400);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl serde::Serialize for UnixTime {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The evidence read from one document (ICAO Doc 9303-10 elementary files), exactly as read.
///
/// Deliberately without `Debug`, `Clone` and `Serialize`: it refers to personal data, and the
/// caller's buffers are the only place it lives.
#[derive(Default)]
pub struct DocumentEvidence<'a> {
    /// EF.SOD, with or without its tag 77 wrapper.
    pub sod: &'a [u8],
    /// EF.DG1 (tag 61), the machine readable zone.
    pub dg1: Option<&'a [u8]>,
    /// EF.DG2 (tag 75), the encoded face.
    pub dg2: Option<&'a [u8]>,
    /// EF.DG14 (tag 6E), security options.
    pub dg14: Option<&'a [u8]>,
    /// EF.DG15 (tag 6F), the active authentication public key.
    pub dg15: Option<&'a [u8]>,
    /// The chip's answer to INTERNAL AUTHENTICATE, if one was asked for.
    pub active_authentication: Option<ActiveAuthentication<'a>>,
    /// The transcript of a chip authentication, if one was run.
    pub chip_authentication: Option<ChipTranscript<'a>>,
    /// EF.CardSecurity, the signed security infos of the master file. PACE with chip authentication
    /// mapping needs it; supplied, it is always verified.
    pub card_security: Option<&'a [u8]>,
}

/// What a service keeps of a document that it has verified, to judge it again without its SOD. The caller vouches for the
/// bytes being those that were verified: no hash is looked at.
pub struct KeptDocument<'a> {
    /// EF.DG1.
    pub dg1: &'a [u8],
    /// EF.DG2.
    pub dg2: &'a [u8],
    /// Who signed the document.
    pub signer: &'a DocumentSigner,
}

/// An active authentication exchange (ICAO Doc 9303-11 section 6.1).
pub struct ActiveAuthentication<'a> {
    /// RND.IFD, the 8 byte challenge that was sent. It must be one the caller issued: a chip
    /// answers any challenge, so a chosen one proves nothing.
    pub challenge: &'a [u8],
    /// The chip's answer, raw.
    pub signature: &'a [u8],
}

/// Who held the ephemeral private key of the chip authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Terminal {
    /// The verifying service; the transcript is proof against cloning. To be claimed only for a
    /// private key that the service made and kept: never for one that came with the evidence.
    Server,
    /// The integrator; whoever holds the key can forge the transcript.
    Integrator,
}

/// What proves that the chip has the private key of its chip authentication.
pub enum ChipTranscript<'a> {
    /// Chip authentication version 1: a response under the new session keys.
    Version1(ChipAuthentication<'a>),
    /// Chip authentication version 2: a token over the terminal's key.
    Version2(ChipAuthenticationToken<'a>),
    /// PACE with chip authentication mapping.
    PaceMapping(ChipAuthenticationMapping<'a>),
}

impl ChipTranscript<'_> {
    /// Who held the terminal's keys. Of the two newer kinds always the integrator: nothing in them
    /// is a fresh value of the service.
    pub fn terminal(&self) -> Terminal {
        match self {
            ChipTranscript::Version1(transcript) => transcript.terminal,
            ChipTranscript::Version2(_) | ChipTranscript::PaceMapping(_) => Terminal::Integrator,
        }
    }
}

impl<'a> From<ChipAuthentication<'a>> for ChipTranscript<'a> {
    fn from(transcript: ChipAuthentication<'a>) -> ChipTranscript<'a> {
        ChipTranscript::Version1(transcript)
    }
}

/// A chip authentication transcript of version 1 (ICAO Doc 9303-11 section 6.2).
pub struct ChipAuthentication<'a> {
    /// Who held the ephemeral key.
    pub terminal: Terminal,
    /// The terminal's ephemeral private key, big-endian.
    pub terminal_private_key: &'a [u8],
    /// The terminal's ephemeral public key as sent to the chip.
    pub terminal_public_key: &'a [u8],
    /// The chip's first response protected under the new session keys.
    pub protected_response: &'a [u8],
    /// The send sequence counter of that response.
    pub send_sequence_counter: &'a [u8],
}

/// A chip authentication of version 2 (BSI TR-03110-2 section 3.4), by the integrator's terminal.
pub struct ChipAuthenticationToken<'a> {
    /// The terminal's ephemeral private key, big-endian.
    pub terminal_private_key: &'a [u8],
    /// The terminal's ephemeral public key as sent to the chip.
    pub terminal_public_key: &'a [u8],
    /// The chip's nonce.
    pub nonce: &'a [u8],
    /// The chip's token: the code over the terminal's public key.
    pub token: &'a [u8],
}

/// What PACE with chip authentication mapping leaves to be verified (ICAO Doc 9303-11 section
/// 4.4.3.5), by the integrator's terminal.
///
/// It proves what that terminal saw and no more: anybody can find a pair that fits a public key,
/// and only the terminal knows that the data were encrypted under the session that the mapping
/// key led to.
pub struct ChipAuthenticationMapping<'a> {
    /// The chip's ephemeral public key of the mapping.
    pub mapping_public_key: &'a [u8],
    /// The chip authentication data, decrypted and without padding.
    pub chip_authentication_data: &'a [u8],
}

/// One file of the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// EF.SOD.
    Sod,
    /// EF.DG1.
    Dg1,
    /// EF.DG2.
    Dg2,
    /// EF.DG14.
    Dg14,
    /// EF.DG15.
    Dg15,
    /// EF.CardSecurity.
    CardSecurity,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Part::Sod => "SOD",
            Part::Dg1 => "DG1",
            Part::Dg2 => "DG2",
            Part::Dg14 => "DG14",
            Part::Dg15 => "DG15",
            Part::CardSecurity => "EF.CardSecurity",
        })
    }
}
