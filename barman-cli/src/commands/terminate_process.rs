//! `barman terminate-process`.

use crate::app::App;
use crate::args::commands::TerminateProcessArgs;
use barman_core::config::ServerConfig;
use barman_core::ops::terminate_process;

pub(super) fn run(app: &App<'_>, args: &TerminateProcessArgs) {
    let Some(config) = app.single("terminate-process", &args.server) else {
        return;
    };
    stop(app, config, &args.task);
}

/// Stops the processes of a task.
pub(super) fn stop(app: &App<'_>, config: &ServerConfig, task: &str) {
    if let Err(error) = terminate_process::run(config, task, &app.context()) {
        let _ = app.failure(&error);
    }
}
