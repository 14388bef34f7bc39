//! A transcript as integrators send it: one JSON object with members in hexadecimal.
//!
//! Three kinds of proof, told apart by their members:
//!
//! | proof | members beside `terminal` |
//! |---|---|
//! | version 1, under secure messaging | `TermPubKey`, `SmRapdu`, `SmSsc`; `TermPri` of an integrator's terminal |
//! | version 2, a token | `TermPri`, `TermPubKey`, `Nonce`, `Token` |
//! | PACE with chip authentication mapping | `PaceMapPubKey`, `CaData` |
//!
//! A server's terminal never names its private key, and the two last proofs are never one of its:
//! a transcript that says otherwise is refused whole.

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor, value::MapAccessDeserializer},
};
use zeroize::Zeroizing;

use crate::evidence::{
    ChipAuthentication, ChipAuthenticationMapping, ChipAuthenticationToken, ChipTranscript, Terminal,
};

/// Octets of one member: more than any response, element or key has.
const MAX_MEMBER: usize = 16 * 1024;

/// A transcript that owns its octets, which are zeroised on drop. Read with any `serde` format:
/// `serde_json::from_slice::<Transcript>(bytes)`. Errors name members and never quote values.
pub struct Transcript(Proof);

enum Proof {
    Version1 { terminal: Terminal, private_key: Octets, public_key: Octets, response: Octets, counter: Octets },
    Version2 { private_key: Octets, public_key: Octets, nonce: Octets, token: Octets },
    Mapping { public_key: Octets, data: Octets },
}

type Octets = Zeroizing<Vec<u8>>;

impl Transcript {
    /// The members there may be, `terminal` included.
    pub const MEMBERS: [&'static str; 9] =
        ["terminal", "TermPri", "TermPubKey", "SmRapdu", "SmSsc", "Nonce", "Token", "PaceMapPubKey", "CaData"];

    /// Who held the terminal's key, as the transcript says.
    pub fn terminal(&self) -> Terminal {
        self.evidence(None).terminal()
    }

    /// The transcript as evidence. `server_private_key` is the ephemeral key that the service made
    /// and kept for this document, and is for a server's terminal only: without it such a
    /// transcript fails its gate.
    pub fn evidence<'a>(&'a self, server_private_key: Option<&'a [u8]>) -> ChipTranscript<'a> {
        match &self.0 {
            Proof::Version1 { terminal, private_key, public_key, response, counter } => {
                ChipTranscript::Version1(ChipAuthentication {
                    terminal: *terminal,
                    terminal_private_key: match terminal {
                        Terminal::Server => server_private_key.unwrap_or_default(),
                        Terminal::Integrator => private_key,
                    },
                    terminal_public_key: public_key,
                    protected_response: response,
                    send_sequence_counter: counter,
                })
            }
            Proof::Version2 { private_key, public_key, nonce, token } => {
                ChipTranscript::Version2(ChipAuthenticationToken {
                    terminal_private_key: private_key,
                    terminal_public_key: public_key,
                    nonce,
                    token,
                })
            }
            Proof::Mapping { public_key, data } => ChipTranscript::PaceMapping(ChipAuthenticationMapping {
                mapping_public_key: public_key,
                chip_authentication_data: data,
            }),
        }
    }
}

impl<'de> Deserialize<'de> for Transcript {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Transcript, D::Error> {
        // What is derived takes an array for an object, and its elements for members.
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Members, A::Error> {
                Members::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Object)?.try_into().map_err(D::Error::custom)
    }
}

/// Why an object is not a transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TranscriptError {
    /// A member that this kind of transcript needs.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A member of another kind of transcript, or one that a server's must not have.
    #[error("`{0}` does not belong to this kind of transcript")]
    Unexpected(&'static str),
    /// A member that is not pairs of hexadecimal digits, or too many of them.
    #[error("`{0}` is not a string of at most 16384 octets in hexadecimal")]
    NotHexadecimal(&'static str),
}

/// The object as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    terminal: Terminal,
    #[serde(default, rename = "TermPri")]
    terminal_private_key: Option<Hexadecimal>,
    #[serde(default, rename = "TermPubKey")]
    terminal_public_key: Option<Hexadecimal>,
    #[serde(default, rename = "SmRapdu")]
    protected_response: Option<Hexadecimal>,
    #[serde(default, rename = "SmSsc")]
    send_sequence_counter: Option<Hexadecimal>,
    #[serde(default, rename = "Nonce")]
    nonce: Option<Hexadecimal>,
    #[serde(default, rename = "Token")]
    token: Option<Hexadecimal>,
    #[serde(default, rename = "PaceMapPubKey")]
    mapping_public_key: Option<Hexadecimal>,
    #[serde(default, rename = "CaData")]
    chip_authentication_data: Option<Hexadecimal>,
}

impl TryFrom<Members> for Transcript {
    type Error = TranscriptError;

