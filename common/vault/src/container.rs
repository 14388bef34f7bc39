//! One sealed object: named parts, each encrypted under the object's own key.
//!
//! ```text
//! magic "PMV1" | parts u16 | for each: name length u8, name, ciphertext length u32, ciphertext, tag (16)
//! ```
//!
//! The key is fresh for every object, so the part's index serves as nonce. Owner, object, name, index and
//! number of parts are associated data: parts cannot be dropped, swapped, renamed or moved between objects.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::error::VaultError;
use crate::secret_file::KEY_BYTES;

const MAGIC: &[u8; 4] = b"PMV1";
const TAG_BYTES: usize = 16;
pub(crate) const MAX_PARTS: usize = 64;
pub(crate) const MAX_NAME_BYTES: usize = 64;
/// Larger than any evidence request plus overhead; a larger object is not ours.
pub(crate) const MAX_OBJECT_BYTES: usize = 64 << 20;

/// A part's name and its bytes, which are wiped on drop.
pub(crate) type OpenedPart = (String, Zeroizing<Vec<u8>>);

/// Whose object it is.
pub(crate) struct Owner<'a> {
    pub(crate) id: &'a str,
    pub(crate) object: &'a str,
}

pub(crate) fn seal(key: &[u8; KEY_BYTES], owner: &Owner<'_>, parts: &[(&str, &[u8])]) -> Result<Vec<u8>, VaultError> {
    let names_fit = parts.iter().all(|(name, _)| !name.is_empty() && name.len() <= MAX_NAME_BYTES);
    let total: usize = parts.iter().map(|(name, bytes)| 1 + name.len() + 4 + bytes.len() + TAG_BYTES).sum();
    if parts.is_empty() || parts.len() > MAX_PARTS || !names_fit || total > MAX_OBJECT_BYTES - 6 {
        return Err(VaultError::Invalid("parts: too many, too large, or badly named"));
    }
    let aead = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key)?);
    // Sized once and encrypted out of place: no plaintext is ever copied into this buffer.
    let mut out = Vec::with_capacity(6 + total);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&(parts.len() as u16).to_be_bytes());
    for (index, (name, bytes)) in parts.iter().enumerate() {
        out.push(name.len() as u8);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        let start = out.len();
        out.resize(start + bytes.len() + TAG_BYTES, 0);
        let (ciphertext, tag) = out[start..].split_at_mut(bytes.len());
        aead.seal_out_of_place_scatter(
            nonce(index),
            Aad::from(associated_data(owner, name, index, parts.len())),
            bytes,
            ciphertext,
            &[],
            tag,
        )?;
    }
    Ok(out)
}

pub(crate) fn open(key: &[u8; KEY_BYTES], owner: &Owner<'_>, object: &[u8]) -> Result<Vec<OpenedPart>, VaultError> {
    let corrupt = || VaultError::Corrupt { what: "sealed object" };
    let aead = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key)?);
    let mut rest = object;
    if take(&mut rest, MAGIC.len()) != Some(MAGIC) {
        return Err(corrupt());
    }
    let count = usize::from(u16::from_be_bytes(array(&mut rest).ok_or_else(corrupt)?));
    if count == 0 || count > MAX_PARTS {
        return Err(corrupt());
    }
    let mut parts = Vec::with_capacity(count);
    for index in 0..count {
        let [name_length] = array(&mut rest).ok_or_else(corrupt)?;
        let name = take(&mut rest, usize::from(name_length)).ok_or_else(corrupt)?;
        let name = std::str::from_utf8(name).map_err(|_| corrupt())?;
        let length = u32::from_be_bytes(array(&mut rest).ok_or_else(corrupt)?) as usize;
        // Taken from the bytes at hand before anything is allocated for it.
        let sealed = take(&mut rest, length.saturating_add(TAG_BYTES)).ok_or_else(corrupt)?;
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let opened = aead
            .open_in_place(nonce(index), Aad::from(associated_data(owner, name, index, count)), &mut buffer)
            .map_err(|_| corrupt())?
            .len();
        buffer.truncate(opened);
        parts.push((name.to_owned(), buffer));
    }
    if rest.is_empty() { Ok(parts) } else { Err(corrupt()) }
}

fn nonce(index: usize) -> Nonce {
    let mut nonce = [0u8; NONCE_LEN];
    nonce[NONCE_LEN - 4..].copy_from_slice(&(index as u32).to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

fn associated_data(owner: &Owner<'_>, name: &str, index: usize, count: usize) -> Vec<u8> {
    let mut out = b"proofmill sealed part v1".to_vec();
    for part in [owner.id, owner.object, name] {
        out.extend_from_slice(&(part.len() as u32).to_be_bytes());
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(&(index as u32).to_be_bytes());
    out.extend_from_slice(&(count as u32).to_be_bytes());
    out
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head)
}

fn array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    take(rest, N)?.try_into().ok()
}
