//! Loading components: any bytes, and components in which sections and bytes were changed. What is loaded imports nothing
//! that is not granted, and a call of it ends.

use std::sync::OnceLock;
use std::time::Duration;

use host::sandbox::{EMBEDDED, Limits, LoadError, Program, Refusal, Sandbox, inspect};
use tokio::runtime::{Builder, Runtime};
use wasmparser::{Parser, Payload};

use crate::Target;

pub const TARGET: Target = Target {
    name: "component",
    run,
    seeds,
    longest: 8192,
    words: &[
        "\u{0}asm\u{d}\u{0}\u{1}\u{0}",
        "\u{0}asm\u{1}\u{0}\u{0}\u{0}",
        "snapceit:receipts/queue@0.2.0",
        "snapceit:receipts/worker@0.2.0",
        "snapceit:receipts/parser@0.2.0",
        "snapceit:receipts/policy@0.2.0",
        "@0.1.0",
        "@0.3.0",
        "wasi:cli/environment@0.2.0",
        "wasi:sockets/tcp@0.2.0",
        "wasi:filesystem/types@0.2.0",
    ],
};

/// What may be imported, said a second time: this is what the others are checked against.
const GRANTED: [&str; 12] = [
    "snapceit:receipts/types@0.1.",
    "snapceit:receipts/types@0.2.",
    "snapceit:receipts/objects@0.1.",
    "snapceit:receipts/objects@0.2.",
    "snapceit:receipts/queue@0.1.",
    "snapceit:receipts/queue@0.2.",
    "snapceit:receipts/textract@0.1.",
    "snapceit:receipts/textract@0.2.",
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:io/",
    "wasi:random/",
];

/// The least that is a worker: every import, and exports that do nothing.
const SMALL: &str = include_str!("../../../tests/sandbox/attacks/least.wat");

fn run(data: &[u8]) {
    let Some((&how, rest)) = data.split_first() else { return };
    match how {
        b'r' => check(rest),
        b's' => check(&changed(small(), rest)),
        // Compiling it takes seconds in a debug build, and that is wasmtime's own code.
        _ => drop(check_imports(&changed(EMBEDDED, rest))),
    }
}

fn check(bytes: &[u8]) {
    let verdict = check_imports(bytes);
    let program = match (sandbox().load_bytes("fuzzed", bytes), &verdict) {
        (Ok(program), Ok(())) => program,
        (Err(LoadError::Refused { refusal, .. }), Err(why)) => return assert_eq!(refusal, *why),
        (Err(error @ (LoadError::Compile { .. } | LoadError::Link { .. })), Ok(())) => {
            return assert!(error.to_string().starts_with("fuzzed "), "{error}");
        }
        (Err(error), _) => panic!("inspected as {verdict:?}, but: {error}"),
        (Ok(_), Err(why)) => panic!("loaded, though it is to be refused: {why}"),
    };
    // However it was changed: it answers, or there is a name for what happens.
    if let Err(error) = call(&program) {
        assert!(!error.is_empty());
    }
}

/// What is not refused imports what is granted, and nothing else.
fn check_imports(bytes: &[u8]) -> Result<(), Refusal> {
    let (inspection, verdict) = inspect(bytes);
    if verdict.is_ok() {
        for import in &inspection.imports {
            assert!(GRANTED.iter().any(|granted| import.starts_with(granted)), "{import} is imported");
        }
    }
    verdict
}

fn call(program: &Program) -> Result<(), String> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Builder::new_current_thread().enable_all().build().expect("a runtime"));
    let parsed = runtime.block_on(sandbox().parse(program, r#"{"Blocks":[{"BlockType":"LINE","Text":"SHOP"}]}"#));
    parsed.map(drop).map_err(|error| error.to_string())
}

fn sandbox() -> &'static Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    SANDBOX.get_or_init(|| {
        let limits = Limits {
            deadline: Duration::from_millis(100),
            run_timeout: Duration::from_secs(2),
            log_bytes: 1024,
            ..Limits::default()
        };
        Sandbox::new(limits, 1, None).expect("a sandbox")
    })
}

fn small() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| wat::parse_str(SMALL).expect("a component"))
}

/// A component with changes, five bytes each: what to do, where, and with what.
fn changed(base: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut bytes = base.to_vec();
    for change in changes.chunks_exact(5).take(16) {
        let &[what, a, b, c, value] = change else { continue };
        let place = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        match what % 6 {
            0 => bytes.truncate(place.max(8)),
            1 => with_section(&mut bytes, place, |bytes, (start, end)| drop(bytes.drain(start..end))),
            2 => with_section(&mut bytes, place, |bytes, (start, end)| {
                let copy = bytes[start..end].to_vec();
                bytes.splice(end..end, copy);
            }),
            3 => with_section(&mut bytes, place, |bytes, (start, end)| {
                let moved: Vec<u8> = bytes.drain(start..end).collect();
                bytes.extend(moved);
            }),
            _ => {
                let at = place % bytes.len();
                bytes[at] = if what % 6 == 4 { value } else { bytes[at] ^ (1 << (value % 8)) };
            }
        }
    }
    bytes
}

/// Does something to one of the outermost sections, header and all.
fn with_section(bytes: &mut Vec<u8>, number: usize, change: impl FnOnce(&mut Vec<u8>, (usize, usize))) {
    let (mut sections, mut start, mut depth) = (Vec::new(), 8, 0_u32);
    for payload in Parser::new(0).parse_all(bytes) {
        let Ok(payload) = payload else { break };
        match &payload {
            Payload::ModuleSection { unchecked_range, .. } | Payload::ComponentSection { unchecked_range, .. } => {
                if depth == 0 {
                    sections.push((start, unchecked_range.end));
                    start = unchecked_range.end;
                }
                depth += 1;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            payload if depth == 0 => {
                if let Some((_, range)) = payload.as_section() {
                    sections.push((start, range.end));
                    start = range.end;
                }
            }
            _ => {}
        }
    }
    sections.retain(|&(start, end)| start < end && end <= bytes.len());
    if !sections.is_empty() {
        change(bytes, sections[number % sections.len()]);
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let raw = [&b"r"[..], small()].concat();
    let changes = (0..6_u8).flat_map(|what| (0..8).map(move |place| [what, 0, place, place * 31, 1]));
    let small = changes.clone().map(|change| [&b"s"[..], &change].concat());
    let large = changes.step_by(5).map(|change| [&b"e"[..], &change].concat());
    [raw, b"r".to_vec(), b"s".to_vec(), b"e".to_vec()].into_iter().chain(small).chain(large).collect()
}
