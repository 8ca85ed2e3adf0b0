//! The files of compiled components: a checksum of the file's name and of the code, then the code. What a full disk, a crash of
//! the machine or anybody's hand left of one is not loaded.

use sha2::{Digest, Sha256};

/// How their names end.
pub(super) const SUFFIX: &str = ".cwasm";
/// What a file begins with, before its checksum.
pub(super) const MAGIC: &[u8; 8] = b"rw-code1";
pub(super) const HEADER: usize = MAGIC.len() + 32;

/// What is written before the code.
pub(super) fn header(name: &str, code: &[u8]) -> Vec<u8> {
    [&MAGIC[..], &checksum(name, code)].concat()
}

/// The code in a file of that name.
pub(super) fn verified<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a [u8], String> {
    let (header, code) = bytes.split_at_checked(HEADER).ok_or("it is too short")?;
    match header.split_at_checked(MAGIC.len()) {
        Some((magic, sum)) if magic == MAGIC && sum == checksum(name, code) => Ok(code),
        Some((magic, _)) if magic == MAGIC => Err("its checksum is wrong".to_owned()),
        _ => Err("it carries no checksum".to_owned()),
    }
}

fn checksum(name: &str, code: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(name).chain_update([0]).chain_update(code).finalize().into()
}
