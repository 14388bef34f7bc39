//! The deployment key: files, sealed values, keyed hashes.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Barrier};

use proofmill_vault::{DeploymentKey, VaultError};
use proptest::prelude::*;

fn key() -> DeploymentKey {
    DeploymentKey::from_bytes([7; 32])
}

#[test]
fn a_sealed_value_opens_only_for_its_purpose_and_owner() {
    let sealed = key().seal("signing-secret", b"whe_1", b"value").unwrap();
    assert_eq!(key().open("signing-secret", b"whe_1", &sealed).unwrap().as_slice(), b"value");
    let corrupt = |result: Result<_, VaultError>| matches!(result, Err(VaultError::Corrupt { .. }));
    assert!(corrupt(key().open("idempotent-response", b"whe_1", &sealed)));
    assert!(corrupt(key().open("signing-secret", b"whe_2", &sealed)));
    assert!(corrupt(DeploymentKey::from_bytes([8; 32]).open("signing-secret", b"whe_1", &sealed)));
}

#[test]
fn every_flipped_bit_and_every_truncation_is_noticed() {
    let sealed = key().seal("label", b"owner", b"value").unwrap();
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(key().open("label", b"owner", &changed), Err(VaultError::Corrupt { .. })), "bit {bit}");
    }
    for length in 0..sealed.len() {
        assert!(matches!(key().open("label", b"owner", &sealed[..length]), Err(VaultError::Corrupt { .. })));
    }
}

#[test]
fn equal_values_do_not_look_equal() {
    assert_ne!(key().seal("l", b"o", b"same").unwrap(), key().seal("l", b"o", b"same").unwrap());
    assert_eq!(key().open("l", b"o", &key().seal("l", b"o", b"").unwrap()).unwrap().len(), 0);
}

#[test]
fn a_keyed_hash_depends_on_key_purpose_and_the_borders_of_its_parts() {
    let hash = key().hmac("token", &[b"ab", b"c"]).unwrap();
    assert_eq!(hash, key().hmac("token", &[b"ab", b"c"]).unwrap());
    for other in [
        key().hmac("token", &[b"a", b"bc"]).unwrap(),
        key().hmac("token", &[b"abc"]).unwrap(),
        key().hmac("token", &[b"ab", b"c", b""]).unwrap(),
        key().hmac("fingerprint", &[b"ab", b"c"]).unwrap(),
        DeploymentKey::from_bytes([8; 32]).hmac("token", &[b"ab", b"c"]).unwrap(),
    ] {
        assert_ne!(hash, other);
    }
}

/// Expected values by Python 3's `hmac` and HKDF written out from RFC 5869.
#[test]
fn the_keyed_hash_equals_an_independently_computed_value() {
    let hash = key().hmac("token", &[b"ab", b"c"]).unwrap();
    assert_eq!(
        hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        "4270f2b01caa0192c7fc41b3d5d9c625935c7762ec4a5406551ec98ed8fe1186"
    );
}

#[test]
fn a_created_key_file_is_private_reads_back_and_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deployment.key");
    let created = DeploymentKey::create_file(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let sealed = created.seal("l", b"", b"value").unwrap();
    assert_eq!(DeploymentKey::from_file(&path).unwrap().open("l", b"", &sealed).unwrap().as_slice(), b"value");
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(DeploymentKey::create_file(&path), Err(VaultError::KeyFileExists { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no staging file is left behind");
}

#[test]
fn a_key_file_that_others_may_read_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deployment.key");
    DeploymentKey::create_file(&path).unwrap();
    for mode in [0o640, 0o604, 0o660, 0o601] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let error = DeploymentKey::from_file(&path).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{mode:o}: {error}");
    }
}

#[test]
fn hexadecimal_and_raw_files_are_read_and_others_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deployment.key");
    let write = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        DeploymentKey::from_file(&path)
    };
    let hash = key().hmac("l", &[]).unwrap();
    assert_eq!(write(&[7; 32]).unwrap().hmac("l", &[]).unwrap(), hash);
    assert_eq!(write(format!(" {}\n", "07".repeat(32)).as_bytes()).unwrap().hmac("l", &[]).unwrap(), hash);
    assert_eq!(DeploymentKey::from_hex(&"07".repeat(32)).unwrap().hmac("l", &[]).unwrap(), hash);
    for bad in [&b""[..], &[7; 31], &[7; 33], "0".repeat(63).as_bytes(), "x".repeat(64).as_bytes(), &[b'0'; 10_000]] {
        assert!(matches!(write(bad), Err(VaultError::KeyFile { .. })));
    }
    assert!(DeploymentKey::from_hex("hunter2").unwrap_err().to_string().find("hunter2").is_none());
    assert!(matches!(DeploymentKey::from_file(&folder.path().join("none")), Err(VaultError::Missing { .. })));
    assert!(matches!(DeploymentKey::from_file(folder.path()), Err(VaultError::KeyFile { .. })));
}

#[test]
fn processes_that_start_at_once_agree_on_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = Arc::new(folder.path().join("deployment.key"));
    let start = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (path, start) = (path.clone(), start.clone());
            std::thread::spawn(move || {
                start.wait();
                DeploymentKey::load_or_create(&path).unwrap().hmac("l", &[]).unwrap()
            })
        })
        .collect();
    let hashes: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_deployment_key_is_never_printed() {
    assert_eq!(format!("{:?}", key()), "DeploymentKey([redacted])");
}

proptest! {
    #[test]
    fn no_bytes_make_opening_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(key().open("l", b"", &bytes).is_err());
    }
}
