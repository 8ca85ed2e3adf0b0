//! The functions of a component that the host calls by itself: to get memory for an answer, and to have an answer's
//! memory freed.

use super::raw::Core;
use super::{Case, Ends, How};

const FOR_EVER: &str = "(loop $again (br $again)) (unreachable)";

/// The first text that the host passes is in the answer to `claim`: no job is held yet, but one was claimed.
fn realloc(realloc: &str, says: &'static str) -> Case {
    Case { how: How::Run(Core { realloc, ..Core::least() }.component()), ends: Ends::Charged(says) }
}

fn post_return(post_return: &str, says: &'static str) -> Case {
    Case { how: How::Run(Core { post_return, ..Core::least() }.component()), ends: Ends::Charged(says) }
}

pub(super) fn loops() -> Case {
    realloc(FOR_EVER, "--deadline")
}

pub(super) fn traps() -> Case {
    realloc("(unreachable)", "unreachable")
}

pub(super) fn outside() -> Case {
    realloc("(i32.const 0x7ffffff0)", "realloc return")
}

pub(super) fn not_aligned() -> Case {
    realloc("(i32.const 4097)", "realloc return")
}

pub(super) fn calls_back() -> Case {
    realloc("(call $claim (i32.const 1) (i32.const 16)) (i32.const 4096)", "cannot leave component instance")
}

pub(super) fn post_return_calls_back() -> Case {
    post_return("(call $claim (i32.const 1) (i32.const 16))", "cannot leave component instance")
}

pub(super) fn post_return_loops() -> Case {
    post_return("(loop $again (br $again))", "--deadline")
}
