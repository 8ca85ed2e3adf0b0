//! The gate: old and new component side by side on recorded runs, recorded responses and the policy's questions, in a
//! sandbox that reaches nothing, bounded in time, memory and instructions.

mod corpus;
mod report;
mod settings;

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

pub use report::{GateReport, Work};
pub use settings::{GatePolicy, GateSettings};

use corpus::{Corpus, Item};

use super::deployed::Deployed;
use super::parsed::parsed;
use crate::failure::Failure;
use crate::reading::Reading;
use crate::replay::{Differences, Improvised, LenientReplay, with_another};
use crate::sandbox::{Import, LoadError, Meter, PolicyInput, Program, RunError};
use crate::trace::Effect;

/// Most instructions for one item: what the old component may take. (A parse takes some millions.)
const MOST_WORK: u64 = 20_000_000_000;
/// The new one may take this many times what the old one took before it is stopped; it is judged by less.
const STOPPED_AT: u64 = 20;
/// …and this many in any case.
const LEAST_WORK: u64 = 200_000_000;

/// Compares two components. Fails only where one of them cannot be compiled for it.
pub async fn examine(
    settings: &GateSettings,
    meter: &Arc<Meter>,
    old: &Deployed,
    new: &Deployed,
) -> Result<GateReport, LoadError> {
    let gate = Gate { meter, old: old.metered(meter).await?, new: new.metered(meter).await? };
    let corpus = Corpus::gather(settings);
    let deadline = Instant::now() + settings.timeout;
    let mut report = GateReport { skipped: corpus.skipped.clone(), ..GateReport::default() };
    report.unfinished = timeout_at(deadline, gate.ask_policies(&mut report)).await.is_err();
    for name in corpus.names() {
        let compare = async {
            // Files may be large, and on a slow disk: not on a thread that jobs share.
            let item = tokio::task::spawn_blocking(move || name.read()).await;
            gate.compare(item.unwrap_or_else(|error| Err(error.to_string())), &mut report).await;
        };
        if timeout_at(deadline, compare).await.is_err() {
            report.unfinished = true;
            break;
        }
    }
    report.judge(settings.policy);
    Ok(report)
}

struct Gate<'a> {
    meter: &'a Meter,
    old: Arc<Program>,
    new: Arc<Program>,
}

impl Gate<'_> {
    async fn compare(&self, item: Result<Item, String>, report: &mut GateReport) {
        match item {
            Ok(Item::Response { name, json, expected }) => {
                self.read_both(&name, &json, expected.as_ref(), report).await;
                report.responses += 1;
            }
            Ok(Item::Trace { name, trace, responses }) => {
                let world = match LenientReplay::new(trace) {
                    Ok(world) => world,
                    Err(unreadable) => return report.skipped.push(unreadable.to_string()),
                };
                let world = responses.iter().fold(world, |world, (digest, text)| world.with_response(digest, text));
                self.run_both(&name, world, report).await;
                report.traces += 1;
            }
            Err(problem) => report.skipped.push(problem),
        }
    }

    /// Every kind of failure, early and late.
    async fn ask_policies(&self, report: &mut GateReport) {
        const MAX_ATTEMPTS: u32 = 5;
        const SEED: u64 = 7;
        for kind in crate::failure::FailureKind::ALL {
            for attempt in [1, 3, MAX_ATTEMPTS] {
                let failure = Failure::new(kind, "gate.Question", "what becomes of this?");
                let name = format!("policy on {kind}, attempt {attempt} of {MAX_ATTEMPTS}");
                let ask = async |program, fuel| {
                    let input = PolicyInput { attempt, max_attempts: MAX_ATTEMPTS, seed: SEED };
                    self.meter.decide(program, &failure, input, fuel).await
                };
                let before = ask(&self.old, MOST_WORK).await;
                let after = ask(&self.new, allowed(before.work)).await;
                report.policy += 1;
                report.work.add(before.work, after.work, before.result.is_ok() && after.result.is_ok());
                match (before.result, after.result) {
                    (Ok(before), Ok(after)) if before != after => {
                        report.differences.decision(&name, &format!("{before:?}"), &format!("{after:?}"));
                    }
                    (Ok(_), Err(error)) => report.differences.failure(&name, error),
                    _ => {}
                }
            }
        }
    }

    async fn read_both(&self, name: &str, json: &str, expected: Option<&Reading>, report: &mut GateReport) {
        let before = self.meter.parse(&self.old, json, MOST_WORK).await;
        let after = self.meter.parse(&self.new, json, allowed(before.work)).await;
        report.work.add(before.work, after.work, before.result.is_ok() && after.result.is_ok());
        let (before, after) = match (parsed(before.result), parsed(after.result)) {
            (Ok(before), Ok(after)) => (before, after),
            (Ok(_), Err(error)) => return report.differences.failure(name, error),
            // The old one could not read it either.
            (Err(_), _) => return,
        };
        let Some(expected) = expected else { return report.differences.readings(name, &before, &after) };
        report.expect(expected, &before, &after);
        let mut differences = Differences::default();
        differences.readings(name, &before, &after);
        report.add_expected(expected, differences);
    }

    async fn run_both(&self, name: &str, world: LenientReplay, report: &mut GateReport) {
        let before = with_another(self.meter, &self.old, world.clone(), MOST_WORK).await;
        let after = with_another(self.meter, &self.new, world, allowed(before.work)).await;
        report.work.add(before.work, after.work, before.result.is_ok() && after.result.is_ok());
        compare_runs(name, &before, &after, &mut report.differences);
    }
}

fn compare_runs(name: &str, before: &Improvised, after: &Improvised, differences: &mut Differences) {
    match (&before.result, &after.result) {
        // The recording is gone, or damaged: nobody's fault.
        (_, Err(error @ RunError::NoAnswer(_))) => return differences.unrecorded(name, &error.to_string()),
        (Ok(_), Err(error)) => return differences.failure(name, error),
        // The old one fails on it too: nothing can be lost by that.
        (Err(_), _) => return,
        (Ok(_), Ok(_)) => {}
    }
    let unrecorded: Vec<Import> = after.unrecorded.difference(&before.unrecorded).copied().collect();
    if unrecorded.is_empty() {
        return differences.decisions(&before.decisions, &after.decisions);
    }
    let asked = unrecorded.iter().map(|import| import.name()).collect::<Vec<_>>().join(", ");
    if unrecorded.iter().any(|import| import.effect() == Effect::External) {
        return differences.failure(name, format!("it asks for OCR that was not needed before ({asked})"));
    }
    differences.unrecorded(name, &asked);
}

/// Instructions for the new component, where the old one took so many.
fn allowed(before: u64) -> u64 {
    before.saturating_mul(STOPPED_AT).max(LEAST_WORK)
}
