//! `barman status`: the live state of servers, PostgreSQL's and the catalogue's. Changes nothing.
//!
//! Inactive, disabled and passive servers have a state too. Servers are asked at the same time, each within its
//! `check_timeout`; one that is down or hangs is said to be so, and nobody waits for it longer.

use barman_catalog::{BackupId, BackupStatus, Catalog, retention};
use jiff::Zoned;
use serde::Serialize;

use crate::config::{RetentionPolicy, ServerConfig};
use crate::context::Context;
use crate::ops::deadline::{self, Ended};
use crate::ops::list_backups::Problem;
use crate::ops::parallel;
use crate::server::{ArchiveSettings, Remote, Server};

/// The state of one server.
#[derive(Debug, Clone, Serialize)]
pub struct StatusReport {
    /// Its name.
    pub server: String,
    /// Its description, if it has one.
    pub description: Option<String>,
    /// Whether anything is done with it.
    pub active: bool,
    /// Whether its configuration has errors.
    pub disabled: bool,
    /// The configuration model in force.
    pub active_model: Option<String>,
    /// PostgreSQL; `None` for inactive servers and passive nodes, which are not asked.
    pub postgres: Option<Postgres>,
    /// How PostgreSQL's own archiving goes; `None` unless `archiver` is on and PostgreSQL answers.
    pub archiving: Option<Archiving>,
    /// Whether backups come from another Barman node.
    pub passive: bool,
    /// The policy that is enforced.
    #[serde(serialize_with = "shown")]
    pub retention_policy: Option<RetentionPolicy>,
    /// What the catalogue holds; `None` if it cannot be read ([`Self::problems`] tells why).
    pub backups: Option<Backups>,
    /// How a passive node reaches its primary node.
    pub primary_ssh_command: Option<String>,
    /// What could not be read on this host; the exit code becomes 1.
    pub problems: Vec<Problem>,
}

/// PostgreSQL's state.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Postgres {
    /// It gave no answer.
    Unreachable {
        /// Why.
        reason: Option<String>,
    },
    /// It answered; what the role may not see is missing.
    Answered {
        /// The version in the words of `version()`.
        version: String,
        /// Whether it is a standby.
        in_recovery: Option<bool>,
        /// Bytes of all tablespaces.
        size: Option<u64>,
        /// Its data directory.
        data_directory: Option<String>,
        /// The segment it writes; none on a standby.
        current_wal: Option<String>,
        /// Why something is missing, if it stopped answering.
        incomplete: Option<String>,
    },
}

/// PostgreSQL's own archiving.
#[derive(Debug, Clone, Serialize)]
pub struct Archiving {
    /// `archive_command`; `None` if it is empty.
    pub command: Option<String>,
    /// `archive_library` (from 15 on), which makes a command unnecessary.
    pub library: Option<String>,
    /// What the statistics tell; `None` if they cannot be read.
    pub counters: Option<Counters>,
}

/// Statistics of PostgreSQL's archiver.
#[derive(Debug, Clone, Serialize)]
pub struct Counters {
    /// The last file that was archived, and when.
    #[serde(serialize_with = "named")]
    pub last_archived: Option<(String, Option<Zoned>)>,
    /// How often it failed.
    pub failed_count: i64,
    /// The last file that failed, and when.
    #[serde(serialize_with = "named")]
    pub last_failed: Option<(String, Option<Zoned>)>,
    /// Files in an hour, since the statistics were reset.
    pub hourly_rate: Option<f64>,
}

/// What the catalogue holds.
#[derive(Debug, Clone, Serialize)]
pub struct Backups {
    /// How many are complete.
    pub complete: usize,
    /// The oldest one whose copy is done.
    pub first: Option<BackupId>,
    /// The newest one whose copy is done.
    pub last: Option<BackupId>,
    /// How many count for the minimum redundancy.
    pub redundancy: u32,
    /// How many there have to be (`minimum_redundancy`).
    pub minimum_redundancy: u32,
}

fn shown<S: serde::Serializer>(policy: &Option<RetentionPolicy>, serializer: S) -> Result<S::Ok, S::Error> {
    policy.map(|policy| policy.to_string()).serialize(serializer)
}

fn named<S: serde::Serializer>(
    file: &Option<(String, Option<Zoned>)>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let file = file
        .as_ref()
        .map(|(name, time)| (name, time.as_ref().map(|time| time.timestamp().to_string())));
    file.serialize(serializer)
}

