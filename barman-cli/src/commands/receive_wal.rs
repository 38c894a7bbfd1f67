//! `barman receive-wal`. The operation tells what it does; it ends when somebody asks for it, or fails.

use crate::app::{App, CLI};
use crate::args::commands::ReceiveWalArgs;
use crate::signals;
use barman_core::ops::receive_wal::{self, ReceiveAction, ReceiveOptions};
use barman_core::{CancelCause, Server};

pub(super) fn run(app: &App<'_>, args: &ReceiveWalArgs) {
    if args.stop && args.reset {
        app.output
            .error(CLI, "--stop and --reset options are not compatible");
        return;
    }
    if args.stop {
        if let Some(config) = app.single("receive-wal --stop", &args.server) {
            let text = format!(
                "--stop is deprecated and will be removed in a future release. Use 'barman terminate-process {} receive-wal' instead.",
                args.server
            );
            app.output.warning(CLI, &text);
            super::terminate_process::stop(app, config, "receive-wal");
        }
        return;
    }
    // The name decides what happens to inactive servers.
    let (name, action) = if args.create_slot {
        (
            "receive-wal --create-slot",
            ReceiveAction::CreateSlot {
                if_not_exists: args.if_not_exists,
            },
        )
    } else if args.drop_slot {
        ("receive-wal --drop-slot", ReceiveAction::DropSlot)
    } else if args.reset {
        ("receive-wal --reset", ReceiveAction::Reset)
    } else {
        ("receive-wal", ReceiveAction::Stream)
    };
    let Some(config) = app.single(name, &args.server) else {
        return;
    };
    let mut server = Server::new(config.clone()).with_interrupt(app.cancel.flag());
    let stopped = match receive_wal::run(&mut server, &ReceiveOptions { action }, &app.context()) {
        Ok(report) => report.stopped,
        // Stopped before the first byte: that is no failure either.
        Err(error) if error.is_interrupted() && action == ReceiveAction::Stream => app.cancel.cause(),
        Err(error) => {
            let _ = app.failure(&error);
            None
        }
    };
    if let Some(cause) = stopped.filter(|cause| *cause != CancelCause::Interrupt) {
        app.output.exit_with(signals::exit_code(cause));
    }
}
