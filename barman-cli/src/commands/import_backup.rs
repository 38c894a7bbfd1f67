//! `barman import-backup`. The operation tells what it does; nothing is left to render.

use crate::app::App;
use crate::args::commands::ImportBackupArgs;
use barman_core::Server;
use barman_core::ops::import_backup;

pub(super) fn run(app: &App<'_>, args: &ImportBackupArgs) {
    let Some(config) = app.single("import-backup", &args.server) else {
        return;
    };
    let server = Server::new(config.clone());
    if let Err(error) = import_backup::run(&server, &args.tarball, &app.context()) {
        let _ = app.failure(&error);
    }
}
