//! `barman list-servers`.

use crate::app::App;
use crate::args::commands::MinimalArgs;
use barman_core::config::ServerConfig;
use serde_json::json;

pub(super) fn run(app: &App<'_>, options: &MinimalArgs) {
    if !app.load_servers() {
        return;
    }
    for server in &app.config.servers {
        app.notices(server);
    }
    for server in &app.config.servers {
        let text = description(server);
        app.output.member(&server.name, json!({ "description": text }));
        if options.minimal || text.is_empty() {
            app.output.line(&server.name);
        } else {
            app.output.line(&format!("{} - {text}", server.name));
        }
    }
}

/// The description with the state behind it; without a description the blank before the state stays.
fn description(server: &ServerConfig) -> String {
    let passive = if server.is_passive() { " (Passive)" } else { "" };
    format!(
        "{}{}{passive}",
        server.description.as_deref().unwrap_or_default(),
        server.state_suffix()
    )
}
