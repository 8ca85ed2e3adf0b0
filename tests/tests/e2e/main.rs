//! End to end: the `host` binary and its library over a real Postgres, S3 and Textract's protocol. One binary, so that
//! there is one cluster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod admin;
mod app_role;
mod bad_input;
mod candidates;
mod components;
mod drift;
mod encodings;
mod failures;
mod given;
mod guide;
mod held_up;
mod injection;
mod invariants;
mod least_privilege;
mod ledger;
mod log;
mod lost_replies;
mod many_rows;
mod migrations;
mod oracle;
mod photo_grace;
mod plans;
mod promises;
mod prune;
mod pump;
mod record;
mod reparse;
mod replay;
mod rights;
mod row_security;
mod run;
mod schemas;
mod settle;
mod start_and_stop;
mod starts;
mod stranded;
mod surroundings;
mod swap;
mod traces;
mod trigger;
mod unreadable;
mod verbs;
mod written;
mod zombie;
