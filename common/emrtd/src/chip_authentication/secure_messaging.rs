//! Secure messaging as far as a response's authenticity goes (ICAO Doc 9303-11 sections 9.7 and
//! 9.8): key derivation, send sequence counter, message authentication code.

use aes::{Aes128, Aes192, Aes256};
use cmac::{Cmac, KeyInit, Mac};
use des::{
    Des,
    cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt},
};
use zeroize::Zeroizing;

use crate::{
    asn1::{Reader, Tag},
    crypto::digest::Digest,
};

/// The cipher of a session: that of its messages' encryption, which also settles their
/// authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cipher {
    /// Two-key triple DES; retail MAC.
    TripleDes,
    /// AES with 128 bits; CMAC.
    Aes128,
    /// AES with 192 bits; CMAC.
    Aes192,
    /// AES with 256 bits; CMAC.
    Aes256,
}

impl Cipher {
    /// KS MAC.
    pub fn authentication_key(self, shared_secret: &[u8]) -> Zeroizing<Vec<u8>> {
        self.derive(shared_secret, &[], 2)
    }

    /// K MAC of chip authentication version 2, for which the chip adds a nonce.
    pub fn token_key(self, shared_secret: &[u8], nonce: &[u8]) -> Zeroizing<Vec<u8>> {
        self.derive(shared_secret, nonce, 2)
    }

    /// Whether a token is the code over a message of any length.
    pub fn token_holds(self, key: &[u8], message: &[u8], token: &[u8]) -> bool {
        let code = match self {
            // Padding method 2 of ISO/IEC 9797-1; CMAC pads by itself.
            Cipher::TripleDes => {
                let mut padded = [message, &[0x80]].concat();
                padded.resize(padded.len().next_multiple_of(self.block()), 0);
                self.authenticate(key, &padded)
            }
            Cipher::Aes128 | Cipher::Aes192 | Cipher::Aes256 => self.authenticate(key, message),
        };
        code.is_some_and(|code| aws_lc_rs::constant_time::verify_slices_are_equal(&code, token).is_ok())
    }

    /// The key derivation function: H(K | nonce | counter), cut to the key's length. Counter 1 is
    /// for encryption, 2 for authentication. The parity bits of DES keys stay as they are: they
    /// have no influence.
    fn derive(self, shared_secret: &[u8], nonce: &[u8], counter: u32) -> Zeroizing<Vec<u8>> {
        let (digest, length) = match self {
            Cipher::TripleDes | Cipher::Aes128 => (Digest::Sha1, 16),
            Cipher::Aes192 => (Digest::Sha256, 24),
            Cipher::Aes256 => (Digest::Sha256, 32),
        };
        let hash = digest.compute(&[shared_secret, nonce, &counter.to_be_bytes()]);
        Zeroizing::new(hash.as_ref().get(..length).unwrap_or_default().to_vec())
    }

    /// Octets of a block, and of the send sequence counter.
    pub fn block(self) -> usize {
        match self {
            Cipher::TripleDes => 8,
            Cipher::Aes128 | Cipher::Aes192 | Cipher::Aes256 => 16,
        }
    }

    /// The first eight octets of the code over a message, which for triple DES has whole blocks.
    fn authenticate(self, key: &[u8], message: &[u8]) -> Option<[u8; 8]> {
        match self {
            Cipher::TripleDes => retail_mac(key, message),
            Cipher::Aes128 => cmac::<Cmac<Aes128>>(key, message),
            Cipher::Aes192 => cmac::<Cmac<Aes192>>(key, message),
            Cipher::Aes256 => cmac::<Cmac<Aes256>>(key, message),
        }
    }
}

/// ISO/IEC 9797-1 algorithm 3 with DES, over whole blocks.
fn retail_mac(key: &[u8], message: &[u8]) -> Option<[u8; 8]> {
    let (first, second) = key.split_at_checked(8)?;
    let (first, second) = (Des::new_from_slice(first).ok()?, Des::new_from_slice(second).ok()?);
    let mut state = Block::<Des>::default();
    for block in message.chunks(8) {
        for (state, octet) in state.iter_mut().zip(block) {
            *state ^= octet;
        }
        first.encrypt_block(&mut state);
    }
    second.decrypt_block(&mut state);
    first.encrypt_block(&mut state);
    Some(state.into())
}

