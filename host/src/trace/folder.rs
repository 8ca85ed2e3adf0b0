//! The folder that traces are recorded into: whole files only, readable by their owner only, within bounds.

use std::fs::{self, DirEntry, File, OpenOptions, ReadDir, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::inventory::{Inventory, Response};
use super::settings::{RecordError, RecordSettings};
use super::time::stamp;
use super::{RESPONSES, SUFFIX};
use crate::folder::{is_unfinished, make_private, remove, touch, unfinished_in, write_whole};

/// Held while a process records into the folder.
const LOCK: &str = ".lock";

/// Files that are looked at, or deleted, before it is somebody else's turn.
const SLICE: usize = 256;

/// How stale the time of a response's last use may be on disk. It is only read by the next process.
const TOUCH: Duration = Duration::from_secs(10);

/// How much older than the oldest trace a response from an earlier process must be: more than `TOUCH`.
const SLACK: Duration = Duration::from_secs(60);

pub(super) struct Folder {
    path: PathBuf,
    max_bytes: u64,
    max_age: Duration,
    held: Inventory,
    /// What earlier processes left, as far as it was not looked at yet.
    earlier: Vec<ReadDir>,
    lock: File,
}

impl Folder {
    /// Makes the folder and makes sure that it can be written. What is there is looked at later: it may be much.
    pub(super) fn open(settings: &RecordSettings) -> Result<Self, RecordError> {
        let path = settings.folder.clone();
        let lock = lock(&path)?;
        let problem = |source| RecordError::Io { path: path.clone(), source };
        unfinished_in(&path).map_err(problem)?;
        let earlier = vec![
            fs::read_dir(path.join(RESPONSES)).map_err(problem)?,
            // First: responses are judged by the traces.
            fs::read_dir(&path).map_err(problem)?,
        ];
        Ok(Self {
            max_bytes: settings.max_bytes,
            max_age: settings.max_age,
            held: Inventory::default(),
            earlier,
            lock,
            path,
        })
    }

    /// Makes anew what somebody has deleted beside a running host.
    pub(super) fn mend(&mut self) -> Result<(), RecordError> {
        let problem = |source| RecordError::Io { path: self.path.clone(), source };
        let held = self.lock.metadata().map_err(problem)?;
        let there = fs::metadata(self.path.join(LOCK)).is_ok_and(|found| found.ino() == held.ino());
        if there {
            return make_private(&self.path.join(RESPONSES)).map_err(problem);
        }
        self.lock = lock(&self.path)?;
        Ok(())
    }

    /// Bytes of all traces and responses.
    pub(super) fn bytes(&self) -> u64 {
        self.held.bytes()
    }

    /// Stores a response that the trace of that name refers to.
    pub(super) fn put_response(&mut self, digest: &str, body: &[u8], trace: &str) -> Result<(), RecordError> {
        let path = self.response(digest);
        let known = self.held.response(digest);
        let touched = known.and_then(|known| known.touched);
        let stale = touched.is_none_or(|touched| touched.elapsed() >= TOUCH);
        // Whoever deleted it by hand gets it back, and what a crash of the machine left of it is written again.
        let whole = match touched {
            Some(_) => fs::metadata(&path).is_ok_and(|found| found.len() == body.len() as u64),
            None => known.is_some() && fs::read(&path).is_ok_and(|found| found == body),
        };
        if !whole || stale && touch(&path).is_err() {
            write(&path, body)?;
        }
        let touched = if stale { Some(Instant::now()) } else { touched };
        self.held.put_response(digest, Response { bytes: body.len() as u64, last_use: trace.to_owned(), touched });
        Ok(())
    }

    /// Stores a trace. Its responses must be there.
    pub(super) fn put_trace(&mut self, name: &str, text: &str) -> Result<(), RecordError> {
        write(&self.trace(name), text.as_bytes())?;
        self.held.put_trace(name, text.len() as u64);
        Ok(())
    }

    /// A step of keeping the folder within its bounds: first all is looked at that earlier processes left, then the oldest
    /// traces are deleted, and the responses that were last used by them. Tells whether there is more to do.
    pub(super) fn tidy(&mut self, now: SystemTime) -> Result<bool, RecordError> {
        if self.look() {
            return Ok(true);
        }
        let too_old = now.checked_sub(self.max_age).map(stamp).unwrap_or_default();
        for _ in 0..SLICE {
            let Some(oldest) = self.held.oldest_trace() else { return Ok(false) };
            if self.held.bytes() <= self.max_bytes && *oldest >= *too_old {
                return Ok(false);
            }
            if let Some(name) = self.held.take_oldest_trace() {
                delete(&self.trace(&name))?;
            }
            while let Some(digest) = self.held.take_unused_response() {
                delete(&self.response(&digest))?;
            }
        }
        Ok(true)
    }

    fn trace(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}{SUFFIX}"))
    }

    fn response(&self, digest: &str) -> PathBuf {
        self.path.join(RESPONSES).join(format!("{digest}.json"))
    }

    /// Looks at some of what was there at the start. False when all was seen.
    fn look(&mut self) -> bool {
        for _ in 0..SLICE {
            let Some(entries) = self.earlier.last_mut() else { return false };
            match entries.next() {
                // What cannot be read is as good as deleted.
                Some(entry) => {
                    let traces = self.earlier.len() > 1;
                    let _ =
                        entry.and_then(|entry| if traces { self.see_trace(&entry) } else { self.see_response(&entry) });
                }
                None => {
                    self.earlier.pop();
                }
            }
        }
        !self.earlier.is_empty()
    }

    /// Names and sizes only. What others put there is left alone.
    fn see_trace(&mut self, entry: &DirEntry) -> io::Result<()> {
        let file = entry.file_name().to_string_lossy().into_owned();
        if is_unfinished(&file) {
            remove(&entry.path())?;
        } else if let Some(name) = file.strip_suffix(SUFFIX).filter(|name| is_ours(name))
            && !self.held.has_trace(name)
        {
            self.held.put_trace(name, entry.metadata()?.len());
        }
        Ok(())
    }

    fn see_response(&mut self, entry: &DirEntry) -> io::Result<()> {
        let file = entry.file_name().to_string_lossy().into_owned();
        if is_unfinished(&file) {
            remove(&entry.path())?;
        } else if let Some(digest) = file.strip_suffix(".json").filter(|digest| digest.len() == 64)
            && self.held.response(digest).is_none()
        {
            let metadata = entry.metadata()?;
            let last_use = stamp(metadata.modified()? + SLACK);
            self.held.put_response(digest, Response { bytes: metadata.len(), last_use, touched: None });
        }
        Ok(())
    }
}

