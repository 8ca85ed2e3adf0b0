//! The secret between a host and those who may change it: whoever can read this user's files.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::error::AdminError;

/// A token on disk, as long as this lives.
pub(super) struct Token {
    pub(super) path: PathBuf,
    secret: String,
}

impl Token {
    /// Writes it, readable by this user only.
    pub(super) fn leave(folder: &Path, address: SocketAddr, secret: &str) -> Result<Self, AdminError> {
        let path = path(folder, address);
        let written = prepare(folder).and_then(|()| write(folder, &path, secret).map_err(|error| error.to_string()));
        match written {
            Ok(()) => Ok(Self { path, secret: secret.to_owned() }),
            Err(reason) => Err(AdminError::Token { folder: folder.to_owned(), reason }),
        }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        // A host that got the address meanwhile may have left its own here.
        if fs::read_to_string(&self.path).is_ok_and(|found| found == self.secret) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Where the token of the host on this address is: two loopback addresses may have one port.
pub(super) fn path(folder: &Path, address: SocketAddr) -> PathBuf {
    folder.join(format!("admin-{address}.token"))
}

/// 32 random bytes, hexadecimal.
pub(super) fn secret() -> Result<String, AdminError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| AdminError::Random(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether they are the same, in a time that says nothing about where they differ.
pub(super) fn same(secret: &str, given: &[u8]) -> bool {
    let differences = secret.bytes().zip(given).fold(0, |all, (one, other)| std::hint::black_box(all | (one ^ other)));
    secret.len() == given.len() && differences == 0
}

fn prepare(folder: &Path) -> Result<(), String> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| error.to_string())?;
    let found = fs::metadata(folder).map_err(|error| error.to_string())?;
    // Who can write to the folder can put a token of theirs in place of ours. Reading it shows nothing.
    if found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o022 != 0 {
        return Err("others can write to that folder".to_owned());
    }
    Ok(())
}

/// The file is complete and has mode 0600 from the moment that it has its name.
fn write(folder: &Path, path: &Path, secret: &str) -> std::io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(secret.as_bytes())?;
    file.persist(path).map(drop).map_err(|error| error.error)
}
