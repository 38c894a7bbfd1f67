//! Fetching from registries with their own clients, and checking what came.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use testkit::cache;

use crate::run;

/// A directory in the cache for something half done; what an interrupted run left there is removed.
pub fn scratch(name: &str) -> Result<PathBuf> {
    let dir = cache::dir().join("scratch").join(name);
    match fs::remove_dir_all(&dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(e).context("clear the scratch directory");
        }
        _ => {}
    }
    fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    Ok(dir)
}

/// Fetches one version of an npm package into `dir`: with npm where it is installed, so that its settings hold, else from npm's default registry.
pub fn npm(package: &str, version: &str, dir: &Path) -> Result<PathBuf> {
    if run::find("npm").is_some() {
        let spec = format!("{package}@{version}");
        run::quiet(
            Command::new("npm")
                .args(["pack", "--silent", "--pack-destination"])
                .arg(dir)
                .arg(spec),
        )?;
        return only_file(dir);
    }
    let name = package.rsplit('/').next().unwrap_or(package);
    let file = dir.join("package.tgz");
    let url = format!("https://registry.npmjs.org/{package}/-/{name}-{version}.tgz");
    run::quiet(
        Command::new("curl")
            .args(["-fsSL", "--retry", "3", "-o"])
            .arg(&file)
            .arg(url),
    )?;
    Ok(file)
}

/// Fetches one wheel from the configured Python package index into `dir`, with the oracle's pip.
pub fn wheel(package: &str, version: &str, python: Option<&str>, dir: &Path) -> Result<PathBuf> {
    let mut pip = Command::new(cache::oracle_dir().join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
    ]);
    if let Some(python) = python {
        pip.args(["--python-version", python]);
    }
    pip.arg("--dest").arg(dir).arg(format!("{package}=={version}"));
    run::quiet(&mut pip)?;
    only_file(dir)
}

fn only_file(dir: &Path) -> Result<PathBuf> {
    let mut files = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    match (files.pop(), files.is_empty()) {
        (Some(file), true) => Ok(file.path()),
        _ => bail!("expected one file in {}", dir.display()),
    }
}

/// Insists on a file's SHA-256.
pub fn verify(file: &Path, expected: &str) -> Result<()> {
    let mut hasher = Sha256::new();
    let mut source = File::open(file).with_context(|| format!("open {}", file.display()))?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read =
            io::Read::read(&mut source, &mut buffer).with_context(|| format!("read {}", file.display()))?;
        if read == 0 {
            break;
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
    let mut found = String::new();
    for byte in hasher.finalize() {
        let _ = write!(found, "{byte:02x}");
    }
    ensure!(
        found == expected,
        "{} has the SHA-256 {found}, not the pinned {expected}",
        file.display()
    );
    Ok(())
}

/// Unpacks a wheel (a zip archive) into `dir`.
pub fn unzip(wheel: &Path, dir: &Path) -> Result<()> {
    let mut python = Command::new(cache::oracle_dir().join("bin/python"));
    run::quiet(python.args(["-m", "zipfile", "-e"]).arg(wheel).arg(dir)).map(drop)
}

/// Puts a finished directory under its final name.
pub fn publish(fresh: &Path, done: &Path) -> Result<()> {
    if let Some(parent) = done.parent() {
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    }
    fs::rename(fresh, done).with_context(|| format!("rename {} to {}", fresh.display(), done.display()))
}
