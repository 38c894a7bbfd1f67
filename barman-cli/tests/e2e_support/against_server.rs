//! WAL streams and base backups held against what the server has: for tests of faults.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use testkit::{Background, Cluster, Needs, PgTree, Sandbox, wait_until};

use super::{SOON, tree};

/// Insists that a backup that the catalogue calls good is whole, by PostgreSQL's own word.
pub fn verify(sandbox: &Sandbox, major: u16, id: &str) -> Result<()> {
    // The tool of 15 reads manifests from 13 on, of version 1; the newer ones need their own.
    let tree = PgTree::with(major.max(15), Needs::ALL)?;
    let data = sandbox.server_dir().join("base").join(id).join("data");
    let verified = Command::new(tree.program("pg_verifybackup"))
        .args(["-n", "-q"])
        .arg(&data)
        .output()
        .context("run pg_verifybackup")?;
    ensure!(
        verified.status.success(),
        "{id} is called good: {}",
        String::from_utf8_lossy(&verified.stderr)
    );
    Ok(())
}

/// Waits until the server has noticed that its receiver is gone: its slot is in use until then. (In some versions for a
/// moment longer than it is listed.)
pub fn former_receiver_has_gone(cluster: &Cluster) -> Result<()> {
    let left = "SELECT (SELECT count(*) FROM pg_stat_replication)
                     + (SELECT count(*) FROM pg_replication_slots WHERE active)";
    wait_until("the server knows no former receiver", SOON, || {
        Ok(cluster.sql_value(left)? == "0")
    })
}

/// Starts a receiver and waits until it streams, or has ended.
pub fn start_receiver(cluster: &Cluster, sandbox: &Sandbox) -> Result<Background> {
    former_receiver_has_gone(cluster)?;
    let mut receiver = sandbox.barman()?.spawn(["receive-wal", "main"])?;
    let state = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
    wait_until("the receiver streams", SOON, || {
        Ok(cluster.sql_value(state)? == "1" || !receiver.is_running()?)
    })?;
    Ok(receiver)
}

/// About three megabytes of WAL.
pub fn load(cluster: &Cluster) -> Result<()> {
    cluster
        .sql("INSERT INTO t SELECT repeat(md5(i::text), 10) FROM generate_series(1, 8000) i")
        .map(drop)
}

/// Everything in the archive is what the server wrote, and nothing between its first and its last file is missing; its number of files.
pub fn compare_wal(cluster: &Cluster, sandbox: &Sandbox) -> Result<usize> {
    let wals = sandbox.server_dir().join("wals");
    let mut numbers = Vec::new();
    for name in tree(&wals)? {
        let file_name = Path::new(&name).file_name().unwrap().to_str().unwrap();
        if file_name.len() != 24 || name.ends_with('/') {
            continue;
        }
        let ours = std::fs::read(wals.join(&name))?;
        let theirs = std::fs::read(cluster.data_dir().join("pg_wal").join(file_name))?;
        ensure!(ours == theirs, "{file_name} is not what the server wrote");
        // Segments of 1 MiB: 4096 to a log file.
        numbers.push(
            u64::from_str_radix(&file_name[8..16], 16)? * 4096 + u64::from_str_radix(&file_name[16..], 16)?,
        );
    }
    numbers.sort_unstable();
    ensure!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "there is a hole in {numbers:?}"
    );
    Ok(numbers.len())
}

/// Waits until the receiver has all that the server has written.
pub fn caught_up(cluster: &Cluster, sandbox: &Sandbox, last: &str) -> Result<()> {
    let streaming = sandbox.server_dir().join("streaming").join(last);
    wait_until("the last segment has come", SOON, || Ok(streaming.exists()))
        .with_context(|| cluster.log_tail())
}
