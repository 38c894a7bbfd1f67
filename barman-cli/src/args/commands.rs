//! Every sub-command with its options and positionals (`cli.md` 9 to 16): parsing, help and completion derive from
//! these definitions.

use super::values::{
    TargetTimeline, absolute_path, backup_name, integer, non_negative, path, positive, size, target_timeline,
};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

const RATE: &str = "Copying";
const RECOVERY_TARGET: &str = "Recovery target";
const WAL_FILES: &str = "WAL files";
const STAGING: &str = "Staging";
const SNAPSHOTS: &str = "Snapshot backups";

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
    CheckArchivedWalRange(CheckArchivedWalRangeArgs),
    /// Check that the WAL files that a backup needs are archived
    CheckBackup(BackupIdArgs),
    /// Check that the WAL archive is safe to use for a new server
    CheckWalArchive(CheckWalArchiveArgs),
    /// Archive a WAL file into cloud storage
    CloudWalArchive(CloudWalArchiveArgs),
    /// Restore a WAL file from cloud storage
    CloudWalRestore(CloudWalRestoreArgs),
    /// Apply a configuration model to a server, or take it back
    ConfigSwitch(ConfigSwitchArgs),
    /// Change options of servers and models
    ConfigUpdate(ConfigUpdateArgs),
    /// Run the maintenance that is due; start it every minute
    Cron(CronArgs),
    /// Delete a backup and the WAL files that nothing else needs
    Delete(BackupIdArgs),
    /// Print everything that helps to analyse a problem, as JSON
    Diagnose(DiagnoseArgs),
    /// Export a backup into a tarball
    ExportBackup(ExportBackupArgs),
    /// Write the backup manifest of a backup that has none
    GenerateManifest(BackupIdArgs),
    /// Write a WAL file of the archive to standard output, or into a directory
    #[command(
        after_help = "Examples:\n  barman get-wal main 00000001000000000000000A > wal\n  barman get-wal -o /tmp main 00000001000000000000000A\n  barman get-wal --peek 5 main 00000001000000000000000A"
    )]
    GetWal(GetWalArgs),
    /// Show this help
    Help,
    /// Import a backup from a tarball
    ImportBackup(ImportBackupArgs),
    /// Protect a backup from retention policies, or take the protection back
    Keep(KeepArgs),
    /// List the backups of servers, newest first
    #[command(visible_alias = "list-backup")]
    ListBackups(ListBackupsArgs),
    /// List the files that belong to a backup
    ListFiles(ListFilesArgs),
    /// List the running processes of a server
    #[command(visible_alias = "list-process")]
    ListProcesses(ServerArgs),
    /// List the configured servers
    #[command(visible_alias = "list-server")]
    ListServers(MinimalArgs),
    /// Remove lock files that nobody uses
    LockDirectoryCleanup,
    /// Receive WAL files as a tar stream on standard input
    PutWal(PutWalArgs),
    /// Rebuild the WAL catalogue from the archive
    RebuildXlogdb(ServersArgs),
    /// Receive WAL from a server by streaming replication
    #[command(
        after_help = "Examples:\n  barman receive-wal main\n  barman receive-wal --create-slot --if-not-exists main"
    )]
    ReceiveWal(ReceiveWalArgs),
    /// Show the clients that stream from servers
    ReplicationStatus(ReplicationStatusArgs),
    /// Restore a backup into a directory
    #[command(
        visible_alias = "recover",
        after_help = "Examples:\n  barman restore main latest /var/lib/postgresql/restored\n  barman restore --target-time '2026-11-21 04:59:00+00:00' main auto /srv/restored\n  barman restore --standby-mode --get-wal main latest /srv/standby"
    )]
    Restore(Box<RestoreArgs>),
    /// Show all about a backup
    #[command(visible_alias = "show-backups")]
    ShowBackup(BackupIdArgs),
    /// Show the effective configuration of servers
    #[command(visible_alias = "show-server")]
    ShowServers(ServersArgs),
    /// Show the live state of servers
    Status(ServersArgs),
    /// Close the current WAL file of servers
    #[command(visible_alias = "switch-xlog")]
    SwitchWal(SwitchWalArgs),
    /// Copy a backup from the primary Barman node
    SyncBackup(BackupIdArgs),
    /// Print what a passive node needs to synchronise
    SyncInfo(SyncInfoArgs),
    /// Copy WAL files from the primary Barman node
    SyncWals(ServerArgs),
    /// Stop a running process of a server
    TerminateProcess(TerminateProcessArgs),
    /// Verify the files of a backup against its manifest
    #[command(visible_alias = "verify")]
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
    /// Number of copies that run at the same time
    #[arg(short, long, value_name = "N", value_parser = positive, help_heading = RATE)]
    pub jobs: Option<u64>,
    /// Seconds between two batches of starting jobs
    #[arg(long, value_name = "SECONDS", value_parser = positive, help_heading = RATE)]
    pub jobs_start_batch_period: Option<u64>,
    /// Number of jobs started in a batch
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

