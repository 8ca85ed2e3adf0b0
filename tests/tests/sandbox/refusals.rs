//! What this host does not run, and what it says then: before any of it is compiled, and before a job is claimed.

use std::path::Path;

use host::sandbox::{Limits, LoadError, Refusal, Sandbox};
use tests::components::{component, replaced};

use crate::support::{Bench, host, sandbox};

/// `inspect` and `run` agree on what is refused, and on why.
async fn refused(bench: &Bench, file: &Path, says: &str) {
    let file = file.to_str().unwrap();
    let inspected = host(&["inspect", "--json", file]).await;
    assert_eq!(inspected.code, Some(1), "{file}: {}{}", inspected.stdout, inspected.stderr);
    let report: serde_json::Value = serde_json::from_str(&inspected.stdout).unwrap();
    assert_eq!(report["runs"], false, "{file}");
    assert!(report["reason"].as_str().unwrap().contains(says), "{file}: {report}");

    let ran = bench.run(&["--once", "--component", file]).run().await;
    assert_eq!(ran.code, Some(1), "{file}: {}", ran.stderr);
    assert!(ran.stderr.contains(says) && ran.stderr.contains(file), "{file}: {}", ran.stderr);
    assert!(!ran.stderr.contains("panicked") && ran.stdout.is_empty(), "{file}: {}", ran.stderr);
    assert_eq!(bench.waits("ok.1").await, Some((0, None)), "{file}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_run_is_refused_by_name() {
    let bench = Bench::new().await;
    bench.insert(&["ok.1"]).await;

    refused(&bench, &component("reaches_for_files"), "wasi:filesystem/").await;
    refused(&bench, &component("reaches_for_sockets"), "wasi:sockets/").await;
    refused(&bench, &component("reaches_for_http"), "wasi:http/").await;
    refused(&bench, &component("another_signature"), "does not fit the contract").await;

    let folder = tempfile::tempdir().unwrap();
    let embedded = host::sandbox::EMBEDDED;
    let files: [(&str, Vec<u8>, &str); 9] = [
        ("next.wasm", replaced(embedded, "receipts/worker@0.2.0", "receipts/worker@0.3.0"), "@0.3.0"),
        (
            "no-policy.wasm",
            replaced(embedded, "receipts/policy@", "receipts/polizy@"),
            "snapceit:receipts/policy@0.2.0",
        ),
        ("more.wasm", replaced(embedded, "receipts/textract@", "receipts/database@"), "receipts/database@0.2.0"),
        ("verb.wasm", replaced(embedded, "preferred-api", "preferred-ape"), "preferred-ape"),
        ("module.wasm", b"\0asm\x01\0\0\0".to_vec(), "not a component"),
        ("half.wasm", embedded[..embedded.len() / 2].to_vec(), "cut off or damaged"),
        ("cut.wasm", embedded[..embedded.len() - 1].to_vec(), "cut off or damaged"),
        ("empty.wasm", Vec::new(), "it is empty"),
        ("text.wasm", b"#!/bin/sh\nrm -rf /\n".to_vec(), "no WebAssembly"),
    ];
    for (name, bytes, says) in files {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        refused(&bench, &file, says).await;
    }

    let missing = bench.run(&["--once", "--component", "/nowhere/worker.wasm"]).run().await;
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("cannot read the component /nowhere/worker.wasm"), "{}", missing.stderr);
}

/// However long a file is: what is read of it is bounded.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_larger_than_a_component_may_be_is_not_read() {
    let bench = Bench::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("terabyte.wasm");
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let file = path.to_str().unwrap();
    for ran in [host(&["inspect", file]).await, bench.run(&["--once", "--component", file]).run().await] {
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(ran.stderr.contains(file) && ran.stderr.contains("more than the 67108864 bytes"), "{}", ran.stderr);
    }
}

/// Damage inside is found when it is compiled: an error, no panic.
#[test]
fn a_component_with_damage_inside_does_not_harm_the_host() {
    // No cache: this is nothing to keep.
    let sandbox = Sandbox::new(Limits::default(), 1, None).unwrap();
    for part in 1..8 {
        let mut bytes = host::sandbox::EMBEDDED.to_vec();
        let at = bytes.len() * part / 8;
        for byte in &mut bytes[at..at + 8] {
            *byte ^= 0xA5;
        }
        // In the data it may go unnoticed, and then it is another component.
        if let Err(error) = sandbox.load_bytes("damaged", &bytes) {
            assert!(error.to_string().starts_with("damaged "), "{error}");
        }
    }
}

#[test]
fn the_refusal_comes_before_the_compiler() {
    let sandbox = sandbox(Limits::default());
    let error = sandbox.load(Some(&component("reaches_for_files"))).err().unwrap();
    match error {
        LoadError::Refused { refusal: Refusal::ForbiddenImport(name), .. } => {
            assert!(name.starts_with("wasi:filesystem/"), "{name}");
        }
        other => panic!("{other}"),
    }
}

/// The real one needs its contract and what the standard library is made of, and nothing else.
#[tokio::test]
async fn the_built_in_component_imports_the_least() {
    let inspected = host(&["inspect", "--json"]).await.unharmed();
    let report: serde_json::Value = serde_json::from_str(&inspected.stdout).unwrap();
    assert_eq!((&report["runs"], &report["contract"]), (&true.into(), &"0.2.0".into()));
    for import in report["imports"].as_array().unwrap() {
        let name = import.as_str().unwrap();
        let granted = ["snapceit:receipts/", "wasi:cli/", "wasi:io/"].iter().any(|prefix| name.starts_with(prefix));
        assert!(granted, "{name}");
    }
}
