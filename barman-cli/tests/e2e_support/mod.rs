//! What the end-to-end tests share: sandboxes that run this build, and a look at the catalogue on disk.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod against_server;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use testkit::{Cluster, Finished, Mode, Sandbox, SandboxBuilder, wait_until};

/// How long a test waits for something that takes a second at most.
pub const SOON: Duration = Duration::from_secs(120);

/// A sandbox with server `main` that runs the program of this build.
pub fn sandbox(cluster: &Cluster, mode: Mode) -> SandboxBuilder<'_> {
    Sandbox::builder("main")
        .cluster(cluster)
        .mode(mode)
        .program(env!("CARGO_BIN_EXE_barman"))
}

/// A cluster with some rows, ready to be backed up through its archiver.
pub fn archiving(major: u16) -> Result<(Cluster, Sandbox)> {
    let cluster = Cluster::start_new(major)?;
    let sandbox = sandbox(&cluster, Mode::Archiver).build()?;
    Ok((cluster, sandbox))
}

/// A backup with a quick checkpoint that must succeed; its id.
pub fn backup(sandbox: &Sandbox, more: &[&str]) -> Result<String> {
    let mut arguments = vec!["backup", "--immediate-checkpoint", "main"];
    arguments.extend(more);
    let done = sandbox.barman()?.ok(arguments)?;
    id_of(&done)
}

/// The id of the backup that a run of `barman backup` started.
pub fn id_of(done: &Finished) -> Result<String> {
    done.stdout
        .lines()
        .find_map(|line| line.strip_prefix("Starting backup copy via pg_basebackup for "))
        .map(str::to_owned)
        .with_context(|| format!("no backup was started: {done}"))
}

/// Where the files `backup.info` are.
pub fn meta(sandbox: &Sandbox) -> PathBuf {
    sandbox.server_dir().join("meta")
}

/// The ids of the catalogue, ascending.
pub fn ids(sandbox: &Sandbox) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(meta(sandbox)) else {
        return Vec::new();
    };
    let mut ids: Vec<String> = entries
        .filter_map(|entry| {
            entry
                .ok()?
                .file_name()
                .to_str()?
                .strip_suffix("-backup.info")
                .map(str::to_owned)
        })
        .collect();
    ids.sort();
    ids
}

/// The fields of `backup.info`, as written.
pub fn info(sandbox: &Sandbox, id: &str) -> Result<BTreeMap<String, String>> {
    let path = meta(sandbox).join(format!("{id}-backup.info"));
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    text.lines()
        .map(|line| {
            let (name, value) = line.split_once('=').with_context(|| format!("line {line:?}"))?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// One field of `backup.info`.
pub fn field(sandbox: &Sandbox, id: &str, name: &str) -> Result<String> {
    info(sandbox, id)?
        .remove(name)
        .with_context(|| format!("{id} has no {name}"))
}

/// Waits until a backup newer than `after` is in the catalogue with this status; its id.
pub fn wait_status(sandbox: &Sandbox, after: Option<&str>, status: &str) -> Result<String> {
    let mut found = None;
    wait_until(&format!("a backup is {status}"), SOON, || {
        found = ids(sandbox)
            .pop()
            .filter(|id| after.is_none_or(|after| id.as_str() > after));
        match &found {
            Some(id) => Ok(field(sandbox, id, "status")? == status),
            None => Ok(false),
        }
    })?;
    found.context("no backup")
}

/// All files and directories below `root`, relative, sorted; directories end in `/`, links show their target.
pub fn tree(root: &Path) -> Result<Vec<String>> {
    fn walk(root: &Path, directory: &Path, found: &mut Vec<String>) -> Result<()> {
        for entry in std::fs::read_dir(directory).with_context(|| directory.display().to_string())? {
            let path = entry?.path();
            let name = path.strip_prefix(root)?.display().to_string();
            let kind = path.symlink_metadata()?.file_type();
            if kind.is_dir() {
                found.push(format!("{name}/"));
                walk(root, &path, found)?;
            } else if kind.is_symlink() {
                found.push(format!("{name} -> {}", std::fs::read_link(&path)?.display()));
            } else {
                found.push(name);
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(root, root, &mut found)?;
    found.sort();
    Ok(found)
}
