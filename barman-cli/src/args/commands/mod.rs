//! Every sub-command with its options and positionals (`cli.md` 9 to 16): parsing, help and completion derive from
//! these definitions. Here are the list of the commands and what several of them take; their own arguments are in the
//! modules below, by subject.

mod backup;
mod restore;
mod server;
mod wal;

pub use backup::{
    BackupArgs, DeleteArgs, ExportBackupArgs, ExportCompression, ImportBackupArgs, KeepArgs, KeepTarget,
    ListBackupsArgs, ListFilesArgs, ListFilesTarget, OptionalSize, RetentionArgs, ReuseBackup,
};
pub use restore::{CombineMode, RestoreArgs, StagingLocation, TargetAction};
pub use server::{
    CheckArgs, ConfigSwitchArgs, ConfigUpdateArgs, CronArgs, DiagnoseArgs, ReplicationSource,
    ReplicationStatusArgs, ReplicationTarget, SyncInfoArgs, TerminateProcessArgs,
};
pub use wal::{
    CheckArchivedWalRangeArgs, CheckWalArchiveArgs, CloudWalArchiveArgs, CloudWalRestoreArgs, GetWalArgs,
    PutWalArgs, ReceiveWalArgs, SwitchWalArgs,
};

use super::values::{non_negative, positive};
use clap::{Args, Subcommand, ValueEnum};

/// Heading of the options of copying, in the help of `backup` and of `restore`.
const RATE: &str = "Copying";

