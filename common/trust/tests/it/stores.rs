//! The store's file: what is in it, what changes it, and what may happen to it.

use std::fs;
use std::path::Path;
use std::sync::Barrier;

use proofmill_emrtd::UnixTime;
use proofmill_trust::{Anchors, Collected, Contents, Item, Kind, StoreError, TrustFolder, fingerprint};

use crate::mint::{Authority, NOW, anchors, collect};

struct Place {
    folder: tempfile::TempDir,
    store: TrustFolder,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let store = TrustFolder::new(folder.path().join("store"));
        Place { folder, store }
    }

    /// A file of the folder that is imported from.
    fn write(&self, name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = self.folder.path().join("in").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn input(&self) -> std::path::PathBuf {
        self.folder.path().join("in").canonicalize().unwrap()
    }

    fn import(&self, paths: &[&Path], at: i64) -> proofmill_trust::Import {
        self.store.import(collect(paths, &Anchors::NONE), None, UnixTime(NOW.0 + at)).unwrap()
    }

    fn contents(&self) -> Contents {
        self.store.read().unwrap()
    }
}

fn find<'c>(contents: &'c Contents, der: &[u8]) -> Option<&'c Item> {
    contents.items().find(|item| *item.der == *der)
}

#[test]
fn imports_add_up_and_remember_where_everything_came_from() {
    let place = Place::new();
    let (one, two) = (Authority::new("UT", 1), Authority::new("XA", 2));
    let first = place.write("one.cer", &one.der);
    let import = place.import(&[&first], 0);
    assert_eq!((import.epoch, import.changed, import.taken.csca, import.known), (1, true, 1, 0));

    let second = place
        .write("all.pem", [&one.der, &two.der].map(|der| crate::mint::pem("CERTIFICATE", der)).concat().as_bytes());
    let signer = place.write("signer.der", &one.signer(3));
    let import = place.import(&[&second, &signer], 60);
    assert_eq!((import.epoch, import.taken.csca, import.taken.dsc, import.known), (2, 1, 1, 1));

    let contents = place.contents();
    assert_eq!((contents.epoch(), contents.created_at(), contents.len()), (2, "2026-06-01T00:01:00Z", 3));
    let places: Vec<_> = find(&contents, &one.der).unwrap().provenance.clone();
    assert_eq!(places.len(), 2);
    assert!(places[0].source.ends_with("/in/one.cer") && places[1].source.ends_with("/in/all.pem"));
    assert_eq!(
        (places[0].imported_at.as_str(), places[1].imported_at.as_str()),
        ("2026-06-01T00:00:00Z", "2026-06-01T00:01:00Z")
    );

    // The same again is nothing new: no epoch that would have every worker load the store anew.
    let before = fs::metadata(place.store.file()).unwrap().modified().unwrap();
    let import = place.import(&[&second, &signer], 120);
    assert_eq!((import.epoch, import.changed, import.taken.all(), import.known), (2, false, 0, 3));
    assert_eq!(fs::metadata(place.store.file()).unwrap().modified().unwrap(), before);
}

