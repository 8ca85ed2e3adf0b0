//! The targets under libFuzzer: `FUZZ_TARGET` names the one, everything else is libFuzzer's own command line. One binary
//! for all, because each would link the whole host. With `FUZZ_SEEDS=FOLDER` it writes what to begin with and ends.
#![no_main]
#![allow(clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::sync::OnceLock;

use fuzz::{TARGETS, Target};

static TARGET: OnceLock<&'static Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let Some(target) = fuzz::target(&name) else {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            eprintln!("FUZZ_TARGET names no target: {name:?}; there are {}", names.join(", "));
            std::process::exit(2);
        };
        if let Some(folder) = std::env::var_os("FUZZ_SEEDS") {
            write_seeds(target, Path::new(&folder)).expect("the seeds are written");
            std::process::exit(0);
        }
        TARGET.get_or_init(|| target);
    },
    |data: &[u8]| {
        if let Some(target) = TARGET.get() {
            (target.run)(data);
        }
    }
);

/// The seeds, a dictionary, and libFuzzer's flag for the longest input.
fn write_seeds(target: &Target, folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder.join("seeds"))?;
    for (number, seed) in (target.seeds)().iter().enumerate() {
        std::fs::write(folder.join("seeds").join(format!("{number:03}")), seed)?;
    }
    let quoted = |word: &&str| {
        let escaped: String = word.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
        format!("\"{escaped}\"\n")
    };
    std::fs::write(folder.join("words"), target.words.iter().map(quoted).collect::<String>())?;
    std::fs::write(folder.join("longest"), target.longest.to_string())
}
