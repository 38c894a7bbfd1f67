//! Backups in use: who reads a backup, or builds on it, keeps it from being deleted.
//!
//! The locks are shared ones on Barman's `.SERVER-ID.lock`: any number of restores and exports go together, and a
//! deletion, which needs the lock for itself, is refused, Barman's too. They end with the process that holds them.
//! A backup is of no use without what it is based on, so the whole chain up to the root is held. Whoever deletes a
//! tree therefore knows from the lock of its root whether any backup of it is in use.

use crate::catalog::{Catalog, CatalogError};
use crate::ids::BackupId;
use crate::layout::Layout;
use barman_wal::lock::{Lock, LockError};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How long to wait for somebody who changes a `backup.info`; a deletion takes longer.
const WAIT: Duration = Duration::from_secs(2);
/// How often a chain may turn out to be another one than that which was locked.
const ATTEMPTS: usize = 10;

/// Shared locks on a backup and on everything that it is based on. Dropping them releases the backups.
#[derive(Debug)]
#[must_use = "the backups are held until this is dropped"]
pub struct InUse {
    locks: Vec<(BackupId, Lock)>,
}

impl InUse {
    /// The backups that are held: the backup first, its root last.
    pub fn ids(&self) -> impl Iterator<Item = BackupId> {
        self.locks.iter().map(|(id, _)| *id)
    }
}