#[test]
fn a_cut_or_changed_file_is_never_taken_for_a_smaller_store() {
    let place = Place::new();
    for seed in 0..5 {
        let state = Authority::new("UT", seed);
        place.write(&format!("{seed}.cer"), &state.der);
    }
    place.import(&[&place.input()], 0);
    let file = place.store.file();
    let whole = fs::read(&file).unwrap();
    assert_eq!(place.contents().len(), 5);
    for cut in (0..whole.len() - 1).step_by(31).chain([whole.len() - 2]) {
        fs::write(&file, &whole[..cut]).unwrap();
        assert!(place.store.read().is_err(), "cut at {cut} of {}", whole.len());
    }
    let lines: Vec<&[u8]> = whole.split_inclusive(|octet| *octet == b'\n').collect();
    for dropped in 0..lines.len() {
        let fewer: Vec<u8> =
            lines.iter().enumerate().filter(|(n, _)| *n != dropped).flat_map(|(_, line)| line.to_vec()).collect();
        fs::write(&file, fewer).unwrap();
        assert!(place.store.read().is_err(), "without line {dropped}");
    }
    for position in (0..whole.len() - 1).step_by(13) {
        let mut changed = whole.clone();
        changed[position] ^= 1;
        fs::write(&file, changed).unwrap();
        assert!(place.store.read().is_err(), "octet {position}");
    }
    fs::write(&file, [&whole[..], b"{}\n"].concat()).unwrap();
    assert!(matches!(place.store.read(), Err(StoreError::Corrupt { .. })));
    let later = String::from_utf8(whole.clone()).unwrap().replacen("\"version\":1", "\"version\":2", 1);
    fs::write(&file, later).unwrap();
    assert!(matches!(place.store.read(), Err(StoreError::Version(2))));

    // A broken store is not written over either: what it held is not known.
    let broken = &whole[..whole.len() / 2];
    fs::write(&file, broken).unwrap();
    let collected = collect(&[&place.input()], &Anchors::NONE);
    assert!(matches!(
        place.store.import(collected, None, NOW),
        Err(StoreError::Truncated | StoreError::Corrupt { .. })
    ));
    assert_eq!(fs::read(&file).unwrap(), broken);
}

#[test]
fn imports_at_the_same_time_lose_nothing_of_each_other() {
    const IMPORTS: u64 = 12;
    let place = Place::new();
    let states: Vec<Authority> = (0..IMPORTS).map(|seed| Authority::new("UT", seed)).collect();
    let paths: Vec<_> = (0..).zip(&states).map(|(n, state)| place.write(&format!("{n}.cer"), &state.der)).collect();
    let barrier = Barrier::new(paths.len());
    std::thread::scope(|scope| {
        for path in &paths {
            let (barrier, place) = (&barrier, &place);
            scope.spawn(move || {
                barrier.wait();
                place.import(&[path], 0);
                // Whoever reads meanwhile sees a whole store.
                place.store.read().unwrap();
            });
        }
    });
    let contents = place.contents();
    assert_eq!((contents.len() as u64, contents.epoch()), (IMPORTS, IMPORTS));
    for state in &states {
        assert!(find(&contents, &state.der).is_some());
    }
}

