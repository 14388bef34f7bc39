use std::collections::{HashMap, HashSet};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

const TOLERANCE: u64 = 300; // seconds

/// The event, or `None` if it has been seen. One of the two verifications is enough.
pub fn receive(
    headers: &HashMap<String, String>,
    body: &[u8],
    secret: &str,
    private_key: &OaepPrivateDecryptingKey,
    seen: &mut HashSet<String>,
) -> Result<Option<Value>, &'static str> {
    let header = |name: &str| headers.get(name).map(String::as_str).ok_or("missing header");
    verify_kayle(header("x-kayle-signature")?, body, secret)?;
    let (id, timestamp) = (header("webhook-id")?, header("webhook-timestamp")?);
    verify_standard(id, timestamp, header("webhook-signature")?, body, secret)?;
    let jwe = std::str::from_utf8(body).map_err(|_| "not a compact JWE")?;
    let event: Value = serde_json::from_slice(&decrypt(jwe, private_key)?).map_err(|_| "plaintext")?;
    let id = event["metadata"]["event_id"].as_str().ok_or("plaintext")?;
    Ok(seen.insert(id.to_owned()).then_some(event))
}

pub fn verify_kayle(header: &str, body: &[u8], secret: &str) -> Result<(), &'static str> {
    let items: Vec<(&str, &str)> = header.split(',').filter_map(|item| item.split_once('=')).collect();
    let times: Vec<&str> = items.iter().filter(|(name, _)| *name == "t").map(|(_, value)| *value).collect();
    let &[time] = times.as_slice() else { return Err("expected one t") };
    check_time(time)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signed = [time.as_bytes(), b".", body].concat();
    let signatures = items.iter().filter(|(name, _)| *name == "v1").filter_map(|(_, value)| hex::decode(value).ok());
    check_any(&key, &signed, signatures)
}

pub fn verify_standard(id: &str, timestamp: &str, header: &str, body: &[u8], secret: &str) -> Result<(), &'static str> {
    check_time(timestamp)?;
    let encoded = secret.strip_prefix("whsec_").ok_or("secret")?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(encoded).map_err(|_| "secret")?);
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    let items = header.split(' ').filter_map(|item| item.strip_prefix("v1,"));
    check_any(&key, &signed, items.filter_map(|value| STANDARD.decode(value).ok()))
}

fn check_time(text: &str) -> Result<(), &'static str> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| "clock")?.as_secs();
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let close = text.parse().is_ok_and(|time| now.abs_diff(time) <= TOLERANCE);
    if digits && close { Ok(()) } else { Err("timestamp") }
}

fn check_any(
    key: &hmac::Key,
    signed: &[u8],
    mut signatures: impl Iterator<Item = Vec<u8>>,
) -> Result<(), &'static str> {
    // `hmac::verify` compares in constant time.
    let matches = signatures.any(|signature| hmac::verify(key, signed, &signature).is_ok());
    if matches { Ok(()) } else { Err("signature") }
}

pub fn decrypt(jwe: &str, private_key: &OaepPrivateDecryptingKey) -> Result<Vec<u8>, &'static str> {
    let parts: Vec<&str> = jwe.split('.').collect();
    let &[header, wrapped, iv, ciphertext, tag] = parts.as_slice() else { return Err("not a compact JWE") };
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "not a compact JWE");
    let fields: Value = serde_json::from_slice(&decode(header)?).map_err(|_| "not a compact JWE")?;
    if fields["alg"] != "RSA-OAEP-256" || fields["enc"] != "A256GCM" {
        return Err("algorithm");
    }
    let mut content_key = vec![0; private_key.min_output_size()];
    let content_key = private_key
        .decrypt(&OAEP_SHA256_MGF1SHA256, &decode(wrapped)?, &mut content_key, None)
        .map_err(|_| "decryption")?;
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, content_key).map_err(|_| "decryption")?);
    let nonce = Nonce::try_assume_unique_for_key(&decode(iv)?).map_err(|_| "decryption")?;
    let mut sealed = [decode(ciphertext)?, decode(tag)?].concat();
    let plaintext = cipher.open_in_place(nonce, Aad::from(header.as_bytes()), &mut sealed).map_err(|_| "decryption")?;
    Ok(plaintext.to_vec())
}
