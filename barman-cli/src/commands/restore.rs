//! `barman restore`: options from the command line, the report on the console and in JSON.

use crate::app::{App, CLI};
use crate::args::commands::{self, CombineMode, RestoreArgs, StagingLocation, TargetAction};
use crate::args::values::TargetTimeline;
use crate::output::Format;
use barman_core::Server;
use barman_core::ops::restore::{self, RestoreError, RestoreOptions, RestoreReport, Target, TargetTexts};
use barman_wal::TimelineId;
use serde_json::{Value, json};
use std::path::PathBuf;

const CHANGED: &str = "These settings have been changed to prevent data loss";
const DANGEROUS: &str =
    "These settings may be dangerous or may not fit this host: review them before you start PostgreSQL";
const MISSING: &str = "These configuration files are not in the backup, so they have not been restored";

pub(super) fn run(app: &App<'_>, args: &RestoreArgs) {
    let Some(config) = app.single("restore", &args.server) else {
        return;
    };
    let server = Server::new(config.clone()).with_interrupt(app.cancel.flag());
    match options(args).and_then(|options| restore::run(&server, &options, &app.context())) {
        Ok(report) => render(app, &report),
        Err(error) => {
            let _ = app.failure(&error);
        }
    }
}

/// The options as the operation takes them. Empty texts are options that were not given.
fn options(args: &RestoreArgs) -> Result<RestoreOptions, RestoreError> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let path = |text: &Option<String>| given(text).map(PathBuf::from);
    let target = Target::from_texts(TargetTexts {
        time: args.target_time.as_deref(),
        xid: args.target_xid.as_deref(),
        lsn: args.target_lsn.as_deref(),
        name: args.target_name.as_deref(),
        immediate: args.target_immediate,
    })?;
    Ok(RestoreOptions {
        target,
        target_tli: args.target_tli.and_then(timeline),
        exclusive: args.exclusive,
        target_action: args.target_action.map(|action| match action {
            TargetAction::Pause => restore::TargetAction::Pause,
            TargetAction::Shutdown => restore::TargetAction::Shutdown,
            TargetAction::Promote => restore::TargetAction::Promote,
        }),
        standby_mode: args.standby_mode,
        tablespaces: args.tablespace.clone(),
        get_wal: commands::choice(args.get_wal, args.no_get_wal),
        partial_wal: args.partial_wal,
        skip_archive_wal: args.skip_archive_wal,
        staging_wal_directory: path(&args.staging_wal_directory),
        recovery_conf_filename: given(&args.recovery_conf_filename),
        recovery_option_port: given(&args.recovery_option_port),
        restore_command: given(&args.restore_command),
        jobs: args.copy.jobs.map(|jobs| u32::try_from(jobs).unwrap_or(u32::MAX)),
        bwlimit: args.copy.bwlimit,
        remote_ssh_command: given(&args.remote_ssh_command),
        delta_restore: commands::choice(args.delta_restore, args.no_delta_restore),
        network_compression: commands::choice(args.network_compression, args.no_network_compression),
        staging_path: path(&args.staging_path),
        staging_location: args.staging_location.map(|location| {
            match location {
                StagingLocation::Local => "local",
                StagingLocation::Remote => "remote",
            }
            .to_owned()
        }),
        local_staging_path: path(&args.local_staging_path),
        recovery_staging_path: path(&args.recovery_staging_path),
        combine_mode: args.combine_mode.map(|mode| {
            match mode {
                CombineMode::Copy => "copy",
                CombineMode::Link => "link",
                CombineMode::Clone => "clone",
                CombineMode::CopyFileRange => "copy-file-range",
            }
            .to_owned()
        }),
        snapshot_recovery_instance: given(&args.snapshot_recovery_instance),
        ..RestoreOptions::new(&args.backup_id, &args.destination_directory)
    })
}

fn timeline(given: TargetTimeline) -> Option<restore::TargetTimeline> {
    match given {
        TargetTimeline::Current => Some(restore::TargetTimeline::Current),
        TargetTimeline::Latest => Some(restore::TargetTimeline::Latest),
        TargetTimeline::Number(number) => TimelineId::new(number).map(restore::TargetTimeline::Number),
    }
}

