//! The pump's statements in the pump's rhythm: a claim at the low watermark; a full look once a second, or less often where it
//! takes long, with a look for what is exhausted; a settle of the whole batch.

use std::time::{Duration, Instant, SystemTime};

use host::queue::Database;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Statement};

use crate::figures::{Samples, line};

macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("../../../host/src/queue/sql/", $name, ".sql"))
    };
}

/// Jobs of a claim, and of a settle.
pub const BATCH: usize = 100;
const MAX_ATTEMPTS: i32 = 5;
const LEASE: i64 = 30_000;
/// As the pump has it (host/src/queue/claim_loop.rs).
const FULL_LOOK_EVERY: Duration = Duration::from_secs(1);
const FULL_LOOK_SHARE: u32 = 20;
const EVERY: Duration = Duration::from_secs(30);

/// A worker that does nothing but claim and complete.
pub struct Worker {
    client: Client,
    claim: Statement,
    complete: Statement,
    exhausted: Statement,
    next_due: Statement,
    floor: SystemTime,
    last_full: Option<Instant>,
    full_every: Duration,
    pub times: Times,
}

#[derive(Default)]
pub struct Times {
    claim: Samples,
    full_look: Samples,
    exhausted: Samples,
    next_due: Samples,
    settle: Samples,
}

impl Worker {
    pub async fn connect(database: &Database) -> anyhow::Result<Self> {
        let client = database.connect().await?.into_driver();
        const TEXT: Type = Type::TEXT_ARRAY;
        let ids = [Type::INT8_ARRAY, Type::INT8_ARRAY];
        let complete = [&ids[..], &[TEXT, TEXT, TEXT, TEXT, Type::FLOAT8_ARRAY, TEXT, TEXT]].concat();
        let claim = [Type::INT8, Type::INT8, Type::TEXT, Type::INT4, Type::TIMESTAMPTZ];
        Ok(Self {
            claim: client.prepare_typed(sql!("claim"), &claim).await?,
            complete: client.prepare_typed(sql!("complete"), &complete).await?,
            exhausted: client.prepare_typed(sql!("exhausted"), &[Type::INT4, Type::INT8]).await?,
            next_due: client.prepare(sql!("next_due")).await?,
            client,
            floor: SystemTime::UNIX_EPOCH,
            last_full: None,
            full_every: FULL_LOOK_EVERY,
            times: Times::default(),
        })
    }

    /// Claims a batch and completes it. Returns how many jobs there were.
    pub async fn round(&mut self) -> anyhow::Result<usize> {
        let full = self.last_full.is_none_or(|last| last.elapsed() >= self.full_every);
        let (floor, samples) = match full {
            true => (SystemTime::UNIX_EPOCH, &mut self.times.full_look),
            false => (self.floor, &mut self.times.claim),
        };
        let limit = i64::try_from(BATCH)?;
        let started = Instant::now();
        let jobs = samples
            .time(async {
                Ok(self.client.query(&self.claim, &[&limit, &LEASE, &"growth", &MAX_ATTEMPTS, &floor]).await?)
            })
            .await?;
        if full {
            self.last_full = Some(started);
            self.full_every = (started.elapsed() * FULL_LOOK_SHARE).min(EVERY).max(FULL_LOOK_EVERY);
            let exhausted = async { Ok(self.client.query(&self.exhausted, &[&MAX_ATTEMPTS, &limit]).await?) };
            self.times.exhausted.time(exhausted).await?;
            let next = async { Ok(self.client.query_opt(&self.next_due, &[]).await?) };
            self.times.next_due.time(next).await?;
        }
        let (mut ids, mut tokens) = (Vec::new(), Vec::<i64>::new());
        for job in &jobs {
            ids.push(job.try_get::<_, i64>("id")?);
            tokens.push(job.try_get("lease_token")?);
            self.floor = self.floor.max(job.try_get("due_at")?);
        }
        if jobs.is_empty() {
            return Ok(0);
        }
        let of = |text: &str| vec![text.to_owned(); ids.len()];
        let key = format!("ocr/6f1c3a9e-0000-4000-8000-000000000000/{}.detect.json", "0".repeat(64));
        let values =
            (of("BOOK TAK (TAMAN DAYA) SDN BHD"), of("9.60"), of("MYR"), of("2024-03-15"), vec![71.0; ids.len()]);
        let (vendors, totals, currencies, dates, confidences) = &values;
        let (keys, components) = (of(&key), of(&"0".repeat(64)));
        let settle = async {
            let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 9] =
                [&ids, &tokens, vendors, totals, currencies, dates, confidences, &keys, &components];
            Ok(self.client.query(&self.complete, &parameters).await?)
        };
        let settled = self.times.settle.time(settle).await?;
        for row in &settled {
            anyhow::ensure!(row.try_get::<_, bool>("settled")?, "a job was not settled");
        }
        Ok(jobs.len())
    }
}

impl Times {
    /// Prints what was timed since the last time.
    pub fn report(&mut self) -> anyhow::Result<()> {
        let Self { claim, full_look, exhausted, next_due, settle } = self;
        for (name, samples) in [
            ("claim of 100 at the watermark", claim),
            ("claim of 100, full look", full_look),
            ("look for exhausted jobs", exhausted),
            ("look for the next due", next_due),
            ("settle of 100", settle),
        ] {
            line(format!("    {name:<32} {}", samples.take()))?;
        }
        Ok(())
    }
}
