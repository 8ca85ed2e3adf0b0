//! A component file that is watched by looking at it: that works on every file system, in every container, and through
//! every link, which notifications of the kernel do not.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::seen::Seen;
use crate::sandbox::{self, Refusal};
use crate::storage::digest_of;
use crate::swap::candidate::{Candidate, LARGEST_COMPONENT, LONGEST_SIGNATURE, SIGNATURE_SUFFIX};

/// How often to look.
const EVERY: Duration = Duration::from_millis(100);
/// Looks in a row that must show the same, before the file is read.
const QUIET: u32 = 1;
/// The same for a file that looks cut off: somebody may still be writing it, slowly.
const QUIET_WHEN_CUT_OFF: u32 = 30;

/// Watches a component file.
pub struct FileSource {
    files: Arc<Files>,
    ticks: Interval,
    seen: Option<Seen>,
    /// What the last look showed.
    shown: Option<Identity>,
    /// For how many looks it has been the same.
    quiet: u32,
    /// Looks that are needed before it is read; none when what is shown was dealt with.
    wanted: Option<u32>,
    /// What was logged last, so that it is logged once.
    problem: Option<String>,
}

impl FileSource {
    /// Watches a path, and `PATH.minisig` beside it. `loaded` is the digest of what was loaded from it already.
    pub fn new(component: PathBuf, loaded: Option<String>) -> Self {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            files: Arc::new(Files::of(component)),
            ticks,
            seen: loaded.map(Seen::loaded),
            shown: None,
            quiet: 0,
            wanted: None,
            problem: None,
        }
    }

    /// Waits for a component, or a signature of it, that was not offered before. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Candidate {
        loop {
            self.ticks.tick().await;
            // Quick on a disk, but a network file system may hang.
            match self.in_background(Files::identity).await {
                Ok(identity) => self.note(identity),
                Err(error) => {
                    self.shown = None;
                    self.complain(match error.kind() {
                        io::ErrorKind::NotFound => "it is gone; waiting for it to come back".to_owned(),
                        _ => error.to_string(),
                    });
                    continue;
                }
            }
            if self.wanted.is_none_or(|wanted| self.quiet < wanted) {
                continue;
            }
            let read = self.in_background(Files::read).await;
            // No await from here on: whoever drops this future has not lost what was read.
            match read {
                Ok((identity, ..)) if self.shown.as_ref() != Some(&identity) => self.note(identity),
                Ok((_, bytes, signature)) => {
                    if let Some(candidate) = self.judge(bytes, signature) {
                        return candidate;
                    }
                }
                Err(error) => {
                    self.complain(error.to_string());
                    self.wanted = None;
                }
            }
        }
    }

    /// Offers once more what is there now, seen or not.
    pub fn recheck(&mut self) {
        self.seen = None;
        self.shown = None;
    }

    async fn in_background<T: Send + 'static>(&self, ask: fn(&Files) -> io::Result<T>) -> io::Result<T> {
        let files = Arc::clone(&self.files);
        tokio::task::spawn_blocking(move || ask(&files)).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    fn note(&mut self, identity: Identity) {
        if self.shown.as_ref() == Some(&identity) {
            self.quiet = self.quiet.saturating_add(1);
            return;
        }
        self.shown = Some(identity);
        self.quiet = 0;
        self.wanted = Some(QUIET);
    }

    /// Decides by content. None: it was seen before, or it looks cut off and gets more time.
    fn judge(&mut self, bytes: Vec<u8>, signature: Option<String>) -> Option<Candidate> {
        let digest = digest_of(&bytes);
        let known = self.seen.as_ref().is_some_and(|seen| seen.is(&digest, signature.as_deref()));
        let cut_off = || matches!(sandbox::inspect(&bytes).1, Err(Refusal::Empty | Refusal::Damaged(_)));
        if !known && self.quiet < QUIET_WHEN_CUT_OFF && cut_off() {
            self.wanted = Some(QUIET_WHEN_CUT_OFF);
            return None;
        }
        self.seen = Some(Seen::offered(digest, signature.clone()));
        self.wanted = None;
        self.problem = None;
        (!known).then(|| Candidate { name: self.files.component.display().to_string(), bytes, signature })
    }

    fn complain(&mut self, problem: String) {
        if self.problem.as_ref() != Some(&problem) {
            tracing::warn!(
                name: "swap.file_unreadable",
                file = %self.files.component.display(),
                "the component's file is not read: {problem}"
            );
            self.problem = Some(problem);
        }
    }
}

