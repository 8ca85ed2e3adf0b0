//! Traps while it is instantiated: before any of its exports can be called.
#![cfg(target_arch = "wasm32")]
#![allow(unsafe_code, reason = "a constructor that runs before main can be had in no other way")]

extern "C" fn trap() {
    core::arch::wasm32::unreachable()
}

// SAFETY: the linker calls what stands in this section, without arguments, when the module starts.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = trap;

test_components::only_run!(|_| Err(test_components::failure("it started".to_owned())));
