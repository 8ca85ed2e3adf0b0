//! `queue`: jobs that the pump has leased for this host.

use std::sync::{Arc, Weak};
use std::time::Duration;

use wasmtime::component::Resource;

use crate::breaker::Step;
use crate::failure::Failure;
use crate::queue::{Job, JobOutcome};
use crate::sandbox::bindings::snapceit::receipts::queue::{Host, HostJob};
use crate::sandbox::bindings::snapceit::receipts::types as wit;
use crate::sandbox::completion::completion;
use crate::sandbox::failed_attempt::NOT_THERE_YET;
use crate::sandbox::handles::{ArtifactInfo, ImageHandle, ImageInfo, JobHandle, JobInfo};
use crate::sandbox::import::{self, ImportCall};
use crate::sandbox::random::random_seed;
use crate::sandbox::state::{Live, RunState};
use crate::storage::{Artifacts, Image, is_absent};

impl Host for RunState {
    async fn claim(&mut self, limit: u32) -> wasmtime::Result<Result<Vec<Resource<JobHandle>>, wit::Failure>> {
        let mut jobs = Vec::new();
        let answer = self
            .call(import::Claim { limit }, async |state| {
                jobs = state.live_mut()?.claim(limit);
                Ok(jobs.iter().map(|job| state.job_info(job)).collect())
            })
            .await?;
        let infos = match answer {
            Ok(infos) => infos,
            Err(failure) => return Ok(Err(failure.into())),
        };
        let mut jobs = jobs.into_iter();
        let push = |info| self.table.push(JobHandle { info, job: jobs.next() });
        Ok(Ok(infos.into_iter().map(push).collect::<Result<_, _>>()?))
    }
}

impl HostJob for RunState {
    async fn id(&mut self, this: Resource<JobHandle>) -> wasmtime::Result<u64> {
        let JobInfo { job, id, .. } = self.table.get(&this)?.info;
        self.call(import::JobId { job }, async |_| id).await
    }

    async fn receipt_id(&mut self, this: Resource<JobHandle>) -> wasmtime::Result<String> {
        let JobInfo { job, receipt_id, .. } = self.info(&this)?;
        self.call(import::JobReceiptId { job }, async |_| receipt_id).await
    }

    async fn attempt(&mut self, this: Resource<JobHandle>) -> wasmtime::Result<u32> {
        let JobInfo { job, attempt, .. } = self.table.get(&this)?.info;
        self.call(import::JobAttempt { job }, async |_| attempt).await
    }

    async fn max_attempts(&mut self, this: Resource<JobHandle>) -> wasmtime::Result<u32> {
        let JobInfo { job, max_attempts, .. } = self.table.get(&this)?.info;
        self.call(import::JobMaxAttempts { job }, async |_| max_attempts).await
    }

    async fn seed(&mut self, this: Resource<JobHandle>) -> wasmtime::Result<u64> {
        let JobInfo { job, seed, .. } = self.table.get(&this)?.info;
        self.call(import::JobSeed { job }, async |_| seed).await
    }

    async fn has_artifact(&mut self, this: Resource<JobHandle>) -> wasmtime::Result<bool> {
        let JobInfo { job, has_artifact, .. } = self.table.get(&this)?.info;
        self.call(import::JobHasArtifact { job }, async |_| has_artifact).await
    }

    async fn image(
        &mut self,
        this: Resource<JobHandle>,
    ) -> wasmtime::Result<Result<Resource<ImageHandle>, wit::Failure>> {
        let JobInfo { job, .. } = self.begin(&this)?;
        let leased = self.table.get(&this)?.job.clone();
        let mut held = None;
        let answer = self
            .call(import::FetchImage { job }, async |state| {
                let image = state.fetch(leased.as_ref()).await?;
                let info = state.image_info(&image);
                held = Some(image);
                Ok(info)
            })
            .await?;
        match answer {
            Ok(info) => Ok(Ok(self.table.push(ImageHandle { info, held })?)),
            Err(failure) => Ok(Err(self.failed(failure, Step::Read).await)),
        }
    }

    async fn stored_artifact(
        &mut self,
        this: Resource<JobHandle>,
        image: Resource<ImageHandle>,
    ) -> wasmtime::Result<Result<Option<Resource<ArtifactInfo>>, wit::Failure>> {
        let job = self.begin(&this)?;
        let image = self.table.get(&image)?.info.clone();
        let call = import::FindArtifact { image: image.image, job: job.job };
        let answer = self
            .call(call, async |state| {
                let key = state.find_artifact(&job, &image.digest).await?;
                Ok(key.map(|key| ArtifactInfo { artifact: state.next_handle(), key }))
            })
            .await?;
        match answer {
            Ok(Some(artifact)) => {
                self.reads_from(&artifact.key);
                Ok(Ok(Some(self.table.push(artifact)?)))
            }
            Ok(None) => Ok(Ok(None)),
            Err(failure) => Ok(Err(self.failed(failure, Step::Find).await)),
        }
    }

