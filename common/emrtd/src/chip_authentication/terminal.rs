//! The server's side of chip authentication: an ephemeral key that never leaves, and the commands
//! that a reader carries to the chip (ICAO Doc 9303-11 section 6.2, BSI TR-03110-3 appendix B).

use zeroize::Zeroizing;

use super::{
    offer::Offer,
    secure_messaging::{Cipher, protected_read},
};
use crate::{
    asn1::encode_length,
    crypto::key_agreement::{PrivateKey, PublicValue, agree},
    report::Reason,
};

/// Draws of a private key until one is in range: on the worst curve two of three are, and a source
/// of random octets that is broken must not hang the caller.
const DRAWS: usize = 64;

/// One chip authentication with this service as the terminal. No `Debug`: it holds a secret.
pub struct ServerTerminal {
    private_key: Zeroizing<Vec<u8>>,
    public_key: Vec<u8>,
    key_agreement: Vec<Vec<u8>>,
    proof: Vec<u8>,
    response_counter: Vec<u8>,
}

impl ServerTerminal {
    /// Chooses a key of DG14 and its strongest cipher, draws an ephemeral key with `fill`
    /// (cryptographically secure random octets), and prepares the commands.
    ///
    /// DG14 need not be authentic at this point: its domain must be a known one and its public
    /// value is checked, so that a forged one learns nothing of the ephemeral key. In the end
    /// [`verify`](crate::verify()) must be given the same DG14, and demands it under a valid SOD.
    pub fn start(dg14: &[u8], mut fill: impl FnMut(&mut [u8])) -> Result<ServerTerminal, Reason> {
        let offers = Offer::read(dg14).map_err(|_| Reason::ChipAuthenticationInfoMalformed)?;
        let mut refused = Reason::ChipAuthenticationUnsupported;
        for offer in &offers {
            match ServerTerminal::with(offer, &mut fill) {
                Ok(terminal) => return Ok(terminal),
                Err(reason) => refused = reason,
            }
        }
        Err(refused)
    }

    fn with(offer: &Offer, fill: &mut impl FnMut(&mut [u8])) -> Result<ServerTerminal, Reason> {
        let chip: &PublicValue = offer.key.as_ref().map_err(|reason| *reason)?;
        let unsupported = Reason::ChipAuthenticationUnsupported;
        let cipher = *offer.ciphers.last().ok_or(unsupported)?;
        let size = chip.domain().secret_key_size();
        for _ in 0..DRAWS {
            let mut private_key = Zeroizing::new(vec![0; size.octets]);
            fill(&mut private_key);
            if let Some(first) = private_key.first_mut() {
                *first &= size.first_octet;
            }
            let Ok(agreement) = agree(PrivateKey::Secret(&private_key), chip) else { continue };
            let key = cipher.authentication_key(&agreement.shared);
            // READ BINARY of DG14 by its short identifier: a file that is there, and public.
            let proof = protected_read(cipher, &key, 1, [0x0c, 0xb0, 0x8e, 0x00], 8).ok_or(unsupported)?;
            let public_key = agreement.own.encoded().to_vec();
            let key_agreement = key_agreement(offer, cipher, &public_key);
            let response_counter = first_response(cipher);
            return Ok(ServerTerminal { private_key, public_key, key_agreement, proof, response_counter });
        }
        Err(Reason::ChipAuthenticationTerminalKeyInvalid)
    }

    /// The ephemeral private key, to be sealed until the transcript is verified.
    pub fn private_key(&self) -> &[u8] {
        &self.private_key
    }

    /// The ephemeral public key, as the commands send it.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The plain commands of the key agreement, in order; the reader wraps them in the secure
    /// messaging that it has.
    pub fn key_agreement(&self) -> &[Vec<u8>] {
        &self.key_agreement
    }

    /// READ BINARY under the new keys, counter 1: the chip's response to it, counter 2, is the proof.
    pub fn proof_command(&self) -> &[u8] {
        &self.proof
    }

    /// The send sequence counter of that response, as a transcript names it: 2, in a block of the cipher.
    pub fn response_counter(&self) -> &[u8] {
        &self.response_counter
    }
}

fn first_response(cipher: Cipher) -> Vec<u8> {
    let mut counter = vec![0; cipher.block()];
    if let Some(last) = counter.last_mut() {
        *last = 2;
    }
    counter
}

fn key_agreement(offer: &Offer, cipher: Cipher, public_key: &[u8]) -> Vec<Vec<u8>> {
    let reference = offer.identifier.as_ref().map(|identifier| object(0x84, identifier)).unwrap_or_default();
    match cipher {
        // MSE:Set KAT, which also carries the public key.
        Cipher::TripleDes => {
            vec![command([0x00, 0x22, 0x41, 0xa6], &[object(0x91, public_key), reference].concat(), false)]
        }
        // MSE:Set AT, then GENERAL AUTHENTICATE.
        Cipher::Aes128 | Cipher::Aes192 | Cipher::Aes256 => vec![
            command([0x00, 0x22, 0x41, 0xa4], &[object(0x80, &offer.protocol(cipher)), reference].concat(), false),
            command([0x00, 0x86, 0x00, 0x00], &object(0x7c, &object(0x80, public_key)), true),
        ],
    }
}

fn object(tag: u8, value: &[u8]) -> Vec<u8> {
    [&[tag][..], &encode_length(value.len()), value].concat()
}

/// A command APDU (ISO/IEC 7816-4 section 5.2), of extended length where the data need it.
fn command(header: [u8; 4], data: &[u8], answer_expected: bool) -> Vec<u8> {
    let (length, expected): (Vec<u8>, &[u8]) = match u8::try_from(data.len()) {
        Ok(length) => (vec![length], &[0]),
        Err(_) => {
            let [.., high, low] = data.len().to_be_bytes();
            (vec![0, high, low], &[0, 0])
        }
    };
    let expected = if answer_expected { expected } else { &[] };
    [&header[..], &length, data, expected].concat()
}
