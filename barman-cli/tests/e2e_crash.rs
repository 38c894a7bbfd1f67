//! `barman backup` killed in the middle of a system call: whatever it leaves, no backup looks whole that is not, no WAL
//! is lost, the next backup repairs and succeeds, and ids increase. A few moments, one crash upon the other; every call and
//! every fault, each from the same start: `cargo xtask crash backup`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod e2e_support;

use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e_support::*;
use testkit::strace::{self, Fault};
use testkit::{Cluster, Finished, Sandbox};

/// System calls, and at which of them (counted for each thread) the whole process is killed.
const KILLS: [(&str, &[u32]); 7] = [
    ("rename", &[1, 3, 5]),
    ("renameat2", &[1]),
    ("linkat", &[1]),
    ("unlink", &[1, 2]),
    ("fsync", &[1, 5, 40]),
    ("write", &[8, 200]),
    ("mkdir", &[12]),
];

/// Runs a backup that is killed at the given call; `None` if it did not come that far.
fn killed(sandbox: &Sandbox, call: &str, at: u32) -> Result<Option<Finished>> {
    let done = strace::with_fault(&sandbox.barman()?.timeout(SOON), call, Fault::Kill, at).run([
        "backup",
        "--immediate-checkpoint",
        "main",
    ])?;
    Ok((done.code != Some(0)).then_some(done))
}

/// What the catalogue promises must be there: data that match their manifest, WAL from begin to end.
fn check_promises(cluster: &Cluster, sandbox: &Sandbox, id: &str) -> Result<()> {
    let status = field(sandbox, id, "status")?;
    if status != "DONE" && status != "WAITING_FOR_WALS" {
        return Ok(());
    }
    let data = sandbox.server_dir().join("base").join(id).join("data");
    let verified = Command::new(cluster.tree().program("pg_verifybackup"))
        .args(["-n", "-q"])
        .arg(&data)
        .output()
        .context("run pg_verifybackup")?;
    ensure!(
        verified.status.success(),
        "{id} is {status}: {}",
        String::from_utf8_lossy(&verified.stderr)
    );
    if status == "DONE" {
        for name in ["begin_wal", "end_wal"] {
            let wal = field(sandbox, id, name)?;
            let path = sandbox.server_dir().join("wals").join(&wal[..16]).join(&wal);
            ensure!(path.exists(), "{id} is DONE without {wal}");
        }
    }
    Ok(())
}

/// All WAL that the server has given away since `first` is in the archive or in the queue.
fn check_wal(sandbox: &Sandbox, first: &str, last: &str) -> Result<()> {
    let number = |name: &str| u32::from_str_radix(&name[16..], 16);
    for segment in number(first)?..=number(last)? {
        let name = format!("{}{segment:08X}", &first[..16]);
        let archived = sandbox.server_dir().join("wals").join(&name[..16]).join(&name);
        let queued = sandbox.server_dir().join("incoming").join(&name);
        ensure!(archived.exists() || queued.exists(), "WAL file {name} is lost");
    }
    Ok(())
}

#[test]
fn a_crash_at_any_step_is_repaired_and_loses_nothing() -> Result<()> {
    let (cluster, sandbox) = archiving(15)?;
    let first = backup(&sandbox, &[])?;
    let begin = field(&sandbox, &first, "begin_wal")?;
    let mut kills = 0;
    for (call, moments) in KILLS {
        for at in moments {
            let before = ids(&sandbox);
            if killed(&sandbox, call, *at)?.is_none() {
                continue;
            }
            kills += 1;
            let after = ids(&sandbox);
            ensure!(
                after.starts_with(&before),
                "{call} {at}: {before:?} became {after:?}"
            );
            for id in &after {
                check_promises(&cluster, &sandbox, id).with_context(|| format!("killed at {call} {at}"))?;
            }
            // The next command sees a catalogue that it can read.
            sandbox.barman()?.ok(["list-backups", "main"])?;
        }
    }
    ensure!(kills >= 6, "only {kills} runs were killed");

    let last = backup(&sandbox, &[])?;
    for id in ids(&sandbox) {
        let status = field(&sandbox, &id, "status")?;
        ensure!(status != "EMPTY" && status != "STARTED", "{id} is still {status}");
        check_promises(&cluster, &sandbox, &id)?;
    }
    assert_eq!(field(&sandbox, &last, "status")?, "DONE");
    assert_eq!(ids(&sandbox).pop(), Some(last.clone()));
    check_wal(&sandbox, &begin, &field(&sandbox, &last, "end_wal")?)?;
    let listed = sandbox.oracle()?.ok(["list-backups", "main", "--minimal"])?;
    assert_eq!(
        listed.stdout.lines().count(),
        ids(&sandbox).len(),
        "the oracle reads it all"
    );
    Ok(())
}
