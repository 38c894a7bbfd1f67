//! `barman list-backups`.

use crate::app::{App, CLI};
use crate::args::commands::ListBackupsArgs;
use crate::format;
use barman_catalog::retention::RetentionStatus;
use barman_catalog::{BackupStatus, Timestamp};
use barman_core::Server;
use barman_core::config::ServerConfig;
use barman_core::ops::list_backups::{self, BackupLine, CompleteBackup, Detail, ListBackupsReport};
use serde_json::{Map, Value, json};
use std::ops::ControlFlow;

pub(super) fn run(app: &App<'_>, args: &ListBackupsArgs) {
    let detail = if args.minimal {
        Detail::Minimal
    } else {
        Detail::Full
    };
    app.for_each("list-backups", &args.servers, |config| one(app, config, detail));
}

fn one(app: &App<'_>, config: &ServerConfig, detail: Detail) -> ControlFlow<()> {
    match list_backups::run(&Server::new(config.clone()), detail, &app.context()) {
        Ok(report) => {
            render(app, &report, detail);
            ControlFlow::Continue(())
        }
        Err(error) => app.failure(&error),
    }
}

fn render(app: &App<'_>, report: &ListBackupsReport, detail: Detail) {
    for problem in &report.problems {
        app.output.error(CLI, problem.text());
    }
    let members: Vec<Value> = match detail {
        Detail::Minimal => report
            .backups
            .iter()
            .map(|backup| json!(backup.backup_id.as_str()))
            .collect(),
        Detail::Full => report.backups.iter().map(object).collect(),
    };
    app.output.member(&report.server, json!(members));
    for backup in &report.backups {
        app.output.line(&match detail {
            Detail::Minimal => backup.backup_id.to_string(),
            Detail::Full => line(backup),
        });
        if backup.being_deleted {
            app.output.line_hint(&format!(
                "the deletion of backup {0} was interrupted: 'barman delete {1} {0}' completes it",
                backup.backup_id, report.server
            ));
        }
    }
}

/// The word of the retention policy, unless it says nothing special.
fn retention(complete: &CompleteBackup) -> Option<&'static str> {
    let status = complete.retention_status?;
    (!matches!(status, RetentionStatus::Valid | RetentionStatus::None)).then(|| status.as_str())
}

fn line(backup: &BackupLine) -> String {
    let name = backup
        .backup_name
        .as_ref()
        .map(|name| format!(" '{name}'"))
        .unwrap_or_default();
    let head = format!(
        "{} {}{name} - {}",
        backup.server_name,
        backup.backup_id,
        backup.backup_type.letter()
    );
    let Some(complete) = &backup.complete else {
        return format!("{head} - {}", backup.status);
    };
    let mut line = format!(
        "{head} - {} - Size: {} - WAL Size: {}",
        complete
            .end_time
            .map_or_else(|| "None".to_owned(), |time| time.ctime()),
        format::size_of(complete.size_bytes),
        format::size_of(complete.wal_size_bytes)
    );
    if backup.status == BackupStatus::WaitingForWals {
        line.push_str(" - WAITING_FOR_WALS");
    }
    if let Some(word) = retention(complete) {
        line.push_str(" - ");
        line.push_str(word);
    }
    line
}

fn object(backup: &BackupLine) -> Value {
    let mut object = Map::new();
    let mut set = |key: &str, value: Value| object.insert(key.to_owned(), value);
    set("backup_id", json!(backup.backup_id.as_str()));
    if let Some(name) = &backup.backup_name {
        set("backup_name", json!(name));
    }
    set("backup_type", json!(backup.backup_type.as_str()));
    set("status", json!(backup.status.as_str()));
    if let Some(complete) = &backup.complete {
        set(
            "end_time",
            json!(complete.end_time.as_ref().map(Timestamp::ctime)),
        );
        set(
            "end_time_timestamp",
            json!(complete.end_time.map(|time| time.epoch_seconds().to_string())),
        );
        set("size", json!(format::size_of(complete.size_bytes)));
        set("size_bytes", json!(complete.size_bytes));
        set("wal_size", json!(format::size_of(complete.wal_size_bytes)));
        set("wal_size_bytes", json!(complete.wal_size_bytes));
        set("retention_status", json!(retention(complete).unwrap_or("-")));
    }
    Value::Object(object)
}
