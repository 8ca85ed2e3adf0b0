//! Compiled components, kept between starts. A `.cwasm` file is native code that wasmtime loads unchecked. So the folder
//! belongs to this user alone, a file is named by all that it depends on (the component's digest and wasmtime's
//! compatibility hash), and it begins with a checksum of that name and of the code: what a full disk, a crash of the machine or
//! anybody's hand left of it is compiled anew.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Compiled components that are kept. A host that changes its component often would fill the disk with them.
const KEPT: usize = 32;
/// Bytes of all of them.
const KEPT_BYTES: u64 = 256 << 20;
/// What a file begins with, before its checksum.
const MAGIC: &[u8; 8] = b"rw-code1";
const HEADER: usize = MAGIC.len() + 32;
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
        match prepare_cache_folder(folder) {
            Ok(()) => Some(Self { folder: folder.to_owned() }),
            Err(problem) => {
                tracing::warn!(folder = %folder.display(), "not caching compiled components: {problem}");
                None
            }
        }
    }

    /// The compiled form of a component, if it is there, whole, and fits this engine.
    #[allow(unsafe_code)]
    pub(super) fn load(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let name = name(engine, digest);
        let path = self.folder.join(&name);
        let bytes = fs::read(&path).ok()?;
        let loaded = verified(&name, &bytes).and_then(|code| {
            // SAFETY: only `store` writes a checksum that is right, over what wasmtime has serialized, in a folder that is this
            // user's alone (mode 0700, checked when it was opened). wasmtime checks that it was made by the same version with
            // the same settings.
            unsafe { Component::deserialize(engine, code) }.map_err(|error| error.to_string())
        });
        match loaded {
            Ok(component) => {
                // What is in use is new, however long ago it was made.
                let _ = fs::File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
                Some(component)
            }
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "compiling anew: the cached file cannot be used");
                None
            }
        }
    }

    /// Keeps a compiled component. A failure costs a compilation at the next start, nothing else.
    pub(super) fn store(&self, engine: &Engine, digest: &str, component: &Component) {
        let stored = component
            .serialize()
            .map_err(|error| error.to_string())
            .and_then(|code| self.write(&name(engine, digest), &code).map_err(|error| error.to_string()));
        if let Err(error) = stored {
            tracing::warn!(folder = %self.folder.display(), %error, "cannot cache the compiled component");
            return;
        }
        if let Err(error) = self.prune() {
            tracing::warn!(folder = %self.folder.display(), %error, "cannot delete old compiled components");
        }
    }

    /// Under its name it is whole, whatever becomes of this machine.
    fn write(&self, name: &str, code: &[u8]) -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().suffix(UNFINISHED).tempfile_in(&self.folder)?;
        file.write_all(MAGIC)?;
        file.write_all(&checksum(name, code))?;
        file.write_all(code)?;
        file.as_file().sync_all()?;
        file.persist(self.folder.join(name)).map(drop).map_err(|error| error.error)
    }

    /// Deletes all but the files that were used last, within [`KEPT`] and [`KEPT_BYTES`], and what was never finished. Another
    /// host may be doing the same.
    fn prune(&self) -> std::io::Result<()> {
        let (mut files, mut abandoned) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let Ok(found) = fs::symlink_metadata(&path) else { continue };
            let Ok(used) = found.modified() else { continue };
            let is_named = |end: &str| path.to_string_lossy().ends_with(end);
            if is_named(".cwasm") {
                files.push((used, found.len(), path));
            } else if is_named(UNFINISHED) && used.elapsed().is_ok_and(|age| age > ABANDONED) {
                abandoned.push(path);
            }
        }
        files.sort_unstable_by(|(one, ..), (other, ..)| other.cmp(one));
        let mut bytes = 0;
        let surplus = files.into_iter().enumerate().filter_map(|(number, (_, size, path))| {
            bytes += size;
            // The one that was just written stays, however large it is.
            (number >= KEPT || number > 0 && bytes > KEPT_BYTES).then_some(path)
        });
        for path in surplus.chain(abandoned) {
            match fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

fn name(engine: &Engine, digest: &str) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{digest}-{:016x}.cwasm", hasher.finish())
}

fn checksum(name: &str, code: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(name).chain_update([0]).chain_update(code).finalize().into()
}

/// The code in a file of that name.
fn verified<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a [u8], String> {
    let (header, code) = bytes.split_at_checked(HEADER).ok_or("it is too short")?;
    match header.split_at_checked(MAGIC.len()) {
        Some((magic, sum)) if magic == MAGIC && sum == checksum(name, code) => Ok(code),
        Some((magic, _)) if magic == MAGIC => Err("its checksum is wrong".to_owned()),
        _ => Err("it carries no checksum".to_owned()),
    }
}

/// Makes the folder of caches with mode 0700, or says why it cannot be trusted: what is loaded from it is run.
pub fn prepare_cache_folder(folder: &Path) -> Result<(), String> {
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
            let file = fs::File::open(cache.folder.join(name(&engine, &number.to_string()))).unwrap();
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
        let there = |digest: &str| cache.folder.join(name(&engine, digest)).exists();
        assert!(there("0") && there("one-more") && !there("1") && there("2"));
        assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), KEPT + 1);
    }

    #[test]
    fn what_was_damaged_or_changed_places_is_not_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompileCache::open(&folder.path().join("compiled")).unwrap();
        let engine = Engine::default();
        let component = Component::new(&engine, b"\0asm\x0d\0\x01\0").unwrap();
        cache.store(&engine, "one", &component);
        cache.store(&engine, "other", &component);
        let path = cache.folder.join(name(&engine, "one"));
        let whole = fs::read(&path).unwrap();
        assert!(cache.load(&engine, "one").is_some());
        let zeroed = |from: usize| {
            let mut bytes = whole.clone();
            bytes.iter_mut().skip(from).step_by(2).for_each(|byte| *byte = 0);
            bytes
        };
        let mut longer = whole.clone();
        longer.push(0);
        let of_other = fs::read(cache.folder.join(name(&engine, "other"))).unwrap();
        let bare = whole.iter().copied().skip(HEADER).collect();
        let cut = |to: usize| whole.iter().copied().take(to).collect::<Vec<u8>>();
        for damaged in
            [zeroed(0), zeroed(MAGIC.len()), zeroed(HEADER), zeroed(whole.len() - 1), longer, of_other, bare, cut(0)]
                .into_iter()
                .chain([cut(7), cut(HEADER - 1), cut(HEADER), cut(whole.len() - 1)])
                // The last byte may have been zero before.
                .filter(|bytes| *bytes != whole)
        {
            fs::write(&path, &damaged).unwrap();
            assert!(cache.load(&engine, "one").is_none(), "{} bytes", damaged.len());
        }
        cache.store(&engine, "one", &component);
        assert!(cache.load(&engine, "one").is_some());
    }

    #[test]
    fn the_folder_is_bounded_in_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompileCache::open(&folder.path().join("compiled")).unwrap();
        for (number, days) in [(0, 3), (1, 2), (2, 1)] {
            let file = fs::File::create(cache.folder.join(format!("{number}.cwasm"))).unwrap();
            file.set_len(KEPT_BYTES / 2 - 1000).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(days * 86_400)).unwrap();
        }
        let engine = Engine::default();
        cache.store(&engine, "new", &Component::new(&engine, b"\0asm\x0d\0\x01\0").unwrap());
        let mut left: Vec<_> = fs::read_dir(&cache.folder).unwrap().map(|file| file.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["2.cwasm".into(), std::ffi::OsString::from(name(&engine, "new"))]);
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
