//! What the program of `xtask/parsers` tells. It is run and not linked: `cargo xtask` must not have to build the
//! whole product before it can do anything.

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::run;

/// A row of the list.
#[derive(Debug, Clone, Deserialize)]
pub struct Row {
    /// Name of the parser, its target, its corpus.
    pub name: String,
    /// The part of the product.
    pub module: String,
    /// What it reads.
    pub what: String,
    /// The functions that it runs.
    pub covers: Vec<String>,
    /// The longest input, bytes.
    pub max_length: usize,
    /// Inputs in the repository.
    pub saved: usize,
}

fn program(words: &[&str]) -> std::process::Command {
    let mut command = run::cargo();
    command
        .args(["run", "--quiet", "--package", "parsers", "--bin", "parsers", "--"])
        .args(words);
    command
}

/// The list.
pub fn list() -> Result<Vec<Row>> {
    let text = run::quiet(&mut program(&["list"]))?;
    text.lines()
        .map(|line| serde_json::from_str(line).context("read the list of parsers"))
        .collect()
}

/// Fails when a function of the product that reads something is in no parser's list.
pub fn check() -> Result<()> {
    run::visible(&mut program(&["scan"]))
}

/// Runs the saved inputs.
pub fn replay(filter: &str) -> Result<()> {
    run::visible(&mut program(&["replay", filter]))
}
