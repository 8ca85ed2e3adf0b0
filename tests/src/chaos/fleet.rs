//! The hosts as somebody's supervisor keeps them: what ends is started again. And as the plan ends and stops them.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::sync::watch;

use super::figures::Zombies;
use super::plan::{HostFault, Timeline};
use super::stage::Stage;
use crate::Running;

/// What a lost lease says in the log.
const LOST: &str = "lease lost";
/// Longer than a drain takes.
const DRAINS: Duration = Duration::from_secs(60);

/// What happened to a host.
#[derive(Debug, Default)]
pub struct Record {
    pub kills: u64,
    pub stops: u64,
    pub failed_starts: u64,
    pub zombies: Zombies,
    /// What must not happen.
    pub problems: Vec<String>,
}

/// Keeps a host running, but for its faults, until the end.
pub async fn keep(
    stage: &Stage,
    host: usize,
    faults: &Timeline<HostFault>,
    started: Instant,
    end: watch::Receiver<bool>,
) -> Record {
    let mut record = Record::default();
    let mut faults = faults.iter().peekable();
    let mut process = Process::start(stage, host);
    while !*end.borrow() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if process.running.has_ended() {
            record.ended_by_itself(host, process).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            process = Process::start(stage, host);
        }
        let Some((_, fault)) = faults.next_if(|(at, _)| *at <= started.elapsed()) else { continue };
        match *fault {
            HostFault::Kill { down } => {
                record.kills += 1;
                record.read(host, process.woke_at, &process.running.kill().await);
                tokio::time::sleep(down).await;
                process = Process::start(stage, host);
            }
            HostFault::Stop { asleep } => {
                record.stops += 1;
                process.running.signal(Signal::STOP);
                tokio::time::sleep(asleep).await;
                process.woke_at.push(process.running.log().len());
                process.running.signal(Signal::CONT);
            }
        }
    }
    record.stop(host, process).await;
    record
}

struct Process {
    running: Running,
    /// Where in its log it woke up.
    woke_at: Vec<usize>,
}

impl Process {
    fn start(stage: &Stage, host: usize) -> Self {
        Self { running: stage.host(host).spawn(), woke_at: Vec::new() }
    }
}

impl Record {
    async fn ended_by_itself(&mut self, host: usize, mut process: Process) {
        let status = process.running.ended();
        let log = process.running.kill().await;
        if log.contains("working component") {
            self.problems.push(format!("host {host} ended by itself ({status:?}):\n{}", tail(&log)));
        } else {
            self.failed_starts += 1;
        }
        self.read(host, process.woke_at, &log);
    }

    async fn stop(&mut self, host: usize, mut process: Process) {
        if !process.running.has_ended() {
            process.running.signal(Signal::TERM);
        }
        let asked = Instant::now();
        while !process.running.has_ended() && asked.elapsed() < DRAINS {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let status = process.running.ended();
        let log = process.running.kill().await;
        if !status.is_some_and(|status| status.success()) {
            self.problems.push(format!("host {host} did not drain ({status:?}):\n{}", tail(&log)));
        }
        self.read(host, process.woke_at, &log);
    }

    fn read(&mut self, host: usize, woke_at: Vec<usize>, log: &str) {
        self.zombies.woke += woke_at.len() as u64;
        let ends = woke_at.iter().skip(1).copied().chain([log.len()]);
        let said_so = woke_at.iter().zip(ends).filter(|&(&from, to)| log[from..to].contains(LOST));
        self.zombies.said_so += said_so.count() as u64;
        self.zombies.leases_lost += log.lines().filter(|line| line.contains(LOST)).count() as u64;
        if log.contains("panicked") {
            self.problems.push(format!("host {host} panicked:\n{}", tail(log)));
        }
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}
