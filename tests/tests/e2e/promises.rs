//! What docs/reliability.md says that it has proved.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A promise whose test was renamed or removed is one that nothing proves.
#[test]
fn reliability_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut sources = Vec::new();
    for folder in ["host", "guest", "tests"] {
        rust_files(&root.join(folder), &mut sources);
    }
    let tests: BTreeSet<String> =
        sources.iter().flat_map(|file| tests_in(&fs::read_to_string(file).unwrap())).collect();

    let promises = fs::read_to_string(root.join("docs/reliability.md")).unwrap();
    let proofs = promises.lines().filter(|line| line.starts_with("| ")).filter_map(|line| line.split('|').nth(2));
    let named: Vec<&str> =
        proofs.flat_map(|proof| proof.split('`').skip(1).step_by(2)).filter(|name| is_test(name)).collect();
    assert!(named.len() > 80, "only {} tests were found in docs/reliability.md", named.len());
    let missing: Vec<_> = named.iter().filter(|name| !tests.contains(**name)).collect();
    assert!(missing.is_empty(), "docs/reliability.md names tests that do not exist: {missing:?}");
}

/// Commands are in backticks, too.
fn is_test(name: &str) -> bool {
    name.contains('_') && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// The names of the functions that follow a `#[test]` or `#[tokio::test(…)]`.
fn tests_in(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, name)) = line.split_once("fn ").filter(|_| is_test) {
            names.extend(name.split('(').next().map(str::to_owned));
            is_test = false;
        }
    }
    names
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
