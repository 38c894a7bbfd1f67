//! `barman rebuild-xlogdb`. The operation tells what it does.

use crate::app::App;
use crate::args::commands::ServersArgs;
use barman_core::Server;
use barman_core::ops::rebuild_xlogdb;
use std::ops::ControlFlow;

pub(super) fn run(app: &App<'_>, args: &ServersArgs) {
    app.for_each(
        "rebuild-xlogdb",
        &args.servers,
        |config| match rebuild_xlogdb::run(&Server::new(config.clone()), &app.context()) {
            Ok(_) => ControlFlow::Continue(()),
            Err(error) => app.failure(&error),
        },
    );
}
