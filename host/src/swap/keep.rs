//! Components that proved themselves, kept on this machine: when the one that a host is to start with was taken back, it
//! starts with the last good one.

use std::fs;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::SIGNATURE_SUFFIX;
use crate::storage::digest_of;

/// Older ones are removed.
const KEPT: usize = 8;
/// Bytes of all of them.
const KEPT_BYTES: u64 = 256 << 20;
/// The folder's name in the cache. In earlier versions it was beside the cache.
const FOLDER: &str = "components";
/// How what is being written ends.
const UNFINISHED: &str = ".unfinished";
/// What a host left behind that was killed meanwhile.
const ABANDONED: Duration = Duration::from_secs(3600);

/// A folder of components, each named by its digest.
#[derive(Debug, Clone)]
pub struct Keep {
    folder: PathBuf,
}

impl Keep {
    /// Keeps components in this cache, in a folder that is made when the first one comes.
    pub fn new(cache: &Path) -> Self {
        let keep = Self { folder: cache.join(FOLDER) };
        if let Err(error) = keep.adopt(&cache.with_file_name(FOLDER)) {
            tracing::debug!(%error, "cannot take over the components that an earlier version kept");
        }
        keep
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
        self.prune()
    }

    fn prune(&self) -> std::io::Result<()> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let (path, found) = (entry.path(), entry.metadata()?);
            let is_named = |end: &str| path.to_string_lossy().ends_with(end);
            if is_named(".wasm") {
                kept.push((found.modified()?, found.len(), path));
            } else if is_named(UNFINISHED) && found.modified()?.elapsed().is_ok_and(|age| age > ABANDONED) {
                fs::remove_file(path)?;
            }
        }
        // Newest first.
        kept.sort_by(|one, other| other.cmp(one));
        let mut bytes = 0;
        for (number, (_, size, path)) in kept.into_iter().enumerate() {
            bytes += size;
            if number >= KEPT || number > 0 && bytes > KEPT_BYTES {
                let _ = fs::remove_file(path.with_extension("wasm.minisig"));
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Takes over what an earlier version kept in another place, and nothing else that is there.
    fn adopt(&self, before: &Path) -> std::io::Result<()> {
        let Ok(entries) = fs::read_dir(before) else { return Ok(()) };
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let digest = name.strip_suffix(SIGNATURE_SUFFIX).unwrap_or(&name).strip_suffix(".wasm");
            if digest.is_some_and(|digest| digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())) {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
                fs::rename(&path, self.folder.join(name))?;
            }
        }
        // It stays where anything else is in it.
        let _ = fs::remove_dir(before);
        Ok(())
    }

    /// Under its name it is whole, whatever becomes of this machine.
    fn write(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().suffix(UNFINISHED).tempfile_in(&self.folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
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
        let keep = Keep::new(folder.path());
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

    #[test]
    fn what_an_earlier_version_kept_beside_the_cache_moves_in() {
        let folder = tempfile::tempdir().unwrap();
        let (before, cache) = (folder.path().join("components"), folder.path().join("compiled"));
        let digest = digest_of(b"x");
        fs::create_dir_all(&before).unwrap();
        for (name, text) in [(format!("{digest}.wasm"), "x"), (format!("{digest}.wasm.minisig"), "signed")] {
            fs::write(before.join(name), text).unwrap();
        }
        let load = || Keep::new(&cache).load(&digest);
        assert_eq!(load(), Some((b"x".to_vec(), Some("signed".to_owned()))));
        assert!(!before.exists());
        assert_eq!(load(), Some((b"x".to_vec(), Some("signed".to_owned()))));
        // Somebody else's folder of that name.
        fs::create_dir_all(&before).unwrap();
        fs::write(before.join("button.wasm"), "theirs").unwrap();
        assert!(load().is_some() && before.join("button.wasm").exists());
    }

    #[test]
    fn a_component_that_was_half_written_is_not_given_out_and_is_cleaned_up() {
        let folder = tempfile::tempdir().unwrap();
        let keep = Keep::new(folder.path());
        let digest = digest_of(b"component");
        keep.store(&digest, b"component", None);
        for bytes in [&b""[..], b"comp", b"\0\0\0\0\0\0\0\0\0"] {
            fs::write(keep.path(&digest), bytes).unwrap();
            assert!(keep.load(&digest).is_none());
        }
        let left = keep.folder.join("left.unfinished");
        fs::write(&left, "half").unwrap();
        fs::File::open(&left).unwrap().set_modified(std::time::SystemTime::now() - ABANDONED * 2).unwrap();
        keep.store(&digest, b"component", None);
        assert!(keep.load(&digest).is_some() && !left.exists());
    }
}
