//! What lies in `base/ID`: data directories that are tiny but have the shape of real ones.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::blueprint::{Backup, BackupMode, DataForm};

/// Writes the data of a backup into its directory, which is there already.
pub fn write(base: &Path, backup: &Backup) -> Result<()> {
    match backup.data {
        DataForm::Missing | DataForm::Bare => Ok(()),
        DataForm::Plain => plain(base, backup),
        DataForm::Tar => tar(base, backup),
        DataForm::Version1 => {
            let data = base.join("pgdata");
            cluster(&data, backup)?;
            for tablespace in &backup.tablespaces {
                file(
                    &data.join(format!("pg_tblspc/{}/PG_9.0/1/2", tablespace.oid)),
                    b"tablespace",
                )?;
            }
            Ok(())
        }
    }
}

fn major(backup: &Backup) -> String {
    match backup.version {
        Some(old @ ..100_000) => format!("{}.{}", old / 10_000, old / 100 % 100),
        Some(new) => (new / 10_000).to_string(),
        None => "18".to_owned(),
    }
}

/// A data directory in which PostgreSQL would look for more.
fn cluster(data: &Path, backup: &Backup) -> Result<Vec<(String, u64)>> {
    let mut control = vec![0; 8_192];
    control[..8].copy_from_slice(&backup.system_id.unwrap_or(0).to_le_bytes());
    let mut files = vec![
        ("PG_VERSION", format!("{}\n", major(backup)).into_bytes()),
        ("base/1/1259", vec![7; 300]),
        ("global/pg_control", control),
        ("pg_hba.conf", b"local all all trust\n".to_vec()),
        ("postgresql.conf", b"port = 5432\n".to_vec()),
    ];
    if let Some(label) = &backup.label {
        files.push(("backup_label", label.clone().into_bytes()));
    }
    let mut listed = Vec::new();
    for (name, content) in files {
        file(&data.join(name), &content)?;
        listed.push((name.to_owned(), content.len() as u64));
    }
    fs::create_dir_all(data.join("pg_wal")).context("create pg_wal")?;
    fs::create_dir_all(data.join("pg_tblspc")).context("create pg_tblspc")?;
    Ok(listed)
}

fn plain(base: &Path, backup: &Backup) -> Result<()> {
    let data = base.join("data");
    let files = cluster(&data, backup)?;
    private(&data)?;
    if backup.mode == BackupMode::Postgres && backup.version.is_some_and(|v| v >= 130_000) {
        file(&data.join("backup_manifest"), manifest(&files).as_bytes())?;
    }
    for tablespace in &backup.tablespaces {
        let directory = base.join(tablespace.oid.to_string());
        file(
            &directory.join(format!("PG_{}_202209061/16400/1247", major(backup))),
            b"tablespace",
        )?;
        private(&directory)?;
        // rsync leaves the links out; pg_basebackup makes them lead to where it wrote the tablespaces.
        if !backup.mode.is_rsync() {
            let link = data.join(format!("pg_tblspc/{}", tablespace.oid));
            symlink(&directory, &link).with_context(|| format!("link {}", link.display()))?;
        }
    }
    Ok(())
}

/// `data/` with tar files; directories of tablespaces are there and empty.
fn tar(base: &Path, backup: &Backup) -> Result<()> {
    let suffix = match backup.compression.as_deref() {
        Some("gzip") => ".gz",
        Some("lz4") => ".lz4",
        Some("zstd") => ".zst",
        _ => "",
    };
    let sealed = if backup.encryption.is_some() { ".gpg" } else { "" };
    let data = base.join("data");
    let mut names = vec!["base".to_owned()];
    for tablespace in &backup.tablespaces {
        names.push(tablespace.oid.to_string());
        let directory = base.join(tablespace.oid.to_string());
        fs::create_dir_all(&directory).context("create a directory of a tablespace")?;
        private(&directory)?;
    }
    for name in names {
        // The end of a tar archive: two blocks of zeros.
        file(&data.join(format!("{name}.tar{suffix}{sealed}")), &[0; 1_024])?;
    }
    file(&data.join("backup_manifest"), manifest(&[]).as_bytes())?;
    private(&data)
}

/// A manifest without checksums of the files (`MANIFEST_CHECKSUMS NONE`), with one of its own.
fn manifest(files: &[(String, u64)]) -> String {
    let mut text = String::from("{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [");
    for (n, (name, size)) in files.iter().enumerate() {
        let comma = if n == 0 { "" } else { "," };
        let _ = write!(
            text,
            "{comma}\n{{ \"Path\": \"{name}\", \"Size\": {size}, \"Last-Modified\": \"2026-11-01 00:00:00 GMT\" }}"
        );
    }
    text.push_str("\n],\n\"WAL-Ranges\": [\n],\n");
    let digest = Sha256::digest(text.as_bytes());
    let hex = digest.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let _ = writeln!(text, "\"Manifest-Checksum\": \"{hex}\"}}");
    text
}

fn private(directory: &Path) -> Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
        .with_context(|| format!("chmod {}", directory.display()))
}

/// Writes a file and the directories above it.
pub fn file(path: &Path, content: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    }
    fs::write(path, content).with_context(|| format!("write {}", path.display()))
}
