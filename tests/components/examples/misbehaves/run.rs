//! What becomes of a job, by its receipt's id.
#![allow(unsafe_code, reason = "forged handles and texts that are not there")]

use std::time::Duration;

use test_components::exports::worker::Summary;
use test_components::queue::{self, Job};
use test_components::types::Failure;
use test_components::{artifact_of, complete, failure, reading};

use crate::{excess, wild};

pub fn run(limit: u32) -> Result<Summary, Failure> {
    let jobs = queue::claim(limit)?;
    let claimed = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
    let mut summary = Summary { claimed, processed: 0, retried: 0, dead: 0, lost: 0 };
    let mut trap_at_the_end = false;
    for job in jobs {
        let id = job.receipt_id();
        let behaviour = id.split('.').next().unwrap_or_default();
        trap_at_the_end |= behaviour == "trap-at-the-end";
        match work(job, behaviour)? {
            true => summary.processed += 1,
            false => summary.lost += 1,
        }
    }
    if trap_at_the_end {
        core::arch::wasm32::unreachable();
    }
    Ok(summary)
}

/// Returns whether the job was completed. An error ends the run.
fn work(job: Job, behaviour: &str) -> Result<bool, Failure> {
    if behaviour == "trap-untouched" {
        core::arch::wasm32::unreachable();
    }
    if let Some(receipt) = wild::receipt(behaviour) {
        return Ok(complete(job, &receipt).is_ok());
    }
    // From here on the host knows which job is worked.
    let image = job.image()?;
    match behaviour {
        "trap" => core::arch::wasm32::unreachable(),
        "trap-once" if job.attempt() == 1 => core::arch::wasm32::unreachable(),
        "trap-after-store" if job.attempt() == 1 => {
            artifact_of(&job, &image)?;
            core::arch::wasm32::unreachable()
        }
        "panic" => panic!("as ordered, with a second line\n2026-01-01 INFO forged \u{1b}[31mred"),
        "error" => return Err(failure("run gives up".to_owned())),
        "exit" => std::process::exit(3),
        "loop" => excess::compute_for_ever(),
        "loop-in-calls" => loop {
            std::hint::black_box(job.attempt());
        },
        "sleep" => std::thread::sleep(Duration::from_secs(100_000)),
        "memory" => excess::allocate_for_ever(),
        "stack" => drop(excess::recurse(0)),
        "handles" => excess::fetch_for_ever(&job),
        "print" => excess::print(),
        "abandon" => return Ok(false),
        "keep" => {
            std::mem::forget(job);
            return Ok(false);
        }
        "long-message" => {
            let _ = Job::dead_letter(job, &failure("m".repeat(17 << 20)));
            return Ok(false);
        }
        "message-out-of-bounds" => {
            // SAFETY: none; that the host is told of a text where there is no memory is the point.
            let text = unsafe { std::str::from_utf8_unchecked(std::slice::from_raw_parts(0x10 as *const u8, 1 << 30)) };
            // Not `to_owned`, which would read it here.
            let message = unsafe { String::from_raw_parts(text.as_ptr().cast_mut(), text.len(), text.len()) };
            let forged = std::mem::ManuallyDrop::new(failure(message));
            let _ = Job::dead_letter(job, &forged);
            return Ok(false);
        }
        "settle-twice" => {
            let handle = job.handle();
            let artifact = artifact_of(&job, &image)?;
            Job::complete(job, &reading("once"), artifact)?;
            // SAFETY: none; the handle is not held any more, and that is the point.
            let again = unsafe { Job::from_handle(handle) };
            return Ok(Job::dead_letter(again, &failure("twice".to_owned())).is_ok());
        }
        "forged-handle" => {
            // SAFETY: none; this handle was never held, and that is the point.
            let forged = unsafe { Job::from_handle(4_000) };
            let _ = Job::dead_letter(forged, &failure("not mine".to_owned()));
        }
        "handle-of-another-kind" => {
            // SAFETY: none; it is an image's handle, and that is the point.
            let forged = unsafe { Job::from_handle(image.handle()) };
            let _ = Job::dead_letter(forged, &failure("an image".to_owned()));
        }
        "retry" => {
            let charge = true;
            let _ = Job::retry_after(job, 0, &failure("again, at my cost".to_owned()), charge);
            return Ok(false);
        }
        "retry-free" => {
            let charge = false;
            let _ = Job::retry_after(job, u64::MAX, &failure("again, at no cost".to_owned()), charge);
            return Ok(false);
        }
        _ => {}
    }
    let artifact = artifact_of(&job, &image)?;
    Ok(Job::complete(job, &reading(behaviour), artifact).is_ok())
}
