//! The one place of this crate that reads the environment of the process.

use std::ffi::OsString;
use std::path::PathBuf;

#[allow(
    clippy::disallowed_methods,
    reason = "this module is the one place that reads the environment"
)]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// `BARMAN_CONFIG_FILE`, unless it is empty.
#[must_use]
pub fn config_file() -> Option<PathBuf> {
    variable("BARMAN_CONFIG_FILE").map(PathBuf::from)
}

/// `HOME`.
#[must_use]
pub fn home() -> Option<PathBuf> {
    variable("HOME").map(PathBuf::from)
}

/// Whether the user has asked all programs for no colours (`NO_COLOR`).
#[must_use]
pub fn no_color() -> bool {
    variable("NO_COLOR").is_some()
}

/// The address of the ssh client that called us, if one did.
#[must_use]
pub fn ssh_client() -> Option<String> {
    variable("SSH_CONNECTION")?
        .to_str()?
        .split_whitespace()
        .next()
        .map(str::to_owned)
}
