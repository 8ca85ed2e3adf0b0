//! The crash matrix: at every fault point of a job's, a host is killed or loses its connection, alone and among three.
//! Each combination is a test by its name: `cargo test -p tests --test crash claim::answered` runs four of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod case;
mod fleet;
mod oracle;
mod story;

use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Runtime;

use crate::case::Case;

/// Most of a case's time is spent waiting for a lease to run out.
const SIDE_BY_SIDE: usize = 8;

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(SIDE_BY_SIDE);
    let runtime = Arc::new(Runtime::new().unwrap());
    let trial = |case: Case| {
        let runtime = Arc::clone(&runtime);
        Trial::test(case.name(), move || {
            runtime.block_on(story::run(case));
            Ok(())
        })
    };
    let conclusion = libtest_mimic::run(&arguments, Case::all().map(trial).collect());
    if !arguments.list {
        case::print_coverage();
    }
    conclusion.exit();
}