/// Values of `--reuse-backup`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReuseBackup {
    /// Copy unchanged files from the previous backup.
    Copy,
    /// Hard links to unchanged files of the previous backup.
    Link,
    /// Everything anew.
    Off,
}

/// `barman backup`.
#[derive(Debug, Clone, Args)]
pub struct BackupArgs {
    /// Names of servers, or 'all'
    #[arg(value_name = "SERVER", required = true)]
    pub servers: Vec<String>,
    /// Ask PostgreSQL for a checkpoint at once
    #[arg(long, overrides_with = "no_immediate_checkpoint")]
    pub immediate_checkpoint: bool,
    /// Wait for PostgreSQL's next spread checkpoint
    #[arg(long, overrides_with = "immediate_checkpoint")]
    pub no_immediate_checkpoint: bool,
    /// Take a block-level incremental backup on top of this one (PostgreSQL 17 or later)
    #[arg(long, value_name = "BACKUP_ID")]
    pub incremental: Option<String>,
    /// Reuse unchanged files of the previous backup (rsync methods); write --reuse-backup=MODE or put it last
    #[arg(long, value_name = "MODE", num_args = 0..=1, default_missing_value = "link", value_enum)]
    pub reuse_backup: Option<ReuseBackup>,
    /// Options of copying.
    #[command(flatten)]
    pub copy: CopyArgs,
    /// Wait until the WAL files that the backup needs are archived
    #[arg(short, long)]
    pub wait: bool,
    /// Most seconds to wait, 0 for no limit
    #[arg(long, value_name = "SECONDS", value_parser = non_negative)]
    pub wait_timeout: Option<u64>,
    /// Seconds between signs of life on an idle connection
    #[arg(long, value_name = "SECONDS", value_parser = non_negative)]
    pub keepalive_interval: Option<u64>,
    /// A friendly name for the backup
    #[arg(long, value_name = "NAME", value_parser = backup_name)]
    pub name: Option<String>,
    /// Write a backup manifest (rsync methods)
    #[arg(long, overrides_with = "no_manifest")]
    pub manifest: bool,
    /// Write no backup manifest (rsync methods)
    #[arg(long, overrides_with = "manifest")]
    pub no_manifest: bool,
    /// Most seconds for the checks before the backup, 0 for no limit
    #[arg(long, value_name = "SECONDS", value_parser = non_negative)]
    pub check_timeout: Option<u64>,
    /// Where parts wait for their upload (cloud storage)
    #[arg(long, value_name = "PATH", value_parser = absolute_path)]
    pub cloud_staging_directory: Option<PathBuf>,
    /// Most space for waiting parts (cloud storage)
    #[arg(long, value_name = "SIZE", value_parser = OptionalSizeParser)]
    pub cloud_staging_max_size: Option<OptionalSize>,
}

/// A size that may be given as nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionalSize(pub Option<u64>);

/// Parses [`OptionalSize`].
#[derive(Debug, Clone, Copy)]
struct OptionalSizeParser;

impl clap::builder::TypedValueParser for OptionalSizeParser {
    type Value = OptionalSize;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<OptionalSize, clap::Error> {
        let parser = |text: &str| size(text).map(OptionalSize);
        clap::builder::TypedValueParser::parse_ref(&parser, command, arg, value)
    }
}

/// `barman check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// Names of servers, or 'all'
    #[arg(value_name = "SERVER", required = true)]
    pub servers: Vec<String>,
    /// Answer in the form of a Nagios plugin
    #[arg(long)]
    pub nagios: bool,
    /// Most seconds for the checks of a server, 0 for no limit
    #[arg(long, value_name = "SECONDS", value_parser = non_negative)]
    pub check_timeout: Option<u64>,
}

