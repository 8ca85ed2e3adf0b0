//! `make score`: how many of the labelled receipts the component reads right, in its sandbox, through `host parse`.

mod judge;
mod kinds;
mod sets;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Parser;
use comfy_table::Table;
use comfy_table::presets::NOTHING;

use worker::parser::model::Model;

use crate::judge::{Counts, Miss};
use crate::sets::{Reading, Readings, Receipt};

/// Reads labelled receipts and counts what is right.
///
/// Exits with 1 when fewer are right than --floor says.
#[derive(Debug, Parser)]
struct Score {
    /// The host whose component is judged.
    #[arg(long, env = "SCORE_HOST", value_name = "FILE")]
    host: PathBuf,
    /// More sets: a folder with labels.jsonl and a NAME.json for each label, or a folder of such folders. They are counted, and have no floor.
    #[arg(long, env = "SCORE_SETS", value_name = "FOLDER")]
    sets: Vec<PathBuf>,
    /// The folder of the project's own sets.
    #[arg(long, env = "SCORE_OWN_SETS", default_value = "tests/score/sets", value_name = "FOLDER")]
    own_sets: PathBuf,
    /// The folder of the recorded responses.
    #[arg(long, env = "SCORE_RECORDINGS", default_value = "tests/recordings/textract", value_name = "FOLDER")]
    recordings: PathBuf,
    /// Weights that have not seen the companies of a fold.
    #[arg(long, env = "SCORE_FOLDS", default_value = "tests/score/folds.json", value_name = "FILE")]
    folds: PathBuf,
    /// Prints the misses, one line of JSON each: by set, the label and what was read.
    #[arg(long, env = "SCORE_MISSES", value_parser = clap::builder::FalseyValueParser::new())]
    misses: bool,
    /// Prints the counts as JSON in place of the table.
    #[arg(long, env = "SCORE_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    json: bool,
    /// Counts that must be reached.
    #[arg(long, env = "SCORE_FLOOR", value_name = "FILE")]
    floor: Option<PathBuf>,
    /// Writes the counts of now to --floor.
    #[arg(long, requires = "floor")]
    bless: bool,
}

type All = BTreeMap<String, Counts>;

fn main() -> anyhow::Result<ExitCode> {
    let score = Score::parse();
    let mut table = Table::new();
    table.load_style(NOTHING).set_header([
        "set",
        "receipts",
        "vendor",
        "total",
        "both",
        "date",
        "legible vendors",
        "legible totals",
        "right at 90",
        "wrong above 50",
        "bookable at 99 %",
        "ECE",
        "ms each",
    ]);
    let folds = sets::folds(&score.folds)?;
    let mut all = All::new();
    let mut out = std::io::stdout().lock();
    let mut floor = All::new();
    for Set { name: set, receipts, recordings, strictly, has_folds, is_own } in sets(&score)? {
        let responses = sets::responses(&receipts, &recordings)?;
        let (readings, took) = sets::read(&score.host, &responses)?;
        same_natively(&responses, &readings)?;
        let each = took.as_secs_f64() * 1000.0 / receipts.len().max(1) as f64;
        let mut judged = vec![(set.clone(), readings)];
        if has_folds {
            judged.push((format!("{set} unseen"), sets::read_unseen(&receipts, &responses, &folds)?));
        }
        for (name, readings) in judged {
            let (counts, error, misses) = judge::judge(&name, &receipts, &readings, strictly);
            table.add_row(row(&name, &counts, (!strictly).then_some(error), each));
            floor.extend(is_own.then(|| (name.clone(), counts.clone())));
            all.insert(name, counts);
            if score.misses {
                print_misses(&mut out, &misses)?;
            }
        }
    }
    match score.json {
        true => writeln!(out, "{}", serde_json::to_string(&all)?)?,
        false => writeln!(out, "{table}")?,
    }
    match &score.floor {
        Some(file) if score.bless => {
            std::fs::write(file, serde_json::to_string_pretty(&floor)? + "\n")
                .with_context(|| format!("cannot write {}", file.display()))?;
            Ok(ExitCode::SUCCESS)
        }
        Some(file) => hold(file, &all),
        None => Ok(ExitCode::SUCCESS),
    }
}

struct Set {
    name: String,
    receipts: Vec<Receipt>,
    /// Where the responses are that do not stand beside the labels.
    recordings: PathBuf,
    /// Whether nothing may be read where a label is none, and dates and currencies count.
    strictly: bool,
    /// Whether there are weights that have not seen its companies.
    has_folds: bool,
    /// Whether it is the project's, and has a floor.
    is_own: bool,
}