/// One of two flags that share a setting; the last one given counts, none leaves the configuration's choice.
#[must_use]
pub fn choice(yes: bool, no: bool) -> Option<bool> {
    match (yes, no) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

/// A command of `barman`. Aliases are other spellings that never change anything.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Archive the WAL files that have arrived from a server
    #[command(
        after_help = "Takes the files of 'streaming' and 'incoming' into the archive and lists them in its catalogue. Started by 'barman cron' every minute.\n\nExample:\n  barman archive-wal main"
    )]
    ArchiveWal(ServerArgs),
    /// Take a base backup of servers ('all' for every server)
    #[command(
        after_help = "Examples:\n  barman backup main\n  barman backup --wait --name before-upgrade main\n  barman backup all"
    )]
    Backup(BackupArgs),
    /// Check that servers are ready for backups and WAL archiving
    #[command(after_help = "Examples:\n  barman check main\n  barman check --nagios all")]
    Check(CheckArgs),
    /// Check that every WAL segment of a range is in the archive
    #[command(
        after_help = "Both ends are part of the range. A file that is empty, cut off or another segment's counts as missing.\n\nExample:\n  barman check-archived-wal-range main 000000010000000000000002 0000000100000000000000A0"
    )]
    CheckArchivedWalRange(CheckArchivedWalRangeArgs),
    /// Check that the WAL files that a backup needs are archived
    #[command(
        after_help = "A backup that waits for WAL becomes DONE when its WAL is there, or FAILED when it cannot come any more. Started by 'barman cron'.\n\nExample:\n  barman check-backup main latest"
    )]
    CheckBackup(BackupIdArgs),
    /// Check that the WAL archive is safe to use for a new server
    #[command(
        after_help = "Without --timeline the archive has to be empty. With it, WAL of older timelines may be there: for a server that was restored and goes on on a timeline of its own.\n\nExamples:\n  barman check-wal-archive main\n  barman check-wal-archive --timeline 2 main"
    )]
    CheckWalArchive(CheckWalArchiveArgs),
    /// Archive a WAL file into cloud storage
    #[command(after_help = "Example:\n  barman cloud-wal-archive main pg_wal/00000001000000000000000A")]
    CloudWalArchive(CloudWalArchiveArgs),
    /// Restore a WAL file from cloud storage
    #[command(
        after_help = "Example:\n  barman cloud-wal-restore main 00000001000000000000000A pg_wal/RECOVERYXLOG"
    )]
    CloudWalRestore(CloudWalRestoreArgs),
    /// Print the completion script of a shell (not in Barman)
    #[command(
        after_help = "Completes commands, options, servers and backups.\n\nExample:\n  source <(barman completion bash)"
    )]
    Completion(CompletionArgs),
    /// Apply a configuration model to a server, or take it back
    #[command(
        after_help = "A model is a section with 'model = true': its options replace those of the server until another one is applied.\n\nExamples:\n  barman config-switch main standby-model\n  barman config-switch main --reset"
    )]
    ConfigSwitch(ConfigSwitchArgs),
    /// Change options of servers and models
    #[command(
        after_help = "The changes are written to .barman.auto.conf below barman_home, and win over the configuration files.\n\nExample:\n  barman config-update '[{\"scope\": \"server\", \"server_name\": \"main\", \"archiver\": \"on\"}]'"
    )]
    ConfigUpdate(ConfigUpdateArgs),
    /// Run the maintenance that is due; start it every minute
    #[command(
        after_help = "Starts what should run (receive-wal, archive-wal, check-backup), and deletes what the retention policies no longer need. It returns at once: what it has started goes on in the background and writes to the log.\n\nExample:\n  barman -q cron"
    )]
    Cron(CronArgs),
    /// Delete a backup and the WAL files that nothing else needs
    #[command(
        after_help = "Incremental backups based on it go with it. Refused: backups that are kept, in use, or needed for minimum_redundancy.\n\nExamples:\n  barman delete --dry-run main oldest    what would go, and why\n  barman delete main oldest"
    )]
    Delete(DeleteArgs),
    /// Print everything that helps to analyse a problem, as JSON
    #[command(
        after_help = "The configuration and state of this host, of all servers and of their hosts (with ssh_command). Passwords are left out; look over what you send on all the same.\n\nExamples:\n  barman diagnose > report.json\n  barman diagnose --show-config-source"
    )]
    Diagnose(DiagnoseArgs),
    /// Export a backup into a tarball
    #[command(
        after_help = "The tarball holds a full backup and the WAL files that make it consistent, for 'barman import-backup' of another node that has a server of the same name. Its name tells the first digits of its SHA-256.\n\nExamples:\n  barman export-backup main latest /mnt/carried\n  barman export-backup --compression xz --compression-level 3 main 20261121T044724 /mnt/carried"
    )]
    ExportBackup(ExportBackupArgs),
    /// Write the backup manifest of a backup that has none
    #[command(
        after_help = "Backups with backup_method = postgres come with a manifest; those over rsync and of snapshots need one before 'barman verify-backup' can tell anything of them.\n\nExample:\n  barman generate-manifest main latest"
    )]
    GenerateManifest(BackupIdArgs),
    /// Write a WAL file of the archive to standard output, or into a directory
    #[command(
        after_help = "Examples:\n  barman get-wal main 00000001000000000000000A > wal\n  barman get-wal -o /tmp main 00000001000000000000000A\n  barman get-wal --peek 5 main 00000001000000000000000A"
    )]
    GetWal(GetWalArgs),
    /// Show this help
    Help,
    /// Import a backup from a tarball
    #[command(
        after_help = "The server must be the same cluster (identity.json), and have the name that the tarball was exported under; the file keeps the name that it was given. The backup is kept as standalone: 'barman keep --release' gives it to the retention policy.\n\nExample:\n  barman import-backup main /mnt/backup-export-main-20261121T044724-20261121T050000-5e41bb31.tar"
    )]
    ImportBackup(ImportBackupArgs),
    /// Protect a backup from retention policies, or take the protection back
    #[command(
        after_help = "'full' keeps all WAL from the backup on, so that any later moment can be restored; 'standalone' only what makes the backup itself consistent: an archive of that one moment.\n\nExamples:\n  barman keep --target standalone main 20261121T044724\n  barman keep --status main latest\n  barman keep --release main oldest"
    )]
    Keep(KeepArgs),
    /// List the backups of servers, newest first
    #[command(
        visible_alias = "list-backup",
        after_help = "Letters: F full, I incremental, R rsync, S snapshot. Size counts the WAL that the backup needs, WAL Size what came after it.\n\nExamples:\n  barman list-backups main\n  barman list-backups --minimal main\n  barman -f json list-backups all"
    )]
    ListBackups(ListBackupsArgs),
    /// List the files that belong to a backup
    #[command(
        after_help = "Targets:\n  standalone  the backup and the WAL that makes it consistent (default)\n  data        the backup\n  wal         WAL files from its beginning to the end of the next backup, with history files\n  full        data and wal\n\nExample:\n  barman list-files --target full main latest"
    )]
    ListFiles(ListFilesArgs),
    /// List the running processes of a server
    #[command(
        visible_alias = "list-process",
        after_help = "A process is known by the lock that it holds. Tasks: receive-wal, archive-wal, backup, cron, sync-backup, sync-wal.\n\nExample:\n  barman list-processes main"
    )]
    ListProcesses(ServerArgs),
    /// List the configured servers
    #[command(
        visible_alias = "list-server",
        after_help = "Examples:\n  barman list-servers\n  barman list-servers --minimal"
    )]
    ListServers(MinimalArgs),
    /// Remove lock files that nobody uses
    #[command(
        after_help = "Files of locks that are held stay. 'barman cron' does the same unless lock_directory_cleanup is off.\n\nExample:\n  barman lock-directory-cleanup"
    )]
    LockDirectoryCleanup,
    /// Receive WAL files as a tar stream on standard input
    #[command(
        after_help = "Called by 'barman-wal-archive' of the PostgreSQL host through ssh.\n\nExample:\n  barman put-wal --test main"
    )]
    PutWal(PutWalArgs),
    /// Rebuild the WAL catalogue from the archive
    #[command(
        after_help = "For a catalogue that is damaged or lists other files than there are. The old one stays until the new one is complete.\n\nExamples:\n  barman rebuild-xlogdb main\n  barman rebuild-xlogdb all"
    )]
    RebuildXlogdb(ServersArgs),
    /// Receive WAL from a server by streaming replication
    #[command(
        after_help = "Examples:\n  barman receive-wal main\n  barman receive-wal --create-slot --if-not-exists main"
    )]
    ReceiveWal(ReceiveWalArgs),
    /// Show the clients that stream from servers
    #[command(
        after_help = "Clients are hot standbys and WAL receivers, Barman's own among them. All servers are asked at the same time, each for at most check_timeout.\n\nExamples:\n  barman replication-status main\n  barman replication-status --minimal --target hot-standby all\n  barman replication-status --source wal-host main"
    )]
    ReplicationStatus(ReplicationStatusArgs),
    /// Restore a backup into a directory
    #[command(
        visible_alias = "recover",
        after_help = "Examples:\n  barman restore main latest /var/lib/postgresql/restored\n  barman restore --target-time '2026-11-21 04:59:00+00:00' main auto /srv/restored\n  barman restore --standby-mode --get-wal main latest /srv/standby"
    )]
    Restore(Box<RestoreArgs>),
    /// Show what the retention policy says of each backup (not in Barman)
    #[command(
        after_help = "OBSOLETE backups are deleted by the next cron; OBSOLETE* are outside of the recovery window and stay for minimum_redundancy. Nothing is changed.\n\nExamples:\n  barman retention main\n  barman retention --explain main"
    )]
    Retention(RetentionArgs),
    /// Show all about a backup
    #[command(
        visible_alias = "show-backups",
        after_help = "Examples:\n  barman show-backup main latest\n  barman -f json show-backup main 20261121T044724"
    )]
    ShowBackup(BackupIdArgs),
    /// Show the effective configuration of servers
    #[command(
        visible_alias = "show-server",
        after_help = "Examples:\n  barman show-servers main\n  barman -f json show-servers all"
    )]
    ShowServers(ServersArgs),
    /// Show the live state of servers
    #[command(
        after_help = "What PostgreSQL and the catalogue of backups say; nothing is changed. All servers are asked at the same time, each for at most check_timeout. A server that is down is no failure: 'barman check' judges.\n\nExamples:\n  barman status main\n  barman -f json status all"
    )]
    Status(ServersArgs),
    /// Close the current WAL file of servers
    #[command(
        visible_alias = "switch-xlog",
        after_help = "Examples:\n  barman switch-wal main\n  barman switch-wal --force --archive main"
    )]
    SwitchWal(SwitchWalArgs),
    /// Copy a backup from the primary Barman node
    #[command(
        after_help = "Only on a passive node (primary_ssh_command). Started by 'barman cron'.\n\nExample:\n  barman sync-backup main 20261121T044724"
    )]
    SyncBackup(BackupIdArgs),
    /// Print what a passive node needs to synchronise
    #[command(
        after_help = "Asked by a passive node through ssh.\n\nExamples:\n  barman sync-info main\n  barman sync-info --primary main"
    )]
    SyncInfo(SyncInfoArgs),
    /// Copy WAL files from the primary Barman node
    #[command(
        after_help = "Only on a passive node (primary_ssh_command). Started by 'barman cron'.\n\nExample:\n  barman sync-wals main"
    )]
    SyncWals(ServerArgs),
    /// Stop a running process of a server
    #[command(
        after_help = "Sends SIGINT to the process that holds the lock of the task, and waits until it is gone. 'barman list-processes' shows what runs.\n\nExamples:\n  barman terminate-process main receive-wal\n  barman terminate-process main backup"
    )]
    TerminateProcess(TerminateProcessArgs),
    /// Verify the files of a backup against its manifest
    #[command(
        visible_alias = "verify",
        after_help = "Compares which files there are, their sizes and checksums, and the system identifier, as pg_verifybackup does, on all processors. WAL is not looked at: 'barman check-backup' does that. The exit code is 1 if anything is wrong.\n\nExamples:\n  barman verify-backup main latest\n  barman -f json verify-backup main 20261121T044724"
    )]
    VerifyBackup(BackupIdArgs),
}

