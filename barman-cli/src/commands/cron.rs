//! `barman cron`. The operation tells what it does.

use crate::app::App;
use crate::args::commands::CronArgs;
use barman_core::host::process::{Descriptors, SelfCommand};
use barman_core::ops::cron;
use std::path::PathBuf;

pub(super) fn run(app: &App<'_>, args: &CronArgs) {
    app.section_warnings();
    for server in &app.config.servers {
        app.notices(server);
    }
    let barman = SelfCommand {
        program: program(),
        config: app.config.path.clone(),
        descriptors: if args.keep_descriptors {
            Descriptors::Keep
        } else {
            Descriptors::Close
        },
    };
    let report = cron::run(app.config, &barman, &app.context());
    if report.failed {
        app.output.fail();
    }
    let _ = app.stop_requested();
}

/// The program to start children with: this one, or what now stands in its place if it was replaced meanwhile.
fn program() -> PathBuf {
    std::env::current_exe()
        .ok()
        .filter(|path| path.exists())
        .unwrap_or_else(|| PathBuf::from("barman"))
}