/// Why a backup cannot be used now.
#[derive(Debug, thiserror::Error)]
pub enum InUseError {
    /// Somebody changes or deletes it, or a backup that it is based on.
    #[error("backup {id} of server {server} is locked{}", pid.map(|pid| format!(" by process {pid}")).unwrap_or_default())]
    Busy {
        /// Which.
        id: BackupId,
        /// The server.
        server: String,
        /// Who, as far as is known.
        pid: Option<u32>,
    },
    /// Its deletion, or that of a backup that it is based on, has begun.
    #[error("backup {id} of server {server} is being deleted")]
    BeingDeleted {
        /// Which.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// It is gone.
    #[error("backup {id} of server {server} does not exist any more")]
    Gone {
        /// Which.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// The lock could not be taken for another reason.
    #[error("cannot lock backup {id}: {source}")]
    Lock {
        /// Which.
        id: BackupId,
        /// Why.
        source: LockError,
    },
    /// The catalogue.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// Keeps `id` and everything that it is based on from being deleted while the first result lives. The second one is
/// the catalogue as it is under these locks.
///
/// Whoever is changing a `backup.info` meanwhile is waited for, some seconds.
///
/// # Errors
/// A backup of the chain is locked, being deleted or gone.
pub fn hold_chain(
    layout: &Layout,
    id: BackupId,
    cancel: Option<&AtomicBool>,
) -> Result<(InUse, Catalog), InUseError> {
    let chain_of = |catalog: &Catalog| -> Vec<BackupId> { catalog.chain(id).iter().map(|b| b.id).collect() };
    let mut chain = chain_of(&Catalog::load(layout)?);
    for _ in 0..ATTEMPTS {
        let held = InUse {
            locks: chain
                .iter()
                .map(|id| Ok((*id, lock_shared(layout, *id, cancel)?)))
                .collect::<Result<_, InUseError>>()?,
        };
        let catalog = Catalog::load(layout)?;
        let now = chain_of(&catalog);
        if now != chain {
            chain = now;
            continue;
        }
        let server = || layout.server().to_owned();
        if chain.is_empty() {
            return Err(InUseError::Gone { id, server: server() });
        }
        return match chain.iter().copied().find(|id| catalog.is_being_deleted(*id)) {
            Some(id) => Err(InUseError::BeingDeleted { id, server: server() }),
            None => Ok((held, catalog)),
        };
    }
    Err(InUseError::Busy {
        id,
        server: layout.server().to_owned(),
        pid: None,
    })
}

/// Keeps one backup from being deleted, whatever its state, for as long as the lock is held.
///
/// # Errors
/// Somebody has it for longer than some seconds, or it cannot be locked.
pub fn lock_shared(layout: &Layout, id: BackupId, cancel: Option<&AtomicBool>) -> Result<Lock, InUseError> {
    Lock::acquire_shared_within(&layout.id_lock(id), WAIT, cancel).map_err(|source| match source {
        LockError::Busy { pid, .. } => InUseError::Busy {
            id,
            server: layout.server().to_owned(),
            pid,
        },
        source => InUseError::Lock { id, source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotations;
    use crate::backup_info::{self, BackupInfo};

    fn id(day: u8) -> BackupId {
        format!("202601{day:02}T000000").parse().unwrap()
    }

    /// 1, 2 on 1, 3 on 2, and 4 alone.
    fn chain(layout: &Layout) {
        for (day, parent) in [(1, None), (2, Some(1)), (3, Some(2)), (4, None)] {
            let mut info = BackupInfo::new(id(day), "s", None);
            info.parent_backup_id = parent.map(id);
            backup_info::save(layout, &info).unwrap();
        }
    }

    fn is_free(layout: &Layout, day: u8) -> bool {
        Lock::try_acquire(&layout.id_lock(id(day))).is_ok()
    }

    #[test]
    fn a_backup_in_use_holds_what_it_is_based_on() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new("s", home.path());
        chain(&layout);
        let (held, catalog) = hold_chain(&layout, id(2), None).unwrap();
        assert_eq!(held.ids().collect::<Vec<_>>(), [id(2), id(1)]);
        assert_eq!(catalog.backups().count(), 4);
        assert_eq!(
            [1, 2, 3, 4].map(|day| is_free(&layout, day)),
            [false, false, true, true]
        );
        let (other, _) = hold_chain(&layout, id(3), None).unwrap();
        drop(held);
        assert_eq!(
            [1, 2, 3, 4].map(|day| is_free(&layout, day)),
            [false, false, false, true]
        );
        drop(other);
        assert_eq!([1, 2, 3, 4].map(|day| is_free(&layout, day)), [true; 4]);
    }

    #[test]
    fn what_is_going_cannot_be_used() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new("s", home.path());
        chain(&layout);
        annotations::write(&layout, id(1), annotations::DELETE_THIS, b"delete").unwrap();
        assert!(
            matches!(hold_chain(&layout, id(3), None), Err(InUseError::BeingDeleted { id: one, .. }) if one == id(1))
        );
        assert!(matches!(
            hold_chain(&layout, id(9), None),
            Err(InUseError::Gone { .. })
        ));
        let cancel = AtomicBool::new(true);
        let _deletion = Lock::try_acquire(&layout.id_lock(id(4))).unwrap();
        assert!(hold_chain(&layout, id(4), Some(&cancel)).is_err());
    }

    /// The backup was taken on another one between the look at the catalogue and the locks.
    #[test]
    fn the_chain_that_is_held_is_the_one_of_now() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new("s", home.path());
        chain(&layout);
        let (held, _) = std::thread::scope(|scope| {
            loop {
                let busy = Lock::try_acquire(&layout.id_lock(id(4))).unwrap();
                let waiting = scope.spawn(|| hold_chain(&layout, id(4), None));
                // It has seen the chain of one backup by now, most likely, and waits for the lock.
                std::thread::sleep(Duration::from_millis(100));
                backup_info::update_locked(&layout, id(4), |info| info.parent_backup_id = Some(id(2)))
                    .unwrap();
                drop(busy);
                match waiting.join().unwrap() {
                    // A machine so busy that this thread did not run.
                    Err(InUseError::Busy { .. }) => {}
                    other => break other.unwrap(),
                }
            }
        });
        assert_eq!(held.ids().collect::<Vec<_>>(), [id(4), id(2), id(1)]);
    }
}
