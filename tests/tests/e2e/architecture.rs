//! What docs/architecture.md says of the code is so.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::promises::rust_files;

/// The rooms of the host, as the page lists them: a room imports only from those below it.
#[test]
fn a_room_imports_only_from_rooms_below_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let (_, list) = page.split_once("## The host's rooms").unwrap();
    let rooms: Vec<&str> = list
        .lines()
        .skip_while(|line| !line.starts_with("    "))
        .take_while(|line| line.starts_with("    "))
        .filter(|line| !line.starts_with("     "))
        .filter_map(|line| line.split_whitespace().next())
        .map(|room| room.trim_end_matches('/'))
        .collect();

    let source = root.join("host/src");
    let mut files = Vec::new();
    rust_files(&source, &mut files);
    let (mut found, mut wrong) = (BTreeSet::new(), Vec::new());
    for file in &files {
        let place = file.strip_prefix(&source).unwrap();
        let room = place.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        if matches!(room, "main" | "lib") {
            continue;
        }
        found.insert(room.to_owned());
        let Some(at) = rooms.iter().position(|known| *known == room) else { continue };
        for imported in imported(&fs::read_to_string(file).unwrap()) {
            let is_below = rooms.iter().position(|known| *known == imported).is_none_or(|other| other > at);
            if imported != room && !is_below {
                wrong.push(format!("{} imports {imported}", place.display()));
            }
        }
    }
    let listed: BTreeSet<String> = rooms.iter().map(|room| (*room).to_owned()).collect();
    assert_eq!(found, listed, "the rooms that there are, and those of docs/architecture.md");
    assert!(wrong.is_empty(), "upwards (docs/architecture.md, \"The host's rooms\"): {wrong:#?}");
}

/// The rooms that a file names: `crate::room::…` and `use crate::{room, other::…}`.
fn imported(source: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    // Comments may point anywhere.
    let code: String = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    for rest in code.split("crate::").skip(1) {
        let group = rest.strip_prefix('{').and_then(|rest| rest.split("};").next());
        for path in group.map_or_else(|| vec![rest], |group| group.split(',').collect()) {
            let name: String = path.trim().chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            names.insert(name);
        }
    }
    names
}
