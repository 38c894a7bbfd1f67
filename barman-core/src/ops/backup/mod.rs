//! `barman backup`: registers a backup, takes it, and does not call it good before it is.
//!
//! [`run`] is the whole command for one server: preflight check, lock, hooks, the native base backup, the end
//! position, durability, WAL completeness. A backup that fails is recorded as FAILED and reported; a
//! [`BackupError`] means that none was registered, or that its record could not be written.

mod error;
mod failed;
mod options;
mod outside;
mod position;
mod size;
mod text;

pub use error::BackupError;
pub use options::{BackupOptions, Wait};
