//! `barman config-update`. The operation tells what it does.

use super::self_command;
use crate::app::App;
use crate::args::commands::ConfigUpdateArgs;
use barman_core::host::process::Descriptors;
use barman_core::ops::config_update::{self, ConfigUpdateError};

pub(super) fn run(app: &App<'_>, args: &ConfigUpdateArgs) {
    app.section_warnings();
    let barman = self_command(app, Descriptors::Close);
    match config_update::run(app.config, &args.json, &barman, &app.context()) {
        Ok(report) if report.failed => app.output.fail(),
        Ok(_) => {}
        Err(error) => {
            if let ConfigUpdateError::Refused { refusal, document } = &error {
                app.output.error("barman.config", &refusal.to_string());
                // The hyphen is the one that Barman prints.
                let text = format!("Aborting config\u{2010}update: invalid section {document}");
                app.output.error("barman.config", &text);
                if let Some(hint) = barman_core::Failure::hint(&error) {
                    app.output.hint(&hint);
                }
            } else {
                let _ = app.failure(&error);
            }
        }
    }
}
