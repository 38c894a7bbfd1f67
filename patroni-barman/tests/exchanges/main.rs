//! `patroni_barman` with a service that misbehaves in every way, beside the original one of Patroni: exit codes,
//! requests and log lines are equal, but for what `docs/differences.md` lists.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod arguments;
mod certificates;
mod cluster;
mod deadlines;
mod encrypted;
mod logs;
mod run;
mod service;
mod table;
