//! What the host tells about itself.

pub mod interval;
pub mod metrics;
pub mod stderr;