fn render(app: &App<'_>, report: &RestoreReport) {
    if app.output.format() == Format::Json {
        for (key, value) in members(report) {
            app.output.member(key, value);
        }
        for warning in sentences(report) {
            app.output.warning(CLI, &warning);
        }
    } else {
        for line in console(report) {
            app.output.line(&line);
        }
    }
}

/// What stands in `_WARNING`: one sentence for each block of the console's report.
fn sentences(report: &RestoreReport) -> Vec<String> {
    let mut sentences = Vec::new();
    if !report.changes.is_empty() {
        sentences.push(format!("{CHANGED}: see 'changes'"));
    }
    if !report.warnings.is_empty() {
        sentences.push(format!("{DANGEROUS}: see 'warnings'"));
    }
    if !report.missing_files.is_empty() {
        sentences.push(format!("{MISSING}: see 'missing_files'"));
    }
    if let Some(file) = &report.get_wal_file {
        sentences.push(format!(
            "'get-wal' is in the specified 'recovery_options'. {}",
            review(report, file).join(" ")
        ));
    }
    sentences
}

fn review(report: &RestoreReport, file: &str) -> [String; 2] {
    [
        format!(
            "Before you start PostgreSQL, review the file {file} in {}:",
            report.destination.display()
        ),
        "the user 'postgres' must be able to run the restore_command that it contains.".to_owned(),
    ]
}

fn members(report: &RestoreReport) -> [(&'static str, Value); 9] {
    let changes: Vec<Value> = report
        .changes
        .iter()
        .map(|change| json!([change.file, change.line, change.key, change.value]))
        .collect();
    let warnings: Vec<Value> = report
        .warnings
        .iter()
        .map(|warning| json!([warning.file, warning.line, warning.key, warning.value]))
        .collect();
    [
        ("changes_count", json!(changes.len())),
        ("changes", json!(changes)),
        ("warnings_count", json!(warnings.len())),
        ("warnings", json!(warnings)),
        ("missing_files", json!(report.missing_files)),
        ("recovery_start_time", json!(report.started_text())),
        (
            "recovery_start_time_timestamp",
            json!(report.started_epoch().to_string()),
        ),
        ("recovery_elapsed_time", json!(report.elapsed_text())),
        ("recovery_elapsed_time_seconds", json!(report.elapsed_seconds)),
    ]
}

fn console(report: &RestoreReport) -> Vec<String> {
    let mut lines = Vec::new();
    let mut block = |head: &[&str], body: Vec<String>| {
        lines.push(String::new());
        lines.extend(head.iter().map(|line| (*line).to_owned()));
        if !body.is_empty() {
            lines.push(String::new());
            lines.extend(body);
        }
    };
    if !report.changes.is_empty() {
        let body = report.changes.iter().map(|change| {
            format!(
                "{} line {}: {} = {}",
                change.file,
                change.line,
                change.key,
                change.value.unwrap_or("None")
            )
        });
        block(&["IMPORTANT", CHANGED], body.collect());
    }
    if !report.warnings.is_empty() {
        let body = report.warnings.iter().map(|warning| {
            format!(
                "{} line {}: {} = {}",
                warning.file, warning.line, warning.key, warning.value
            )
        });
        block(&["WARNING", DANGEROUS], body.collect());
    }
    if !report.missing_files.is_empty() {
        let body = report.missing_files.iter().map(|file| format!("    {file}"));
        block(
            &[
                "WARNING",
                MISSING,
                "Put them in their places before you start PostgreSQL",
            ],
            body.collect(),
        );
    }
    if let Some(file) = &report.get_wal_file {
        let [first, second] = review(report, file);
        block(
            &[
                "WARNING: 'get-wal' is in the specified 'recovery_options'.",
                &first,
                &second,
            ],
            Vec::new(),
        );
    }
    lines.push(String::new());
    lines.push(format!(
        "Restore operation completed (start time: {}, elapsed time: {})",
        report.started_text(),
        report.elapsed_text()
    ));
    lines.push("Your PostgreSQL server has been successfully prepared for recovery!".to_owned());
    lines
}
