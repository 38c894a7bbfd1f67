//! The programs beside which ours is measured: where they are, or why they are not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use testkit::{Needs, PgTree, Program, Sandbox, cache, trees};

use super::world::PATIENCE;
use crate::{run, setup};

/// A PostgreSQL client program that can talk to a server of `major`.
///
/// # Errors
/// No tree that is installed has it.
pub fn postgres(major: u16, name: &str) -> Result<Program> {
    let needs = Needs {
        client_tools: true,
        ..Needs::default()
    };
    // The tools of the same major where they are there, else newer ones that can talk to it.
    let bin = match PgTree::with(major, needs) {
        Ok(tree) => tree.bin().to_owned(),
        Err(_) => trees::client_bin(major)?,
    };
    let path = bin.join(name);
    ensure!(
        path.exists(),
        "no installed PostgreSQL has {name} for {major} ({} is not there)",
        path.display()
    );
    Ok(Program::new(path).timeout(PATIENCE))
}

/// A program of the system.
///
/// # Errors
/// It is not installed.
pub fn system(name: &str) -> Result<Program> {
    let path = run::find(name).with_context(|| format!("{name} is not installed"))?;
    Ok(Program::new(path).timeout(PATIENCE))
}

/// pgBackRest: the one that the setup fetched, else the system's.
///
/// # Errors
/// There is none.
pub fn pgbackrest() -> Result<PathBuf> {
    trees::pgbackrest()
        .or_else(|| run::find("pgbackrest"))
        .context("pgbackrest is not installed, and no package of it could be had")
}

/// The oracle of a sandbox, able to use the compressions for which Barman wants Python modules of others.
///
/// # Errors
/// It is not installed.
pub fn oracle(sandbox: &Sandbox) -> Result<Program> {
    let oracle = sandbox.oracle()?.timeout(PATIENCE);
    Ok(oracle.env("PYTHONPATH", setup::oracle_modules()))
}

/// A line of shell, for a peer that is more than one program. `$1`, `$2`... are the arguments of its runs.
///
/// # Errors
/// There is no shell.
pub fn shell(line: &str) -> Result<Program> {
    Ok(system("sh")?.arg("-c").arg(line).arg("sh"))
}

/// The versions of all peers that are there.
pub fn versions() -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    let oracle = cache::oracle_program();
    if oracle.exists() {
        versions.insert("oracle".to_owned(), format!("Barman {}", cache::ORACLE_VERSION));
    }
    if let Some(text) = pgbackrest().ok().and_then(|path| version(&path, "version")) {
        versions.insert("pgbackrest".to_owned(), text);
    }
    for name in ["cp", "gzip", "pigz", "zstd", "lz4", "xz", "bzip2", "rsync"] {
        let found = run::find(name).and_then(|path| version(&path, "--version"));
        if let Some(text) = found {
            versions.insert(name.to_owned(), text);
        }
    }
    for major in [15, 17, 18] {
        let found = postgres(major, "pg_basebackup").ok();
        if let Some(text) = found.and_then(|program| version(program.path(), "--version")) {
            versions.insert(format!("PostgreSQL {major} clients"), text);
        }
    }
    versions
}

/// The first version-like word that a program says of itself.
fn version(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    version_in(&String::from_utf8_lossy(&text))
}

/// The first word with a dot between digits, without what stands around it.
fn version_in(text: &str) -> Option<String> {
    text.split(|c: char| c.is_whitespace() || c == ',')
        .map(|word| {
            word.trim_matches(|c: char| !c.is_ascii_alphanumeric())
                .trim_start_matches('v')
        })
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (text, expected) in [
            ("pgBackRest 2.45\n", Some("2.45")),
            ("cp (GNU coreutils) 9.1\nCopyright (C) 2022", Some("9.1")),
            (
                "*** Zstandard CLI (64-bit) v1.5.4, by Yann Collet ***",
                Some("1.5.4"),
            ),
            (
                "bzip2, a block-sorting file compressor.  Version 1.0.8, 13-Jul-2019.",
                Some("1.0.8"),
            ),
            (
                "pg_basebackup (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)",
                Some("15.14"),
            ),
            ("no version here", None),
        ] {
            assert_eq!(version_in(text).as_deref(), expected, "{text}");
        }
    }
}
