//! `queue`: jobs that the pump has leased for this host.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::Resource;

use crate::failure::{Failure, FailureKind};
use crate::queue::{Job, Outcome};
use crate::sandbox::bindings::snapceit::receipts::queue::{Host, HostJob};
use crate::sandbox::bindings::snapceit::receipts::types as wit;
use crate::sandbox::completion::completion;
use crate::sandbox::run::random_seed;
use crate::sandbox::state::{ArtifactHandle, ImageHandle, JobHandle, RunState};
use crate::storage::Artifacts;

/// No component may put a job away for longer than this.
const LONGEST_DELAY: Duration = Duration::from_secs(24 * 60 * 60);
/// No component may ask for an uncharged attempt sooner than this.
const SHORTEST_UNCHARGED: Duration = Duration::from_secs(1);
/// Claims of one job after which attempts are charged even if nobody is to blame (throttling excepted): with the built-in
/// policy's delays some four hours of outage.
const MOST_UNCHARGED_CLAIMS: u32 = 1000;

impl Host for RunState {
    async fn claim(&mut self, limit: u32) -> wasmtime::Result<Result<Vec<Resource<JobHandle>>, wit::Failure>> {
        if let Err(failure) = self.services() {
            return Ok(Err(failure));
        }
        let count = usize::try_from(limit).unwrap_or(usize::MAX).min(self.assigned.len());
        let mut handles = Vec::with_capacity(count);
        for job in self.assigned.drain(..count) {
            self.open.insert(job.lease.job, job.clone());
            self.claimed += 1;
            handles.push(self.table.push(JobHandle { job, seed: random_seed() })?);
        }
        Ok(Ok(handles))
    }
}

impl HostJob for RunState {
    async fn id(&mut self, this: Resource<JobHandle>) -> wasmtime::Result<u64> {
        Ok(u64::try_from(self.table.get(&this)?.job.lease.job).unwrap_or(0))
    }

    async fn receipt_id(&mut self, this: Resource<JobHandle>) -> wasmtime::Result<String> {
        Ok(self.table.get(&this)?.job.receipt_id.clone())
    }

    async fn attempt(&mut self, this: Resource<JobHandle>) -> wasmtime::Result<u32> {
        Ok(self.table.get(&this)?.job.attempt)
    }

    async fn max_attempts(&mut self, this: Resource<JobHandle>) -> wasmtime::Result<u32> {
        Ok(self.table.get(&this)?.job.max_attempts)
    }

    async fn seed(&mut self, this: Resource<JobHandle>) -> wasmtime::Result<u64> {
        Ok(self.table.get(&this)?.seed)
    }

    async fn has_artifact(&mut self, this: Resource<JobHandle>) -> wasmtime::Result<bool> {
        Ok(self.table.get(&this)?.job.claimed_before())
    }

    async fn image(
        &mut self,
        this: Resource<JobHandle>,
    ) -> wasmtime::Result<Result<Resource<ImageHandle>, wit::Failure>> {
        let job = self.begin(&this)?;
        let fetched = match self.services() {
            Ok(services) if !job.is_lost() => services.images.fetch(job.location.as_deref()).await.map_err(Into::into),
            Ok(_) => Err(Failure::lease_lost().into()),
            Err(failure) => Err(failure),
        };
        match fetched {
            Ok(image) => Ok(Ok(self.table.push(ImageHandle(Arc::new(image)))?)),
            Err(failure) => Ok(Err(failure)),
        }
    }

    async fn stored_artifact(
        &mut self,
        this: Resource<JobHandle>,
        image: Resource<ImageHandle>,
    ) -> wasmtime::Result<Result<Option<Resource<ArtifactHandle>>, wit::Failure>> {
        let job = self.begin(&this)?;
        let image = Arc::clone(&self.table.get(&image)?.0);
        if !job.claimed_before() {
            return Ok(Ok(None));
        }
        let services = match self.services() {
            Ok(services) => services,
            Err(failure) => return Ok(Err(failure)),
        };
        let key = Artifacts::key(&job.receipt_id, &image.digest, services.api.as_str());
        match services.artifacts.find(&key).await {
            Ok(Some(artifact)) => Ok(Ok(Some(self.table.push(ArtifactHandle { key: artifact.key })?))),
            Ok(None) => Ok(Ok(None)),
            Err(failure) => Ok(Err(failure.into())),
        }
    }

