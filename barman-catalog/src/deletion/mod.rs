//! Deleting backups and the WAL that nothing needs any more.
//!
//! What goes is decided by pure functions ([`check`], [`wal_decision`], [`first_backup_purge`]); [`delete_backup`]
//! and [`remove_wal`] act; [`forecast`](forecast()) tells what would happen. The order of acting is such that a crash at any moment leaves a backup that says `FAILED`
//! and is marked for deletion, never one that looks whole: mark, set `FAILED`, data, WAL, directory, `backup.info`,
//! mark. A deletion that was interrupted is finished by deleting the backup again.

mod data;
mod forecast;
mod plan;
mod wal;

pub use data::{
    DeletionError, DeletionObserver, NoObserver, Sizes, delete_backup, measure, sweep_stale_marks,
};
pub use forecast::{Step, WalForecast, WalRange, forecast, obsolete_trees};
pub use plan::{
    Fate, KeepReason, LimitReason, Mandate, Refusal, Trigger, WalDecision, WalPlan, check,
    first_backup_purge, wal_decision,
};
pub use wal::{WalRemoval, remove_wal};
