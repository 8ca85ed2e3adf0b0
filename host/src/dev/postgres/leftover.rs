//! A server that outlived its host: found by the pid file in its cluster, and stopped.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use super::error::Error;

/// A fast shutdown writes a checkpoint.
pub(super) const STOP: Duration = Duration::from_secs(30);

/// Returns when no server of an earlier host works on this cluster.
///
/// Only for whoever holds the folder's lock: the server has no living host then.
pub(super) async fn stop(cluster: &Path) -> Result<(), Error> {
    let Some(pid) = server(cluster) else {
        forget_dead_server(cluster);
        return Ok(());
    };
    let number = pid.as_raw_nonzero().get();
    tracing::info!(name: "dev.postgres_leftover", pid = number, "stopping a Postgres that an earlier run left behind");
    let deadline = Instant::now() + STOP;
    let _ = kill_process(pid, Signal::INT);
    while server(cluster) == Some(pid) {
        if Instant::now() > deadline {
            return Err(Error::Leftover { pid: number, path: cluster.to_owned() });
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    Ok(())
}

/// Removes the pid file of a server that was killed, where no process works in the cluster any more.
///
/// Postgres does so itself, but not while the number in the file is a process of the same user: a stranger's, as after
/// the restart of a container, or a zombie's that no init collects. Only Linux tells where a process works.
fn forget_dead_server(cluster: &Path) {
    let Ok(processes) = fs::read_dir("/proc") else { return };
    let works_here = |process: fs::DirEntry| fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == cluster);
    if cfg!(target_os = "linux") && !processes.flatten().any(works_here) {
        let _ = fs::remove_file(cluster.join("postmaster.pid"));
    }
}

/// The last resort: the server recovers from its log at the next start.
pub(super) fn end_at_once(cluster: &Path) {
    if let Some(pid) = server(cluster) {
        let _ = kill_process(pid, Signal::QUIT);
    }
}

/// The live server of this cluster.
fn server(cluster: &Path) -> Option<Pid> {
    let file = fs::read_to_string(cluster.join("postmaster.pid")).ok()?;
    let pid = Pid::from_raw(file.lines().next()?.trim().parse().ok()?)?;
    works_in(pid, cluster).then_some(pid)
}

/// Whether the process is that server, and not a stranger that was given a dead server's number.
fn works_in(pid: Pid, cluster: &Path) -> bool {
    let pid = pid.as_raw_nonzero();
    if cfg!(target_os = "linux") {
        return fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|folder| folder == cluster);
    }
    let ps = std::process::Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()]).output();
    ps.is_ok_and(|ps| String::from_utf8_lossy(&ps.stdout).contains(&*cluster.to_string_lossy()))
}
