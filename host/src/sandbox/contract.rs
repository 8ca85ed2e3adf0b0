//! The contract's versions: which of them this host serves, and what their names look like in a component.
//!
//! What a new version is, and when one is needed, is in `docs/contract.md`.

/// The contract's package.
pub const CONTRACT: &str = "snapceit:receipts";

/// The versions that this host serves, the present one first. `wit/` is the present one, `wit/VERSION/` each former one.
pub const SERVED_VERSIONS: [&str; 2] = ["0.2.0", "0.1.0"];

/// The contract's version that the built-in component is made for.
pub const CONTRACT_VERSION: &str = SERVED_VERSIONS[0];

/// Interface and version of a name of the contract.
pub(super) fn contract_interface(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(CONTRACT)?.strip_prefix('/')?.rsplit_once('@')
}

/// Whether components of this version are taken. Before 1.0 the minor number is the one that breaks (as in Cargo, and in
/// wasmtime's linker).
pub(super) fn is_served(version: &str) -> bool {
    let compatible = |version: &str| version.splitn(3, '.').take(2).map(str::to_owned).collect::<Vec<_>>();
    SERVED_VERSIONS.iter().any(|served| compatible(served) == compatible(version))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::storage::digest_of;

    #[test]
    fn the_minor_version_is_the_one_that_breaks() {
        for version in ["0.2.0", "0.2.7", "0.1.0", "0.1.1"] {
            assert!(is_served(version), "{version}");
        }
        for version in ["0.3.0", "1.2.0", "", "x"] {
            assert!(!is_served(version), "{version}");
        }
    }

    /// Whoever changes a type or a function without a new version breaks components that say that they fit.
    #[test]
    fn a_version_of_the_contract_never_changes() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
        let digests = std::fs::read_to_string(folder.join("digests.txt")).unwrap();
        let recorded: BTreeMap<&str, &str> = digests.lines().filter_map(|line| line.split_once(' ')).collect();
        for version in SERVED_VERSIONS {
            let folder = if version == CONTRACT_VERSION { folder.clone() } else { folder.join(version) };
            let wit = without_comments(&folder);
            let digest = digest_of(wit.as_bytes());
            assert!(wit.contains(&format!("package {CONTRACT}@{version};")), "{} is not {version}", folder.display());
            assert_eq!(
                recorded.get(version),
                Some(&digest.as_str()),
                "{} is not the {version} that wit/digests.txt knows. A contract that was released is never changed: copy it to \
                 wit/{version}/, give wit/ a new version, and add that to SERVED_VERSIONS and wit/digests.txt as {digest} (docs/contract.md \
                 says what is a minor and what a major change). Only if {version} was never released, replace its digest by that.",
                folder.display(),
            );
        }
    }

    /// The WIT of a folder; comments and white space mean nothing in it.
    fn without_comments(folder: &Path) -> String {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|is| is == "wit")).collect();
        files.sort();
        let texts: Vec<String> = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
        let code = texts.iter().flat_map(|text| text.lines()).map(|line| line.split("//").next().unwrap_or_default());
        code.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
    }
}
