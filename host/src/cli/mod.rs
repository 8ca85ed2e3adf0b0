//! The command line: an enum of verbs, each a file of its own. Data goes to stdout, everything else to stderr.

mod args;
mod completions;
mod components;
mod dev;
mod dlq;
mod doctor;
mod enqueue;
mod inspect;
mod migrate;
mod output;
mod parse;
mod prune;
mod reading;
mod reparse;
mod replay;
mod rights;
mod run;
mod shadow;
mod status;
mod swap;
mod swapping;
mod target;
mod trace;

pub use args::{duration, size};

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::failure::chain;

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

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(Box<run::Run>),
    Dev(Box<dev::Dev>),
    Migrate(migrate::Migrate),
    Enqueue(enqueue::Enqueue),
    Status(status::Status),
    #[command(subcommand)]
    Dlq(dlq::Dlq),
    Prune(prune::Prune),
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
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
}

/// Parses the command line and runs the verb.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(problem) = start_log(&cli) {
        eprintln!("error: {problem}");
        return ExitCode::from(2);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(cli.verb.execute());
    // A blocking read that nobody waits for any more (a file, DNS) must not hold up the exit.
    runtime.shutdown_background();
    match result {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

impl Verb {
    async fn execute(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Run(verb) => verb.execute().await,
            Self::Dev(verb) => verb.execute().await,
            Self::Migrate(verb) => verb.execute().await,
            Self::Enqueue(verb) => verb.execute().await,
            Self::Status(verb) => verb.execute().await,
            Self::Dlq(verb) => verb.execute().await,
            Self::Prune(verb) => verb.execute().await,
            Self::Rights(verb) => verb.execute(),
            Self::Components(verb) => verb.execute().await,
            Self::Reparse(verb) => verb.execute().await,
            Self::Parse(verb) => verb.execute().await,
            Self::Replay(verb) => verb.execute().await,
            Self::Trace(verb) => verb.execute(),
            Self::Swap(verb) => verb.execute().await,
            Self::Shadow(verb) => verb.execute().await,
            Self::Inspect(verb) => verb.execute(),
            Self::Doctor(verb) => verb.execute().await,
            Self::Completions(verb) => verb.execute(),
        }
    }
}

fn start_log(cli: &Cli) -> Result<(), String> {
    // The SDKs are talkative; ask for them by name when they are wanted.
    let quiet = ["aws_config", "aws_runtime", "aws_smithy_runtime", "hyper_util", "s3s", "wasmtime", "cranelift"];
    let mut filter = EnvFilter::try_new(&cli.log).map_err(|error| format!("--log {:?}: {error}", cli.log))?;
    for target in quiet.into_iter().filter(|target| !cli.log.contains(target)) {
        if let Ok(directive) = format!("{target}=warn").parse() {
            filter = filter.add_directive(directive);
        }
    }
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match cli.log_format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.with_target(false).with_ansi(output::colour_stderr()).init(),
    }
    Ok(())
}

/// The reader of our output went away (`host parse … | head`): that is no error.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    /// Every flag can be given by an environment variable (but for those that only shape one call's output).
    #[test]
    fn flags_that_configure_have_a_variable() {
        let command = super::Cli::command();
        for verb in ["run", "migrate", "prune"] {
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
