//! `host trace`: recorded runs, for people.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Map, Value};

use super::output::{self, plain};
use crate::failure::{Failure, chain};
use crate::replay::{Decision, JobStory, RunStory, Story, export, name_of};
use crate::trace::{Json, Trace, traces_in};

/// Shows, searches and exports recorded runs (`host run --record DIR`).
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  host trace show traces/20261124T005145.123456Z-000042.trace.jsonl
  host trace grep 'kedai' traces
  host trace grep --text 'rounding adj' traces
  host trace export traces/….trace.jsonl --receipt 6f1c… --to tests/recordings/production")]
pub(crate) enum TraceVerb {
    /// Tells a run's story: what became of each receipt, and why.
    Show(Show),
    /// Finds receipts by id, vendor or failure; exit code 1 where there is none.
    Grep(Grep),
    /// Makes a recorded response plus expectation out of a run, for `host replay`.
    Export(Export),
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The trace.
    #[arg(value_name = "FILE")]
    trace: PathBuf,
    /// One line of JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Grep {
    /// The text to look for, whatever its case.
    pattern: String,
    /// Traces, or folders of them.
    #[arg(required = true, value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
    /// Look in the receipts' own text too.
    #[arg(long)]
    text: bool,
    /// One line of JSON each.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The trace.
    trace: PathBuf,
    /// Only this receipt; all of the run, if not given.
    #[arg(long, value_name = "ID")]
    receipt: Option<String>,
    /// The folder to write into; made where it is missing.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Name of the files, without an ending; the receipt's id, if not given.
    #[arg(long)]
    name: Option<String>,
}

#[derive(Serialize)]
struct Match<'a> {
    file: &'a Path,
    receipt_id: &'a str,
    outcome: String,
    found_in: Vec<&'static str>,
}

impl TraceVerb {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Show(verb) => verb.execute(),
            Self::Grep(verb) => verb.execute(),
            Self::Export(verb) => verb.execute(),
        }
    }
}

