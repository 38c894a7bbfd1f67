//! `cargo xtask test`: everything that must hold before a change lands.

use anyhow::Result;
use clap::Args;

use crate::{run, setup};

/// What to test.
#[derive(Debug, Args)]
pub struct Options {
    /// Also run what takes long: full matrices and campaigns
    #[arg(long)]
    long: bool,
    /// Run only tests whose names contain this; doctests are left out then
    filter: Option<String>,
}

/// Environment variable by which tests know that they may take their time.
const LONG_ENV: &str = "BARMAN_RS_LONG";

/// Runs the task.
pub fn run(options: &Options) -> Result<()> {
    setup::run()?;
    let mut nextest = run::cargo();
    nextest.args(["nextest", "run", "--workspace"]);
    if options.long {
        nextest.env(LONG_ENV, "1").args(["--profile", "long"]);
    }
    if let Some(filter) = &options.filter {
        nextest.arg(filter);
    }
    run::visible(&mut nextest)?;
    if options.filter.is_none() {
        run::visible(run::cargo().args(["test", "--doc", "--workspace", "--quiet"]))?;
    }
    Ok(())
}
