//! Programs that we did not write and test against: `scripts/setup deploy` installs them, pinned, into the target folder.

use std::path::PathBuf;

use crate::process::profile_folder;

/// One of them.
pub fn peer(name: &str) -> PathBuf {
    let folder = profile_folder().parent().unwrap().join("deploy");
    let found =
        ["bin", "node_modules/.bin"].map(|bin| folder.join(bin).join(name)).into_iter().find(|file| file.exists());
    found.unwrap_or_else(|| panic!("{name} is missing in {}: scripts/setup deploy", folder.display()))
}