fn cmac<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> Option<[u8; 8]> {
    let mut mac = <M as KeyInit>::new_from_slice(key).ok()?;
    mac.update(message);
    mac.finalize().into_bytes().first_chunk().copied()
}

/// A command without data under secure messaging: `97 01 Le 8E 08 MAC`.
pub(crate) fn protected_read(
    cipher: Cipher,
    key: &[u8],
    counter: u64,
    header: [u8; 4],
    expected: u8,
) -> Option<Vec<u8>> {
    let block = cipher.block();
    let length = [0x97, 1, expected];
    let mut message = vec![0; block - 8];
    message.extend_from_slice(&counter.to_be_bytes());
    for part in [&header[..], &length] {
        message.extend_from_slice(part);
        message.push(0x80);
        message.resize(message.len().next_multiple_of(block), 0);
    }
    let code = cipher.authenticate(key, &message)?;
    Some([&header[..], &[13], &length, &[0x8e, 8], &code, &[0]].concat())
}

/// The send sequence counter of a response.
pub(crate) struct Counter<'a>(&'a [u8]);

impl<'a> Counter<'a> {
    /// Counters start at zero with the new keys and count commands and responses: a response's
    /// is even and not zero. An odd one would let a command pass for a response.
    pub fn of_response(counter: &'a [u8]) -> Option<Counter<'a>> {
        let even = counter.last().is_some_and(|last| last & 1 == 0);
        let zero = counter.iter().all(|octet| *octet == 0);
        (even && !zero && matches!(counter.len(), 8 | 16)).then_some(Counter(counter))
    }

    /// Whether it is that of the first response under new keys.
    pub fn is_first(&self) -> bool {
        self.0.split_last().is_some_and(|(last, rest)| *last == 2 && rest.iter().all(|octet| *octet == 0))
    }
}

/// A response APDU under secure messaging: `[87 | 85 cryptogram] 99 02 SW 8E 08 MAC SW`.
pub(crate) struct ProtectedResponse<'a> {
    /// The data objects that the code covers, as received.
    authenticated: &'a [u8],
    code: &'a [u8],
}

