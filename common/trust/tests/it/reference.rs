//! Real master lists, where they are at hand.

use std::path::PathBuf;

use proofmill_emrtd::UnixTime;
use proofmill_trust::{Anchors, Audit, Collected, Reason, TrustFolder};

use crate::mint::ldif_record;

const LISTS: [(&str, &str, usize); 2] =
    [("DE_ML_2024-04-10-10-54-13.ml", "DE_CSCA_048B.cer", 526), ("NL_ML_2026-07-22.ml", "NL_ROOT_CA.cer", 411)];

fn folder() -> Option<PathBuf> {
    let Some(path) = std::env::var_os("PROOFMILL_REFERENCE_DATA") else {
        println!("skipped: PROOFMILL_REFERENCE_DATA is not set, so there are no real master lists");
        return None;
    };
    Some(PathBuf::from(path).join("emrtd/masterlists"))
}

#[test]
fn real_lists_are_taken_under_their_own_anchor_and_refused_under_the_other() {
    let Some(folder) = folder() else { return };
    let temporary = tempfile::tempdir().unwrap();
    let store = TrustFolder::new(temporary.path());
    let mut known = 0;
    for (list, anchor, count) in LISTS {
        let other = LISTS.iter().find(|(other, ..)| *other != list).unwrap().1;
        let mut collected = Collected::default();
        let wrong = Anchors::read(&[folder.join(other)]).unwrap();
        let refusal = proofmill_trust::read(&[folder.join(list)], &wrong, &mut collected).unwrap_err();
        assert!(matches!(refusal.reason, Reason::MasterList(_)), "{refusal}");

        let mut collected = Collected::default();
        let right = Anchors::read(&[folder.join(anchor)]).unwrap();
        proofmill_trust::read(&[folder.join(list)], &right, &mut collected).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(collected.refusals, 0);
        let import = store.import(collected, None, UnixTime(1_784_700_000)).unwrap();
        assert_eq!(import.taken.csca + import.known, count);
        known += import.known;
        println!("{list}: {import:?}");
    }
    let contents = store.read().unwrap();
    assert_eq!(contents.len(), 937 - known);
    let (trust, unusable) = contents.build(contents.epoch());
    let audit = Audit::of(&trust, UnixTime(1_784_700_000), 90 * 86_400, &unusable);
    println!("{:?} of {} countries", audit.classes, audit.countries.len());
    assert!(unusable.is_empty());
    assert_eq!(audit.classes.values().sum::<usize>(), contents.len());
}

#[test]
fn real_lists_in_a_directory_are_taken_one_by_one() {
    let Some(folder) = folder() else { return };
    let text: String = LISTS
        .iter()
        .map(|(list, ..)| {
            ldif_record(&format!("cn={list},o=ml"), "pkdMasterListContent", &std::fs::read(folder.join(list)).unwrap())
        })
        .collect();
    let anchor = Anchors::read(&[folder.join(LISTS[0].1)]).unwrap();
    let mut collected = Collected::default();
    proofmill_trust::read_stream(text.as_bytes(), "icaopkd-002.ldif", &anchor, &mut collected);
    assert_eq!(collected.refusals, 1);
    assert!(collected.refused[0].place.contains(LISTS[1].0));
    let temporary = tempfile::tempdir().unwrap();
    let import = TrustFolder::new(temporary.path()).import(collected, None, UnixTime(1_784_700_000)).unwrap();
    assert_eq!(import.taken.csca, 526);
}
