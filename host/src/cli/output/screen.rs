//! What the terminal can show.

use std::io::{self, IsTerminal};

/// Whether stderr is a terminal that can be more than written on.
#[allow(clippy::disallowed_methods)]
pub(in crate::cli) fn is_screen() -> bool {
    io::stderr().is_terminal() && is_no_dumb_terminal()
}

/// Whether stderr may be coloured: a terminal, and no wish against it (no-color.org).
pub(in crate::cli) fn colour_stderr() -> bool {
    is_screen() && colours_are_wanted()
}

/// The same of stdout.
pub(in crate::cli) fn colour_stdout() -> bool {
    io::stdout().is_terminal() && is_no_dumb_terminal() && colours_are_wanted()
}

fn colours_are_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn is_no_dumb_terminal() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
