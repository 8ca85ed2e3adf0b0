//! What the host tells about itself, beside its log.

pub mod metrics;
