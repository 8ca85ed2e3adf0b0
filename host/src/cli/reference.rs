//! docs/cli.md, written from what the program takes. After a change: `UPDATE_DOCS=1 cargo test --workspace --lib cli::reference`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};

use super::usage;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cli.md");
/// A flag of so many verbs is explained once.
const SHARED: usize = 3;

#[test]
fn the_page_says_what_the_program_takes() {
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let committed = std::fs::read_to_string(PAGE).unwrap_or_default();
    let differs = page.lines().zip(committed.lines()).find(|(now, then)| now != then);
    assert!(
        page == committed,
        "docs/cli.md is not what the program says (first difference: {differs:?}); \
         write it anew: UPDATE_DOCS=1 cargo test --workspace --lib cli::reference"
    );
}

fn page() -> String {
    let mut program = usage::command(super::Cli::command());
    program.build();
    let verbs = verbs(&program);
    let shared = shared(&verbs);
    let mut page = String::from("# Command line\n\n");
    page.push_str(
        "<!-- Written by a test from what the program says of itself; see host/src/cli/reference.rs. -->\n\n",
    );
    page.push_str(&paragraphs(&program));
    page.push_str(
        "\n\nA flag wins over its variable; a variable that is empty is one that is not set. Data goes to stdout, everything else to \
         stderr. `NO_COLOR` is heeded, and so is `TERM=dumb`. Times are written as `30s`, `1m30s`, `500ms`; sizes as `64MiB`, `1.5GiB`, \
         `10MB`.\n\n## Verbs\n\n| verb | what it does |\n|---|---|\n",
    );
    for (name, verb) in &verbs {
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(page, "| [`{name}`](#{}) | {} |", anchor(name), cell(&about));
    }
    page.push_str("\n## Flags of many verbs\n\n");
    page.push_str(&table(shared.values().copied()));
    for (name, verb) in &verbs {
        let _ = write!(page, "\n## host {name}\n\n{}\n", paragraphs(verb));
        let (many, own): (Vec<&Arg>, Vec<&Arg>) = arguments(verb).partition(|arg| shared.contains_key(&row(arg)));
        if !own.is_empty() {
            let _ = write!(page, "\n{}", table(own.into_iter()));
        }
        if !many.is_empty() {
            let names: Vec<String> = many.into_iter().map(|arg| format!("`{}`", written(arg))).collect();
            let _ = writeln!(page, "\nAnd of those above: {}.", names.join(", "));
        }
        if let Some(examples) = verb.get_after_help() {
            let examples = examples.to_string();
            let lines = examples.lines().filter(|line| *line != "Examples:");
            let _ = writeln!(page, "\n{}", lines.map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n"));
        }
    }
    page
}

/// Every verb with its name as it is typed, those that have verbs of their own by these.
fn verbs(program: &Command) -> Vec<(String, &Command)> {
    let mut found = Vec::new();
    for verb in program.get_subcommands().filter(|verb| verb.get_name() != "help" && !verb.is_hide_set()) {
        let inner: Vec<&Command> = verb.get_subcommands().filter(|verb| verb.get_name() != "help").collect();
        if inner.is_empty() || arguments(verb).next().is_some() {
            found.push((verb.get_name().to_owned(), verb));
        }
        found.extend(inner.into_iter().map(|inner| (format!("{} {}", verb.get_name(), inner.get_name()), inner)));
    }
    found
}

/// Flags with a variable that many verbs have and that say the same in each, by what they say.
fn shared<'a>(verbs: &[(String, &'a Command)]) -> BTreeMap<String, &'a Arg> {
    let mut found: BTreeMap<String, Vec<&Arg>> = BTreeMap::new();
    for arg in verbs.iter().flat_map(|(_, verb)| arguments(verb)).filter(|arg| arg.get_env().is_some()) {
        found.entry(row(arg)).or_default().push(arg);
    }
    found.into_iter().filter(|(_, args)| args.len() >= SHARED).map(|(row, args)| (row, args[0])).collect()
}

fn arguments(verb: &Command) -> impl Iterator<Item = &Arg> {
    verb.get_arguments().filter(|arg| !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version"))
}

fn table<'a>(args: impl Iterator<Item = &'a Arg>) -> String {
    let mut table = String::from("| flag | variable | default | meaning |\n|---|---|---|---|\n");
    for arg in args {
        table.push_str(&row(arg));
    }
    table
}

fn row(arg: &Arg) -> String {
    let variable = arg.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default();
    let defaults = arg.get_default_values().iter().filter(|_| arg.get_action().takes_values());
    let defaults: Vec<String> = defaults.map(|value| format!("`{}`", value.to_string_lossy())).collect();
    format!("| `{}` | {variable} | {} | {} |\n", cell(&written(arg)), defaults.join(" "), cell(&meaning(arg)))
}

/// As it is typed.
fn written(arg: &Arg) -> String {
    let names: Vec<String> = arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
    let value = names.join(" ");
    match (arg.get_long(), arg.get_action().takes_values()) {
        (Some(long), true) => format!("--{long} {value}"),
        (Some(long), false) => format!("--{long}"),
        (None, _) => value,
    }
}

fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| arg.get_action().takes_values() && !value.is_hide_set())
        .map(|value| match value.get_help() {
            Some(help) => format!("`{}`: {help}", value.get_name()),
            None => format!("`{}`", value.get_name()),
        })
        .collect();
    if values.is_empty() { help } else { format!("{help} ({})", values.join("; ")) }
}

fn paragraphs(verb: &Command) -> String {
    let about = verb.get_long_about().or(verb.get_about()).map(ToString::to_string).unwrap_or_default();
    about.trim().to_owned()
}

fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn anchor(name: &str) -> String {
    format!("host-{}", name.replace(' ', "-"))
}
