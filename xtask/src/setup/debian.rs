//! Packages of the distribution.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{say, step};
use crate::run;

/// Debian packages and what in them is looked for: a program in `PATH`, or an absolute path, in which `*` is whatever
/// version the release of Debian has.
const PACKAGES: [(&str, &str); 21] = [
    ("postgresql-15", "/usr/lib/postgresql/15/bin/postgres"),
    ("postgresql-client-15", "/usr/lib/postgresql/15/bin/pg_basebackup"),
    ("rsync", "rsync"),
    ("openssh-server", "/usr/sbin/sshd"),
    ("openssh-client", "ssh"),
    ("gnupg", "gpg"),
    ("strace", "strace"),
    ("python3-venv", "/usr/lib/python3.*/ensurepip/__init__.py"),
    ("zstd", "zstd"),
    ("lz4", "lz4"),
    ("xz-utils", "xz"),
    ("bzip2", "bzip2"),
    ("pigz", "pigz"),
    ("curl", "curl"),
    ("procps", "ps"),
    // The oracle runs it on WAL files.
    ("file", "file"),
    // The build of OpenSSL; its Configure uses modules that perl-base lacks.
    ("gcc", "gcc"),
    ("make", "make"),
    ("perl", "/usr/share/perl/*/IPC/Cmd.pm"),
    // Tests make certificates with it.
    ("openssl", "openssl"),
    // What Patroni keeps a cluster's state in.
    ("etcd-server", "etcd"),
];

/// Keeps the package `postgresql-15` from making and starting a cluster of its own.
const NO_CLUSTER: &str = "# Written by `cargo xtask setup` of barman-rs: tests make their own clusters.\ncreate_main_cluster = false\n";

pub fn install() -> Result<()> {
    install_packages(&PACKAGES)
}

/// Installs those of `packages` (each with what in it is looked for) that are not there.
pub fn install_packages(packages: &[(&'static str, &str)]) -> Result<()> {
    let missing: Vec<&str> = packages
        .iter()
        .filter(|(_, proof)| !present(proof))
        .map(|(name, _)| *name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if run::find("apt-get").is_none() {
        bail!(
            "this machine lacks what Debian 12 has in the packages {}; install their like and try again",
            missing.join(" ")
        );
    }
    let command = format!("apt-get install --no-install-recommends {}", missing.join(" "));
    if !rustix::process::geteuid().is_root() {
        bail!("packages are missing; as root, run: {command}");
    }
    step(&format!("install Debian packages: {}", missing.join(" ")), || {
        prevent_main_cluster()?;
        if apt_install(&missing).is_ok() {
            return Ok(());
        }
        say("  package lists are missing or old; updating them");
        run::quiet(
            Command::new("apt-get")
                .args(["update", "-qq"])
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )?;
        apt_install(&missing)
    })?;
    let still: Vec<&str> = packages
        .iter()
        .filter(|(_, proof)| !present(proof))
        .map(|(name, _)| *name)
        .collect();
    if !still.is_empty() {
        bail!("still missing after the installation: {}", still.join(" "));
    }
    Ok(())
}

fn present(proof: &str) -> bool {
    if proof.starts_with('/') {
        exists(proof)
    } else {
        run::find(proof).is_some()
    }
}

/// Whether something has this absolute path, in which one `*` stands for any characters but slashes.
fn exists(pattern: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return Path::new(pattern).exists();
    };
    let (directory, begin) = before.rsplit_once('/').unwrap_or_default();
    let (end, below) = after.split_once('/').unwrap_or((after, ""));
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| {
        let name = entry.file_name();
        let matches = name
            .to_str()
            .and_then(|name| name.strip_prefix(begin)?.strip_suffix(end));
        matches.is_some() && (below.is_empty() || entry.path().join(below).exists())
    })
}

fn apt_install(packages: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command
        .args([
            "install",
            "-y",
            "-qq",
            "--no-install-recommends",
            "-o",
            "DPkg::Lock::Timeout=300",
        ])
        .args(packages);
    // RUNLEVEL=1 keeps maintainer scripts from starting the services that the packages bring.
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("RUNLEVEL", "1");
    run::quiet(&mut command).map(drop)
}

fn prevent_main_cluster() -> Result<()> {
    let dir = Path::new("/etc/postgresql-common/createcluster.d");
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    fs::write(dir.join("barman-rs.conf"), NO_CLUSTER).context("write createcluster.d/barman-rs.conf")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_leave_the_version_open() {
        let dir = testkit::TestDir::new().unwrap();
        for file in ["perl/5.40/IPC/Cmd.pm", "python3.13/ensurepip"] {
            let path = dir.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        for (pattern, there) in [
            ("perl/*/IPC/Cmd.pm", true),
            ("perl/5.36/IPC/Cmd.pm", false),
            ("perl/5.40/IPC/Cmd.pm", true),
            ("perl/*/IPC/Run.pm", false),
            ("python3.*/ensurepip", true),
            ("python2.*/ensurepip", false),
            ("python3.*", true),
            ("none/*/x", false),
        ] {
            let path = format!("{}/{pattern}", dir.path().display());
            assert_eq!(exists(&path), there, "{pattern}");
        }
    }
}
