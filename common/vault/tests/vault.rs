//! Sealed evidence: what comes back, what never does, and what storage sees.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use proofmill_contract::{AttemptId, Evidence, Part, Secret, SessionId, Timestamp};
use proofmill_vault::{EpochKeys, KeptChipEvidence, SealedRef, TerminalSecret, Vault, VaultError};
use tempfile::TempDir;

const CANARY: &[u8] = b"ERIKSSON<<ANNA<MARIA";

struct Fixture {
    folder: TempDir,
    vault: Vault,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let epochs = EpochKeys::open(&folder.path().join("epochs")).unwrap();
        let vault = Vault::in_directory(&folder.path().join("bucket"), epochs).unwrap();
        Self { folder, vault }
    }

    fn file(&self, object: &str) -> PathBuf {
        self.folder.path().join("bucket").join(object)
    }
}

fn now() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-22T12:00:00Z").unwrap()
}

fn attempt() -> AttemptId {
    AttemptId::generate(now(), &mut rand::rng())
}

fn evidence() -> Evidence {
    let mut evidence = Evidence::new();
    for (index, part) in Part::ALL.into_iter().enumerate() {
        evidence.insert(part, [CANARY, &[index as u8]].concat()).unwrap();
    }
    for frame in 0..3u8 {
        evidence.push_selfie([CANARY, &[0xf0 + frame]].concat()).unwrap();
    }
    evidence.attest([CANARY, b".statement"].concat()).unwrap();
    evidence
}

fn same(a: &Evidence, b: &Evidence) -> bool {
    a.parts().eq(b.parts()) && a.selfies().eq(b.selfies()) && a.reader_attestation() == b.reader_attestation()
}

#[tokio::test]
async fn every_part_and_every_selfie_comes_back_in_order() {
    let fixture = Fixture::new();
    let id = attempt();
    let sealed = fixture.vault.seal(&id, &evidence(), now()).await.unwrap();
    assert!(same(&fixture.vault.open(&id, &sealed).await.unwrap(), &evidence()));
    assert_eq!(sealed.epoch, "20261122");
}

#[tokio::test]
async fn storage_sees_no_plaintext() {
    let fixture = Fixture::new();
    let sealed = fixture.vault.seal(&attempt(), &evidence(), now()).await.unwrap();
    let stored = std::fs::read(fixture.file(&sealed.object)).unwrap();
    for needle in [CANARY, &CANARY[..6]] {
        assert!(!stored.windows(needle.len()).any(|window| window == needle));
        assert!(!sealed.wrapped_key.windows(needle.len()).any(|window| window == needle));
    }
    assert!(!format!("{sealed:?}").contains("wrapped_key: ["));
}

#[tokio::test]
async fn evidence_opens_for_its_own_attempt_and_reference_only() {
    let fixture = Fixture::new();
    let (id, other) = (attempt(), attempt());
    let sealed = fixture.vault.seal(&id, &evidence(), now()).await.unwrap();
    let sealed_other = fixture.vault.seal(&other, &evidence(), now()).await.unwrap();
    let corrupt = |result: Result<Evidence, VaultError>| matches!(result, Err(VaultError::Corrupt { .. }));
    assert!(corrupt(fixture.vault.open(&other, &sealed).await));
    let mixed = SealedRef { object: sealed_other.object.clone(), ..sealed.clone() };
    assert!(corrupt(fixture.vault.open(&id, &mixed).await));
    // Somebody with access to the bucket puts one attempt's object in the place of another's.
    std::fs::copy(fixture.file(&sealed_other.object), fixture.file(&sealed.object)).unwrap();
    assert!(corrupt(fixture.vault.open(&id, &sealed).await));
}

