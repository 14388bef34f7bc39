//! Chip authentication: the chip proves that it has the private key of DG14 (ICAO Doc 9303-11
//! section 6.2, BSI TR-03110-3 section A.4).
//!
//! Verified from a transcript, of one of three kinds:
//!
//! * **Version 1**: the chip speaks under keys that it could not have without its private key.
//!   The key agreement is done again with the terminal's private key, and the message
//!   authentication code of the chip's first protected response must be right.
//! * **Version 2**: the chip sends a nonce and a code over the terminal's key, under a key derived
//!   from both.
//! * **PACE with chip authentication mapping**: the chip's ephemeral key of the mapping must be the
//!   static one, multiplied by the data that the chip sent encrypted.
//!
//! What that proves depends on who held the terminal's key, see [`Terminal`].

mod mapping;
mod offer;
mod secure_messaging;
mod terminal;
mod token;
mod wire;

pub(crate) use self::offer::{Offer, describe_domain, standardised_domain};
use self::secure_messaging::{Counter, ProtectedResponse};
pub use self::terminal::ServerTerminal;
pub use self::wire::{Transcript, TranscriptError};
use crate::{
    asn1::Tlv,
    crypto::key_agreement::{Agreement, AgreementError, PrivateKey, PublicValue, agree},
    deviation::{Deviation, DeviationSet},
    evidence::{ChipAuthentication, ChipTranscript, Terminal},
    report::Reason,
};

/// Whether a transcript holds under a DG14, which need not be that of a verified document: for
/// looking at one exchange alone. [`verify`](crate::verify()) demands that the SOD protects DG14,
/// and of PACE with chip authentication mapping that a signed EF.CardSecurity has the same key.
pub fn verify_chip_authentication(dg14: &[u8], transcript: &ChipTranscript<'_>) -> Result<DeviationSet, Reason> {
    under(&read(dg14)?, transcript)
}

/// Whether a transcript holds under one of the keys among SecurityInfos.
pub(crate) fn verify_among(infos: &Tlv<'_>, transcript: &ChipTranscript<'_>) -> Result<DeviationSet, Reason> {
    under(&Offer::among(infos).map_err(|_| Reason::ChipAuthenticationInfoMalformed)?, transcript)
}

fn under(offers: &[Offer], transcript: &ChipTranscript<'_>) -> Result<DeviationSet, Reason> {
    match transcript {
        ChipTranscript::Version1(transcript) => version_1(offers, transcript),
        ChipTranscript::Version2(transcript) => token::verify(offers, transcript),
        ChipTranscript::PaceMapping(transcript) => mapping::verify(offers, transcript),
    }
}

/// Whether a transcript holds under a DG14 that the SOD protects, and the SecurityInfos of an
/// EF.CardSecurity whose signature is trusted.
///
/// EF.CardSecurity alone says nothing of whose document this is: a transcript of another genuine
/// chip would bring its own. So what holds only under a key of its that DG14 lacks is told as a
/// deviation, for the policy to judge.
pub(crate) fn verify(
    dg14: &[u8],
    card_security: Option<&Tlv<'_>>,
    transcript: &ChipTranscript<'_>,
) -> Result<DeviationSet, Reason> {
    let mut offers = read(dg14)?;
    let malformed = |_| Reason::ChipAuthenticationInfoMalformed;
    let of_card = card_security.map(Offer::among).transpose().map_err(malformed)?;
    let is_bound = |of_card: &Offer| offers.iter().any(|offer| offer.has_key_of(of_card));
    let (bound, unbound): (Vec<_>, Vec<_>) = of_card.unwrap_or_default().into_iter().partition(is_bound);
    match transcript {
        ChipTranscript::Version1(transcript) => {
            offers.extend(bound);
            version_1(&offers, transcript)
        }
        ChipTranscript::Version2(transcript) => {
            offers.extend(bound);
            token::verify(&offers, transcript)
        }
        ChipTranscript::PaceMapping(_) if card_security.is_none() => Err(Reason::CardSecurityMissing),
        ChipTranscript::PaceMapping(transcript) => {
            match (mapping::verify(&bound, transcript), mapping::verify(&unbound, transcript)) {
                (Ok(deviations), _) => Ok(deviations),
                (Err(_), Ok(deviations)) => Ok(deviations.with(Deviation::CardSecurityKeyNotInDg14)),
                (Err(_), Err(_)) if bound.is_empty() && unbound.is_empty() => Err(Reason::ChipAuthenticationUnbound),
                (Err(_), Err(reason)) if bound.is_empty() => Err(reason),
                (Err(reason), Err(_)) => Err(reason),
            }
        }
    }
}

