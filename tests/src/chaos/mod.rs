//! Everything goes wrong at once: hosts are killed and stopped for longer than their leases, Postgres is restarted,
//! crashed and its backends terminated, S3 and Textract answer late, badly, half or never, the component is swapped for
//! one that traps, and people edit, delete and replace receipts meanwhile. Afterwards every receipt has to have come to
//! its end, and the oracle must have nothing to say, neither during the run nor after it.
//!
//! The seed decides what is done when and to whom ([`plan`]), and the sequence of faults that each host's requests to each
//! service meet. It does not decide what they hit: that is up to the scheduler of the machine, so that the same seed is
//! the same storm, not the same shipwreck.

mod bill;
mod figures;
mod fleet;
mod people;
mod plan;
mod proxy;
mod stage;
pub(crate) mod wire;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio_postgres::Client;

pub use figures::{Faults, Outcomes, Paid, Report, RequestFaults, Zombies};

use self::fleet::Record;
use self::plan::{BadGuest, DatabaseFault, Plan, Timeline};
use self::proxy::Weather;
use self::stage::{Running, Stage};
use crate::candidates;
use crate::oracle::{self, Violation};

/// Short, so that many of them end in a run.
const LEASE: Duration = Duration::from_secs(2);
const MAX_ATTEMPTS: i32 = 5;

/// A slow machine must not have its peace for most of the work.
const LONGEST: u32 = 6;
/// Percent of the receipts that are settled before the faults end.
const MOST: i64 = 90;

/// How large a run is.
#[derive(Debug, Clone)]
pub struct Settings {
    pub seed: u64,
    pub receipts: u32,
    pub hosts: usize,
    /// Receipts that each host works at the same time.
    pub concurrency: usize,
    /// How long things go wrong, at least: they go on until most receipts are settled, or until it is [`LONGEST`] times
    /// as long. Receipts arrive in the first four fifths of it.
    pub faults_for: Duration,
    /// When nothing was settled for so long after the faults, what is left is called stuck.
    pub patience: Duration,
    /// The host to be tried; the one beside the tests, if not given.
    pub host: Option<PathBuf>,
    /// Where the hosts' logs are kept, one file a host; nowhere, if not given.
    pub logs: Option<PathBuf>,
}

/// Where a run is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    pub inserted: u32,
    /// Queued, and not settled.
    pub open: i64,
    /// Whether things still go wrong.
    pub faults: bool,
    /// Violations so far.
    pub violations: usize,
}

/// A seed that nobody chose, short enough to be typed again.
pub fn random_seed() -> u64 {
    fastrand::u64(..1_000_000)
}

/// Runs it. The report has violations when the worker, or this, is broken.
pub async fn run(settings: &Settings, progress: impl Fn(Progress)) -> Report {
    let plan = Plan::new(settings.seed, settings.hosts, settings.faults_for, LONGEST, LEASE);
    // Built now, and not when the first is due: it may take minutes.
    tokio::task::spawn_blocking(candidates::traps).await.unwrap();
    let (mut stage, postgres) = Stage::build(settings).await;
    let (set_over, over) = watch::channel(false);
    let bill = bill::Bill::default();
    stage.upload(&bill).await;
    let clock = Clock { started: Instant::now(), over };
    let weather = Arc::new(Weather::new(clock.clone(), plan.storms.clone(), bill));
    stage.open_doors(&plan, &weather).await;
    let stage = &stage;

    let (set_end, end) = watch::channel(false);
    let inserted = &AtomicU32::new(0);
    let seen = &Mutex::new(Seen::default());
    let fleet = join_all(
        plan.hosts.iter().enumerate().map(|(host, faults)| fleet::keep(stage, host, faults, &clock, end.clone())),
    );
    let faults = async {
        let arrivals = settings.faults_for * 4 / 5;
        let mostly_settled = async {
            mostly_settled(stage, settings, clock.started).await;
            let _ = set_over.send(true);
        };
        tokio::join!(
            mostly_settled,
            people::insert(stage, settings.receipts, arrivals, clock.started, inserted),
            people::live(stage, &plan.people, &clock, inserted),
            torment(stage, postgres, &plan.database, &clock),
            change_guests(stage, &plan.guests, &clock),
        )
    };
    let story = async {
        let ((), (), deeds, (postgres, mut torments), bad_guests) = faults.await;
        torments.seconds = clock.started.elapsed().as_secs_f64();
        let in_the_end = drain(stage, settings.patience).await;
        let _ = set_end.send(true);
        (torments.deeds, torments.bad_guests) = (deeds, bad_guests);
        (postgres, torments, in_the_end)
    };
    let watching = watch_over(stage, seen, end.clone(), |open, violations| {
        let inserted = inserted.load(Ordering::Relaxed);
        progress(Progress { inserted, open, faults: !clock.is_over(), violations });
    });
    let (records, (postgres, torments, stuck), ()) = tokio::join!(fleet, story, watching);
    let left = stage.work_what_is_left().await;

    let mut report = Report {
        seed: settings.seed,
        hosts: settings.hosts,
        seconds: clock.started.elapsed().as_secs_f64(),
        faults: torments,
        ..Report::default()
    };
    report.outcomes.put_back_in_the_end = left;
    report.violations.extend(stuck);
    report.hosts_told(&records);
    report.judged(stage, settings, &weather, seen).await;
    postgres.stop().await;
    report
}

