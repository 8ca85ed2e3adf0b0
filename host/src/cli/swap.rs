//! `host swap`: asks the running host to change its component.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::args::AdminArgs;
use super::output;
use crate::sandbox::{self, Refusal};
use crate::swap::{Candidate, LARGEST_COMPONENT, SIGNATURE_SUFFIX, SwapOutcome, Verdict};

/// Differences of the gate that are shown; --json has all of them.
const SHOWN: usize = 10;

/// Offers a component to the host that runs on this machine, and prints its verdict.
///
/// The host checks it, replays recorded runs on it, and only then lets it work. Exit code 1 when it is refused; the host
/// works on with what it had. NEW.wasm.minisig goes with it where there is one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  host swap new.wasm
  host swap new.wasm --json | jq .gate
  host swap new.wasm --admin 127.0.0.1:9465   another host of this machine")]
pub(crate) struct Swap {
    /// The component.
    #[arg(value_name = "NEW.wasm")]
    component: PathBuf,
    /// Its signature, if it is not beside it.
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    #[command(flatten)]
    admin: AdminArgs,
    /// One line of JSON.
    #[arg(long)]
    json: bool,
}

impl Swap {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let candidate = Candidate {
            name: format!("host swap {}", self.component.display()),
            bytes: component(&self.component)?,
            signature: self.signature()?,
        };
        let verdict = self.admin.client().await?.swap(candidate).await?;
        if self.json {
            output::json(&verdict)?
        } else {
            print(&verdict)?
        }
        Ok(match verdict.outcome {
            SwapOutcome::Switched | SwapOutcome::Unchanged => ExitCode::SUCCESS,
            SwapOutcome::Refused => ExitCode::FAILURE,
        })
    }

    fn signature(&self) -> anyhow::Result<Option<String>> {
        let problem = |path: &Path, error: io::Error| anyhow::anyhow!("cannot read {}: {error}", path.display());
        if let Some(path) = &self.signature {
            return std::fs::read_to_string(path).map(Some).map_err(|error| problem(path, error));
        }
        let mut path = self.component.clone().into_os_string();
        path.push(SIGNATURE_SUFFIX);
        let path = PathBuf::from(path);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(problem(&path, error)),
        }
    }
}

/// A wrong file is told so here; anything that could be a component is for the host to judge.
fn component(path: &Path) -> anyhow::Result<Vec<u8>> {
    let problem = |error| anyhow::anyhow!("cannot read {}: {error}", path.display());
    let size = std::fs::metadata(path).map_err(problem)?.len();
    anyhow::ensure!(
        size <= LARGEST_COMPONENT,
        "{} is no component: it has {size} bytes, and {LARGEST_COMPONENT} are taken",
        path.display()
    );
    let bytes = std::fs::read(path).map_err(problem)?;
    match sandbox::inspect(&bytes).1 {
        Err(refusal @ (Refusal::Empty | Refusal::NotWasm(_))) => {
            anyhow::bail!("{} is no component: {}", path.display(), output::plain(&refusal.to_string()))
        }
        _ => Ok(bytes),
    }
}

fn print(verdict: &Verdict) -> anyhow::Result<()> {
    let outcome = match verdict.outcome {
        SwapOutcome::Switched => "switched",
        SwapOutcome::Unchanged => "unchanged",
        SwapOutcome::Refused => "refused",
    };
    output::line(format!("outcome     {outcome}"))?;
    output::line(format!("digest      {}", output::plain(&verdict.digest)))?;
    if let Some(previous) = &verdict.previous {
        output::line(format!("previous    {}", output::plain(previous)))?;
    }
    output::line(format!("stage       {}", output::plain(&verdict.stage)))?;
    output::line(format!("reason      {}", output::plain(&verdict.reason)))?;
    output::line(format!("took        {} ms", verdict.milliseconds))?;
    if let Some(gate) = &verdict.gate {
        for line in gate_lines(gate) {
            output::line(line)?;
        }
    }
    Ok(())
}

/// The gate's report for people: counts, and the first differences.
fn gate_lines(gate: &Value) -> Vec<String> {
    let number = |name: &str| gate.get(name).and_then(Value::as_u64).unwrap_or_default();
    let list = |name: &str| gate.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut lines = vec![format!(
        "gate        {} responses, {} traces, {} policy decisions replayed",
        number("responses"),
        number("traces"),
        number("policy")
    )];
    let kinds = ["traps", "lost", "changed", "gained", "decisions"];
    let counts: Vec<String> = kinds.iter().map(|kind| format!("{} {kind}", list(kind).len())).collect();
    lines.push(format!("            {}", counts.join(", ")));
    if let (Some(before), Some(after)) = (gate.pointer("/work/before"), gate.pointer("/work/after")) {
        let ratio = after.as_f64().zip(before.as_f64().filter(|&before| before > 0.0));
        let ratio = ratio.map(|(after, before)| format!(" ({:.2} times)", after / before)).unwrap_or_default();
        lines.push(format!("            {before} → {after} instructions{ratio}"));
    }
    if let Some(verdict) = gate.get("verdict").and_then(Value::as_str) {
        lines.push(format!("            {}", output::plain(verdict)));
    }
    let differences: Vec<String> =
        kinds.iter().flat_map(|kind| list(kind).iter().map(|found| difference(kind, found))).collect();
    lines.extend(differences.iter().take(SHOWN).cloned());
    if differences.len() > SHOWN {
        lines.push(format!("            … and {} more (--json)", differences.len() - SHOWN));
    }
    lines
}

fn difference(kind: &str, found: &Value) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => output::plain(text),
        Value::Null => "none".to_owned(),
        value => output::plain(&value.to_string()),
    };
    let kind = match kind {
        "traps" => "trap",
        "decisions" => "decision",
        kind => kind,
    };
    let (Some(item), Some(before), Some(after)) = (found.get("item"), found.get("before"), found.get("after")) else {
        return format!("{kind:<12}{}", text(found));
    };
    let field = found.get("field").map(|field| format!(" {}", text(field))).unwrap_or_default();
    format!("{kind:<12}{}{field}: {} → {}", text(item), text(before), text(after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_gate_report_is_counts_and_the_first_differences() {
        let lost: Vec<Value> = (0..12)
            .map(|number| json!({ "item": format!("{number}.json"), "field": "vendor", "before": "A\u{1b}", "after": null }))
            .collect();
        let gate = json!({
            "responses": 20, "traces": 3, "policy": 4, "traps": ["b.json: unreachable"], "lost": lost,
            "changed": [], "gained": [], "decisions": [], "work": { "before": 100, "after": 250 }, "verdict": "refused",
        });
        let lines = gate_lines(&gate);
        let text = lines.join("\n");
        for part in [
            "20 responses, 3 traces, 4 policy",
            "1 traps, 12 lost, 0 changed, 0 gained, 0 decisions",
            "100 → 250 instructions (2.50 times)",
            "trap        b.json: unreachable",
            "lost        8.json vendor: A\u{FFFD} → none",
            "… and 3 more",
        ] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        assert!(!text.contains("9.json"), "{text}");
        // A host of another version may say less.
        assert!(!gate_lines(&json!({})).is_empty());
    }
}
