//! `barman list-servers`.

use crate::app::App;
use crate::args::commands::MinimalArgs;
use barman_core::ops::list_servers;
use serde_json::json;

pub(super) fn run(app: &App<'_>, options: &MinimalArgs) {
    if !app.load_servers() {
        return;
    }
    for server in &app.config.servers {
        app.notices(server);
    }
    for server in list_servers::list(app.config) {
        app.output.member(&server.name, json!(server));
        let line = if options.minimal {
            server.name.clone()
        } else {
            server.line()
        };
        app.output.line(&line);
    }
}
