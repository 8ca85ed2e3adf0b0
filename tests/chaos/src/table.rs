//! The report for people: faults, and what they came to.

use std::collections::BTreeMap;
use std::fmt::Display;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use tests::chaos::{Report, RequestFaults};

/// The table that docs/reliability.md shows.
pub fn of(report: &Report) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(["fault", "count"]);
    let mut row = |name: &str, value: &dyn Display| {
        table.add_row([name.to_owned(), value.to_string()]);
    };
    let (faults, outcomes, paid) = (&report.faults, &report.outcomes, &report.paid);
    row("hosts, seed", &format!("{}, {}", report.hosts, report.seed));
    row("host killed (kill -9)", &faults.kills);
    row("host stopped for longer than its lease", &faults.stops);
    row("host that could not start, started again", &faults.failed_starts);
    row("Postgres restarted (fast)", &faults.postgres_restarts);
    row("Postgres crashed (immediate)", &faults.postgres_crashes);
    row("backends terminated", &faults.backends_terminated);
    row("S3", &requests(&faults.s3));
    row("Textract", &requests(&faults.textract));
    row("trapping component put in place", &faults.bad_guests);
    row("what the hosts made of it", &list(&faults.component_changes));
    row("people meanwhile", &list(&faults.deeds));
    row("", &"");
    row("outcome", &"count");
    row("receipts", &outcomes.inserted);
    row("done", &outcomes.done);
    row("dead", &format!("{} ({})", outcomes.dead.values().sum::<i64>(), list(&outcomes.dead)));
    row("taken care of by a person", &outcomes.by_hand);
    row("deleted by a person", &outcomes.deleted);
    row("put back when the hosts ended, done by the next", &outcomes.put_back_in_the_end);
    row("lost", &outcomes.lost);
    row("settled twice", &outcomes.doubled);
    row("attempts: receipts", &list(&outcomes.attempts));
    row("most claims of one receipt", &outcomes.most_claims);
    row("Textract calls, photos read", &format!("{}, {}", paid.calls, paid.photos));
    row("Textract calls a photo", &format!("{:.3} (most {})", paid.calls_per_photo, paid.most));
    row("answers taken away after they were paid for", &paid.answers_taken_away);
    row("paid for again though the artifact was there", &paid.wasted);
    let zombies = &report.zombies;
    row("zombies that woke, and said they lost a lease", &format!("{}, {}", zombies.woke, zombies.said_so));
    row("leases lost, by the logs", &zombies.leases_lost);
    row("snapshots judged during the run", &report.looks);
    row("violations", &report.violations.len());
    row("seconds, with faults", &format!("{:.0}, {:.0}", report.seconds, faults.seconds));
    table
}

fn requests(faults: &RequestFaults) -> String {
    let RequestFaults { requests, slow, broken, throttled, half, lost, never } = faults;
    format!(
        "of {requests} requests {slow} late, {broken} 5xx, {throttled} throttled, {half} half a body, {lost} answer \
         lost, {never} never answered"
    )
}

fn list<K: Display, V: Display>(counts: &BTreeMap<K, V>) -> String {
    counts.iter().map(|(name, count)| format!("{name}: {count}")).collect::<Vec<_>>().join(", ")
}
