//! Every event that the host logs has a name of its own, and docs/events.md says of each what it means. A name is an interface, and so
//! are its fields.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::log::names_of;

#[test]
fn every_event_has_a_name_that_is_made_of_a_subject_and_what_became_of_it() {
    let wrong: Vec<String> = sites()
        .into_iter()
        .filter(|site| !site.name.as_deref().is_some_and(is_name))
        .map(|site| format!("{}: {:?}", site.place, site.name))
        .collect();
    assert!(wrong.is_empty(), "not named (name: \"queue.unreachable\"): {wrong:#?}");
}

#[test]
fn no_name_is_used_for_two_different_things() {
    let mut seen: BTreeMap<String, Site> = BTreeMap::new();
    for site in sites() {
        let Some(name) = site.name.clone() else { continue };
        if let Some(other) = seen.get(&name) {
            assert_eq!(other.fields, site.fields, "{name} has other fields at {} and {}", other.place, site.place);
        }
        seen.insert(name, site);
    }
}

#[test]
fn the_page_lists_every_event_with_its_levels_and_its_fields() {
    let mut of_source: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    for site in sites() {
        let Some(name) = site.name else { continue };
        let (levels, fields) = of_source.entry(name).or_default();
        levels.insert(site.level);
        fields.extend(site.fields);
    }
    let page = fs::read_to_string(workspace().join("docs/events.md")).unwrap();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let mut of_page = BTreeMap::new();
    for row in &rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, name, levels, fields, meaning, remedy, _] = cells[..] else { panic!("six columns: {row}") };
        assert!(!meaning.is_empty() && !remedy.is_empty(), "what it means, and what to do: {row}");
        let levels = levels.split(", ").map(str::to_owned).collect();
        let fields = fields.split_whitespace().map(|field| field.trim_matches('`').to_owned()).collect();
        of_page.insert(name.trim_matches('`').to_owned(), (levels, fields));
    }
    assert_eq!(of_page.len(), rows.len(), "docs/events.md has a row twice");
    let differ: Vec<_> = of_source
        .keys()
        .chain(of_page.keys())
        .filter(|name| of_source.get(*name) != of_page.get(*name))
        .map(|name| (name, of_source.get(name), of_page.get(name)))
        .collect();
    assert!(differ.is_empty(), "what the source has, and what docs/events.md has (levels, fields): {differ:#?}");
    assert!(of_source.keys().map(String::as_str).eq(names_of(&page)), "as the tests read it");
}

/// One `tracing::…!` of the host.
struct Site {
    place: String,
    level: String,
    name: Option<String>,
    fields: Vec<String>,
}

fn sites() -> Vec<Site> {
    let root = workspace().join("host/src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    let mut sites = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let file = file.strip_prefix(&root).unwrap().display().to_string();
        for (at, _) in text.match_indices("!(") {
            let (before, arguments) = (&text[..at], &text[at + "!(".len()..]);
            let word = before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
            if ["error", "warn", "info", "debug", "trace", "event"].contains(&word) {
                let place = format!("{file}:{}", before.lines().count());
                sites.push(Site::parse(place, word, &parts(arguments)));
            }
        }
    }
    assert!(sites.len() > 100, "only {} events were found", sites.len());
    sites
}

impl Site {
    /// Before the message come the name, a target and the fields: `%error`, `jobs`, `delay = ?pause`.
    fn parse(place: String, level: &str, parts: &[String]) -> Self {
        let name = parts[0].strip_prefix("name: \"").and_then(|rest| rest.strip_suffix('"')).map(str::to_owned);
        let before_message = parts.iter().take_while(|part| !part.starts_with('"'));
        let fields = before_message
            .filter(|part| !part.starts_with("name: ") && !part.starts_with("target: "))
            .map(|part| part.split(" = ").next().unwrap().trim_start_matches(['%', '?']).to_owned())
            .collect();
        Self { place, level: level.to_owned(), name, fields }
    }
}

/// What stands between the commas, up to the bracket that closes it.
fn parts(source: &str) -> Vec<String> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for c in source.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            ')' if depth == 0 => break,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part).trim().to_owned());
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part.trim().to_owned());
    parts
}

/// `subject.what_became_of_it`, in snake case.
fn is_name(name: &str) -> bool {
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase()) && word.bytes().all(|b| b == b'_' || b.is_ascii_lowercase())
    };
    name.split_once('.').is_some_and(|(subject, what)| is_word(subject) && is_word(what))
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
