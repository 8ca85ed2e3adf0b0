//! Compiled components, kept between starts. A `.cwasm` file is native code that is loaded unchecked, so the folder
//! belongs to this user alone, and a file is named by all that it depends on: the component's digest and wasmtime's
//! compatibility hash.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use wasmtime::Engine;
use wasmtime::component::Component;

/// Compiled components that are kept. A host that changes its component often would fill the disk with them.
const KEPT: usize = 32;
/// The end of a name that is being written. What a host left behind that was killed meanwhile is deleted when it is
/// [`ABANDONED`] old.
const UNFINISHED: &str = ".unfinished";
const ABANDONED: Duration = Duration::from_secs(3600);

/// A folder of compiled components.
#[derive(Debug, Clone)]
pub(super) struct CompileCache {
    folder: PathBuf,
}

impl CompileCache {
    /// Opens the folder, making it with mode 0700. None, with a warning, when it cannot be trusted or made.
    pub(super) fn open(folder: &Path) -> Option<Self> {
        match prepare(folder) {
            Ok(()) => Some(Self { folder: folder.to_owned() }),
            Err(problem) => {
                tracing::warn!(folder = %folder.display(), "not caching compiled components: {problem}");
                None
            }
        }
    }

    /// The compiled form of a component, if it is there and fits this engine.
    #[allow(unsafe_code)]
    pub(super) fn load(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let path = self.path(engine, digest);
        let bytes = fs::read(&path).ok()?;
        // SAFETY: the folder is this user's alone (mode 0700, checked when it was opened), and only `store` writes to it.
        // wasmtime checks that the file was made by the same version with the same settings.
        match unsafe { Component::deserialize(engine, bytes) } {
            Ok(component) => {
                // What is in use is new, however long ago it was made.
                let _ = fs::File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
                Some(component)
            }
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "compiling anew: the cached file does not fit");
                None
            }
        }
    }

    /// Keeps a compiled component. A failure costs a compilation at the next start, nothing else.
    pub(super) fn store(&self, engine: &Engine, digest: &str, component: &Component) {
        let stored = component.serialize().map_err(|error| error.to_string()).and_then(|bytes| {
            let mut file = tempfile::Builder::new()
                .suffix(UNFINISHED)
                .tempfile_in(&self.folder)
                .map_err(|error| error.to_string())?;
            file.write_all(&bytes).map_err(|error| error.to_string())?;
            file.persist(self.path(engine, digest)).map(drop).map_err(|error| error.to_string())
        });
        if let Err(error) = stored {
            tracing::warn!(folder = %self.folder.display(), %error, "cannot cache the compiled component");
            return;
        }
        if let Err(error) = self.prune() {
            tracing::warn!(folder = %self.folder.display(), %error, "cannot delete old compiled components");
        }
    }

    /// Deletes all but the [`KEPT`] files that were used last, and what was never finished. Another host may be doing the
    /// same.
    fn prune(&self) -> std::io::Result<()> {
        let (mut files, mut abandoned) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let Ok(used) = fs::symlink_metadata(&path).and_then(|found| found.modified()) else { continue };
            let is_named = |end: &str| path.to_string_lossy().ends_with(end);
            if is_named(".cwasm") {
                files.push((used, path));
            } else if is_named(UNFINISHED) && used.elapsed().is_ok_and(|age| age > ABANDONED) {
                abandoned.push(path);
            }
        }
        files.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
        for path in files.into_iter().skip(KEPT).map(|(_, path)| path).chain(abandoned) {
            match fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn path(&self, engine: &Engine, digest: &str) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        self.folder.join(format!("{digest}-{:016x}.cwasm", hasher.finish()))
    }
}

fn prepare(folder: &Path) -> Result<(), String> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| error.to_string())?;
    let metadata = fs::symlink_metadata(folder).map_err(|error| error.to_string())?;
    if !metadata.is_dir() {
        return Err("it is no folder".to_owned());
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err("it belongs to another user".to_owned());
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(format!("others can write or read it (mode {:03o}, 700 is needed)", metadata.mode() & 0o777));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_folder_that_others_can_write_is_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(CompileCache::open(&open).is_none());
        assert!(CompileCache::open(&folder.path().join("new/own")).is_some());
    }
    #[test]
    fn what_was_used_last_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompileCache::open(&folder.path().join("compiled")).unwrap();
        let engine = Engine::default();
        let component = Component::new(&engine, b"\0asm\x0d\0\x01\0").unwrap();
        let age = |number: usize, days: u64| {
            let file = fs::File::open(cache.path(&engine, &number.to_string())).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(days * 86_400)).unwrap();
        };
        for number in 0..KEPT {
            cache.store(&engine, &number.to_string(), &component);
            age(number, 100 - number as u64);
        }
        fs::write(cache.folder.join("notes.txt"), "not ours").unwrap();
        // The oldest is used: it is not the oldest any more.
        assert!(cache.load(&engine, "0").is_some());
        cache.store(&engine, "one-more", &component);
        let there = |digest: &str| cache.path(&engine, digest).exists();
        assert!(there("0") && there("one-more") && !there("1") && there("2"));
        assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), KEPT + 1);
    }

    #[test]
    fn what_a_killed_host_left_half_written_is_deleted_and_what_is_being_written_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompileCache::open(&folder.path().join("compiled")).unwrap();
        let (old, new) = (cache.folder.join("old.unfinished"), cache.folder.join("new.unfinished"));
        for path in [&old, &new] {
            fs::write(path, "half").unwrap();
        }
        fs::File::open(&old).unwrap().set_modified(SystemTime::now() - ABANDONED * 2).unwrap();
        let engine = Engine::default();
        cache.store(&engine, "one", &Component::new(&engine, b"\0asm\x0d\0\x01\0").unwrap());
        assert!(!old.exists() && new.exists());
        assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), 2);
    }
}
