//! Invariant 8: same component, same input: same output, byte for byte.

use std::path::PathBuf;

use host::sandbox::Limits;
use tests::components::{component, workspace};

use crate::support::{RESPONSE, host, sandbox};

#[tokio::test(flavor = "multi_thread")]
async fn invariant_8_same_input_same_output() {
    let folder = tempfile::tempdir().unwrap();
    let mut paths = vec![folder.path().to_owned()];
    let one = folder.path().join("one.json");
    std::fs::write(&one, RESPONSE).unwrap();
    std::fs::write(folder.path().join("broken.json"), &RESPONSE[..100]).unwrap();
    std::fs::write(folder.path().join("other.json"), "{}").unwrap();
    paths.extend(Some(workspace().join("tests/recordings")).filter(|folder| folder.is_dir()));

    // Other processes, other instances, another order in time.
    let read = async |jobs: &str| {
        let mut args = vec!["parse", "--jobs", jobs];
        args.extend(paths.iter().map(|path| path.to_str().unwrap()));
        let ran = host(&args).await;
        assert_eq!(ran.code, Some(1), "broken.json and other.json are no responses: {}", ran.stderr);
        ran.stdout
    };
    let first = read("1").await;
    assert_eq!(first.matches("\"error\"").count(), 2, "{first}");
    assert_eq!(first, read("1").await);
    assert_eq!(first, read("8").await);

    // All that it returns, to the last bit of each box, from two engines; the second one's code comes from the cache.
    let (one, other) = (sandbox(Limits::default()), sandbox(Limits::default()));
    let (program, again) = (one.load(None).unwrap(), other.load(None).unwrap());
    for json in responses(&paths) {
        let answers = [
            one.parse(&program, &json).await.unwrap(),
            one.parse(&program, &json).await.unwrap(),
            other.parse(&again, &json).await.unwrap(),
        ];
        assert_eq!(format!("{:?}", answers[0]), format!("{:?}", answers[1]));
        assert_eq!(format!("{:?}", answers[0]), format!("{:?}", answers[2]));
    }
}

/// Machines differ in the bits of a NaN; the sandbox gives all of them the same one.
#[tokio::test]
async fn invariant_8_not_a_number_is_the_same_everywhere() {
    let sandbox = sandbox(Limits::default());
    let program = sandbox.load(Some(&component("misbehaves"))).unwrap();
    let receipt = sandbox.parse(&program, "nan").await.unwrap().unwrap();
    assert_eq!(receipt.vendor.unwrap().value, "7ff8000000000000 7fc00000 7ff8000000000000");
}

fn responses(paths: &[PathBuf]) -> Vec<String> {
    let mut found = Vec::new();
    for path in paths {
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(responses(&[path]));
            } else if path.extension().is_some_and(|extension| extension == "json") {
                found.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    found
}
