//! `barman archive-wal`. The operation tells what it archives.

use crate::app::App;
use crate::args::commands::ServerArgs;
use barman_core::Server;
use barman_core::ops::archive::{self, ArchiveOptions};

pub(super) fn run(app: &App<'_>, args: &ServerArgs) {
    let Some(config) = app.single("archive-wal", &args.server) else {
        return;
    };
    let server = Server::new(config.clone()).with_interrupt(app.cancel.flag());
    match archive::run(&server, &ArchiveOptions::default(), &app.context()) {
        Ok(report) if report.exit_code() != 0 => app.output.fail(),
        Ok(_) => {}
        Err(error) => {
            let _ = app.failure(&error);
        }
    }
}