impl Command {
    /// The main name of the command, as messages use it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ArchiveWal(_) => "archive-wal",
            Self::Backup(_) => "backup",
            Self::Check(_) => "check",
            Self::CheckArchivedWalRange(_) => "check-archived-wal-range",
            Self::CheckBackup(_) => "check-backup",
            Self::CheckWalArchive(_) => "check-wal-archive",
            Self::CloudWalArchive(_) => "cloud-wal-archive",
            Self::CloudWalRestore(_) => "cloud-wal-restore",
            Self::Completion(_) => "completion",
            Self::ConfigSwitch(_) => "config-switch",
            Self::ConfigUpdate(_) => "config-update",
            Self::Cron(_) => "cron",
            Self::Delete(_) => "delete",
            Self::Diagnose(_) => "diagnose",
            Self::ExportBackup(_) => "export-backup",
            Self::GenerateManifest(_) => "generate-manifest",
            Self::GetWal(_) => "get-wal",
            Self::Help => "help",
            Self::ImportBackup(_) => "import-backup",
            Self::Keep(_) => "keep",
            Self::ListBackups(_) => "list-backups",
            Self::ListFiles(_) => "list-files",
            Self::ListProcesses(_) => "list-processes",
            Self::ListServers(_) => "list-servers",
            Self::LockDirectoryCleanup => "lock-directory-cleanup",
            Self::PutWal(_) => "put-wal",
            Self::RebuildXlogdb(_) => "rebuild-xlogdb",
            Self::ReceiveWal(_) => "receive-wal",
            Self::ReplicationStatus(_) => "replication-status",
            Self::Restore(_) => "restore",
            Self::Retention(_) => "retention",
            Self::ShowBackup(_) => "show-backup",
            Self::ShowServers(_) => "show-servers",
            Self::Status(_) => "status",
            Self::SwitchWal(_) => "switch-wal",
            Self::SyncBackup(_) => "sync-backup",
            Self::SyncInfo(_) => "sync-info",
            Self::SyncWals(_) => "sync-wals",
            Self::TerminateProcess(_) => "terminate-process",
            Self::VerifyBackup(_) => "verify-backup",
        }
    }
}

