//! `barman retention`: what the policy says of each backup, and with `--explain` why, and what `cron` would delete.

use super::forecast;
use crate::app::{App, CLI};
use crate::args::commands::RetentionArgs;
use barman_catalog::retention::RetentionStatus;
use barman_core::Server;
use barman_core::config::ServerConfig;
use barman_core::ops::retention::{self, BackupVerdict, Detail, RetentionReport};
use serde_json::{Map, Value, json};
use std::ops::ControlFlow;

pub(super) fn run(app: &App<'_>, args: &RetentionArgs) {
    let detail = if args.explain {
        Detail::Forecast
    } else {
        Detail::Words
    };
    app.for_each("retention", &args.servers, |config| one(app, config, detail));
}

fn one(app: &App<'_>, config: &ServerConfig, detail: Detail) -> ControlFlow<()> {
    match retention::run(&Server::new(config.clone()), detail, &app.context()) {
        Ok(report) => {
            render(app, &report);
            ControlFlow::Continue(())
        }
        Err(error) => app.failure(&error),
    }
}

fn render(app: &App<'_>, report: &RetentionReport) {
    for problem in &report.problems {
        app.output.error(CLI, problem.text());
    }
    for warning in &report.warnings {
        app.output.warning(CLI, warning);
    }
    console(app, report);
    app.output.member(&report.server, document(report));
}

fn console(app: &App<'_>, report: &RetentionReport) {
    let policy = report.policy.as_deref().unwrap_or("not enforced");
    let minimum = report.minimum_redundancy;
    app.output.line(&format!(
        "Server {}: retention policy {policy}, minimum redundancy {minimum}",
        report.server
    ));
    for backup in &report.backups {
        let name = backup.backup_name.as_ref().map(|name| format!(" '{name}'"));
        let head = format!("\t{}{}", backup.backup_id, name.unwrap_or_default());
        let status = match (&backup.verdict, report.policy.is_some()) {
            (Some(verdict), _) => verdict.status,
            (None, true) => RetentionStatus::None,
            (None, false) => {
                app.output.line(&format!("{head} - {}", backup.status));
                continue;
            }
        };
        match (&backup.verdict, &report.forecast) {
            (Some(verdict), Some(_)) => app.output.line(&format!("{head} - {status}: {}", verdict.reason)),
            (None, Some(_)) => {
                let text = format!(
                    "{head} - {status}: nothing has been copied yet, its status is {}",
                    backup.status
                );
                app.output.line(&text);
            }
            (_, None) => app.output.line(&format!("{head} - {status}")),
        }
    }
    let Some(steps) = &report.forecast else { return };
    if !report.enforced {
        app.output
            .line("cron deletes nothing: the server is inactive or disabled");
    } else if steps.is_empty() {
        app.output.line("The next cron deletes nothing");
    } else {
        app.output
            .line("The next cron would delete, unless somebody uses it then:");
        forecast::lines(app, steps);
    }
}

fn document(report: &RetentionReport) -> Value {
    let backups: Vec<Value> = report.backups.iter().map(|b| backup(b, report)).collect();
    let mut document = json!({
        "retention_policy": report.policy,
        "minimum_redundancy": report.minimum_redundancy,
        "window_start": report.window_start.map(|start| format!("{start:.0}")),
        "backups": backups,
    });
    if let (Some(members), Some(steps)) = (document.as_object_mut(), &report.forecast) {
        let steps = if report.enforced { steps.as_slice() } else { &[] };
        members.insert("next_cron".to_owned(), forecast::document(steps));
    }
    document
}

fn backup(backup: &BackupVerdict, report: &RetentionReport) -> Value {
    let mut members = Map::new();
    let mut set = |key: &str, value: Value| members.insert(key.to_owned(), value);
    set("backup_id", json!(backup.backup_id));
    if let Some(name) = &backup.backup_name {
        set("backup_name", json!(name));
    }
    set("status", json!(backup.status.as_str()));
    set(
        "retention_status",
        json!(backup.verdict.map_or("-", |verdict| verdict.status.as_str())),
    );
    if let (Some(verdict), Some(_)) = (&backup.verdict, &report.forecast) {
        set("reason", json!(verdict.reason.to_string()));
        set("rule", json!(verdict.reason.rule()));
    }
    Value::Object(members)
}
