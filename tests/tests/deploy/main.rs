//! What is deployed, under software that we did not write. `make deploy-test` installs it and runs this.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod aws;
mod cloudwatch;
mod function;
mod mishaps;
mod rds;
mod secrets;
mod supabase;
