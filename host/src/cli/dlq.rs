//! `host dlq`: the dead letters.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::answers;
use super::output::{self, plain};
use super::target::TargetArgs;
use crate::queue::Connection;
use crate::queue::dead_letters::{self, DeadLetter, DeadLetterSelection};
use crate::swap::short;

/// Lists, shows, retries or discards dead letters: receipts that were given up.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  host dlq list
  host dlq show 6f1c…
  host dlq retry 6f1c… 07aa…
  host dlq retry --all
  host dlq retry 6f1c… --ocr-again    its stored answer cannot be read: pay for another one
  host dlq discard 6f1c… --yes")]
pub(crate) enum Dlq {
    /// Lists them, newest first.
    List(List),
    /// Shows everything that is known about one.
    Show(Show),
    /// Puts them back into the queue with fresh attempts; that they were dead is remembered.
    ///
    /// Nothing is paid for twice: where there is an answer of Textract's, it is read again. --ocr-again is for answers that
    /// cannot be read.
    Retry(Retry),
    /// Removes them for good; their receipts stay ocr_failed.
    Discard(Discard),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// At most so many.
    #[arg(long, env = "WORKER_DLQ_LIMIT", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..), value_name = "N")]
    limit: i64,
    /// One line of JSON each.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The receipt's id.
    receipt: String,
    /// One line of JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Retry {
    #[command(flatten)]
    which: WhichArgs,
    #[command(flatten)]
    told: Told,
    /// Move the stored answers of OCR aside (they are kept under another key) and pay for new ones; with --all only of those
    /// that died of an answer that could not be read.
    #[arg(long)]
    ocr_again: bool,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Discard {
    #[command(flatten)]
    which: WhichArgs,
    #[command(flatten)]
    told: Told,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct WhichArgs {
    /// Receipts' ids.
    #[arg(value_name = "RECEIPT")]
    receipts: Vec<String>,
    /// All of them.
    #[arg(long)]
    all: bool,
}

/// How what was done is told.
#[derive(Debug, Args)]
struct Told {
    /// One line of JSON a receipt.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    receipt: &'a str,
    done: &'static str,
}

/// What was done to dead letters: one word for programs, and words for people.
struct Verb(&'static str, &'static str);

impl WhichArgs {
    fn which(&self) -> DeadLetterSelection {
        if self.all { DeadLetterSelection::All } else { DeadLetterSelection::Receipts(self.receipts.clone()) }
    }

    /// Reports what was done, and fails when something that was meant is not there, or hidden from this role.
    async fn report(
        &self,
        client: &impl Connection,
        verb: Verb,
        told: &Told,
        done: &[String],
    ) -> anyhow::Result<ExitCode> {
        let Verb(word, words) = verb;
        for receipt in done {
            match told.json {
                true => output::json(&Line { receipt, done: word })?,
                false => output::line(receipt)?,
            }
        }
        tracing::info!(name: "dlq.finished", done = word, count = done.len(), "{words}");
        let hidden = dead_letters::hidden(client, &self.which()).await?;
        anyhow::ensure!(
            hidden == 0,
            "{hidden} dead letters were left alone: row-level security hides their receipts from this role (host rights)"
        );
        let missing: Vec<&str> = self.receipts.iter().filter(|id| !done.contains(id)).map(String::as_str).collect();
        anyhow::ensure!(missing.is_empty(), "no dead letter of receipt {}", missing.join(", "));
        Ok(ExitCode::SUCCESS)
    }
}

impl Dlq {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::List(verb) => verb.execute().await,
            Self::Show(verb) => verb.execute().await,
            Self::Retry(verb) => {
                let target = verb.target.resolve().await?;
                let mut client = target.database.connect_checked().await?;
                if verb.ocr_again {
                    let letters = dead_letters::list(&client, &verb.which.which(), i64::MAX).await?;
                    answers::move_aside(&target, &letters, verb.which.all).await?;
                }
                let done = dead_letters::retry(&mut client, &verb.which.which()).await?;
                verb.which.report(&client, Verb("retried", "back in the queue"), &verb.told, &done).await
            }
            Self::Discard(verb) => verb.execute().await,
        }
    }
}

impl List {
    async fn execute(self) -> anyhow::Result<ExitCode> {
        let client = self.target.resolve().await?.database.connect_checked().await?;
        let letters = dead_letters::list(&client, &DeadLetterSelection::All, self.limit).await?;
        if self.json {
            letters.iter().try_for_each(output::json)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut table = output::table(&["receipt", "failed at", "attempts", "kind", "error"]);
        for letter in &letters {
            table.add_row([
                plain(&letter.receipt_id),
                letter.failed_at.clone(),
                letter.attempts.to_string(),
                letter.error_kind.clone(),
                plain(&letter.error_message),
            ]);
        }
        output::show(&table, "there are no dead letters")?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Show {
    async fn execute(self) -> anyhow::Result<ExitCode> {
        let client = self.target.resolve().await?.database.connect_checked().await?;
        let letters =
            dead_letters::list(&client, &DeadLetterSelection::Receipts(vec![self.receipt.clone()]), 1).await?;
        let Some(letter) = letters.first() else {
            anyhow::bail!("no dead letter of receipt {}", self.receipt);
        };
        if self.json {
            output::json(letter)?;
            return Ok(ExitCode::SUCCESS);
        }
        show(letter)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn show(letter: &DeadLetter) -> anyhow::Result<()> {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    for (name, value) in [
        ("receipt", letter.receipt_id.clone()),
        ("image", or_none(&letter.s3_key)),
        ("kind", letter.error_kind.clone()),
        ("code", letter.error_code.clone()),
        ("error", letter.error_message.clone()),
        ("notes", or_none(&letter.notes)),
        ("attempts", letter.attempts.to_string()),
        ("claims", letter.claims.to_string()),
        ("deaths", letter.deaths.to_string()),
        ("enqueued at", letter.enqueued_at.clone()),
        ("failed at", letter.failed_at.clone()),
        ("component", or_none(&letter.component)),
    ] {
        output::line(format!("{name:<12}{}", plain(&value)))?;
    }
    for past in &letter.history {
        let component = past.component.as_deref().map_or("-", short);
        let text = format!("{} {} {} {} by {component}", past.at, past.outcome, past.kind, past.code);
        output::line(format!("{:<12}{}", format!("attempt {}", past.attempt), plain(&text)))?;
    }
    Ok(())
}

impl Discard {
    async fn execute(self) -> anyhow::Result<ExitCode> {
        if !self.yes && !output::confirmed("Discard for good?")? {
            anyhow::bail!("nothing was discarded (--yes does not ask)");
        }
        let client = self.target.resolve().await?.database.connect_checked().await?;
        let done = dead_letters::discard(&client, &self.which.which()).await?;
        self.which.report(&client, Verb("discarded", "discarded"), &self.told, &done).await
    }
}
