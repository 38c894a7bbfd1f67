//! A cluster under `pgbench` load is backed up within bounded memory, lost, restored, and equal at the chosen moment.
//!
//! `BARMAN_RS_LONG` makes the cluster 1 GiB large; otherwise it is big enough that a process whose memory grows with
//! the size of the backup would be seen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod e2e_support;

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e_support::*;
use testkit::trees::PgTree;
use testkit::{Background, Cluster, Mode, Stop, wait_until};

/// Resident memory that a backup or a restore may use at most, whatever the size (KiB).
const LIMIT: u64 = 64 * 1024;
/// How much more than at the start of the stream the WAL receiver may use at most (KiB). How much that is depends on the
/// size of the program, and the one that is tested is not optimised: what counts in all is measured by the benchmarks.
const RECEIVER_GROWTH: u64 = 4 * 1024;

/// `pgbench` scale: about 15 MiB for each unit.
fn scale() -> u32 {
    if testkit::is_long() { 70 } else { 8 }
}

fn pgbench(cluster: &Cluster, arguments: &[&str]) -> Result<Background> {
    let mut command = Command::new(PgTree::debian(15)?.program("pgbench"));
    command
        .args(["-h", &cluster.socket_dir().display().to_string()])
        .args(["-p", &cluster.port().to_string(), "-U", "postgres"])
        .args(arguments)
        .arg("postgres");
    Background::spawn(command, None)
}

/// The highest resident memory of a running process, in KiB; none once it has ended.
fn peak_memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Waits for the end of a program and tells the most memory it was seen to use.
fn watch(mut program: Background, timeout: Duration) -> Result<(testkit::Finished, u64)> {
    let mut peak = 0;
    wait_until("the program ends", timeout, || {
        peak = peak.max(peak_memory(program.pid()).unwrap_or(0));
        Ok(!program.is_running()?)
    })?;
    Ok((program.wait(SOON)?, peak))
}

/// What must be the same after the restore: every balance and every row of the history.
fn fingerprint(cluster: &Cluster) -> Result<Vec<String>> {
    [
        "SELECT count(*) || '/' || sum(abalance) || '/' || sum(hashint8(aid::bigint * 1000000007 + abalance)) FROM pgbench_accounts",
        "SELECT count(*) || '/' || sum(tbalance) FROM pgbench_tellers",
        "SELECT count(*) || '/' || sum(bbalance) FROM pgbench_branches",
        "SELECT count(*) || '/' || md5(string_agg(h::text, ',' ORDER BY h::text)) FROM pgbench_history h",
    ]
    .into_iter()
    .map(|query| cluster.sql_value(query))
    .collect()
}

#[test]
fn load_does_not_change_what_is_restored_and_memory_stays_bounded() -> Result<()> {
    let patience = Duration::from_secs(600);
    let cluster = Cluster::builder(15).conf("max_wal_size", "4GB").start()?;
    let sandbox = sandbox(&cluster, Mode::Streaming).build()?;
    let scale = scale().to_string();
    let (made, _) = watch(pgbench(&cluster, &["-i", "-q", "-s", &scale])?, patience)?;
    ensure!(made.code == Some(0), "{made}");

    let receiver = sandbox.barman()?.spawn(["receive-wal", "main"])?;
    wait_until("WAL is streamed", SOON, || {
        Ok(cluster.sql_value("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")? == "1")
    })?;
    cluster.switch_wal()?;
    wait_until("the check is content", SOON, || {
        Ok(sandbox.barman()?.run(["check", "main"])?.code == Some(0))
    })?;
    // By now it has everything that a stream needs.
    let receiver_idle = peak_memory(receiver.pid()).context("the receiver has ended")?;

    let load = pgbench(&cluster, &["-n", "-c", "4", "-j", "2", "-T", "3600"])?;
    wait_until("there is load", SOON, || {
        Ok(cluster.sql_value("SELECT count(*) > 100 FROM pgbench_history")? == "t")
    })?;
    let running = sandbox
        .barman()?
        .spawn(["backup", "--immediate-checkpoint", "main"])?;
    let (done, peak) = watch(running, patience)?;
    ensure!(done.code == Some(0), "{done}");
    let id = id_of(&done)?;
    ensure!(peak > 0 && peak < LIMIT, "the backup used {peak} KiB");
    drop(load);

    wait_until("the load has ended", SOON, || {
        Ok(
            cluster.sql_value("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'")?
                == "0",
        )
    })?;
    let expected = fingerprint(&cluster)?;
    cluster.sql("SELECT pg_create_restore_point('chosen')")?;
    let (after, _) = watch(
        pgbench(&cluster, &["-n", "-c", "4", "-j", "2", "-t", "200"])?,
        patience,
    )?;
    ensure!(after.code == Some(0), "{after}");
    ensure!(
        fingerprint(&cluster)? != expected,
        "nothing happened after the target"
    );
    let last = cluster.switch_wal()?;
    cluster.sql("CREATE TABLE one_more ()")?;
    let archived = sandbox.server_dir().join("wals").join(&last[..16]).join(&last);
    wait_until("the last WAL is archived", patience, || {
        sandbox.barman()?.ok(["archive-wal", "main"])?;
        Ok(archived.exists())
    })?;
    let receiver_peak = peak_memory(receiver.pid()).context("the receiver has ended")?;
    ensure!(
        receiver_peak < receiver_idle + RECEIVER_GROWTH,
        "the receiver used {receiver_peak} KiB, {receiver_idle} KiB at the start"
    );
    cluster.stop(Stop::Kill)?;
    std::fs::remove_dir_all(cluster.data_dir())?;

    wait_until("the backup is complete", SOON, || {
        sandbox.barman()?.run(["check-backup", "main", &id])?;
        Ok(field(&sandbox, &id, "status")? == "DONE")
    })?;
    let to = sandbox.dir().join("restored");
    let to_text = to.to_str().context("path")?;
    let running = sandbox.barman()?.spawn([
        "restore",
        "--target-name",
        "chosen",
        "--target-action",
        "promote",
        "main",
        &id,
        to_text,
    ])?;
    let (done, peak) = watch(running, patience)?;
    ensure!(done.code == Some(0), "{done}");
    ensure!(peak > 0 && peak < LIMIT, "the restore used {peak} KiB");

    let server = Cluster::builder(15).open(&to)?;
    server.wait_primary(patience)?;
    assert_eq!(fingerprint(&server)?, expected);
    Ok(())
}
