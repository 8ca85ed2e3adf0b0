//! What a component made of a response, as the gate and the shadow compare it.

use crate::reading::Reading;
use crate::sandbox::{ParseError, RunError, types};

/// A reading, or why there is none.
pub(super) fn parsed(result: Result<Result<types::Receipt, ParseError>, RunError>) -> Result<Reading, String> {
    match result {
        Ok(Ok(receipt)) => Ok(receipt.into()),
        Ok(Err(ParseError::NotJson(why) | ParseError::NotTextract(why))) => Err(format!("it cannot be read: {why}")),
        Err(error) => Err(error.to_string()),
    }
}
