//! `barman keep`.

use crate::app::{App, CLI};
use crate::args::commands::{KeepArgs, KeepTarget};
use barman_catalog::Keep;
use barman_core::Server;
use barman_core::ops::keep::{self, KeepAction, KeepFailure, KeepReport};
use serde_json::json;

pub(super) fn run(app: &App<'_>, args: &KeepArgs) {
    let Some(action) = action(args) else {
        app.output.error(
            CLI,
            "one of the arguments -r/--release -s/--status --target is required",
        );
        return;
    };
    let Some(config) = app.single("keep", &args.server) else {
        return;
    };
    let server = Server::new(config.clone());
    match keep::run(&server, &args.backup_id, action, &app.context()) {
        Ok(report) if action == KeepAction::Status => render(app, server.name(), report),
        Ok(_) => {}
        Err(error) => {
            let _ = app.failure(&error);
            if let KeepFailure::Resolve(reason) = &error {
                app.backup_hint(&server, reason);
            }
        }
    }
}

/// Of several the first counts in this order.
fn action(args: &KeepArgs) -> Option<KeepAction> {
    match (args.status, args.release, args.target) {
        (true, _, _) => Some(KeepAction::Status),
        (_, true, _) => Some(KeepAction::Release),
        (_, _, Some(KeepTarget::Full)) => Some(KeepAction::Add(Keep::Full)),
        (_, _, Some(KeepTarget::Standalone)) => Some(KeepAction::Add(Keep::Standalone)),
        (false, false, None) => None,
    }
}

fn render(app: &App<'_>, server: &str, report: KeepReport) {
    let word = report.word();
    app.output.line(&format!("Server {server}:"));
    app.output.line(&format!("\tKeep: {word}"));
    app.output.member(
        server,
        json!({ "keep_status": { "description": "Keep", "message": word } }),
    );
}
