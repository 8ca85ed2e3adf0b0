//! `host inspect`.

use serde_json::json;
use tests::World;

use super::{alone, write};

#[tokio::test]
async fn inspect_shows_what_a_component_is() {
    let world = World::new().await;
    let file = write(world.dir(), "worker.wasm", host::sandbox::EMBEDDED);
    let built_in = alone(&world).args(["inspect", "--json"]).run().await.json();
    let from_file = alone(&world).arg("inspect").arg(&file).arg("--json").run().await.json();
    assert_eq!(built_in, from_file);
    assert_eq!(built_in["sha256"], json!(host::storage::digest_of(host::sandbox::EMBEDDED)));
    assert_eq!(built_in["size"], json!(host::sandbox::EMBEDDED.len()));
    assert_eq!(
        (&built_in["contract"], &built_in["runs"], &built_in["reason"]),
        (&json!("0.2.0"), &json!(true), &json!(null))
    );
    let names = |field: &str| built_in[field].to_string();
    for export in ["worker", "parser", "policy"] {
        assert!(names("exports").contains(&format!("snapceit:receipts/{export}@0.2.0")), "{}", names("exports"));
    }
    for import in ["queue", "objects", "textract"] {
        assert!(names("imports").contains(&format!("snapceit:receipts/{import}@0.2.0")), "{}", names("imports"));
    }
    for forbidden in ["sockets", "filesystem/types@0.3", "http"] {
        assert!(!names("imports").contains(forbidden), "{}", names("imports"));
    }
    let text = alone(&world).arg("inspect").run().await.ok();
    assert!(text.contains(built_in["sha256"].as_str().unwrap()) && text.contains("would run   yes"), "{text}");
}

#[tokio::test]
async fn inspect_says_no_and_why() {
    let world = World::new().await;
    for (bytes, reason) in
        [(&b"text"[..], "no WebAssembly"), (b"\0asm\x01\0\0\0", "core WebAssembly module"), (b"", "empty")]
    {
        let file = write(world.dir(), "it.wasm", bytes);
        let finished = alone(&world).arg("inspect").arg(&file).arg("--json").run().await;
        assert_eq!(finished.code, Some(1), "{}", finished.stderr);
        let report = &finished.json_lines()[0];
        assert_eq!(report["runs"], false);
        assert!(report["reason"].as_str().unwrap().contains(reason), "{report}");
    }
    assert!(alone(&world).args(["inspect", "/no/such.wasm"]).run().await.error().contains("/no/such.wasm"));
}
