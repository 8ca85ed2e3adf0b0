//! Traps before it has claimed anything.
#![cfg(target_arch = "wasm32")]

test_components::only_run!(|_| core::arch::wasm32::unreachable());
