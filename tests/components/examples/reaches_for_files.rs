//! Reads a file.
#![cfg(target_arch = "wasm32")]

test_components::only_run!(|_| {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    Err(test_components::failure(text))
});