/// `barman check-archived-wal-range`.
#[derive(Debug, Clone, Args)]
pub struct CheckArchivedWalRangeArgs {
    /// Name of the server
    #[arg(value_name = "SERVER")]
    pub server: String,
    /// First WAL segment
    #[arg(value_name = "BEGIN_WAL")]
    pub begin_wal: String,
    /// Last WAL segment
    #[arg(value_name = "END_WAL")]
    pub end_wal: String,
}

/// `barman check-wal-archive`.
#[derive(Debug, Clone, Args)]
pub struct CheckWalArchiveArgs {
    /// Name of the server
    #[arg(value_name = "SERVER")]
    pub server: String,
    /// The earliest timeline whose WAL files make the check fail
    #[arg(long, value_name = "N", value_parser = positive)]
    pub timeline: Option<u64>,
}

/// `barman cloud-wal-archive`.
#[derive(Debug, Clone, Args)]
pub struct CloudWalArchiveArgs {
    /// Name of the server
    #[arg(value_name = "SERVER")]
    pub server: String,
    /// Path of the WAL file (%p of archive_command)
    #[arg(value_name = "WAL_PATH", value_parser = path())]
    pub wal_path: PathBuf,
    /// Number of files archived at the same time
    #[arg(short, long, value_name = "N", value_parser = integer)]
    pub parallel: Option<i64>,
}

/// `barman cloud-wal-restore`.
#[derive(Debug, Clone, Args)]
pub struct CloudWalRestoreArgs {
    /// Name of the server
    #[arg(value_name = "SERVER")]
    pub server: String,
    /// Name of the WAL file (%f of restore_command)
    #[arg(value_name = "WAL_NAME")]
    pub wal_name: String,
    /// Where to put it (%p of restore_command)
    #[arg(value_name = "WAL_DEST", value_parser = path())]
    pub wal_dest: PathBuf,
    /// Number of files fetched ahead at the same time
    #[arg(short, long, value_name = "N", value_parser = integer)]
    pub parallel: Option<i64>,
    /// Where files fetched ahead wait
    #[arg(long, value_name = "DIR", default_value = "/var/tmp/walrestore", value_parser = path())]
    pub spool_dir: PathBuf,
}

/// `barman config-switch`.
#[derive(Debug, Clone, Args)]
pub struct ConfigSwitchArgs {
    /// Name of the server
    #[arg(value_name = "SERVER")]
    pub server: String,
    /// Name of the model
    #[arg(value_name = "MODEL")]
    pub model: Option<String>,
    /// Take the active model back
    #[arg(long)]
    pub reset: bool,
}

/// `barman config-update`.
#[derive(Debug, Clone, Args)]
pub struct ConfigUpdateArgs {
    /// A list of objects with scope, server_name or model_name, and options
    #[arg(value_name = "JSON")]
    pub json: String,
}

/// `barman cron`.
#[derive(Debug, Clone, Args)]
pub struct CronArgs {
    /// Let the started processes keep standard output and standard error
    #[arg(long)]
    pub keep_descriptors: bool,
}

/// `barman diagnose`.
#[derive(Debug, Clone, Args)]
pub struct DiagnoseArgs {
    /// Say for each option which file it comes from
    #[arg(long)]
    pub show_config_source: bool,
}

/// Compressions of an exported backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportCompression {
    /// gzip
    Gzip,
    /// bzip2
    Bzip2,
    /// xz
    Xz,
}

/// `barman export-backup`.
#[derive(Debug, Clone, Args)]
pub struct ExportBackupArgs {
    /// Name of the server
    #[arg(value_name = "SERVER")]
    pub server: String,
    /// Backup ID, name, or one of latest, oldest, last-failed, latest-full
    #[arg(value_name = "BACKUP_ID")]
    pub backup_id: String,
    /// Where the tarball is written
    #[arg(value_name = "OUTPUT_DIRECTORY", value_parser = path())]
    pub output_directory: PathBuf,
    /// Compression of the tarball
    #[arg(long, value_enum)]
    pub compression: Option<ExportCompression>,
    /// Level of the compression: 1 to 9 (xz 0 to 9)
    #[arg(long, value_name = "N", value_parser = integer)]
    pub compression_level: Option<i64>,
}

