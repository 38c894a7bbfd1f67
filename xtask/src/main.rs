//! Project tasks: `cargo xtask setup`, `test`, `conformance`, `bench`, `crash`, `fuzz`, `catalogue`, `arch`, `docs`,
//! `demo`.
//!
//! Instead of shell scripts: the same language, the same lints, and errors that say what was being done.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a developer's tool: it prints, reads the environment, renames its own caches, and is no part of what is shipped"
)]

mod arch;
mod bench;
mod catalogue;
mod conformance;
mod crash;
mod demo;
mod docs;
mod fuzz;
mod run;
mod setup;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Project tasks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install what this machine lacks for the other tasks; quick and without effect when nothing is missing
    Setup,
    /// Set up, then run every test
    Test(test::Options),
    /// Run the same scenarios through our program and through Barman, and compare what both said and left behind
    Conformance(conformance::Options),
    /// Measure our program side by side with its peers, as ratios
    Bench(bench::Options),
    /// Kill our program, or let it fail, at every file-system call in turn, and look at what is left
    Crash(crash::Options),
    /// Feed every parser of files and network bytes with mutated input
    Fuzz(fuzz::Options),
    /// Write a generated catalogue, and a configuration to look at it with
    Catalogue(catalogue::Options),
    /// Check which crate may depend on which, the layers inside barman-core, and that no file is too long
    Arch,
    /// Write the reference page of the configuration and its manual page
    Docs(docs::Options),
    /// Show a backup, a disaster and a point-in-time recovery on a throw-away PostgreSQL
    Demo(demo::Options),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Setup => setup::run(),
        Task::Test(options) => test::run(&options),
        Task::Conformance(options) => conformance::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Crash(options) => crash::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Catalogue(options) => catalogue::run(&options),
        Task::Arch => arch::run(),
        Task::Docs(options) => docs::run(&options),
        Task::Demo(options) => demo::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
