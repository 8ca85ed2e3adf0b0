//! How components are built: by the build script, and by the tests that build them elsewhere.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

/// `cargo build` for the component's target and profile, in this workspace, into this target folder.
pub fn command(cargo: impl AsRef<OsStr>, workspace: &Path, target: &Path) -> Command {
    let mut command = Command::new(cargo);
    command
        .current_dir(workspace)
        .args(["build", "--profile", "component", "--target", "wasm32-wasip2", "--locked"])
        .arg("--target-dir")
        .arg(target)
        // What is set for the host's own build (coverage, linkers, sanitizers) is not for the component.
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CARGO_TARGET_DIR")
        .env("CARGO_ENCODED_RUSTFLAGS", remap(workspace));
    command
}

/// The component is the same bytes wherever it is built: no path of this machine gets into its panic messages.
fn remap(workspace: &Path) -> String {
    let mut flags = vec![format!("--remap-path-prefix={}=/worker", workspace.display())];
    let cargo_home = env::var("CARGO_HOME").ok().or_else(|| env::var("HOME").ok().map(|home| format!("{home}/.cargo")));
    if let Some(home) = cargo_home {
        let sources = Path::new(&home).join("registry/src");
        for registry in fs::read_dir(sources).into_iter().flatten().flatten() {
            flags.push(format!("--remap-path-prefix={}=/crates", registry.path().display()));
        }
    }
    flags.join("\x1f")
}
