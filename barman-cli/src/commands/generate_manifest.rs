//! `barman generate-manifest`. The operation tells what it does; nothing is left to render.

use crate::app::App;
use crate::args::commands::BackupIdArgs;
use barman_core::ops::generate_manifest;

pub(super) fn run(app: &App<'_>, args: &BackupIdArgs) {
    let Some((server, backup)) = app.backup("generate-manifest", &args.server, &args.backup_id) else {
        return;
    };
    if let Err(error) = generate_manifest::run(&server, &backup, &args.backup_id, &app.context()) {
        let _ = app.failure(&error);
    }
}
