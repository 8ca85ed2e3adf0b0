//! Builds the worker component with the host, so that one `cargo build` gives both and the host carries the component.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let host = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let Some(workspace) = host.parent() else { fail("the host crate has no workspace above it") };
    for input in ["guest/src", "guest/Cargo.toml", "wit", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml"] {
        println!("cargo:rerun-if-changed={}", workspace.join(input).display());
    }
    println!("cargo:rerun-if-env-changed=WORKER_WASM_PREBUILT");

    let component = match env::var_os("WORKER_WASM_PREBUILT") {
        Some(path) => PathBuf::from(path),
        None => build(workspace),
    };
    let out = PathBuf::from(variable("OUT_DIR"));
    let embedded = out.join("worker.wasm");
    copy(&component, &embedded);
    println!("cargo:rustc-env=WORKER_WASM={}", embedded.display());
    // OUT_DIR is target/PROFILE/build/host-HASH/out: beside the binary, for people.
    if let Some(profile) = out.ancestors().nth(3) {
        copy(&component, &profile.join("worker.wasm"));
    }
}

fn build(workspace: &Path) -> PathBuf {
    // A target folder of its own: the outer cargo holds the lock of the usual one while this runs.
    let out = PathBuf::from(variable("OUT_DIR"));
    let target = out.ancestors().nth(4).unwrap_or(&out).join("component");
    let mut cargo = Command::new(variable("CARGO"));
    cargo
        .current_dir(workspace)
        .args([
            "build",
            "--package",
            "worker",
            "--lib",
            "--profile",
            "component",
            "--target",
            "wasm32-wasip2",
            "--locked",
        ])
        .arg("--target-dir")
        .arg(&target)
        // What is set for the host's own build (coverage, linkers, sanitizers) is not for the component.
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CARGO_TARGET_DIR")
        .env("CARGO_ENCODED_RUSTFLAGS", remap(workspace));
    match cargo.status() {
        Ok(status) if status.success() => {}
        Ok(_) => fail("the worker component does not build; if its target is missing: rustup target add wasm32-wasip2"),
        Err(error) => fail(&format!("cannot run cargo for the worker component: {error}")),
    }
    target.join("wasm32-wasip2/component/worker.wasm")
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

fn copy(from: &Path, to: &Path) {
    if let Err(error) = fs::copy(from, to) {
        fail(&format!("cannot copy {} to {}: {error}", from.display(), to.display()));
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| fail(&format!("cargo did not set {name}")))
}

fn fail(message: &str) -> ! {
    eprintln!("error: {message}");
    std::process::exit(1);
}
