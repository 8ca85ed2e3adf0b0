//! What costs before anything of it runs.

use host::sandbox::LARGEST_COMPONENT;

use super::raw::Core;
use super::{Case, Ends, How};

fn more(more: &str, ends: Ends) -> Case {
    Case { how: How::Load(Core { more, ..Core::least() }.component()), ends }
}

pub(super) fn too_large() -> Case {
    let mut bytes = Core::least().component();
    bytes.resize(usize::try_from(LARGEST_COMPONENT).unwrap() + 1, 0);
    Case { how: How::Load(bytes), ends: Ends::Refused("a component may have 67108864") }
}

/// With this for its memory.
fn memory(memory: &str, says: &'static str) -> Case {
    Case { how: How::Load(Core { memory, ..Core::least() }.component()), ends: Ends::Refused(says) }
}

pub(super) fn memory_to_begin_with() -> Case {
    memory("65536", "--max-memory")
}

pub(super) fn table_to_begin_with() -> Case {
    more("(table 1000000000 funcref)", Ends::Refused("--max-table-elements"))
}

pub(super) fn two_memories() -> Case {
    more("(memory 1)", Ends::Refused("memories"))
}

pub(super) fn large_memory() -> Case {
    memory("i64 16", "64-bit")
}

pub(super) fn shared_memory() -> Case {
    memory("16 16 shared", "shared")
}

pub(super) fn many_tables() -> Case {
    more(&"(table 1 funcref)".repeat(100), Ends::Refused("--max-tables"))
}

pub(super) fn many_instances() -> Case {
    let least = String::from_utf8(include_bytes!("least.wat").to_vec()).unwrap();
    let instances = "(core instance (instantiate $wit-component-shim-module))".repeat(100);
    let place = least.rfind(')').unwrap();
    let bytes = wat::parse_str(format!("{}{instances})", &least[..place])).unwrap();
    Case { how: How::Load(bytes), ends: Ends::Refused("--max-instances") }
}

pub(super) fn many_functions() -> Case {
    more(&"(func (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))".repeat(10_000), Ends::Works)
}

pub(super) fn many_types() -> Case {
    // None like another one.
    let types: String = (0..10_000_u32)
        .map(|number| {
            let parameters: String = (0..14).map(|bit| if number >> bit & 1 == 0 { " i32" } else { " i64" }).collect();
            format!("(type (func (param{parameters})))")
        })
        .collect();
    more(&types, Ends::Works)
}

pub(super) fn long_function() -> Case {
    let body = "(local.set 0 (i32.mul (local.get 0) (i32.const 3)))".repeat(50_000);
    more(&format!("(func (param i32) (result i32) {body} (local.get 0))"), Ends::Works)
}
