//! A recorded response with its expectation, out of a trace: what surprised in production becomes a regression test.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Decision, JobStory};
use crate::reading::Reading;
use crate::trace::{Trace, TraceError};

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The component had no OCR response for the receipt in this run.
    #[error("receipt {0}: no OCR response was read in this run")]
    NoResponse(String),
    /// The response is not there any more, or not as it was recorded.
    #[error(transparent)]
    Response(#[from] TraceError),
    /// A file of that name is there.
    #[error("{} is there already; give another name with --name", .0.display())]
    Exists(PathBuf),
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What was written.
#[derive(Debug)]
pub struct Exported {
    /// The response.
    pub response: PathBuf,
    /// What is expected of it; none where the receipt was not completed.
    pub expectation: Option<PathBuf>,
}

/// Writes NAME.json, the response as it was recorded, and NAME.expected.json, what was read from it.
///
/// Fails where there is no such response, and rather than overwrite anything.
pub fn export(trace: &Trace, job: &JobStory, folder: &Path, name: &str) -> Result<Exported, ExportError> {
    let ocr = job.ocr.as_ref().ok_or_else(|| ExportError::NoResponse(job.receipt_id.clone()))?;
    let body = trace.response(&ocr.response)?;
    let response = folder.join(format!("{name}.json"));
    let expectation = folder.join(format!("{name}.expected.json"));
    for path in [&response, &expectation] {
        if path.symlink_metadata().is_ok() {
            return Err(ExportError::Exists(path.clone()));
        }
    }
    std::fs::create_dir_all(folder).map_err(|source| ExportError::Io { path: folder.to_owned(), source })?;
    create(&response, &body)?;
    let Some(Decision::Complete(reading)) = &job.decision else {
        return Ok(Exported { response, expectation: None });
    };
    create(&expectation, &line(reading))?;
    Ok(Exported { response, expectation: Some(expectation) })
}

/// A file's name for a receipt.
pub fn name_of(receipt_id: &str) -> String {
    let name: String = receipt_id
        .chars()
        .take(100)
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' })
        .collect();
    // Neither hidden, nor the folder itself, nor an expectation.
    let name = name.trim_start_matches('.').replace(".expected", "-expected");
    if name.is_empty() { "receipt".to_owned() } else { name }
}

fn create(path: &Path, text: &str) -> Result<(), ExportError> {
    let mut file = match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(ExportError::Exists(path.to_owned())),
        Err(source) => return Err(ExportError::Io { path: path.to_owned(), source }),
    };
    file.write_all(text.as_bytes()).map_err(|source| ExportError::Io { path: path.to_owned(), source })
}

/// As `host replay --bless` writes it.
fn line(reading: &Reading) -> String {
    // Cannot fail: texts and a finite number.
    format!("{}\n", serde_json::to_string(reading).unwrap_or_default())
}
