//! The verbs that a person needs, as a person types them.

mod dead_letters;
mod dev;
mod doctor;
mod enqueue;
mod general;
mod inspect;
mod parse;
mod small;

use std::path::{Path, PathBuf};

use tests::{HostCommand, World};

pub(super) fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A host that has no environment, only a compile cache.
pub(super) fn alone(world: &World) -> HostCommand {
    let usual = world.host();
    [
        "DATABASE_URL",
        "SOURCE_BUCKET",
        "ARTIFACT_BUCKET",
        "AWS_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ENDPOINT_URL_TEXTRACT",
    ]
    .iter()
    .fold(usual, |host, name| host.without(name))
}
