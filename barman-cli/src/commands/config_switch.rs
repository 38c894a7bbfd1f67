//! `barman config-switch`. The operation tells what it does.

use super::self_command;
use crate::app::{App, CLI};
use crate::args::commands::ConfigSwitchArgs;
use barman_core::host::process::Descriptors;
use barman_core::ops::config_switch::{self, Switch};
use barman_core::ops::receiver::Restart;

pub(super) fn run(app: &App<'_>, args: &ConfigSwitchArgs) {
    let switch = match &args.model {
        _ if args.reset => Switch::Reset,
        Some(model) => Switch::To(model.clone()),
        None => {
            app.output
                .error(CLI, "Either a model name or '--reset' flag need to be given");
            return;
        }
    };
    let Some(server) = app.single("config-switch", &args.server) else {
        return;
    };
    let barman = self_command(app, Descriptors::Close);
    match config_switch::run(app.config, &server.name, &switch, &barman, &app.context()) {
        Ok(report) if report.receiver == Restart::Failed => app.output.fail(),
        Ok(_) => {}
        Err(error) => {
            let _ = app.failure(&error);
        }
    }
}
