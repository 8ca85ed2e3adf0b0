//! What becomes of a run's jobs when it is over: what the component left is given back, and what it failed on is charged, if it
//! is to blame.

use super::failed_attempt;
use super::run_error::RunError;
use super::state::Live;
use crate::queue::Job;

/// Jobs that the component neither settled nor failed on go back, after a pause and uncharged.
pub(super) fn give_back(live: Live) {
    let Live { given, settles, open, assigned, services, tally, dependency_failed, .. } = live;
    if !settles && dependency_failed.is_empty() && !given.iter().any(Job::is_lost) {
        // What it never took is not to blame.
        let job = given.first().filter(|_| given.len() == 1 && assigned.is_empty());
        tally.record_run_failure(job.map(|job| job.lease.job), "it settles nothing");
    }
    for job in open.into_values().chain(assigned).filter(|job| !job.is_lost()) {
        tally.left_undone(dependency_failed.contains(&job.lease.job));
        tracing::warn!(
            name: "job.left_unsettled",
            job = job.lease.job,
            receipt = job.receipt_id,
            "the component left the job unsettled; it goes back"
        );
        services.pump.release(&job);
    }
}

/// The job that the component was working on is charged; the others are taken up again by themselves. Where it is not
/// clear which one it was, each is worked alone, so that it becomes clear.
pub(super) async fn after_failure(live: Live, component: &str, error: &RunError) {
    let Live { mut open, assigned, current, claimed, services, tally, dependency_failed, .. } = live;
    tally.crashed();
    let culprit = match current.and_then(|current| open.remove(&current)) {
        Some(job) => Some(job),
        // The only one that it ever had. One that is left over when others were settled may be innocent.
        None if claimed == 1 => open.pop_first().map(|(_, job)| job),
        None => None,
    };
    // One that says that it could not go on without storage or OCR is right.
    if dependency_failed.is_empty() || !matches!(error, RunError::Reported(_)) {
        tally.record_run_failure(culprit.as_ref().map(|job| job.lease.job), &error.to_string());
    }
    let Some(job) = culprit else {
        if open.is_empty() {
            // Nobody is to blame but the component.
            let when = if claimed == 0 { "before it took a job" } else { "with no job in its hands" };
            tracing::error!(name: "component.failed_without_job", %component, %error, "the component failed {when}");
            assigned.iter().for_each(|job| services.pump.release(job));
        } else {
            tracing::warn!(
                name: "component.failed_between_jobs",
                %component,
                %error,
                "the component failed between jobs; each is worked alone now"
            );
            services.pump.put_back(open.into_values().chain(assigned).map(Job::alone).collect());
        }
        return;
    };
    services.pump.put_back(open.into_values().chain(assigned).collect());
    let failure = error.failure();
    tracing::error!(
        name: "component.failed_on_job",
        %component,
        receipt = job.receipt_id,
        attempt = job.attempt,
        %error,
        "the component failed on a job"
    );
    let outcome = failed_attempt::crashed(&tally, &job, failure);
    // Lost or unreachable: the pump has logged it, and the lease will end.
    let _ = services.pump.settle(&job, outcome, Some(component.to_owned())).await;
}
