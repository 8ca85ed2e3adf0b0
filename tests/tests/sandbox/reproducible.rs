//! The component is the same bytes wherever it is built.

use std::fs;
use std::path::Path;

use tests::components::{build, cargo, target, workspace};

use crate::support::host;

/// The sources in another folder, with no git around and nothing built before, give the component that is built in here.
#[tokio::test]
async fn two_folders_give_one_component() {
    let copy = tempfile::tempdir().unwrap();
    copy_sources(&workspace(), copy.path());
    let elsewhere = tempfile::tempdir().unwrap();
    let mut cargo = build::command(cargo(), copy.path(), elsewhere.path());
    let built = cargo.args(["--package", "worker", "--lib", "--quiet"]).status().unwrap();
    assert!(built.success());
    let component = elsewhere.path().join("wasm32-wasip2/component/worker.wasm");

    let digest = async |args: &[&str]| {
        let inspected = host(args).await.unharmed();
        let report: serde_json::Value = serde_json::from_str(&inspected.stdout).unwrap();
        report["sha256"].as_str().unwrap().to_owned()
    };
    let built_in = digest(&["inspect", "--json"]).await;
    assert_eq!(digest(&["inspect", "--json", component.to_str().unwrap()]).await, built_in);
    let text = fs::read(&component).unwrap();
    for path in [copy.path(), elsewhere.path(), &workspace()] {
        let path = path.to_str().unwrap().as_bytes();
        assert!(!text.windows(path.len()).any(|window| window == path), "it holds a path of this machine");
    }
}

/// `cargo build` leaves the component beside the host, and it is the one inside of it.
#[test]
fn the_component_lies_beside_the_host() {
    let beside = Path::new(env!("CARGO_BIN_EXE_host-under-test")).with_file_name("worker.wasm");
    assert!(beside.starts_with(target()));
    assert_eq!(fs::read(beside).unwrap(), host::sandbox::EMBEDDED);
}

/// All that cargo needs to build the component: sources, manifests, the contract.
fn copy_sources(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            copy_sources(&path, &to.join(name));
        } else if ["rs", "toml", "wit", "lock"].iter().any(|kind| path.extension().is_some_and(|found| found == *kind))
        {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}
