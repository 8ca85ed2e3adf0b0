//! What wasmtime's errors are about: by their type where they have one, else by their text, which is in one table here.

use rustix::io::Errno;
use wasmtime::component::ResourceTableError;

const TOO_MANY_HANDLES: &str = "handles: too many are held (--max-handles)";

/// Limits whose errors have no type: a part of what wasmtime says, and the limit in words. That wasmtime still says so is
/// tested by components that hit them.
const BY_TEXT: [(&str, &str); 11] = [
    ("handle limit exceeded", TOO_MANY_HANDLES),
    ("fuel allocated for hostcalls", "host call: it passes too many bytes to the host (--max-host-call)"),
    ("memory has a minimum byte size", "memory: it needs more to begin with (--max-memory)"),
    ("memory count too high", "memory: it has too many memories"),
    ("linear memories, which exceeds", "memory: it has too many memories"),
    ("has a minimum element size", "table: it needs more elements to begin with (--max-table-elements)"),
    ("table count too high", "tables: it has too many (--max-tables)"),
    ("defined tables count", "tables: it has too many (--max-tables)"),
    ("tables, which exceeds", "tables: it has too many (--max-tables)"),
    ("instance count too high", "instances: it consists of too many (--max-instances)"),
    ("core module instances, which exceeds", "instances: it consists of too many (--max-instances)"),
];

/// The limit behind an error, in words; none where it is about no limit.
pub(super) fn limit(error: &wasmtime::Error) -> Option<&'static str> {
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        return Some(TOO_MANY_HANDLES);
    }
    let text = format!("{error:#}");
    BY_TEXT.iter().find(|(part, _)| text.contains(part)).map(|(_, limit)| *limit)
}

/// Whether the system lets this process make no code executable: all that compiling a component asks of it.
pub(super) fn forbids_code(error: &wasmtime::Error) -> bool {
    let errno = error.root_cause().downcast_ref::<Errno>();
    errno.is_some_and(|errno| matches!(*errno, Errno::ACCESS | Errno::PERM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_that_forbids_machine_code_is_known() {
        for errno in [Errno::ACCESS, Errno::PERM] {
            let error = wasmtime::Error::from(errno).context("unable to make memory executable");
            assert!(forbids_code(&error), "{error:#}");
        }
        let other = [wasmtime::Error::from(Errno::NOMEM), wasmtime::Error::msg("unable to make memory executable")];
        assert!(!other.iter().any(forbids_code));
    }

    #[test]
    fn a_limit_is_told_by_type_or_by_text() {
        let full = wasmtime::Error::from(ResourceTableError::Full).context("while it was called");
        assert_eq!(limit(&full), Some(TOO_MANY_HANDLES));
        for (text, expected) in BY_TEXT {
            assert_eq!(limit(&wasmtime::Error::msg(format!("the {text} of 3")).context("outer")), Some(expected));
        }
        assert_eq!(limit(&wasmtime::Error::from(ResourceTableError::NotPresent)), None);
    }
}
