//! Compiled components are kept between starts, where nobody else can change them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tests::{Finished, HostCommand};

use crate::support::RESPONSE;

/// What is read from [`RESPONSE`], whatever it is: no error.
const READ: &str = r#"one.json","vendor":"#;

struct Folder {
    root: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("one.json"), RESPONSE).unwrap();
        Self { root }
    }

    fn cache(&self) -> PathBuf {
        self.root.path().join("cache/compiled")
    }

    async fn parse(&self, cache: &Path) -> Finished {
        let parse = HostCommand::bare().arg("parse").arg(self.root.path().join("one.json"));
        let ran = parse.env("WORKER_CACHE_DIR", cache).env("HOME", self.root.path()).run().await.unharmed();
        assert!(ran.stdout.contains(READ), "{}", ran.stdout);
        ran
    }

    /// The one compiled component, and which file it is.
    fn compiled(&self) -> (PathBuf, u64) {
        let files: Vec<PathBuf> = fs::read_dir(self.cache()).unwrap().map(|entry| entry.unwrap().path()).collect();
        let [file] = &files[..] else { panic!("{files:?}") };
        assert!(file.to_str().unwrap().ends_with(".cwasm"));
        (file.clone(), fs::metadata(file).unwrap().ino())
    }
}

#[tokio::test]
async fn the_second_start_does_not_compile() {
    let folder = Folder::new();
    folder.parse(&folder.cache()).await;
    assert_eq!(fs::metadata(folder.cache()).unwrap().permissions().mode() & 0o777, 0o700);
    let first = folder.compiled();
    let ran = folder.parse(&folder.cache()).await;
    assert_eq!(folder.compiled(), first, "a compilation puts a new file there");
    assert!(ran.stderr.is_empty(), "{}", ran.stderr);
}

#[tokio::test]
async fn a_file_that_does_not_fit_is_compiled_anew() {
    let folder = Folder::new();
    folder.parse(&folder.cache()).await;
    let (file, _) = folder.compiled();
    let whole = fs::read(&file).unwrap();
    for damaged in [Vec::new(), b"garbage".to_vec(), whole[..whole.len() / 2].to_vec(), vec![0; whole.len()]] {
        fs::write(&file, damaged).unwrap();
        let ran = folder.parse(&folder.cache()).await;
        assert!(ran.logged_with("compile_cache.unusable", ".cwasm"), "{}", ran.stderr);
        assert_eq!(fs::read(&file).unwrap().len(), whole.len(), "it is put right");
        assert!(folder.parse(&folder.cache()).await.stderr.is_empty());
    }
}

#[tokio::test]
async fn a_folder_that_others_can_change_is_not_used() {
    let folder = Folder::new();
    folder.parse(&folder.cache()).await;
    let (file, inode) = folder.compiled();
    fs::set_permissions(folder.cache(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(&file, b"planted").unwrap();
    let ran = folder.parse(&folder.cache()).await;
    assert!(ran.logged_with("compile_cache.off", "777"), "{}", ran.stderr);
    assert!(!ran.logged("compile_cache.unusable"), "it is not even read: {}", ran.stderr);
    assert_eq!((fs::read(&file).unwrap(), folder.compiled().1), (b"planted".to_vec(), inode));

    // A link into a folder of somebody else's is no folder of ours.
    let link = folder.root.path().join("link");
    std::os::unix::fs::symlink(folder.root.path(), &link).unwrap();
    assert!(folder.parse(&link).await.logged("compile_cache.off"));
    // Nor is a file one.
    assert!(folder.parse(&folder.root.path().join("one.json")).await.logged("compile_cache.off"));
    // And nobody needs one.
    assert!(folder.parse(Path::new("")).await.stderr.is_empty());
}

/// Where address space is short there is no pool, and everything works.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_machine_that_grants_little_address_space_will_do() {
    let folder = Folder::new();
    let parse = async |kib: &str, flags: &[&str]| {
        let shell = format!("ulimit -v {kib}; exec \"$@\"");
        let real = HostCommand::bare().into_inner();
        let command = HostCommand::of("sh").args(["-c", &shell, "sh"]).arg(real.as_std().get_program());
        let parse = command.args(["parse", "--jobs", "8"]).arg(folder.root.path().join("one.json")).args(flags);
        let ran = parse.env("WORKER_CACHE_DIR", "off").run().await;
        assert!(ran.logged("sandbox.not_pooled"), "{kib}: {}", ran.stderr);
        ran
    };
    for kib in ["20000000", "3000000"] {
        let ran = parse(kib, &[]).await.unharmed();
        assert!(ran.stdout.contains(READ), "{kib}: {}{}", ran.stdout, ran.stderr);
    }
    // The limits are the same there, only that they are found out later.
    for flags in
        [["--max-memory", "64KiB"], ["--max-table-elements", "1"], ["--max-tables", "1"], ["--max-instances", "1"]]
    {
        let ran = parse("3000000", &flags).await;
        assert_eq!(ran.code, Some(1), "{flags:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(flags[0]) && !ran.stderr.contains("panicked"), "{flags:?}: {}", ran.stderr);
    }
}
