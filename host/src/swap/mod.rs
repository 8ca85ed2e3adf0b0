//! Hot swap: where a new component comes from, whether it may be looked at, how it is compared with the one that works, and
//! how it is watched once it works itself.

mod aside;
mod candidate;
mod control;
mod deployed;
pub mod gate;
mod keep;
mod ledger;
mod passage;
mod probation;
mod shadow;
pub mod source;
mod swapper;
pub mod trust;
mod verdict;

pub use candidate::{Candidate, LARGEST_COMPONENT, SIGNATURE_SUFFIX};
pub use control::Control;
pub use deployed::{Deployed, short};
pub use keep::Keep;
pub use ledger::in_words as distrust_in_words;
pub use probation::ProbationSettings;
pub use shadow::Shadow;
pub use swapper::{SwapSettings, Swapper};
pub use verdict::{Stage, SwapOutcome, Verdict};
