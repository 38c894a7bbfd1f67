//! `barman restore`: options from the command line, the report on the console and in JSON.

use crate::app::{App, CLI};
use crate::args::commands::{self, CombineMode, RestoreArgs, StagingLocation, TargetAction};
use crate::args::values::TargetTimeline;
use crate::output::Format;
use barman_core::Server;
use barman_core::config::load::default_paths;
use barman_core::ops::restore::{self, RestoreError, RestoreOptions, RestoreReport, Target, TargetTexts};
use barman_wal::TimelineId;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const CHANGED: &str = "These settings have been changed to prevent data loss";
const DANGEROUS: &str =
    "These settings may be dangerous or may not fit this host: review them before you start PostgreSQL";
const MISSING: &str = "These configuration files are not in the backup, so they have not been restored";

pub(super) fn run(app: &App<'_>, args: &RestoreArgs) {
    let Some(config) = app.single("restore", &args.server) else {
        return;
    };
    let server = Server::new(config.clone()).with_interrupt(app.cancel.flag());
    let options = options(args).map(|options| RestoreOptions {
        barman_user: app.config.globals.barman_user.clone(),
        command_config: special_config(&app.config.path),
        ..options
    });
    match options.and_then(|options| restore::run(&server, &options, &app.context())) {
        Ok(report) => render(app, &report),
        Err(error) => {
            let _ = app.failure(&error);
            if let RestoreError::Unknown(reason) = &error {
                app.backup_hint(&server, reason);
            }
        }
    }
}

/// The configuration file, if the command that PostgreSQL will run would not find it by itself.
fn special_config(path: &Path) -> Option<PathBuf> {
    // No home: PostgreSQL runs as somebody else.
    if default_paths(None).iter().any(|default| default == path) {
        return None;
    }
    Some(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{self, Command};
    use barman_core::ops::restore::{ChangedSetting, DangerousSetting};
    use expect_test::expect;

    fn report() -> RestoreReport {
        RestoreReport {
            server: "main".to_owned(),
            backup: "20261121T045818".parse().unwrap(),
            destination: PathBuf::from("/srv/restored"),
            started: "2026-11-21T04:52:42.772624+00:00[UTC]".parse().unwrap(),
            elapsed_seconds: 1.341_191,
            changes: vec![
                ChangedSetting {
                    file: "postgresql.conf".to_owned(),
                    line: 820,
                    key: "archive_command".to_owned(),
                    value: Some("false"),
                },
                ChangedSetting {
                    file: "postgresql.auto.conf".to_owned(),
                    line: 1,
                    key: "recovery_target_action".to_owned(),
                    value: None,
                },
            ],
            warnings: vec![DangerousSetting {
                file: "postgresql.conf".to_owned(),
                line: 817,
                key: "unix_socket_directories".to_owned(),
                value: "'/run/pg'".to_owned(),
            }],
            missing_files: vec!["pg_ident.conf".to_owned()],
            get_wal_file: Some("postgresql.auto.conf".to_owned()),
            bytes: 3,
            wal_files: 0,
        }
    }

    #[test]
    fn report_on_the_console() {
        expect![[r#"

            IMPORTANT
            These settings have been changed to prevent data loss

            postgresql.conf line 820: archive_command = false
            postgresql.auto.conf line 1: recovery_target_action = None

            WARNING
            These settings may be dangerous or may not fit this host: review them before you start PostgreSQL

            postgresql.conf line 817: unix_socket_directories = '/run/pg'

            WARNING
            These configuration files are not in the backup, so they have not been restored
            Put them in their places before you start PostgreSQL

                pg_ident.conf

            WARNING: 'get-wal' is in the specified 'recovery_options'.
            Before you start PostgreSQL, review the file postgresql.auto.conf in /srv/restored:
            the user 'postgres' must be able to run the restore_command that it contains.

            Restore operation completed (start time: 2026-11-21 04:52:42.772624+00:00, elapsed time: 1 second)
            Your PostgreSQL server has been successfully prepared for recovery!"#]]
        .assert_eq(&console(&report()).join("\n"));
        let plain = RestoreReport {
            changes: Vec::new(),
            warnings: Vec::new(),
            missing_files: Vec::new(),
            get_wal_file: None,
            ..report()
        };
        expect![[r#"

            Restore operation completed (start time: 2026-11-21 04:52:42.772624+00:00, elapsed time: 1 second)
            Your PostgreSQL server has been successfully prepared for recovery!"#]]
        .assert_eq(&console(&plain).join("\n"));
        assert!(sentences(&plain).is_empty());
    }

    #[test]
    fn report_in_json() {
        let document: serde_json::Map<String, Value> = members(&report())
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        expect![[r#"{"changes": [["postgresql.conf", 820, "archive_command", "false"], ["postgresql.auto.conf", 1, "recovery_target_action", null]], "changes_count": 2, "missing_files": ["pg_ident.conf"], "recovery_elapsed_time": "1 second", "recovery_elapsed_time_seconds": 1.341191, "recovery_start_time": "2026-11-21 04:52:42.772624+00:00", "recovery_start_time_timestamp": "1795236762", "warnings": [["postgresql.conf", 817, "unix_socket_directories", "'/run/pg'"]], "warnings_count": 1}"#]].assert_eq(&crate::output::json::to_text(&Value::Object(document)));
        expect![[r#"
            These settings have been changed to prevent data loss: see 'changes'
            These settings may be dangerous or may not fit this host: review them before you start PostgreSQL: see 'warnings'
            These configuration files are not in the backup, so they have not been restored: see 'missing_files'
            'get-wal' is in the specified 'recovery_options'. Before you start PostgreSQL, review the file postgresql.auto.conf in /srv/restored: the user 'postgres' must be able to run the restore_command that it contains."#]].assert_eq(&sentences(&report()).join("\n"));
    }

    fn parsed(line: &str) -> Result<RestoreOptions, RestoreError> {
        let words = ["barman", "restore"]
            .into_iter()
            .chain(line.split(' '))
            .map(Into::into);
        match args::parse(words).unwrap().command {
            Some(Command::Restore(args)) => options(&args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_a_special_configuration_is_named() {
        assert_eq!(special_config(Path::new("/etc/barman.conf")), None);
        assert_eq!(special_config(Path::new("/etc/barman/barman.conf")), None);
        assert_eq!(
            special_config(Path::new("/srv/b.conf")),
            Some(PathBuf::from("/srv/b.conf"))
        );
        assert!(special_config(Path::new("b.conf")).is_some_and(|path| path.is_absolute()));
    }

    #[test]
    fn options_of_the_command_line() {
        let options =
            parsed("--target-tli 3 --no-get-wal --jobs 4 --no-retry --target-action promote main auto /d")
                .unwrap();
        assert_eq!(
            options.target_tli,
            Some(restore::TargetTimeline::Number(TimelineId::new(3).unwrap()))
        );
        assert_eq!(
            (options.get_wal, options.jobs, options.delta_restore),
            (Some(false), Some(4), None)
        );
        assert_eq!(options.target_action, Some(restore::TargetAction::Promote));
        assert_eq!(
            (options.backup.as_str(), options.destination),
            ("auto", PathBuf::from("/d"))
        );
        assert_eq!(
            parsed("--target-time= --target-lsn 0/3 m b d").unwrap().target,
            Target::Lsn("0/3".parse().unwrap())
        );
        assert!(matches!(
            parsed("--target-xid 1 --target-immediate m b d"),
            Err(RestoreError::SeveralTargets)
        ));
        let none = parsed("--remote-ssh-command= m b d").unwrap();
        assert_eq!(none.remote_ssh_command, None);
    }
}
