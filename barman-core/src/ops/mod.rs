//! The operations, one module each: options, plan, run, report.

pub mod archive;
pub mod backup;
pub mod check;
pub mod check_backup;
pub mod cron;
pub mod delete;
pub mod get_wal;
pub mod list_backups;
pub mod list_servers;
pub mod receive_wal;
pub mod restore;
pub mod show_backup;
pub mod switch_wal;
