//! What one run holds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::bindings::snapceit::receipts::types as wit;
use super::deadline::ComputeClock;
use super::limits::{Limiter, Limits};
use super::oracle::Oracle;
use super::tally::Tally;
use super::wasi_context;
use crate::breaker::ServiceBreaker;
use crate::ocr::{OcrApi, Textract};
use crate::queue::{Job, Pump};
use crate::storage::{Artifacts, Image, Images};
use crate::trace::{Recorder, TraceBuilder};

/// What the imports reach: one set for all runs of a host.
pub struct Services {
    /// The queue.
    pub pump: Arc<Pump>,
    /// The source bucket.
    pub images: Images,
    /// The artifact bucket.
    pub artifacts: Artifacts,
    /// OCR.
    pub ocr: Textract,
    /// Tells storage or OCR that fail for every job from jobs that they fail on.
    pub outage: Arc<ServiceBreaker>,
    /// The OCR call that the operator prefers.
    pub api: OcrApi,
    /// How long after it was enqueued a receipt's photo may yet come.
    pub photo_grace: Duration,
    /// Where runs are recorded, if they are.
    pub recorder: Option<Arc<Recorder>>,
    /// Who else wants to see what is read, if anybody.
    pub observer: Option<Arc<dyn Observer>>,
}

/// Sees what was read from each response, while the work goes on.
pub trait Observer: Send + Sync {
    /// A job was completed with this reading of this response. Must not block.
    fn completed(&self, receipt_id: &str, response: Arc<str>, reading: &wit::Receipt);
}

/// The data of a store.
pub struct RunState {
    pub(super) wasi: WasiCtx,
    pub(super) table: ResourceTable,
    pub(super) limiter: Limiter,
    pub(super) clock: ComputeClock,
    /// None while a pure function is called, and while an oracle answers: there is no queue to reach then.
    pub(super) live: Option<Live>,
    /// Answers in place of the world.
    pub(super) oracle: Option<Box<dyn Oracle>>,
    /// Where the run is recorded.
    pub(super) tape: Option<TraceBuilder>,
    pub(super) component: Arc<str>,
    /// Handles given so far.
    pub(super) handles: u32,
    /// Instructions granted, where they are counted.
    pub(super) fuel: u64,
}

/// The world of a run that works the queue.
pub(super) struct Live {
    pub(super) services: Arc<Services>,
    pub(super) tally: Arc<Tally>,
    /// Jobs meant for this run that the component has not claimed yet.
    pub(super) assigned: VecDeque<Job>,
    /// The images that it was given, as long as it holds them.
    pub(super) images: Vec<Weak<Image>>,
    /// All jobs that were meant for this run.
    pub(super) given: Vec<Job>,
    /// It has asked for a job to be settled.
    pub(super) settles: bool,
    /// Jobs that it has claimed and not settled.
    pub(super) open: BTreeMap<i64, Job>,
    /// The job that it made its last call about.
    pub(super) current: Option<i64>,
    pub(super) claimed: u32,
    /// OCR calls for each job: they cost money, and no component needs many of them.
    pub(super) ocr_calls: BTreeMap<Option<i64>, u32>,
    /// Jobs on which a dependency failed (the database, S3, OCR), whatever the component makes of it.
    pub(super) dependency_failed: BTreeSet<i64>,
    /// The artifacts that jobs are read from, by key.
    pub(super) artifacts: BTreeMap<i64, String>,
    /// Jobs whose photo is not there, and may yet come.
    pub(super) early: BTreeSet<i64>,
    /// Storage or OCR did what it was asked for.
    pub(super) served: bool,
    /// The response that the component read last, for the observer.
    pub(super) last_response: Option<Arc<str>>,
}

impl Live {
    pub(super) fn new(services: Arc<Services>, tally: Arc<Tally>, jobs: Vec<Job>) -> Self {
        Self {
            services,
            tally,
            images: Vec::new(),
            given: jobs.clone(),
            settles: false,
            assigned: jobs.into(),
            open: BTreeMap::new(),
            current: None,
            claimed: 0,
            ocr_calls: BTreeMap::new(),
            dependency_failed: BTreeSet::new(),
            artifacts: BTreeMap::new(),
            early: BTreeSet::new(),
            served: false,
            last_response: None,
        }
    }
}

impl RunState {
    pub(super) fn new(limits: &Limits, component: &str, seed: u64) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        Self {
            wasi: wasi_context::context(seed, component, limits.log_bytes),
            table,
            limiter: Limiter::new(limits.clone()),
            clock: ComputeClock::new(limits.deadline),
            live: None,
            oracle: None,
            tape: None,
            component: Arc::from(component),
            handles: 0,
            fuel: 0,
        }
    }
}

impl WasiView for RunState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