    async fn complete(
        &mut self,
        this: Resource<JobHandle>,
        receipt: wit::Receipt,
        artifact: Resource<ArtifactInfo>,
    ) -> wasmtime::Result<Result<(), wit::Failure>> {
        let ArtifactInfo { artifact, key } = self.table.delete(artifact)?;
        let JobInfo { job, receipt_id, .. } = self.info(&this)?;
        if !Artifacts::belongs_to(&key, &receipt_id) {
            wasmtime::bail!("the component completed receipt {receipt_id} with the artifact {key} of another");
        }
        if let Some(live) = &mut self.live
            && let (Some(observer), Some(text)) = (&live.services.observer, live.last_response.take())
        {
            observer.completed(&receipt_id, text, &receipt);
        }
        let outcome = JobOutcome::Complete(completion(&receipt, key));
        self.settle(this, import::Complete { job, receipt, artifact }, |_, _| outcome).await
    }

    async fn retry_after(
        &mut self,
        this: Resource<JobHandle>,
        milliseconds: u64,
        failure: wit::Failure,
        charge: bool,
    ) -> wasmtime::Result<Result<(), wit::Failure>> {
        let failure = Failure::from(failure);
        let call =
            import::RetryAfter { charge, failure: failure.clone(), job: self.table.get(&this)?.info.job, milliseconds };
        let delay = Duration::from_millis(milliseconds);
        self.settle(this, call, |live, job| live.put_back(job, delay, failure, charge)).await
    }

    async fn dead_letter(
        &mut self,
        this: Resource<JobHandle>,
        failure: wit::Failure,
    ) -> wasmtime::Result<Result<(), wit::Failure>> {
        let failure = Failure::from(failure);
        let call = import::DeadLetter { failure: failure.clone(), job: self.table.get(&this)?.info.job };
        self.settle(this, call, |live, job| live.give_up(job, failure)).await
    }

    async fn drop(&mut self, this: Resource<JobHandle>) -> wasmtime::Result<()> {
        let JobHandle { info, job } = self.table.delete(this)?;
        self.call(import::DropJob { job: info.job }, async |_| ()).await?;
        if let (Some(live), Some(job)) = (&mut self.live, job)
            && live.open.remove(&job.lease.job).is_some()
        {
            if !job.is_lost() {
                live.tally.left_undone(live.dependency_failed.contains(&job.lease.job));
                tracing::warn!(
                    name: "job.left_unsettled",
                    job = job.lease.job,
                    receipt = job.receipt_id,
                    "the component dropped the job unsettled; it goes back"
                );
            }
            live.services.pump.release(&job);
        }
        Ok(())
    }
}

impl RunState {
    /// Notes that the component works on this job now: it is the one to be charged if the component fails.
    pub(super) fn begin(&mut self, this: &Resource<JobHandle>) -> wasmtime::Result<JobInfo> {
        let JobHandle { info, job } = self.table.get(this)?;
        if let (Some(live), Some(job)) = (&mut self.live, job) {
            live.current = Some(job.lease.job);
        }
        Ok(info.clone())
    }

    fn job_info(&mut self, job: &Job) -> JobInfo {
        JobInfo {
            job: self.next_handle(),
            id: u64::try_from(job.lease.job).unwrap_or(0),
            receipt_id: job.receipt_id.clone(),
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            seed: random_seed(),
            has_artifact: job.claimed_before(),
        }
    }

    fn info(&self, this: &Resource<JobHandle>) -> wasmtime::Result<JobInfo> {
        Ok(self.table.get(this)?.info.clone())
    }

    fn image_info(&mut self, image: &Image) -> ImageInfo {
        ImageInfo {
            image: self.next_handle(),
            size: image.bytes.len() as u64,
            content_type: image.content_type.to_owned(),
            digest: image.digest.clone(),
        }
    }

    async fn fetch(&mut self, job: Option<&Job>) -> Result<Arc<Image>, Failure> {
        let job = job.filter(|job| !job.is_lost()).ok_or_else(Failure::lease_lost)?;
        let location = job.location.as_ref().map_err(Failure::clone)?.as_deref();
        let services = self.services()?;
        let held = self.live.as_ref().map_or(0, Live::held_bytes);
        let image = services.images.fetch_beside(location, held).await.map(Arc::new);
        if let (Ok(image), Some(live)) = (&image, &mut self.live) {
            live.images.retain(|image| image.strong_count() > 0);
            live.images.push(Arc::downgrade(image));
            live.serve(Step::Read);
        }
        image.map_err(|failure| match &mut self.live {
            Some(live) if is_absent(&failure) => live.absent(job, failure),
            _ => failure,
        })
    }

    /// The job in hand is read from this artifact.
    pub(super) fn reads_from(&mut self, key: &str) {
        if let Some(live) = &mut self.live
            && let Some(job) = live.current
        {
            live.artifacts.insert(job, key.to_owned());
        }
    }