/// `barman get-wal`.
#[derive(Debug, Clone, Args)]
pub struct GetWalArgs {
    /// Name of the server
    #[arg(value_name = "SERVER")]
    pub server: String,
    /// Name of the WAL file
    #[arg(value_name = "WAL_NAME")]
    pub wal_name: String,
    /// Write the file into this directory instead of to standard output
    #[arg(short, long, value_name = "DIR", value_parser = path())]
    pub output_directory: Option<PathBuf>,
    /// Also look for a partial WAL file
    #[arg(short = 'P', long)]
    pub partial: bool,
    /// Compress the output with gzip
    #[arg(short = 'z', visible_short_alias = 'x', long, overrides_with = "bzip2")]
    pub gzip: bool,
    /// Compress the output with bzip2
    #[arg(short = 'j', long, overrides_with = "gzip")]
    pub bzip2: bool,
    /// Leave the file compressed as it is in the archive
    #[arg(long)]
    pub keep_compression: bool,
    /// List up to N consecutive WAL files that exist from this one on
    #[arg(short, long, value_name = "N", value_parser = positive)]
    pub peek: Option<u64>,
    /// Only check that the server can be used
    #[arg(short, long)]
    pub test: bool,
}

/// `barman import-backup`.
#[derive(Debug, Clone, Args)]
pub struct ImportBackupArgs {
    /// Name of the server
    #[arg(value_name = "SERVER")]
    pub server: String,
    /// A tarball written by export-backup
    #[arg(value_name = "TARBALL", value_parser = path())]
    pub tarball: PathBuf,
}

/// What a kept backup keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeepTarget {
    /// Everything up to now stays restorable.
    Full,
    /// Only the backup's own consistent state.
    Standalone,
}

/// `barman keep`.
#[derive(Debug, Clone, Args)]
pub struct KeepArgs {
    /// Name of the server
    #[arg(value_name = "SERVER")]
    pub server: String,
    /// Backup ID, name, or one of latest, oldest, last-failed, latest-full
    #[arg(value_name = "BACKUP_ID")]
    pub backup_id: String,
    /// Show whether the backup is kept
    #[arg(short, long)]
    pub status: bool,
    /// Take the protection back
    #[arg(short, long)]
    pub release: bool,
    /// Keep the backup with all later WAL files, or alone
    #[arg(long, value_enum)]
    pub target: Option<KeepTarget>,
}

/// `barman list-backups`.
#[derive(Debug, Clone, Args)]
pub struct ListBackupsArgs {
    /// Names of servers, or 'all'
    #[arg(value_name = "SERVER", required = true)]
    pub servers: Vec<String>,
    /// Only backup IDs
    #[arg(long)]
    pub minimal: bool,
}

/// Which files `list-files` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListFilesTarget {
    /// The backup and the WAL files that make it consistent.
    Standalone,
    /// The backup alone.
    Data,
    /// WAL files up to the next backup.
    Wal,
    /// Backup and WAL files.
    Full,
}

/// `barman list-files`.
#[derive(Debug, Clone, Args)]
pub struct ListFilesArgs {
    /// Name of the server
    #[arg(value_name = "SERVER")]
    pub server: String,
    /// Backup ID, name, or one of latest, oldest, last-failed, latest-full
    #[arg(value_name = "BACKUP_ID")]
    pub backup_id: String,
    /// Which files
    #[arg(long, value_enum, default_value = "standalone")]
    pub target: ListFilesTarget,
    /// Empty directories too
    #[arg(long)]
    pub list_empty_directories: bool,
}

/// `barman put-wal`.
#[derive(Debug, Clone, Args)]
pub struct PutWalArgs {
    /// Name of the server
    #[arg(value_name = "SERVER")]
    pub server: String,
    /// Only check that the server can be used
    #[arg(short, long)]
    pub test: bool,
}

/// `barman receive-wal`.
#[derive(Debug, Clone, Args)]
pub struct ReceiveWalArgs {
    /// Name of the server
    #[arg(value_name = "SERVER")]
    pub server: String,
    /// Stop the running receiver (deprecated: terminate-process)
    #[arg(long)]
    pub stop: bool,
    /// Start again from the server's current position; WAL before it is not received
    #[arg(long)]
    pub reset: bool,
    /// Create the replication slot
    #[arg(long)]
    pub create_slot: bool,
    /// An existing slot is fine
    #[arg(long)]
    pub if_not_exists: bool,
    /// Drop the replication slot
    #[arg(long)]
    pub drop_slot: bool,
}

