//! Commands about backups: taking, keeping, listing, exporting them.

use super::CopyArgs;
use crate::args::values::{absolute_path, backup_name, integer, non_negative, path, size};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

const METHOD: &str = "How it is taken";
const WAITING: &str = "Waiting for WAL";
const CLOUD: &str = "Cloud storage";

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
    #[arg(long, value_name = "BACKUP_ID", help_heading = METHOD)]
    pub incremental: Option<String>,
    /// Reuse unchanged files of the previous backup (rsync methods); write --reuse-backup=MODE or put it last
    #[arg(long, value_name = "MODE", num_args = 0..=1, default_missing_value = "link", value_enum, help_heading = METHOD)]
    pub reuse_backup: Option<ReuseBackup>,
    /// Options of copying.
    #[command(flatten)]
    pub copy: CopyArgs,
    /// Wait until the WAL files that the backup needs are archived
    #[arg(short, long, help_heading = WAITING)]
    pub wait: bool,
    /// Most seconds to wait, 0 for no limit
    #[arg(long, value_name = "SECONDS", value_parser = non_negative, help_heading = WAITING)]
    pub wait_timeout: Option<u64>,
    /// Taken and not needed: no connection is idle during the copy
    #[arg(long, value_name = "SECONDS", value_parser = non_negative, help_heading = METHOD)]
    pub keepalive_interval: Option<u64>,
    /// A friendly name for the backup
    #[arg(long, value_name = "NAME", value_parser = backup_name)]
    pub name: Option<String>,
    /// Write a backup manifest (rsync methods)
    #[arg(long, overrides_with = "no_manifest", help_heading = METHOD)]
    pub manifest: bool,
    /// Write no backup manifest (rsync methods)
    #[arg(long, overrides_with = "manifest", help_heading = METHOD)]
    pub no_manifest: bool,
    /// Most seconds for the checks before the backup, 0 for no limit
    #[arg(long, value_name = "SECONDS", value_parser = non_negative)]
    pub check_timeout: Option<u64>,
    /// Where parts wait for their upload (cloud storage)
    #[arg(long, value_name = "PATH", value_parser = absolute_path, help_heading = CLOUD)]
    pub cloud_staging_directory: Option<PathBuf>,
    /// Most space for waiting parts (cloud storage)
    #[arg(long, value_name = "SIZE", value_parser = OptionalSizeParser, help_heading = CLOUD)]
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

/// `barman delete`.
#[derive(Debug, Clone, Args)]
pub struct DeleteArgs {
    /// Name of the server
    #[arg(value_name = "SERVER")]
    pub server: String,
    /// Backup ID, name, or one of latest, oldest, last-failed, latest-full
    #[arg(value_name = "BACKUP_ID")]
    pub backup_id: String,
    /// Only tell what would be removed, and why; change nothing
    #[arg(long)]
    pub dry_run: bool,
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

/// `barman retention`.
#[derive(Debug, Clone, Args)]
pub struct RetentionArgs {
    /// Names of servers, or 'all'
    #[arg(value_name = "SERVER", required = true)]
    pub servers: Vec<String>,
    /// Tell why, and what the next cron would delete, with which WAL files
    #[arg(long)]
    pub explain: bool,
}
