//! The sandbox: engine, limits, imports.
