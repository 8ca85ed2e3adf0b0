//! Values of flags and variables: times, sizes, addresses, where a component is.

use std::time::Duration;

use host::admin::AdminAddress;
use host::cli::{duration, size};
use host::swap::source::ComponentLocation;

use crate::Target;

pub const TARGET: Target = Target {
    name: "flags",
    run,
    seeds: || SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).collect(),
    longest: 128,
    words: &[
        "ms",
        "s",
        "m",
        "h",
        "d",
        "KiB",
        "MiB",
        "GiB",
        "kb",
        "inf",
        "nan",
        "1e",
        "-",
        "s3://",
        "localhost:",
        "[::1]:",
    ],
};

const SEEDS: [&str; 10] = [
    "30s",
    "250ms",
    "1.5m",
    "7d",
    "64MiB",
    "10mb",
    "127.0.0.1:9464",
    "localhost:0",
    "[::1]:1",
    "s3://bucket/a/worker.wasm",
];

fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match duration(text) {
        Ok(time) => {
            assert!(!time.is_zero());
            // Written in milliseconds it is the same, as far as those go.
            let written = format!("{}ms", time.as_millis());
            if let Ok(again) = duration(&written) {
                assert!(time.abs_diff(again) <= Duration::from_millis(1) + time / 1_000_000, "{text:?} is {written}");
            }
        }
        Err(why) => assert!(!why.is_empty()),
    }
    match size(text) {
        Ok(bytes) => assert_eq!(size(&bytes.to_string()), Ok(bytes), "{text:?}"),
        Err(why) => assert!(!why.is_empty()),
    }
    if let Ok(AdminAddress::At(address)) = text.parse() {
        assert_eq!(address.to_string().parse(), Ok(AdminAddress::At(address)));
    }
    if let Ok(ComponentLocation::S3 { bucket, key }) = ComponentLocation::parse(text) {
        assert!(!bucket.is_empty() && !key.is_empty(), "{text:?}");
        let written = format!("s3://{bucket}/{key}");
        assert_eq!(ComponentLocation::parse(&written), Ok(ComponentLocation::S3 { bucket, key }), "{text:?}");
    }
}
