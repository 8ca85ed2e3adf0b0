//! What docs/reliability.md says that it has proved.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Where a suite's tests are.
const SUITES: [(&str, &str); 11] = [
    ("e2e", "tests/tests/e2e"),
    ("connections", "tests/tests/connections"),
    ("deploy", "tests/tests/deploy"),
    ("outage", "tests/tests/outage"),
    ("model", "tests/tests/model"),
    ("chaos", "tests/tests/chaos.rs"),
    ("library", "host/src"),
    ("support", "tests/src"),
    ("sandbox", "tests/tests/sandbox"),
    ("local_services", "host/tests/local_services"),
    ("found", "tests/fuzz/tests"),
];

/// A promise whose test was renamed, removed or switched off is one that nothing proves.
#[test]
fn reliability_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let tests: BTreeMap<&str, BTreeSet<String>> =
        SUITES.iter().map(|(suite, place)| (*suite, tests_at(&root.join(place)))).collect();

    let promises = fs::read_to_string(root.join("docs/reliability.md")).unwrap();
    let proofs = promises.lines().filter(|line| line.starts_with("| ")).filter_map(|line| line.split('|').nth(2));
    let named: Vec<(&str, &str)> = proofs.flat_map(named_in).collect();
    assert!(named.len() > 80, "only {} tests were found in docs/reliability.md", named.len());
    let missing: Vec<_> = named.iter().filter(|(suite, name)| !tests[suite].contains(*name)).collect();
    assert!(missing.is_empty(), "docs/reliability.md names tests that do not run: {missing:?}");
}

/// A page that moved takes its links with it.
#[test]
fn every_link_of_the_documentation_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut pages = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
    for folder in ["docs", "docs/decisions"] {
        let entries = fs::read_dir(root.join(folder)).unwrap();
        pages.extend(
            entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "md")),
        );
    }
    let mut lost = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        let local = targets.filter(|target| !target.is_empty() && !target.contains("://"));
        lost.extend(
            local
                .filter(|target| !page.parent().unwrap().join(target).exists())
                .map(|target| (page.clone(), target.to_owned())),
        );
    }
    assert!(lost.is_empty(), "links that lead nowhere: {lost:?}");
}

/// docs/cli.md is written from the program; what the other pages call a flag or a verb of it must be there.
#[test]
fn every_flag_and_verb_that_the_documentation_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let cli = fs::read_to_string(root.join("docs/cli.md")).unwrap();
    let flags: BTreeSet<&str> = cli.split(|c: char| !is_of_a_flag(c)).filter(|word| word.starts_with("--")).collect();
    let verbs: BTreeSet<&str> =
        cli.lines().filter_map(|line| line.strip_prefix("## host ")?.split(' ').next()).collect();
    let mut wrong = Vec::new();
    let pages = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    for page in pages.filter(|path| path.extension().is_some_and(|e| e == "md")).chain([root.join("README.md")]) {
        let text = fs::read_to_string(&page).unwrap();
        let commands = text
            .lines()
            .filter_map(|line| line.strip_prefix("    "))
            .map(|line| line.trim_start_matches("$ "))
            .filter(|line| line.starts_with("host "));
        // Commands of other programs are in backticks, too: ours begin with `host`, or are a flag alone.
        for code in text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).chain(commands) {
            let verb = code.strip_prefix("host ").map(|rest| rest.split(' ').next().unwrap());
            let is_verb = |verb: &str| verb.bytes().all(|byte| byte.is_ascii_lowercase()) && !verb.is_empty();
            wrong.extend(
                verb.filter(|verb| is_verb(verb) && !verbs.contains(verb)).map(|verb| (page.clone(), verb.to_owned())),
            );
            if verb.is_some() || code.starts_with("--") {
                let code = code.split(" #").next().unwrap();
                let named =
                    code.split(|c: char| !is_of_a_flag(c)).filter(|word| word.starts_with("--") && word.len() > 2);
                wrong.extend(named.filter(|flag| !flags.contains(flag)).map(|flag| (page.clone(), flag.to_owned())));
            }
        }
    }
    assert!(wrong.is_empty(), "the program has no such flag or verb (docs/cli.md): {wrong:?}");
}

fn is_of_a_flag(c: char) -> bool {
    c == '-' || c.is_ascii_lowercase() || c.is_ascii_digit()
}

/// The tests that a proof names, each with the suite that was named last before it.
fn named_in(proof: &str) -> Vec<(&str, &str)> {
    let mut named = Vec::new();
    let mut suite = "none";
    for (place, part) in proof.split('`').enumerate() {
        if place % 2 == 1 {
            // Commands are in backticks, too.
            named.extend(is_test(part).then_some((suite, part)));
            continue;
        }
        for word in part.split([' ', ':', ',', ';']) {
            suite = SUITES.iter().find(|(name, _)| *name == word).map_or(suite, |(name, _)| name);
        }
    }
    named
}

fn is_test(name: &str) -> bool {
    name.contains('_') && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn tests_at(place: &Path) -> BTreeSet<String> {
    let mut sources = Vec::new();
    match place.is_dir() {
        true => rust_files(place, &mut sources),
        false => sources.push(place.to_owned()),
    }
    sources.iter().flat_map(|file| tests_in(&fs::read_to_string(file).unwrap())).collect()
}

/// The names of the functions that follow a `#[test]` or `#[tokio::test(…)]`, and are not ignored.
fn tests_in(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut is_test, mut is_ignored) = (false, false);
    for line in source.lines().map(str::trim) {
        is_ignored |= line.starts_with("#[ignore");
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, name)) = line.split_once("fn ") {
            if is_test && !is_ignored {
                names.extend(name.split('(').next().map(str::to_owned));
            }
            (is_test, is_ignored) = (false, false);
        }
    }
    names
}

pub(super) fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
