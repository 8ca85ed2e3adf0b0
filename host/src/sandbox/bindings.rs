//! What `bindgen!` makes of `wit/`.

#![allow(unreachable_pub, clippy::all, missing_docs)]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "receipt-worker",
    imports: { default: async | trappable },
    exports: { default: async },
    with: {
        "snapceit:receipts/queue.job": super::state::JobHandle,
        "snapceit:receipts/objects.image": super::state::ImageHandle,
        "snapceit:receipts/objects.artifact": super::import::ArtifactInfo,
        "snapceit:receipts/textract.response": super::state::ResponseHandle,
    },
    additional_derives: [PartialEq, serde::Serialize, serde::Deserialize],
});
