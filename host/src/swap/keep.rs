//! Components that proved themselves, kept on this machine: when the one that a host is to start with was taken back, it
//! starts with the last good one.

use std::fs;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::SIGNATURE_SUFFIX;
use crate::storage::digest_of;

/// Older ones are removed.
const KEPT: usize = 8;

/// A folder of components, each named by its digest.
#[derive(Debug, Clone)]
pub struct Keep {
    folder: PathBuf,
}

impl Keep {
    /// Keeps components in this folder, which is made when the first one comes.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Keeps a component. A failure costs nothing but this.
    pub fn store(&self, digest: &str, bytes: &[u8], signature: Option<&str>) {
        if let Err(error) = self.try_store(digest, bytes, signature) {
            tracing::warn!(folder = %self.folder.display(), %error, "cannot keep the component for another start");
        }
    }

    /// A component that was kept, and its signature; none where it is not there or not what it was.
    pub fn load(&self, digest: &str) -> Option<(Vec<u8>, Option<String>)> {
        let bytes = fs::read(self.path(digest)).ok()?;
        let signature = fs::read_to_string(self.signature_path(digest)).ok();
        (digest_of(&bytes) == digest).then_some((bytes, signature))
    }

    fn try_store(&self, digest: &str, bytes: &[u8], signature: Option<&str>) -> std::io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        if let Some(signature) = signature {
            self.write(&self.signature_path(digest), signature.as_bytes())?;
        }
        self.write(&self.path(digest), bytes)?;
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // Not what another host is writing at this moment.
            if entry.path().extension().is_some_and(|extension| extension == "wasm") {
                kept.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        kept.sort();
        let surplus = kept.len().saturating_sub(KEPT);
        for (_, path) in kept.into_iter().take(surplus) {
            let _ = fs::remove_file(path.with_extension("wasm.minisig"));
            fs::remove_file(path)?;
        }
        Ok(())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(bytes)?;
        file.persist(path).map(drop).map_err(|error| error.error)
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}.wasm"))
    }

    fn signature_path(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}.wasm{SIGNATURE_SUFFIX}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn the_newest_are_kept_and_none_that_was_changed_is_given_out() {
        let folder = tempfile::tempdir().unwrap();
        let keep = Keep::new(folder.path().join("components"));
        let digests: Vec<String> = (0..10_u8).map(|number| digest_of(&[number])).collect();
        for (number, digest) in (0_u8..).zip(&digests) {
            keep.store(digest, &[number], Some("signed"));
            // The order is by the file's time.
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(keep.load(&digests[0]).is_none() && keep.load(&digests[1]).is_none());
        assert_eq!(keep.load(&digests[9]), Some((vec![9], Some("signed".to_owned()))));
        let files = fs::read_dir(folder.path().join("components")).unwrap().count();
        assert_eq!(files, 2 * KEPT, "each with its signature, and no signature of one that is gone");
        fs::write(keep.path(&digests[9]), b"changed").unwrap();
        assert!(keep.load(&digests[9]).is_none());
    }
}
