//! What `bindgen!` makes of `wit/`.

#![allow(unreachable_pub, clippy::all, missing_docs)]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "receipt-worker",
    imports: { default: async | trappable },
    exports: { default: async },
    with: {
        "snapceit:receipts/queue.job": super::handles::JobHandle,
        "snapceit:receipts/objects.image": super::handles::ImageHandle,
        "snapceit:receipts/objects.artifact": super::handles::ArtifactInfo,
        "snapceit:receipts/textract.response": super::handles::ResponseHandle,
    },
    additional_derives: [PartialEq, serde::Serialize, serde::Deserialize],
});