#[tokio::test]
async fn every_changed_byte_and_every_truncation_of_the_object_is_noticed() {
    let fixture = Fixture::new();
    let id = attempt();
    let sealed = fixture.vault.seal(&id, &evidence(), now()).await.unwrap();
    let file = fixture.file(&sealed.object);
    let stored = std::fs::read(&file).unwrap();
    for position in 0..stored.len() {
        let mut changed = stored.clone();
        changed[position] ^= 0x40;
        std::fs::write(&file, changed).unwrap();
        let result = fixture.vault.open(&id, &sealed).await;
        assert!(matches!(result, Err(VaultError::Corrupt { .. })), "byte {position}");
    }
    for length in (0..stored.len()).step_by(7) {
        std::fs::write(&file, &stored[..length]).unwrap();
        assert!(matches!(fixture.vault.open(&id, &sealed).await, Err(VaultError::Corrupt { .. })), "{length} bytes");
    }
    std::fs::write(&file, [&stored[..], b"x"].concat()).unwrap();
    assert!(matches!(fixture.vault.open(&id, &sealed).await, Err(VaultError::Corrupt { .. })));
    std::fs::write(&file, &stored).unwrap();
    fixture.vault.open(&id, &sealed).await.unwrap();
}

#[tokio::test]
async fn parts_cannot_be_dropped_or_swapped() {
    let fixture = Fixture::new();
    let parts: [(&str, &[u8]); 3] = [("a", b"11"), ("b", b"22"), ("b", b"33")];
    let sealed = fixture.vault.seal_parts("vs_1", &parts, now()).await.unwrap();
    let file = fixture.file(&sealed.object);
    let stored = std::fs::read(&file).unwrap();
    // Header of 6 bytes, then three parts of 1 + 1 + 4 + 2 + 16 bytes.
    let (header, body) = stored.split_at(6);
    let part = |index: usize| &body[index * 24..(index + 1) * 24];
    let fewer = [&[header[0], header[1], header[2], header[3], 0, 2][..], part(0), part(1)].concat();
    let swapped = [header, part(0), part(2), part(1)].concat();
    for changed in [fewer, swapped] {
        std::fs::write(&file, changed).unwrap();
        let result = fixture.vault.open_parts("vs_1", &sealed).await;
        assert!(matches!(result, Err(VaultError::Corrupt { .. })));
    }
}

#[tokio::test]
async fn parts_of_a_session_come_back_by_name() {
    let fixture = Fixture::new();
    let id = SessionId::generate(now(), &mut rand::rng());
    let parts: [(&str, &[u8]); 2] = [("dg1", CANARY), ("dg2", &[1, 2, 3])];
    let sealed = fixture.vault.seal_parts(id.as_str(), &parts, now()).await.unwrap();
    let opened = fixture.vault.open_parts(id.as_str(), &sealed).await.unwrap();
    let opened: Vec<(&str, &[u8])> = opened.iter().map(|(name, bytes)| (name.as_str(), bytes.as_bytes())).collect();
    assert_eq!(opened, parts);
}

#[tokio::test]
async fn destroyed_evidence_is_missing_and_destroying_again_is_fine() {
    let fixture = Fixture::new();
    let id = attempt();
    let sealed = fixture.vault.seal(&id, &evidence(), now()).await.unwrap();
    fixture.vault.destroy(&sealed.object).await.unwrap();
    fixture.vault.destroy(&sealed.object).await.unwrap();
    assert!(matches!(fixture.vault.open(&id, &sealed).await, Err(VaultError::Missing { .. })));
    assert!(!fixture.file(&sealed.object).exists());
}

#[tokio::test]
async fn an_old_copy_of_bucket_and_database_opens_nothing_once_the_epoch_is_destroyed() {
    let fixture = Fixture::new();
    let id = attempt();
    let sealed = fixture.vault.seal(&id, &evidence(), now()).await.unwrap();
    let backup = std::fs::read(fixture.file(&sealed.object)).unwrap();
    fixture.vault.destroy(&sealed.object).await.unwrap();
    fixture.vault.epochs().destroy(&sealed.epoch, now().plus(Duration::from_secs(48 * 3600))).unwrap();

    std::fs::write(fixture.file(&sealed.object), backup).unwrap();
    assert!(matches!(fixture.vault.open(&id, &sealed).await, Err(VaultError::Missing { .. })));
}

