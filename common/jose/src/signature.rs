//! The two signatures of a webhook: `X-Kayle-Signature` and Standard Webhooks.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

const PREFIX: &str = "whsec_";
const RANDOM_CHARS: usize = 32;

/// The text is not a signing secret; it is not echoed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a signing secret: expected `whsec_` and 32 characters of [a-z0-9]")]
pub struct SecretError;

/// Why a signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The header is not of the published form.
    #[error("signature header is malformed: {0}")]
    Malformed(&'static str),
    /// The timestamp is too far from now: a replay, or a wrong clock.
    #[error("signature timestamp is {0} s away from now")]
    Expired(u64),
    /// No signature in the header is by this secret over this body.
    #[error("no signature in the header matches")]
    Mismatch,
}

/// An endpoint's signing secret, `whsec_` + 32 characters. Wiped on drop, never printed.
#[derive(Clone)]
pub struct SigningSecret(Zeroizing<String>);

impl SigningSecret {
    /// Reads a secret.
    ///
    /// # Errors
    /// [`SecretError`] for any other shape.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let random = text.strip_prefix(PREFIX).ok_or(SecretError)?;
        let in_alphabet = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        if random.len() != RANDOM_CHARS || !random.bytes().all(in_alphabet) {
            return Err(SecretError);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The secret, for the one response that reveals it and for sealing.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// `X-Kayle-Signature` is keyed by the text itself.
    fn kayle_key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.0.as_bytes())
    }

    /// Standard Webhooks keys by what the text after the prefix encodes: 32 characters, 24 bytes.
    fn standard_key(&self) -> hmac::Key {
        let encoded = self.0.as_bytes().get(PREFIX.len()..).unwrap_or_default();
        // Cannot fail: `parse` admits only 32 characters of the base64 alphabet.
        let key = Zeroizing::new(STANDARD.decode(encoded).unwrap_or_default());
        hmac::Key::new(hmac::HMAC_SHA256, &key)
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(whsec_[redacted])")
    }
}

impl std::str::FromStr for SigningSecret {
    type Err = SecretError;
    fn from_str(text: &str) -> Result<Self, SecretError> {
        Self::parse(text)
    }
}

/// The values of the two signature headers of one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signatures {
    /// `X-Kayle-Signature`: `t=<unix seconds>,v1=<hex>[,v1=<hex>]`.
    pub kayle: String,
    /// `webhook-signature`: `v1,<base64>[ v1,<base64>]`.
    pub standard: String,
}

/// Signs a body with every valid secret, newest first (after a rotation the old one still signs for a while).
///
/// `timestamp` is in Unix seconds; `event_id` never changes between tries, `timestamp` does.
pub fn sign(secrets: &[&SigningSecret], event_id: &str, timestamp: i64, body: &[u8]) -> Signatures {
    let time = timestamp.to_string();
    let mut kayle = format!("t={time}");
    let mut standard = String::new();
    for secret in secrets {
        kayle.push_str(",v1=");
        kayle.push_str(&hex::encode(kayle_tag(secret, &time, body)));
        if !standard.is_empty() {
            standard.push(' ');
        }
        standard.push_str("v1,");
        STANDARD.encode_string(standard_tag(secret, event_id, &time, body), &mut standard);
    }
    Signatures { kayle, standard }
}

/// Checks `X-Kayle-Signature` as a receiver does: any of its `v1` values may match.
///
/// # Errors
/// See [`SignatureError`].
pub fn verify_kayle(
    secret: &SigningSecret,
    header: &str,
    body: &[u8],
    now: i64,
    tolerance: u64,
) -> Result<(), SignatureError> {
    let mut time = None;
    let mut tags = Vec::new();
    for item in header.split(',') {
        match item.split_once('=') {
            Some(("t", _)) if time.is_some() => return Err(SignatureError::Malformed("two timestamps")),
            Some(("t", value)) => time = Some(value),
            Some(("v1", value)) => {
                tags.push(hex::decode(value).map_err(|_| SignatureError::Malformed("v1 is not hex"))?);
            }
            // Other schemes may be added later.
            Some(_) => {}
            None => return Err(SignatureError::Malformed("expected t=…,v1=…")),
        }
    }
    let time = time.ok_or(SignatureError::Malformed("no timestamp"))?;
    check_time(time, now, tolerance)?;
    let expected = kayle_tag(secret, time, body);
    any_matches(&tags, expected.as_ref())
}

