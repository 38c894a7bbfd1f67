//! `barman check-archived-wal-range`.

use crate::app::{App, CLI};
use crate::args::commands::CheckArchivedWalRangeArgs;
use barman_core::Server;
use barman_core::ops::check_archived_wal_range::{self, WalRange};
use serde_json::json;

pub(super) fn run(app: &App<'_>, args: &CheckArchivedWalRangeArgs) {
    let Some(config) = app.single("check-archived-wal-range", &args.server) else {
        return;
    };
    let range = match WalRange::parse(&args.begin_wal, &args.end_wal) {
        Ok(range) => range,
        Err(error) => {
            let _ = app.failure(&error);
            return;
        }
    };
    let name = config.name.as_str();
    app.output.line(&format!("Server {name}:"));
    app.output.nested_member(name, "begin_wal", json!(range.begin));
    app.output.nested_member(name, "end_wal", json!(range.end));
    match check_archived_wal_range::run(&Server::new(config.clone()), &range, &app.context()) {
        Ok(report) => {
            let missing: Vec<String> = report.missing.iter().map(ToString::to_string).collect();
            let head = format!("\tWAL sequence check for server {name}:");
            let count = missing.len();
            if count == 0 {
                app.output.line(&format!("{head} all segments are present"));
            } else {
                app.output.line(&format!("{head} {count} missing segment(s):"));
            }
            for segment in &missing {
                app.output.line(&format!("\t\t{segment}"));
            }
            app.output.nested_member(name, "missing_wals", json!(missing));
            if count > 0 {
                let WalRange { begin, end, .. } = &range;
                app.output.error(
                    CLI,
                    &format!(
                        "WAL sequence check failed for server '{name}': {count} missing segment(s) in range {begin}..{end}"
                    ),
                );
            }
            if report.useless > 0 {
                app.output.hint(&format!(
                    "{} of them have a file in the archive, which is empty, cut off, zeroed or another segment's",
                    report.useless
                ));
            }
        }
        Err(error) => {
            let _ = app.failure(&error);
        }
    }
}
