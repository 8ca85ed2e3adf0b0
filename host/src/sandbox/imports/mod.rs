//! The contract's imports, one file an interface. A failure of the outside world is the component's to decide on; a trap
//! is for a component that breaks the rules (a handle that it does not hold).

mod objects;
mod queue;
mod textract;
mod types;

use super::bindings::snapceit::receipts::types as wit;
use super::state::{RunState, Services};
use crate::failure::{Failure, FailureKind};

use std::sync::Arc;

impl RunState {
    /// What the imports reach; a failure while a pure function runs.
    fn services(&self) -> Result<Arc<Services>, wit::Failure> {
        self.services.clone().ok_or_else(|| {
            let message = "parse and decide are pure: there is no queue, storage or OCR to reach from them";
            Failure::new(FailureKind::AccessDenied, "host.PureCall", message).into()
        })
    }
}
