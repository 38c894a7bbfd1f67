//! The operations, one module each, named after the command of `barman` that asks for it.
//!
//! Each has options (what a user may ask), a function that does it (`run` in most), a report (what was done, as data),
//! and an error that implements [`Failure`](crate::Failure). What decides is a pure function, what acts carries out
//! its decision. An operation tells the user what goes on through its [`Context`](crate::Context), and looks there
//! whether to stop; it never prints, and knows nothing of command lines.

pub mod archive;
pub mod backup;
pub mod check;
pub mod check_archived_wal_range;
pub mod check_backup;
pub mod check_wal_archive;
pub mod config_switch;
pub mod config_update;
pub mod cron;
mod deadline;
pub mod delete;
pub mod diagnose;
pub mod export_backup;
pub mod generate_manifest;
pub mod get_wal;
pub mod import_backup;
pub mod keep;
pub mod list_backups;
pub mod list_files;
pub mod list_processes;
pub mod list_servers;
pub mod lock_directory_cleanup;
mod parallel;
pub mod rebuild_xlogdb;
pub mod receive_wal;
pub mod receiver;
pub mod replication_status;
pub mod restore;
pub mod retention;
pub mod selection;
pub mod show_backup;
pub mod show_servers;
pub mod status;
pub mod switch_wal;
pub mod terminate_process;
pub mod verify_backup;
mod wal_codec;
