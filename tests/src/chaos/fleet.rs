//! The hosts as somebody's supervisor keeps them: what ends is started again. And as the plan ends and stops them.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::sync::watch;

use super::Clock;
use super::figures::Zombies;
use super::plan::{HostFault, Timeline};
use super::stage::Stage;
use crate::{Running, events, has_event};

const LOST: &str = "lease.lost";
const STARTED: &str = "worker.started";
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
    clock: &Clock,
    end: watch::Receiver<bool>,
) -> Record {
    let mut record = Record::default();
    let mut faults = faults.iter().peekable();
    let mut process = Process::start(stage, host);
    while !*end.borrow() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        process.tell_admin();
        if process.running.has_ended() {
            record.ended_by_itself(process).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            process = Process::start(stage, host);
        }
        if clock.is_over() {
            continue;
        }
        let Some((_, fault)) = faults.next_if(|(at, _)| *at <= clock.started.elapsed()) else { continue };
        match *fault {
            HostFault::Kill { down } => {
                record.kills += 1;
                record.read(&process.kill().await);
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
    record.stop(process).await;
    record
}

struct Process<'a> {
    stage: &'a Stage,
    host: usize,
    running: Running,
    /// Where in its log it woke up.
    woke_at: Vec<usize>,
    /// Whether its admin endpoint is known.
    told: bool,
}

impl<'a> Process<'a> {
    fn start(stage: &'a Stage, host: usize) -> Self {
        Self { stage, host, running: stage.host(host).spawn(), woke_at: Vec::new(), told: false }
    }

    /// Where it can be asked for a swap, once it has said so.
    fn tell_admin(&mut self) {
        if self.told {
            return;
        }
        let log = self.running.log();
        if let Some(line) = events(&log, "admin.listening").first() {
            let address = line.split_whitespace().find_map(|word| word.strip_prefix("address="));
            self.stage.admin_is(self.host, address.map(str::to_owned));
            self.told = true;
        }
    }

    /// Ends it, unless it has ended already.
    async fn kill(self) -> Remains {
        let Self { stage, host, running, woke_at, .. } = self;
        stage.admin_is(host, None);
        let log = running.kill().await;
        stage.keep_log(host, &log);
        Remains { host, log, woke_at }
    }
}

/// What is left of a process.
struct Remains {
    host: usize,
    log: String,
    woke_at: Vec<usize>,
}

impl Record {
    async fn ended_by_itself(&mut self, mut process: Process<'_>) {
        let status = process.running.ended();
        let remains = process.kill().await;
        if has_event(&remains.log, STARTED) {
            self.problem(&remains, &format!("ended by itself ({status:?})"));
        } else {
            self.failed_starts += 1;
        }
        self.read(&remains);
    }

    async fn stop(&mut self, mut process: Process<'_>) {
        if !process.running.has_ended() {
            process.running.signal(Signal::TERM);
        }
        let asked = Instant::now();
        while !process.running.has_ended() && asked.elapsed() < DRAINS {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let status = process.running.ended();
        let remains = process.kill().await;
        // One that has just been started, and does not listen to signals yet, has nothing to drain.
        let began = has_event(&remains.log, STARTED);
        if began && !status.is_some_and(|status| status.success()) {
            self.problem(&remains, &format!("did not drain ({status:?})"));
        }
        self.read(&remains);
    }

    fn read(&mut self, remains: &Remains) {
        let Remains { log, woke_at, .. } = remains;
        self.zombies.woke += woke_at.len() as u64;
        let ends = woke_at.iter().skip(1).copied().chain([log.len()]);
        let said_so = woke_at.iter().zip(ends).filter(|&(&from, to)| has_event(&log[from..to], LOST));
        self.zombies.said_so += said_so.count() as u64;
        self.zombies.leases_lost += events(log, LOST).len() as u64;
        if log.contains("panicked") {
            self.problem(remains, "panicked");
        }
    }

    fn problem(&mut self, remains: &Remains, what: &str) {
        let lines: Vec<&str> = remains.log.lines().collect();
        let tail = lines[lines.len().saturating_sub(8)..].join("\n");
        self.problems.push(format!("host {} {what}:\n{tail}", remains.host));
    }
}