    fn try_from(members: Members) -> Result<Transcript, TranscriptError> {
        let server = members.terminal == Terminal::Server;
        let none = |member: &Option<Hexadecimal>, name| match member {
            Some(_) => Err(TranscriptError::Unexpected(name)),
            None => Ok(()),
        };
        let is_mapping = members.mapping_public_key.is_some() || members.chip_authentication_data.is_some();
        let is_token = members.nonce.is_some() || members.token.is_some();
        if is_mapping {
            none(&members.terminal_private_key, "TermPri")?;
            none(&members.terminal_public_key, "TermPubKey")?;
            none(&members.nonce, "Nonce")?;
            none(&members.token, "Token")?;
        }
        if is_mapping || is_token {
            none(&members.protected_response, "SmRapdu")?;
            none(&members.send_sequence_counter, "SmSsc")?;
        }
        if server {
            // Whoever holds the key can forge the transcript, so one that came with the evidence is not the server's.
            none(&members.terminal_private_key, "TermPri")?;
            none(&members.nonce, "Nonce")?;
            none(&members.token, "Token")?;
            none(&members.mapping_public_key, "PaceMapPubKey")?;
            none(&members.chip_authentication_data, "CaData")?;
        }
        Ok(Transcript(if is_mapping {
            Proof::Mapping {
                public_key: octets(members.mapping_public_key, "PaceMapPubKey")?,
                data: octets(members.chip_authentication_data, "CaData")?,
            }
        } else if is_token {
            Proof::Version2 {
                private_key: octets(members.terminal_private_key, "TermPri")?,
                public_key: octets(members.terminal_public_key, "TermPubKey")?,
                nonce: octets(members.nonce, "Nonce")?,
                token: octets(members.token, "Token")?,
            }
        } else {
            Proof::Version1 {
                terminal: members.terminal,
                private_key: match members.terminal {
                    Terminal::Server => Octets::default(),
                    Terminal::Integrator => octets(members.terminal_private_key, "TermPri")?,
                },
                public_key: octets(members.terminal_public_key, "TermPubKey")?,
                response: octets(members.protected_response, "SmRapdu")?,
                counter: octets(members.send_sequence_counter, "SmSsc")?,
            }
        }))
    }
}

fn octets(member: Option<Hexadecimal>, name: &'static str) -> Result<Octets, TranscriptError> {
    member.ok_or(TranscriptError::Missing(name))?.0.ok_or(TranscriptError::NotHexadecimal(name))
}

/// Octets from a string, without a copy of the string; `None` when it is not hexadecimal.
struct Hexadecimal(Option<Octets>);

impl<'de> Deserialize<'de> for Hexadecimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hexadecimal, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Hexadecimal;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string in hexadecimal")
            }

            fn visit_str<E>(self, text: &str) -> Result<Hexadecimal, E> {
                Ok(Hexadecimal(decode(text)))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

fn decode(text: &str) -> Option<Octets> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(2) || text.len() > 2 * MAX_MEMBER {
        return None;
    }
    let digit = |character: u8| char::from(character).to_digit(16).map(|digit| digit as u8);
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    for pair in text.chunks_exact(2) {
        let &[high, low] = pair else { return None };
        out.push(digit(high)? << 4 | digit(low)?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Transcript, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn the_members_tell_the_kind() {
        let read = |json| read(json).unwrap();
        let version_1 =
            read(r#"{"terminal":"integrator","TermPri":"0102","TermPubKey":"03","SmRapdu":"aB","SmSsc":""}"#);
        let ChipTranscript::Version1(transcript) = version_1.evidence(Some(&[9])) else { panic!() };
        assert_eq!(transcript.terminal, Terminal::Integrator);
        assert_eq!(transcript.terminal_private_key, [1, 2], "an integrator's is never replaced");
        assert_eq!((transcript.terminal_public_key, transcript.protected_response), (&[3][..], &[0xab][..]));
        let server = read(r#"{"terminal":"server","TermPubKey":"03","SmRapdu":"04","SmSsc":"05"}"#);
        for (key, expected) in [(Some(&[9, 8][..]), &[9, 8][..]), (None, &[])] {
            let ChipTranscript::Version1(transcript) = server.evidence(key) else { panic!() };
            assert_eq!((transcript.terminal, transcript.terminal_private_key), (Terminal::Server, expected));
        }
        let version_2 = read(r#"{"terminal":"integrator","TermPri":"01","TermPubKey":"02","Nonce":"03","Token":"04"}"#);
        let ChipTranscript::Version2(token) = version_2.evidence(Some(&[9])) else { panic!() };
        assert_eq!((token.terminal_private_key, token.nonce, token.token), (&[1][..], &[3][..], &[4][..]));
        let mapping = read(r#"{"terminal":"integrator","PaceMapPubKey":"04","CaData":"05"}"#);
        let ChipTranscript::PaceMapping(data) = mapping.evidence(None) else { panic!() };
        assert_eq!((data.mapping_public_key, data.chip_authentication_data), (&[4][..], &[5][..]));
        assert_eq!((version_2.terminal(), mapping.terminal()), (Terminal::Integrator, Terminal::Integrator));
    }

    #[test]
    fn what_is_no_transcript_is_refused_by_name_and_never_quoted() {
        for (json, problem) in [
            (r#"{"terminal":"integrator","TermPubKey":"03","SmRapdu":"04","SmSsc":"05"}"#, "`TermPri` is missing"),
            (r#"{"terminal":"server","SmRapdu":"04","SmSsc":"05"}"#, "`TermPubKey` is missing"),
            (r#"{"terminal":"server"}"#, "`TermPubKey` is missing"),
            (
                r#"{"terminal":"server","TermPri":"","TermPubKey":"03","SmRapdu":"04","SmSsc":"05"}"#,
                "`TermPri` does not",
            ),
            (r#"{"terminal":"server","PaceMapPubKey":"04","CaData":"05"}"#, "`PaceMapPubKey` does not"),
            (r#"{"terminal":"server","TermPubKey":"02","Nonce":"03","Token":"04"}"#, "`Nonce` does not"),
            (r#"{"terminal":"integrator","PaceMapPubKey":"04"}"#, "`CaData` is missing"),
            (r#"{"terminal":"integrator","PaceMapPubKey":"04","CaData":"05","TermPri":"01"}"#, "`TermPri` does not"),
            (
                r#"{"terminal":"integrator","TermPri":"1","TermPubKey":"2","Nonce":"3","Token":"4","SmSsc":"5"}"#,
                "`SmSsc` does not",
            ),
            (
                r#"{"terminal":"integrator","TermPri":"7g","TermPubKey":"03","SmRapdu":"04","SmSsc":"05"}"#,
                "`TermPri` is not",
            ),
            (
                r#"{"terminal":"integrator","TermPri":"777","TermPubKey":"03","SmRapdu":"04","SmSsc":"05"}"#,
                "`TermPri` is not",
            ),
            (
                r#"{"terminal":"integrator","TermPri":"é7","TermPubKey":"03","SmRapdu":"04","SmSsc":"05"}"#,
                "`TermPri` is not",
            ),
            (r#"{"terminal":"reader","TermPubKey":"03"}"#, "unknown variant"),
            (r#"{"TermPubKey":"03"}"#, "missing field `terminal`"),
            (r#"{"terminal":"server","TermPubKey":"03","TermPubKey":"03"}"#, "duplicate field"),
            (r#"{"terminal":"server","Cookie":"03"}"#, "unknown field `Cookie`"),
            (r#"["integrator","01","02","03","04"]"#, "expected an object"),
            (r#"{"terminal":"integrator","PaceMapPubKey":4,"CaData":"05"}"#, "expected a string in hexadecimal"),
            (r#""7777""#, "expected an object"),
        ] {
            let error = read(json).map(|_| ()).unwrap_err();
            assert!(error.contains(problem), "{json}: {error}");
            assert!(json.len() < 10 || !error.contains("777") && !error.contains("7g"), "{error}");
        }
        let long = "00".repeat(MAX_MEMBER + 1);
        let json = format!(r#"{{"terminal":"integrator","PaceMapPubKey":"{long}","CaData":"05"}}"#);
        assert!(read(&json).map(|_| ()).unwrap_err().contains("`PaceMapPubKey` is not"));
        let json = format!(r#"{{"terminal":"integrator","PaceMapPubKey":"{}","CaData":"05"}}"#, &long[2..]);
        assert!(read(&json).is_ok());
    }
}