/// Makes the folder, and sees to it that one process at a time records into it.
fn lock(path: &Path) -> Result<File, RecordError> {
    let problem = |source| RecordError::Io { path: path.to_owned(), source };
    // What people bought is nobody else's business.
    make_private(&path.join(RESPONSES)).map_err(problem)?;
    let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(path.join(LOCK)).map_err(problem)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(RecordError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(problem(source)),
    }
}

/// `20261124T005145.123456Z-000042`.
fn is_ours(name: &str) -> bool {
    let shape: String = name.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape.strip_prefix("00000000T000000.000000Z-").is_some_and(|count| count.chars().all(|c| c == '0'))
}

/// No fsync: a trace is worth no wait for the disk.
fn write(path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    write_whole(path, &[bytes], |_| Ok(())).map_err(|source| RecordError::Io { path: path.to_owned(), source })
}

fn delete(path: &Path) -> Result<(), RecordError> {
    remove(path).map_err(|source| RecordError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::UNIX_EPOCH;

    use super::*;

    fn settings(folder: &Path, max_bytes: u64) -> RecordSettings {
        RecordSettings { max_bytes, max_age: Duration::MAX, ..RecordSettings::new(folder) }
    }

    fn name(second: u64) -> String {
        format!("{}-000001", stamp(UNIX_EPOCH + Duration::from_secs(second)))
    }

    fn digest(letter: char) -> String {
        String::from(letter).repeat(64)
    }

    fn tidied(folder: &mut Folder, now: SystemTime) {
        while folder.tidy(now).unwrap() {}
    }

    /// The files below it, but for the lock.
    fn files(folder: &Path) -> Vec<String> {
        let mut files = Vec::new();
        for folder in [folder.to_owned(), folder.join(RESPONSES)] {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let file = entry.file_name().into_string().unwrap();
                if file != LOCK && entry.file_type().unwrap().is_file() {
                    files.push(file.trim_end_matches(SUFFIX).trim_end_matches(".json").to_owned());
                }
            }
        }
        files.sort();
        files
    }

    #[test]
    fn the_oldest_go_first_and_responses_with_the_last_trace_that_needs_them() {
        let home = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(&settings(home.path(), 100)).unwrap();
        for (second, letters) in [(1, "ab"), (2, "bc"), (3, "c")] {
            for letter in letters.chars() {
                folder.put_response(&digest(letter), &[b' '; 10], &name(second)).unwrap();
            }
            folder.put_trace(&name(second), &" ".repeat(20)).unwrap();
        }
        tidied(&mut folder, SystemTime::now());
        assert_eq!(folder.bytes(), 90);
        assert_eq!(files(home.path()).len(), 6);
        folder.put_trace(&name(4), &" ".repeat(20)).unwrap();
        tidied(&mut folder, SystemTime::now());
        assert_eq!(files(home.path()), [name(2), name(3), name(4), digest('b'), digest('c')]);
        assert_eq!(folder.bytes(), 80);
        // A run that began long ago brings nothing back that is older than the bound.
        folder.put_response(&digest('d'), &[b' '; 15], &name(0)).unwrap();
        folder.put_trace(&name(0), &" ".repeat(20)).unwrap();
        tidied(&mut folder, SystemTime::now());
        assert_eq!(files(home.path()), [name(2), name(3), name(4), digest('b'), digest('c')]);
    }

    #[test]
    fn what_is_too_old_goes_whatever_its_size() {
        let home = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(&settings(home.path(), u64::MAX)).unwrap();
        for second in [100, 200] {
            folder.put_trace(&name(second), "x").unwrap();
        }
        folder.max_age = Duration::from_secs(50);
        tidied(&mut folder, UNIX_EPOCH + Duration::from_secs(200));
        assert_eq!(files(home.path()), [name(200)]);
    }

    #[test]
    fn the_next_process_goes_on_where_the_last_one_ended() {
        let home = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let at = |ago: u64| format!("{}-000001", stamp(now - Duration::from_secs(ago)));
        let mut folder = Folder::open(&settings(home.path(), 1000)).unwrap();
        for (letter, ago) in [('a', 500), ('b', 300), ('c', 0)] {
            folder.put_response(&digest(letter), &[b' '; 10], &at(ago)).unwrap();
            folder.put_trace(&at(ago), &" ".repeat(10)).unwrap();
            let file = File::options().append(true).open(home.path().join(RESPONSES).join(digest(letter) + ".json"));
            file.unwrap().set_modified(now - Duration::from_secs(ago)).unwrap();
        }
        drop(folder);
        for left in ["mine.trace.jsonl", "notes.txt", ".unfinished-1", "responses/.unfinished-2"] {
            fs::write(home.path().join(left), "x").unwrap();
        }
        let mut folder = Folder::open(&settings(home.path(), 50)).unwrap();
        tidied(&mut folder, now);
        assert_eq!(folder.bytes(), 40);
        assert_eq!(files(home.path()), [at(300), at(0), digest('b'), digest('c'), "mine".into(), "notes.txt".into()]);
    }

    #[test]
    fn one_process_at_a_time_and_nobody_else_reads() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("deep/traces");
        let mut folder = Folder::open(&settings(&path, 1000)).unwrap();
        assert!(matches!(Folder::open(&settings(&path, 1000)), Err(RecordError::InUse { .. })));
        folder.put_response(&digest('a'), b"{}", &name(1)).unwrap();
        folder.put_trace(&name(1), "x").unwrap();
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(path.clone()), 0o700);
        assert_eq!(mode(path.join(RESPONSES)), 0o700);
        assert_eq!(mode(path.join(RESPONSES).join(digest('a') + ".json")), 0o600);
        assert_eq!(mode(path.join(name(1) + SUFFIX)), 0o600);
    }

    #[test]
    fn a_response_that_was_deleted_by_hand_is_written_again() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(RESPONSES).join(digest('a') + ".json");
        let mut folder = Folder::open(&settings(home.path(), 1000)).unwrap();
        folder.put_response(&digest('a'), b"{}", &name(1)).unwrap();
        fs::remove_file(&file).unwrap();
        drop(folder);
        let mut folder = Folder::open(&settings(home.path(), 1000)).unwrap();
        folder.put_response(&digest('a'), b"{}", &name(2)).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"{}");
    }

    #[test]
    fn what_is_deleted_or_damaged_beside_it_is_whole_again_in_the_next_trace() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(RESPONSES).join(digest('a') + ".json");
        let mut folder = Folder::open(&settings(home.path(), 1000)).unwrap();
        let mut put = |second| folder.put_response(&digest('a'), b"{}", &name(second)).unwrap();
        put(1);
        fs::remove_file(&file).unwrap();
        put(2);
        assert_eq!(fs::read(&file).unwrap(), b"{}");
        fs::write(&file, "").unwrap();
        put(3);
        assert_eq!(fs::read(&file).unwrap(), b"{}");
        drop(folder);
        // As long as it was, but not what it was.
        fs::write(&file, [0, 0]).unwrap();
        let mut folder = Folder::open(&settings(home.path(), 1000)).unwrap();
        tidied(&mut folder, SystemTime::now());
        folder.put_response(&digest('a'), b"{}", &name(4)).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"{}");
    }

    #[test]
    fn a_folder_that_is_gone_is_made_anew_and_still_locked() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("traces");
        let mut folder = Folder::open(&settings(&path, 1000)).unwrap();
        fs::remove_dir_all(&path).unwrap();
        assert!(folder.put_trace(&name(1), "x").is_err());
        folder.mend().unwrap();
        folder.put_response(&digest('a'), b"{}", &name(1)).unwrap();
        folder.put_trace(&name(1), "x").unwrap();
        assert!(matches!(Folder::open(&settings(&path, 1000)), Err(RecordError::InUse { .. })));
        // Another host was quicker: this one keeps out.
        fs::remove_dir_all(&path).unwrap();
        let _other = Folder::open(&settings(&path, 1000)).unwrap();
        assert!(matches!(folder.mend(), Err(RecordError::InUse { .. })));
    }

    #[test]
    fn much_that_is_there_is_looked_at_in_steps_and_what_is_written_meanwhile_is_counted_once() {
        let home = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(&settings(home.path(), u64::MAX)).unwrap();
        let count = SLICE as u64 + 10;
        for second in 1..=count {
            folder.put_trace(&name(second), "x").unwrap();
        }
        drop(folder);
        let mut folder = Folder::open(&settings(home.path(), 20)).unwrap();
        assert_eq!(folder.bytes(), 0);
        folder.put_trace(&name(count), "x").unwrap();
        assert!(folder.tidy(SystemTime::now()).unwrap());
        tidied(&mut folder, SystemTime::now());
        assert_eq!(folder.bytes(), 20);
        assert_eq!(files(home.path()), (count - 19..=count).map(name).collect::<Vec<_>>());
    }
}
