//! `cargo xtask setup`: everything that the checks need and a machine with Rust may lack.
//!
//! Each step looks first and does nothing when its result is there, so a repeated run is quick. What is fetched is pinned by version and checksum,
//! fetched by the ordinary client of its registry as the machine has it configured, and appears under its final name only when it is whole.

mod debian;
mod fetch;
mod oracle;
mod peers;
mod suites;
mod tools;
mod trees;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use testkit::cache;

/// Runs the task.
pub fn run() -> Result<()> {
    let start = Instant::now();
    let cache = cache::dir();
    fs::create_dir_all(&cache).with_context(|| format!("create the cache directory {}", cache.display()))?;
    // The user that runs PostgreSQL reads it, whatever the umask of this run.
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o755))
        .context("set the mode of the cache directory")?;
    let lock_path = cache.join("setup.lock");
    let lock = File::create(&lock_path).with_context(|| format!("open {}", lock_path.display()))?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        say("another setup is running; waiting for it");
        flock(&lock, FlockOperation::LockExclusive).context("wait for the other setup")?;
    }
    debian::install()?;
    oracle::install()?;
    oracle::install_patroni()?;
    tools::install()?;
    trees::install()?;
    suites::install();
    say(&format!("everything is there ({:.1?})", start.elapsed()));
    Ok(())
}

/// Where the oracle finds Python modules that only `cargo xtask bench` gives it.
pub fn oracle_modules() -> std::path::PathBuf {
    peers::oracle_modules()
}

/// Installs what only `cargo xtask bench` needs; what cannot be had is said, and is no error.
pub fn peers() {
    peers::install();
}

fn say(text: &str) {
    eprintln!("setup: {text}");
}

/// Runs a step of which the user should know while it takes its time.
fn step<T>(what: &str, action: impl FnOnce() -> Result<T>) -> Result<T> {
    say(what);
    let start = Instant::now();
    let result = action().with_context(|| what.to_owned())?;
    if start.elapsed().as_secs() >= 2 {
        say(&format!("  done in {:.1?}", start.elapsed()));
    }
    Ok(result)
}
