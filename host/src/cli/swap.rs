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

/// The lists of the gate's report, in the order in which they are shown, and what one entry is called.
const LISTS: [(&str, &str); 6] = [
    ("failures", "failure"),
    ("lost", "lost"),
    ("changed", "changed"),
    ("gained", "gained"),
    ("decisions", "decision"),
    ("unrecorded", "unrecorded"),
];

/// The gate's report for people: counts, and the first differences.
fn gate_lines(gate: &Value) -> Vec<String> {
    let number = |pointer: &str| gate.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let list = |name: &str| gate.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut lines = vec![format!(
        "gate        {} responses, {} traces, {} policy decisions replayed",
        number("/responses"),
        number("/traces"),
        number("/policy")
    )];
    let counts: Vec<String> = LISTS.iter().map(|(name, _)| format!("{} {name}", list(name).len())).collect();
    lines.push(format!("            {}", counts.join(", ")));
    if number("/expected/of") > 0 {
        let (before, after, of) = (number("/expected/before"), number("/expected/after"), number("/expected/of"));
        lines.push(format!("            {before} → {after} of {of} fields as expected"));
    }
    if let (Some(before), Some(after)) = (gate.pointer("/work/before"), gate.pointer("/work/after")) {
        let ratio = after.as_f64().zip(before.as_f64().filter(|&before| before > 0.0));
        let ratio = ratio.map(|(after, before)| format!(" ({:.2} times)", after / before)).unwrap_or_default();
        lines.push(format!("            {before} → {after} instructions{ratio}"));
    }
    if let Some(verdict) = gate.get("verdict").and_then(Value::as_str) {
        lines.push(format!("            {}", output::plain(verdict)));
    }
    let differences = LISTS.iter().flat_map(|(name, one)| list(name).iter().map(|found| difference(one, found)));
    let skipped = list("skipped").iter().map(|why| format!("{:<12}{}", "skipped", output::text(why)));
    let told: Vec<String> = differences.chain(skipped).collect();
    lines.extend(told.iter().take(SHOWN).cloned());
    if told.len() > SHOWN {
        lines.push(format!("            … and {} more (--json)", told.len() - SHOWN));
    }
    lines
}

/// A field with what it was and is, or an item and what is to be said of it.
fn difference(kind: &str, found: &Value) -> String {
    let part = |name: &str| found.get(name).map(output::text);
    match (part("item"), part("field"), part("before"), part("after"), part("what")) {
        (Some(item), Some(field), Some(before), Some(after), _) => {
            format!("{kind:<12}{item} {field}: {before} → {after}")
        }
        (Some(item), .., Some(what)) => format!("{kind:<12}{item}: {what}"),
        _ => format!("{kind:<12}{}", output::text(found)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::Reading;
    use crate::replay::Differences;
    use crate::swap::gate::{GateReport, Work};
    use serde_json::json;

    #[test]
    fn a_gate_report_is_counts_and_the_first_differences() {
        let mut differences = Differences::default();
        differences.failure("b.json", "unreachable");
        let found = Reading { vendor: Some("A\u{1b}".to_owned()), ..Reading::default() };
        for number in 0..8 {
            differences.readings(&format!("{number}.json"), &found, &Reading::default());
        }
        differences.decision("throttled", "retry", "dead-letter");
        differences.unrecorded("run 7", "another image");
        let mut report = GateReport {
            responses: 20,
            traces: 3,
            policy: 4,
            differences,
            work: Work { before: 100, after: 250 },
            skipped: vec!["c.json is no JSON".to_owned()],
            verdict: "refused: it fails".to_owned(),
            ..GateReport::default()
        };
        (report.expected.before, report.expected.after, report.expected.of) = (9, 7, 10);
        let lines = gate_lines(&serde_json::to_value(&report).unwrap_or_default());
        let text = lines.join("\n");
        for part in [
            "20 responses, 3 traces, 4 policy",
            "1 failures, 8 lost, 0 changed, 0 gained, 1 decisions, 1 unrecorded",
            "9 → 7 of 10 fields as expected",
            "100 → 250 instructions (2.50 times)",
            "refused: it fails",
            "failure     b.json: unreachable",
            "lost        7.json vendor: A\u{FFFD} → none",
            "decision    throttled: retry → dead-letter",
            "… and 2 more",
        ] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        assert!(!text.contains("another image"), "{text}");
        // A host of another version may say less.
        assert!(!gate_lines(&json!({})).is_empty());
    }

    #[test]
    fn every_list_of_a_gate_report_is_shown() {
        let report = serde_json::to_value(GateReport::default()).unwrap_or_default();
        let lists = report.as_object().into_iter().flatten().filter(|(_, value)| value.is_array());
        for (name, _) in lists {
            assert!(name == "skipped" || LISTS.iter().any(|(list, _)| list == name), "{name} is not shown");
        }
        for (name, _) in LISTS {
            assert!(report.get(name).is_some_and(Value::is_array), "{name} is in no report");
        }
    }
}
