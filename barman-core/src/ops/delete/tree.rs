//! Deletes a backup with everything that is based on it.

use std::time::Instant;

use barman_catalog::backup_info::StoreError;
use barman_catalog::deletion::{self, DeletionError, Mandate, Refusal, Trigger};
use barman_catalog::ids::ResolveError;
use barman_catalog::{BackupId, Catalog};
use barman_wal::lock::Lock;

use super::{DeleteError, TARGET, backup_busy, busy, explain_refusal, hook};
use crate::context::{Context, Level};
use crate::ops::list_backups::custom_magic;
use crate::server::Server;

/// Deletes `root` and all incremental backups based on it, leaves first; what is gone is added to `deleted`.
///
/// The lock of `root` is held from the beginning on. Nobody can be using a backup of the tree then, nor keep one: the
/// annotations are looked for under this lock. A backup that is gone already is fine.
pub(super) fn delete(
    server: &Server,
    root: BackupId,
    trigger: Trigger,
    deleted: &mut Vec<BackupId>,
    ctx: &Context<'_>,
) -> Result<(), DeleteError> {
    let layout = server.layout();
    let lock = |id| {
        Lock::try_acquire(&layout.id_lock(id)).map_err(|e| match trigger {
            Trigger::Manual => backup_busy(server, id, e, ctx),
            // Nothing has failed: the next run comes back.
            Trigger::Policy => busy(server, id, e),
        })
    };
    let mandate = Mandate {
        trigger,
        root: Some(root),
    };
    let mut of_root = Some(lock(root)?);
    let catalog = Catalog::load(layout)?;
    let order = catalog.tree_leaves_first(root);
    explain_refusal(server, unless_obstructed(server, &catalog, root, &order), ctx)?;
    for id in order {
        if ctx.cancel.is_requested() {
            return Err(DeleteError::Interrupted {
                server: server.name().to_owned(),
                id,
            });
        }
        let lock = match of_root.take_if(|_| id == root) {
            Some(lock) => lock,
            None => lock(id)?,
        };
        if delete_one(server, id, lock, mandate, ctx)? {
            deleted.push(id);
        }
    }
    Ok(())
}

/// What in the tree of `root`, whose backups are `order`, keeps all of it from being deleted, before anything is removed.
pub(super) fn unless_obstructed(
    server: &Server,
    catalog: &Catalog,
    root: BackupId,
    order: &[BackupId],
) -> Result<(), DeleteError> {
    kept(server, catalog, order)?;
    // What cannot be read would lose what it is based on.
    if let Some(child) = catalog
        .unreadable_child(order)
        .filter(|_| !catalog.is_being_deleted(root))
    {
        return Err(ResolveError::Unreadable {
            id: child.id.unwrap_or(root),
            server: server.name().to_owned(),
            reason: child.reason.clone(),
        }
        .into());
    }
    let has_snapshots = |id: &&BackupId| catalog.get(**id).is_some_and(|b| b.snapshots_info.is_some());
    match order.iter().find(has_snapshots) {
        Some(id) => Err(DeleteError::Deletion {
            server: server.name().to_owned(),
            id: *id,
            source: DeletionError::Snapshots { id: *id },
        }),
        None => Ok(()),
    }
}

/// Refuses to delete what is kept: by a user since it was decided, or an incremental backup by hand. A deletion that has
/// begun is finished.
fn kept(server: &Server, catalog: &Catalog, order: &[BackupId]) -> Result<(), DeleteError> {
    if order.last().is_some_and(|root| catalog.is_being_deleted(*root)) {
        return Ok(());
    }
    let find = |id: &BackupId| Some((*id, catalog.keep(*id).filter(|_| !catalog.is_being_deleted(*id))?));
    match order.iter().rev().find_map(find) {
        Some((id, keep)) => Err(DeleteError::Refused {
            server: server.name().to_owned(),
            id,
            refusal: Refusal::Kept { id, keep },
        }),
        None => Ok(()),
    }
}

/// Deletes one backup under its lock. `false` if it is gone already.
fn delete_one(
    server: &Server,
    id: BackupId,
    lock: Lock,
    mandate: Mandate,
    ctx: &Context<'_>,
) -> Result<bool, DeleteError> {
    let (layout, config) = (server.layout(), server.config());
    let began = Instant::now();
    let start = ctx.clock.now();
    let mut catalog = Catalog::load(layout)?;
    let Some(backup) = catalog.get(id).cloned() else {
        // One that cannot be read is not gone.
        return match catalog.broken().iter().find(|broken| broken.id == Some(id)) {
            Some(broken) => Err(ResolveError::Unreadable {
                id,
                server: server.name().to_owned(),
                reason: broken.reason.clone(),
            }
            .into()),
            None => Ok(false),
        };
    };
    if mandate.trigger == Trigger::Policy {
        let text = format!(
            "Enforcing retention policy: removing backup {id} for server {}",
            server.name()
        );
        ctx.say(Level::Info, TARGET, &text);
    }
    let mut observer = hook::Observer::new(server, &catalog, &backup, ctx);
    let cancel = ctx.cancel.flag();
    let custom = custom_magic(config);
    let result = deletion::delete_backup(
        layout,
        &mut catalog,
        id,
        mandate,
        &custom,
        &mut observer,
        Some(&cancel),
    );
    if let Some(error) = observer.take_hook_error() {
        return Err(error.into());
    }
    if let Err(source) = result {
        return match source {
            DeletionError::Store(StoreError::Missing { .. }) => Ok(false),
            source => {
                observer.after(Some(&source.to_string()));
                Err(DeleteError::Deletion {
                    server: server.name().to_owned(),
                    id,
                    source,
                })
            }
        };
    }
    let elapsed = crate::format::interval(began.elapsed());
    let text = format!(
        "Deleted backup {id} (start time: {}, elapsed time: {elapsed})",
        barman_catalog::timestamp::ctime(start.datetime())
    );
    ctx.say(Level::Info, TARGET, &text);
    observer.after(None);
    if let Err(e) = lock.remove() {
        log::debug!(target: TARGET, "{e}");
    }
    Ok(true)
}
