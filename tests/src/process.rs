//! The `host` binary as a child process.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::log::events;
use crate::{PATIENCE, cache_dir, eventually, has_event_with};

/// A command line with an environment of its own: nothing of the machine's AWS or database settings gets in.
pub struct HostCommand {
    command: Command,
}

/// How it ended.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Data.
    pub stdout: String,
    /// Log and errors.
    pub stderr: String,
}

/// A child that runs. Killed when dropped.
pub struct Running {
    child: Child,
    stdout: JoinHandle<String>,
    reading: JoinHandle<()>,
    stderr: Arc<Mutex<String>>,
}

impl HostCommand {
    /// `host` with nothing in its environment but PATH, and the tests' compile cache.
    pub fn bare() -> Self {
        Self::of(binary())
    }

    /// Another build of `host`, in the same bare environment.
    pub fn of(binary: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(binary);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("WORKER_CACHE_DIR", cache_dir());
        Self { command }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub fn current_dir(mut self, dir: impl AsRef<std::path::Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// The command as tokio has it, for what this type does not do.
    pub fn into_inner(self) -> Command {
        self.command
    }

    pub fn spawn(mut self) -> Running {
        let mut child = self.command.spawn().unwrap();
        let stdout = tokio::spawn(read_all(child.stdout.take().unwrap()));
        let stderr = Arc::new(Mutex::new(String::new()));
        let (mut lines, log) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&stderr));
        let reading = tokio::spawn(async move {
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).await.is_ok_and(|count| count > 0) {
                log.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Running { child, stdout, reading, stderr }
    }

    /// Runs it to its end.
    pub async fn run(self) -> Finished {
        self.spawn().wait().await
    }
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid().cast_signed()).unwrap(), signal).unwrap();
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Where its admin endpoint listens.
    pub fn admin(&self) -> String {
        let log = self.log();
        let (_, rest) = events(&log, "admin.listening")[0].split_once("address=").unwrap();
        rest.split_whitespace().next().unwrap().to_owned()
    }

    /// How it ended; none while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Whether it runs no more.
    pub fn has_ended(&mut self) -> bool {
        self.ended().is_some()
    }

    /// Waits until the log has this event (docs/events.md).
    pub async fn logged(&mut self, event: &str) {
        self.logged_with(event, "").await
    }

    /// Waits until the log has a line of this event with this in its fields or words.
    pub async fn logged_with(&mut self, event: &str, part: &str) {
        eventually(&format!("{event} {part:?} in the log"), async || {
            // Asked before the log is read: what it said last is in it then.
            let ended = self.child.try_wait().unwrap();
            if has_event_with(&self.log(), event, part) {
                return Some(());
            }
            assert!(ended.is_none(), "ended ({ended:?}) without {event} {part:?}:\n{}", self.log());
            None
        })
        .await
    }

    /// Waits for its end.
    pub async fn wait(mut self) -> Finished {
        let status = match tokio::time::timeout(PATIENCE, self.child.wait()).await {
            Ok(status) => status.unwrap(),
            Err(_) => panic!("the host does not end; its log:\n{}", self.log()),
        };
        let stdout = self.stdout.await.unwrap();
        self.reading.await.unwrap();
        let stderr = self.stderr.lock().unwrap().clone();
        // A component's own panic is a line of its output, and that is marked as such.
        let panicked = stderr.lines().any(|line| line.contains("panicked") && !line.contains("component="));
        assert!(!panicked, "{stderr}");
        Finished { code: status.code(), stdout, stderr }
    }

    /// SIGTERM, then its end.
    pub async fn stop(self) -> Finished {
        self.signal(Signal::TERM);
        self.wait().await
    }

    /// SIGKILL, and no goodbye. Returns what it had logged.
    pub async fn kill(mut self) -> String {
        if self.ended().is_none() {
            self.child.kill().await.unwrap();
        }
        self.reading.await.unwrap();
        self.stderr.lock().unwrap().clone()
    }
}

impl Finished {
    /// Whether it logged this event (docs/events.md).
    pub fn logged(&self, event: &str) -> bool {
        self.logged_with(event, "")
    }

    /// Whether it logged this event with this in its fields or words.
    pub fn logged_with(&self, event: &str, part: &str) -> bool {
        has_event_with(&self.stderr, event, part)
    }

    /// Fails unless it ended well.
    #[track_caller]
    pub fn unharmed(self) -> Self {
        assert_eq!(self.code, Some(0), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails unless it ended well; returns what it printed.
    #[track_caller]
    pub fn ok(self) -> String {
        self.unharmed().stdout
    }

    /// One of the numbers that `run --once` prints.
    #[track_caller]
    pub fn count(&self, name: &str) -> u64 {
        let summary: Value = serde_json::from_str(self.stdout.trim()).unwrap();
        summary[name].as_u64().unwrap()
    }

    /// Fails unless it ended well and printed one line of JSON.
    #[track_caller]
    pub fn json(self) -> Value {
        let text = self.ok();
        serde_json::from_str(text.trim()).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Fails unless it failed with a named error; returns that.
    #[track_caller]
    pub fn error(self) -> String {
        assert_eq!(self.code, Some(1), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        let error = self.stderr.lines().rfind(|line| line.starts_with("error: "));
        error.unwrap_or_else(|| panic!("no error is named:\n{}", self.stderr)).to_owned()
    }

    /// One JSON value a line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(parse).collect()
    }
}

async fn read_all(mut from: impl AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Cargo builds it beside the tests of this package: `host-under-test` is the host by another name.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("HOST_BIN") {
        return path.into();
    }
    profile_folder().join("host-under-test")
}

/// Where cargo puts the programs of this profile: TARGET/PROFILE. Tests are in its `deps`.
pub fn profile_folder() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let folder = program.parent().unwrap();
    let folder = if folder.ends_with("deps") { folder.parent().unwrap() } else { folder };
    folder.to_owned()
}
