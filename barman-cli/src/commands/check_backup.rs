//! `barman check-backup`: silent unless something is wrong.

use crate::app::App;
use crate::args::commands::BackupIdArgs;
use barman_core::Server;
use barman_core::ops::check_backup::{self, Occasion};

pub(super) fn run(app: &App<'_>, args: &BackupIdArgs) {
    let Some(config) = app.single("check-backup", &args.server) else {
        return;
    };
    let server = Server::new(config.clone());
    let Some(id) = app.backup_id(&server, &args.backup_id) else {
        return;
    };
    if let Err(error) = check_backup::run(&server, id, Occasion::Command, &app.context()) {
        let _ = app.failure(&error);
    }
}
