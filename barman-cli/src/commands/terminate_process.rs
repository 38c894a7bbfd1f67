//! `barman terminate-process`.

use crate::app::App;
use crate::args::commands::TerminateProcessArgs;
use barman_core::ops::terminate_process;

pub(super) fn run(app: &App<'_>, args: &TerminateProcessArgs) {
    let Some(config) = app.single("terminate-process", &args.server) else {
        return;
    };
    if let Err(error) = terminate_process::run(config, &args.task, &app.context()) {
        let _ = app.failure(&error);
    }
}
