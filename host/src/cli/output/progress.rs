//! Progress on the terminal, which goes the way of everything on stderr: a terminal that was stopped (Ctrl-S) stops no work.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use super::screen::is_screen;
use crate::telemetry::stderr;

/// As often as a person can see, a second.
const DRAWINGS: u8 = 20;
const WIDTH: u16 = 80;
/// How long a line of data waits for the bar to make room.
const ROOM: Duration = Duration::from_millis(500);

/// A bar that fills up to so many receipts; nothing, where there is no terminal.
pub(in crate::cli) fn bar(count: u64) -> ProgressBar {
    with_style(ProgressBar::with_draw_target(Some(count), target()), "{bar:30} {pos}/{len} receipts  {elapsed}")
}

/// A count without an end that is known; nothing, where there is no terminal.
pub(in crate::cli) fn spinner() -> ProgressBar {
    with_style(ProgressBar::with_draw_target(None, target()), "{spinner} {pos} {msg}")
}

/// Writes something else while the bar is out of the way.
pub(in crate::cli) fn aside<T>(bar: &ProgressBar, write: impl FnOnce() -> T) -> T {
    // Asked before: the bar is locked while it is out of the way.
    let is_shown = !bar.is_hidden();
    bar.suspend(|| {
        if is_shown {
            stderr::flush(ROOM);
        }
        write()
    })
}

fn with_style(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn target() -> ProgressDrawTarget {
    match is_screen() {
        true => ProgressDrawTarget::term_like_with_hz(Box::new(Screen::default()), DRAWINGS),
        false => ProgressDrawTarget::hidden(),
    }
}

/// The terminal behind stderr. What is drawn is kept together until it is flushed.
#[derive(Debug, Default)]
struct Screen(Mutex<String>);

impl Screen {
    fn add(&self, text: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
    }

    fn go(&self, count: usize, direction: char) {
        if count > 0 {
            self.add(&format!("\x1b[{count}{direction}"));
        }
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        rustix::termios::tcgetwinsize(rustix::stdio::stderr())
            .map(|size| size.ws_col)
            .ok()
            .filter(|columns| *columns > 0)
            .unwrap_or(WIDTH)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.go(n, 'A');
        Ok(())
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.go(n, 'B');
        Ok(())
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.go(n, 'C');
        Ok(())
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.go(n, 'D');
        Ok(())
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.add(s);
        self.add("\n");
        Ok(())
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        self.add(s);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.add("\r\x1b[2K");
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        stderr::print(std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)));
        Ok(())
    }
}
