//! Finding `initdb` and `postgres`, of the version that made the cluster.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::Error;

pub(super) struct Binaries {
    pub(super) initdb: PathBuf,
    pub(super) postgres: PathBuf,
}

impl Binaries {
    /// The newest on the machine, or, where there is a cluster already, the one that reads it.
    pub(super) fn find(bin_dir: Option<&Path>, cluster: &Path) -> Result<Self, Error> {
        let dirs = match bin_dir {
            Some(dir) => vec![dir.to_owned()],
            None => candidates(),
        };
        let mut found: Vec<(u32, Self)> = dirs.iter().filter_map(|dir| Self::in_dir(dir)).collect();
        // Stable: of two alike, the one named first.
        found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
        if found.is_empty() {
            return Err(Error::NotInstalled);
        }
        let Ok(wanted) = fs::read_to_string(cluster.join("PG_VERSION")) else {
            return found.into_iter().next().map(|(_, binaries)| binaries).ok_or(Error::NotInstalled);
        };
        let wanted = wanted.trim();
        let versions: Vec<String> = found.iter().map(|(version, _)| version.to_string()).collect();
        let matching = found.into_iter().find(|(version, _)| version.to_string() == wanted);
        matching.map(|(_, binaries)| binaries).ok_or_else(|| Error::OtherVersion {
            path: cluster.to_owned(),
            cluster: wanted.to_owned(),
            found: versions.join(", "),
        })
    }

    /// With the major version, as the server itself tells it.
    fn in_dir(dir: &Path) -> Option<(u32, Self)> {
        // Links are followed: Postgres looks for the rest of itself beside its binary.
        let initdb = dir.join("initdb").canonicalize().ok()?;
        let postgres = dir.join("postgres").canonicalize().ok()?;
        let output = Command::new(&postgres).arg("--version").output().ok()?;
        let version = major_version(&String::from_utf8_lossy(&output.stdout))?;
        Some((version, Self { initdb, postgres }))
    }
}

fn candidates() -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    // Debian and Ubuntu keep the server out of PATH, Homebrew its older versions.
    let parents = ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt", "/home/linuxbrew/.linuxbrew/opt"];
    for parent in parents {
        let children = fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_postgres =
            |path: &PathBuf| parent == "/usr/lib/postgresql" || path.to_string_lossy().contains("/postgresql");
        dirs.extend(children.filter(is_postgres).map(|path| path.join("bin")));
    }
    dirs
}

/// From `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn major_version(text: &str) -> Option<u32> {
    let number = text.split_once("(PostgreSQL)")?.1.trim_start();
    number.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(major_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major_version("postgres (PostgreSQL) 17.0\n"), Some(17));
        assert_eq!(major_version("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major_version("bash: postgres: not found"), None);
    }
}
