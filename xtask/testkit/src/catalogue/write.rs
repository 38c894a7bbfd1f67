//! A blueprint onto disk.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result};

use super::blueprint::{Backup, Blueprint, DataForm, InfoPlace, Server, Status, WalFile, XlogDbForm};
use super::home::WrittenHome;
use super::{data, encode, wal_content};

/// What WAL files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WalBodies {
    /// Segments are their first page header alone; `xlog.db` has the sizes of the blueprint. Quick to write, compare and delete.
    #[default]
    Headers,
    /// Segments have their full size (with holes); compressed ones are what their codec makes of it. `xlog.db` has the sizes of the files.
    Whole,
    /// No files in the archive but history files; `xlog.db` has the sizes of the blueprint.
    Absent,
}

/// How to write a blueprint.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// What WAL files hold.
    pub wal: WalBodies,
    /// Options for the `[barman]` section besides those that every home needs.
    pub global: Vec<(String, String)>,
}

/// Writes the home of a blueprint below `dir`, which must exist: `dir/home`, and `dir/barman.conf` with which it can be looked at.
///
/// # Errors
/// A file cannot be written.
pub fn write(blueprint: &Blueprint, dir: &Path, options: &WriteOptions) -> Result<WrittenHome> {
    let home = WrittenHome::create(blueprint, dir, &options.global)?;
    for server in &blueprint.servers {
        write_server(server, &home.server_dir(&server.name), options.wal)
            .with_context(|| format!("write the catalogue of {} ({})", server.name, blueprint.recipe))?;
    }
    Ok(home)
}

fn write_server(server: &Server, root: &Path, bodies: WalBodies) -> Result<()> {
    for name in ["base", "meta", "wals", "incoming", "streaming", "errors"] {
        fs::create_dir_all(root.join(name)).with_context(|| format!("create {name}"))?;
    }
    if server.identity {
        data::file(&root.join("identity.json"), encode::identity(server).as_bytes())?;
    }
    for backup in &server.backups {
        write_backup(root, backup).with_context(|| format!("write backup {}", backup.id))?;
    }
    write_archive(server, root, bodies)?;
    for (directory, names) in [("incoming", &server.incoming), ("streaming", &server.streaming)] {
        for name in names {
            let (bytes, zeros) = wal_content::queued(server, *name, bodies == WalBodies::Whole);
            let path = root.join(directory).join(server.geometry.text(*name));
            write_file(&path, &bytes, zeros, None)?;
        }
    }
    Ok(())
}

fn write_backup(root: &Path, backup: &Backup) -> Result<()> {
    let base = root.join("base").join(&backup.id);
    let meta = root.join("meta");
    if backup.data != DataForm::Missing {
        fs::create_dir_all(&base).with_context(|| format!("create {}", base.display()))?;
        data::write(&base, backup)?;
    }
    let text = encode::backup_info(backup);
    let current = meta.join(format!("{}-backup.info", backup.id));
    let old = base.join("backup.info");
    match backup.place {
        InfoPlace::Meta => data::file(&current, text.as_bytes())?,
        InfoPlace::Base => data::file(&old, text.as_bytes())?,
        InfoPlace::Both => {
            let mut stale = backup.clone();
            stale.status = Status::Empty;
            data::file(&old, encode::backup_info(&stale).as_bytes())?;
            data::file(&current, text.as_bytes())?;
        }
        InfoPlace::EmptyFile => data::file(&current, b"")?,
        InfoPlace::Missing => {}
    }
    let annotations = [
        ("keep", backup.keep.as_deref()),
        ("delete_this", backup.delete_begun.then_some("delete")),
    ];
    for (key, content) in annotations {
        let Some(content) = content else { continue };
        let path = if backup.old_annotations {
            base.join("annotations").join(key)
        } else {
            meta.join(format!("{}-{key}", backup.id))
        };
        data::file(&path, content.as_bytes())?;
    }
    Ok(())
}

fn write_archive(server: &Server, root: &Path, bodies: WalBodies) -> Result<()> {
    let wals = root.join("wals");
    let mut made = BTreeMap::new();
    let name = match server.xlogdb {
        XlogDbForm::Current | XlogDbForm::Torn(_) => format!("{}-xlog.db", server.name),
        XlogDbForm::BeforeServerName => "xlog.db".to_owned(),
        XlogDbForm::Missing => String::new(),
    };
    let mut db = match name.as_str() {
        "" => None,
        name => {
            let path = wals.join(name);
            let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
            Some(BufWriter::with_capacity(1 << 20, file))
        }
    };
    for wal in &server.wals {
        let history = matches!(wal.name, super::wal_name::WalName::History { .. });
        let mut size = wal.size;
        if wal.on_disk && (history || bodies != WalBodies::Absent) {
            let directory = match server.geometry.directory(wal.name) {
                Some(name) => wals.join(name),
                None => wals.clone(),
            };
            if made.insert(directory.clone(), ()).is_none() {
                fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
            }
            let written = write_wal(server, wal, &directory, bodies == WalBodies::Whole)?;
            if bodies == WalBodies::Whole {
                size = written;
            }
        }
        if let (Some(db), Some(line)) = (&mut db, encode::xlogdb_line(server.geometry, wal, size)) {
            db.write_all(line.as_bytes()).context("write xlog.db")?;
        }
    }
    if let Some(mut db) = db {
        if let XlogDbForm::Torn(line) = &server.xlogdb {
            db.write_all(line.as_bytes()).context("write xlog.db")?;
        }
        db.flush().context("write xlog.db")?;
    }
    Ok(())
}

/// Writes a file of the archive and returns its size.
fn write_wal(server: &Server, wal: &WalFile, directory: &Path, whole: bool) -> Result<u64> {
    let (bytes, zeros) = wal_content::archived(server, wal, whole)?;
    let path = directory.join(server.geometry.text(wal.name));
    write_file(&path, &bytes, zeros, Some(wal.time))?;
    Ok(bytes.len() as u64 + zeros)
}

/// Writes a file readable by its owner alone, as PostgreSQL has them; `zeros` more bytes are a hole.
fn write_file(path: &Path, bytes: &[u8], zeros: u64, time: Option<i64>) -> Result<()> {
    let shown = || format!("write {}", path.display());
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(shown)?;
    file.write_all(bytes).with_context(shown)?;
    if zeros > 0 {
        file.set_len(bytes.len() as u64 + zeros).with_context(shown)?;
    }
    if let Some(nanos) = time.and_then(|t| u64::try_from(t).ok()) {
        let time = UNIX_EPOCH + Duration::from_nanos(nanos);
        file.set_times(FileTimes::new().set_modified(time))
            .with_context(shown)?;
    }
    Ok(())
}
