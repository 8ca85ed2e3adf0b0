//! No file of guest and host imports another in a circle: what two need lies below both. An import of what a file only passes on
//! (`pub use`) is one of the file where it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

#[test]
fn no_file_imports_another_in_a_circle() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let of = |source| Files::read(&workspace.join(source)).circles();
    let circles: Vec<_> = ["guest/src", "host/src"].into_iter().flat_map(of).collect();
    assert!(
        circles.is_empty(),
        "these files import each other in a circle; what two need moves below both: {circles:#?}"
    );
}

/// The code of each file, without tests and comments, by its module's path; the crate's own is empty.
struct Files(BTreeMap<String, String>);

impl Files {
    fn read(root: &Path) -> Self {
        let mut files = Self(BTreeMap::new());
        files.add(root, "");
        files
    }

    fn add(&mut self, folder: &Path, module: &str) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let module = if matches!(name, "mod" | "lib") { module.to_owned() } else { child(module, name) };
            if path.is_dir() {
                self.add(&path, &module);
            } else if path.extension().is_some_and(|is| is == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("\nmod tests {").next().unwrap();
                let code: Vec<&str> = code.lines().map(|line| line.split("//").next().unwrap()).collect();
                self.0.insert(module, code.join("\n"));
            }
        }
    }

    fn circles(&self) -> BTreeSet<BTreeSet<String>> {
        let imports: BTreeMap<&String, Imports> = self.0.keys().map(|file| (file, self.imports(file))).collect();
        let origin = |mut item: Item| {
            let passed_on = |(file, name): &Item| imports[file].passed_on.iter().find(|(passed, _)| passed == name);
            // A file passes on what another one passes on, but no farther than there are rooms.
            for _ in 0..4 {
                item = passed_on(&item).map_or(item.clone(), |(_, next)| next.clone());
            }
            item.0
        };
        let imported = |file: &String| -> BTreeSet<String> {
            imports[file].used.iter().cloned().map(origin).filter(|other| other != file).collect()
        };
        let edges: BTreeMap<&String, BTreeSet<String>> = self.0.keys().map(|file| (file, imported(file))).collect();
        let reach = |from: &String| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
            while let Some(next) = open.pop() {
                open.extend(edges.get(next).into_iter().flatten().filter(|to| seen.insert((*to).clone())));
            }
            seen
        };
        let reached: BTreeMap<&String, BTreeSet<String>> = self.0.keys().map(|file| (file, reach(file))).collect();
        let circle = |file: &String| {
            let both = |other: &&String| reached[other].contains(file);
            reached[file].iter().filter(both).cloned().collect::<BTreeSet<String>>()
        };
        self.0.keys().map(circle).filter(|circle| circle.len() > 1).collect()
    }

    /// What a file imports, and what of it it only passes on.
    fn imports(&self, file: &str) -> Imports {
        let mut imports = Imports::default();
        let code = self.0[file].replace("(in crate::", "(in ");
        for statement in code.split(';') {
            let (body, import) = statement.rsplit_once("use ").unwrap_or((statement, ""));
            let before = body.rsplit('\n').next().unwrap().trim();
            let is_import = before.is_empty() || before.starts_with("pub");
            let paths = if is_import { paths(import) } else { Vec::new() };
            for path in paths {
                let (path, name) = path.split_once(" as ").unwrap_or((&path, path.rsplit("::").next().unwrap()));
                let Some((module, item)) = self.resolve(file, path) else { continue };
                if before.is_empty() {
                    imports.used.push((module, item));
                } else {
                    imports.passed_on.push((name.to_owned(), (module, item)));
                }
            }
            let body = if is_import { body } else { statement };
            let words = body.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
            imports.used.extend(words.filter(|word| word.contains("::")).filter_map(|path| self.resolve(file, path)));
        }
        imports
    }

    /// The file that a path leads to, and what of it is meant; none where that is no file of ours.
    fn resolve(&self, file: &str, path: &str) -> Option<(String, String)> {
        let mut names = path.split("::").map(str::trim).peekable();
        let mut module = match *names.peek()? {
            "crate" => String::new(),
            "self" | "super" => file.to_owned(),
            name if self.0.contains_key(&child(file, name)) => file.to_owned(),
            _ => return None,
        };
        names.next_if(|name| matches!(*name, "crate" | "self"));
        while names.next_if_eq(&"super").is_some() {
            module = module.rsplit_once("::").map_or(String::new(), |(parent, _)| parent.to_owned());
        }
        while let Some(name) = names.next_if(|name| self.0.contains_key(&child(&module, name))) {
            module = child(&module, name);
        }
        Some((module, names.next().unwrap_or_default().to_owned()))
    }
}

/// A file, and what of it is meant.
type Item = (String, String);

#[derive(Default)]
struct Imports {
    used: Vec<Item>,
    /// By the name under which it is passed on.
    passed_on: Vec<(String, Item)>,
}

fn child(module: &str, name: &str) -> String {
    if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") }
}

/// The paths of an import with braces in it.
fn paths(import: &str) -> Vec<String> {
    let Some((start, rest)) = import.split_once('{') else { return vec![import.trim().to_owned()] };
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for c in rest.rsplit_once('}').map_or(rest, |(inner, _)| inner).chars() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if c == ',' && depth == 0 { parts.push(String::new()) } else { parts.last_mut().unwrap().push(c) }
    }
    let full =
        parts.iter().filter(|part| !part.trim().is_empty()).map(|part| format!("{}{}", start.trim(), part.trim()));
    full.flat_map(|path| paths(&path)).collect()
}
