//! Recorded runs, on the component that was recorded or on another one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use serde_json::{Value, json};

use super::step;
use crate::cli::args::SandboxArgs;
use crate::cli::output::{self, plain};
use crate::replay::{Differences, LenientReplay, Replayed, decisions_of, exactly, with_another};
use crate::sandbox::{EMBEDDED, Limits, Meter, Program, RunError, read_component};
use crate::trace::{Event, FailedHow, Settings, Trace};

/// Instructions that another component may take for one run.
const FUEL: u64 = 20_000_000_000;

/// Replays all of them; returns whether each is as recorded.
pub(super) async fn replay(paths: &[PathBuf], args: &SandboxArgs, step: bool, json: bool) -> anyhow::Result<bool> {
    let (name, bytes) = args.read_component()?;
    let mut machine: Option<(Settings, Meter, Program)> = None;
    let (mut same, mut other, mut work) = (0_usize, 0_usize, 0_u64);
    let started = std::time::Instant::now();
    for path in paths {
        let trace = match Trace::read(path) {
            Ok(trace) => Arc::new(trace),
            Err(error) => {
                report_error(path, json, &error.to_string())?;
                other += 1;
                continue;
            }
        };
        // Limits are those of the recorded run; few folders hold more than one kind.
        if machine.as_ref().is_none_or(|(settings, ..)| *settings != trace.header.settings) {
            let meter = Meter::new(Limits::from(&trace.header.settings), args.cache_dir().as_deref())?;
            let program = meter.load_bytes(&name, &bytes)?;
            machine = Some((trace.header.settings.clone(), meter, program));
        }
        let Some((_, meter, program)) = &machine else { continue };
        let (as_recorded, took) = if program.digest() == trace.header.component {
            let replayed = match step {
                true => step::by_step(meter, program, Arc::clone(&trace)).await?,
                false => exactly(meter, program, Arc::clone(&trace), None).await,
            };
            (report_exact(path, &trace, &replayed, json)?, replayed.work)
        } else {
            report_another(path, meter, program, &trace, json).await?
        };
        work += took;
        if as_recorded { same += 1 } else { other += 1 }
    }
    if !json {
        let seconds = started.elapsed().as_secs_f64();
        let digest = machine.as_ref().map_or("no component", |(_, _, program)| program.digest());
        output::line(format!("{same} runs as recorded, {other} not ({digest})"))?;
        tracing::info!(name: "replay.finished", runs = paths.len(), seconds, instructions = work, "replayed");
    }
    Ok(other == 0)
}

fn report_exact(path: &Path, trace: &Trace, replayed: &Replayed, json: bool) -> anyhow::Result<bool> {
    if let Some(problem) = &replayed.unreadable {
        report_error(path, json, problem)?;
        return Ok(false);
    }
    let Some(mismatch) = &replayed.mismatch else {
        let Replayed { events, work, .. } = replayed;
        let value = json!({ "same": true, "complete": trace.complete, "events": events, "instructions": work });
        let lines = match trace.complete {
            true => Vec::new(),
            false => vec![format!("incomplete: the run was too long for one trace; as recorded up to event {events}")],
        };
        report(path, json, &value, &lines)?;
        return Ok(true);
    };
    let mut lines = vec![
        format!("event {} differs", mismatch.event),
        format!("  expected {}", plain(&mismatch.expected)),
        format!("  found    {}", plain(&mismatch.found)),
    ];
    if trace.header.redacted {
        lines.push("  (numbers are masked in this trace, which may be why)".to_owned());
    }
    report(path, json, &json!({ "same": false, "mismatch": mismatch, "redacted": trace.header.redacted }), &lines)?;
    Ok(false)
}

async fn report_another(
    path: &Path,
    meter: &Meter,
    program: &Program,
    trace: &Arc<Trace>,
    json: bool,
) -> anyhow::Result<(bool, u64)> {
    let read = LenientReplay::new(Arc::clone(trace)).and_then(|world| Ok((world, decisions_of(trace)?)));
    let (world, decided) = match read {
        Ok(read) => read,
        Err(unreadable) => {
            report_error(path, json, &unreadable.to_string())?;
            return Ok((false, 0));
        }
    };
    let replayed = with_another(meter, program, world, FUEL).await;
    let mut differences = Differences::default();
    match &replayed.result {
        // Nothing that the component did: a response is missing or edited.
        Err(RunError::NoAnswer(problem)) => {
            report_error(path, json, &format!("{}: {problem}", path.display()))?;
            return Ok((false, replayed.work));
        }
        Err(error) if !failed_by_itself(trace) => differences.failure("the run", error),
        _ => {}
    }
    if replayed.unrecorded.is_empty() {
        differences.decisions(&decided, &replayed.decisions);
    } else {
        let asked: Vec<&str> = replayed.unrecorded.iter().map(|import| import.name()).collect();
        differences.unrecorded("the run", &asked.join(", "));
    }
    let same = differences.is_empty();
    let mut value = json!({ "same": same, "recorded": trace.header.component, "instructions": replayed.work });
    if let (Some(value), Value::Object(found)) = (value.as_object_mut(), serde_json::to_value(&differences)?) {
        value.extend(found);
    }
    report(path, json, &value, &in_lines(&differences))?;
    Ok((same, replayed.work))
}

/// Whether the recorded component failed as well.
fn failed_by_itself(trace: &Trace) -> bool {
    trace.events.iter().any(|event| match event {
        Event::Failed { how, .. } => !matches!(how, FailedHow::Cancelled | FailedHow::Panic),
        _ => false,
    })
}

fn in_lines(differences: &Differences) -> Vec<String> {
    let Differences { failures, decisions, lost, changed, gained, unrecorded } = differences;
    let remarks = failures.iter().chain(decisions).map(|remark| format!("{}: {}", remark.item, remark.what));
    let missing =
        unrecorded.iter().map(|remark| format!("{}: asks for what was not recorded: {}", remark.item, remark.what));
    let fields = lost.iter().chain(changed).chain(gained);
    let fields = fields.map(|field| format!("{}: {}: {} → {}", field.item, field.field, field.before, field.after));
    remarks.chain(missing).chain(fields).map(|line| plain(&line)).collect()
}

/// What keeps a trace from being replayed; the problem names the file.
fn report_error(path: &Path, json: bool, problem: &str) -> anyhow::Result<()> {
    match json {
        true => report(path, json, &json!({ "error": problem }), &[]),
        false => Ok(output::line(plain(problem))?),
    }
}

fn report(path: &Path, json: bool, value: &Value, lines: &[String]) -> anyhow::Result<()> {
    if json {
        let mut value = value.clone();
        if let Some(members) = value.as_object_mut() {
            members.insert("trace".to_owned(), Value::from(path.to_string_lossy()));
        }
        return output::json(&value);
    }
    for line in lines {
        output::line(format!("{}: {line}", path.display()))?;
    }
    Ok(())
}

impl SandboxArgs {
    /// The component's name and bytes.
    fn read_component(&self) -> anyhow::Result<(String, Vec<u8>)> {
        let Some(path) = self.component_file()? else {
            return Ok(("the built-in component".to_owned(), EMBEDDED.to_vec()));
        };
        let bytes = read_component(path).with_context(|| format!("cannot read the component {}", path.display()))?;
        Ok((path.display().to_string(), bytes))
    }
}
