//! Components that no compiler makes: the least worker with a core module written by hand, so that it calls the host as it
//! likes.
//!
//! Its memory: the answer to `claim` at 16, to `image` at 64, other answers at 128, texts from 256, the result of `run` at
//! 1024 (zeros: success, nothing done), what the host puts in from 4096.

/// Made from `wit/`; see the file.
const LEAST: &str = include_str!("least.wat");

/// Parts of a core module in which attacks differ.
pub(super) struct Core<'a> {
    /// Its memory: the pages of 64 KiB that it begins with, and what kind it is.
    pub(super) memory: &'a str,
    /// How it finds memory for the host: `$size` bytes.
    pub(super) realloc: &'a str,
    /// What `run` does; `$job` and `$image` are free to use.
    pub(super) run: &'a str,
    /// What it does after its answer was read.
    pub(super) post_return: &'a str,
    /// More fields of the module.
    pub(super) more: &'a str,
}

impl Core<'_> {
    /// Claims a job, fetches its image, and leaves it at that.
    pub(super) const fn least() -> Self {
        Core { memory: "16", realloc: TAKE_THE_NEXT, run: BEGIN_AND_RETURN, post_return: "", more: "" }
    }

    /// The component.
    pub(super) fn component(&self) -> Vec<u8> {
        with_core(&self.module())
    }

    fn module(&self) -> String {
        let Self { memory, realloc, run, post_return, more } = self;
        format!(
            r#"(core module $main
              {IMPORTS}
              (memory (export "memory") {memory})
              (global $next (mut i32) (i32.const 4096))
              {more}
              (func (export "cabi_realloc") (param $old i32) (param $was i32) (param $align i32) (param $size i32) (result i32)
                {realloc})
              (func (export "snapceit:receipts/worker@0.2.0#run") (param $limit i32) (result i32)
                (local $job i32) (local $image i32)
                {run})
              (func (export "cabi_post_snapceit:receipts/worker@0.2.0#run") (param i32)
                {post_return})
              (func (export "snapceit:receipts/parser@0.2.0#parse") (param i32 i32) (result i32) (i32.const 1024))
              (func (export "snapceit:receipts/policy@0.2.0#decide")
                (param i32 i32 i32 i32 i32 i32 i32 i64) (result i32) (i32.const 1024)))"#
        )
    }
}

/// The least worker with another core module. Its name is `$main`.
pub(super) fn with_core(module: &str) -> Vec<u8> {
    let (before, rest) = LEAST.split_once(";; <core").unwrap();
    let (_, after) = rest.split_once(";; core>").unwrap();
    wat::parse_str(format!("{before}\n{module}\n{after}")).unwrap()
}

const IMPORTS: &str = r#"
    (import "snapceit:receipts/queue@0.2.0" "claim" (func $claim (param i32 i32)))
    (import "snapceit:receipts/queue@0.2.0" "[method]job.attempt" (func $attempt (param i32) (result i32)))
    (import "snapceit:receipts/queue@0.2.0" "[method]job.image" (func $image (param i32 i32)))
    (import "snapceit:receipts/queue@0.2.0" "[static]job.complete" (func $complete (param i32 i32)))
    (import "snapceit:receipts/queue@0.2.0" "[static]job.retry-after"
      (func $retry (param i32 i64 i32 i32 i32 i32 i32 i32 i32)))
    (import "snapceit:receipts/queue@0.2.0" "[static]job.dead-letter"
      (func $bury (param i32 i32 i32 i32 i32 i32 i32)))
    (import "snapceit:receipts/queue@0.2.0" "[resource-drop]job" (func $drop-job (param i32)))
    (import "snapceit:receipts/objects@0.2.0" "[resource-drop]image" (func $drop-image (param i32)))"#;

/// Memory for the host, never given back.
const TAKE_THE_NEXT: &str = "
    (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.get $next)
    (global.set $next (i32.add (global.get $next) (local.get $size)))";

/// From here on the host knows which job is worked.
pub(super) const BEGIN: &str = "
    (call $claim (i32.const 1) (i32.const 16))
    (local.set $job (i32.load (i32.load (i32.const 20))))
    (call $image (local.get $job) (i32.const 64))
    (local.set $image (i32.load (i32.const 68)))";

const BEGIN_AND_RETURN: &str = "
    (call $claim (i32.const 1) (i32.const 16))
    (call $image (i32.load (i32.load (i32.const 20))) (i32.const 64))
    (i32.const 1024)";

/// `run` that begins, does this, and says that all went well.
pub(super) fn after_beginning(what: &str) -> String {
    format!("{BEGIN}\n{what}\n(i32.const 1024)")
}