/// Which clients `replication-status` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReplicationTarget {
    /// All.
    All,
    /// Standby servers.
    HotStandby,
    /// WAL receivers.
    WalStreamer,
}

/// Where `replication-status` asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReplicationSource {
    /// The server that backups come from.
    BackupHost,
    /// The server that WAL comes from.
    WalHost,
}

/// `barman replication-status`.
#[derive(Debug, Clone, Args)]
pub struct ReplicationStatusArgs {
    /// Names of servers, or 'all'
    #[arg(value_name = "SERVER", required = true)]
    pub servers: Vec<String>,
    /// One line for each client
    #[arg(long)]
    pub minimal: bool,
    /// Which clients
    #[arg(long, value_enum, default_value = "all")]
    pub target: ReplicationTarget,
    /// Which host is asked
    #[arg(long, value_enum, default_value = "backup-host")]
    pub source: ReplicationSource,
}

/// Values of `--target-action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TargetAction {
    /// Pause recovery.
    Pause,
    /// Stop the server.
    Shutdown,
    /// End recovery.
    Promote,
}

/// Where a staging path lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StagingLocation {
    /// On this host.
    Local,
    /// On the destination host.
    Remote,
}

/// How an incremental chain is combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CombineMode {
    /// Plain copies.
    Copy,
    /// Hard links.
    Link,
    /// Reflinks.
    Clone,
    /// The system call of this name.
    CopyFileRange,
}

/// `barman restore`.
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// Name of the server
    #[arg(value_name = "SERVER")]
    pub server: String,
    /// Backup ID, name, one of latest, oldest, last-failed, latest-full, or auto: the best for the target
    #[arg(value_name = "BACKUP_ID")]
    pub backup_id: String,
    /// Where the data directory will be
    #[arg(value_name = "DESTINATION_DIRECTORY")]
    pub destination_directory: String,

    /// Timeline: current, latest or a number
    #[arg(long, value_name = "TLI", value_parser = target_timeline, help_heading = RECOVERY_TARGET)]
    pub target_tli: Option<TargetTimeline>,
    /// Stop at this time
    #[arg(long, value_name = "TIMESTAMP", help_heading = RECOVERY_TARGET)]
    pub target_time: Option<String>,
    /// Stop at this transaction
    #[arg(long, value_name = "XID", help_heading = RECOVERY_TARGET)]
    pub target_xid: Option<String>,
    /// Stop at this WAL position
    #[arg(long, value_name = "LSN", help_heading = RECOVERY_TARGET)]
    pub target_lsn: Option<String>,
    /// Stop at this restore point
    #[arg(long, value_name = "NAME", help_heading = RECOVERY_TARGET)]
    pub target_name: Option<String>,
    /// Stop as soon as the backup is consistent
    #[arg(long, help_heading = RECOVERY_TARGET)]
    pub target_immediate: bool,
    /// Stop just before the target
    #[arg(long, help_heading = RECOVERY_TARGET)]
    pub exclusive: bool,
    /// What PostgreSQL does at the target
    #[arg(long, value_enum, help_heading = RECOVERY_TARGET)]
    pub target_action: Option<TargetAction>,
    /// Prepare a standby
    #[arg(long, help_heading = RECOVERY_TARGET)]
    pub standby_mode: bool,

    /// Where a tablespace goes; may be repeated
    #[arg(long, value_name = "NAME:LOCATION")]
    pub tablespace: Vec<String>,
    /// Restore to another host through this ssh command
    #[arg(long, value_name = "COMMAND")]
    pub remote_ssh_command: Option<String>,
    /// Options of copying.
    #[command(flatten)]
    pub copy: CopyArgs,
    /// Compress what goes over the network
    #[arg(long, overrides_with = "no_network_compression", help_heading = RATE)]
    pub network_compression: bool,
    /// Do not compress what goes over the network
    #[arg(long, overrides_with = "network_compression", help_heading = RATE)]
    pub no_network_compression: bool,
    /// Restore over an existing data directory, copying what differs
    #[arg(long, overrides_with = "no_delta_restore", help_heading = RATE)]
    pub delta_restore: bool,
    /// The destination must be empty
    #[arg(long, overrides_with = "delta_restore", help_heading = RATE)]
    pub no_delta_restore: bool,

    /// Let PostgreSQL fetch WAL files from this host during recovery
    #[arg(long, overrides_with = "no_get_wal", help_heading = WAL_FILES)]
    pub get_wal: bool,
    /// Copy the WAL files that recovery needs
    #[arg(long, overrides_with = "get_wal", help_heading = WAL_FILES)]
    pub no_get_wal: bool,
    /// Deliver partial WAL files too
    #[arg(long, help_heading = WAL_FILES)]
    pub partial_wal: bool,
    /// Do not archive waiting WAL files first
    #[arg(long, help_heading = WAL_FILES)]
    pub skip_archive_wal: bool,
    /// Where the copied WAL files go on the destination host
    #[arg(long, value_name = "DIR", help_heading = WAL_FILES)]
    pub staging_wal_directory: Option<String>,
    /// The restore_command to write instead of the generated one
    #[arg(long, value_name = "COMMAND", help_heading = WAL_FILES)]
    pub restore_command: Option<String>,
    /// The file that receives the recovery settings (default postgresql.auto.conf)
    #[arg(long, value_name = "NAME", help_heading = WAL_FILES)]
    pub recovery_conf_filename: Option<String>,
    /// ssh port in the generated restore_command
    #[arg(long, value_name = "PORT", help_heading = WAL_FILES)]
    pub recovery_option_port: Option<String>,

    /// Working space for compressed, encrypted and incremental backups
    #[arg(long, value_name = "DIR", help_heading = STAGING)]
    pub staging_path: Option<String>,
    /// Where the staging path is
    #[arg(long, value_enum, help_heading = STAGING)]
    pub staging_location: Option<StagingLocation>,
    /// Deprecated: --staging-path with --staging-location remote
    #[arg(long, value_name = "DIR", help_heading = STAGING)]
    pub recovery_staging_path: Option<String>,
    /// Deprecated: --staging-path
    #[arg(long, value_name = "DIR", help_heading = STAGING)]
    pub local_staging_path: Option<String>,
    /// How an incremental chain is combined
    #[arg(long, value_enum, ignore_case = true, help_heading = STAGING)]
    pub combine_mode: Option<CombineMode>,

    /// Instance that the disks are attached to
    #[arg(long, value_name = "NAME", help_heading = SNAPSHOTS)]
    pub snapshot_recovery_instance: Option<String>,
    /// Google Cloud zone
    #[arg(long, value_name = "ZONE", help_heading = SNAPSHOTS)]
    pub gcp_zone: Option<String>,
    /// Azure resource group
    #[arg(long, value_name = "GROUP", help_heading = SNAPSHOTS)]
    pub azure_resource_group: Option<String>,
    /// AWS region
    #[arg(long, value_name = "REGION", help_heading = SNAPSHOTS)]
    pub aws_region: Option<String>,
    /// Deprecated: --gcp-zone
    #[arg(long, value_name = "ZONE", help_heading = SNAPSHOTS)]
    pub snapshot_recovery_zone: Option<String>,
}

