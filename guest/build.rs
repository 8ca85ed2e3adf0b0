//! The component's stack: a quarter of what the linker would give it. A run touches a fraction of it, and a host that gives each run a
//! fresh memory keeps the beginning of the last one: with a small stack the heap is in there, too. What needs more traps, and only
//! nested JSON could; it is read without recursion.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("wasm32") {
        println!("cargo:rustc-link-arg-cdylib=-zstack-size={}", 256 << 10);
    }
}
