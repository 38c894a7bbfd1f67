//! `barman status`: the lines of a server's state, for the console and for JSON.

use crate::app::{App, CLI};
use crate::args::commands::ServersArgs;
use crate::format;
use barman_core::ops::status::{self, Archiving, Backups, Counters, Postgres, StatusReport};
use jiff::Zoned;
use serde_json::{Map, Value, json};
use std::ops::ControlFlow;

pub(super) fn run(app: &App<'_>, args: &ServersArgs) {
    app.for_all(
        "status",
        &args.servers,
        |servers, found| status::run_each(servers, &app.context(), found),
        |report| {
            render(app, &report);
            ControlFlow::Continue(())
        },
    );
}

fn render(app: &App<'_>, report: &StatusReport) {
    app.output.line(&format!("Server {}:", report.server));
    let lines = lines(report);
    let mut document = Map::new();
    for Line { key, label, message } in lines {
        app.output.line(&format!("\t{label}: {message}"));
        document.insert(
            key.to_owned(),
            json!({ "description": label, "message": message }),
        );
    }
    app.output.member(&report.server, Value::Object(document));
    for problem in &report.problems {
        app.output.error(CLI, problem.text());
    }
    match &report.postgres {
        Some(Postgres::Unreachable { reason: Some(reason) }) => {
            app.output
                .line_hint(&format!("{}: PostgreSQL: {reason}", report.server));
        }
        Some(Postgres::Answered {
            incomplete: Some(reason),
            ..
        }) => app.output.line_hint(&format!(
            "{}: PostgreSQL: not everything is known: {reason}",
            report.server
        )),
        _ => {}
    }
}

/// One line of the state.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    /// Key in JSON.
    key: &'static str,
    /// What it is about.
    label: &'static str,
    /// The state.
    message: String,
}

fn lines(report: &StatusReport) -> Vec<Line> {
    let mut lines = Lines(Vec::new());
    if let Some(description) = &report.description {
        lines.add("description", "Description", description);
    }
    lines.add("active", "Active", truth(report.active));
    lines.add("disabled", "Disabled", truth(report.disabled));
    lines.add(
        "active_model",
        "Active configuration model",
        report.active_model.as_deref().unwrap_or("None"),
    );
    if let Some(postgres) = &report.postgres {
        lines.postgres(postgres);
    }
    if let Some(archiving) = &report.archiving {
        lines.archiving(archiving);
    }
    lines.add("passive_node", "Passive node", truth(report.passive));
    let policy = match &report.retention_policy {
        Some(policy) => format!("enforced (mode: auto, retention: {policy}, WAL retention: MAIN)"),
        None => "not enforced".to_owned(),
    };
    lines.add("retention_policies", "Retention policies", policy);
    if let Some(backups) = &report.backups {
        lines.backups(backups);
    }
    if let Some(command) = &report.primary_ssh_command {
        lines.add("primary_ssh_command", "SSH command to primary server", command);
    }
    lines.0
}

struct Lines(Vec<Line>);

impl Lines {
    fn add(&mut self, key: &'static str, label: &'static str, message: impl Into<String>) {
        self.0.push(Line {
            key,
            label,
            message: message.into(),
        });
    }

    fn postgres(&mut self, postgres: &Postgres) {
        const VERSION: (&str, &str) = ("pg_version", "PostgreSQL version");
        let Postgres::Answered {
            version,
            in_recovery,
            size,
            data_directory,
            current_wal,
            incomplete: _,
        } = postgres
        else {
            return self.add(VERSION.0, VERSION.1, "FAILED trying to get PostgreSQL version");
        };
        self.add(VERSION.0, VERSION.1, version);
        let state = if *in_recovery == Some(true) {
            "in archive recovery"
        } else {
            "in production"
        };
        self.add("is_in_recovery", "Cluster state", state);
        if let Some(size) = size {
            self.add("current_size", "Current data size", format::size_of(*size));
        }
        if let Some(directory) = data_directory {
            self.add("data_directory", "PostgreSQL Data directory", directory);
        }
        if let Some(segment) = current_wal {
            self.add("current_xlog", "Current WAL segment", segment);
        }
    }

