//! The `host` binary; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    host::cli::main()
}
