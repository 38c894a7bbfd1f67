//! Where a member of an exported backup belongs. Decides by names alone: nothing outside of the staging directory is
//! ever named, and no link is ever made from an archive, so that nothing can be reached through one.

use crate::tarball::Kind;
use barman_wal::WalFileName;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// Where a member goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// `identity.json`.
    Identity,
    /// `backup.info`.
    BackupInfo,
    /// `xlog.db`.
    XlogDb,
    /// A directory of the backup; empty is the backup itself.
    Directory(PathBuf),
    /// A file of the backup.
    File(PathBuf),
    /// The directory `wals`, or one in it.
    WalDirectory,
    /// A WAL file.
    Wal(WalFileName),
    /// Nowhere: what an import makes itself, and what it does not need.
    Nowhere,
}

/// Why an archive is not trusted. The words are Barman's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsafe {
    #[error("Tarball contains unsafe path: '{0}'")]
    Path(String),
    #[error("Tarball contains unsafe member type: '{0}'")]
    Type(String),
}

/// The place of the member `name`.
pub(super) fn place(name: &[u8], kind: Kind) -> Result<Place, Unsafe> {
    let shown = || String::from_utf8_lossy(name).trim_end_matches('/').to_owned();
    let mut path = PathBuf::new();
    if name.contains(&0) {
        return Err(Unsafe::Path(shown()));
    }
    for component in Path::new(OsStr::from_bytes(name)).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => {
                return Err(Unsafe::Path(shown()));
            }
        }
    }
    match kind {
        Kind::File | Kind::Directory => {}
        // They lead to places of another host; an import makes its own.
        Kind::Symlink if path.parent() == Some(Path::new("backup/data/pg_tblspc")) => {
            return Ok(Place::Nowhere);
        }
        Kind::Symlink | Kind::Other(_) => return Err(Unsafe::Type(shown())),
    }
    let is_file = kind == Kind::File;
    if let Ok(below) = path.strip_prefix("backup") {
        // Metadata of the layout before 3.13: the archive's own `backup.info` counts, and what was kept or being
        // deleted there is not so here.
        let metadata = below == Path::new("backup.info") || below.starts_with("annotations");
        return Ok(match below {
            _ if metadata => Place::Nowhere,
            _ if !is_file => Place::Directory(below.to_path_buf()),
            _ if below.as_os_str().is_empty() => return Err(Unsafe::Type(shown())),
            _ => Place::File(below.to_path_buf()),
        });
    }
    if let Ok(below) = path.strip_prefix("wals") {
        if !is_file {
            return Ok(Place::WalDirectory);
        }
        let wal = below
            .file_name()
            .and_then(OsStr::to_str)
            .and_then(|name| name.parse::<WalFileName>().ok())
            .filter(|wal| {
                let directory = wal.archive_directory().map(PathBuf::from).unwrap_or_default();
                directory.join(wal.to_string()) == below
            });
        return Ok(wal.map_or(Place::Nowhere, Place::Wal));
    }
    Ok(match path.to_str() {
        Some("identity.json") if is_file => Place::Identity,
        Some("backup.info") if is_file => Place::BackupInfo,
        Some("xlog.db") if is_file => Place::XlogDb,
        _ => Place::Nowhere,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_member_has_its_place() {
        let wal: WalFileName = "000000010000000000000003".parse().unwrap();
        for (name, kind, expected) in [
            ("identity.json", Kind::File, Ok(Place::Identity)),
            ("./backup.info", Kind::File, Ok(Place::BackupInfo)),
            ("xlog.db", Kind::File, Ok(Place::XlogDb)),
            ("xlog.db", Kind::Directory, Ok(Place::Nowhere)),
            ("barman.json", Kind::File, Ok(Place::Nowhere)),
            ("backup/", Kind::Directory, Ok(Place::Directory(PathBuf::new()))),
            (
                "backup/data/",
                Kind::Directory,
                Ok(Place::Directory("data".into())),
            ),
            ("backup/data/x", Kind::File, Ok(Place::File("data/x".into()))),
            ("backup/backup.info", Kind::File, Ok(Place::Nowhere)),
            ("backup/annotations/keep", Kind::File, Ok(Place::Nowhere)),
            ("backup/data/pg_tblspc/1", Kind::Symlink, Ok(Place::Nowhere)),
            (
                "wals/0000000100000000/000000010000000000000003",
                Kind::File,
                Ok(Place::Wal(wal)),
            ),
            (
                "wals/0000000100000001/000000010000000000000003",
                Kind::File,
                Ok(Place::Nowhere),
            ),
            ("wals/000000010000000000000003", Kind::File, Ok(Place::Nowhere)),
            ("wals", Kind::Directory, Ok(Place::WalDirectory)),
            ("backupx/y", Kind::File, Ok(Place::Nowhere)),
            (
                "backup",
                Kind::File,
                Err("Tarball contains unsafe member type: 'backup'"),
            ),
            (
                "backup/a/../../../x",
                Kind::File,
                Err("Tarball contains unsafe path: 'backup/a/../../../x'"),
            ),
            (
                "/etc/passwd",
                Kind::File,
                Err("Tarball contains unsafe path: '/etc/passwd'"),
            ),
            (
                "backup/\0",
                Kind::File,
                Err("Tarball contains unsafe path: 'backup/\0'"),
            ),
            (
                "backup/data/l",
                Kind::Symlink,
                Err("Tarball contains unsafe member type: 'backup/data/l'"),
            ),
            (
                "x",
                Kind::Other(b'1'),
                Err("Tarball contains unsafe member type: 'x'"),
            ),
        ] {
            let found = place(name.as_bytes(), kind).map_err(|e| e.to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_name_leads_out(name in "(backup/|wals/|/|)([.]{0,3}[a-z/\u{0}]{0,3}){0,6}") {
            if let Ok(Place::File(path) | Place::Directory(path)) = place(name.as_bytes(), Kind::File) {
                prop_assert!(path.components().all(|c| matches!(c, Component::Normal(_))), "{path:?}");
            }
        }
    }
}
