//! `host components`: what runs where, what was before, and why it changed.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::output::{self, plain};
use super::target::TargetArgs;
use crate::queue::components::{self, Change, LedgerEntry, Recorded, Running};
use crate::swap::short;

/// Who a person is in the ledger, where every other entry has a worker's id.
const OPERATOR: &str = "operator";
/// A digest's beginning must have so many characters to be taken for it.
const SHORTEST_PREFIX: usize = 8;

/// Shows which component each worker runs, and then every change, newest first: what, from what, and why.
///
/// A worker is listed while it has a session in the database. Where DATABASE_URL gives the sessions an application_name of
/// its own that cannot be seen: then every worker is listed that did not say that it stopped.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  host components
  host components --json | jq -r 'select(.what == \"running\").digest'
  host components allow 3f9ac01b22d4 --reason 'the new camera app was to blame'"
)]
pub(crate) struct Components {
    #[command(subcommand)]
    action: Option<Action>,
    /// Changes to show, at most.
    #[arg(long, env = "WORKER_COMPONENTS_LIMIT", default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..), value_name = "N")]
    limit: i64,
    /// One line of JSON each; `what` is running or change.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    Allow(Allow),
}

/// Trusts a component again that was rolled back.
#[derive(Debug, Args)]
struct Allow {
    /// SHA-256 of the component, or its beginning (at least 8 characters).
    #[arg(value_parser = digest)]
    digest: String,
    /// Why, for whoever reads the list later.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
enum Line<'a> {
    Running(&'a Running),
    Change(&'a Recorded),
}

impl Components {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        if let Some(Action::Allow(allow)) = self.action {
            return allow.execute().await;
        }
        let client = self.target.resolve().await?.database.connect_checked().await?;
        let running = components::running(&client).await?;
        let history = components::history(&client, self.limit).await?;
        if self.json {
            let lines = running.iter().map(Line::Running).chain(history.iter().map(Line::Change));
            lines.into_iter().try_for_each(|line| output::json(&line))?;
            return Ok(ExitCode::SUCCESS);
        }
        show_running(&running)?;
        output::line("")?;
        show_history(&history)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Allow {
    async fn execute(self) -> anyhow::Result<ExitCode> {
        let client = self.target.resolve().await?.database.connect_checked().await?;
        let known = components::known(&client, &self.digest).await?;
        let digest = match known.as_slice() {
            [digest] => digest,
            [] => anyhow::bail!(
                "no component whose digest begins with {} ever ran here; see `host components`",
                self.digest
            ),
            _ => anyhow::bail!("more than one component's digest begins with {}; write more of it", self.digest),
        };
        if components::distrusted(&client, digest).await?.is_none() {
            tracing::info!(name: "component.already_allowed", digest, "it is not distrusted; nothing to do");
            return Ok(ExitCode::SUCCESS);
        }
        let entry = LedgerEntry {
            worker: OPERATOR.to_owned(),
            change: Change::Allowed,
            digest: digest.clone(),
            previous: None,
            reason: self.reason,
            source: None,
        };
        components::record(&client, &entry).await?;
        output::line(digest)?;
        tracing::info!(name: "component.allowed", digest, "may run again");
        Ok(ExitCode::SUCCESS)
    }
}

fn show_running(running: &[Running]) -> anyhow::Result<()> {
    let mut table = output::table(&["worker", "runs", "since", "how", "before", "alive", "why"]);
    for worker in running {
        table.add_row([
            plain(&worker.worker),
            plain(short(&worker.digest)),
            worker.since.clone(),
            worker.change.to_string(),
            plain(worker.previous.as_deref().map_or("-", short)),
            worker.alive.map_or("unknown", |alive| if alive { "yes" } else { "no" }).to_owned(),
            plain(&reasons(worker)),
        ]);
    }
    Ok(output::show(&table, "no worker runs")?)
}

/// Why it runs what it runs, and why it claims nothing for now.
fn reasons(worker: &Running) -> String {
    match (&worker.why, &worker.paused) {
        (None, None) => "-".to_owned(),
        (Some(why), None) => why.clone(),
        (None, Some(paused)) => format!("paused: {paused}"),
        (Some(why), Some(paused)) => format!("{why}; paused: {paused}"),
    }
}

fn show_history(history: &[Recorded]) -> anyhow::Result<()> {
    let mut table = output::table(&["when", "worker", "change", "from", "to", "source", "why"]);
    for change in history {
        // In a roll-back the one that it is about is the one that was left.
        let (from, to) = match change.change {
            Change::RolledBack => (Some(change.digest.as_str()), change.previous.as_deref()),
            _ => (change.previous.as_deref(), Some(change.digest.as_str())),
        };
        table.add_row([
            change.at.clone(),
            plain(&change.worker),
            change.change.to_string(),
            plain(from.map_or("-", short)),
            plain(to.map_or("-", short)),
            plain(change.source.as_deref().unwrap_or("-")),
            plain(change.reason.as_deref().unwrap_or("-")),
        ]);
    }
    Ok(output::show(&table, "no component was ever changed here")?)
}

/// Reads a digest or the beginning of one.
pub(super) fn digest(text: &str) -> Result<String, String> {
    let digest = text.trim().to_ascii_lowercase();
    if !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!("{text:?} is no SHA-256; it has the digits 0-9 and a-f"));
    }
    match digest.len() {
        SHORTEST_PREFIX..=64 => Ok(digest),
        _ => Err(format!("{text:?} is no SHA-256; write at least {SHORTEST_PREFIX} of its 64 digits")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_may_be_cut_but_not_too_short() {
        assert_eq!(digest("0123ABCD").as_deref(), Ok("0123abcd"));
        for text in ["", "0123abc", "0123abcg", "%%%%%%%%", &"0".repeat(65)] {
            assert!(digest(text).is_err(), "{text}");
        }
    }
}
