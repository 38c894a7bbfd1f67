//! Building the targets with cargo-fuzz.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::run;

const CARGO_FUZZ: &str = "cargo-fuzz@0.13.2";

/// Builds every target, all of them in one go, and returns the directory with the programs.
pub fn all() -> Result<PathBuf> {
    if run::quiet(run::cargo().args(["fuzz", "--version"])).is_err() {
        println!("installing {CARGO_FUZZ}");
        run::visible(run::cargo().args(["install", "--locked", "--quiet", CARGO_FUZZ]))?;
    }
    println!("building the targets (minutes the first time)");
    let target = run::target_dir().join("fuzz");
    let mut command = run::cargo();
    command
        .args(["fuzz", "build", "--sanitizer", "address", "--target-dir"])
        .arg(&target)
        // The flags of libFuzzer are unstable; the compiler stays the one that builds what is shipped.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_TERM_QUIET", "true");
    run::visible(&mut command)?;
    let programs = target.join(host()?).join("release");
    ensure!(
        programs.is_dir(),
        "cargo fuzz left nothing in {}",
        programs.display()
    );
    Ok(programs)
}

/// The target triple of this machine, for which cargo-fuzz builds.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let text = run::quiet(std::process::Command::new(rustc).arg("-vV"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned)
        .context("rustc -vV does not name the host")
}
