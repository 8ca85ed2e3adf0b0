//! Components that proved themselves, kept on this machine: when the one that a host is to start with was rolled back, it
//! starts with the last good one.

use std::fs;
use std::path::Path;

use super::candidate::SIGNATURE_SUFFIX;
use crate::folder::{BoundedFolder, Bounds};
use crate::storage::digest_of;

const BOUNDS: Bounds = Bounds { files: 8, bytes: 256 << 20 };
const SUFFIX: &str = ".wasm";
/// The folder's name in the cache. In earlier versions it was beside the cache.
const FOLDER: &str = "components";

/// A folder of components, each named by its digest.
#[derive(Debug, Clone)]
pub struct ComponentStore {
    folder: BoundedFolder,
}

impl ComponentStore {
    /// Keeps components in this cache, in a folder that is made when the first one comes.
    pub fn new(cache: &Path) -> Self {
        let folder = BoundedFolder::new(cache.join(FOLDER), SUFFIX, BOUNDS).with_companions(SIGNATURE_SUFFIX);
        let store = Self { folder };
        if let Err(error) = store.adopt(&cache.with_file_name(FOLDER)) {
            tracing::debug!(
                name: "swap.store_not_taken_over",
                %error,
                "cannot take over the components that an earlier version kept"
            );
        }
        store
    }

    /// Keeps a component. A failure costs nothing but this.
    pub fn store(&self, digest: &str, bytes: &[u8], signature: Option<&str>) {
        if let Err(error) = self.try_store(digest, bytes, signature) {
            tracing::warn!(
                name: "swap.not_stored",
                folder = %self.folder.path().display(),
                %error,
                "cannot keep the component for another start"
            );
        }
    }

    /// A component that was kept, and its signature; none where it is not there or not what it was.
    pub fn load(&self, digest: &str) -> Option<(Vec<u8>, Option<String>)> {
        let bytes = fs::read(self.folder.file(&name(digest))).ok()?;
        let signature = fs::read_to_string(self.folder.file(&signature_name(digest))).ok();
        (digest_of(&bytes) == digest).then_some((bytes, signature))
    }

    fn try_store(&self, digest: &str, bytes: &[u8], signature: Option<&str>) -> std::io::Result<()> {
        self.folder.make()?;
        if let Some(signature) = signature {
            self.folder.write(&signature_name(digest), &[signature.as_bytes()])?;
        }
        self.folder.write(&name(digest), &[bytes])?;
        self.folder.tidy()
    }

    /// Takes over what an earlier version kept in another place, and nothing else that is there.
    fn adopt(&self, before: &Path) -> std::io::Result<()> {
        let Ok(entries) = fs::read_dir(before) else { return Ok(()) };
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let digest = name.strip_suffix(SIGNATURE_SUFFIX).unwrap_or(&name).strip_suffix(SUFFIX);
            if digest.is_some_and(|digest| digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())) {
                self.folder.make()?;
                fs::rename(&path, self.folder.file(&name))?;
            }
        }
        // It stays where anything else is in it.
        let _ = fs::remove_dir(before);
        Ok(())
    }
}

fn name(digest: &str) -> String {
    format!("{digest}{SUFFIX}")
}

fn signature_name(digest: &str) -> String {
    format!("{digest}{SUFFIX}{SIGNATURE_SUFFIX}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn the_newest_are_kept_and_none_that_was_changed_is_given_out() {
        let folder = tempfile::tempdir().unwrap();
        let store = ComponentStore::new(folder.path());
        let digests: Vec<String> = (0..10_u8).map(|number| digest_of(&[number])).collect();
        for (number, digest) in (0_u8..).zip(&digests) {
            store.store(digest, &[number], Some("signed"));
            // The order is by the file's time.
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(store.load(&digests[0]).is_none() && store.load(&digests[1]).is_none());
        assert_eq!(store.load(&digests[9]), Some((vec![9], Some("signed".to_owned()))));
        let files = fs::read_dir(folder.path().join("components")).unwrap().count();
        assert_eq!(files, 2 * BOUNDS.files, "each with its signature, and no signature of one that is gone");
        fs::write(store.folder.file(&name(&digests[9])), b"changed").unwrap();
        assert!(store.load(&digests[9]).is_none());
    }

    #[test]
    fn what_an_earlier_version_kept_beside_the_cache_moves_in() {
        let folder = tempfile::tempdir().unwrap();
        let (before, cache) = (folder.path().join("components"), folder.path().join("compiled"));
        let digest = digest_of(b"x");
        fs::create_dir_all(&before).unwrap();
        for (name, text) in [(format!("{digest}.wasm"), "x"), (format!("{digest}.wasm.minisig"), "signed")] {
            fs::write(before.join(name), text).unwrap();
        }
        let load = || ComponentStore::new(&cache).load(&digest);
        assert_eq!(load(), Some((b"x".to_vec(), Some("signed".to_owned()))));
        assert!(!before.exists());
        assert_eq!(load(), Some((b"x".to_vec(), Some("signed".to_owned()))));
        // Somebody else's folder of that name.
        fs::create_dir_all(&before).unwrap();
        fs::write(before.join("button.wasm"), "theirs").unwrap();
        assert!(load().is_some() && before.join("button.wasm").exists());
    }

    #[test]
    fn a_component_that_was_half_written_is_not_given_out() {
        let folder = tempfile::tempdir().unwrap();
        let store = ComponentStore::new(folder.path());
        let digest = digest_of(b"component");
        store.store(&digest, b"component", None);
        for bytes in [&b""[..], b"comp", b"\0\0\0\0\0\0\0\0\0"] {
            fs::write(store.folder.file(&name(&digest)), bytes).unwrap();
            assert!(store.load(&digest).is_none());
        }
        store.store(&digest, b"component", None);
        assert!(store.load(&digest).is_some());
    }
}
