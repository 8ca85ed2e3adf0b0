//! Handles that are not held.

use super::raw::{Core, after_beginning};
use super::{Case, Ends, How};

fn run(what: &str, ends: Ends) -> Case {
    Case { how: How::Run(Core { run: &after_beginning(what), ..Core::least() }.component()), ends }
}

/// Buries what this handle stands for.
fn bury(handle: &str) -> String {
    format!(
        "(call $bury {handle} (i32.const 13) (i32.const 256) (i32.const 1) (i32.const 256) (i32.const 1) (i32.const 128))"
    )
}

pub(super) fn forged() -> Case {
    run(&bury("(i32.const 4000)"), Ends::Charged("unknown handle index 4000"))
}

pub(super) fn of_another_kind() -> Case {
    run(&bury("(local.get $image)"), Ends::Charged("handle index"))
}

pub(super) fn after_settling() -> Case {
    let twice = format!("{0}{0}", bury("(local.get $job)"));
    run(&twice, Ends::AfterSettling("unknown handle index"))
}

pub(super) fn after_dropping() -> Case {
    let what = "(call $drop-job (local.get $job)) (call $image (local.get $job) (i32.const 64))";
    run(what, Ends::AfterSettling("unknown handle index"))
}

pub(super) fn dropped_twice() -> Case {
    let what = "(call $drop-image (local.get $image)) (call $drop-image (local.get $image))";
    run(what, Ends::Charged("unknown handle index"))
}

pub(super) fn a_million() -> Case {
    run("(loop $again (call $image (local.get $job) (i32.const 64)) (br $again))", Ends::Charged("--max-handles"))
}
