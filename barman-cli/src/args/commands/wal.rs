//! Commands about WAL files: receiving, archiving, fetching and checking them.

use crate::args::values::{integer, non_negative, path, positive};
use clap::Args;
use std::path::PathBuf;

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