impl Show {
    fn execute(self) -> anyhow::Result<ExitCode> {
        let story = Story::of(&Trace::read(&self.trace)?)?;
        if self.json {
            output::json(&story)?;
            return Ok(ExitCode::SUCCESS);
        }
        for line in lines(&story) {
            output::line(plain(&line))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn lines(story: &Story) -> Vec<String> {
    let mut lines = vec![
        format!("component   {}", story.component),
        format!("began       {} (host {}, contract {})", story.started, story.host, story.contract),
    ];
    if let Some(masked) = story.masked {
        lines.push(format!("redacted    {masked} values masked"));
    }
    for job in &story.jobs {
        lines.push(format!(
            "receipt     {} (job {}, attempt {} of {})",
            job.receipt_id, job.id, job.attempt, job.max_attempts
        ));
        lines.extend(job_lines(job).map(|(name, text)| format!("  {name:<10}{text}")));
    }
    let end = match &story.end {
        RunStory::Returned(result) => returned(result),
        RunStory::Failed { how, message } => format!("{}: {message}", how.as_str()),
        RunStory::Unknown => "not recorded".to_owned(),
    };
    lines.push(format!("ended       {end}"));
    if !story.complete {
        lines.push("incomplete  the run was longer than a trace may be; its last calls are missing".to_owned());
    }
    lines
}

/// The counts of the component's summary, in its order.
fn returned(result: &Json) -> String {
    let Ok(Ok(counts)) = result.read::<Result<Map<String, Value>, Failure>>() else {
        return format!("returned {result}");
    };
    let names = ["claimed", "processed", "retried", "dead", "lost"];
    let counts = names.iter().filter_map(|name| Some(format!("{name} {}", counts.get(*name)?)));
    counts.collect::<Vec<_>>().join(", ")
}

fn job_lines(job: &JobStory) -> impl Iterator<Item = (&'static str, String)> {
    let image = job
        .image
        .as_ref()
        .map(|image| format!("{}, {} bytes, sha256 {}", image.content_type, image.size, image.digest));
    let ocr = job.ocr.as_ref().map(|ocr| {
        let from = if ocr.from_artifact { "stored by an earlier attempt" } else { "paid for" };
        format!("{from}, {} bytes, sha256 {}", ocr.bytes, ocr.response)
    });
    let read = match &job.decision {
        Some(Decision::Complete(reading)) => {
            let of = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            let (vendor, total, currency) = (of(&reading.vendor), of(&reading.total), of(&reading.currency));
            Some(format!("{vendor}; {total} {currency}; {}; confidence {}", of(&reading.date), reading.confidence))
        }
        _ => None,
    };
    let failures = job.failures.iter().map(|call| ("failed", format!("{}: {}", call.import, call.failure)));
    let before = [("image", image), ("OCR", ocr), ("stored", job.stored.clone()), ("read", read)];
    let before = before.into_iter().filter_map(|(name, text)| Some((name, text?)));
    before.chain(failures).chain([("settled", job.outcome())])
}

impl Grep {
    /// A trace that cannot be read stops nothing, but is no success either.
    fn execute(self) -> anyhow::Result<ExitCode> {
        let (mut found, mut unread) = (0_usize, 0_usize);
        for file in traces_in(&self.paths)? {
            let (trace, story) = match read(&file) {
                Ok(read) => read,
                Err(error) => {
                    tracing::error!(name: "trace.unreadable", "{error:#}");
                    unread += 1;
                    continue;
                }
            };
            for job in &story.jobs {
                let mut found_in = job.mentions(&self.pattern);
                if self.text {
                    match job.text_mentions(&trace, &self.pattern) {
                        Ok(mentions) => found_in.extend(mentions.then_some("text")),
                        Err(error) => {
                            tracing::error!(name: "trace.unreadable", "{}", chain(&error));
                            unread += 1;
                        }
                    }
                }
                if !found_in.is_empty() {
                    found += 1;
                    self.show(&Match { file: &file, receipt_id: &job.receipt_id, outcome: job.outcome(), found_in })?;
                }
            }
        }
        Ok(if found > 0 && unread == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn show(&self, found: &Match) -> anyhow::Result<()> {
        if self.json {
            return output::json(found);
        }
        let line = format!("{}: {}: {}", found.file.display(), found.receipt_id, found.outcome);
        Ok(output::line(plain(&line))?)
    }
}

fn read(file: &Path) -> anyhow::Result<(Trace, Story)> {
    let trace = Trace::read(file)?;
    let story = Story::of(&trace)?;
    Ok((trace, story))
}

impl Export {
    fn execute(self) -> anyhow::Result<ExitCode> {
        let trace = Trace::read(&self.trace)?;
        let story = Story::of(&trace)?;
        let wanted = |job: &&JobStory| self.receipt.as_ref().is_none_or(|receipt| job.receipt_id == *receipt);
        let mut jobs: Vec<&JobStory> = story.jobs.iter().filter(wanted).collect();
        if let Some(receipt) = &self.receipt {
            anyhow::ensure!(!jobs.is_empty(), "{}: there is no receipt {receipt} in this run", self.trace.display());
        } else {
            // Of a whole run, those that have something to export.
            jobs.retain(|job| job.ocr.is_some());
            anyhow::ensure!(!jobs.is_empty(), "{}: no OCR response was read in this run", self.trace.display());
        }
        anyhow::ensure!(
            self.name.is_none() || jobs.len() == 1,
            "{} receipts cannot have one name; choose one with --receipt",
            jobs.len()
        );
        if let Some(name) = &self.name {
            anyhow::ensure!(*name == name_of(name), "--name {name:?} is no plain file name");
        }
        for job in jobs {
            let name = self.name.clone().unwrap_or_else(|| name_of(&job.receipt_id));
            let exported = export(&trace, job, &self.to, &name)?;
            output::line(exported.response.display().to_string())?;
            match exported.expectation {
                Some(path) => output::line(path.display().to_string())?,
                None => tracing::warn!(
                    name: "trace.nothing_to_expect",
                    receipt = plain(&job.receipt_id),
                    "there is no reading to expect ({}); host replay --bless writes what is read",
                    job.outcome()
                ),
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
