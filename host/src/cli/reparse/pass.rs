//! One pass over the receipts: page by page, read in parallel, shown, and written.

use std::process::ExitCode;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use indicatif::ProgressBar;
use serde::Serialize;

use super::differences::{Difference, Kind, differences, kind};
use crate::cli::output::{self, plain};
use crate::cli::signals;
use crate::queue::Completion;
use crate::queue::reparse::{Place, ReparseSelection, Reparser, Reread, Seen, Written};
use crate::sandbox::{ParseError, Program, Sandbox, completion};
use crate::schedule::Stop;
use crate::storage::Artifacts;

/// A pass as it was asked for.
pub(super) struct Pass {
    pub(super) reparser: Reparser,
    pub(super) which: ReparseSelection,
    pub(super) reader: Arc<Reader>,
    pub(super) batch: usize,
    pub(super) jobs: usize,
    pub(super) json: bool,
}

/// What a pass does with what it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Shows it.
    Look,
    /// Writes it; shows it too, where nobody has seen it yet.
    Write { show: bool },
}

/// How many receipts came to what.
#[derive(Debug, Default)]
pub(super) struct Tally {
    same: u64,
    changed: u64,
    lost: u64,
    gained: u64,
    edited: u64,
    failed: u64,
    interrupted: bool,
}

impl Tally {
    /// Receipts that have a new reading, the same one included.
    pub(super) fn to_write(&self) -> u64 {
        self.same + self.changed + self.lost + self.gained
    }

    pub(super) fn report(&self, what: &str) -> ExitCode {
        let Self { same, changed, lost, gained, edited, failed, interrupted } = self;
        tracing::info!(
            name: "reparse.finished",
            same,
            changed,
            lost,
            gained,
            edited_meanwhile = edited,
            failed,
            "{what}"
        );
        if *interrupted {
            tracing::warn!(name: "reparse.interrupted", "stopped before the end; the same command goes on from here");
        }
        if *failed == 0 && !interrupted { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn book(&mut self, kind: Kind) {
        match kind {
            Kind::Same => self.same += 1,
            Kind::Gained => self.gained += 1,
            Kind::Changed => self.changed += 1,
            Kind::Lost => self.lost += 1,
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Change { receipt: &'a str, kind: Kind, read_by: &'a str, differences: &'a [Difference] },
    Failure { receipt: &'a str, error: &'a str },
}

impl Pass {
    pub(super) async fn run(&self, mode: Mode) -> anyhow::Result<Tally> {
        // Only while something is written: else there is nothing to end cleanly, and Ctrl-C just ends it.
        let stop = (mode != Mode::Look).then(signals::stop).transpose()?;
        let bar = output::bar(self.reparser.count(&self.which).await?);
        let mut tally = Tally::default();
        let mut after: Option<Place> = None;
        loop {
            let page = self.reparser.page(&self.which, after.as_ref(), self.batch).await?;
            let Some(last) = page.last() else { break };
            if stop.as_ref().is_some_and(|stop| *stop.borrow() != Stop::No) {
                tally.interrupted = true;
                break;
            }
            after = Some(last.place.clone());
            let count = page.len() as u64;
            self.page(page, mode, &bar, &mut tally).await?;
            bar.inc(count);
        }
        bar.finish_and_clear();
        Ok(tally)
    }

    async fn page(&self, page: Vec<Seen>, mode: Mode, bar: &ProgressBar, tally: &mut Tally) -> anyhow::Result<()> {
        let mut reread = Vec::with_capacity(page.len());
        let mut found = Vec::with_capacity(page.len());
        let mut reading = stream::iter(page)
            .map(|seen| {
                let reader = Arc::clone(&self.reader);
                tokio::spawn(async move {
                    let result = reader.read(&seen).await;
                    (seen, result)
                })
            })
            .buffered(self.jobs);
        while let Some(read) = reading.next().await {
            let (seen, result) = read?;
            match result {
                Ok(reading) => {
                    let differences = differences(&seen, &reading);
                    reread.push(Reread { seen, reading, changed: !differences.is_empty() });
                    found.push(differences);
                }
                Err(error) => self.failure(&seen.id, &error, bar, tally)?,
            }
        }
        let written = match mode {
            Mode::Look => vec![Written::Written; reread.len()],
            Mode::Write { .. } => self.reparser.write(&reread).await?,
        };
        for ((reread, differences), written) in reread.iter().zip(&found).zip(written) {
            let receipt = &reread.seen.id;
            match written {
                Written::Written => {
                    tally.book(kind(differences));
                    if mode != (Mode::Write { show: false }) {
                        output::aside(bar, || self.show(&reread.seen, differences))?;
                    }
                }
                Written::Edited => {
                    tally.edited += 1;
                    output::aside(bar, || {
                        tracing::info!(
                            name: "reparse.edited_meanwhile",
                            receipt,
                            "it changed meanwhile; left alone"
                        )
                    });
                }
                Written::Locked => {
                    self.failure(receipt, "somebody has it locked; run this again", bar, tally)?;
                }
                Written::Refused(error) => self.failure(receipt, &error, bar, tally)?,
            }
        }
        Ok(())
    }

    fn failure(&self, receipt: &str, error: &str, bar: &ProgressBar, tally: &mut Tally) -> anyhow::Result<()> {
        tally.failed += 1;
        output::aside(bar, || {
            tracing::error!(name: "reparse.failed", receipt, "{error}");
            if self.json { output::json(&Line::Failure { receipt, error }) } else { Ok(()) }
        })
    }

    fn show(&self, seen: &Seen, differences: &[Difference]) -> anyhow::Result<()> {
        if differences.is_empty() {
            return Ok(());
        }
        if self.json {
            let (receipt, read_by) = (&seen.id, &seen.component);
            return output::json(&Line::Change { receipt, kind: kind(differences), read_by, differences });
        }
        output::line(plain(&seen.id))?;
        for difference in differences {
            let value = |value: &Option<String>| value.as_deref().map_or_else(|| "-".to_owned(), plain);
            let lost = if difference.kind() == Kind::Lost { "  (lost)" } else { "" };
            let Difference { field, old, new } = difference;
            output::line(format!("  {field:<11}{} → {}{lost}", value(old), value(new)))?;
        }
        Ok(())
    }
}

/// Reads stored OCR responses with a component's parser.
pub(super) struct Reader {
    pub(super) sandbox: Arc<Sandbox>,
    pub(super) program: Arc<Program>,
    pub(super) artifacts: Artifacts,
}

impl Reader {
    async fn read(&self, seen: &Seen) -> Result<Completion, String> {
        let key = seen.artifact_key.as_deref().ok_or("it names no OCR artifact (ocr_s3_key)")?;
        if !Artifacts::belongs_to(key, &seen.id) {
            return Err(format!("its ocr_s3_key {key:?} is no artifact of this receipt"));
        }
        let bytes = self.artifacts.read(key).await.map_err(|failure| failure.to_string())?;
        let json = String::from_utf8(bytes).map_err(|_| format!("the artifact {key} is not UTF-8 text"))?;
        match self.sandbox.parse(&self.program, &json).await {
            Ok(Ok(receipt)) => Ok(completion(&receipt, key.to_owned())),
            Ok(Err(ParseError::NotJson(problem))) => Err(format!("the artifact {key} is no JSON: {problem}")),
            Ok(Err(ParseError::NotTextract(problem))) => {
                Err(format!("the artifact {key} is no Textract response: {problem}"))
            }
            Err(error) => Err(error.to_string()),
        }
    }
}
