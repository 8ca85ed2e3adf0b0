//! Recorded responses against what is expected of them.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cli::args::SandboxArgs;
use crate::cli::output;
use crate::cli::output::plain;
use crate::cli::reading::read_all;
use crate::reading::Reading;

/// Reads all of them; returns whether each is as expected. With `bless`, what is read becomes the expectation.
pub(super) async fn replay(paths: &[PathBuf], args: &SandboxArgs, bless: bool, jobs: usize) -> anyhow::Result<bool> {
    let (sandbox, program) = args.load(jobs)?;
    let (mut same, mut other) = (0_usize, 0_usize);
    for (path, reading) in paths.iter().zip(read_all(&sandbox, &program, paths, jobs)) {
        let reading = reading.await?.map(Reading::from);
        let agrees = if bless { self::bless(path, reading)? } else { compare(path, reading)? };
        if agrees { same += 1 } else { other += 1 }
    }
    let verb = if bless { "unchanged" } else { "as expected" };
    output::line(format!("{same} {verb}, {other} not ({})", program.digest()))?;
    Ok(other == 0 || bless)
}

fn compare(path: &Path, reading: Result<Reading, String>) -> anyhow::Result<bool> {
    let name = path.display();
    let Some(expected) = expectation(path)? else {
        output::line(format!("{name}: no expectation (--bless writes one)"))?;
        return Ok(false);
    };
    let found = match reading {
        Ok(found) => found,
        Err(error) => {
            output::line(format!("{name}: {}", plain(&error)))?;
            return Ok(false);
        }
    };
    let differences = expected.differences(&found);
    for (field, expected, found) in &differences {
        output::line(format!("{name}: {field}: expected {expected}, found {found}"))?;
    }
    Ok(differences.is_empty())
}

fn bless(path: &Path, reading: Result<Reading, String>) -> anyhow::Result<bool> {
    let reading = reading.map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    if expectation(path).ok().flatten().as_ref() == Some(&reading) {
        return Ok(true);
    }
    let file = expectation_file(path);
    let text = format!("{}\n", serde_json::to_string(&reading)?);
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    output::line(format!("{}: written", file.display()))?;
    Ok(false)
}

fn expectation(path: &Path) -> anyhow::Result<Option<Reading>> {
    let file = expectation_file(path);
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    serde_json::from_str(&text).map(Some).with_context(|| format!("{} is no expectation", file.display()))
}

fn expectation_file(path: &Path) -> PathBuf {
    path.with_extension("expected.json")
}
