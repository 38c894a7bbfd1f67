//! What `cron` deletes: interrupted deletions always, obsolete backups if there is a policy.

use std::collections::BTreeSet;

use barman_catalog::deletion::{self, Trigger};
use barman_catalog::retention::RetentionStatus;
use barman_catalog::{BackupId, Catalog};
use barman_wal::lock::Lock;
use serde::Serialize;

use super::{DeleteError, TARGET, delete_one};
use crate::context::{Context, Level};
use crate::ops::list_backups::retention_report;
use crate::server::Server;

/// What retention has done.
#[derive(Debug, Clone, Default, Serialize)]
pub struct EnforceReport {
    /// The backups that are gone.
    pub deleted: Vec<BackupId>,
    /// Those that should go, and why they did not.
    pub failed: Vec<(BackupId, String)>,
}

/// Deletes what the retention policy calls obsolete and finishes deletions that were interrupted (those without a
/// policy too). Incrementals go before what they are based on. A kept backup stays, and so does everything when a
/// backup is being taken: the next run comes back.
///
/// # Errors
/// The catalogue cannot be read. A backup that cannot be deleted is reported and does not stop the others.
pub fn enforce_retention(server: &Server, ctx: &Context<'_>) -> Result<EnforceReport, DeleteError> {
    let layout = server.layout();
    let mut report = EnforceReport::default();
    let catalog = Catalog::load(layout)?;
    if doomed(server, &catalog, ctx).is_empty() && catalog.stale_deletions().next().is_none() {
        return Ok(report);
    }
    let _backups = match Lock::try_acquire(&layout.backup_lock()) {
        Ok(lock) => lock,
        Err(e) => {
            log::info!(target: TARGET, "retention of server {} is put off: {e}", server.name());
            return Ok(report);
        }
    };
    // Again, now that nobody else can change it.
    let catalog = Catalog::load(layout)?;
    if let Err(e) = deletion::sweep_stale_marks(layout, &catalog) {
        log::warn!(target: TARGET, "{e}");
    }
    let mut stuck = BTreeSet::new();
    for (id, trigger) in doomed(server, &catalog, ctx) {
        if ctx.cancel.is_requested() {
            break;
        }
        // What is based on a backup that could not be deleted is gone or stays; what it is based on must stay.
        if catalog.children(id).iter().any(|child| stuck.contains(child)) {
            stuck.insert(id);
            continue;
        }
        let text = format!(
            "Enforcing retention policy: removing backup {id} for server {}",
            server.name()
        );
        ctx.say(Level::Info, TARGET, &text);
        match delete_one(server, id, trigger, ctx) {
            Ok(true) => report.deleted.push(id),
            Ok(false) => {}
            Err(e) => {
                stuck.insert(id);
                ctx.say(Level::Warning, TARGET, &e.to_string());
                report.failed.push((id, e.to_string()));
            }
        }
    }
    Ok(report)
}

/// What has to go, trees in ascending order of their roots, leaves first.
fn doomed(server: &Server, catalog: &Catalog, ctx: &Context<'_>) -> Vec<(BackupId, Trigger)> {
    let now = ctx.clock.now().timestamp();
    let words = retention_report(server.config(), catalog, now).unwrap_or_default();
    let goes = |id: BackupId| {
        let begun = catalog.is_being_deleted(id);
        let obsolete = words.get(&id) == Some(&RetentionStatus::Obsolete) && catalog.keep(id).is_none();
        begun || obsolete
    };
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    for root in catalog.backups().map(|b| b.id).filter(|id| goes(*id)) {
        // With a backup goes what is based on it, whatever is said about that.
        for id in catalog.tree_leaves_first(root) {
            if seen.insert(id) {
                order.push((id, Trigger::Policy));
            }
        }
    }
    order
}
