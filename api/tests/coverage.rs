//! `tests/CONTRACT.md` says which test proves which promise: each file and each test that it names must be there.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;

#[test]
fn every_test_that_the_contracts_table_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let table = std::fs::read_to_string(root.join("tests/CONTRACT.md")).unwrap();
    let (mut source, mut named) = (String::new(), 0);
    for word in table.split('`').skip(1).step_by(2) {
        if word.ends_with(".rs") {
            source = std::fs::read_to_string(root.join(word)).unwrap_or_else(|error| panic!("{word}: {error}"));
        } else if word.len() > 12 && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            assert!(source.contains(&format!("fn {word}(")), "there is no test `{word}` where the table says");
            named += 1;
        }
    }
    assert!(named > 60, "{named}");
}
