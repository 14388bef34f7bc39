//! AWS-LC's own ECDSA verification, on the curves it names and on others by their parameters.
//! Its Rust interface has three curves; this calls the C library.
#![allow(unsafe_code, reason = "an oracle and a yardstick, called through the C interface; never part of the product")]
#![allow(dead_code)]

use std::ptr::null_mut;

use aws_lc_sys as ffi;
use proofmill_emrtd::crypto::curve::Curve;

/// A public key. It is only read after it was made.
pub struct Key(*mut ffi::EC_KEY);

// SAFETY: verification takes a const key, and the library documents const keys as shareable.
unsafe impl Send for Key {}
// SAFETY: as above.
unsafe impl Sync for Key {}

impl Key {
    /// For a point as `04 x y`; `None` if the library refuses it.
    pub fn new(curve: Curve, point: &[u8]) -> Option<Key> {
        // SAFETY: every pointer handed on is one that the library made and that was checked not to
        // be null, or a slice with its length. The group is copied into the key or, if it is one of
        // the library's constants, neither copied nor freed.
        unsafe {
            let group = group(curve)?;
            let key = ffi::EC_KEY_new();
            let public = ffi::EC_POINT_new(group);
            let made = !key.is_null()
                && !public.is_null()
                && ffi::EC_POINT_oct2point(group, public, point.as_ptr(), point.len(), null_mut()) == 1
                && ffi::EC_KEY_set_group(key, group) == 1
                && ffi::EC_KEY_set_public_key(key, public) == 1;
            ffi::EC_POINT_free(public);
            ffi::EC_GROUP_free(group);
            if made {
                Some(Key(key))
            } else {
                ffi::EC_KEY_free(key);
                None
            }
        }
    }

    /// Whether (r, s), big-endian, signs the digest.
    pub fn verify(&self, digest: &[u8], r: &[u8], s: &[u8]) -> bool {
        // SAFETY: the signature owns both numbers once they are set and frees them.
        unsafe {
            let signature = ffi::ECDSA_SIG_new();
            assert_eq!(ffi::ECDSA_SIG_set0(signature, number(r), number(s)), 1);
            let holds = ffi::ECDSA_do_verify(digest.as_ptr(), digest.len(), signature, self.0) == 1;
            ffi::ECDSA_SIG_free(signature);
            ffi::ERR_clear_error();
            holds
        }
    }

    /// The same for a signature in DER.
    pub fn verify_der(&self, digest: &[u8], signature: &[u8]) -> bool {
        // SAFETY: slices with their lengths, and a key that lives.
        unsafe { ffi::ECDSA_verify(0, digest.as_ptr(), digest.len(), signature.as_ptr(), signature.len(), self.0) == 1 }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: made by the library, and freed once.
        unsafe { ffi::EC_KEY_free(self.0) }
    }
}

/// # Safety
/// None to mind: it takes no pointer, and what it returns is the caller's to free.
unsafe fn group(curve: Curve) -> Option<*mut ffi::EC_GROUP> {
    let named = match curve {
        Curve::P224 => Some(ffi::NID_secp224r1),
        Curve::P256 => Some(ffi::NID_X9_62_prime256v1),
        Curve::P384 => Some(ffi::NID_secp384r1),
        Curve::P521 => Some(ffi::NID_secp521r1),
        _ => None,
    };
    // SAFETY: as in `Key::new`; numbers are freed after they were copied.
    unsafe {
        if let Some(named) = named {
            let group = ffi::EC_GROUP_new_by_curve_name(named);
            return (!group.is_null()).then_some(group);
        }
        let parameters = curve.parameters();
        let [p, a, b, gx, gy, n] =
            [parameters.p, parameters.a, parameters.b, parameters.gx, parameters.gy, parameters.n]
                .map(|hex| number(&hex_bytes(hex)));
        let group = ffi::EC_GROUP_new_curve_GFp(p, a, b, null_mut());
        let made = !group.is_null() && {
            let generator = ffi::EC_POINT_new(group);
            let set = ffi::EC_POINT_set_affine_coordinates_GFp(group, generator, gx, gy, null_mut()) == 1
                && ffi::EC_GROUP_set_generator(group, generator, n, ffi::BN_value_one()) == 1;
            ffi::EC_POINT_free(generator);
            set
        };
        for used in [p, a, b, gx, gy, n] {
            ffi::BN_free(used);
        }
        made.then_some(group)
    }
}

/// # Safety
/// None to mind: the slice carries its length, and the result is the caller's to free.
unsafe fn number(bytes: &[u8]) -> *mut ffi::BIGNUM {
    // SAFETY: a slice with its length; the library allocates the number.
    let number = unsafe { ffi::BN_bin2bn(bytes.as_ptr(), bytes.len(), null_mut()) };
    assert!(!number.is_null());
    number
}

fn hex_bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
}