impl<'a> ProtectedResponse<'a> {
    /// Any status will do: it is under the code, and only a chip with the keys can say it.
    pub fn parse(response: &'a [u8]) -> Option<ProtectedResponse<'a>> {
        let (objects, status) = response.split_last_chunk::<2>()?;
        let (authenticated, code) = objects.split_last_chunk::<10>()?;
        let code = code.strip_prefix(&[0x8e, 8])?;
        let mut reader = Reader::new(authenticated);
        if matches!(reader.peek(), Some(Tag(0x85 | 0x87))) {
            reader.next().ok()?;
        }
        (reader.expect(Tag(0x99)).ok()?.value == status).then_some(())?;
        reader.finish().ok()?;
        Some(ProtectedResponse { authenticated, code })
    }

    /// Whether the code is right under a key.
    pub fn holds(&self, cipher: Cipher, key: &[u8], counter: &Counter<'_>) -> bool {
        if counter.0.len() != cipher.block() {
            return false;
        }
        let mut message = [counter.0, self.authenticated, &[0x80]].concat();
        message.resize(message.len().next_multiple_of(cipher.block()), 0);
        cipher
            .authenticate(key, &message)
            .is_some_and(|code| aws_lc_rs::constant_time::verify_slices_are_equal(&code, self.code).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::cmac as oracle;

    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    /// The worked example of ICAO Doc 9303-11 appendix D: keys of basic access control are
    /// derived in the same way, and its responses are protected in the same way.
    #[test]
    fn the_worked_example_of_doc_9303_holds() {
        let without_parity = |key: &[u8]| key.iter().map(|octet| octet & 0xfe).collect::<Vec<_>>();
        let seed = bytes("239AB9CB282DAF66231DC5A4DF6BFBAE");
        for (counter, key) in [(1, "AB94FDECF2674FDFB9B391F85D7F76F2"), (2, "7962D9ECE03D1ACD4C76089DCE131543")] {
            assert_eq!(without_parity(&Cipher::TripleDes.derive(&seed, &[], counter)), without_parity(&bytes(key)));
        }
        let key = bytes("F1CB1F1FB5ADF208806B89DC579DC1F8");
        for (counter, response) in [
            ("887022120C06C228", "990290008E08FA855A5D4C50A8ED9000"),
            ("887022120C06C22A", "8709019FF0EC34F9922651990290008E08AD55CC17140B2DED9000"),
            (
                "887022120C06C22C",
                "871901FB9235F4E4037F2327DCC8964F1F9B8C30F42C8E2FFF224A990290008E08C8B2787EAEA07D749000",
            ),
        ] {
            let (counter, response) = (bytes(counter), bytes(response));
            let counter = Counter::of_response(&counter).unwrap();
            let parsed = ProtectedResponse::parse(&response).unwrap();
            assert!(parsed.holds(Cipher::TripleDes, &key, &counter));
            assert!(!parsed.holds(Cipher::TripleDes, &Cipher::TripleDes.derive(&seed, &[], 2), &counter));
            assert!(!parsed.holds(Cipher::Aes128, &key, &counter), "the counter has another length");
        }
    }

    #[test]
    fn the_reading_command_is_that_of_the_worked_example() {
        let key = bytes("F1CB1F1FB5ADF208806B89DC579DC1F8");
        let command = protected_read(Cipher::TripleDes, &key, 0x887022120C06C229, [0x0c, 0xb0, 0, 0], 4).unwrap();
        assert_eq!(command, bytes("0CB000000D9701048E08ED6705417E96BA5500"));
    }

    #[test]
    fn codes_of_aes_are_those_of_aws_lc() {
        for (cipher, algorithm) in
            [(Cipher::Aes128, oracle::AES_128), (Cipher::Aes192, oracle::AES_192), (Cipher::Aes256, oracle::AES_256)]
        {
            let key = cipher.authentication_key(b"shared");
            assert_ne!(key, cipher.derive(b"shared", &[], 1));
            let oracle_key = oracle::Key::new(algorithm, &key).unwrap();
            for blocks in 0..4 {
                let message: Vec<u8> = (0..blocks * 16).map(|at| at as u8).collect();
                let code = oracle::sign(&oracle_key, &message).unwrap();
                assert_eq!(cipher.authenticate(&key, &message).unwrap(), code.as_ref()[..8], "{cipher:?}");
            }
        }
    }

    #[test]
    fn responses_of_another_shape_are_refused() {
        let genuine = bytes("990290008E08FA855A5D4C50A8ED9000");
        assert!(ProtectedResponse::parse(&genuine).is_some());
        for end in 0..genuine.len() {
            assert!(ProtectedResponse::parse(&genuine[..end]).is_none());
            assert!(ProtectedResponse::parse(&genuine[genuine.len() - end..]).is_none());
        }
        for other in [
            "990290008E08FA855A5D4C50A8ED6A82",
            "990290008F08FA855A5D4C50A8ED9000",
            "990290008E07FA855A5D4C50A8ED9000",
            "9902900099 0290008E08FA855A5D4C50A8ED9000",
            "8709019FF0EC34F99226518E08AD55CC17140B2DED9000",
            "8709019FF0EC34F99226518709019FF0EC34F9922651990290008E08AD55CC17140B2DED9000",
            "8E08FA855A5D4C50A8ED9000",
            "9000",
        ] {
            assert!(ProtectedResponse::parse(&bytes(&other.replace(' ', ""))).is_none(), "{other}");
        }
    }

    #[test]
    fn counters_of_commands_are_not_those_of_responses() {
        assert!(Counter::of_response(&[0, 0, 0, 0, 0, 0, 0, 2]).unwrap().is_first());
        assert!(!Counter::of_response(&[0, 0, 0, 0, 0, 0, 0, 4]).unwrap().is_first());
        assert!(!Counter::of_response(&[1, 0, 0, 0, 0, 0, 0, 2]).unwrap().is_first());
        for bad in [&[][..], &[2], &[0; 8], &[0; 16], &[0, 0, 0, 0, 0, 0, 0, 1], &[2; 9]] {
            assert!(Counter::of_response(bad).is_none());
        }
    }
}