#[tokio::test]
async fn a_repeated_submission_writes_beside_the_first_and_the_sweep_finds_the_orphan() {
    let fixture = Fixture::new();
    let id = attempt();
    let orphan = fixture.vault.seal(&id, &evidence(), now()).await.unwrap();
    let kept = fixture.vault.seal(&id, &evidence(), now()).await.unwrap();
    assert_ne!(orphan.object, kept.object);
    let future = Timestamp::from_secs(32_503_680_000);
    let mut found = fixture.vault.list_older_than(future, 100).await.unwrap();
    assert!(found.iter().all(|object| object.id == id.as_str() && object.bytes > 0));
    found.retain(|object| object.object != kept.object);
    assert_eq!(found.len(), 1);
    fixture.vault.destroy(&found[0].object).await.unwrap();
    assert!(matches!(fixture.vault.open(&id, &orphan).await, Err(VaultError::Missing { .. })));
    assert!(same(&fixture.vault.open(&id, &kept).await.unwrap(), &evidence()));
    assert!(fixture.vault.list_older_than(Timestamp::from_secs(1), 100).await.unwrap().is_empty());
    assert_eq!(fixture.vault.list_older_than(future, 0).await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_vault_in_memory_keeps_the_same_promises() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::in_memory(EpochKeys::open(folder.path()).unwrap());
    let id = attempt();
    let sealed = vault.seal(&id, &evidence(), now()).await.unwrap();
    assert!(same(&vault.open(&id, &sealed).await.unwrap(), &evidence()));
    vault.check(now()).await.unwrap();
    vault.destroy(&sealed.object).await.unwrap();
    assert!(matches!(vault.open(&id, &sealed).await, Err(VaultError::Missing { .. })));
}

#[tokio::test]
async fn readiness_probes_leave_nothing_behind_and_name_the_failing_part() {
    let fixture = Fixture::new();
    fixture.vault.check(now()).await.unwrap();
    assert!(fixture.vault.list_older_than(Timestamp::from_secs(32_503_680_000), 10).await.unwrap().is_empty());
    let bucket = fixture.folder.path().join("bucket");
    block(&bucket);
    let error = fixture.vault.check(now()).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("object store"), "{error}");
    let error = fixture.vault.seal(&attempt(), &evidence(), now()).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    std::fs::rename(fixture.folder.path().join("epochs"), fixture.folder.path().join("gone")).unwrap();
    let error = fixture.vault.check(now()).await.unwrap_err();
    assert!(error.to_string().contains("key"), "{error}");
}

#[tokio::test]
async fn ids_and_object_names_cannot_leave_the_folder() {
    let fixture = Fixture::new();
    for id in ["", "../x", "a/b", "a.b", &"x".repeat(101)] {
        assert!(
            matches!(fixture.vault.seal_parts(id, &[("a", b"1")], now()).await, Err(VaultError::Invalid(_))),
            "{id}"
        );
    }
    for object in ["../epochs/epoch-20261122.key", "evidence/../../x", "probe/x", ""] {
        assert!(matches!(fixture.vault.destroy(object).await, Err(VaultError::Invalid(_))), "{object}");
    }
}

#[tokio::test]
async fn too_many_or_badly_named_parts_are_refused() {
    let fixture = Fixture::new();
    let long = "n".repeat(65);
    let many: Vec<(&str, &[u8])> = vec![("a", b"1"); 65];
    for parts in [&[][..], &[("", &b"1"[..])], &[(long.as_str(), b"1")], &many] {
        assert!(matches!(fixture.vault.seal_parts("vs_1", parts, now()).await, Err(VaultError::Invalid(_))));
    }
}

/// Puts a file where the directory was: storage that answers with errors.
fn block(directory: &Path) {
    std::fs::remove_dir_all(directory).unwrap();
    std::fs::write(directory, b"").unwrap();
}

fn terminal() -> TerminalSecret {
    let secret = |text: &[u8]| Secret::new([CANARY, text].concat());
    TerminalSecret {
        private_key: secret(b"private"),
        public_key: secret(b"public"),
        dg14: secret(b"dg14"),
        answer: secret(b"answer"),
    }
}

