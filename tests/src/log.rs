//! The host's log, read by the names of its events (docs/events.md). A name that the page does not list fails a test: else one that is
//! said never to be logged could be misspelt.

use std::collections::BTreeSet;
use std::sync::LazyLock;

static NAMES: LazyLock<BTreeSet<&str>> = LazyLock::new(|| names_of(include_str!("../../docs/events.md")).collect());

/// The lines of this event in a text log.
#[track_caller]
pub fn events<'a>(log: &'a str, name: &str) -> Vec<&'a str> {
    assert!(NAMES.contains(name), "docs/events.md lists no event {name}");
    log.lines().filter(|line| name_in(line) == Some(name)).collect()
}

/// Whether the event is in it.
#[track_caller]
pub fn has_event(log: &str, name: &str) -> bool {
    has_event_with(log, name, "")
}

/// Whether a line of this event has this in its fields or words.
#[track_caller]
pub fn has_event_with(log: &str, name: &str, part: &str) -> bool {
    events(log, name).iter().any(|line| line.contains(part))
}

/// Time, level, `name:`; nobody else can write there.
fn name_in(line: &str) -> Option<&str> {
    line.split_whitespace().nth(2)?.strip_suffix(':')
}

/// The events that the page lists, in their order.
pub(crate) fn names_of(page: &str) -> impl Iterator<Item = &str> {
    let names: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    names.into_iter()
}