/// `barman switch-wal`.
#[derive(Debug, Clone, Args)]
pub struct SwitchWalArgs {
    /// Names of servers, or 'all'
    #[arg(value_name = "SERVER", required = true)]
    pub servers: Vec<String>,
    /// Checkpoint first, so that there is something to switch
    #[arg(long)]
    pub force: bool,
    /// Wait until the closed WAL file is archived
    #[arg(long)]
    pub archive: bool,
    /// Most seconds to wait, 0 for no limit
    #[arg(long, value_name = "SECONDS", value_parser = non_negative, default_value = "30")]
    pub archive_timeout: u64,
}

/// `barman sync-info`.
#[derive(Debug, Clone, Args)]
pub struct SyncInfoArgs {
    /// Name of the server
    #[arg(value_name = "SERVER")]
    pub server: String,
    /// The last WAL file that the passive node has
    #[arg(value_name = "LAST_WAL")]
    pub last_wal: Option<String>,
    /// Its position in the WAL catalogue
    // The original refuses the 0 that it prints for an empty catalogue.
    #[arg(value_name = "LAST_POSITION", value_parser = non_negative)]
    pub last_position: Option<u64>,
    /// Ask the primary node
    #[arg(long)]
    pub primary: bool,
}

/// `barman terminate-process`.
#[derive(Debug, Clone, Args)]
pub struct TerminateProcessArgs {
    /// Name of the server
    #[arg(value_name = "SERVER")]
    pub server: String,
    /// Name of the task, as list-processes shows it
    #[arg(value_name = "TASK")]
    pub task: String,
}