    fn archiving(&mut self, archiving: &Archiving) {
        let Archiving {
            command,
            library,
            counters,
        } = archiving;
        let command = match (command, library) {
            (Some(command), _) => command.clone(),
            // PostgreSQL has no command when a library archives.
            (None, Some(library)) => format!("archive_library = {library}"),
            (None, None) => "FAILED (please set it accordingly to documentation)".to_owned(),
        };
        self.add("archive_command", "PostgreSQL 'archive_command' setting", command);
        let Some(Counters {
            last_archived,
            failed_count,
            last_failed,
            hourly_rate,
        }) = counters
        else {
            return;
        };
        let last = match last_archived {
            Some((wal, time)) => format!("{wal}, at {}", moment(time.as_ref())),
            None => "No WAL segment shipped yet".to_owned(),
        };
        self.add("last_archived_wal", "Last archived WAL", last);
        let failures = match last_failed {
            Some((wal, time)) if *failed_count > 0 => {
                format!("{failed_count} ({wal} at {})", moment(time.as_ref()))
            }
            _ => failed_count.to_string(),
        };
        self.add("failed_count", "Failures of WAL archiver", failures);
        if let Some(rate) = hourly_rate.filter(|rate| *rate > 0.0) {
            self.add(
                "server_archived_wals_per_hour",
                "Server WAL archiving rate",
                format::hourly_rate(rate),
            );
        }
    }

    fn backups(&mut self, backups: &Backups) {
        let id = |id: Option<barman_catalog::BackupId>| id.map_or("None".to_owned(), |id| id.to_string());
        let Backups {
            complete,
            first,
            last,
            redundancy,
            minimum_redundancy,
        } = backups;
        self.add("backups_number", "No. of available backups", complete.to_string());
        self.add("first_backup", "First available backup", id(*first));
        self.add("last_backup", "Last available backup", id(*last));
        let word = if redundancy >= minimum_redundancy {
            "satisfied"
        } else {
            "FAILED"
        };
        self.add(
            "minimum_redundancy",
            "Minimum redundancy requirements",
            format!("{word} ({redundancy}/{minimum_redundancy})"),
        );
    }
}

fn truth(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

fn moment(time: Option<&Zoned>) -> String {
    time.map_or_else(|| "None".to_owned(), format::ctime)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(archiving: &Archiving) -> Vec<String> {
        let mut lines = Lines(Vec::new());
        lines.archiving(archiving);
        lines.0.into_iter().map(|line| line.message).collect()
    }

    #[test]
    fn archiving_in_words() {
        let time: Zoned = "2026-11-03T04:46:42.932581+00:00[UTC]".parse().unwrap();
        let counters = Counters {
            last_archived: None,
            failed_count: 0,
            last_failed: None,
            hourly_rate: Some(0.0),
        };
        let archiving = Archiving {
            command: None,
            library: None,
            counters: Some(counters.clone()),
        };
        assert_eq!(
            shown(&archiving),
            [
                "FAILED (please set it accordingly to documentation)",
                "No WAL segment shipped yet",
                "0"
            ]
        );
        let archiving = Archiving {
            command: None,
            library: Some("basic_archive".to_owned()),
            counters: Some(Counters {
                last_archived: Some(("A".to_owned(), Some(time.clone()))),
                failed_count: 2,
                last_failed: Some(("B".to_owned(), Some(time))),
                hourly_rate: Some(29.638),
            }),
        };
        assert_eq!(
            shown(&archiving),
            [
                "archive_library = basic_archive",
                "A, at Tue Nov  3 04:46:42 2026",
                "2 (B at Tue Nov  3 04:46:42 2026)",
                "29.64/hour"
            ]
        );
        let unknown = Archiving {
            command: Some("(disabled)".to_owned()),
            library: None,
            counters: None,
        };
        assert_eq!(shown(&unknown), ["(disabled)"]);
    }

    #[test]
    fn an_unreachable_server_has_one_line() {
        let mut lines = Lines(Vec::new());
        lines.postgres(&Postgres::Unreachable { reason: None });
        assert_eq!(
            lines.0,
            [Line {
                key: "pg_version",
                label: "PostgreSQL version",
                message: "FAILED trying to get PostgreSQL version".to_owned()
            }]
        );
    }
}
