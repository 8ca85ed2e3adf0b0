//! Hot swap: where a new component comes from, whether it may be looked at, how it is compared with the one that works, and
//! how it is watched once it works itself.

mod aside;
mod candidate;
mod control;
mod deployed;
mod deployment;
mod error;
mod first;
pub mod gate;
mod ledger;
mod parsed;
mod probation;
mod rollout;
mod shadow;
pub mod source;
mod start;
mod store;
mod swapper;
pub mod trust;
mod verdict;

pub use candidate::{Candidate, LARGEST_COMPONENT, SIGNATURE_SUFFIX};
pub use control::Control;
pub use deployed::{Deployed, short};
pub use error::StartError;
pub use ledger::LedgerSettings;
pub use probation::ProbationSettings;
pub use shadow::Shadow;
pub use start::{Dependencies, Loaded, Swap, SwapSettings};
pub use swapper::{HostBreakers, Swapper};
pub use verdict::{Stage, SwapOutcome, Verdict};