/// The project's own sets, then what else was asked for.
fn sets(score: &Score) -> anyhow::Result<Vec<Set>> {
    let own = |name: &str, receipts, strictly| Set {
        name: name.to_owned(),
        receipts,
        recordings: score.recordings.clone(),
        strictly,
        has_folds: !strictly,
        is_own: true,
    };
    let mut all = Vec::new();
    for (name, strictly) in [("boxes", false), ("ocr", false), ("hard", true), ("textract", true)] {
        all.push(own(name, sets::load(&score.own_sets.join(name).with_extension("jsonl"))?, strictly));
    }
    all.push(own("kinds", kinds::load(&score.own_sets.join("kinds.txt"))?, true));
    for folder in &score.sets {
        for (name, receipts, recordings) in sets::folders(folder)? {
            all.push(Set { name, receipts, recordings, strictly: false, has_folds: false, is_own: false });
        }
    }
    Ok(all)
}

/// The parser gives the same natively as in the sandbox, so that what is measured natively holds for both.
fn same_natively(responses: &BTreeMap<String, String>, readings: &Readings) -> anyhow::Result<()> {
    let shipped = Model::built_in();
    for (name, response) in responses {
        let natively = sets::read_natively(response, &shipped)?;
        let sandboxed = readings.get(name).with_context(|| format!("host parse did not read {name}"))?;
        // What is printed has fewer digits.
        let as_sure = (natively.confidence - sandboxed.confidence).abs() < 0.01;
        let same = Reading { confidence: sandboxed.confidence, ..natively } == *sandboxed;
        ensure!(as_sure && same, "{name} is read otherwise by the host's component: is it built from this tree?");
    }
    Ok(())
}

/// Whether as many are right as the file says.
fn hold(file: &Path, all: &All) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let floor: All = serde_json::from_str(&text).with_context(|| format!("{} is no floor", file.display()))?;
    let fallen = fallen(&floor, all);
    for what in &fallen {
        writeln!(std::io::stderr(), "score: {what}; if that is meant: score --floor {} --bless", file.display())?;
    }
    Ok(if fallen.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn fallen(floor: &All, all: &All) -> Vec<String> {
    let nothing = Counts::default();
    let mut fallen = Vec::new();
    for (name, least) in floor {
        let now = all.get(name).unwrap_or(&nothing);
        for (what, least, now) in [
            ("vendors", least.vendor, now.vendor),
            ("totals", least.total, now.total),
            ("of both", least.both, now.both),
            ("dates", least.date, now.date),
            ("of all", least.right, now.right),
        ] {
            if now < least {
                fallen.push(format!("{name}: {now} {what} are right, and were {least}"));
            }
        }
        if now.wrong_above_50 > least.wrong_above_50 {
            let (now, least) = (now.wrong_above_50, least.wrong_above_50);
            fallen.push(format!("{name}: {now} are wrong and surer than 50, and {least} were"));
        }
    }
    fallen
}

fn print_misses(out: &mut impl Write, misses: &[Miss]) -> anyhow::Result<()> {
    for miss in misses {
        writeln!(out, "{}", serde_json::to_string(miss)?)?;
    }
    Ok(())
}

fn row(name: &str, counts: &Counts, error: Option<f64>, each: f64) -> Vec<String> {
    let share = |part: usize, whole: usize| match whole {
        0 => "-".to_owned(),
        whole => format!("{:.3}", part as f64 / whole as f64),
    };
    let sure = format!("{} of {}, {} %", counts.sure_right, counts.sure, counts.sure * 100 / counts.receipts.max(1));
    let of = |part, whole| format!("{} of {whole}", share(part, whole));
    vec![
        name.to_owned(),
        counts.receipts.to_string(),
        share(counts.vendor, counts.vendors),
        share(counts.total, counts.totals),
        share(counts.both, counts.boths),
        share(counts.date, counts.dated),
        of(counts.legible_vendors_right, counts.legible_vendors),
        of(counts.legible_totals_right, counts.legible_totals),
        sure,
        counts.wrong_above_50.to_string(),
        error.map_or("-".to_owned(), |_| counts.bookable.to_string()),
        error.map_or("-".to_owned(), |error| format!("{error:.1} %")),
        format!("{each:.1}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_that_falls_is_named() {
        let counts = Counts { receipts: 10, vendor: 8, total: 9, both: 7, date: 10, ..Counts::default() };
        let floor = All::from([("boxes".to_owned(), counts.clone())]);
        assert!(fallen(&floor, &floor).is_empty());
        let worse = All::from([("boxes".to_owned(), Counts { total: 8, ..counts.clone() })]);
        assert_eq!(fallen(&floor, &worse), ["boxes: 8 totals are right, and were 9"]);
        assert_eq!(fallen(&floor, &All::new()).len(), 4);
        let surer = All::from([("boxes".to_owned(), Counts { wrong_above_50: 1, ..counts })]);
        assert_eq!(fallen(&floor, &surer), ["boxes: 1 are wrong and surer than 50, and 0 were"]);
    }
}
