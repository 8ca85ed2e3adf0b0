//! The log: where it goes, what of it, and how it looks.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::{self, Debug};
use std::panic::PanicHookInfo;

use clap::ValueEnum;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format;

use super::output;
use crate::telemetry::stderr::{self, Stderr};

/// The SDKs are talkative; ask for them by name when they are wanted.
const QUIET: [&str; 7] =
    ["aws_config", "aws_runtime", "aws_smithy_runtime", "hyper_util", "s3s", "wasmtime", "cranelift"];

/// It warns of each object that was uploaded in parts, whose checksum is of the parts: nothing is wrong, and no receipt is named.
const MUTE: &str = "aws_sdk_s3::http_response_checksum";

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

pub(super) fn start(log: &str, format: LogFormat) -> Result<(), String> {
    let mut filter = EnvFilter::try_new(log).map_err(|error| format!("--log (WORKER_LOG) {log:?}: {error}"))?;
    for target in QUIET.into_iter().filter(|target| !log.contains(target)) {
        if let Ok(directive) = format!("{target}=warn").parse() {
            filter = filter.add_directive(directive);
        }
    }
    if let (false, Ok(directive)) = (log.contains(MUTE), format!("{MUTE}=error").parse()) {
        filter = filter.add_directive(directive);
    }
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Stderr).log_internal_errors(false);
    match format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => {
            let fields = format::debug_fn(field).delimited(" ");
            log.fmt_fields(fields).with_target(false).with_ansi(output::colour_stderr()).init();
        }
    }
    Ok(())
}

/// A field for people. What has more than one word stands in quotes, whichever way it was recorded, so that where it ends can be
/// seen, and no value can look like another field or another line.
fn field(writer: &mut format::Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    let text = format!("{value:?}");
    match field.name() {
        "message" => write!(writer, "{}", text.replace(['\n', '\r'], " ")),
        name if text.starts_with('"') => write!(writer, "{name}={text}"),
        name if text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '=')) => {
            write!(writer, "{name}={text:?}")
        }
        name => write!(writer, "{name}={text}"),
    }
}

/// A panic is a line of the log: the usual hook waits for whoever reads stderr.
pub(super) fn tell_of_panics() {
    std::panic::set_hook(Box::new(told));
}

fn told(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("no message");
    let at = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!(at, "panicked: {message}");
    } else {
        stderr::say(format_args!("error: panicked at {at}: {message}"));
    }
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        stderr::say(trace);
    }
}
