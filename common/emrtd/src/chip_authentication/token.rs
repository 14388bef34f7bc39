//! Chip authentication version 2 (BSI TR-03110-2 section 3.4, TR-03110-3 section A.4): the chip
//! answers with a nonce and a token. Both sides derive keys from shared secret and nonce, and the
//! token is the message authentication code over the terminal's ephemeral public key.

use super::{agreement, closest, offer::Offer, secure_messaging::Cipher};
use crate::{
    asn1::{encode_length, strip_zeros},
    crypto::key_agreement::{Domain, PrivateKey, PublicValue},
    deviation::DeviationSet,
    evidence::ChipAuthenticationToken,
    report::Reason,
};

/// Octets of a nonce: eight are what the standard's chips send.
const NONCES: std::ops::RangeInclusive<usize> = 8..=32;
/// Octets of a token.
const TOKEN: usize = 8;

pub(super) fn verify(offers: &[Offer], transcript: &ChipAuthenticationToken<'_>) -> Result<DeviationSet, Reason> {
    if !NONCES.contains(&transcript.nonce.len()) || transcript.token.len() != TOKEN {
        return Err(Reason::ChipAuthenticationTranscriptMalformed);
    }
    let private = PrivateKey::Disclosed(transcript.terminal_private_key);
    closest(offers, |offer, chip| {
        if offer.token_ciphers.is_empty() {
            return Err(Reason::ChipAuthenticationUnsupported);
        }
        let agreement = agreement(private, transcript.terminal_public_key, chip)?;
        let holds = |cipher: Cipher| {
            let key = cipher.token_key(&agreement.shared, transcript.nonce);
            let message = public_key_object(&offer.protocol(cipher), &agreement.own);
            cipher.token_holds(&key, &message, transcript.token)
        };
        if offer.token_ciphers.iter().copied().any(holds) { Ok(()) } else { Err(Reason::ChipAuthenticationInvalid) }
    })
}

/// The terminal's public key as a data object: the protocol's identifier and the value, without
/// domain parameters (ICAO Doc 9303-11 section 9.4).
fn public_key_object(protocol: &[u8], key: &PublicValue) -> Vec<u8> {
    let value = match key.domain() {
        Domain::Curve(_) => object(&[0x86], key.encoded()),
        // An unsigned integer, as short as it can be.
        Domain::Group(_) => object(&[0x84], strip_zeros(key.encoded())),
    };
    object(&[0x7f, 0x49], &[object(&[0x06], protocol), value].concat())
}

fn object(tag: &[u8], value: &[u8]) -> Vec<u8> {
    [tag, &encode_length(value.len()), value].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of BSI for extended access control (TR-03110, version 1.02 of 2011): its
    /// chip's key and the answer, with the protocol infos written out here.
    #[test]
    fn the_worked_example_of_the_bsi_holds() {
        let bytes = |text: &str| hex::decode(text.replace(' ', "")).unwrap();
        let chip = bytes(
            "04 A44EBE5451DF7AADB01E459B8C928A87746A57927C8C28A6775C97A7E1FE8D9A \
             46FF4A1CC7E4D1389AEA19758E4F75C28C598FD734AEBEB135337CF95BE12E94",
        );
        let private = bytes("A6A4D255C5BF7A77EC3D0553DB74F693CF044E18C98364D4977A296108AF19BD");
        let public = bytes(
            "04 5A7A377FC9CAFC03AC7FF45441A8B2909D88EAB8E6B0173847AB49B949DF3799 \
             A34EE57EC55268CF8B1C3EC489F8BF4CF4C68D3FD9670E89C0D5D3FFF1AAF89F",
        );
        // id-CA-ECDH-AES-CBC-CMAC-128 in version 2; the key on brainpoolP256r1.
        let protocol = bytes("300F 060A 04007F00070202030202 020102");
        let key = [bytes("305F 0609 04007F000702020102 3052 300C 0607 04007F00070102 02010D 0342 00"), chip].concat();
        let infos = [protocol, key].concat();
        let dg14 = [&[0x6e, 0x74, 0x31, 0x72][..], &infos].concat();
        let offers = Offer::read(&dg14).unwrap();
        let (nonce, token) = (bytes("4287B3072A3EDC60"), bytes("FF0117D68DEE8E72"));
        let verdict = |nonce: &[u8], token: &[u8]| {
            let transcript =
                ChipAuthenticationToken { terminal_private_key: &private, terminal_public_key: &public, nonce, token };
            verify(&offers, &transcript)
        };
        assert_eq!(verdict(&nonce, &token), Ok(DeviationSet::EMPTY));
        for at in 0..8 {
            let changed = |octets: &[u8]| {
                let mut other = octets.to_vec();
                other[at] ^= 0x10;
                other
            };
            assert_eq!(verdict(&changed(&nonce), &token), Err(Reason::ChipAuthenticationInvalid));
            assert_eq!(verdict(&nonce, &changed(&token)), Err(Reason::ChipAuthenticationInvalid));
            assert_eq!(verdict(&nonce[at + 1..], &token), Err(Reason::ChipAuthenticationTranscriptMalformed));
            assert_eq!(verdict(&nonce, &token[at + 1..]), Err(Reason::ChipAuthenticationTranscriptMalformed));
        }
    }
}
