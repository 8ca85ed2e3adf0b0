//! What one run holds.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::deadline::ComputeClock;
use super::limits::{Limiter, Limits};
use super::wasi;
use crate::ocr::{OcrApi, Textract};
use crate::queue::{Job, Pump};
use crate::storage::{Artifacts, Image, Images};

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
    /// The OCR call that the operator prefers.
    pub api: OcrApi,
}

/// The data of a store.
pub struct RunState {
    pub(super) wasi: WasiCtx,
    pub(super) table: ResourceTable,
    pub(super) limiter: Limiter,
    pub(super) clock: ComputeClock,
    /// None while a pure function is called: there is no queue to reach then.
    pub(super) services: Option<Arc<Services>>,
    pub(super) component: Arc<str>,
    /// Jobs meant for this run that the component has not claimed yet.
    pub(super) assigned: VecDeque<Job>,
    /// Jobs that it has claimed and not settled.
    pub(super) open: BTreeMap<i64, Job>,
    /// The job that it made its last call about.
    pub(super) current: Option<i64>,
    pub(super) claimed: u32,
    /// OCR calls for each job: they cost money, and no component needs many of them.
    pub(super) ocr_calls: BTreeMap<Option<i64>, u32>,
}

/// A job in the component's hands.
#[derive(Debug)]
pub struct JobHandle {
    pub(super) job: Job,
    pub(super) seed: u64,
}

/// An image in the component's hands.
#[derive(Debug, Clone)]
pub struct ImageHandle(pub(super) Arc<Image>);

/// An artifact in the component's hands.
#[derive(Debug, Clone)]
pub struct ArtifactHandle {
    pub(super) key: String,
}

/// An OCR answer in the component's hands.
#[derive(Debug)]
pub struct ResponseHandle {
    pub(super) body: Vec<u8>,
    pub(super) image: Arc<Image>,
    pub(super) api: OcrApi,
}

impl RunState {
    pub(super) fn new(
        limits: &Limits,
        component: &str,
        seed: u64,
        services: Option<Arc<Services>>,
        jobs: Vec<Job>,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        Self {
            wasi: wasi::context(seed, component, limits.log_bytes),
            table,
            limiter: Limiter::new(limits.clone()),
            clock: ComputeClock::new(limits.deadline),
            services,
            component: Arc::from(component),
            assigned: jobs.into(),
            open: BTreeMap::new(),
            current: None,
            claimed: 0,
            ocr_calls: BTreeMap::new(),
        }
    }
}

impl WasiView for RunState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
