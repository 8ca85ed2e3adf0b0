//! `host shadow`: how a shadow component compares.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value};

use super::args::AdminArgs;
use super::output;

/// Shows how often, and where, the shadow component reads receipts differently from the current one.
///
/// The host runs with --shadow NEW.wasm; the shadow decides nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  host shadow
  host shadow --json | jq .fields")]
pub(crate) struct Shadow {
    #[command(flatten)]
    admin: AdminArgs,
    /// One line of JSON.
    #[arg(long)]
    json: bool,
}

impl Shadow {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let statistics = self.admin.client().await?.shadow().await?;
        let Value::Object(statistics) = statistics else {
            anyhow::bail!("the host has no shadow component; start it with --shadow NEW.wasm");
        };
        if self.json {
            output::json(&statistics)?;
        } else {
            for line in lines(&statistics) {
                output::line(line)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn lines(statistics: &Map<String, Value>) -> Vec<String> {
    let of = |name: &str| statistics.get(name).map(output::text).unwrap_or_default();
    let mut lines = vec![format!("candidate   {}", of("candidate")), format!("current     {}", of("current"))];
    let counts = ["compared", "same", "skipped", "errors"].map(|name| format!("{} {name}", of(name)));
    lines.push(format!("responses   {}", counts.join(", ")));

    if let Some(fields) = statistics.get("fields").and_then(Value::as_object).filter(|fields| !fields.is_empty()) {
        let mut table = output::table(&["field", "lost", "gained", "changed"]);
        for (field, counts) in fields {
            let of = |name: &str| counts.get(name).map(output::text).unwrap_or_default();
            table.add_row([output::plain(field), of("lost"), of("gained"), of("changed")]);
        }
        lines.push(format!("\n{table}"));
    }
    if let Some(latest) = statistics.get("latest").and_then(Value::as_array).filter(|latest| !latest.is_empty()) {
        let mut table = output::table(&["receipt", "field", "current", "candidate"]);
        for difference in latest {
            let of = |name: &str| difference.get(name).map(output::text).unwrap_or_default();
            table.add_row([of("receipt"), of("field"), of("current"), of("candidate")]);
        }
        lines.push(format!("\n{table}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn statistics_are_a_few_lines_and_two_tables() {
        let Value::Object(statistics) = json!({
            "candidate": "aaa", "current": "bbb", "compared": 10, "same": 8, "skipped": 1, "errors": 0,
            "fields": { "vendor": { "lost": 2, "gained": 0, "changed": 3 } },
            "latest": [{ "receipt": "r-1", "field": "vendor", "current": "Shop\u{7}", "candidate": null }],
        }) else {
            return;
        };
        let text = lines(&statistics).join("\n");
        for part in ["candidate   aaa", "10 compared, 8 same, 1 skipped, 0 errors", "r-1", "Shop\u{FFFD}", "none"] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        assert!(lines(&Map::new()).len() == 3);
    }
}
