//! Where `cargo xtask setup` puts what it fetched, and where the kit keeps what is expensive to make.
//!
//! The directory must be readable by the user that runs PostgreSQL, so a home directory of mode 0700 will not do when the tests run as root.

use std::path::PathBuf;

/// Name of the environment variable that overrides the place of the cache.
pub const CACHE_ENV: &str = "BARMAN_RS_CACHE";

/// The cache directory: `$BARMAN_RS_CACHE`, else `/var/cache/barman-rs` for root, else `$XDG_CACHE_HOME/barman-rs` (`~/.cache/barman-rs`).
pub fn dir() -> PathBuf {
    if let Some(dir) = std::env::var_os(CACHE_ENV).filter(|v| !v.is_empty()) {
        return PathBuf::from(dir);
    }
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/cache/barman-rs");
    }
    let base = std::env::var_os("XDG_CACHE_HOME")
        .filter(|v| !v.is_empty())
        .map_or_else(
            || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache"),
            PathBuf::from,
        );
    base.join("barman-rs")
}

/// Version of the oracle.
pub const ORACLE_VERSION: &str = "3.20.1";

/// The virtual environment that holds the oracle.
pub fn oracle_dir() -> PathBuf {
    dir().join(format!("oracle/barman-{ORACLE_VERSION}"))
}

/// The oracle's `barman` program.
pub fn oracle_program() -> PathBuf {
    oracle_dir().join("bin/barman")
}

/// Version of Patroni, whose `patroni_barman` is the oracle of ours.
pub const PATRONI_VERSION: &str = "4.1.5";

/// The virtual environment that holds Patroni.
pub fn patroni_dir() -> PathBuf {
    dir().join(format!("oracle/patroni-{PATRONI_VERSION}"))
}

/// A program of Patroni: `patroni`, `patronictl`, `patroni_barman`.
pub fn patroni_program(name: &str) -> PathBuf {
    patroni_dir().join("bin").join(name)
}

/// Directory whose sub-directories hold one version each of a cargo tool that the checks use.
pub fn tools_dir() -> PathBuf {
    dir().join("tools")
}
