//! Components that somebody might want to swap in: good ones, of which no two have the same digest, and bad ones of every
//! kind. All but those that must differ as a whole are the built-in component, or one test component with its marker
//! changed.

use host::sandbox::EMBEDDED;

use crate::components::{component, replaced};

/// The built-in component under another digest, one for each number.
pub fn honest(number: u32) -> Vec<u8> {
    numbered(EMBEDDED.to_vec(), number)
}

/// Any component under another digest: with a custom section behind it that says a number.
pub fn numbered(mut component: Vec<u8>, number: u32) -> Vec<u8> {
    let (name, data) = (b"number", number.to_le_bytes());
    // Section id, size, size of the name; all of them are small enough for one byte of LEB128.
    component.extend([0, u8::try_from(1 + name.len() + data.len()).unwrap(), u8::try_from(name.len()).unwrap()]);
    component.extend(name);
    component.extend(data);
    component
}

/// Reads as the built-in component does, and has other code.
pub fn rewritten() -> Vec<u8> {
    behaving("honest")
}

/// Traps when it reads: in `run` on every receipt, after its OCR was paid for and stored, and in `parse`.
pub fn traps() -> Vec<u8> {
    behaving("traps")
}

/// Traps in `run` on receipts whose id ends in an odd hexadecimal digit, before OCR; is right about all others, and in
/// `parse`.
pub fn traps_on_some() -> Vec<u8> {
    behaving("traps-on-some")
}

/// Never comes back from reading.
pub fn loops() -> Vec<u8> {
    behaving("loops")
}

/// Is right, but for receipts that say "POISON TRAP", "POISON LOOP" or "POISON MEMORY": those it reads as they say.
pub fn poisoned() -> Vec<u8> {
    behaving("poisoned")
}

/// Takes memory until there is none.
pub fn eats_memory() -> Vec<u8> {
    behaving("eats-memory")
}

/// Is right, and takes some ten times the instructions for it.
pub fn slow() -> Vec<u8> {
    behaving("slow")
}

/// Cannot read anything, and says so: every receipt is given up.
pub fn gives_up() -> Vec<u8> {
    behaving("gives-up")
}

/// Reads as the built-in component does, but for the total, which it never finds.
pub fn loses_total() -> Vec<u8> {
    behaving("loses-total")
}

/// Reads as the built-in component does, and writes vendors in capitals.
pub fn shouts() -> Vec<u8> {
    behaving("shouts")
}

/// Never claims anything.
pub fn idles() -> Vec<u8> {
    behaving("idles")
}

/// Puts every receipt back, uncharged, as if OCR were throttled.
pub fn puts_back() -> Vec<u8> {
    behaving("puts-back")
}

/// Gives every receipt up, as if OCR were throttled.
pub fn buries() -> Vec<u8> {
    behaving("buries")
}

/// The built-in component as if it were made for a contract to come.
pub fn wrong_version() -> Vec<u8> {
    replaced(EMBEDDED.to_vec(), b"receipts/worker@0.2.0", b"receipts/worker@0.3.0")
}

/// Connects to a server.
pub fn wants_sockets() -> Vec<u8> {
    std::fs::read(component("reaches_for_sockets")).unwrap()
}

/// WebAssembly, but no component.
pub fn core_module() -> Vec<u8> {
    b"\0asm\x01\0\0\0".to_vec()
}

/// Half of the built-in component.
pub fn truncated() -> Vec<u8> {
    EMBEDDED[..EMBEDDED.len() / 2].to_vec()
}

fn behaving(behaviour: &str) -> Vec<u8> {
    let marker = |behaviour: &str| {
        let mut marker = b"BEHAVIOUR:".to_vec();
        marker.extend(behaviour.bytes());
        assert!(marker.len() < 26, "{behaviour} is too long");
        marker.resize(26, 0);
        marker
    };
    replaced(std::fs::read(component("candidate")).unwrap(), marker("honest"), marker(behaviour))
}
