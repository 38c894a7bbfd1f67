//! `barman check-wal-archive`.

use crate::app::{App, CLI};
use crate::args::commands::CheckWalArchiveArgs;
use barman_core::Server;
use barman_core::ops::check_wal_archive;
use barman_wal::TimelineId;
use serde_json::{Map, Value, json};

pub(super) fn run(app: &App<'_>, args: &CheckWalArchiveArgs) {
    let Some(config) = app.single("check-wal-archive", &args.server) else {
        return;
    };
    let timeline = match args.timeline.map(u32::try_from) {
        None => None,
        Some(Ok(number)) => TimelineId::new(number),
        Some(Err(_)) => {
            // No file can have a later timeline, but files of any kind may be there that have none.
            TimelineId::new(u32::MAX)
        }
    };
    let name = config.name.as_str();
    app.output.line(&format!("Server {name}:"));
    match check_wal_archive::run(&Server::new(config.clone()), timeline, &app.context()) {
        Ok(()) => {
            let text = format!("WAL archive check for server {name} passed");
            app.output.line(&format!(" - {text}"));
            app.output.member(name, json!(text));
            log::info!(target: CLI, "{text}");
        }
        Err(error) => {
            app.output.member(name, Value::Object(Map::new()));
            let _ = app.failure(&error);
        }
    }
}
