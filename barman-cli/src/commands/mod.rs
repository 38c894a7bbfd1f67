//! The commands: each asks an operation of `barman_core` and renders its report.

mod list_servers;

use crate::app::{App, CLI};
use crate::args::{self, Command};

/// Runs a command. What it has to say, and whether it failed, is in the output.
pub fn dispatch(app: &App<'_>, command: &Command) {
    app.global_warnings();
    match command {
        Command::Help => app.output.text(&args::help()),
        Command::ListServers(options) => list_servers::run(app, options),
        other => unavailable(app, other.name()),
    }
}

/// Refuses, by name, what is not there.
fn unavailable(app: &App<'_>, what: &str) {
    app.output.error(
        CLI,
        &format!(
            "{what} is not yet available in barman-rs {}",
            env!("CARGO_PKG_VERSION")
        ),
    );
}
