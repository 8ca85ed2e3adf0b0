//! Servers for development that `host dev` and the tests start themselves: Postgres and S3.

pub mod postgres;
pub mod s3;
mod state;

pub use state::DevState;
