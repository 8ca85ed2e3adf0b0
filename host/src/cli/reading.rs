//! Reading recorded responses with a component, as `parse` and `replay` do it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::sandbox::types::Receipt;
use crate::sandbox::{ParseError, Program, Sandbox};

/// The recorded responses that these paths name: files as they are, folders searched for `*.json` and for what Textract's
/// OutputConfig writes (`1`, `2`, … in a folder for each job, beside `.s3_access_check`), in a stable order. Expectations, and
/// `labels` of a data set, are none.
pub(super) fn recordings(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        let kind = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
        if kind.is_dir() { search(path, &mut found)? } else { found.push(path.clone()) }
    }
    Ok(found)
}

fn search(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let problem = || format!("cannot read the folder {}", folder.display());
    let mut entries = std::fs::read_dir(folder)
        .with_context(problem)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .with_context(problem)?;
    entries.sort_by_cached_key(|path| (page(path), path.clone()));
    for path in entries {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() {
            search(&path, found)?;
        } else if name.ends_with(".json") && !name.ends_with(".expected.json") || page(&path).is_some() {
            found.push(path);
        }
    }
    Ok(())
}

/// Which of a job's files it is, by its name.
fn page(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    if path.is_dir() || !name.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    name.parse().ok()
}

/// Starts reading all of them in the sandbox, some at a time; the handles come in the order of the paths.
pub(super) fn read_all(
    sandbox: &Arc<Sandbox>,
    program: &Arc<Program>,
    paths: &[PathBuf],
    jobs: usize,
) -> Vec<JoinHandle<Result<Receipt, String>>> {
    let turn = Arc::new(Semaphore::new(jobs));
    paths
        .iter()
        .map(|path| {
            let (sandbox, program, turn, path) =
                (Arc::clone(sandbox), Arc::clone(program), Arc::clone(&turn), path.clone());
            tokio::spawn(async move {
                let _turn = turn.acquire().await;
                read(&sandbox, &program, &path).await
            })
        })
        .collect()
}

async fn read(sandbox: &Sandbox, program: &Program, path: &Path) -> Result<Receipt, String> {
    let bytes = tokio::fs::read(path).await.map_err(|error| format!("cannot read it: {error}"))?;
    let json = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    match sandbox.parse(program, &json).await {
        Ok(Ok(receipt)) => Ok(receipt),
        Ok(Err(ParseError::NotJson(problem))) => Err(format!("it is no JSON: {problem}")),
        Ok(Err(ParseError::NotTextract(problem))) => Err(format!("it is no Textract response: {problem}")),
        Err(error) => Err(error.to_string()),
    }
}

/// As many as there are cores.
pub(super) fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
