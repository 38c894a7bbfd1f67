//! Running other programs in the foreground.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use testkit::interrupt_flag;

/// Root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or_else(|| Path::new("."))
}

/// Where this task keeps what it leaves: cargo's own directory for what it builds. Ask [`built`] for a program in it.
pub fn target_dir() -> PathBuf {
    // A relative one is relative to where cargo is run.
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
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

/// Prints a list. A reader that has seen enough (`| head`) ends it quietly.
///
/// # Errors
/// It cannot be written for another reason, as on a full disk.
pub fn print_list(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("write to standard output"),
        _ => Ok(()),
    }
}

/// Builds one of our programs and returns the path that cargo tells: where it lies depends on more than the target
/// directory, and a path that is guessed may be that of an older build. `choice` is what is said behind `cargo build`.
///
/// # Errors
/// The build fails, or makes no such program.
pub fn built(choice: &[&str], program: &str) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--quiet", "--message-format=json-render-diagnostics"]);
    command.args(choice);
    let line = text(&command);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("start `{line}`"))?;
    ensure!(output.status.success(), "`{line}` failed ({})", output.status);
    let path = executable(&String::from_utf8_lossy(&output.stdout), program);
    path.with_context(|| format!("`{line}` made no program called {program}"))
}

/// The path of a program or example of this name in cargo's messages, one JSON object a line.
fn executable(messages: &str, program: &str) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        target: Option<Target>,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    messages.lines().find_map(|line| {
        let message: Message = serde_json::from_str(line).ok()?;
        message
            .executable
            .filter(|_| message.target.is_some_and(|target| target.name == program))
    })
}

/// From now on the first SIGINT, SIGTERM or SIGHUP makes every wait of the kit fail, so that all is cleaned up on the way
/// out; the second one ends the program at once.
///
/// # Errors
/// The signals cannot be watched for.
pub fn watch_signals() -> Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    // Whoever was started with `nohup` shall outlive its terminal.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let wanted = [SIGINT, SIGTERM, SIGHUP];
    for signal in wanted
        .into_iter()
        .filter(|signal| *signal != SIGHUP || !ignores(&status, *signal))
    {
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, interrupt_flag().clone())
            .and_then(|_| signal_hook::flag::register(signal, interrupt_flag().clone()))
            .context("watch for signals")?;
    }
    Ok(())
}

/// Whether a process ignores a signal, by its `/proc/PID/status`.
fn ignores(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_that_cargo_names_is_taken() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"barman_wal\"},\"executable\":null}\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"other\"},\"executable\":\"/t/debug/other\"}\n\
            no JSON\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"barman\"},\"executable\":\"/t/x86/debug/barman\"}\n\
            {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(executable(messages, "barman"), Some("/t/x86/debug/barman".into()));
        assert_eq!(executable(messages, "barman_wal"), None);
    }

    #[test]
    fn ignored_signals_are_known() {
        let status = "Name:\tx\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000002\n";
        assert!(ignores(status, 1) && ignores(status, 13) && !ignores(status, 2));
        assert!(!ignores("", 1));
    }

    #[test]
    fn a_build_names_the_program_that_it_made() {
        let built = built(&["--package", "parsers", "--bin", "parsers"], "parsers").unwrap();
        assert!(
            built.is_file() && built.ends_with("parsers"),
            "{}",
            built.display()
        );
    }
}
