//! The queue: Postgres.
