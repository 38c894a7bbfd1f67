//! The one place of this crate that reads the environment of the process.

use std::ffi::OsString;

/// Value of an environment variable.
#[must_use]
#[allow(
    clippy::disallowed_methods,
    reason = "this module is the one place that reads the environment"
)]
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The `PATH` that children get: `prefix` (the option `path_prefix`) before the inherited one. `None` without a
/// prefix: the inherited `PATH` stays as it is.
#[must_use]
pub fn search_path(prefix: Option<&str>) -> Option<OsString> {
    let prefix = prefix.filter(|prefix| !prefix.is_empty())?;
    let mut path = OsString::from(prefix);
    path.push(":");
    path.push(variable("PATH").unwrap_or_default());
    Some(path)
}
