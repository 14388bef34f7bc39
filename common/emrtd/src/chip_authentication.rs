//! Chip authentication version 1 (ICAO Doc 9303-11 section 6.2, BSI TR-03110-3 section A.4):
//! the chip proves that it has the private key of DG14 by speaking under keys that it could not
//! have without it.
//!
//! Verified from a transcript: the key agreement is done again with the terminal's private key,
//! and the message authentication code of the chip's first protected response must be right
//! under the derived key. What that proves depends on who held the terminal's key, see
//! [`Terminal`].

mod offer;
mod secure_messaging;
mod terminal;

pub(crate) use self::offer::Offer;
use self::secure_messaging::{Counter, ProtectedResponse};
pub use self::terminal::ServerTerminal;
use crate::{
    crypto::key_agreement::{AgreementError, PrivateKey, PublicValue, agree},
    deviation::DeviationSet,
    evidence::{ChipAuthentication, Terminal},
    report::Reason,
};

/// Whether a transcript holds under a DG14, which need not be that of a verified document: for
/// looking at one exchange alone. [`verify`](crate::verify()) demands that the SOD protects DG14.
pub fn verify_chip_authentication(dg14: &[u8], transcript: &ChipAuthentication<'_>) -> Result<(), Reason> {
    verify(dg14, transcript).map(|_| ())
}

pub(crate) fn verify(dg14: &[u8], transcript: &ChipAuthentication<'_>) -> Result<DeviationSet, Reason> {
    let malformed = Reason::ChipAuthenticationTranscriptMalformed;
    let response = ProtectedResponse::parse(transcript.protected_response).ok_or(malformed)?;
    let counter = Counter::of_response(transcript.send_sequence_counter).ok_or(malformed)?;
    // Our terminal's first protected command is the only one it authenticates.
    if transcript.terminal == Terminal::Server && !counter.is_first() {
        return Err(malformed);
    }
    let offers = Offer::read(dg14).map_err(|_| Reason::ChipAuthenticationInfoMalformed)?;
    // A chip may have several keys, and the transcript does not say which was taken: the one
    // that came closest gives the reason.
    let mut closest = Reason::ChipAuthenticationUnsupported;
    for offer in &offers {
        match try_offer(offer, transcript, &response, &counter) {
            Ok(()) => return Ok(offer.deviations),
            Err(reason) if stage(reason) > stage(closest) => closest = reason,
            Err(_) => {}
        }
    }
    Err(closest)
}

fn try_offer(
    offer: &Offer,
    transcript: &ChipAuthentication<'_>,
    response: &ProtectedResponse<'_>,
    counter: &Counter<'_>,
) -> Result<(), Reason> {
    let chip = offer.key.as_ref().map_err(|reason| *reason)?;
    if offer.ciphers.is_empty() {
        return Err(Reason::ChipAuthenticationUnsupported);
    }
    let private = match transcript.terminal {
        Terminal::Server => PrivateKey::Secret(transcript.terminal_private_key),
        // An integrator's key comes with the transcript: it is known outside already.
        Terminal::Integrator => PrivateKey::Disclosed(transcript.terminal_private_key),
    };
    let sent = PublicValue::new(chip.domain(), transcript.terminal_public_key)
        .ok_or(Reason::ChipAuthenticationTerminalKeyInvalid)?;
    let agreement = agree(private, chip).map_err(|error| match error {
        AgreementError::PrivateKeyOutOfRange => Reason::ChipAuthenticationTerminalKeyInvalid,
        AgreementError::NoConstantTimeProvider => Reason::ChipAuthenticationUnsupported,
    })?;
    if agreement.own != sent {
        return Err(Reason::ChipAuthenticationTerminalKeyInvalid);
    }
    let holds = |cipher| response.holds(cipher, &cipher.authentication_key(&agreement.shared), counter);
    if offer.ciphers.iter().copied().any(holds) { Ok(()) } else { Err(Reason::ChipAuthenticationInvalid) }
}

/// How far a transcript came with one key.
fn stage(reason: Reason) -> u8 {
    match reason {
        Reason::ChipAuthenticationInvalid => 4,
        Reason::ChipAuthenticationTerminalKeyInvalid => 3,
        Reason::ChipAuthenticationKeyInvalid => 2,
        Reason::ChipAuthenticationGroupUnknown => 1,
        _ => 0,
    }
}
