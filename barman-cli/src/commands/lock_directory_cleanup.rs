//! `barman lock-directory-cleanup`. It says nothing: scripts run it beside `cron`.

use crate::app::App;
use barman_core::ops::lock_directory_cleanup;

pub(super) fn run(app: &App<'_>) {
    if let Err(error) = lock_directory_cleanup::run(&app.config.globals.lock_directory) {
        let _ = app.failure(&error);
    }
}