fn read(dg14: &[u8]) -> Result<Vec<Offer>, Reason> {
    Offer::read(dg14).map_err(|_| Reason::ChipAuthenticationInfoMalformed)
}

fn version_1(offers: &[Offer], transcript: &ChipAuthentication<'_>) -> Result<DeviationSet, Reason> {
    let malformed = Reason::ChipAuthenticationTranscriptMalformed;
    let response = ProtectedResponse::parse(transcript.protected_response).ok_or(malformed)?;
    let counter = Counter::of_response(transcript.send_sequence_counter).ok_or(malformed)?;
    // Our terminal's first protected command is the only one it authenticates.
    if transcript.terminal == Terminal::Server && !counter.is_first() {
        return Err(malformed);
    }
    let private = match transcript.terminal {
        Terminal::Server => PrivateKey::Secret(transcript.terminal_private_key),
        // An integrator's key comes with the transcript: it is known outside already.
        Terminal::Integrator => PrivateKey::Disclosed(transcript.terminal_private_key),
    };
    closest(offers, |offer, chip| {
        if offer.ciphers.is_empty() {
            return Err(Reason::ChipAuthenticationUnsupported);
        }
        let agreement = agreement(private, transcript.terminal_public_key, chip)?;
        let holds = |cipher: secure_messaging::Cipher| {
            response.holds(cipher, &cipher.authentication_key(&agreement.shared), &counter)
        };
        if offer.ciphers.iter().copied().any(holds) { Ok(()) } else { Err(Reason::ChipAuthenticationInvalid) }
    })
}

/// The agreement of a private key with the chip's, when the public key sent was that key's.
fn agreement(private: PrivateKey<'_>, sent: &[u8], chip: &PublicValue) -> Result<Agreement, Reason> {
    let sent = PublicValue::new(chip.domain(), sent).ok_or(Reason::ChipAuthenticationTerminalKeyInvalid)?;
    let agreement = agree(private, chip).map_err(|error| match error {
        AgreementError::PrivateKeyOutOfRange => Reason::ChipAuthenticationTerminalKeyInvalid,
        AgreementError::NoCurve => Reason::ChipAuthenticationUnsupported,
    })?;
    if agreement.own != sent {
        return Err(Reason::ChipAuthenticationTerminalKeyInvalid);
    }
    Ok(agreement)
}

/// Tries every key. A chip may have several, and a transcript does not say which was taken: the
/// one that came closest gives the reason.
fn closest(
    offers: &[Offer],
    mut verify: impl FnMut(&Offer, &PublicValue) -> Result<(), Reason>,
) -> Result<DeviationSet, Reason> {
    let mut closest = Reason::ChipAuthenticationUnsupported;
    for offer in offers {
        match offer.key.as_ref().map_err(|reason| *reason).and_then(|chip| verify(offer, chip)) {
            Ok(()) => return Ok(offer.deviations),
            Err(reason) if stage(reason) > stage(closest) => closest = reason,
            Err(_) => {}
        }
    }
    Err(closest)
}

/// How far a transcript came with one key.
fn stage(reason: Reason) -> u8 {
    match reason {
        Reason::ChipAuthenticationInvalid => 5,
        Reason::ChipAuthenticationTranscriptMalformed => 4,
        Reason::ChipAuthenticationTerminalKeyInvalid => 3,
        Reason::ChipAuthenticationKeyInvalid => 2,
        Reason::ChipAuthenticationGroupUnknown => 1,
        _ => 0,
    }
}
