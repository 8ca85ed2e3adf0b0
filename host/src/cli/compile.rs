//! `host compile`: a component is compiled before it is needed.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::output;
use crate::sandbox::{self, EMBEDDED, Limits, Sandbox};

/// Compiles a component ahead of time, for every processor of this architecture.
///
/// Beside the program (in a Lambda zip, in an image) the file saves the first start a second or more. It is of use to this very
/// build of the program alone; any other one compiles anew. Prints the file.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  host compile package/                the built-in component
  host compile package/ worker.wasm    another one")]
pub(crate) struct Compile {
    /// The folder that the file goes to.
    folder: PathBuf,
    /// The component; the one that is built in, if not given.
    file: Option<PathBuf>,
}

impl Compile {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let (name, bytes) = match &self.file {
            Some(path) => {
                let name = path.display().to_string();
                (name.clone(), sandbox::read_component(path).with_context(|| format!("cannot read {name}"))?)
            }
            None => ("the built-in component".to_owned(), EMBEDDED.to_vec()),
        };
        let path = Sandbox::compile_ahead(&Limits::default(), &bytes, &self.folder).context(name)?;
        output::line(path.display().to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}