#[test]
fn what_a_process_left_that_died_while_writing_is_no_store_and_goes_with_the_next_import() {
    let place = Place::new();
    let (one, two) = (Authority::new("UT", 1), Authority::new("XA", 2));
    place.import(&[&place.write("one.cer", &one.der)], 0);
    let whole = fs::read(place.store.file()).unwrap();
    let left = place.store.path().join(".trust-store.abc.tmp");
    fs::write(&left, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(place.contents().epoch(), 1, "the one before the crash");
    assert_eq!(TrustFolder::at(place.store.path()).unwrap().read().unwrap().len(), 1);
    place.import(&[&place.write("two.cer", &two.der)], 0);
    assert!(!left.exists());
    assert_eq!(place.contents().len(), 2);
    // A first import that died leaves a folder without a store.
    let other = TrustFolder::new(place.folder.path().join("other"));
    fs::create_dir(other.path()).unwrap();
    fs::write(other.path().join(".trust-store.abc.tmp"), "{").unwrap();
    assert!(matches!(other.read(), Err(StoreError::Absent)));
    assert!(TrustFolder::at(other.path()).is_none());
    other.check_unoccupied(&[]).unwrap();
}

#[test]
fn a_folder_of_plain_files_does_not_become_a_store_that_hides_them() {
    let place = Place::new();
    let state = Authority::new("UT", 1);
    let path = place.write("one.cer", &state.der);
    let folder = TrustFolder::new(place.input());
    assert!(matches!(folder.check_unoccupied(&[path]), Err(StoreError::Occupied(file)) if file.ends_with("one.cer")));
    folder.check_unoccupied(&[place.input()]).unwrap();
    folder.import(collect(&[&place.input()], &Anchors::NONE), None, NOW).unwrap();
    folder.check_unoccupied(&[]).unwrap();
}

#[test]
fn an_exported_store_comes_back_with_kinds_and_provenance() {
    let place = Place::new();
    let (state, other) = (Authority::new("UT", 1), Authority::new("XA", 2));
    place.write("a.ml", &state.master_list(&[&state.der, &other.der]));
    place.write("b.der", &state.signer(4));
    place.write("c.crl", &state.crl(1, -1, 30, &[4]));
    let collected = collect(&[&place.input()], &anchors(&[&state.der]));
    place.store.import(collected, None, NOW).unwrap();
    let exported = place.folder.path().join("exported");
    proofmill_trust::export(&place.contents(), fs::File::create(&exported).unwrap()).unwrap();

    let copy = TrustFolder::new(place.folder.path().join("copy"));
    copy.import(collect(&[&exported], &Anchors::NONE), None, NOW).unwrap();
    let copy = copy.read().unwrap();
    assert_eq!(copy.len(), 4);
    for item in place.contents().items() {
        let same = find(&copy, &item.der).unwrap();
        assert_eq!(same.kind, item.kind);
        assert_eq!(same.provenance[0], item.provenance[0]);
        assert_eq!(same.provenance.len(), 2, "and where the copy had it from");
    }
    let half = fs::read(&exported).unwrap();
    fs::write(&exported, &half[..half.len() / 2]).unwrap();
    let mut collected = Collected::default();
    assert!(proofmill_trust::read(&[exported], &Anchors::NONE, &mut collected).is_err());
}

#[test]
fn a_list_goes_when_a_newer_one_says_as_much_and_stays_while_it_alone_revokes() {
    let place = Place::new();
    let state = Authority::new("UT", 1);
    let crls = |contents: &Contents| contents.count(Kind::Crl);
    place.import(&[&place.write("ca.cer", &state.der)], 0);
    place.import(&[&place.write("1.crl", &state.crl(1, -60, -30, &[7]))], 0);
    let import = place.import(&[&place.write("2.crl", &state.crl(2, -30, 0, &[7, 8]))], 0);
    assert_eq!((import.superseded, crls(&place.contents())), (1, 1));
    // 8 is no longer listed: the list before this one still revokes it.
    let import = place.import(&[&place.write("3.crl", &state.crl(3, -1, 30, &[7]))], 0);
    assert_eq!((import.superseded, crls(&place.contents())), (0, 2));
    // An old one that comes late says nothing new, and is not kept.
    let epoch = place.contents().epoch();
    let import = place.import(&[&place.write("1.crl", &state.crl(1, -60, -30, &[7]))], 0);
    assert_eq!((import.superseded, crls(&place.contents())), (1, 2));
    assert_eq!(import.epoch, epoch, "no epoch for what went at once");
    let (trust, _) = place.contents().build(1);
    assert_eq!((trust.counts().crls, trust.counts().rejected_crls), (2, 0));
}

#[test]
fn a_forged_list_replaces_no_genuine_one_be_it_verified_or_waiting() {
    let place = Place::new();
    // Of the same name, with another key.
    let (state, impostor) = (Authority::new("UT", 1), Authority::new("UT", 66));
    place.import(&[&place.write("ca.cer", &state.der)], 0);
    let genuine = state.crl(1, -10, 30, &[7]);
    place.import(&[&place.write("genuine.crl", &genuine)], 0);
    // Of another key of that name, whose certificate comes later.
    let successor = Authority::new("UT", 2);
    let waiting = successor.crl(1, -9, 30, &[9]);
    place.import(&[&place.write("waiting.crl", &waiting)], 0);
    let folder = place.folder.path().join("forged");
    fs::create_dir(&folder).unwrap();
    for number in 0..300 {
        let forged = impostor.crl(100 + number, 1 + number as i64, 900, &[7, 8]);
        fs::write(folder.join(format!("{number}.crl")), forged).unwrap();
    }
    let import = place.import(&[&folder], 0);
    assert_eq!((import.superseded, import.crls_not_counting, import.crls_turned_away), (0, 256, 45));
    let contents = place.contents();
    assert!(find(&contents, &genuine).is_some() && find(&contents, &waiting).is_some());
    let import = place.import(&[&place.write("successor.cer", &successor.der)], 0);
    assert_eq!((import.crls_not_counting, import.crls_turned_away), (255, 0));
    let (trust, _) = place.contents().build(1);
    assert_eq!(trust.counts().crls, 2, "what waited counts");
}

#[test]
fn a_mirrored_folder_takes_away_only_what_it_brought() {
    let place = Place::new();
    let states: Vec<Authority> = (0..4).map(|seed| Authority::new("UT", seed)).collect();
    let outside = place.folder.path().join("outside.cer");
    fs::write(&outside, &states[0].der).unwrap();
    place.import(&[&outside], 0);
    let paths: Vec<_> = (0..4).map(|n| place.write(&format!("{n}.cer"), &states[n].der)).collect();
    let root = place.input();
    let mirror = || place.store.import(collect(&[&root], &Anchors::NONE), Some(&root), NOW);
    assert_eq!(mirror().unwrap().removed, 0);
    assert_eq!(place.contents().len(), 4);

    fs::remove_file(&paths[0]).unwrap();
    fs::remove_file(&paths[1]).unwrap();
    // A file that is broken now has not been taken away.
    fs::write(&paths[2], b"half a certifi").unwrap();
    let import = mirror().unwrap();
    assert_eq!((import.removed, import.changed), (1, true));
    let contents = place.contents();
    assert!(find(&contents, &states[0].der).is_some(), "it came from elsewhere, too");
    assert!(find(&contents, &states[1].der).is_none());
    assert!(find(&contents, &states[2].der).is_some() && find(&contents, &states[3].der).is_some());
    assert_eq!(find(&contents, &states[0].der).unwrap().provenance.len(), 1);
}

#[test]
fn a_mirror_never_leaves_a_store_without_authorities() {
    let place = Place::new();
    let state = Authority::new("UT", 1);
    let path = place.write("ca.cer", &state.der);
    let root = place.input();
    let mirror = || place.store.import(collect(&[&root], &Anchors::NONE), Some(&root), NOW);
    mirror().unwrap();
    fs::remove_file(&path).unwrap();
    assert!(matches!(mirror(), Err(StoreError::NothingLeft)));
    assert_eq!(place.contents().len(), 1);
}

#[test]
fn what_is_removed_is_gone_and_what_was_not_there_is_named() {
    let place = Place::new();
    assert!(matches!(place.store.remove(&[[0; 32]], NOW), Err(StoreError::Absent)));
    let (one, two) = (Authority::new("UT", 1), Authority::new("XA", 2));
    place.import(&[&place.write("one.cer", &one.der), &place.write("two.cer", &two.der)], 0);
    let (epoch, absent) = place.store.remove(&[fingerprint(&one.der), [9; 32]], NOW).unwrap();
    assert_eq!((epoch, absent), (2, vec![[9; 32]]));
    assert!(find(&place.contents(), &one.der).is_none() && find(&place.contents(), &two.der).is_some());
    assert_eq!(place.store.remove(&[[9; 32]], NOW).unwrap().0, 2, "nothing changed");
}

#[test]
fn provenance_of_one_item_is_bounded() {
    let place = Place::new();
    let state = Authority::new("UT", 1);
    for number in 0..40 {
        place.import(&[&place.write(&format!("{number}.cer"), &state.der)], number);
    }
    let contents = place.contents();
    let places = &find(&contents, &state.der).unwrap().provenance;
    assert_eq!(places.len(), 16);
    assert!(places[0].source.ends_with("/0.cer") && places[15].source.ends_with("/39.cer"), "the first and the latest");
}