/// Checks the Standard Webhooks headers as a receiver does.
///
/// # Errors
/// See [`SignatureError`].
pub fn verify_standard(
    secret: &SigningSecret,
    id: &str,
    timestamp: &str,
    header: &str,
    body: &[u8],
    now: i64,
    tolerance: u64,
) -> Result<(), SignatureError> {
    check_time(timestamp, now, tolerance)?;
    let mut tags = Vec::new();
    for item in header.split(' ') {
        match item.split_once(',') {
            Some(("v1", value)) => {
                tags.push(STANDARD.decode(value).map_err(|_| SignatureError::Malformed("v1 is not base64"))?);
            }
            Some(_) => {}
            None => return Err(SignatureError::Malformed("expected v1,…")),
        }
    }
    let expected = standard_tag(secret, id, timestamp, body);
    any_matches(&tags, expected.as_ref())
}

/// Every header of one delivery, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookHeaders([(&'static str, String); 7]);

impl WebhookHeaders {
    /// Signs the body and names the headers that go with it.
    pub fn new(
        secrets: &[&SigningSecret],
        delivery_id: &str,
        event_id: &str,
        event_type: &str,
        timestamp: i64,
        body: &[u8],
    ) -> Self {
        let Signatures { kayle, standard } = sign(secrets, event_id, timestamp, body);
        Self([
            ("content-type", "application/jose".to_owned()),
            ("x-kayle-delivery-id", delivery_id.to_owned()),
            ("x-kayle-event", event_type.to_owned()),
            ("x-kayle-signature", kayle),
            ("webhook-id", event_id.to_owned()),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-signature", standard),
        ])
    }

    /// Lower-case names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// A header's value, by its lower-case name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

fn kayle_tag(secret: &SigningSecret, time: &str, body: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&secret.kayle_key());
    context.update(time.as_bytes());
    context.update(b".");
    context.update(body);
    context.sign()
}

fn standard_tag(secret: &SigningSecret, id: &str, time: &str, body: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&secret.standard_key());
    for part in [id.as_bytes(), b".", time.as_bytes(), b".", body] {
        context.update(part);
    }
    context.sign()
}

fn check_time(text: &str, now: i64, tolerance: u64) -> Result<(), SignatureError> {
    // Digits only: "+1" and " 1" would parse, but are not what was signed by an honest sender.
    if text.is_empty() || !text.bytes().all(|c| c.is_ascii_digit()) {
        return Err(SignatureError::Malformed("timestamp is not in Unix seconds"));
    }
    let time: i64 = text.parse().map_err(|_| SignatureError::Malformed("timestamp is not in Unix seconds"))?;
    let away = now.abs_diff(time);
    if away > tolerance { Err(SignatureError::Expired(away)) } else { Ok(()) }
}

