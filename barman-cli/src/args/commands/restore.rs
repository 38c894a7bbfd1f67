//! `restore`, the command with the most options.

use super::{CopyArgs, RATE};
use crate::args::values::{TargetTimeline, path, target_timeline};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

const RECOVERY_TARGET: &str = "Recovery target";
const WAL_FILES: &str = "WAL files";
const STAGING: &str = "Staging";
const SNAPSHOTS: &str = "Snapshot backups";

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
    #[arg(value_name = "DESTINATION_DIRECTORY", value_parser = path())]
    pub destination_directory: PathBuf,

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
