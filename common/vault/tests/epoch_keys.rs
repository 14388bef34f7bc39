//! Epoch keys: one a day, shared by all processes, gone for good once destroyed.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use proofmill_contract::Timestamp;
use proofmill_vault::{EPOCH_GRACE, EpochKeys, VaultError};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const KEY: [u8; 32] = [9; 32];

fn noon() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-22T12:00:00Z").unwrap()
}

fn midnight() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-23T00:00:00Z").unwrap()
}

#[test]
fn a_key_wrapped_today_unwraps_with_the_same_context_only() {
    let folder = tempfile::tempdir().unwrap();
    let epochs = EpochKeys::open(folder.path()).unwrap();
    let (epoch, wrapped) = epochs.wrap(&KEY, &[b"va_1", b"object"], noon()).unwrap();
    assert_eq!(epoch, "20261122");
    assert_eq!(*epochs.unwrap(&epoch, &wrapped, &[b"va_1", b"object"]).unwrap(), KEY);
    for context in [&[&b"va_2"[..], b"object"][..], &[b"va_1", b"other"], &[b"va_1obj", b"ect"], &[]] {
        assert!(matches!(epochs.unwrap(&epoch, &wrapped, context), Err(VaultError::Corrupt { .. })));
    }
    for bit in 0..wrapped.len() * 8 {
        let mut changed = wrapped.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(epochs.unwrap(&epoch, &changed, &[b"va_1", b"object"]).is_err(), "bit {bit}");
    }
    assert!(epochs.unwrap(&epoch, &wrapped[1..], &[b"va_1", b"object"]).is_err());
    assert!(epochs.unwrap(&epoch, &[], &[]).is_err());
}

#[test]
fn each_day_has_a_key_of_its_own_in_a_private_file() {
    let folder = tempfile::tempdir().unwrap();
    let epochs = EpochKeys::open(folder.path()).unwrap();
    for now in [noon(), noon().plus(DAY), noon().plus(Duration::from_secs(1))] {
        epochs.wrap(&KEY, &[], now).unwrap();
    }
    assert_eq!(epochs.list().unwrap(), ["20261122", "20261123"]);
    for file in std::fs::read_dir(folder.path()).unwrap() {
        assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let read = |day: &str| std::fs::read(folder.path().join(format!("epoch-{day}.key"))).unwrap();
    assert_ne!(read("20261122"), read("20261123"));
}

#[test]
fn processes_that_need_the_first_key_of_a_day_at_once_agree_on_one() {
    let folder = tempfile::tempdir().unwrap();
    let epochs = EpochKeys::open(folder.path()).unwrap();
    let start = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (epochs, start) = (epochs.clone(), start.clone());
            std::thread::spawn(move || {
                start.wait();
                epochs.wrap(&KEY, &[b"va"], noon()).unwrap()
            })
        })
        .collect();
    for thread in threads {
        let (epoch, wrapped) = thread.join().unwrap();
        assert_eq!(*epochs.unwrap(&epoch, &wrapped, &[b"va"]).unwrap(), KEY);
    }
    assert_eq!(epochs.list().unwrap().len(), 1);
}

#[test]
fn a_destroyed_epoch_unwraps_nothing_even_for_other_processes_and_even_if_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let epochs = EpochKeys::open(folder.path()).unwrap();
    let elsewhere = EpochKeys::open(folder.path()).unwrap();
    let (epoch, wrapped) = epochs.wrap(&KEY, &[b"va"], noon()).unwrap();
    elsewhere.unwrap(&epoch, &wrapped, &[b"va"]).unwrap();
    let later = midnight().plus(EPOCH_GRACE).plus(Duration::from_secs(1));
    epochs.destroy(&epoch, later).unwrap();
    epochs.destroy(&epoch, later).unwrap();
    assert!(matches!(elsewhere.unwrap(&epoch, &wrapped, &[b"va"]), Err(VaultError::Missing { .. })));
    assert!(epochs.list().unwrap().is_empty());
    // A process whose clock is a day behind makes that day's key again: another key.
    epochs.wrap(&KEY, &[b"va"], noon()).unwrap();
    assert!(matches!(epochs.unwrap(&epoch, &wrapped, &[b"va"]), Err(VaultError::Corrupt { .. })));
}

#[test]
fn the_bytes_of_a_destroyed_key_are_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let epochs = EpochKeys::open(&folder.path().join("keys")).unwrap();
    let (epoch, _) = epochs.wrap(&KEY, &[], noon()).unwrap();
    // Another name for the same file shows what becomes of its bytes.
    let witness = folder.path().join("witness");
    std::fs::hard_link(folder.path().join(format!("keys/epoch-{epoch}.key")), &witness).unwrap();
    epochs.destroy(&epoch, noon().plus(2 * DAY)).unwrap();
    let left = std::fs::read(&witness).unwrap();
    assert!(left.len() >= 64 && left.iter().all(|byte| *byte == 0));
}

#[test]
fn an_epoch_that_may_still_be_in_use_is_not_destroyed() {
    let folder = tempfile::tempdir().unwrap();
    let epochs = EpochKeys::open(folder.path()).unwrap();
    let (epoch, wrapped) = epochs.wrap(&KEY, &[], noon()).unwrap();
    let just_before_the_end_of_grace = midnight().plus(EPOCH_GRACE).minus(Duration::from_secs(1));
    for now in [noon(), midnight(), just_before_the_end_of_grace] {
        assert!(matches!(epochs.destroy(&epoch, now), Err(VaultError::EpochInUse(_))));
    }
    epochs.unwrap(&epoch, &wrapped, &[]).unwrap();
    epochs.destroy(&epoch, midnight().plus(EPOCH_GRACE)).unwrap();
}

#[test]
fn a_directory_that_is_gone_is_a_fault_not_a_destroyed_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let epochs = EpochKeys::open(&path).unwrap();
    let (epoch, wrapped) = epochs.wrap(&KEY, &[], noon()).unwrap();
    std::fs::rename(&path, folder.path().join("unmounted")).unwrap();
    for error in [
        epochs.unwrap(&epoch, &wrapped, &[]).unwrap_err(),
        epochs.wrap(&KEY, &[], noon()).unwrap_err(),
        epochs.list().unwrap_err(),
        epochs.check(noon()).unwrap_err(),
    ] {
        assert!(error.is_retryable(), "{error}");
    }
    std::fs::rename(folder.path().join("unmounted"), &path).unwrap();
    epochs.unwrap(&epoch, &wrapped, &[]).unwrap();
}

#[test]
fn an_epoch_is_a_date_and_never_a_path() {
    let folder = tempfile::tempdir().unwrap();
    let epochs = EpochKeys::open(folder.path()).unwrap();
    for epoch in ["", "../../etc", "2026112", "202611222", "2026112x"] {
        assert!(matches!(epochs.unwrap(epoch, &[1; 61], &[]), Err(VaultError::Invalid(_))), "{epoch}");
        assert!(matches!(epochs.destroy(epoch, noon()), Err(VaultError::Invalid(_))), "{epoch}");
    }
}

#[test]
fn a_directory_that_everybody_may_write_to_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    EpochKeys::open(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(EpochKeys::open(&path).unwrap_err().to_string().contains("chmod 700"));
}