fn any_matches(tags: &[Vec<u8>], expected: &[u8]) -> Result<(), SignatureError> {
    let matches = |tag: &Vec<u8>| aws_lc_rs::constant_time::verify_slices_are_equal(tag, expected).is_ok();
    if tags.iter().any(matches) { Ok(()) } else { Err(SignatureError::Mismatch) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "whsec_0123456789abcdefghijklmnopqrstuv";
    const OLD: &str = "whsec_zyxwvutsrqponmlkjihgfedcba987654";
    const BODY: &[u8] = b"eyJhbGciOiJSU0EtT0FFUC0yNTYifQ.a.b.c.d";

    fn secret(text: &str) -> SigningSecret {
        SigningSecret::parse(text).unwrap()
    }

    /// Expected values by Python 3: `hmac.new(key, message, "sha256")`.
    #[test]
    fn both_signatures_equal_independently_computed_values() {
        let signatures = sign(&[&secret(NEW)], "evt_1", 1_795_339_800, BODY);
        assert_eq!(signatures.kayle, format!("t=1795339800,v1={}", KAYLE_BY_PYTHON));
        assert_eq!(signatures.standard, format!("v1,{}", STANDARD_BY_PYTHON));
    }
    const KAYLE_BY_PYTHON: &str = "2f58348e60665ef281eea392ad3cb5bf566f3a063603ac251603b8f0b3153bba";
    const STANDARD_BY_PYTHON: &str = "vv17+pRnpDIDmnEhLDTvUgv0XMua6uRkxBZNV4j8X7I=";

    #[test]
    fn after_a_rotation_either_secret_verifies_and_the_new_one_comes_first() {
        let (new, old) = (secret(NEW), secret(OLD));
        let both = sign(&[&new, &old], "evt_1", 1_000, BODY);
        let only_new = sign(&[&new], "evt_1", 1_000, BODY);
        assert!(both.kayle.starts_with(&only_new.kayle));
        assert!(both.standard.starts_with(&only_new.standard));
        assert_eq!(both.standard.split(' ').count(), 2);
        for secret in [&new, &old] {
            assert_eq!(verify_kayle(secret, &both.kayle, BODY, 1_000, 0), Ok(()));
            assert_eq!(verify_standard(secret, "evt_1", "1000", &both.standard, BODY, 1_000, 0), Ok(()));
        }
        assert_eq!(verify_kayle(&old, &only_new.kayle, BODY, 1_000, 0), Err(SignatureError::Mismatch));
        assert_eq!(
            verify_standard(&old, "evt_1", "1000", &only_new.standard, BODY, 1_000, 0),
            Err(SignatureError::Mismatch)
        );
    }

    #[test]
    fn every_flipped_bit_of_the_body_breaks_both_signatures() {
        let secret = secret(NEW);
        let signatures = sign(&[&secret], "evt_1", 1_000, BODY);
        let mut body = BODY.to_vec();
        for bit in 0..body.len() * 8 {
            body[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(verify_kayle(&secret, &signatures.kayle, &body, 1_000, 0), Err(SignatureError::Mismatch));
            assert_eq!(
                verify_standard(&secret, "evt_1", "1000", &signatures.standard, &body, 1_000, 0),
                Err(SignatureError::Mismatch)
            );
            body[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn the_event_id_and_the_time_are_signed() {
        let secret = secret(NEW);
        let signatures = sign(&[&secret], "evt_1", 1_000, BODY);
        let standard = |id, time| verify_standard(&secret, id, time, &signatures.standard, BODY, 1_000, 10);
        assert_eq!(standard("evt_1", "1000"), Ok(()));
        assert_eq!(standard("evt_2", "1000"), Err(SignatureError::Mismatch));
        assert_eq!(standard("evt_1", "1001"), Err(SignatureError::Mismatch));
        let moved = signatures.kayle.replace("t=1000", "t=1001");
        assert_eq!(verify_kayle(&secret, &moved, BODY, 1_000, 10), Err(SignatureError::Mismatch));
    }

    #[test]
    fn old_and_future_timestamps_are_refused_beyond_the_tolerance() {
        let secret = secret(NEW);
        let signatures = sign(&[&secret], "evt_1", 1_000, BODY);
        let at = |now| verify_kayle(&secret, &signatures.kayle, BODY, now, 300);
        assert_eq!((at(700), at(1_300)), (Ok(()), Ok(())));
        assert_eq!(at(1_301), Err(SignatureError::Expired(301)));
        assert_eq!(at(699), Err(SignatureError::Expired(301)));
        assert_eq!(
            verify_standard(&secret, "evt_1", "1000", &signatures.standard, BODY, i64::MIN, 300),
            Err(SignatureError::Expired(i64::MIN.abs_diff(1_000)))
        );
    }

    #[test]
    fn malformed_headers_are_refused_and_unknown_schemes_passed_over() {
        let secret = secret(NEW);
        let tag = sign(&[&secret], "evt_1", 1_000, BODY).kayle;
        for header in ["", "t", "v1=00", "t=1000,t=1000,v1=00", "t=1000,v1=xyz", "t=+1000,v1=00", "t= 1000,v1=00"] {
            assert!(
                matches!(verify_kayle(&secret, header, BODY, 1_000, 0), Err(SignatureError::Malformed(_))),
                "{header}"
            );
        }
        assert_eq!(verify_kayle(&secret, "t=1000", BODY, 1_000, 0), Err(SignatureError::Mismatch));
        assert_eq!(verify_kayle(&secret, &format!("{tag},v2=new"), BODY, 1_000, 0), Ok(()));
        for header in ["v1", "v1,!!", "\u{e9}"] {
            assert!(matches!(
                verify_standard(&secret, "evt_1", "1000", header, BODY, 1_000, 0),
                Err(SignatureError::Malformed(_))
            ));
        }
    }

    #[test]
    fn secrets_have_one_shape_and_are_never_printed() {
        for text in
            ["", "whsec_", &NEW[1..], &format!("{NEW}a"), &NEW.to_uppercase(), "whsec_0123456789abcdefghijklmnopqrst=="]
        {
            assert_eq!(SigningSecret::parse(text).unwrap_err(), SecretError);
        }
        assert!(!format!("{:?}", secret(NEW)).contains("0123"));
        assert_eq!(secret(NEW).expose(), NEW);
    }

    #[test]
    fn a_delivery_carries_every_published_header() {
        let headers =
            WebhookHeaders::new(&[&secret(NEW)], "whd_1", "evt_1", "verification.session.failed", 1_000, BODY);
        assert_eq!(headers.get("content-type"), Some("application/jose"));
        assert_eq!(headers.get("x-kayle-delivery-id"), Some("whd_1"));
        assert_eq!(headers.get("x-kayle-event"), Some("verification.session.failed"));
        assert_eq!(headers.get("webhook-id"), Some("evt_1"));
        assert_eq!(headers.get("webhook-timestamp"), Some("1000"));
        let signatures = sign(&[&secret(NEW)], "evt_1", 1_000, BODY);
        assert_eq!(headers.get("x-kayle-signature"), Some(signatures.kayle.as_str()));
        assert_eq!(headers.get("webhook-signature"), Some(signatures.standard.as_str()));
    }
}
