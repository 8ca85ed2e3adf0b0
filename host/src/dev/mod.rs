//! Servers for development that `host dev` and the tests start themselves: Postgres and S3, and all that a worker needs.

pub mod postgres;
pub mod s3;
mod servers;
mod state;

pub use servers::{DevDatabase, DevError, DevServers};
pub use state::DevState;
