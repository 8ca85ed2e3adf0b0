//! The log: where it goes, what of it, and how it looks.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::{self, Debug};
use std::panic::PanicHookInfo;

use clap::ValueEnum;
use tracing::field::Field;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, format};
use tracing_subscriber::registry::LookupSpan;

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
        LogFormat::Json => log.json().event_format(Json(format::json().flatten_event(true))).init(),
        LogFormat::Text => {
            let fields = format::debug_fn(field).delimited(" ");
            log.fmt_fields(fields).with_ansi(output::colour_stderr()).event_format(Text).init();
        }
    }
    Ok(())
}

/// The name of an event of ours (docs/events.md). One of a library's has none but the place where it stands.
fn event_name(metadata: &Metadata<'static>) -> Option<&'static str> {
    Some(metadata.name()).filter(|name| !name.contains(' '))
}

/// A line for people: when, how bad, what (by its name, or by the library that says it), and the words.
struct Text;

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: format::Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (metadata, coloured) = (event.metadata(), writer.has_ansi_escapes());
        let (dim, colour, plain) =
            if coloured { ("\x1b[2m", colour(*metadata.level()), "\x1b[0m") } else { ("", "", "") };
        write!(writer, "{dim}")?;
        SystemTime.format_time(&mut writer)?;
        write!(writer, "{plain} {colour}{:>5}{plain} ", metadata.level().as_str())?;
        write!(writer, "{dim}{}:{plain} ", event_name(metadata).unwrap_or(metadata.target()))?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

/// A line of JSON, with the name of the event in front.
struct Json(format::Format<format::Json>);

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: format::Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, format::Writer::new(&mut line), event)?;
        match (event_name(event.metadata()), line.strip_prefix('{')) {
            // A name needs no escapes.
            (Some(name), Some(rest)) => write!(writer, "{{\"event\":\"{name}\",{rest}"),
            _ => writer.write_str(&line),
        }
    }
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
        tracing::error!(name: "host.panicked", at, "panicked: {message}");
    } else {
        stderr::say(format_args!("error: panicked at {at}: {message}"));
    }
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        stderr::say(trace);
    }
}
