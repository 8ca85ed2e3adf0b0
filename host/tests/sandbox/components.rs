//! The test components, built once a process and as the real one is.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

#[path = "../../build/component.rs"]
pub(crate) mod build;

/// The file of a test component.
pub(crate) fn component(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        // Where the build script has built the real one: they share what they are made of.
        let target = target().join("component");
        let mut cargo = build::command(cargo(), &workspace(), &target);
        let status = cargo.args(["--package", "test-components", "--examples"]).status().unwrap();
        assert!(status.success(), "the test components do not build");
        target.join("wasm32-wasip2/component/examples")
    });
    folder.join(format!("{name}.wasm"))
}

/// A component with every occurrence of a name replaced by another one of the same length.
pub(crate) fn renamed(component: impl Into<Vec<u8>>, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let (from, mut bytes) = (from.as_bytes(), component.into());
    let places: Vec<usize> = (0..=bytes.len() - from.len()).filter(|&at| bytes[at..].starts_with(from)).collect();
    assert!(!places.is_empty(), "the component does not hold that name");
    for place in places {
        bytes[place..place + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

/// The cargo that runs this test.
pub(crate) fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| env!("CARGO").to_owned())
}

pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The workspace's target folder.
pub(crate) fn target() -> PathBuf {
    // TARGET/PROFILE/host
    Path::new(env!("CARGO_BIN_EXE_host")).ancestors().nth(2).unwrap().to_owned()
}
