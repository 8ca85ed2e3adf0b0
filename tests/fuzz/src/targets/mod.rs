//! A file a target.

pub mod component;
pub mod database_url;
pub mod document;
pub mod flags;
pub mod location;
pub mod policy;
pub mod redaction;
pub mod response;
pub mod trace;

mod reading;
