//! `delete --dry-run`: what a deletion would remove, and why. Nothing is written, no lock is kept.

use barman_catalog::deletion::{self, Step, Trigger};
use barman_catalog::xlogdb::{self, XlogDb};
use barman_catalog::{BackupId, Catalog};
use barman_wal::lock;
use serde::Serialize;

use super::{DeleteError, backup_busy, backups_busy, explain_refusal, plan, tree};
use crate::context::Context;
use crate::ops::list_backups::{Problem, custom_magic};
use crate::server::Server;

/// What a deletion would remove.
#[derive(Debug, Clone, Serialize)]
pub struct DeletePreview {
    /// The server.
    pub server: String,
    /// The backup that was named.
    pub backup_id: BackupId,
    /// The backups that would go, in this order.
    pub steps: Vec<Step>,
    /// What could not be read of the WAL catalogue; the exit code becomes 1, as that of the deletion would.
    pub problems: Vec<Problem>,
}

/// Tells what [`run`](super::run) would do now. It fails where that would: a backup that may not be deleted, a lock that
/// somebody has.
///
/// # Errors
/// No such backup, a refusal, a busy lock.
pub fn preview(server: &Server, argument: &str, ctx: &Context<'_>) -> Result<DeletePreview, DeleteError> {
    let layout = server.layout();
    let catalog = Catalog::load(layout)?;
    let planned = explain_refusal(server, plan(server, &catalog, argument), ctx)?;
    let id = planned.backup.id;
    let free = tree::unless_obstructed(server, &catalog, id, &planned.order);
    lock::check_free(&layout.backup_lock()).map_err(|e| backups_busy(server, id, e, ctx))?;
    for id in planned.order.iter().rev().copied() {
        lock::check_free(&layout.id_lock(id)).map_err(|e| backup_busy(server, id, e, ctx))?;
    }
    explain_refusal(server, free, ctx)?;
    let mut problems = Vec::new();
    let db = archive_listing(server, ctx, &mut problems);
    Ok(DeletePreview {
        server: server.name().to_owned(),
        backup_id: id,
        steps: deletion::forecast(&catalog, &planned.order, Trigger::Manual, &db),
        problems,
    })
}

/// What the WAL catalogue lists, read without changing anything. What cannot be read is told, not returned.
pub fn archive_listing(server: &Server, ctx: &Context<'_>, problems: &mut Vec<Problem>) -> XlogDb {
    let cancel = ctx.cancel.flag();
    match xlogdb::peek(server.layout(), &custom_magic(server.config()), Some(&cancel)) {
        Ok(db) => {
            let bad = db.bad_lines().iter();
            problems.extend(bad.map(|line| Problem::bad_line(server.name(), line)));
            db
        }
        Err(e) => {
            problems.push(Problem::WalCatalogue { text: e.to_string() });
            XlogDb::default()
        }
    }
}
