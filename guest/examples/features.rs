//! Prints what speaks for each amount and name of recorded responses, one JSON line a file: what `guest/training` learns from.

use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout().lock();
    for path in std::env::args().skip(1) {
        let document = worker::textract::read(&std::fs::read_to_string(&path)?)?;
        let found = worker::parser::training_features(&document);
        let line = serde_json::json!({
            "file": path,
            "amounts": found.amounts,
            "names": found.names,
            "quality": found.quality,
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}
