//! Object ids, API keys and tokens.
//!
//! An object id is `prefix_` + `[a-z0-9]`: ten characters of base-36 milliseconds since the
//! Unix epoch, the rest from a cryptographically secure generator. Ids therefore sort by creation
//! time and cannot be guessed.

use std::fmt;
use std::str::FromStr;

use rand::{CryptoRng, RngExt};
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// Characters of an object id that carry the creation time.
const TIME_CHARS: usize = 10;

/// Why a text is not an id of the kind asked for. The text itself is not echoed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind} id: expected `{prefix}` and {length} characters of [a-z0-9]")]
pub struct IdError {
    /// What was expected, for people.
    pub kind: &'static str,
    /// The prefix, underscore included.
    pub prefix: &'static str,
    /// Characters after the prefix.
    pub length: usize,
}

macro_rules! object_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $prefix:literal, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The prefix, underscore included.
            pub const PREFIX: &'static str = $prefix;
            /// Characters after the prefix.
            pub const LENGTH: usize = $length;

            /// A fresh id of this moment.
            pub fn generate(now: Timestamp, rng: &mut impl CryptoRng) -> Self {
                Self(generate(Self::PREFIX, Self::LENGTH, now, rng))
            }

            /// What every id of this moment and of later ones is not below: ids sort by their time.
            pub fn earliest(at: Timestamp) -> String {
                format!("{}{}", Self::PREFIX, time_text(at))
            }

            /// Reads an id; refuses any other prefix, length or character.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                if well_formed(text, Self::PREFIX, Self::LENGTH) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(IdError { kind: $kind, prefix: Self::PREFIX, length: Self::LENGTH })
                }
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

object_id!(
    /// A verification session.
    SessionId, "session", "vs_", 64
);
object_id!(
    /// A verification attempt.
    AttemptId, "attempt", "va_", 64
);
object_id!(
    /// An event; also the `webhook-id` of every delivery of it.
    EventId, "event", "evt_", 64
);
object_id!(
    /// One delivery of an event to one endpoint.
    DeliveryId, "delivery", "whd_", 64
);
object_id!(
    /// A webhook endpoint.
    EndpointId, "webhook endpoint", "whe_", 32
);
object_id!(
    /// An encryption key of a webhook endpoint.
    EncryptionKeyId, "encryption key", "whk_", 32
);
object_id!(
    /// An organisation.
    OrganisationId, "organisation", "org_", 32
);
object_id!(
    /// The public name of an API key (never the key itself).
    ApiKeyId, "api key", "key_", 32
);
object_id!(
    /// A reader's public key. What the reader itself calls it is the JWS's `kid`.
    ReaderKeyId, "reader key", "rdk_", 32
);

/// `length` characters of `[a-z0-9]`, uniformly drawn (5.17 bits each).
pub fn random_text(length: usize, rng: &mut impl CryptoRng) -> String {
    (0..length).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
}

/// A new API key: `kk_` + 32 characters (165 bits).
pub fn api_key(rng: &mut impl CryptoRng) -> String {
    format!("kk_{}", random_text(32, rng))
}

/// A new webhook signing secret: `whsec_` + 32 characters.
pub fn signing_secret(rng: &mut impl CryptoRng) -> String {
    format!("whsec_{}", random_text(32, rng))
}

/// A new cancel token: 48 characters.
pub fn cancel_token(rng: &mut impl CryptoRng) -> String {
    random_text(48, rng)
}

fn generate(prefix: &str, length: usize, now: Timestamp, rng: &mut impl CryptoRng) -> String {
    let mut id = String::with_capacity(prefix.len() + length);
    id.push_str(prefix);
    id.push_str(&time_text(now));
    id.push_str(&random_text(length - TIME_CHARS, rng));
    id
}

fn time_text(at: Timestamp) -> String {
    let mut millis = at.as_millis().max(0) as u64;
    let mut time = [b'0'; TIME_CHARS];
    for slot in time.iter_mut().rev() {
        *slot = ALPHABET[(millis % 36) as usize];
        millis /= 36;
    }
    time.iter().map(|&c| char::from(c)).collect()
}

fn well_formed(text: &str, prefix: &str, length: usize) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|rest| rest.len() == length && rest.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    #[test]
    fn ids_sort_by_creation_time_and_have_the_published_shape() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let early = SessionId::generate(Timestamp::from_millis(1_700_000_000_000), &mut rng);
        let late = SessionId::generate(Timestamp::from_millis(1_700_000_000_001), &mut rng);
        assert!(early < late);
        assert_eq!(early.as_str().len(), 3 + 64);
        assert_eq!(SessionId::parse(early.as_str()), Ok(early));
        assert_eq!(EndpointId::generate(Timestamp::from_millis(0), &mut rng).as_str().len(), 4 + 32);
    }

    #[test]
    fn ids_lie_between_the_bounds_of_their_moment() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let at = |millis| Timestamp::from_millis(millis);
        let id = SessionId::generate(at(1_700_000_000_000), &mut rng);
        assert!(SessionId::earliest(at(1_700_000_000_000)).as_str() <= id.as_str());
        assert!(SessionId::earliest(at(1_700_000_000_001)).as_str() > id.as_str());
    }

    #[test]
    fn foreign_prefixes_lengths_and_characters_are_refused() {
        let id = AttemptId::generate(Timestamp::from_millis(5), &mut ChaCha20Rng::seed_from_u64(2));
        assert!(SessionId::parse(id.as_str()).is_err());
        assert!(AttemptId::parse(&id.as_str()[..66]).is_err());
        assert!(AttemptId::parse(&id.as_str().to_uppercase()).is_err());
        assert!(AttemptId::parse("").is_err());
        assert!(serde_json::from_str::<AttemptId>("\"va_é\"").is_err());
    }
}
