//! What `cron` deletes: interrupted deletions always, obsolete backups if there is a policy.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use barman_catalog::deletion::{self, Trigger};
use barman_catalog::retention::{self, RetentionStatus};
use barman_catalog::{BackupId, Catalog};
use barman_wal::lock::Lock;
use serde::Serialize;

use super::{DeleteError, TARGET, tree};
use crate::context::{Context, Level};
use crate::ops::list_backups::{Problem, retention_report};
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
    let mut told = BTreeSet::new();
    tell_broken(server, &catalog, &mut told, ctx);
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
    tell_broken(server, &catalog, &mut told, ctx);
    if let Err(e) = deletion::sweep_stale_marks(layout, &catalog) {
        log::warn!(target: TARGET, "{e}");
    }
    let trees = doomed(server, &catalog, ctx);
    if let Some(id) = last_to_recover_from(server, &catalog, ctx) {
        ctx.say(
            Level::Warning,
            TARGET,
            &crate::ops::retention::warning(server, id),
        );
    }
    for tree in trees {
        if ctx.cancel.is_requested() {
            break;
        }
        let Some(root) = tree.last().copied() else {
            continue;
        };
        if let Err(e) = tree::delete(server, root, Trigger::Policy, &mut report.deleted, ctx) {
            let (level, text) = match &e {
                DeleteError::Busy { id, source, .. } if source.is_busy() => {
                    let name = server.name();
                    let text = format!(
                        "Another action is in progress for the backup {id} of server {name}, skipping retention policy application"
                    );
                    (Level::Warning, text)
                }
                // Kept since it was decided.
                DeleteError::Refused { .. } => (Level::Warning, e.to_string()),
                other => (Level::Error, other.to_string()),
            };
            ctx.say(level, TARGET, &text);
            report.failed.push((root, text));
        }
    }
    Ok(report)
}

/// Tells of the backups that cannot be read, each once: nothing is decided about them.
fn tell_broken(server: &Server, catalog: &Catalog, told: &mut BTreeSet<PathBuf>, ctx: &Context<'_>) {
    for broken in catalog.broken() {
        if told.insert(broken.path.clone()) {
            ctx.say(
                Level::Error,
                TARGET,
                Problem::broken(server.name(), broken).text(),
            );
        }
    }
}

/// What has to go, trees in ascending order of their roots, leaves first.
fn doomed(server: &Server, catalog: &Catalog, ctx: &Context<'_>) -> Vec<Vec<BackupId>> {
    deletion::obsolete_trees(catalog, &words(server, catalog, ctx))
}

/// The backup with which recovery to later moments goes.
fn last_to_recover_from(server: &Server, catalog: &Catalog, ctx: &Context<'_>) -> Option<BackupId> {
    retention::loses_recovery(catalog, &words(server, catalog, ctx))
}

fn words(server: &Server, catalog: &Catalog, ctx: &Context<'_>) -> BTreeMap<BackupId, RetentionStatus> {
    let now = ctx.clock.now().timestamp();
    retention_report(server.config(), catalog, now).unwrap_or_default()
}
