//! Stored answers of OCR that are to be moved aside, so that others are paid for.

use super::target::Target;
use crate::aws;
use crate::failure::{Failure, FailureKind};
use crate::ocr::OcrApi;
use crate::queue::dead_letters::DeadLetter;
use crate::storage::{Artifacts, Images};

/// What one photo may need in memory, and a little more.
const MEMORY: u64 = 32 << 20;

/// Moves aside what OCR said to the photos of these dead letters; of all of them only where it could not be read.
pub(super) async fn move_aside(target: &Target, letters: &[DeadLetter], all: bool) -> anyhow::Result<()> {
    let aws = aws::load(&target.aws).await?;
    let images = Images::new(aws.s3.clone(), target.source_bucket()?, MEMORY);
    let artifacts = Artifacts::new(aws.s3, target.artifact_bucket()?);
    let unreadable = FailureKind::BadResponse.as_str();
    for letter in letters.iter().filter(|letter| !all || letter.error_kind == unreadable) {
        let receipt = &letter.receipt_id;
        let image = match images.fetch(letter.s3_key.as_deref()).await {
            Ok(image) => image,
            // It is not read again, whatever is stored.
            Err(failure) if is_about_the_photo(&failure) => {
                tracing::warn!(name: "artifact.not_moved_aside", receipt, "nothing is moved aside: {failure}");
                continue;
            }
            Err(failure) => return Err(failure.into()),
        };
        for api in [OcrApi::Detect, OcrApi::Expense] {
            let key = Artifacts::key(receipt, &image.digest, api.as_str());
            if let Some(aside) = artifacts.move_aside(&key).await? {
                tracing::info!(
                    name: "artifact.moved_aside",
                    receipt,
                    key,
                    aside,
                    "the stored answer is moved aside; another one will be paid for"
                );
            }
        }
    }
    Ok(())
}

fn is_about_the_photo(failure: &Failure) -> bool {
    matches!(
        failure.kind,
        FailureKind::NotFound | FailureKind::BadDocument | FailureKind::BadLocation | FailureKind::DocumentTooLarge
    )
}
