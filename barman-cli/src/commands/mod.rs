//! The commands: each asks an operation of `barman_core` and renders its report.

mod archive_wal;
mod awaited;
mod backup;
mod backup_json;
mod check;
mod check_archived_wal_range;
mod check_backup;
mod check_wal_archive;
mod config_switch;
mod config_update;
mod cron;
mod delete;
mod diagnose;
mod export_backup;
mod forecast;
mod generate_manifest;
mod get_wal;
mod import_backup;
mod keep;
mod list_backups;
mod list_files;
mod list_processes;
mod list_servers;
mod lock_directory_cleanup;
mod rebuild_xlogdb;
mod receive_wal;
mod replication_status;
mod restore;
mod retention;
mod show_backup;
mod show_servers;
mod status;
mod switch_wal;
mod terminate_process;
mod verify_backup;

use crate::app::{App, CLI};
use crate::args::{self, Command};
use barman_core::host::process::{Descriptors, SelfCommand};
use std::path::PathBuf;

/// Runs a command. What it has to say, and whether it failed, is in the output.
pub fn dispatch(app: &App<'_>, command: &Command) {
    app.global_warnings();
    match command {
        Command::ArchiveWal(options) => archive_wal::run(app, options),
        Command::Backup(options) => backup::run(app, options),
        Command::Check(options) => check::run(app, options),
        Command::CheckArchivedWalRange(options) => check_archived_wal_range::run(app, options),
        Command::CheckBackup(options) => check_backup::run(app, options),
        Command::CheckWalArchive(options) => check_wal_archive::run(app, options),
        Command::ConfigSwitch(options) => config_switch::run(app, options),
        Command::ConfigUpdate(options) => config_update::run(app, options),
        Command::Cron(options) => cron::run(app, options),
        Command::Delete(options) => delete::run(app, options),
        Command::Diagnose(options) => diagnose::run(app, options),
        Command::ExportBackup(options) => export_backup::run(app, options),
        Command::GenerateManifest(options) => generate_manifest::run(app, options),
        Command::GetWal(options) => get_wal::run(app, options),
        // It has been answered before any configuration was read.
        Command::Completion(_) => {}
        Command::Help => app.output.text(&args::help()),
        Command::ImportBackup(options) => import_backup::run(app, options),
        Command::Keep(options) => keep::run(app, options),
        Command::ListBackups(options) => list_backups::run(app, options),
        Command::ListFiles(options) => list_files::run(app, options),
        Command::ListProcesses(options) => list_processes::run(app, options),
        Command::ListServers(options) => list_servers::run(app, options),
        Command::LockDirectoryCleanup => lock_directory_cleanup::run(app),
        Command::RebuildXlogdb(options) => rebuild_xlogdb::run(app, options),
        Command::ReceiveWal(options) => receive_wal::run(app, options),
        Command::ReplicationStatus(options) => replication_status::run(app, options),
        Command::Restore(options) => restore::run(app, options),
        Command::Retention(options) => retention::run(app, options),
        Command::ShowBackup(options) => show_backup::run(app, options),
        Command::ShowServers(options) => show_servers::run(app, options),
        Command::Status(options) => status::run(app, options),
        Command::SwitchWal(options) => switch_wal::run(app, options),
        Command::TerminateProcess(options) => terminate_process::run(app, options),
        Command::VerifyBackup(options) => verify_backup::run(app, options),
        other => awaited::run(app, other),
    }
}

/// How to start children: with this program, or what now stands in its place if it was replaced meanwhile.
fn self_command(app: &App<'_>, descriptors: Descriptors) -> SelfCommand {
    let program = std::env::current_exe().ok().filter(|path| path.exists());
    SelfCommand {
        program: program.unwrap_or_else(|| PathBuf::from("barman")),
        config: app.config.path.clone(),
        descriptors,
    }
}

/// Refuses, by name, what is not there.
fn unavailable(app: &App<'_>, what: &str) {
    app.output.error(
        CLI,
        &format!(
            "{what} is not yet available in barman-rs {}",
            env!("CARGO_PKG_VERSION")
        ),
    );
}