    async fn find_artifact(&mut self, job: &JobInfo, image_digest: &str) -> Result<Option<String>, Failure> {
        if !job.has_artifact {
            return Ok(None);
        }
        let services = self.services()?;
        let key = Artifacts::key(&job.receipt_id, image_digest, services.api.as_str());
        let found = services.artifacts.find(&key).await?;
        if let Some(live) = &self.live {
            live.booked(Step::Find);
        }
        Ok(found.map(|artifact| artifact.key))
    }

    async fn settle<C: ImportCall<Answer = Result<(), Failure>>>(
        &mut self,
        this: Resource<JobHandle>,
        call: C,
        outcome: impl FnOnce(&Live, &Job) -> JobOutcome,
    ) -> wasmtime::Result<Result<(), wit::Failure>> {
        let JobHandle { job, .. } = self.table.delete(this)?;
        let settled = self
            .call(call, async |state| {
                let job = job.ok_or_else(Failure::lease_lost)?;
                let component = state.component.to_string();
                let live = state.live_mut()?;
                let outcome = outcome(live, &job);
                live.settle(&job, outcome, component).await
            })
            .await?;
        Ok(settled.map_err(Into::into))
    }
}

impl Live {
    fn claim(&mut self, limit: u32) -> Vec<Job> {
        let count = usize::try_from(limit).unwrap_or(usize::MAX).min(self.assigned.len());
        let jobs: Vec<Job> = self.assigned.drain(..count).collect();
        self.claimed += u32::try_from(count).unwrap_or(u32::MAX);
        self.open.extend(jobs.iter().map(|job| (job.lease.job, job.clone())));
        jobs
    }

    /// A service did for the job in hand what it was asked for.
    pub(super) fn booked(&self, step: Step) {
        if let Some(job) = self.current {
            self.services.outage.succeeded(job, step);
        }
    }

    /// The same where that is proof enough that the services are there.
    pub(super) fn serve(&mut self, step: Step) {
        self.served = true;
        self.booked(step);
    }

    /// Memory for images that this run holds, in bytes.
    fn held_bytes(&self) -> u64 {
        self.images.iter().filter_map(Weak::upgrade).map(|image| image.weight()).sum()
    }

    async fn settle(&mut self, job: &Job, outcome: JobOutcome, component: String) -> Result<(), Failure> {
        self.settles = true;
        self.open.remove(&job.lease.job);
        self.current = None;
        log(job, &outcome);
        let dependency_failed = self.dependency_failed.contains(&job.lease.job);
        // A receipt that is locked is settled when the run has long ended: the component answers for that, too.
        let afterwards = {
            let (tally, job, outcome) = (Arc::clone(&self.tally), job.clone(), outcome.clone());
            Box::new(move || tally.decided(&job, &outcome, dependency_failed))
        };
        let settled = self.services.pump.settle_then(job, outcome.clone(), Some(component), afterwards).await;
        if settled.is_ok() {
            if matches!(outcome, JobOutcome::DeadLetter { .. }) {
                self.services.artifacts.forget(&job.receipt_id);
                self.services.outage.forget(job.lease.job);
            }
            self.tally.decided(job, &outcome, dependency_failed);
            // One that was read from a stored artifact says nothing of the services that it did without.
            if matches!(outcome, JobOutcome::Complete(_)) && self.ocr_calls.contains_key(&Some(job.lease.job)) {
                self.services.outage.completed(job.lease.job);
            }
        }
        settled
    }
}

fn log(job: &Job, outcome: &JobOutcome) {
    let (receipt, attempt) = (&job.receipt_id, job.attempt);
    match outcome {
        JobOutcome::Complete(read) => {
            let (vendor, total) = (read.vendor.as_deref(), read.total.as_deref());
            tracing::info!(name: "receipt.read", receipt, attempt, vendor, total, confidence = read.confidence, "read");
        }
        // Said once: it is looked for often, and there is nothing to be done about it.
        JobOutcome::Retry { delay, failure: Some(failure), .. } if failure.code == NOT_THERE_YET => match job.claims {
            0..=2 => tracing::info!(
                name: "receipt.photo_awaited",
                receipt,
                attempt,
                ?delay,
                code = failure.code,
                "{}",
                failure.message
            ),
            _ => tracing::debug!(
                name: "receipt.photo_awaited",
                receipt,
                attempt,
                ?delay,
                code = failure.code,
                "{}",
                failure.message
            ),
        },
        JobOutcome::Retry { delay, charge, failure: Some(failure) } => {
            tracing::warn!(
                name: "receipt.retried",
                receipt,
                attempt,
                ?delay,
                charge,
                kind = %failure.kind,
                code = failure.code,
                "{}",
                failure.message
            );
        }
        JobOutcome::Retry { .. } => {}
        JobOutcome::DeadLetter { failure, notes } => {
            tracing::error!(
                name: "receipt.dead_lettered",
                receipt,
                attempt,
                kind = %failure.kind,
                code = failure.code,
                "{}; {notes}: dead letter",
                failure.message
            );
        }
    }
}
