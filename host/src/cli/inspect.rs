//! `host inspect`: what a component is.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::output;
use crate::sandbox::{self, CONTRACT, EMBEDDED, Inspection, Limits, SERVED_VERSIONS, Sandbox};

/// Shows a component's digest, size, exports, imports and contract version, and whether this host would run it.
///
/// Exit code 1 when it would not. Nothing of the component is run.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  host inspect worker.wasm
  host inspect --json | jq -r .sha256     the built-in component")]
pub(crate) struct Inspect {
    /// The component; the one that is built in, if not given.
    file: Option<PathBuf>,
    /// One line of JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    inspection: Inspection,
    runs: bool,
    reason: Option<String>,
}

impl Inspect {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let (name, bytes) = match &self.file {
            Some(path) => {
                let bytes = sandbox::read_component(path)
                    .map_err(|error| anyhow::anyhow!("cannot read {}: {error}", path.display()))?;
                (path.display().to_string(), bytes)
            }
            None => ("the built-in component".to_owned(), EMBEDDED.to_vec()),
        };
        let (inspection, verdict) = sandbox::inspect(&bytes);
        // What the names do not show (functions with another signature) shows when it is linked.
        let reason = match verdict {
            Err(refusal) => Some(refusal.to_string()),
            Ok(()) => {
                Sandbox::new(Limits::default(), 1, None)?.load_bytes(&name, &bytes).err().map(|error| error.to_string())
            }
        };
        let report = Report { inspection, runs: reason.is_none(), reason };
        if self.json {
            output::json(&report)?
        } else {
            print(&name, &report)?
        }
        Ok(if report.runs { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn print(name: &str, report: &Report) -> anyhow::Result<()> {
    let Report { inspection, reason, .. } = report;
    let list = |names: &[String]| match names {
        [] => "none".to_owned(),
        names => output::plain(&names.join("\n            ")).replace('\u{FFFD}', "\n"),
    };
    output::line(format!("component   {name}"))?;
    output::line(format!("sha256      {}", inspection.sha256))?;
    output::line(format!("size        {} bytes", inspection.size))?;
    output::line(format!("contract    {}", inspection.contract.as_deref().unwrap_or("none")))?;
    output::line(format!("exports     {}", list(&inspection.exports)))?;
    output::line(format!("imports     {}", list(&inspection.imports)))?;
    let verdict = match reason {
        None => format!("yes (this host serves {CONTRACT} {})", SERVED_VERSIONS.join(" and ")),
        Some(reason) => format!("no: {}", output::plain(reason)),
    };
    output::line(format!("would run   {verdict}"))?;
    Ok(())
}
