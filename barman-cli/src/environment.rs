//! The one place of this crate that reads the environment of the process.

use crate::completion::Variables;
use std::ffi::OsString;
use std::path::PathBuf;

#[allow(
    clippy::disallowed_methods,
    reason = "this module is the one place that reads the environment"
)]
fn variable_as_it_is(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn variable(name: &str) -> Option<OsString> {
    variable_as_it_is(name).filter(|value| !value.is_empty())
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

/// What a shell wants to have completed, if that is why it called.
#[must_use]
pub fn completion() -> Option<Variables> {
    Some(Variables {
        start: variable_as_it_is("_ARGCOMPLETE")?,
        line: variable_as_it_is("COMP_LINE"),
        point: variable_as_it_is("COMP_POINT"),
        shell: variable_as_it_is("_ARGCOMPLETE_SHELL"),
        separator: variable_as_it_is("_ARGCOMPLETE_IFS"),
        description: variable_as_it_is("_ARGCOMPLETE_DFS"),
        breaks: variable_as_it_is("_ARGCOMPLETE_COMP_WORDBREAKS"),
        suppress_space: variable_as_it_is("_ARGCOMPLETE_SUPPRESS_SPACE"),
        output: variable_as_it_is("_ARGCOMPLETE_STDOUT_FILENAME"),
    })
}
