//! Too much of what is allowed.

use super::raw::{Core, after_beginning};
use super::{Case, Ends, How};

fn run(what: &str, more: &str, says: &'static str) -> Case {
    let core = Core { run: &after_beginning(what), more, ..Core::least() };
    Case { how: How::Run(core.component()), ends: Ends::Charged(says) }
}

pub(super) fn computes() -> Case {
    run("(loop $again (br $again))", "", "--deadline")
}

pub(super) fn calls() -> Case {
    run("(loop $again (drop (call $attempt (local.get $job))) (br $again))", "", "--deadline")
}

pub(super) fn recursion() -> Case {
    run("(drop (call $deeper (i64.const 0)))", DEEPER, "stack")
}

const DEEPER: &str = "(func $deeper (param i64) (result i64)
    (i64.add (local.get 0) (call $deeper (i64.add (local.get 0) (i64.const 1)))))";

pub(super) fn grows_memory() -> Case {
    let what = "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) (unreachable)";
    run(what, "", "--max-memory")
}

pub(super) fn grows_table() -> Case {
    let what = "(loop $again
        (br_if $again (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)))) (unreachable)";
    run(what, "(table $t 1 funcref)", "--max-table-elements")
}

fn start(body: &str, says: &'static str) -> Case {
    let more = format!("(func $start {body}) (start $start)");
    Case { how: How::Run(Core { more: &more, ..Core::least() }.component()), ends: Ends::BeforeAJob(says) }
}

pub(super) fn start_loops() -> Case {
    start("(loop $again (br $again))", "--deadline")
}

pub(super) fn start_traps() -> Case {
    start("(unreachable)", "unreachable")
}
