//! `barman cron`. The operation tells what it does.

use super::self_command;
use crate::app::App;
use crate::args::commands::CronArgs;
use barman_core::host::process::Descriptors;
use barman_core::ops::cron;

pub(super) fn run(app: &App<'_>, args: &CronArgs) {
    app.section_warnings();
    for server in &app.config.servers {
        app.notices(server);
    }
    let descriptors = if args.keep_descriptors {
        Descriptors::Keep
    } else {
        Descriptors::Close
    };
    let barman = self_command(app, descriptors);
    let report = cron::run(app.config, &barman, &app.context());
    if report.failed {
        app.output.fail();
    }
    let _ = app.stop_requested();
}
