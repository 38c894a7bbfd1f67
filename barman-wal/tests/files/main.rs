//! Files other than WAL, as servers of each major and their own tools write and read them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test"
)]

mod control;
mod incremental;
mod pages;

use std::process::{Command, Output};

use testkit::{Cluster, Needs, PgTree};

/// The tree of `major` with the most: client tools where there are any.
fn tree(major: u16) -> PgTree {
    let tools = Needs {
        client_tools: true,
        ..Needs::default()
    };
    PgTree::with(major, Needs::ALL)
        .or_else(|_| PgTree::with(major, tools))
        .or_else(|_| PgTree::of_major(major))
        .unwrap()
}

/// Runs a program of the cluster's tree; `None` where the tree lacks it.
fn run(cluster: &Cluster, program: &str, args: &[&str]) -> Option<Output> {
    let program = cluster.tree().program(program);
    program
        .exists()
        .then(|| Command::new(program).args(args).output().unwrap())
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
