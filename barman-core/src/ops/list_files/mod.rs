//! `list-files`: the files that belong to a backup, one after the other as they are found.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use barman_catalog::ids::ResolveError;
use barman_catalog::listing::{self, EmptyDirectories};
use barman_catalog::xlogdb::{self, XlogDbError};
use barman_catalog::{BackupInfo, Catalog, CatalogError};
use barman_wal::lock::LockError;

use crate::context::Context;
use crate::failure::{Class, Failure};
use crate::ops::list_backups::{Problem, custom_magic};
use crate::ops::selection;
use crate::server::Server;

/// Which files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The backup, and the WAL that makes it consistent.
    Standalone,
    /// The backup.
    Data,
    /// The WAL up to the next backup.
    Wal,
    /// The backup, and the WAL up to the next backup.
    Full,
}

/// What else there is to say when the list is complete.
#[derive(Debug, Clone, Default)]
pub struct ListFilesReport {
    /// Why the list lacks WAL.
    pub warnings: Vec<String>,
    /// What could not be read; the exit code becomes 1.
    pub problems: Vec<String>,
}

/// Why there is no list, or no end of it.
#[derive(Debug, thiserror::Error)]
pub enum ListFilesError {
    /// The catalogue.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// No such backup.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The WAL catalogue.
    #[error(transparent)]
    XlogDb(#[from] XlogDbError),
    /// A directory of the backup.
    #[error("cannot list '{}': {source}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What to list is not on this host.
    #[error("The {what} of server '{server}' is in cloud storage, whose files cannot be listed yet")]
    Cloud {
        /// Base backups or WAL archive.
        what: &'static str,
        /// The server.
        server: String,
    },
    /// The user stopped it.
    #[error("the list was interrupted")]
    Interrupted,
}

impl Failure for ListFilesError {
    fn class(&self) -> Class {
        match self {
            Self::Interrupted
            | Self::XlogDb(XlogDbError::Lock {
                source: LockError::Cancelled { .. },
                ..
            }) => Class::Interrupted,
            _ => Class::Error,
        }
    }
}

/// Tells `each` the files of the backup that `argument` (id, shortcut or name) selects. Works without PostgreSQL and
/// changes nothing. When `each` wants no more (its reader has gone away), the list ends without an error.
///
/// # Errors
/// No such backup; a directory or the WAL catalogue cannot be read. What was told until then is right.
pub fn run(
    server: &Server,
    argument: &str,
    target: Target,
    empty: EmptyDirectories,
    each: &mut dyn FnMut(&Path) -> ControlFlow<()>,
    ctx: &Context<'_>,
) -> Result<ListFilesReport, ListFilesError> {
    let catalog = Catalog::load(server.layout())?;
    let backup = selection::select(&catalog, argument, ctx)?;
    let mut report = ListFilesReport::default();
    let cloud = |what| ListFilesError::Cloud {
        what,
        server: server.name().to_owned(),
    };
    if target != Target::Wal {
        if server.config().basebackups_in_cloud() {
            return Err(cloud("base backups"));
        }
        if data(server, backup, empty, each, ctx)?.is_break() {
            return Ok(report);
        }
    }
    if target != Target::Data && server.config().wals_in_cloud() {
        return Err(cloud("WAL archive"));
    }
    match target {
        Target::Data => {}
        Target::Standalone => consistent(server, backup, each, &mut report, ctx)?,
        Target::Wal | Target::Full => until_next(server, &catalog, backup, each, &mut report, ctx)?,
    }
    Ok(report)
}

fn data(
    server: &Server,
    backup: &BackupInfo,
    empty: EmptyDirectories,
    each: &mut dyn FnMut(&Path) -> ControlFlow<()>,
    ctx: &Context<'_>,
) -> Result<ControlFlow<()>, ListFilesError> {
    let mut stopped = false;
    let mut watched = |path: &Path| {
        stopped = ctx.cancel.is_requested();
        if stopped {
            ControlFlow::Break(())
        } else {
            each(path)
        }
    };
    let walked = listing::walk_data(&server.layout().base_directory(backup.id), empty, &mut watched)
        .map_err(|(path, source)| ListFilesError::Directory { path, source })?;
    if stopped {
        Err(ListFilesError::Interrupted)
    } else {
        Ok(walked)
    }
}

fn consistent(
    server: &Server,
    backup: &BackupInfo,
    each: &mut dyn FnMut(&Path) -> ControlFlow<()>,
    report: &mut ListFilesReport,
    ctx: &Context<'_>,
) -> Result<(), ListFilesError> {
    match listing::consistent_wal(backup) {
        Ok(segments) => {
            for segment in segments {
                if ctx.cancel.is_requested() {
                    return Err(ListFilesError::Interrupted);
                }
                if each(&server.layout().wal_path(&segment.into())).is_break() {
                    break;
                }
            }
        }
        Err(reason) => report.warnings.push(format!(
            "Backup {} of server {} has status {}: {reason}",
            backup.id,
            server.name(),
            backup.status
        )),
    }
    Ok(())
}

fn until_next(
    server: &Server,
    catalog: &Catalog,
    backup: &BackupInfo,
    each: &mut dyn FnMut(&Path) -> ControlFlow<()>,
    report: &mut ListFilesReport,
    ctx: &Context<'_>,
) -> Result<(), ListFilesError> {
    if backup.begin_wal.is_none() {
        report.warnings.push(format!(
            "Backup {} of server {} has status {}: it is not known where it begins, so no WAL is listed",
            backup.id,
            server.name(),
            backup.status
        ));
        return Ok(());
    }
    let cancel = ctx.cancel.flag();
    let db = xlogdb::read(server.layout(), &custom_magic(server.config()), Some(&cancel))?;
    for line in db.bad_lines() {
        report
            .problems
            .push(Problem::bad_line(server.name(), line).text().to_owned());
    }
    for name in listing::wal_until_next(&db, backup, catalog.next(backup.id)) {
        if ctx.cancel.is_requested() {
            return Err(ListFilesError::Interrupted);
        }
        if each(&server.layout().wal_path(&name)).is_break() {
            break;
        }
    }
    Ok(())
}
