//! `barman list-processes`.

use crate::app::App;
use crate::args::commands::ServerArgs;
use barman_core::ops::list_processes;
use serde_json::json;

pub(super) fn run(app: &App<'_>, args: &ServerArgs) {
    let Some(config) = app.single("list-processes", &args.server) else {
        return;
    };
    match list_processes::run(config) {
        Ok(report) => {
            app.output.member(&report.server, json!(report.processes));
            if report.processes.is_empty() {
                app.output.line(&format!(
                    "No active subprocesses found for server {}.",
                    report.server
                ));
                return;
            }
            app.output
                .line(&format!("Active subprocesses for server {}:", report.server));
            for process in report.processes {
                app.output.line(&format!("{} {}", process.pid, process.name));
            }
        }
        Err(error) => {
            let _ = app.failure(&error);
        }
    }
}
