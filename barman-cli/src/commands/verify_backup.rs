//! `barman verify-backup`: what is wrong with a backup is an error of its own, a line for each problem.

use crate::app::{App, CLI};
use crate::args::commands::BackupIdArgs;
use barman_core::ops::verify_backup;

pub(super) fn run(app: &App<'_>, args: &BackupIdArgs) {
    let Some((server, backup)) = app.backup("verify-backup", &args.server, &args.backup_id) else {
        return;
    };
    if let Err(error) = verify_backup::run(&server, &backup, &args.backup_id, &app.context()) {
        let _ = app.failure(&error);
        if let Some(details) = error.details() {
            app.output.error(CLI, details);
        }
    }
}
