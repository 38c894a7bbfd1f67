//! Read and write the catalogue of a Barman node: `backup.info`, the WAL catalogue, annotations, retention, deletion.
//!
//! Everything on disk is what Barman 3.20.1 writes, so that both programs can work on one catalogue in turn. Nothing
//! here knows a configuration, a PostgreSQL connection or a hook script: paths come in as a [`Layout`], decisions
//! (retention, deletion, completeness) are pure functions over a [`Catalog`], and what acts does so durably.
//!
//! ```
//! use barman_catalog::{BackupInfo, BackupStatus, Catalog, Layout, backup_info};
//!
//! let home = tempfile::tempdir()?;
//! let layout = Layout::new("main", home.path());
//! let mut backup = BackupInfo::new("20261121T044724".parse()?, "main", Some("postgres".into()));
//! backup.status = BackupStatus::Done;
//! backup_info::save(&layout, &backup)?;
//!
//! let catalog = Catalog::load(&layout)?;
//! assert_eq!(barman_catalog::ids::resolve(&catalog, "latest")?.id, backup.id);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod accounting;
pub mod annotations;
pub mod archive;
pub mod backup_info;
pub mod catalog;
pub mod completeness;
pub mod deletion;
pub mod export;
pub mod identity;
pub mod ids;
pub mod import;
pub mod keep;
pub mod layout;
pub mod listing;
pub mod manifest;
pub mod protection;
pub mod python_literal;
pub mod repair;
pub mod retention;
pub mod tarball;
pub mod timestamp;
pub mod xlogdb;

mod files;

pub use annotations::Keep;
pub use backup_info::{BackupInfo, BackupMode, BackupStatus, BackupType, Tablespace};
pub use catalog::{BrokenBackup, Catalog, CatalogError};
pub use ids::BackupId;
pub use layout::Layout;
pub use timestamp::Timestamp;

/// The example of the read-me file compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
