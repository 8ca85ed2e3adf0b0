//! How long one response takes to read, from JSON to fields. The target is under 2 ms a receipt.

#![allow(clippy::expect_used, reason = "a bench that cannot read its input has nothing to measure")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::path::Path;

fn parse(criterion: &mut Criterion) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/recordings");
    let mut group = criterion.benchmark_group("parse");
    for name in ["sroie/X51006557161", "sroie/ocr-X51005447848", "textract/big-box", "textract/big-box-expense"] {
        let Ok(json) = std::fs::read_to_string(folder.join(format!("{name}.json"))) else { continue };
        group.throughput(Throughput::Bytes(json.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| worker::parser::parse(black_box(&json)).expect("a response"))
        });
    }
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
