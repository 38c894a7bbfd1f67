//! `barman delete`. The operation tells what it does; nothing is left to render.

use crate::app::App;
use crate::args::commands::BackupIdArgs;
use barman_core::Server;
use barman_core::ops::delete;

pub(super) fn run(app: &App<'_>, args: &BackupIdArgs) {
    let Some(config) = app.single("delete", &args.server) else {
        return;
    };
    if let Err(error) = delete::run(&Server::new(config.clone()), &args.backup_id, &app.context()) {
        let _ = app.failure(&error);
    }
}