/// The component and the signature beside it.
struct Files {
    component: PathBuf,
    signature: PathBuf,
}

impl Files {
    fn of(component: PathBuf) -> Self {
        let mut signature = component.clone().into_os_string();
        signature.push(SIGNATURE_SUFFIX);
        Self { component, signature: signature.into() }
    }

    fn identity(&self) -> io::Result<Identity> {
        let component = fs::metadata(&self.component)?;
        if !component.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        Ok(Identity { component: stat(&component), signature: fs::metadata(&self.signature).ok().map(|it| stat(&it)) })
    }

    /// What they hold, and what they were once it had been read.
    fn read(&self) -> io::Result<(Identity, Vec<u8>, Option<String>)> {
        let bytes = read_bounded(&self.component, LARGEST_COMPONENT)?
            .ok_or_else(|| io::Error::other(format!("it has more than {LARGEST_COMPONENT} bytes")))?;
        let signature = match read_bounded(&self.signature, LONGEST_SIGNATURE) {
            // What is too long is no signature: that is for those to say who check it.
            Ok(text) => Some(text.unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                return Err(io::Error::new(error.kind(), format!("{}: {error}", self.signature.display())));
            }
        };
        let signature = signature.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok((self.identity()?, bytes, signature))
    }
}

/// Which files they are and when they changed. Only for noticing that it is worth reading them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    component: Stat,
    signature: Option<Stat>,
}

/// Device, inode, size, and the times of the last change of content and of anything.
type Stat = (u64, u64, u64, (i64, i64), (i64, i64));

fn stat(found: &Metadata) -> Stat {
    let (modified, changed) = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
    (found.dev(), found.ino(), found.size(), modified, changed)
}