/// Shells that there is a completion script for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash
    Bash,
}

/// `barman completion`.
#[derive(Debug, Clone, Args)]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

/// A command on one server.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// Name of the server
    #[arg(value_name = "SERVER")]
    pub server: String,
}

/// A command on one or more servers.
#[derive(Debug, Clone, Args)]
pub struct ServersArgs {
    /// Names of servers, or 'all'
    #[arg(value_name = "SERVER", required = true)]
    pub servers: Vec<String>,
}

/// A command on one backup.
#[derive(Debug, Clone, Args)]
pub struct BackupIdArgs {
    /// Name of the server
    #[arg(value_name = "SERVER")]
    pub server: String,
    /// Backup ID, name, or one of latest, oldest, last-failed, latest-full
    #[arg(value_name = "BACKUP_ID")]
    pub backup_id: String,
}

/// `--minimal` alone.
#[derive(Debug, Clone, Args)]
pub struct MinimalArgs {
    /// Only names
    #[arg(long)]
    pub minimal: bool,
}

/// How often and how fast a copy is done.
#[derive(Debug, Clone, Args)]
pub struct CopyArgs {
    /// How often a failed copy is tried again
    #[arg(long, value_name = "N", value_parser = non_negative, overrides_with = "no_retry", help_heading = RATE)]
    pub retry_times: Option<u64>,
    /// Seconds between tries
    #[arg(long, value_name = "SECONDS", value_parser = non_negative, help_heading = RATE)]
    pub retry_sleep: Option<u64>,
    /// Do not try again
    #[arg(long, overrides_with = "retry_times", help_heading = RATE)]
    pub no_retry: bool,
    /// Number of files that are copied at the same time (restore, rsync methods)
    #[arg(short, long, value_name = "N", value_parser = positive, help_heading = RATE)]
    pub jobs: Option<u64>,
    /// Seconds between two batches of starting jobs (rsync methods)
    #[arg(long, value_name = "SECONDS", value_parser = positive, help_heading = RATE)]
    pub jobs_start_batch_period: Option<u64>,
    /// Number of jobs started in a batch (rsync methods)
    #[arg(long, value_name = "N", value_parser = positive, help_heading = RATE)]
    pub jobs_start_batch_size: Option<u64>,
    /// Most kilobytes in a second, 0 for no limit
    #[arg(long, value_name = "KBPS", value_parser = non_negative, help_heading = RATE)]
    pub bwlimit: Option<u64>,
}

impl CopyArgs {
    /// How often a failed copy is tried again, if the user said.
    #[must_use]
    pub fn retries(&self) -> Option<u64> {
        if self.no_retry { Some(0) } else { self.retry_times }
    }
}
