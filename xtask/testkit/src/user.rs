//! The user that runs PostgreSQL: the current one, or `postgres` when the tests run as root, because PostgreSQL refuses root.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result};

/// User and group ids of the user that runs PostgreSQL, when that is not the current user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// The ids to switch to before a PostgreSQL program runs; `None` when the current user can run it.
///
/// # Errors
/// Root without a user `postgres`.
pub fn server_user() -> Result<Option<Ids>> {
    static IDS: OnceLock<Option<Ids>> = OnceLock::new();
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    if let Some(ids) = IDS.get() {
        return Ok(*ids);
    }
    let ids = lookup("postgres")
        .context("PostgreSQL does not run as root, and there is no user postgres: run `cargo xtask setup`")?;
    Ok(*IDS.get_or_init(|| Some(ids)))
}

fn lookup(name: &str) -> Option<Ids> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then_some(())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Ids { uid, gid })
    })
}

/// Name of the user that runs the tests, as Barman's `barman_user` wants it.
///
/// # Errors
/// The user id has no entry in `/etc/passwd`.
pub fn current_name() -> Result<String> {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let passwd = fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
    passwd
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&uid))
        .and_then(|line| line.split(':').next())
        .map(str::to_owned)
        .with_context(|| format!("user id {uid} is not in /etc/passwd"))
}

/// Makes `command` run as the user that runs PostgreSQL.
///
/// # Errors
/// As [`server_user`].
pub fn as_server_user(command: &mut Command) -> Result<&mut Command> {
    if let Some(ids) = server_user()? {
        command
            .uid(ids.uid)
            .gid(ids.gid)
            .env("HOME", "/nonexistent")
            .current_dir("/");
    }
    Ok(command)
}

/// Gives one file or directory to the user that runs PostgreSQL.
///
/// # Errors
/// The ownership cannot be changed.
pub fn give(path: &Path) -> Result<()> {
    if let Some(ids) = server_user()? {
        lchown(path, Some(ids.uid), Some(ids.gid))
            .with_context(|| format!("change the owner of {}", path.display()))?;
    }
    Ok(())
}

/// Gives a data directory and the tablespaces that its `pg_tblspc` links to to the user that runs PostgreSQL, with mode 0700 at the top.
///
/// # Errors
/// A directory cannot be read, or the ownership or mode of a file not be changed.
pub fn give_data_directory(data: &Path) -> Result<()> {
    fs::set_permissions(data, fs::Permissions::from_mode(0o700))
        .with_context(|| format!("chmod {}", data.display()))?;
    if server_user()?.is_none() {
        return Ok(());
    }
    give_tree(data)?;
    let links = match fs::read_dir(data.join("pg_tblspc")) {
        Ok(links) => links,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e).context("read pg_tblspc"),
    };
    for link in links {
        let link = link.context("read pg_tblspc")?.path();
        if let Ok(target) = fs::canonicalize(&link) {
            give_tree(&target)?;
        }
    }
    Ok(())
}

fn give_tree(path: &Path) -> Result<()> {
    give(path)?;
    if path.is_symlink() || !path.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(path).with_context(|| format!("read {}", path.display()))? {
        give_tree(&entry?.path())?;
    }
    Ok(())
}