#[tokio::test]
async fn a_terminals_key_comes_back_for_its_attempt_alone_and_never_as_evidence() {
    let fixture = Fixture::new();
    let (id, other) = (attempt(), attempt());
    let sealed = fixture.vault.seal_terminal(&id, &terminal(), now()).await.unwrap();
    let stored = std::fs::read(fixture.file(&sealed.object)).unwrap();
    assert!(!stored.windows(CANARY.len()).any(|window| window == CANARY));
    let opened = fixture.vault.open_terminal(&id, &sealed).await.unwrap();
    let expected = terminal();
    assert_eq!(opened.private_key.as_bytes(), expected.private_key.as_bytes());
    assert_eq!(opened.public_key.as_bytes(), expected.public_key.as_bytes());
    assert_eq!(opened.dg14.as_bytes(), expected.dg14.as_bytes());
    assert_eq!(opened.answer.as_bytes(), expected.answer.as_bytes());

    let corrupt = |error: VaultError| assert!(matches!(error, VaultError::Corrupt { .. }), "{error}");
    corrupt(fixture.vault.open_terminal(&other, &sealed).await.err().unwrap());
    // A row that names an object of the other kind.
    corrupt(fixture.vault.open(&id, &sealed).await.err().unwrap());
    let of_evidence = fixture.vault.seal(&id, &evidence(), now()).await.unwrap();
    corrupt(fixture.vault.open_terminal(&id, &of_evidence).await.err().unwrap());
    // As evidence it is found by the sweep, and with its epoch it is gone.
    let later = Timestamp::parse_rfc3339("2026-11-24T12:00:00Z").unwrap();
    assert_eq!(fixture.vault.list_older_than(later.plus(Duration::from_secs(1 << 30)), 10).await.unwrap().len(), 2);
    fixture.vault.epochs().destroy(&sealed.epoch, later).unwrap();
    let gone = fixture.vault.open_terminal(&id, &sealed).await.err().unwrap();
    assert!(matches!(gone, VaultError::Missing { .. }), "{gone}");
}

#[tokio::test]
async fn kept_chip_evidence_opens_for_its_own_session_and_as_nothing_else() {
    let fixture = Fixture::new();
    let session = || SessionId::generate(now(), &mut rand::rng());
    let (mine, other) = (session(), session());
    let secret = |text: &str| Secret::new([CANARY, text.as_bytes()].concat());
    let kept = || KeptChipEvidence {
        dg1: secret("dg1"),
        dg2: secret("dg2"),
        signer: secret("signer"),
        results: secret("results"),
    };
    let sealed = fixture.vault.seal_kept(&mine, &kept(), now()).await.unwrap();
    let opened = fixture.vault.open_kept(&mine, &sealed).await.unwrap();
    let expected = kept();
    assert_eq!(opened.dg1.as_bytes(), expected.dg1.as_bytes());
    assert_eq!(opened.dg2.as_bytes(), expected.dg2.as_bytes());
    assert_eq!(opened.signer.as_bytes(), expected.signer.as_bytes());
    assert_eq!(opened.results.as_bytes(), expected.results.as_bytes());
    let bytes = std::fs::read(fixture.file(&sealed.object)).unwrap();
    assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY));

    let corrupt = |result: Result<KeptChipEvidence, VaultError>| matches!(result, Err(VaultError::Corrupt { .. }));
    assert!(corrupt(fixture.vault.open_kept(&other, &sealed).await), "another session's");
    let id = attempt();
    let submitted = fixture.vault.seal(&id, &evidence(), now()).await.unwrap();
    assert!(corrupt(fixture.vault.open_kept(&mine, &submitted).await), "an attempt's evidence");
    let named = fixture.vault.seal_parts(mine.as_str(), &[("dg1", &b"x"[..])], now()).await.unwrap();
    assert!(corrupt(fixture.vault.open_kept(&mine, &named).await), "parts of other names");
    let as_evidence = AttemptId::parse(&mine.as_str().replacen("vs_", "va_", 1)).unwrap();
    assert!(fixture.vault.open(&as_evidence, &sealed).await.is_err());
}
