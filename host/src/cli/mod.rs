//! The command line: an enum of verbs, each a file of its own. Data goes to stdout, everything else to stderr.

mod answers;
mod args;
mod choices;
mod compile;
mod completions;
mod components;
mod dev;
mod dlq;
mod doctor;
mod enqueue;
mod folders;
mod health;
mod hurry;
mod inspect;
mod lambda;
mod log;
mod migrate;
mod output;
mod parse;
mod place;
mod prune;
mod quantity;
mod reading;
mod reconcile;
#[cfg(test)]
mod reference;
mod reparse;
mod replay;
mod rights;
mod run;
mod shadow;
mod signals;
mod status;
mod swap;
mod target;
mod trace;
mod unread;
mod usage;
mod worker;

pub use quantity::{duration, size};

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::log::LogFormat;
use self::output::Unwritten;
use crate::failure::chain;
use crate::swap::trust::TrustError;
use crate::telemetry::stderr;

/// How long the end of the process waits until the last lines are written, where somebody reads them.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Turns photos of receipts into vendor, total and confidence: a Postgres queue, worked by a sandboxed WebAssembly
/// component.
///
/// Exit codes: 0 done; 1 failed, or the answer is no (refused, differs, unhealthy); 2 wrong usage; 143 stopped at once
/// by a second signal.
#[derive(Debug, Parser)]
#[command(name = "host", version, max_term_width = 110)]
pub(super) struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// What to log, e.g. `info`, `debug`, `host::queue=trace`.
    #[arg(long, global = true, env = "WORKER_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
    /// How to log.
    #[arg(long, global = true, env = "WORKER_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(Box<run::Run>),
    Lambda(Box<lambda::Lambda>),
    Dev(Box<dev::Dev>),
    Migrate(migrate::Migrate),
    Enqueue(enqueue::Enqueue),
    Status(status::Status),
    #[command(subcommand)]
    Dlq(dlq::Dlq),
    Hurry(hurry::Hurry),
    Prune(prune::Prune),
    Reconcile(reconcile::Reconcile),
    Rights(rights::Rights),
    Components(components::Components),
    Reparse(Box<reparse::Reparse>),
    Parse(parse::Parse),
    Replay(replay::Replay),
    #[command(subcommand)]
    Trace(trace::TraceVerb),
    Swap(swap::Swap),
    Shadow(shadow::Shadow),
    Inspect(inspect::Inspect),
    Compile(compile::Compile),
    Doctor(doctor::Doctor),
    Health(health::Health),
    Completions(completions::Completions),
}

/// Parses the command line and runs the verb.
pub fn main() -> ExitCode {
    usage::forget_empty_variables(&Cli::command());
    log::tell_of_panics();
    let parsed = usage::command(Cli::command())
        .try_get_matches_from(arguments())
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let code = match parsed {
        // A panic in the verb's own task ends the process as any other does, but not before it is told.
        Ok(cli) => std::panic::catch_unwind(|| start(cli)).unwrap_or(ExitCode::from(101)),
        Err(error) => explain(&error),
    };
    stderr::flush(LAST_WORDS);
    code
}

/// As typed; a function of AWS Lambda's is started without any.
fn arguments() -> Vec<OsString> {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.len() <= 1 && std::env::var_os(lambda::VARIABLE).is_some_and(|value| !value.is_empty()) {
        arguments.resize(1, "host".into());
        arguments.push("lambda".into());
    }
    arguments
}

fn start(cli: Cli) -> ExitCode {
    if let Err(problem) = log::start(&cli.log, cli.log_format) {
        stderr::say(format_args!("error: {problem}"));
        return ExitCode::from(2);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            stderr::say(format_args!("error: cannot start the runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(cli.verb.execute());
    // A blocking read that nobody waits for any more (a file, DNS) must not hold up the exit.
    runtime.shutdown_background();
    result.unwrap_or_else(|error| failed(&error))
}

fn failed(error: &anyhow::Error) -> ExitCode {
    if error.chain().filter_map(|cause| cause.downcast_ref::<Unwritten>()).any(Unwritten::is_unwanted) {
        return ExitCode::SUCCESS;
    }
    stderr::say(format_args!("error: {}", chain(error.as_ref())));
    // A key or a digest that is none is wrong usage, like any other value of a flag.
    let is_usage = error.chain().any(|cause| cause.is::<TrustError>());
    if is_usage { ExitCode::from(2) } else { ExitCode::FAILURE }
}

/// Help and version are data; all else that clap says is about wrong usage.
fn explain(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let text = error.render();
        let text = if output::colour_stdout() { text.ansi().to_string() } else { text.to_string() };
        return match output::bytes(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error.into()),
        };
    }
    stderr::print(usage::explain(error, &Cli::command()));
    ExitCode::from(2)
}

impl Verb {
    async fn execute(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Run(verb) => verb.execute().await,
            Self::Lambda(verb) => verb.execute().await,
            Self::Dev(verb) => verb.execute().await,
            Self::Migrate(verb) => verb.execute().await,
            Self::Enqueue(verb) => verb.execute().await,
            Self::Status(verb) => verb.execute().await,
            Self::Dlq(verb) => verb.execute().await,
            Self::Hurry(verb) => verb.execute().await,
            Self::Prune(verb) => verb.execute().await,
            Self::Reconcile(verb) => verb.execute().await,
            Self::Rights(verb) => verb.execute(),
            Self::Components(verb) => verb.execute().await,
            Self::Reparse(verb) => verb.execute().await,
            Self::Parse(verb) => verb.execute().await,
            Self::Replay(verb) => verb.execute().await,
            Self::Trace(verb) => verb.execute(),
            Self::Swap(verb) => verb.execute().await,
            Self::Shadow(verb) => verb.execute().await,
            Self::Inspect(verb) => verb.execute(),
            Self::Compile(verb) => verb.execute(),
            Self::Health(verb) => verb.execute().await,
            Self::Doctor(verb) => verb.execute().await,
            Self::Completions(verb) => verb.execute(&mut Cli::command()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    /// Every flag can be given by an environment variable (but for those that only shape one call's output).
    #[test]
    fn flags_that_configure_have_a_variable() {
        let command = super::Cli::command();
        for verb in ["run", "lambda", "migrate", "prune"] {
            let Some(verb) = command.get_subcommands().find(|found| found.get_name() == verb) else {
                panic_free(verb);
                continue;
            };
            for flag in verb
                .get_arguments()
                .filter(|flag| !["help", "version", "once", "json", "dry_run"].contains(&flag.get_id().as_str()))
            {
                assert!(flag.get_env().is_some(), "{} {}", verb.get_name(), flag.get_id());
            }
        }
    }

    fn panic_free(verb: &str) {
        assert!(verb.is_empty(), "no verb {verb}");
    }
}
