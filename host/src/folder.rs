//! Folders of files that a host keeps for later: each file is whole under its name or not there at all, all of them together
//! stay within bounds, and what a host left half written that was killed is deleted.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How the name of a file ends that is being written.
const UNFINISHED: &str = ".unfinished";
/// How it began where an earlier version wrote traces.
const ONCE_UNFINISHED: &str = ".unfinished-";
/// How old such a file is when nobody writes it any more.
const ABANDONED: Duration = Duration::from_secs(3600);

/// What a folder may hold; the files that were used last stay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) files: usize,
    pub(crate) bytes: u64,
}

/// Files of one kind in a folder. Others in it are left alone, and another host may use the same one.
#[derive(Debug, Clone)]
pub(crate) struct BoundedFolder {
    path: PathBuf,
    /// How the names of the files end that are counted.
    suffix: &'static str,
    /// What is behind the name of a file that belongs to another one and goes with it.
    companion: Option<&'static str>,
    bounds: Bounds,
}

impl BoundedFolder {
    pub(crate) fn new(path: PathBuf, suffix: &'static str, bounds: Bounds) -> Self {
        Self { path, suffix, companion: None, bounds }
    }

    pub(crate) fn with_companions(self, companion: &'static str) -> Self {
        Self { companion: Some(companion), ..self }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes the folder, which is nobody else's business.
    pub(crate) fn make(&self) -> io::Result<()> {
        make_private(&self.path)
    }

    /// Under its name the file is whole, whatever becomes of this machine.
    pub(crate) fn write(&self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        write_whole(&self.file(name), parts, File::sync_all)
    }

    /// Notes that a file is in use: it is new, however long ago it was written.
    pub(crate) fn touch(&self, name: &str) {
        let _ = touch(&self.file(name));
    }

    /// Deletes what is beyond the bounds, and what was never finished.
    pub(crate) fn tidy(&self) -> io::Result<()> {
        let (mut files, mut gone) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            // Another host has deleted it meanwhile.
            let Ok(found) = fs::symlink_metadata(&path) else { continue };
            let Ok(used) = found.modified() else { continue };
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with(self.suffix) {
                files.push((used, found.len(), path));
            } else if is_unfinished(&name) && used.elapsed().is_ok_and(|age| age > ABANDONED) {
                gone.push(path);
            }
        }
        files.sort_unstable_by(|one, other| other.cmp(one));
        let mut bytes = 0;
        for (number, (_, size, path)) in files.into_iter().enumerate() {
            bytes += size;
            // The one that was just written stays, however large it is.
            if number >= self.bounds.files || number > 0 && bytes > self.bounds.bytes {
                gone.extend(self.companion.map(|companion| with_suffix(&path, companion)));
                gone.push(path);
            }
        }
        gone.iter().try_for_each(|path| remove(path))
    }
}

/// Whole or not at all: nobody ever sees half of the file under its name. `before` is called when all is written and nobody
/// sees it yet.
pub(crate) fn write_whole(
    path: &Path,
    parts: &[&[u8]],
    before: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = unfinished_in(path.parent().unwrap_or(Path::new("")))?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    before(file.as_file())?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// A file that is not there yet for anybody.
pub(crate) fn unfinished_in(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().suffix(UNFINISHED).tempfile_in(folder)
}

/// Whether a file of this name is being written, or was by a host that was killed.
pub(crate) fn is_unfinished(name: &str) -> bool {
    name.ends_with(UNFINISHED) || name.starts_with(ONCE_UNFINISHED)
}

/// Notes that a file is in use now. Fails where it is gone.
pub(crate) fn touch(path: &Path) -> io::Result<()> {
    File::open(path)?.set_modified(SystemTime::now())
}

/// Makes a folder that this user alone may look into.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Deletes a file; somebody else may have done it.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn age(path: &Path, seconds: u64) {
        let file = fs::File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
    }

    #[test]
    fn what_was_used_last_stays_with_what_belongs_to_it_and_nothing_else_is_touched() {
        let home = tempfile::tempdir().unwrap();
        let bounds = Bounds { files: 2, bytes: 100 };
        let folder = BoundedFolder::new(home.path().join("deep/kept"), ".x", bounds).with_companions(".sig");
        folder.make().unwrap();
        for (name, seconds) in [("a.x", 300), ("b.x", 200), ("c.x", 100)] {
            folder.write(name, &[b"one", b"two"]).unwrap();
            folder.write(&format!("{name}.sig"), &[b"signed"]).unwrap();
            age(&folder.file(name), seconds);
        }
        fs::write(folder.file("notes.txt"), "somebody's").unwrap();
        folder.touch("a.x");
        folder.tidy().unwrap();
        assert_eq!(names(folder.path()), ["a.x", "a.x.sig", "c.x", "c.x.sig", "notes.txt"]);
        assert_eq!(fs::read(folder.file("a.x")).unwrap(), b"onetwo");
    }

    #[test]
    fn bytes_are_bounded_too_and_one_that_is_larger_stays() {
        let home = tempfile::tempdir().unwrap();
        let folder = BoundedFolder::new(home.path().to_owned(), ".x", Bounds { files: 9, bytes: 10 });
        for (name, bytes, seconds) in [("a.x", 4, 300), ("b.x", 4, 200), ("c.x", 4, 100)] {
            folder.write(name, &[&vec![b' '; bytes]]).unwrap();
            age(&folder.file(name), seconds);
        }
        folder.tidy().unwrap();
        assert_eq!(names(folder.path()), ["b.x", "c.x"]);
        folder.write("d.x", &[&[b' '; 20]]).unwrap();
        folder.tidy().unwrap();
        assert_eq!(names(folder.path()), ["d.x"]);
    }

    #[test]
    fn what_a_killed_host_left_goes_and_what_is_being_written_stays() {
        let home = tempfile::tempdir().unwrap();
        let folder = BoundedFolder::new(home.path().to_owned(), ".x", Bounds { files: 9, bytes: 10 });
        for name in ["old.unfinished", "new.unfinished"] {
            fs::write(folder.file(name), "half").unwrap();
        }
        age(&folder.file("old.unfinished"), ABANDONED.as_secs() * 2);
        folder.tidy().unwrap();
        assert_eq!(names(folder.path()), ["new.unfinished"]);
    }
}
