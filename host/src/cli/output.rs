//! Output: data on stdout, one place for colours, tables, progress and questions.

mod progress;
mod screen;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde_json::Value;

pub(super) use self::progress::{aside, bar, spinner};
pub(super) use self::screen::{colour_stderr, colour_stdout};
use crate::failure::reorders;
use crate::telemetry::stderr;

/// How long a question waits to be seen before its answer is read.
const SEEN: Duration = Duration::from_secs(1);

/// Data that did not reach stdout.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to stdout: {0}")]
pub(super) struct Unwritten(#[source] io::Error);

impl Unwritten {
    /// The reader went away (`host parse … | head`), which is no error.
    pub(super) fn is_unwanted(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Writes data as it is.
pub(super) fn bytes(bytes: &[u8]) -> Result<(), Unwritten> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(Unwritten)
}

/// Writes a line of data.
pub(super) fn line(text: impl AsRef<str>) -> Result<(), Unwritten> {
    bytes(format!("{}\n", text.as_ref()).as_bytes())
}

/// Writes a value as one line of JSON.
pub(super) fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    Ok(line(serde_json::to_string(value)?)?)
}

/// A table with these headings.
pub(super) fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(headings);
    table
}

/// Writes a table; in its place, where it has no rows, these words.
pub(super) fn show(table: &Table, otherwise: &str) -> Result<(), Unwritten> {
    if table.row_iter().next().is_none() {
        return line(otherwise);
    }
    // No line is as long as the longest one.
    let text = table.to_string();
    line(text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"))
}

/// Asks on the terminal; without one the answer is no.
pub(super) fn confirmed(question: &str) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    stderr::print(format!("{question} [y/N] "));
    stderr::flush(SEEN);
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Text that came from outside, made safe for a terminal: neither moves the cursor nor shows itself in another order.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || reorders(c) { '\u{FFFD}' } else { c }).collect()
}

/// A JSON value as people read it.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text),
        Value::Null => "none".to_owned(),
        value => plain(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_shown_is_what_is_there() {
        assert_eq!(super::plain("a\nb\x1b[2J\u{202E}gpj.c\u{2066}"), "a\u{FFFD}b\u{FFFD}[2J\u{FFFD}gpj.c\u{FFFD}");
        assert_eq!(super::plain("ключ 'é'; \u{1F9FE}"), "ключ 'é'; \u{1F9FE}");
    }
}
