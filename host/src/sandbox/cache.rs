//! Compiled components, kept between starts. A `.cwasm` file is native code that wasmtime loads unchecked. So the folder
//! belongs to this user alone, a file is named by all that it depends on (the component's digest and wasmtime's
//! compatibility hash), and it begins with a checksum of that name and of the code: what a full disk, a crash of the machine or
//! anybody's hand left of it is compiled anew.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use wasmtime::Engine;
use wasmtime::component::Component;

use super::compiled;
use crate::folder::{BoundedFolder, Bounds, make_private};

/// A host that changes its component often would fill the disk with compiled ones.
const BOUNDS: Bounds = Bounds { files: 32, bytes: 256 << 20 };
/// How their names end.
const SUFFIX: &str = compiled::SUFFIX;

/// A folder of compiled components.
#[derive(Debug, Clone)]
pub(super) struct CompileCache {
    folder: BoundedFolder,
}

impl CompileCache {
    /// Opens the folder, making it with mode 0700. None, with a warning, when it cannot be trusted or made.
    pub(super) fn open(folder: &Path) -> Option<Self> {
        match prepare_cache_folder(folder) {
            Ok(()) => Some(Self { folder: BoundedFolder::new(folder.to_owned(), SUFFIX, BOUNDS) }),
            Err(problem) => {
                tracing::warn!(
                    name: "compile_cache.off",
                    folder = %folder.display(),
                    "not caching compiled components: {problem}"
                );
                None
            }
        }
    }

    /// The compiled form of a component, if it is there, whole, and fits this engine.
    #[allow(unsafe_code)]
    pub(super) fn load(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let name = name(engine, digest);
        let path = self.folder.file(&name);
        let bytes = fs::read(&path).ok()?;
        let loaded = compiled::verified(&name, &bytes).and_then(|code| {
            // SAFETY: only `store` writes a checksum that is right, over what wasmtime has serialized, in a folder that is this
            // user's alone (mode 0700, checked when it was opened). wasmtime checks that it was made by the same version with
            // the same settings.
            unsafe { Component::deserialize(engine, code) }.map_err(|error| error.to_string())
        });
        match loaded {
            Ok(component) => {
                self.folder.touch(&name);
                Some(component)
            }
            Err(error) => {
                tracing::warn!(
                    name: "compile_cache.unusable",
                    file = %path.display(),
                    %error,
                    "compiling anew: the cached file cannot be used"
                );
                None
            }
        }
    }

    /// Keeps a compiled component. A failure costs a compilation at the next start, nothing else.
    pub(super) fn store(&self, engine: &Engine, digest: &str, component: &Component) {
        let stored = component.serialize().map_err(|error| error.to_string()).and_then(|code| {
            let name = name(engine, digest);
            let header = compiled::header(&name, &code);
            self.folder.write(&name, &[&header, &code]).map_err(|error| error.to_string())
        });
        let folder = self.folder.path().display();
        if let Err(error) = stored {
            tracing::warn!(name: "compile_cache.not_stored", %folder, %error, "cannot cache the compiled component");
            return;
        }
        if let Err(error) = self.folder.tidy() {
            tracing::warn!(name: "compile_cache.not_tidied", %folder, %error, "cannot delete old compiled components");
        }
    }
}

fn name(engine: &Engine, digest: &str) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{digest}-{:016x}{SUFFIX}", hasher.finish())
}

/// Makes the folder of caches with mode 0700, or says why it cannot be trusted: what is loaded from it is run.
pub fn prepare_cache_folder(folder: &Path) -> Result<(), String> {
    make_private(folder).map_err(|error| error.to_string())?;
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
    use super::super::compiled::{HEADER, MAGIC};
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, SystemTime};

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
    fn one_that_is_used_is_as_new_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompileCache::open(&folder.path().join("compiled")).unwrap();
        let engine = Engine::default();
        let component = Component::new(&engine, b"\0asm\x0d\0\x01\0").unwrap();
        let path = |number: usize| cache.folder.file(&name(&engine, &number.to_string()));
        for number in 0..BOUNDS.files {
            cache.store(&engine, &number.to_string(), &component);
            let age = Duration::from_secs((100 - number as u64) * 86_400);
            fs::File::open(path(number)).unwrap().set_modified(SystemTime::now() - age).unwrap();
        }
        // The oldest is used: it is not the oldest any more.
        assert!(cache.load(&engine, "0").is_some());
        cache.store(&engine, "one-more", &component);
        assert!(path(0).exists() && !path(1).exists() && path(2).exists());
    }

    #[test]
    fn what_was_damaged_or_changed_places_is_not_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompileCache::open(&folder.path().join("compiled")).unwrap();
        let engine = Engine::default();
        let component = Component::new(&engine, b"\0asm\x0d\0\x01\0").unwrap();
        cache.store(&engine, "one", &component);
        cache.store(&engine, "other", &component);
        let path = cache.folder.file(&name(&engine, "one"));
        let whole = fs::read(&path).unwrap();
        assert!(cache.load(&engine, "one").is_some());
        let zeroed = |from: usize| {
            let mut bytes = whole.clone();
            bytes.iter_mut().skip(from).step_by(2).for_each(|byte| *byte = 0);
            bytes
        };
        let mut longer = whole.clone();
        longer.push(0);
        let of_other = fs::read(cache.folder.file(&name(&engine, "other"))).unwrap();
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
}