/// The time of a run's faults.
#[derive(Debug, Clone)]
struct Clock {
    started: Instant,
    over: watch::Receiver<bool>,
}

impl Clock {
    /// Waits until it is so late. False when the faults are over before.
    async fn reaches(&self, at: Duration) -> bool {
        let mut over = self.over.clone();
        tokio::select! {
            biased;
            _ = over.wait_for(|over| *over) => false,
            () = tokio::time::sleep_until((self.started + at).into()) => true,
        }
    }

    fn is_over(&self) -> bool {
        *self.over.borrow()
    }
}

/// Returns when the faults have done enough.
async fn mostly_settled(stage: &Stage, settings: &Settings, started: Instant) {
    tokio::time::sleep_until((started + settings.faults_for).into()).await;
    while started.elapsed() < settings.faults_for * LONGEST {
        if let Some(client) = stage.connect().await
            && let Ok(open) = open(&client).await
            && open * 100 <= i64::from(settings.receipts) * (100 - MOST)
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// What was seen during the run.
#[derive(Default)]
struct Seen {
    looks: u64,
    violations: BTreeSet<Violation>,
}

/// Asks the oracle again and again until the end.
async fn watch_over(stage: &Stage, seen: &Mutex<Seen>, mut end: watch::Receiver<bool>, tell: impl Fn(i64, usize)) {
    while !*end.borrow() {
        if let Some(client) = stage.connect().await
            && let Ok(violations) = oracle::look(&client, MAX_ATTEMPTS).await
            && let Ok(open) = open(&client).await
        {
            let mut seen = seen.lock().unwrap();
            seen.looks += 1;
            seen.violations.extend(violations);
            tell(open, seen.violations.len());
        }
        let _ = tokio::time::timeout(Duration::from_secs(1), end.changed()).await;
    }
}

/// Restarts, crashes and cuts. Returns the Postgres that runs in the end.
async fn torment(
    stage: &Stage,
    mut postgres: Running,
    faults: &Timeline<DatabaseFault>,
    clock: &Clock,
) -> (Running, Faults) {
    let mut counts = Faults::default();
    for (at, fault) in faults {
        if !clock.reaches(*at).await {
            break;
        }
        match *fault {
            DatabaseFault::Restart { down } => {
                counts.postgres_restarts += 1;
                postgres = postgres.restart(true, down).await;
            }
            DatabaseFault::Crash { down } => {
                counts.postgres_crashes += 1;
                postgres = postgres.restart(false, down).await;
            }
            DatabaseFault::Terminate { percent, times } => {
                let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE application_name LIKE 'receipt-worker%' AND random() * 100 < $1::integer";
                for _ in 0..times {
                    if let Some(client) = stage.connect().await
                        && let Ok(row) = client.query_one(sql, &[&i32::from(percent)]).await
                    {
                        counts.backends_terminated += u64::try_from(row.get::<_, i64>(0)).unwrap_or_default();
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
    (postgres, counts)
}

/// Swaps the component for bad ones, and for good ones after them. Returns how many bad ones.
async fn change_guests(stage: &Stage, guests: &Timeline<(BadGuest, Duration)>, clock: &Clock) -> u64 {
    let mut bad_ones = 0;
    for ((at, (bad, stays)), number) in guests.iter().zip(1..) {
        if !clock.reaches(*at).await {
            break;
        }
        bad_ones += 1;
        let stay = clock.reaches(*at + *stays);
        match bad {
            // As an operator swaps: a host that is started meanwhile starts with the good one.
            BadGuest::Traps => {
                let bad = candidates::numbered(candidates::traps(), number);
                tokio::select! { () = async { stage.swap(&bad).await; std::future::pending().await } => {}, _ = stay => {} }
            }
            // As somebody uploads it: a host that is started meanwhile starts with it.
            BadGuest::TrapsOnSome => {
                stage.place(&candidates::numbered(candidates::traps_on_some(), number));
                stay.await;
            }
        }
        stage.place(&candidates::honest(number));
    }
    bad_ones
}

/// Waits until nothing is queued any more. What waits for its next attempt is brought forward, as an operator would after
/// an outage: the component's backoff goes up to 15 minutes. Returns what is wrong when the work does not come to an end.
async fn drain(stage: &Stage, patience: Duration) -> Option<String> {
    let (mut least, mut since) = (i64::MAX, Instant::now());
    loop {
        if let Some(client) = stage.connect().await {
            let hurry = "UPDATE receipt_queue SET available_at = now()
                WHERE NOT processed AND lease_token IS NULL AND available_at > now()";
            let _ = client.execute(hurry, &[]).await;
            match open(&client).await {
                Ok(0) => return None,
                Ok(open) if open < least => (least, since) = (open, Instant::now()),
                _ => {}
            }
        }
        if since.elapsed() > patience {
            return Some(format!("stuck: {least} receipts wait, and none was settled for {} s", patience.as_secs()));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn open(client: &Client) -> Result<i64, tokio_postgres::Error> {
    client.query_one("SELECT count(*) FROM receipt_queue WHERE NOT processed", &[]).await?.try_get(0)
}

impl Report {
    fn hosts_told(&mut self, records: &[Record]) {
        for record in records {
            self.faults.kills += record.kills;
            self.faults.stops += record.stops;
            self.faults.failed_starts += record.failed_starts;
            self.zombies.woke += record.zombies.woke;
            self.zombies.said_so += record.zombies.said_so;
            self.zombies.leases_lost += record.zombies.leases_lost;
            self.violations.extend(record.problems.iter().cloned());
        }
    }

    async fn judged(&mut self, stage: &Stage, settings: &Settings, weather: &Weather, seen: &Mutex<Seen>) {
        let client = stage.connect().await.expect("Postgres is left in peace by now");
        let mut violations = std::mem::take(&mut seen.lock().unwrap().violations);
        violations.extend(oracle::judge(&client, MAX_ATTEMPTS).await.unwrap());
        violations.extend(oracle::judge_artifacts(&client, &stage.aws.s3, &stage.textract).await.unwrap());
        violations.extend(weather.bill.wasted());
        let violations: Vec<Violation> = violations.into_iter().collect();
        self.looks = seen.lock().unwrap().looks;
        let put_back_in_the_end = self.outcomes.put_back_in_the_end;
        let outcomes = figures::outcomes(&client, settings.receipts.into()).await.unwrap();
        self.outcomes = figures::Outcomes { put_back_in_the_end, ..outcomes };
        self.outcomes.doubled =
            violations.iter().filter(|violation| violation.broken == "it was settled twice").count();
        self.faults.component_changes = figures::component_changes(&client).await.unwrap();
        [self.faults.s3, self.faults.textract] = *weather.counts.lock().unwrap();
        let (calls, photos, most) = weather.bill.calls();
        let textract = &self.faults.textract;
        self.paid = Paid {
            calls,
            photos,
            calls_per_photo: calls as f64 / photos.max(1) as f64,
            most,
            answers_taken_away: textract.half + textract.lost + textract.never,
            wasted: weather.bill.wasted().len(),
        };
        if !violations.is_empty() {
            self.violations.push(oracle::told(&violations));
        }
        if self.outcomes.lost != 0 {
            self.violations.push(format!("{} receipts are lost", self.outcomes.lost));
        }
    }
}
