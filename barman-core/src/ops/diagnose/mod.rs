//! `barman diagnose`: everything that helps to analyse a problem from afar: the hosts, the configuration, what
//! PostgreSQL says, what the catalogue holds. Changes nothing.
//!
//! All servers are in it, whatever their state, and are asked at the same time, each within its `check_timeout`. What
//! cannot be found out of one is missing, is told, and keeps nothing else from being told.

mod system;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use barman_catalog::xlogdb::{WalRecord, XlogDb};
use barman_catalog::{BackupInfo, Catalog};
use barman_pg::ConnInfo;
use barman_pg::sql::{RemoteStatus, StreamingStatus};
use barman_wal::{TimelineId, WalFileName};
use jiff::Zoned;

pub use system::SystemInfo;

use crate::config::{BackupMethod, Config, ServerConfig};
use crate::context::Context;
use crate::ops::deadline::{self, Ended};
use crate::ops::list_backups::Problem;
use crate::ops::parallel;
use crate::server::{ArchiveSettings, Remote, Server};

/// Everything that was found out.
#[derive(Debug)]
pub struct DiagnoseReport {
    /// This host.
    pub system: SystemInfo,
    /// When it was asked.
    pub at: Zoned,
    /// The servers, in the order of the configuration.
    pub servers: Vec<ServerDiagnosis>,
}

/// What was found out about one server, besides its configuration.
#[derive(Debug)]
pub struct ServerDiagnosis {
    /// Its name.
    pub server: String,
    /// Its backups, of every status.
    pub backups: Vec<BackupInfo>,
    /// What PostgreSQL says; `None` for inactive servers and passive nodes, which are not asked.
    pub status: Option<ServerStatus>,
    /// Its host, if it can be reached by `ssh_command`.
    pub system: Option<SystemInfo>,
    /// The newest archived segment of each timeline.
    pub last_wals: BTreeMap<TimelineId, WalRecord>,
    /// What could not be found out, and why.
    pub problems: Vec<String>,
}

/// What PostgreSQL says of itself.
#[derive(Debug)]
pub struct ServerStatus {
    /// On the SQL connection; `None` if there is none, for want of a usable `conninfo`.
    pub sql: Option<RemoteStatus>,
    /// On the replication connection; `None` if there is none.
    pub streaming: Option<StreamingStatus>,
    /// About its archiving; `None` unless `archiver` is on.
    pub archiving: Option<ArchiveSettings>,
    /// Whether base backups come by the built-in client of the replication protocol.
    pub takes_base_backups: bool,
    /// Whether WAL does, and if so whether PostgreSQL waits for it as for a synchronous standby (if that is known).
    pub receives_wal: Option<Option<bool>>,
}

/// Finds out everything. A request to stop ends the waiting; the report has what was found by then.
#[must_use]
pub fn run(config: &Config, ctx: &Context<'_>) -> DiagnoseReport {
    DiagnoseReport {
        system: SystemInfo::of_this_host(ctx),
        at: ctx.clock.now(),
        servers: parallel::map(&config.servers, |server| diagnose(server, ctx)),
    }
}

fn diagnose(config: &ServerConfig, ctx: &Context<'_>) -> ServerDiagnosis {
    let mut problems = Vec::new();
    let mut server = Server::new(config.clone());
    let status = server.connects().then(|| {
        deadline::within(&mut server, config.check_timeout, ctx, |server, deadline| {
            let status = ask(server);
            if deadline.ended() == Some(Ended::TimedOut) {
                problems.push("PostgreSQL did not answer within check_timeout".to_owned());
            }
            status
        })
    });
    let backups = match Catalog::load(server.layout()) {
        Ok(catalog) => {
            let broken = catalog.broken().iter();
            problems.extend(broken.map(|broken| Problem::broken(&config.name, broken).text().to_owned()));
            catalog.backups().cloned().collect()
        }
        Err(error) => {
            problems.push(error.to_string());
            Vec::new()
        }
    };
    let last_wals = last_wals(&server).unwrap_or_else(|reason| {
        problems.push(reason);
        BTreeMap::new()
    });
    let system = match config.ssh_command.as_deref() {
        Some(ssh) => SystemInfo::by_ssh(ssh, config, ctx)
            .map_err(|reason| problems.push(format!("the host of PostgreSQL cannot be asked: {reason}")))
            .ok(),
        None => None,
    };
    ServerDiagnosis {
        server: config.name.clone(),
        backups,
        status,
        system,
        last_wals,
        problems,
    }
}

/// Asks PostgreSQL.
fn ask(server: &mut Server) -> ServerStatus {
    let usable = |text: Option<&str>| text.is_some_and(|text| ConnInfo::parse(text).is_ok());
    let remote = Remote::gather(server);
    let config = server.config();
    let (sql_usable, streaming_usable) = (
        usable(config.conninfo.as_deref()),
        usable(config.streaming_conninfo.as_deref()),
    );
    let name = config.streaming_archiver_name.clone();
    let receives_wal = config.streaming_archiver.then(|| {
        let names = remote.sql.synchronous_standby_names.as_ref();
        names.map(|names| names.iter().any(|one| one == "*" || Some(one) == name.as_ref()))
    });
    let takes_base_backups = config.backup_method == BackupMethod::Postgres;
    let archiving = config.archiver.then(|| match remote.sql.server_txt_version {
        Some(_) => ArchiveSettings::gather(server),
        None => ArchiveSettings::default(),
    });
    ServerStatus {
        sql: sql_usable.then_some(remote.sql),
        streaming: remote.streaming.filter(|_| streaming_usable),
        archiving,
        takes_base_backups,
        receives_wal,
    }
}

/// The newest archived segment of each timeline.
fn last_wals(server: &Server) -> Result<BTreeMap<TimelineId, WalRecord>, String> {
    // Without the lock: whoever holds the catalogue for long must not hold us, and lines are only ever added to the file
    // of a name. The last one may be half there, and is left out then.
    let path = server.layout().xlogdb();
    let db = match File::open(&path).and_then(XlogDb::parse) {
        Ok(db) => db,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    let mut last: BTreeMap<TimelineId, WalRecord> = BTreeMap::new();
    for record in db.iter() {
        let WalFileName::Segment(segment) = record.name else {
            continue;
        };
        let known = last.entry(segment.timeline).or_insert(record);
        if known.name <= record.name {
            *known = record;
        }
    }
    Ok(last)
}
