//! `host completions`: shell completions.

use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

use super::output;

/// Prints completions for a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  host completions bash > /etc/bash_completion.d/host
  host completions zsh > ~/.zfunc/_host")]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(super) fn execute(self, program: &mut Command) -> anyhow::Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, program, "host", &mut script);
        output::bytes(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}
