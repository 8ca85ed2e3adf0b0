//! Builds the worker component with the host, so that one `cargo build` gives both and the host carries the component.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What components are built for.
const TARGET: &str = "wasm32-wasip2";

#[path = "build/component.rs"]
mod component;

fn main() {
    let host = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let Some(workspace) = host.parent() else { fail("the host crate has no workspace above it") };
    for input in
        ["guest/src", "guest/Cargo.toml", "guest/build.rs", "wit", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml"]
    {
        println!("cargo:rerun-if-changed={}", workspace.join(input).display());
    }
    println!("cargo:rerun-if-env-changed=WORKER_WASM_PREBUILT");
    println!("cargo:rustc-env=HOST_TARGET={}", variable("TARGET"));

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
    need_target();
    let mut cargo = component::command(variable("CARGO"), workspace, &target);
    cargo.args(["--package", "worker", "--lib"]);
    match cargo.status() {
        Ok(status) if status.success() => {}
        Ok(_) => fail("the worker component does not build"),
        Err(error) => fail(&format!("cannot run cargo for the worker component: {error}")),
    }
    target.join(TARGET).join("component/worker.wasm")
}

/// Said before anything is compiled for it: what cargo says of a missing target is long, late, and of `core`.
fn need_target() {
    let asked = Command::new(variable("RUSTC")).args(["--print", "target-libdir", "--target", TARGET]).output();
    let Ok(asked) = asked else { return };
    let folder = PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim());
    if !asked.status.success() || !folder.is_dir() {
        fail(&format!(
            "this Rust has no target {TARGET}, which the worker component is built for: rustup target add {TARGET}"
        ));
    }
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
