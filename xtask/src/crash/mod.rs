//! `cargo xtask crash`: faults at every file-system call.

use anyhow::{Result, bail};
use clap::Args;

/// What to run.
#[derive(Debug, Args)]
pub struct Options {
    /// The command to torture
    filter: Option<String>,
}

/// Runs the task.
pub fn run(options: &Options) -> Result<()> {
    bail!(
        "crash {} is under construction",
        options.filter.as_deref().unwrap_or("of everything")
    )
}
