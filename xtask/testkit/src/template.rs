//! Data directories fresh from `initdb`, made once for each tree and set of options and kept in the cache, because `initdb` takes seconds.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::fs::{FlockOperation, flock};

use crate::process::Background;
use crate::trees::PgTree;
use crate::{cache, user};

/// To be raised when what [`make`] does changes, so that older templates are not used.
const RECIPE: u32 = 1;

/// Password of the role `barman` (superuser).
pub const BARMAN_PASSWORD: &str = "barman-password";

/// Password of the role `streaming_barman` (REPLICATION).
pub const STREAMING_PASSWORD: &str = "streaming-password";

/// What `initdb` decides for good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shape {
    /// Data page checksums; `None` = the version's default (on from 18).
    pub checksums: Option<bool>,
    /// WAL segment size in MiB (11 and newer); `None` = 16.
    pub segment_mb: Option<u32>,
}

/// Directory of the template for a tree and shape; made when it is not there yet.
///
/// # Errors
/// The cache cannot be written, or `initdb` failed.
pub fn get(tree: &PgTree, shape: Shape) -> Result<PathBuf> {
    let name = format!(
        "{}-r{RECIPE}-{}-{}",
        tree.id(),
        match shape.checksums {
            None => "default",
            Some(true) => "checksums",
            Some(false) => "nochecksums",
        },
        shape.segment_mb.unwrap_or(16)
    );
    let templates = cache::dir().join("templates");
    let done = templates.join(&name);
    if done.exists() {
        return Ok(done);
    }
    fs::create_dir_all(&templates).with_context(|| format!("create {}", templates.display()))?;
    let lock_path = templates.join(format!("{name}.lock"));
    let lock: File = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock_path)
        .with_context(|| format!("open {}", lock_path.display()))?;
    flock(&lock, FlockOperation::LockExclusive).context("lock the template")?;
    if !done.exists() {
        let fresh = templates.join(format!("{name}.new"));
        let _ = fs::remove_dir_all(&fresh);
        fs::create_dir(&fresh).with_context(|| format!("create {}", fresh.display()))?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o700))?;
        user::give(&fresh)?;
        make(tree, shape, &fresh).with_context(|| format!("make the template {name}"))?;
        fs::rename(&fresh, &done).context("rename the template")?;
    }
    Ok(done)
}

fn make(tree: &PgTree, shape: Shape, data: &Path) -> Result<()> {
    let mut initdb = Command::new(tree.program("initdb"));
    initdb
        .args([
            "--no-sync",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C",
            "--auth=trust",
            "--pgdata",
        ])
        .arg(data);
    match shape.checksums {
        Some(true) => drop(initdb.arg("--data-checksums")),
        Some(false) if tree.major() >= 18 => drop(initdb.arg("--no-data-checksums")),
        _ => {}
    }
    if let Some(mb) = shape.segment_mb {
        ensure!(
            tree.major() >= 11,
            "PostgreSQL {} has no --wal-segsize",
            tree.major()
        );
        initdb.arg(format!("--wal-segsize={mb}"));
    }
    run(initdb, None)?;

    let mut single = Command::new(tree.program("postgres"));
    single
        .arg("--single")
        .arg("-F")
        .arg("-D")
        .arg(data)
        .arg("postgres");
    let roles = format!(
        "SET password_encryption = 'scram-sha-256'\n\
         CREATE ROLE barman SUPERUSER LOGIN PASSWORD '{BARMAN_PASSWORD}'\n\
         CREATE ROLE streaming_barman REPLICATION LOGIN PASSWORD '{STREAMING_PASSWORD}'\n"
    );
    run(single, Some(&roles))?;

    let hba = "# Everybody over the Unix socket; over TCP the superuser without, everybody else with a password.\n\
               local all all trust\n\
               local replication all trust\n\
               host all postgres 127.0.0.1/32 trust\n\
               host replication postgres 127.0.0.1/32 trust\n\
               host all all 127.0.0.1/32 scram-sha-256\n\
               host replication all 127.0.0.1/32 scram-sha-256\n";
    fs::write(data.join("pg_hba.conf"), hba).context("write pg_hba.conf")
}

fn run(mut command: Command, stdin: Option<&str>) -> Result<()> {
    user::as_server_user(&mut command)?;
    let finished = Background::spawn(command, stdin.map(str::as_bytes))?.wait(Duration::from_secs(120))?;
    // A single-user backend reports a failed statement but ends with 0.
    ensure!(
        finished.code == Some(0) && !finished.stderr.contains("ERROR:"),
        "{finished}"
    );
    Ok(())
}
