//! What is passed and returned is not what it says.

use super::raw::{BEGIN, Core, after_beginning};
use super::{Case, Ends, How};

fn run(memory: &str, run: &str, says: &'static str) -> Case {
    Case { how: How::Run(Core { memory, run, ..Core::least() }.component()), ends: Ends::Charged(says) }
}

/// Buries its job with this kind, and a message of this many bytes from 256 on.
fn bury(kind: u32, length: u32) -> String {
    after_beginning(&format!(
        "(call $bury (local.get $job) (i32.const {kind}) (i32.const 256) (i32.const 1)
          (i32.const 256) (i32.const {length}) (i32.const 128))"
    ))
}

/// Pages of memory that hold 48 MB: within the limit for memory, and not within the one for a call.
const MUCH: &str = "800";

pub(super) fn gigabyte_of_text() -> Case {
    run("16", &bury(13, 1 << 30), "out of bounds")
}

pub(super) fn much_text() -> Case {
    run(MUCH, &bury(13, 48 << 20), "--max-host-call")
}

pub(super) fn not_utf8() -> Case {
    let break_it = "(i32.store (i32.const 256) (i32.const -1))";
    run("16", &format!("{break_it} {}", bury(13, 4)), "utf-8")
}

pub(super) fn unknown_kind() -> Case {
    run("16", &bury(200, 1), "discriminant")
}

pub(super) fn arguments_outside() -> Case {
    let what = "(call $complete (i32.const 0x7ffffff0) (i32.const 128))";
    run("16", &after_beginning(what), "out of bounds")
}

pub(super) fn wrong_discriminant() -> Case {
    run("16", &after_beginning("(i32.store8 (i32.const 1024) (i32.const 7))"), "discriminant")
}

pub(super) fn result_not_aligned() -> Case {
    run("16", &format!("{BEGIN} (i32.const 1025)"), "aligned")
}

pub(super) fn result_outside() -> Case {
    run("16", &format!("{BEGIN} (i32.const 0x7ffffff0)"), "out of bounds")
}

/// Returns a failure with a message of this many bytes.
fn returned(length: u32) -> String {
    after_beginning(&format!(
        "(i32.store8 (i32.const 1024) (i32.const 1))
         (i32.store (i32.const 1040) (i32.const 256))
         (i32.store (i32.const 1044) (i32.const {length}))"
    ))
}

pub(super) fn gigabyte_returned() -> Case {
    run("16", &returned(1 << 30), "out of bounds")
}

pub(super) fn much_returned() -> Case {
    run(MUCH, &returned(48 << 20), "--max-host-call")
}
