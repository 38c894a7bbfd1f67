//! `barman delete`. The operation tells what it does; only the dry run has something to render.

use super::forecast;
use crate::app::{App, CLI};
use crate::args::commands::DeleteArgs;
use barman_core::Server;
use barman_core::ops::delete::{self, DeleteError, DeletePreview};
use serde_json::json;

pub(super) fn run(app: &App<'_>, args: &DeleteArgs) {
    let Some(config) = app.single("delete", &args.server) else {
        return;
    };
    let server = Server::new(config.clone());
    let result = if args.dry_run {
        delete::preview(&server, &args.backup_id, &app.context()).map(|preview| render(app, &preview))
    } else {
        delete::run(&server, &args.backup_id, &app.context()).map(drop)
    };
    if let Err(error) = result {
        let _ = app.failure(&error);
        if let DeleteError::Resolve(reason) = &error {
            app.backup_hint(&server, reason);
        }
    }
}

fn render(app: &App<'_>, preview: &DeletePreview) {
    for problem in &preview.problems {
        app.output.error(CLI, problem.text());
    }
    let DeletePreview {
        server, backup_id, ..
    } = preview;
    app.output.line(&format!(
        "Deleting backup {backup_id} of server {server} would remove:"
    ));
    forecast::lines(app, &preview.steps);
    app.output
        .line("This was a dry run: nothing has been removed. History files always stay.");
    app.output.member(
        server,
        json!({
            "dry_run": true,
            "backup_id": backup_id,
            "backups": forecast::document(&preview.steps),
        }),
    );
}
