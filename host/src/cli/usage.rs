//! The command line as it was typed and as the environment completes it: which variables count, and what is said when a value
//! is wrong.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command};

use super::output;

/// Read by libraries, not by us.
const OF_LIBRARIES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];
const OF_THE_SDK: &str = "AWS_";

/// The command line. Help names variables, never their values: some are secret.
pub(super) fn command(program: Command) -> Command {
    fn quiet(command: Command) -> Command {
        command.mut_args(|arg| with_negatives(arg.hide_env_values(true))).mut_subcommands(quiet)
    }
    quiet(program)
}

/// `--every -5s` is a wrong value of --every, not an unknown flag -5.
fn with_negatives(arg: Arg) -> Arg {
    let numbers = ["TIME", "SIZE", "N", "SHARE", "AGE"];
    let takes_one =
        arg.get_value_names().is_some_and(|names| names.iter().any(|name| numbers.contains(&name.as_str())));
    if takes_one && arg.get_long().is_some() { arg.allow_hyphen_values(true) } else { arg }
}

/// Removes the variables that are empty, so that for everybody who reads one they are not set: it is what compose files make of
/// `${X:-}`.
#[allow(unsafe_code)]
pub(super) fn forget_empty_variables(program: &Command) {
    let mut ours = Vec::new();
    variables(program, &mut ours);
    let empty = std::env::vars_os().filter(|(_, value)| value.to_str().is_some_and(|value| value.trim().is_empty()));
    let names: Vec<OsString> = empty.map(|(name, _)| name).collect();
    for name in names.into_iter().filter(|name| {
        ours.contains(name)
            || name.to_str().is_some_and(|name| name.starts_with(OF_THE_SDK) || OF_LIBRARIES.contains(&name))
    }) {
        // SAFETY: this is the first thing that the process does, when it has no thread but this one.
        unsafe { std::env::remove_var(name) };
    }
}

/// What clap says of wrong usage, with the variable where a value came from one, and without connection strings.
pub(super) fn explain(error: &clap::Error, program: &Command) -> String {
    let colour = output::colour_stderr();
    let text = error.render();
    let mut text = if colour { text.ansi().to_string() } else { text.to_string() };
    if let Some(variable) = variable_of(error, program) {
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        text = format!("{first} (from the variable {variable})\n{rest}");
    }
    let variables = std::env::vars_os().map(|(_, value)| value);
    for secret in std::env::args_os().chain(variables).filter_map(|value| value.into_string().ok()) {
        // Of `--flag=value` clap repeats either.
        let value = secret.split_once('=').filter(|_| secret.starts_with('-')).map_or(&*secret, |(_, value)| value);
        if is_secret(value) {
            text = text.replace(value, "…").replace(value.escape_debug().to_string().as_str(), "…");
        }
    }
    text
}

/// The variable that a wrong value came from; none where it was typed.
fn variable_of(error: &clap::Error, program: &Command) -> Option<String> {
    let (Some(ContextValue::String(arg)), Some(ContextValue::String(value))) =
        (error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue))
    else {
        return None;
    };
    let flag = arg.split([' ', '=']).next()?;
    let typed = |given: OsString| {
        let given = given.to_string_lossy().into_owned();
        given == flag || given.starts_with(&format!("{flag}="))
    };
    if std::env::args_os().any(typed) {
        return None;
    }
    let mut found = None;
    each(program, &mut |arg| {
        if let (Some(long), Some(variable)) = (arg.get_long(), arg.get_env())
            && flag.strip_prefix("--") == Some(long)
            // A list is cut into its values before they are read.
            && std::env::var_os(variable).is_some_and(|set| set.to_string_lossy().contains(value.as_str()))
        {
            found = Some(variable.to_string_lossy().into_owned());
        }
    });
    found
}

/// Whether a word may hold a password: a URL with somebody's name in it or a signature, or libpq's other form.
fn is_secret(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    word.len() > 3
        && (lower.contains("://") && (lower.contains('@') || lower.contains('?'))
            || ["password", "secret", "signature", "token", "credential"]
                .iter()
                .any(|name| lower.contains(&format!("{name}="))))
}

fn variables(command: &Command, names: &mut Vec<OsString>) {
    each(command, &mut |arg| names.extend(arg.get_env().map(OsString::from)));
}

fn each(command: &Command, look: &mut impl FnMut(&Arg)) {
    command.get_arguments().for_each(&mut *look);
    for command in command.get_subcommands() {
        each(command, look);
    }
}

#[cfg(test)]
mod tests {
    use super::is_secret;

    #[test]
    fn what_may_hold_a_password_is_known() {
        for word in ["postgres://me:pw@h/x", "x+y://a@b", "https://b.example/k?X-Amz-Signature=1", "host=h password=x"]
        {
            assert!(is_secret(word), "{word}");
        }
        for word in ["30s", "s3://bucket/key", "http://127.0.0.1:9000", "worker.wasm", "@"] {
            assert!(!is_secret(word), "{word}");
        }
    }
}
