//! `show-backup`: everything that is known about one backup.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use barman_catalog::accounting::{self, WalFigures};
use barman_catalog::backup_info::BackupInfo;
use barman_catalog::ids::{self, ResolveError};
use barman_catalog::retention::RetentionStatus;
use barman_catalog::{BackupId, BackupType, Catalog, CatalogError};
use barman_wal::codec;
use barman_wal::history::TimelineHistory;
use barman_wal::{Lsn, TimelineId, WalFileName};
use serde::Serialize;

use crate::context::Context;
use crate::failure::{Class, Failure};
use crate::ops::list_backups::{self, Problem};
use crate::ops::wal_codec::WalCodec;
use crate::server::Server;

/// What is known about one backup. Everything but `backup` is of use only when its copy is done.
#[derive(Debug, Clone, Serialize)]
pub struct ShowBackupReport {
    /// The fields of its `backup.info`.
    pub backup: BackupInfo,
    /// Its type.
    pub backup_type: BackupType,
    /// Its deletion has begun.
    pub being_deleted: bool,
    /// Its WAL.
    pub wal: WalFigures,
    /// The part of it that needed no room of its own.
    pub deduplication_ratio: f64,
    /// The timelines that branch off its WAL.
    pub child_timelines: Vec<TimelineId>,
    /// What retention says.
    pub retention: Retention,
    /// The older backup next to it.
    pub previous: Option<BackupId>,
    /// The newer backup next to it.
    pub next: Option<BackupId>,
    /// Of an incremental backup: what it is based on.
    pub chain: Option<Chain>,
    /// What could not be read; the exit code becomes 1.
    pub problems: Vec<Problem>,
}

/// What retention says about a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Retention {
    /// There is no policy.
    NotEnforced,
    /// The policy's word.
    Status(RetentionStatus),
}

impl Retention {
    /// The words in the report.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NotEnforced => "not enforced",
            Self::Status(status) => status.as_str(),
        }
    }
}

/// The chain of an incremental backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Chain {
    /// The oldest ancestor that exists.
    pub root: BackupId,
    /// The backup it is based on.
    pub parent: BackupId,
    /// How many backups there are from it to the root, both counted.
    pub size: usize,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum ShowBackupError {
    /// No such backup.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The catalogue.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Failure for ShowBackupError {
    fn class(&self) -> Class {
        Class::Error
    }
}

/// Shows the backup that `argument` (id, shortcut or name) selects. Works without PostgreSQL and changes nothing.
///
/// # Errors
/// No such backup; the catalogue cannot be read.
pub fn run(server: &Server, argument: &str, ctx: &Context<'_>) -> Result<ShowBackupReport, ShowBackupError> {
    let catalog = Catalog::load(server.layout())?;
    let backup = ids::resolve(&catalog, argument)?;
    let id = backup.id;
    let mut problems: Vec<Problem> = catalog
        .broken()
        .iter()
        .map(|b| Problem::broken(server.name(), b))
        .collect();
    let complete = backup.status.is_copy_done();
    let (wal, child_timelines) = if complete {
        let index = list_backups::wal_index(server, &catalog, ctx, &mut problems);
        let children = accounting::child_timelines(backup, branches(server, backup, ctx));
        (index.figures(backup, catalog.next(id)), children)
    } else {
        (WalFigures::default(), Vec::new())
    };
    let retention =
        match list_backups::retention_report(server.config(), &catalog, ctx.clock.now().timestamp()) {
            Some(report) => Retention::Status(report.get(&id).copied().unwrap_or(RetentionStatus::None)),
            None => Retention::NotEnforced,
        };
    let chain = backup.parent_backup_id.map(|parent| {
        let chain = catalog.chain(id);
        Chain {
            root: chain.last().map_or(id, |root| root.id),
            parent,
            size: chain.len(),
        }
    });
    Ok(ShowBackupReport {
        backup_type: backup.backup_type(),
        being_deleted: catalog.is_being_deleted(id),
        wal,
        deduplication_ratio: backup.deduplication_ratio(),
        child_timelines,
        retention,
        previous: catalog.previous(id).map(|b| b.id),
        next: catalog.next(id).map(|b| b.id),
        chain,
        problems,
        backup: backup.clone(),
    })
}

/// A history file is never so large.
const MAX_HISTORY: u64 = 1 << 20;

/// The ancestors of the later timelines whose history files are in the archive. One that is missing hides no other:
/// each file has all of its timeline's ancestors.
fn branches(
    server: &Server,
    backup: &BackupInfo,
    ctx: &Context<'_>,
) -> Vec<(TimelineId, Vec<(TimelineId, Lsn)>)> {
    let Some(own) = backup.timeline else {
        return Vec::new();
    };
    let mut branches = Vec::new();
    for timeline in later_timelines(&server.layout().wals_directory, own) {
        let name = WalFileName::History(timeline);
        let path = server.layout().wal_path(&name);
        let parsed = File::open(&path)
            .and_then(|file| read_history(server, name, &file, ctx))
            .map_err(|e| e.to_string())
            .and_then(|content| TimelineHistory::parse(timeline, &content).map_err(|e| e.to_string()));
        match parsed {
            Ok(history) => {
                let entries = history.entries().iter();
                branches.push((timeline, entries.map(|e| (e.parent, e.switch_point)).collect()));
            }
            Err(e) => log::warn!(target: "barman.server", "cannot read {}: {e}", path.display()),
        }
    }
    branches
}

/// The timelines after `own` that have a history file in the archive, ascending.
fn later_timelines(archive: &Path, own: TimelineId) -> BTreeSet<TimelineId> {
    let entries = match std::fs::read_dir(archive) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return BTreeSet::new(),
        Err(e) => {
            log::warn!(target: "barman.server", "cannot list {}: {e}", archive.display());
            return BTreeSet::new();
        }
    };
    entries
        .filter_map(|entry| match entry.ok()?.file_name().to_str()?.parse() {
            Ok(WalFileName::History(timeline)) if timeline > own => Some(timeline),
            _ => None,
        })
        .collect()
}

fn read_history(server: &Server, name: WalFileName, file: &File, ctx: &Context<'_>) -> io::Result<Vec<u8>> {
    let codec = WalCodec::new(server.config());
    let algorithm = codec.stored_as(name, &codec::first_bytes(file)?);
    let cancelled = || ctx.cancel.is_requested();
    let reader = codec.reader(algorithm, 1, file, &cancelled)?;
    let mut content = Vec::new();
    reader.take(MAX_HISTORY).read_to_end(&mut content)?;
    Ok(content)
}
