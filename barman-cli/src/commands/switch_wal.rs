//! `barman switch-wal`. The operation tells what it does.

use crate::app::App;
use crate::args::commands::SwitchWalArgs;
use barman_core::Server;
use barman_core::ops::switch_wal::{self, Archive, Checkpoint, SwitchWalOptions};
use std::ops::ControlFlow;
use std::time::Duration;

pub(super) fn run(app: &App<'_>, args: &SwitchWalArgs) {
    let limit = (args.archive_timeout > 0).then(|| Duration::from_secs(args.archive_timeout));
    let options = SwitchWalOptions {
        checkpoint: if args.force {
            Checkpoint::First
        } else {
            Checkpoint::No
        },
        archive: if args.archive {
            Archive::Wait(limit)
        } else {
            Archive::No
        },
    };
    app.for_each("switch-wal", &args.servers, |config| {
        let mut server = Server::new(config.clone()).with_interrupt(app.cancel.flag());
        match switch_wal::run(&mut server, &options, &app.context()) {
            Ok(_) => ControlFlow::Continue(()),
            Err(error) => app.failure(&error),
        }
    });
}
