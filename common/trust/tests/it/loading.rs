//! From paths to the verifier's store.

use std::fs;

use proofmill_trust::{LoadError, Reason, TrustFolder, TrustSource};

use crate::mint::{Authority, NOW, anchors, collect, ldif_record};

#[test]
fn stores_and_plain_files_load_alike_and_together() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (Authority::new("UT", 1), Authority::new("XA", 2));
    let plain = folder.path().join("plain");
    fs::create_dir(&plain).unwrap();
    fs::write(plain.join("one.cer"), &one.der).unwrap();
    fs::write(plain.join("one.crl"), one.crl(1, -1, 30, &[4])).unwrap();
    let store = TrustFolder::new(folder.path().join("store"));
    for der in [&one.der, &two.der] {
        fs::write(folder.path().join("x.cer"), der).unwrap();
        let collected = collect(&[&folder.path().join("x.cer")], &anchors(&[]));
        store.import(collected, None, NOW).unwrap();
    }
    let load = |paths: &[&std::path::Path], epoch| {
        let paths = paths.iter().map(|path| path.to_path_buf()).collect();
        TrustSource { paths, anchors: Vec::new() }.load(epoch).unwrap().store
    };
    let from_plain = load(&[&plain], 41);
    assert_eq!((from_plain.epoch(), from_plain.counts().cscas, from_plain.counts().crls), (41, 1, 1));
    for path in [store.path().to_owned(), store.file()] {
        let from_store = load(&[&path], 41);
        assert_eq!((from_store.epoch(), from_store.counts().cscas), (2, 2), "a store brings its own number");
    }
    let both = load(&[&plain, store.path()], 41);
    assert_eq!((both.epoch(), both.counts().cscas, both.counts().crls), (41, 2, 1));
}

#[test]
fn a_master_list_in_a_plain_folder_counts_under_an_anchor_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let (state, other) = (Authority::new("UT", 1), Authority::new("XA", 2));
    let trust = folder.path().join("trust");
    fs::create_dir(&trust).unwrap();
    fs::write(trust.join("list.ml"), state.master_list(&[&state.der, &other.der])).unwrap();
    fs::write(folder.path().join("anchor.cer"), &state.der).unwrap();
    fs::write(folder.path().join("other.cer"), &other.der).unwrap();
    let load = |anchor: Option<&str>| {
        let anchors = anchor.map(|name| folder.path().join(name)).into_iter().collect();
        TrustSource { paths: vec![trust.clone()], anchors }.load(1)
    };
    let error = load(None).err().unwrap();
    assert!(matches!(&error, LoadError::Refused(refusal) if refusal.reason == Reason::NoAnchor));
    assert!(error.to_string().contains("list.ml") && error.to_string().contains("--trust-anchor"), "{error}");
    assert!(load(Some("other.cer")).is_err());
    assert!(load(Some("nowhere.cer")).is_err());
    assert_eq!(load(Some("anchor.cer")).unwrap().store.counts().cscas, 2);
}

#[test]
fn a_broken_file_is_an_error_and_a_broken_entry_of_a_directory_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let state = Authority::new("UT", 1);
    fs::write(folder.path().join("ca.cer"), &state.der).unwrap();
    let directory = [
        ldif_record("cn=good", "userCertificate;binary", &state.signer(3)),
        ldif_record("cn=bad", "userCertificate;binary", b"no certificate"),
    ];
    fs::write(folder.path().join("pkd.ldif"), directory.concat()).unwrap();
    let source = TrustSource { paths: vec![folder.path().to_owned()], anchors: Vec::new() };
    let loaded = source.load(1).unwrap();
    assert_eq!(loaded.store.counts().document_signers, 1);
    assert_eq!(loaded.refused.len(), 1);
    assert!(loaded.refused[0].contains("cn=bad"), "{:?}", loaded.refused);

    fs::write(folder.path().join("broken.cer"), b"garbage").unwrap();
    assert!(matches!(source.load(1), Err(LoadError::Refused(refusal)) if refusal.source.ends_with("broken.cer")));
}

#[test]
fn nothing_to_verify_under_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let load = |paths: Vec<std::path::PathBuf>| TrustSource { paths, anchors: Vec::new() }.load(1).err().unwrap();
    assert!(matches!(load(Vec::new()), LoadError::NoPath));
    assert!(matches!(load(vec![folder.path().to_owned()]), LoadError::NoAuthority(_)));
    let state = Authority::new("UT", 1);
    fs::write(folder.path().join("signer.cer"), state.signer(1)).unwrap();
    assert!(matches!(load(vec![folder.path().to_owned()]), LoadError::NoAuthority(_)));
    fs::write(folder.path().join("trust-store.ndjson"), "{\"format\":\"proofmill-trust\",\"vers").unwrap();
    assert!(matches!(load(vec![folder.path().to_owned()]), LoadError::Store { .. }));
}

#[test]
fn every_change_of_the_files_changes_their_state() {
    let folder = tempfile::tempdir().unwrap();
    let state = Authority::new("UT", 1);
    let plain = folder.path().join("plain");
    let source = TrustSource { paths: vec![plain.clone()], anchors: vec![folder.path().join("anchor.cer")] };
    let mut seen = vec![source.state()];
    let mut changed = |what: &str| {
        let now = source.state();
        assert_eq!(now, source.state(), "{what}");
        assert!(!seen.contains(&now), "{what}");
        seen.push(now);
    };
    fs::create_dir_all(plain.join("deep")).unwrap();
    changed("the folder is there");
    fs::write(plain.join("deep/a.cer"), &state.der).unwrap();
    changed("a file");
    fs::write(plain.join("deep/b.cer"), &state.der).unwrap();
    changed("another");
    fs::write(folder.path().join("new"), &state.der).unwrap();
    fs::rename(folder.path().join("new"), plain.join("deep/b.cer")).unwrap();
    changed("one of the same length takes its place");
    fs::write(folder.path().join("anchor.cer"), &state.der).unwrap();
    changed("an anchor");
    let store = TrustFolder::new(&plain);
    store.import(collect(&[&plain], &anchors(&[])), None, NOW).unwrap();
    changed("it becomes a store");
    fs::write(folder.path().join("x.cer"), Authority::new("XA", 2).der).unwrap();
    store.import(collect(&[&folder.path().join("x.cer")], &anchors(&[])), None, NOW).unwrap();
    changed("a new epoch");
}
