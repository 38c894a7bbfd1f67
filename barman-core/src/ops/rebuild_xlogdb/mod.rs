//! `rebuild-xlogdb`: the WAL catalogue made anew from the archive. The old one stays in place until the new one is
//! complete and on disk.

use barman_catalog::xlogdb::{LockedXlogDb, RebuildReport, XlogDb, XlogDbError};
use barman_wal::lock::LockError;

use crate::context::{Context, Level};
use crate::failure::{Class, Failure};
use crate::ops::list_backups::custom_magic;
use crate::server::Server;

const TARGET: &str = "barman.server";

/// Why there is no new catalogue.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The archive is not on this host.
    #[error("rebuild-xlogdb is not supported for server '{server}': its WAL archive is in cloud storage")]
    Cloud {
        /// The server.
        server: String,
    },
    /// The lock, the archive, or writing.
    #[error(transparent)]
    XlogDb(#[from] XlogDbError),
    /// The user stopped it. The old catalogue is in place.
    #[error("the rebuild of the WAL catalogue of server {server} was interrupted")]
    Interrupted {
        /// The server.
        server: String,
    },
}

impl Failure for RebuildError {
    fn class(&self) -> Class {
        match self {
            Self::Interrupted { .. } => Class::Interrupted,
            _ => Class::Error,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::XlogDb(XlogDbError::Io {
                what: "open" | "read",
                path,
                ..
            }) => Some(format!(
                "what the old catalogue knows of encrypted WAL would be lost; to do without it, remove '{}' first",
                path.display()
            )),
            _ => None,
        }
    }
}

/// Makes the WAL catalogue of `server` anew. Waits for its lock. What the old one knows of the compression of encrypted
/// files is kept.
///
/// # Errors
/// The archive cannot be read, the catalogue not be written. The old one is in place then.
pub fn run(server: &Server, ctx: &Context<'_>) -> Result<RebuildReport, RebuildError> {
    let name = server.name();
    if server.config().wals_in_cloud() {
        return Err(RebuildError::Cloud {
            server: name.to_owned(),
        });
    }
    ctx.say(
        Level::Info,
        TARGET,
        &format!("Rebuilding xlogdb for server {name}"),
    );
    let cancel = ctx.cancel.flag();
    let interrupted = |error: XlogDbError| match error {
        XlogDbError::Lock {
            source: LockError::Cancelled { .. },
            ..
        } => RebuildError::Interrupted {
            server: name.to_owned(),
        },
        XlogDbError::Io { source, .. }
            if ctx.cancel.is_requested() && source.kind() == std::io::ErrorKind::Interrupted =>
        {
            RebuildError::Interrupted {
                server: name.to_owned(),
            }
        }
        error => error.into(),
    };
    let mut locked = LockedXlogDb::open(server.layout(), &custom_magic(server.config()), Some(&cancel))
        .map_err(interrupted)?;
    // What it knows of encrypted files is nowhere else: one that cannot be read is not to be replaced unseen.
    let is_missing = std::fs::symlink_metadata(server.layout().xlogdb())
        .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
    let old = if is_missing {
        XlogDb::default()
    } else {
        locked.peek().map_err(interrupted)?
    };
    let bytes: u64 = old.iter().fold(0, |sum, record| sum.saturating_add(record.size));
    ctx.progress
        .begin(&format!("Looking at WAL of {name}"), (bytes > 0).then_some(bytes));
    let progress = |done| ctx.progress.position(done);
    let result = locked.rebuild_watched(&old, Some(&progress));
    ctx.progress.end();
    let (_, report) = result.map_err(interrupted)?;
    let text = format!(
        "Done rebuilding xlogdb for server {name} (history: {}, backup_labels: {}, wal_file: {})",
        report.history, report.backup_labels, report.wal_file
    );
    ctx.say(Level::Info, TARGET, &text);
    Ok(report)
}
