//! `barman show-backup`: the texts of every line, for the console and for JSON.

mod console;
mod document;

use crate::app::{App, CLI};
use crate::args::commands::BackupIdArgs;
use crate::format;
use barman_catalog::{BackupId, BackupType, Timestamp};
use barman_core::Server;
use barman_core::ops::show_backup::{self, ShowBackupError, ShowBackupReport};
use std::time::Duration;

pub(super) fn run(app: &App<'_>, args: &BackupIdArgs) {
    let Some(config) = app.single("show-backup", &args.server) else {
        return;
    };
    let server = Server::new(config.clone());
    match show_backup::run(&server, &args.backup_id, &app.context()) {
        Ok(report) => render(app, &report),
        Err(error) => {
            let _ = app.failure(&error);
            if let ShowBackupError::Resolve(reason) = &error {
                app.backup_hint(&server, reason);
            }
        }
    }
}

fn render(app: &App<'_>, report: &ShowBackupReport) {
    for problem in &report.problems {
        app.output.error(CLI, problem.text());
    }
    app.output
        .member(&report.backup.server_name, document::document(report));
    for line in console::lines(report) {
        app.output.line(&line);
    }
    if report.being_deleted {
        let (server, id) = (&report.backup.server_name, report.backup.id);
        app.output.line_hint(&format!(
            "the deletion of this backup was interrupted: 'barman delete {server} {id}' completes it"
        ));
    }
}

fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "None".to_owned(), |value| value.to_string())
}

fn previous(report: &ShowBackupReport) -> String {
    report.previous.map_or_else(
        || "- (this is the oldest base backup)".to_owned(),
        |id| id.to_string(),
    )
}

fn next(report: &ShowBackupReport) -> String {
    report.next.map_or_else(
        || "- (this is the latest base backup)".to_owned(),
        |id| id.to_string(),
    )
}

/// The bytes that the backup did not need, for the types that share files or blocks with others. An estimate from the
/// size of the cluster, as Barman makes it.
fn resources_saved(report: &ShowBackupReport) -> Option<u64> {
    if !matches!(report.backup_type, BackupType::Rsync | BackupType::Incremental) {
        return None;
    }
    let whole = report
        .backup
        .cluster_size
        .filter(|size| *size > 0)
        .or(report.backup.size)
        .unwrap_or(0);
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "truncated as Barman does; a ratio below 0 saturates to nothing saved"
    )]
    Some((whole as f64 * report.deduplication_ratio) as u64)
}

/// How long the copy took.
struct CopyFigures {
    copy: String,
    copy_seconds: f64,
    /// Only when it took a second or more.
    analysis: Option<(String, f64)>,
    /// Bytes in a second; `None` if nothing was copied.
    throughput: Option<f64>,
    workers: u64,
}

fn copy_figures(report: &ShowBackupReport) -> Option<CopyFigures> {
    let stats = report.backup.copy_stats.as_ref()?;
    let seconds = stats
        .copy_time()
        .filter(|seconds| *seconds > 0.0 && seconds.is_finite())?;
    let words = |seconds: f64| format::interval(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    let size = report.backup.deduplicated_size.unwrap_or(0);
    #[allow(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let throughput = (size > 0).then(|| size as f64 / seconds);
    Some(CopyFigures {
        copy: words(seconds),
        copy_seconds: seconds,
        analysis: stats
            .analysis_time()
            .filter(|seconds| *seconds >= 1.0)
            .map(|seconds| (words(seconds), seconds)),
        throughput,
        workers: stats.number_of_workers(),
    })
}

fn timelines(report: &ShowBackupReport) -> Vec<String> {
    report
        .child_timelines
        .iter()
        .map(|timeline| timeline.get().to_string())
        .collect()
}

fn children(report: &ShowBackupReport) -> Option<Vec<&str>> {
    let children: Vec<&str> = report
        .backup
        .children_backup_ids
        .iter()
        .map(BackupId::as_str)
        .collect();
    (!children.is_empty()).then_some(children)
}

fn is_postgres(report: &ShowBackupReport) -> bool {
    report
        .backup
        .mode
        .as_ref()
        .is_some_and(|mode| mode.as_str() == "postgres")
}

fn time(time: Option<Timestamp>) -> String {
    shown(time)
}