/// The state of every one of these servers, in their order; they are asked at the same time. A request to stop ends the
/// waiting: what was not asked by then is as if it could not be reached.
#[must_use]
pub fn run(servers: &[&ServerConfig], ctx: &Context<'_>) -> Vec<StatusReport> {
    let mut reports = Vec::with_capacity(servers.len());
    run_each(servers, ctx, |report| reports.push(report));
    reports
}

/// As [`run`], but each report is handed over as soon as it and those before it are there.
pub fn run_each(servers: &[&ServerConfig], ctx: &Context<'_>, found: impl FnMut(StatusReport)) {
    parallel::each(servers, |config| of(config, ctx), found);
}

fn of(config: &ServerConfig, ctx: &Context<'_>) -> StatusReport {
    let mut server = Server::new(config.clone());
    let (postgres, archiving) = if server.connects() {
        let (postgres, archiving) = deadline::within(&mut server, config.check_timeout, ctx, ask);
        (Some(postgres), archiving)
    } else {
        (None, None)
    };
    let mut problems = Vec::new();
    let backups = match Catalog::load(server.layout()) {
        Ok(catalog) => {
            problems.extend(catalog.broken().iter().map(|b| Problem::broken(&config.name, b)));
            Some(backups(&catalog, config))
        }
        Err(error) => {
            problems.push(Problem::Backup {
                id: None,
                text: error.to_string(),
            });
            None
        }
    };
    StatusReport {
        server: config.name.clone(),
        description: config.description.clone(),
        active: config.active,
        disabled: config.disabled,
        active_model: config.active_model.clone(),
        postgres,
        archiving,
        passive: config.is_passive(),
        retention_policy: config.retention_policy,
        backups,
        primary_ssh_command: config.primary_ssh_command.clone(),
        problems,
    }
}

/// Asks PostgreSQL.
fn ask(server: &mut Server, deadline: &deadline::Deadline) -> (Postgres, Option<Archiving>) {
    // The replication connection has nothing that is shown.
    let remote = Remote::gather_sql(server);
    let late = || match deadline.ended() {
        Some(Ended::TimedOut) => Some("it did not answer within check_timeout".to_owned()),
        Some(Ended::Cancelled(_)) => Some("interrupted".to_owned()),
        None => None,
    };
    let Some(version) = remote.sql.server_txt_version else {
        let reason = late().or(remote.sql_error).or(remote.sql.failure);
        return (Postgres::Unreachable { reason }, None);
    };
    let archiving = (server.config().archiver && remote.sql.failure.is_none())
        .then(|| ArchiveSettings::gather(server))
        .and_then(archiving);
    let postgres = Postgres::Answered {
        version,
        in_recovery: remote.sql.is_in_recovery,
        size: remote.sql.current_size.flatten(),
        data_directory: remote.sql.data_directory,
        current_wal: remote.sql.current_xlog,
        incomplete: late().or(remote.sql.failure),
    };
    (postgres, archiving)
}

fn archiving(settings: ArchiveSettings) -> Option<Archiving> {
    settings.mode?;
    let set = |value: Option<String>| value.filter(|value| !value.is_empty());
    let counters = settings.stats.map(|stats| {
        let rate = stats
            .current_archived_wals_per_second
            .and_then(|text| text.parse::<f64>().ok());
        Counters {
            last_archived: stats
                .last_archived_wal
                .map(|name| (name, stats.last_archived_time)),
            failed_count: stats.failed_count,
            last_failed: stats.last_failed_wal.map(|name| (name, stats.last_failed_time)),
            hourly_rate: rate.map(|rate| rate * 3600.0),
        }
    });
    Some(Archiving {
        command: set(settings.command),
        library: set(settings.library),
        counters,
    })
}

fn backups(catalog: &Catalog, config: &ServerConfig) -> Backups {
    let copied = || catalog.usable().filter(|backup| backup.status.is_copy_done());
    Backups {
        complete: catalog
            .usable()
            .filter(|backup| backup.status == BackupStatus::Done)
            .count(),
        first: copied().next().map(|backup| backup.id),
        last: copied().next_back().map(|backup| backup.id),
        redundancy: retention::redundancy(catalog),
        minimum_redundancy: config.minimum_redundancy,
    }
}
