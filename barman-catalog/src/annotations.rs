//! Annotations of a backup: small files beside its `backup.info`.
//!
//! `keep` protects a backup from deletion, `delete_this` marks one whose deletion has begun. Barman before 3.13.3 kept
//! them in the directory of the backup and moves them when it touches them; reading here moves nothing.

use crate::backup_info;
use crate::ids::BackupId;
use crate::layout::Layout;
use std::io;
use std::path::PathBuf;

/// The name of the annotation that protects a backup.
pub const KEEP: &str = "keep";
/// The name of the annotation that marks a deletion as begun.
pub const DELETE_THIS: &str = "delete_this";

/// What of a kept backup must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// The backup and all WAL from its beginning on.
    Full,
    /// The backup and the WAL it needs to be consistent.
    Standalone,
}

impl Keep {
    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Standalone => "standalone",
        }
    }
}

/// An annotation that could not be read, written or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} the annotation {}: {source}", path.display())]
pub struct AnnotationError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl AnnotationError {
    /// Whether the disk has no room for it.
    #[must_use]
    pub fn is_out_of_space(&self) -> bool {
        crate::files::is_out_of_space(&self.source)
    }
}

/// How the backup is kept, if it is. Anything but `standalone` protects everything, an empty file too.
///
/// # Errors
/// A file that is there but cannot be read.
pub fn read_keep(layout: &Layout, id: BackupId) -> Result<Option<Keep>, AnnotationError> {
    let keep = read(layout, id, KEEP)?;
    Ok(keep.map(|content| {
        if content.trim_ascii() == b"standalone" {
            Keep::Standalone
        } else {
            Keep::Full
        }
    }))
}

/// Protects the backup.
///
/// # Errors
/// The file system's errors.
pub fn write_keep(layout: &Layout, id: BackupId, keep: Keep) -> Result<(), AnnotationError> {
    write(layout, id, KEEP, keep.as_str().as_bytes())
}

/// The content of an annotation, if it exists. One in the old place wins, as with Barman, which moves it over the new
/// one.
///
/// # Errors
/// A file that is there but cannot be read.
pub fn read(layout: &Layout, id: BackupId, key: &str) -> Result<Option<Vec<u8>>, AnnotationError> {
    for path in [layout.old_annotation(id, key), layout.annotation(id, key)] {
        match backup_info::read_bounded(&path) {
            Ok(content) => return Ok(Some(content)),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(source) => {
                return Err(AnnotationError {
                    what: "read",
                    path,
                    source,
                });
            }
        }
    }
    Ok(None)
}

/// Writes an annotation, durably, and removes one in the old place.
///
/// # Errors
/// The file system's errors.
pub fn write(layout: &Layout, id: BackupId, key: &str, content: &[u8]) -> Result<(), AnnotationError> {
    let path = layout.annotation(id, key);
    crate::files::replace(&path, content).map_err(|source| AnnotationError {
        what: "write",
        path,
        source,
    })?;
    let path = layout.old_annotation(id, key);
    crate::files::remove(&path).map_err(|source| AnnotationError {
        what: "remove",
        path,
        source,
    })
}

/// Makes an annotation without content, durably, where the disk has no room for one. One that is there stays as it is.
///
/// # Errors
/// The file system's errors.
pub fn touch(layout: &Layout, id: BackupId, key: &str) -> Result<(), AnnotationError> {
    let path = layout.annotation(id, key);
    crate::files::touch(&path).map_err(|source| AnnotationError {
        what: "write",
        path,
        source,
    })
}

/// Removes an annotation from both places; one that does not exist is fine. `meta/` stays.
///
/// # Errors
/// The file system's errors.
pub fn remove(layout: &Layout, id: BackupId, key: &str) -> Result<(), AnnotationError> {
    for path in [layout.annotation(id, key), layout.old_annotation(id, key)] {
        crate::files::remove(&path).map_err(|source| AnnotationError {
            what: "remove",
            path,
            source,
        })?;
    }
    Ok(())
}
