//! Components that were compiled ahead of time, in files beside the program: a function or a container starts with them, without
//! a cache to write to. They are for every processor of the program's architecture.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use wasmtime::component::Component;
use wasmtime::{Config, Engine};

use super::compiled;
use super::inspect::{Refusal, inspect};

/// What this program was built for.
const TARGET: &str = env!("HOST_TARGET");

/// Why a component is not compiled ahead.
#[derive(Debug, thiserror::Error)]
pub enum AheadError {
    #[error("it is refused: {0}")]
    Refused(Refusal),
    #[error("it cannot be compiled: {0:#}")]
    Compile(wasmtime::Error),
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// Compiles a component into this folder, with this engine's settings; returns the file.
pub(super) fn compile(mut config: Config, bytes: &[u8], folder: &Path) -> Result<PathBuf, AheadError> {
    let (inspection, verdict) = inspect(bytes);
    verdict.map_err(AheadError::Refused)?;
    // A target that is named has no features but those that all of its processors have.
    let engine = config.target(TARGET).and_then(|config| Engine::new(config)).map_err(AheadError::Compile)?;
    let code = engine.precompile_component(bytes).map_err(AheadError::Compile)?;
    let name = name(&inspection.sha256);
    let path = folder.join(&name);
    let written = fs::write(&path, [compiled::header(&name, &code), code].concat());
    written.map_err(|source| AheadError::Write { path: path.clone(), source })?;
    Ok(path)
}

/// The component of this digest, if it lies beside the program and fits this engine.
pub(super) fn load(engine: &Engine, digest: &str) -> Option<Component> {
    let program = std::env::current_exe().ok()?;
    load_from(program.parent()?, engine, digest)
}

#[allow(unsafe_code)]
fn load_from(folder: &Path, engine: &Engine, digest: &str) -> Option<Component> {
    let name = name(digest);
    let path = folder.join(&name);
    let mode = fs::metadata(&path).ok()?.mode();
    let bytes = fs::read(&path).ok()?;
    let loaded = match mode & 0o022 {
        0 => compiled::verified(&name, &bytes).and_then(|code| {
            // SAFETY: whoever put the file there could as well have put another program there. It is whole, by its checksum, and
            // wasmtime checks that it was made by the same version with the same settings.
            unsafe { Component::deserialize(engine, code) }.map_err(|error| format!("{error:#}"))
        }),
        _ => Err(format!("others can write it (mode {:03o})", mode & 0o777)),
    };
    loaded
        .inspect_err(|error| tracing::warn!(name: "compile_cache.ahead_unusable", file = %path.display(), %error, "compiling anew: the file cannot be used"))
        .ok()
}

fn name(digest: &str) -> String {
    format!("{digest}{}", compiled::SUFFIX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::super::{EMBEDDED, Limits, Sandbox};
    use super::*;

    #[test]
    fn what_was_compiled_ahead_fits_the_engine_that_runs_it() {
        let folder = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::new(Limits::default(), 4, None).unwrap();
        let path = Sandbox::compile_ahead(&Limits::default(), EMBEDDED, folder.path()).unwrap();
        let again = tempfile::tempdir().unwrap();
        let other = Sandbox::compile_ahead(&Limits::default(), EMBEDDED, again.path()).unwrap();
        assert!(fs::read(&path).unwrap() == fs::read(other).unwrap(), "the same bytes twice");
        let digest = path.file_stem().unwrap().to_str().unwrap();
        assert!(load_from(folder.path(), &sandbox.engine, digest).is_some());
        assert!(load_from(folder.path(), &sandbox.engine, "another").is_none());

        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(load_from(folder.path(), &sandbox.engine, digest).is_none(), "others can write it");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let whole = fs::read(&path).unwrap();
        fs::write(&path, whole.get(..whole.len() - 1).unwrap()).unwrap();
        assert!(load_from(folder.path(), &sandbox.engine, digest).is_none(), "it was cut off");
    }
}