/// None when there is more of it.
fn read_bounded(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sandbox::EMBEDDED;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;
    use tokio::time::{sleep, timeout};

    /// Longer than a change takes to be noticed, and than one that looks cut off is given.
    const PATIENCE: Duration = Duration::from_secs(30);
    /// Several looks.
    const A_WHILE: Duration = Duration::from_millis(600);

    /// The real component with something behind it that changes nothing but its digest.
    fn component(number: u8) -> Vec<u8> {
        [EMBEDDED, &[0, 3, 1, b'n', number]].concat()
    }

    struct Watched {
        folder: TempDir,
        source: FileSource,
    }

    impl Watched {
        /// Number 0 is there and loaded.
        fn new() -> Self {
            let folder = TempDir::new().unwrap();
            fs::write(folder.path().join("w.wasm"), component(0)).unwrap();
            let source = FileSource::new(folder.path().join("w.wasm"), Some(digest_of(&component(0))));
            Self { folder, source }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        /// As careful people do it.
        fn rename_in(&self, bytes: &[u8]) {
            fs::write(self.path("new"), bytes).unwrap();
            fs::rename(self.path("new"), self.path("w.wasm")).unwrap();
        }

        async fn offers(&mut self, bytes: &[u8], signature: Option<&str>) {
            let candidate = timeout(PATIENCE, self.source.next()).await.unwrap();
            assert_eq!(digest_of(&candidate.bytes), digest_of(bytes), "{} bytes", candidate.bytes.len());
            assert_eq!(candidate.signature.as_deref(), signature);
            assert!(candidate.name.ends_with("w.wasm"), "{}", candidate.name);
        }

        async fn offers_nothing(&mut self) {
            assert!(timeout(A_WHILE, self.source.next()).await.is_err());
        }
    }

    #[tokio::test]
    async fn a_file_that_is_renamed_into_place_is_offered_once() {
        let mut watched = Watched::new();
        watched.offers_nothing().await;
        watched.rename_in(&component(1));
        watched.offers(&component(1), None).await;
        watched.offers_nothing().await;
        // Back to what was there before is a change, too.
        watched.rename_in(&component(0));
        watched.offers(&component(0), None).await;
    }

    #[tokio::test]
    async fn what_changed_before_the_watch_began_is_offered() {
        let mut watched = Watched::new();
        watched.rename_in(&component(1));
        watched.offers(&component(1), None).await;
    }

    #[tokio::test]
    async fn a_slow_rewrite_in_place_is_offered_whole() {
        let mut watched = Watched::new();
        let (path, new) = (watched.path("w.wasm"), component(1));
        let writer = tokio::spawn(async move {
            let mut file = File::create(path).unwrap();
            for chunk in new.chunks(new.len() / 5 + 1) {
                std::io::Write::write_all(&mut file, chunk).unwrap();
                // Long enough for it to look finished.
                sleep(3 * EVERY).await;
            }
        });
        watched.offers(&component(1), None).await;
        writer.await.unwrap();
        watched.offers_nothing().await;
    }

    #[tokio::test]
    async fn a_file_that_stays_cut_off_is_offered_so_that_it_is_refused() {
        let mut watched = Watched::new();
        let half = EMBEDDED.get(..EMBEDDED.len() / 2).unwrap();
        for bytes in [half, b""] {
            watched.rename_in(bytes);
            watched.offers(bytes, None).await;
        }
        watched.rename_in(b"no component at all");
        watched.offers(b"no component at all", None).await;
    }

    #[tokio::test]
    async fn a_touch_is_no_change() {
        let mut watched = Watched::new();
        watched.offers_nothing().await;
        File::open(watched.path("w.wasm")).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
        watched.offers_nothing().await;
        watched.rename_in(&component(0));
        watched.offers_nothing().await;
        // Unless somebody asks.
        watched.source.recheck();
        watched.offers(&component(0), None).await;
    }

    #[tokio::test]
    async fn a_file_that_vanishes_is_waited_for() {
        let mut watched = Watched::new();
        fs::remove_file(watched.path("w.wasm")).unwrap();
        watched.offers_nothing().await;
        fs::create_dir(watched.path("w.wasm")).unwrap();
        watched.offers_nothing().await;
        fs::remove_dir(watched.path("w.wasm")).unwrap();
        watched.rename_in(&component(0));
        watched.offers_nothing().await;
        fs::remove_file(watched.path("w.wasm")).unwrap();
        watched.offers_nothing().await;
        watched.rename_in(&component(1));
        watched.offers(&component(1), None).await;
    }

    /// As Kubernetes changes a ConfigMap: w.wasm → data/w.wasm, data → version-1.
    #[tokio::test]
    async fn a_link_that_is_turned_elsewhere_is_followed() {
        let mut watched = Watched::new();
        for number in [0, 1] {
            let version = watched.path(&format!("version-{number}"));
            fs::create_dir(&version).unwrap();
            fs::write(version.join("w.wasm"), component(number)).unwrap();
            fs::write(version.join("w.wasm.minisig"), format!("by {number}")).unwrap();
        }
        symlink("version-0", watched.path("data")).unwrap();
        fs::remove_file(watched.path("w.wasm")).unwrap();
        symlink("data/w.wasm", watched.path("w.wasm")).unwrap();
        symlink("data/w.wasm.minisig", watched.path("w.wasm.minisig")).unwrap();
        watched.offers_nothing().await;
        symlink("version-1", watched.path("turned")).unwrap();
        fs::rename(watched.path("turned"), watched.path("data")).unwrap();
        watched.offers(&component(1), Some("by 1")).await;
    }

    #[tokio::test]
    async fn a_signature_that_comes_later_is_noticed() {
        let mut watched = Watched::new();
        watched.rename_in(&component(1));
        watched.offers(&component(1), None).await;
        fs::write(watched.path("w.wasm.minisig"), "signed").unwrap();
        watched.offers(&component(1), Some("signed")).await;
        fs::write(watched.path("w.wasm.minisig"), "signed").unwrap();
        watched.offers_nothing().await;
        fs::write(watched.path("w.wasm.minisig"), [0xff; 20]).unwrap();
        watched.offers(&component(1), Some(&"\u{FFFD}".repeat(20))).await;
    }

    #[tokio::test]
    async fn who_is_interrupted_all_the_time_still_offers_it() {
        let mut watched = Watched::new();
        watched.rename_in(&component(1));
        let offered = timeout(PATIENCE, async {
            loop {
                if let Ok(candidate) = timeout(Duration::from_millis(7), watched.source.next()).await {
                    return candidate;
                }
            }
        });
        assert_eq!(digest_of(&offered.await.unwrap().bytes), digest_of(&component(1)));
    }
}
