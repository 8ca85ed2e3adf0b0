//! A replay event by event.

use std::io::{self, BufRead, IsTerminal};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::cli::output::{self, plain};
use crate::replay::{Exact, Replayed, exactly_by};
use crate::sandbox::{Call, Meter, NoAnswer, Oracle, Program};
use crate::trace::{Event, Json, Trace};

/// Replays a trace and shows each event as the component comes to it.
pub(super) async fn by_step(meter: &Meter, program: &Program, trace: Arc<Trace>) -> anyhow::Result<Replayed> {
    output::line(format!("{}  component {}", trace.path.display(), trace.header.component))?;
    for (number, event) in (1..).zip(&trace.events) {
        let Event::Enter { export, args } = event else { break };
        output::line(plain(&format!("{number:>4}  {export} {args} is called")))?;
    }
    let shown = Arc::new(AtomicUsize::new(0));
    let wait = io::stdin().is_terminal();
    let stepping = |exact| Stepping { exact, shown: Arc::clone(&shown), wait };
    let replayed = exactly_by(meter, program, Arc::clone(&trace), None, stepping).await;
    match &replayed {
        Replayed { mismatch: None, unreadable: None, .. } => show_end(&trace, &replayed)?,
        _ => output::line("the replay ends here")?,
    }
    Ok(replayed)
}

fn show_end(trace: &Trace, replayed: &Replayed) -> anyhow::Result<()> {
    for (number, event) in (1..).zip(&trace.events) {
        let what = match event {
            Event::Return { export, result } => format!("{export} returns {result}"),
            Event::Failed { how, message } => format!("{}: {message}", how.as_str()),
            _ => continue,
        };
        output::line(plain(&format!("{number:>4}  {what}")))?;
    }
    let what = if trace.complete { "the end is as recorded" } else { "all that was recorded is as recorded" };
    Ok(output::line(format!("{what}, after {} instructions", replayed.work))?)
}

struct Stepping {
    exact: Arc<Mutex<Exact>>,
    /// Number of the last event that was shown. A replay that needs more instructions begins again.
    shown: Arc<AtomicUsize>,
    wait: bool,
}

impl Oracle for Stepping {
    fn answer(&mut self, call: &Call) -> Result<Option<Json>, NoAnswer> {
        let mut exact = self.exact.lock().unwrap_or_else(PoisonError::into_inner);
        let number = exact.position() + 1;
        let answer = exact.answer(call);
        if self.shown.fetch_max(number, Ordering::Relaxed) >= number {
            return answer;
        }
        let shown = match &answer {
            Ok(Some(result)) => {
                format!("{number:>4}  {} {}\n        → {}", call.import, call.args, short(result.as_str()))
            }
            Ok(None) => format!("{number:>4}  {} {}", call.import, call.args),
            Err(why) => format!("{number:>4}  {} {}\n        ✗ {why}", call.import, call.args),
        };
        let lines: Vec<String> = shown.lines().map(plain).collect();
        output::line(lines.join("\n")).map_err(|error| NoAnswer(format!("cannot write: {error}")))?;
        if self.wait {
            let mut line = String::new();
            io::stdin().lock().read_line(&mut line).map_err(|error| NoAnswer(format!("cannot read: {error}")))?;
        }
        answer
    }

    fn response(&mut self, digest: &str) -> Result<String, NoAnswer> {
        self.exact.lock().unwrap_or_else(PoisonError::into_inner).response(digest)
    }
}

/// One line is enough to know what it was.
fn short(text: &str) -> String {
    const LONGEST: usize = 300;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