    async fn complete(
        &mut self,
        this: Resource<JobHandle>,
        receipt: wit::Receipt,
        artifact: Resource<ArtifactHandle>,
    ) -> wasmtime::Result<Result<(), wit::Failure>> {
        let artifact = self.table.delete(artifact)?;
        let receipt_id = &self.table.get(&this)?.job.receipt_id;
        if !Artifacts::belongs_to(&artifact.key, receipt_id) {
            wasmtime::bail!(
                "the component completed receipt {receipt_id} with the artifact {} of another",
                artifact.key
            );
        }
        self.settle(this, Outcome::Complete(completion(receipt, artifact.key))).await
    }

    async fn retry_after(
        &mut self,
        this: Resource<JobHandle>,
        milliseconds: u64,
        failure: wit::Failure,
        charge: bool,
    ) -> wasmtime::Result<Result<(), wit::Failure>> {
        let job = &self.table.get(&this)?.job;
        let failure = Failure::from(failure);
        // What is never the receipt's fault is never charged; but an image that nobody can read must not go round for ever.
        let charge = charge || (job.claims >= MOST_UNCHARGED_CLAIMS && failure.kind != FailureKind::Throttled);
        let outcome = if charge && job.attempt >= job.max_attempts {
            // The limit is the host's to keep, whatever the component decides.
            Outcome::DeadLetter { failure, notes: "max attempts exceeded" }
        } else {
            let delay = Duration::from_millis(milliseconds).min(LONGEST_DELAY);
            // What costs no attempt has no other end than its delay: never a busy loop.
            let delay = if charge { delay } else { delay.max(SHORTEST_UNCHARGED) };
            Outcome::Retry { delay, charge, failure: Some(failure) }
        };
        self.settle(this, outcome).await
    }

    async fn dead_letter(
        &mut self,
        this: Resource<JobHandle>,
        failure: wit::Failure,
    ) -> wasmtime::Result<Result<(), wit::Failure>> {
        let job = &self.table.get(&this)?.job;
        let notes = if job.attempt >= job.max_attempts { "max attempts exceeded" } else { "permanent failure" };
        self.settle(this, Outcome::DeadLetter { failure: failure.into(), notes }).await
    }

    async fn drop(&mut self, this: Resource<JobHandle>) -> wasmtime::Result<()> {
        let JobHandle { job, .. } = self.table.delete(this)?;
        if self.open.remove(&job.lease.job).is_some()
            && let Some(services) = &self.services
        {
            if !job.is_lost() {
                tracing::warn!(
                    job = job.lease.job,
                    receipt = job.receipt_id,
                    "the component dropped the job unsettled; it goes back"
                );
            }
            services.pump.release(&job);
        }
        Ok(())
    }
}

impl RunState {
    /// Notes that the component works on this job now: it is the one to be charged if the component fails.
    pub(super) fn begin(&mut self, this: &Resource<JobHandle>) -> wasmtime::Result<Job> {
        let job = self.table.get(this)?.job.clone();
        self.current = Some(job.lease.job);
        Ok(job)
    }

    async fn settle(
        &mut self,
        this: Resource<JobHandle>,
        outcome: Outcome,
    ) -> wasmtime::Result<Result<(), wit::Failure>> {
        let JobHandle { job, .. } = self.table.delete(this)?;
        let services = match self.services() {
            Ok(services) => services,
            Err(failure) => return Ok(Err(failure)),
        };
        self.open.remove(&job.lease.job);
        self.current = None;
        log(&job, &outcome);
        let component = Some(self.component.to_string());
        Ok(services.pump.settle(&job, outcome, component).await.map_err(Into::into))
    }
}

fn log(job: &Job, outcome: &Outcome) {
    let (receipt, attempt) = (&job.receipt_id, job.attempt);
    match outcome {
        Outcome::Complete(read) => {
            let (vendor, total) = (read.vendor.as_deref(), read.total.as_deref());
            tracing::info!(receipt, attempt, vendor, total, confidence = read.confidence, "read");
        }
        Outcome::Retry { delay, charge, failure: Some(failure) } => {
            tracing::warn!(receipt, attempt, ?delay, charge, kind = %failure.kind, code = failure.code, "{}", failure.message);
        }
        Outcome::Retry { .. } => {}
        Outcome::DeadLetter { failure, notes } => {
            tracing::error!(receipt, attempt, kind = %failure.kind, code = failure.code, "{}; {notes}: dead letter", failure.message);
        }
    }
}
