//! The test components (`tests/components`), built once a process and as the real one is.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

#[path = "../../host/build/component.rs"]
pub mod build;

/// The file of a test component.
pub fn component(name: &str) -> PathBuf {
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

/// A component with every occurrence of these bytes replaced by as many others.
pub fn replaced(component: impl Into<Vec<u8>>, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Vec<u8> {
    let (mut bytes, from, to) = (component.into(), from.as_ref(), to.as_ref());
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> = (0..=bytes.len() - from.len()).filter(|&at| bytes[at..].starts_with(from)).collect();
    assert!(!places.is_empty(), "the component does not hold {:?}", String::from_utf8_lossy(from));
    for place in places {
        bytes[place..place + to.len()].copy_from_slice(to);
    }
    bytes
}

/// The cargo that runs this test.
pub fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| env!("CARGO").to_owned())
}

pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The workspace's target folder.
pub fn target() -> PathBuf {
    // TARGET/PROFILE
    crate::process::profile_folder().parent().unwrap().to_owned()
}
