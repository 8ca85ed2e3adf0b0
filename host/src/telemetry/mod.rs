//! What the host tells about itself.

pub mod metrics;
pub mod stderr;
