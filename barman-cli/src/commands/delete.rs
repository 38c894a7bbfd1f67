//! `barman delete`. The operation tells what it does; nothing is left to render.

use crate::app::App;
use crate::args::commands::BackupIdArgs;
use barman_core::Server;
use barman_core::ops::delete::{self, DeleteError};

pub(super) fn run(app: &App<'_>, args: &BackupIdArgs) {
    let Some(config) = app.single("delete", &args.server) else {
        return;
    };
    let server = Server::new(config.clone());
    if let Err(error) = delete::run(&server, &args.backup_id, &app.context()) {
        let _ = app.failure(&error);
        if let DeleteError::Resolve(reason) = &error {
            app.backup_hint(&server, reason);
        }
    }
}
