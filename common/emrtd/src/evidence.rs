//! What a caller hands in: the bytes of one document, borrowed and never copied whole.

/// Seconds since the Unix epoch, UTC. The library has no clock: every time is an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub i64);

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
    pub chip_authentication: Option<ChipAuthentication<'a>>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Terminal {
    /// The verifying service; the transcript is proof against cloning. To be claimed only for a
    /// private key that the service made and kept: never for one that came with the evidence.
    Server,
    /// The integrator; whoever holds the key can forge the transcript.
    Integrator,
}

/// A chip authentication transcript (ICAO Doc 9303-11 section 6.2).
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
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Part::Sod => "SOD",
            Part::Dg1 => "DG1",
            Part::Dg2 => "DG2",
            Part::Dg14 => "DG14",
            Part::Dg15 => "DG15",
        })
    }
}
