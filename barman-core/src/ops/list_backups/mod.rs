//! `list-backups`: every backup of a server with its sizes and what retention says about it.
//!
//! The catalogue is read once and the WAL catalogue is read once; all figures come from one index over it.

use barman_catalog::accounting::WalIndex;
use barman_catalog::retention::{self, RetentionStatus};
use barman_catalog::xlogdb::{self, BadLine};
use barman_catalog::{BackupId, BackupStatus, BackupType, BrokenBackup, Catalog, CatalogError, Timestamp};
use serde::Serialize;

use crate::config::{ServerConfig, WalCompression};
use crate::context::Context;
use crate::failure::Failure;
use crate::server::Server;

/// How much to find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Only the ids: the WAL catalogue is not read.
    Minimal,
    /// Sizes and retention too.
    Full,
}

/// What `list-backups` says about a server.
#[derive(Debug, Clone, Serialize)]
pub struct ListBackupsReport {
    /// The server's name in the configuration.
    pub server: String,
    /// The backups, newest first.
    pub backups: Vec<BackupLine>,
    /// What could not be read: the list goes on, the exit code becomes 1.
    pub problems: Vec<Problem>,
}

/// One backup.
#[derive(Debug, Clone, Serialize)]
pub struct BackupLine {
    /// The server's name as the backup has it.
    pub server_name: String,
    /// Its id.
    pub backup_id: BackupId,
    /// Its name.
    pub backup_name: Option<String>,
    /// Its type.
    pub backup_type: BackupType,
    /// How far it is.
    pub status: BackupStatus,
    /// Its deletion has begun.
    pub being_deleted: bool,
    /// What is known of a backup whose copy is done. `None` for others.
    pub complete: Option<CompleteBackup>,
}

/// What is listed of a backup whose copy is done.
#[derive(Debug, Clone, Serialize)]
pub struct CompleteBackup {
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// Bytes of the backup and the WAL it needs to be consistent.
    pub size_bytes: u64,
    /// Bytes of the WAL after it, up to the next backup.
    pub wal_size_bytes: u64,
    /// What the retention policy says; `None` when none is enforced.
    pub retention_status: Option<RetentionStatus>,
}

/// Something that could not be read.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// The metadata of one backup.
    Backup {
        /// The backup, if the name of its file tells.
        id: Option<BackupId>,
        /// The whole sentence.
        text: String,
    },
    /// The WAL catalogue: figures of WAL are missing or incomplete.
    WalCatalogue {
        /// The whole sentence, with what to do.
        text: String,
    },
}

impl Problem {
    /// What to tell the user, as an error.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Backup { text, .. } | Self::WalCatalogue { text } => text,
        }
    }

    pub(crate) fn broken(server: &str, broken: &BrokenBackup) -> Self {
        let what = match broken.id {
            Some(id) => format!("Cannot read the metadata of backup {id} of server {server}"),
            None => format!("There is a file of server {server} that is no backup's"),
        };
        Self::Backup {
            id: broken.id,
            text: format!("{what} ({}, {})", broken.path.display(), broken.reason),
        }
    }

    pub(crate) fn bad_line(server: &str, line: &BadLine) -> Self {
        let BadLine { number, text, reason } = line;
        Self::WalCatalogue {
            text: format!(
                "Line {number} of the WAL catalogue of server {server} is invalid ({reason}): {text:?}\n\
                 HINT: Please run \"barman rebuild-xlogdb {server}\" to solve this issue"
            ),
        }
    }
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum ListBackupsError {
    /// The catalogue.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Failure for ListBackupsError {}

/// Lists the backups of `server`. Works without PostgreSQL, for inactive, disabled and passive servers too, and
/// changes nothing.
///
/// # Errors
/// The directories of the catalogue cannot be read. Everything less is a [`Problem`] in the report.
pub fn run(
    server: &Server,
    detail: Detail,
    ctx: &Context<'_>,
) -> Result<ListBackupsReport, ListBackupsError> {
    let catalog = Catalog::load(server.layout())?;
    let mut problems: Vec<Problem> = catalog
        .broken()
        .iter()
        .map(|b| Problem::broken(server.name(), b))
        .collect();
    let index = match detail {
        Detail::Full => wal_index(server, &catalog, ctx, &mut problems),
        Detail::Minimal => WalIndex::default(),
    };
    let retention = retention_report(server.config(), &catalog, ctx.clock.now().timestamp());
    let backups = catalog
        .backups()
        .rev()
        .map(|backup| {
            let complete = (detail == Detail::Full && backup.status.is_copy_done()).then(|| {
                let figures = index.figures(backup, catalog.next(backup.id));
                CompleteBackup {
                    end_time: backup.end_time,
                    size_bytes: backup.size.unwrap_or(0).saturating_add(figures.wal_size),
                    wal_size_bytes: figures.wal_until_next_size,
                    retention_status: retention
                        .as_ref()
                        .map(|r| r.get(&backup.id).copied().unwrap_or(RetentionStatus::None)),
                }
            });
            BackupLine {
                server_name: backup.server_name.clone(),
                backup_id: backup.id,
                backup_name: backup.backup_name.clone(),
                backup_type: backup.backup_type(),
                status: backup.status,
                being_deleted: catalog.is_being_deleted(backup.id),
                complete,
            }
        })
        .collect();
    Ok(ListBackupsReport {
        server: server.name().to_owned(),
        backups,
        problems,
    })
}

/// The index of the WAL catalogue; without whole backups nobody needs one. Problems are reported, not returned: a
/// catalogue of backups is of use without its WAL figures.
pub(crate) fn wal_index(
    server: &Server,
    catalog: &Catalog,
    ctx: &Context<'_>,
    problems: &mut Vec<Problem>,
) -> WalIndex {
    if !catalog.backups().any(|b| b.status.is_copy_done()) {
        return WalIndex::default();
    }
    let cancel = ctx.cancel.flag();
    match xlogdb::read(server.layout(), &custom_magic(server.config()), Some(&cancel)) {
        Ok(db) => {
            problems.extend(
                db.bad_lines()
                    .iter()
                    .map(|line| Problem::bad_line(server.name(), line)),
            );
            WalIndex::new(&db)
        }
        Err(e) => {
            problems.push(Problem::WalCatalogue { text: e.to_string() });
            WalIndex::default()
        }
    }
}

/// What the server's policy says about each backup; `None` without a policy.
pub(crate) fn retention_report(
    config: &ServerConfig,
    catalog: &Catalog,
    now: jiff::Timestamp,
) -> Option<std::collections::BTreeMap<BackupId, RetentionStatus>> {
    let policy = config.retention_policy?;
    Some(retention::report(policy, config.minimum_redundancy, catalog, now))
}

/// How files of this server's `custom` compression are recognised.
pub(crate) fn custom_magic(config: &ServerConfig) -> xlogdb::CustomMagic {
    match (&config.custom_compression_magic, config.compression) {
        (Some(magic), _) => xlogdb::CustomMagic::Bytes(magic.clone()),
        (None, Some(WalCompression::Custom)) => xlogdb::CustomMagic::Anything,
        (None, _) => xlogdb::CustomMagic::None,
    }
}
