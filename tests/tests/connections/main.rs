//! What stands between a worker and its database, for real: TLS, poolers, timeouts, a failover. One file a topic; the
//! clusters that cannot be shared are made by the tests themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod beside;
mod binding;
mod certificates;
mod client_certificates;
mod failover;
mod forwarder;
mod pgbouncer;
mod pooler;
mod secrets;
mod server;
mod silence;
mod strings;
mod timeouts;
mod tls;
mod tls_server;
mod unnamed;
