//! Running other programs in the foreground.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// Root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or_else(|| Path::new("."))
}

/// Where cargo puts what it builds.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The record of which test ran on which PostgreSQL version, of the last run of `cargo xtask test`.
pub fn executed_record() -> PathBuf {
    target_dir().join("executed-versions.tsv")
}

/// The cargo that runs this task, else the one in `PATH`.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Whether a program of this name is in `PATH`.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|candidate| candidate.is_file())
}

fn text(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|a| a.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs a command whose output the user sees.
///
/// # Errors
/// It cannot be started, or ends with anything but 0.
pub fn visible(command: &mut Command) -> Result<()> {
    let line = text(command);
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("start `{line}`"))?;
    ensure!(status.success(), "`{line}` failed ({status})");
    Ok(())
}

/// Runs a command and returns its standard output; its output is shown only when it fails.
///
/// # Errors
/// It cannot be started, or ends with anything but 0.
pub fn quiet(command: &mut Command) -> Result<String> {
    let line = text(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start `{line}`"))?;
    if !output.status.success() {
        bail!(
            "`{line}` failed ({})\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
