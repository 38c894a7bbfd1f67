//! Commands about servers as a whole: their state, configuration, maintenance and processes.

use crate::args::values::non_negative;
use clap::{Args, ValueEnum};

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
