//! `make chaos`: the worker while everything goes wrong at once, for minutes, on this machine. What is done to it, and what
//! is asked of it, is in `tests::chaos`; here are the options, the progress and the table.

mod table;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use tests::chaos::{self, Progress, Settings};

/// Tries the worker while everything goes wrong at once.
///
/// Exits with 1 when a receipt was lost, settled twice or paid for needlessly, or anything else broke an invariant.
#[derive(Debug, Parser)]
struct Chaos {
    /// The host to try.
    #[arg(long, env = "CHAOS_HOST", value_name = "FILE")]
    host: PathBuf,
    /// Receipts.
    #[arg(long, env = "CHAOS_RECEIPTS", default_value_t = 20_000, value_name = "N")]
    receipts: u32,
    /// Hosts.
    #[arg(long, env = "CHAOS_HOSTS", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=16), value_name = "N")]
    hosts: u8,
    /// Receipts that each host works at the same time.
    #[arg(long, env = "CHAOS_CONCURRENCY", default_value_t = 12, value_name = "N")]
    concurrency: usize,
    /// How long things go wrong, at least: until nine tenths of the receipts are settled, up to six times as long.
    #[arg(long, env = "CHAOS_MINUTES", default_value_t = 5.0, value_parser = minutes, value_name = "MINUTES")]
    minutes: f64,
    /// What goes wrong when; by chance, if not given. The same seed is the same plan, but not the same timing.
    #[arg(long, env = "CHAOS_SEED", value_name = "N")]
    seed: Option<u64>,
    /// When nothing is settled for so many seconds after the faults, what is left is called stuck.
    #[arg(long, env = "CHAOS_PATIENCE", default_value_t = 120, value_name = "SECONDS")]
    patience: u64,
    /// A folder for the hosts' logs.
    #[arg(long, env = "CHAOS_LOGS", value_name = "FOLDER")]
    logs: Option<PathBuf>,
    /// One line of JSON in place of the table.
    #[arg(long, env = "CHAOS_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    json: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let chaos = Chaos::parse();
    anyhow::ensure!(chaos.host.is_file(), "--host: there is no file {}", chaos.host.display());
    if let Some(folder) = &chaos.logs {
        std::fs::create_dir_all(folder).with_context(|| format!("--logs: cannot make {}", folder.display()))?;
    }
    let settings = Settings {
        seed: chaos.seed.unwrap_or_else(tests::chaos::random_seed),
        receipts: chaos.receipts,
        hosts: chaos.hosts.into(),
        concurrency: chaos.concurrency,
        faults_for: Duration::from_secs_f64(chaos.minutes * 60.0),
        patience: Duration::from_secs(chaos.patience),
        host: Some(chaos.host.canonicalize().context("--host")?),
        logs: chaos.logs.clone(),
    };
    let repeat = format!(
        "make chaos ARGS=\"--seed {} --receipts {} --hosts {} --concurrency {} --minutes {}\"",
        settings.seed, settings.receipts, settings.hosts, settings.concurrency, chaos.minutes
    );
    let mut stderr = std::io::stderr();
    writeln!(stderr, "seed {}; to repeat: {repeat}", settings.seed)?;
    let bar = bar(settings.receipts);
    let report = chaos::run(&settings, |progress| show(&bar, progress)).await;
    bar.finish_and_clear();

    let mut stdout = std::io::stdout().lock();
    if chaos.json {
        writeln!(stdout, "{}", serde_json::to_string(&report)?)?;
    } else {
        writeln!(stdout, "{}", table::of(&report))?;
    }
    if report.violations.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    for violation in &report.violations {
        writeln!(stderr, "error: {violation}")?;
    }
    writeln!(stderr, "to repeat: {repeat}")?;
    Ok(ExitCode::FAILURE)
}

/// On a terminal only.
fn bar(receipts: u32) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {pos}/{len} settled; {msg}");
    ProgressBar::new(receipts.into()).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show(bar: &ProgressBar, progress: Progress) {
    let open = u64::try_from(progress.open).unwrap_or_default();
    bar.set_position(u64::from(progress.inserted).saturating_sub(open));
    let weather = if progress.faults { "everything goes wrong" } else { "calm" };
    bar.set_message(format!("{open} queued; {weather}; {} violations", progress.violations));
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(minutes) if minutes.is_finite() && (0.1..=600.0).contains(&minutes) => Ok(minutes),
        _ => Err(format!("{text:?} is no time; write minutes from 0.1 to 600")),
    }
}
