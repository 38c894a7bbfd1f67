//! The main path as a user walks it: WAL streamed, a backup under load with tablespaces, the WAL archived, restores to
//! a time, a position and a name. The proof is the rows that the restored server has.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod e2e_support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use e2e_support::*;
use testkit::{Cluster, Mode, Sandbox, wait_until};

/// Inserts rows as fast as one session can, until told to stop; how many it committed.
fn load(cluster: &Cluster, stop: &Arc<AtomicBool>) -> Result<thread::JoinHandle<Result<i64>>> {
    let mut client = cluster.client()?;
    let stop = Arc::clone(stop);
    Ok(thread::spawn(move || {
        let mut last = 0;
        while !stop.load(Ordering::Relaxed) {
            last += 1;
            client.batch_execute(&format!("INSERT INTO load VALUES ({last}, repeat('x', 200))"))?;
        }
        Ok(last)
    }))
}

/// Restores the backup with the options of a target, starts a server on it, and lists the marks it has.
fn marks_of(
    sandbox: &Sandbox,
    major: u16,
    id: &str,
    name: &str,
    target: &[&str],
) -> Result<(Cluster, Vec<String>)> {
    let to = sandbox.dir().join(name);
    let tablespace = format!("ts_out:{}", sandbox.dir().join(format!("{name}.ts")).display());
    let mut arguments = vec!["restore", "--tablespace", &tablespace];
    arguments.extend(target);
    if !target.is_empty() {
        arguments.extend(["--target-action", "promote"]);
    }
    let to_text = to.to_str().context("path")?;
    arguments.extend(["main", id, to_text]);
    sandbox.barman()?.ok(arguments)?;
    let server = started(major, &to)?;
    let marks = server.sql("SELECT name FROM mark ORDER BY name")?;
    Ok((
        server,
        marks
            .into_iter()
            .filter_map(|row| row.into_iter().next().flatten())
            .collect(),
    ))
}

fn started(major: u16, data: &Path) -> Result<Cluster> {
    let server = Cluster::builder(major).open(data)?;
    server.wait_primary(SOON)?;
    Ok(server)
}

/// Closes the current WAL segment of `primary`, lets a checkpoint remove what no slot needs, and sees the segment into
/// the archive.
fn archive_current(primary: &Cluster, sandbox: &Sandbox) -> Result<()> {
    let last = primary.switch_wal()?;
    primary.sql("CHECKPOINT")?;
    let archived = sandbox.server_dir().join("wals").join(&last[..16]).join(&last);
    wait_until("the closed WAL segment is archived", SOON, || {
        sandbox.barman()?.ok(["archive-wal", "main"])?;
        Ok(archived.exists())
    })
    .with_context(|| {
        let wals = tree(&sandbox.server_dir().join("wals"));
        format!(
            "{last}: {:?}, {wals:?}, {}",
            tree(&sandbox.server_dir().join("streaming")),
            sandbox.log()
        )
    })
}

fn main_path(major: u16) -> Result<()> {
    let cluster = Cluster::start_new(major)?;
    let sandbox = sandbox(&cluster, Mode::Streaming).build()?;
    cluster.create_tablespace("ts_out")?;
    cluster.sql("CREATE TABLE load (i int, filler text)")?;
    cluster.sql("CREATE TABLE mark (name text) TABLESPACE ts_out")?;
    let _receiver = sandbox.barman()?.spawn(["receive-wal", "main"])?;
    wait_until("WAL is streamed", SOON, || {
        Ok(cluster.sql_value("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")? == "1")
    })?;
    archive_current(&cluster, &sandbox)?;

    let stop = Arc::new(AtomicBool::new(false));
    let writer = load(&cluster, &stop)?;
    let done = sandbox.barman()?.ok([
        "backup",
        "--immediate-checkpoint",
        "--wait",
        "--wait-timeout",
        "120",
        "main",
    ])?;
    stop.store(true, Ordering::Relaxed);
    let rows = writer.join().unwrap()?;
    ensure!(rows > 10, "no load: {rows}");
    let id = id_of(&done)?;
    assert_eq!(field(&sandbox, &id, "status")?, "DONE", "{done}");

    let mark = |name: &str| cluster.sql(&format!("INSERT INTO mark VALUES ('{name}')"));
    mark("a")?;
    let lsn = cluster.sql_value("SELECT pg_current_wal_insert_lsn()")?;
    mark("b")?;
    let time = cluster.sql_value("SELECT clock_timestamp()")?;
    cluster.sql("SELECT pg_sleep(0.01)")?;
    mark("c")?;
    cluster.sql("SELECT pg_create_restore_point('before_d')")?;
    mark("d")?;
    archive_current(&cluster, &sandbox)?;

    let (_, marks) = marks_of(&sandbox, major, &id, "by_lsn", &["--target-lsn", &lsn])?;
    assert_eq!(marks, ["a"]);
    let (_, marks) = marks_of(&sandbox, major, &id, "by_time", &["--target-time", &time])?;
    assert_eq!(marks, ["a", "b"]);
    let (_, marks) = marks_of(&sandbox, major, &id, "by_name", &["--target-name", "before_d"])?;
    assert_eq!(marks, ["a", "b", "c"]);
    let own_point = format!("barman_{id}");
    let (_, marks) = marks_of(
        &sandbox,
        major,
        &id,
        "by_own_name",
        &["--target-name", &own_point],
    )?;
    assert_eq!(marks, [""; 0]);
    let (server, marks) = marks_of(&sandbox, major, &id, "to_the_end", &[])?;
    assert_eq!(marks, ["a", "b", "c", "d"]);
    assert_eq!(server.sql_value("SELECT count(*) FROM load")?, rows.to_string());
    assert_eq!(
        server.sql_value("SELECT count(*) FROM pg_tablespace WHERE spcname = 'ts_out'")?,
        "1"
    );
    Ok(())
}

#[test]
fn the_main_path_restores_what_was_committed_10() -> Result<()> {
    main_path(10)
}

#[test]
fn the_main_path_restores_what_was_committed_11() -> Result<()> {
    main_path(11)
}

#[test]
fn the_main_path_restores_what_was_committed_12() -> Result<()> {
    main_path(12)
}

#[test]
fn the_main_path_restores_what_was_committed_13() -> Result<()> {
    main_path(13)
}

#[test]
fn the_main_path_restores_what_was_committed_14() -> Result<()> {
    main_path(14)
}

#[test]
fn the_main_path_restores_what_was_committed_15() -> Result<()> {
    main_path(15)
}

#[test]
fn the_main_path_restores_what_was_committed_16() -> Result<()> {
    main_path(16)
}

#[test]
fn the_main_path_restores_what_was_committed_17() -> Result<()> {
    main_path(17)
}

#[test]
fn the_main_path_restores_what_was_committed_18() -> Result<()> {
    main_path(18)
}

#[test]
fn a_backup_from_a_standby_restores() -> Result<()> {
    restored_from_standby(15)
}

#[test]
fn a_backup_from_a_standby_with_recovery_conf_restores() -> Result<()> {
    restored_from_standby(11)
}

fn restored_from_standby(major: u16) -> Result<()> {
    // What makes a standby, and what is written where recovery is asked for.
    let (keep, signals) = if major < 12 {
        (("wal_keep_segments", "16"), ["recovery.conf", "recovery.conf"])
    } else {
        (("wal_keep_size", "256MB"), ["standby.signal", "recovery.signal"])
    };
    let primary = Cluster::builder(major).conf(keep.0, keep.1).start()?;
    primary.sql("CREATE TABLE mark (name text)")?;
    primary.sql("INSERT INTO mark VALUES ('a')")?;
    let standby = Cluster::builder(major)
        .conf(keep.0, keep.1)
        .standby_of(&primary)?;
    let mut sandbox = sandbox(&standby, Mode::Streaming).build()?;
    sandbox.set_option("primary_conninfo", &primary.conninfo())?;
    let _receiver = sandbox.barman()?.spawn(["receive-wal", "main"])?;
    wait_until("WAL is streamed", SOON, || {
        Ok(standby.sql_value("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")? == "1")
    })?;
    // With its checkpoint: the backup begins at one that the receiver has seen, not at one from before it.
    archive_current(&primary, &sandbox)?;
    let lsn = primary.current_lsn()?;
    wait_until("the standby has replayed it", SOON, || {
        Ok(standby.sql_value(&format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}'"))? == "t")
    })?;
    let done = sandbox.barman()?.ok([
        "backup",
        "--immediate-checkpoint",
        "--wait",
        "--wait-timeout",
        "120",
        "main",
    ])?;
    let id = id_of(&done)?;
    let start = done
        .stdout
        .lines()
        .find(|line| line.starts_with("Backup start at LSN: "))
        .context("no start line")?;
    ensure!(
        !start.contains('('),
        "the file is not known on a standby: {start}"
    );
    assert_eq!(field(&sandbox, &id, "status")?, "DONE", "{done}");
    let to = sandbox.dir().join("restored");
    sandbox.barman()?.ok([
        "restore",
        "--target-immediate",
        "--target-action",
        "promote",
        "main",
        &id,
        to.to_str().unwrap(),
    ])?;
    // Without standby.signal of the source, which would come before recovery.signal, recovery ends.
    let written = std::fs::read_to_string(to.join(signals[1]))?;
    ensure!(
        !to.join("standby.signal").exists() && !written.contains("standby_mode"),
        "{written}"
    );
    let server = started(major, &to)?;
    ensure!(
        !to.join(signals[1]).exists(),
        "the next start would recover again"
    );
    assert_eq!(server.sql_value("SELECT string_agg(name, ',') FROM mark")?, "a");
    server.sql("INSERT INTO mark VALUES ('of its own')")?;
    drop(server);
    // Without a target: it would follow the primary of the standby otherwise.
    ensure!(
        sandbox
            .server_dir()
            .join(format!("base/{id}/data/{}", signals[0]))
            .exists()
    );
    let plain = sandbox.dir().join("plain");
    let done = sandbox
        .barman()?
        .ok(["restore", "main", &id, plain.to_str().unwrap()])?;
    let told = format!("taken from a standby. Its {} is left out", signals[0]);
    ensure!(done.stderr.contains(&told), "{done}");
    ensure!(!plain.join(signals[0]).exists());
    let server = started(major, &plain)?;
    server.sql("INSERT INTO mark VALUES ('of its own')")?;
    drop(server);
    // A standby only if one is asked for.
    let copy = sandbox.dir().join("standby");
    let done = sandbox
        .barman()?
        .ok(["restore", "--standby-mode", "main", &id, copy.to_str().unwrap()])?;
    if major < 12 {
        ensure!(done.stderr.contains("with primary_conninfo"), "{done}");
        let written = std::fs::read_to_string(copy.join("recovery.conf"))?;
        ensure!(
            written.contains("standby_mode = 'on'") && !written.contains("primary_conninfo"),
            "{written}"
        );
        let conninfo = primary.conninfo().replace('\'', "''");
        std::fs::write(
            copy.join("recovery.conf"),
            format!("{written}primary_conninfo = '{conninfo}'\n"),
        )?;
    } else {
        ensure!(!done.stderr.contains("taken from a standby"), "{done}");
    }
    let server = Cluster::builder(major).open(&copy)?;
    wait_until("it follows the primary", SOON, || {
        Ok(server.sql_value("SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'")? == "1")
    })?;
    Ok(())
}

#[test]
fn a_tablespace_inside_the_data_directory_is_part_of_it() -> Result<()> {
    for major in [15, 18] {
        let (cluster, sandbox) = archiving(major)?;
        cluster.create_tablespace("outside")?;
        cluster.alter_system("allow_in_place_tablespaces", "on")?;
        cluster.sql("CREATE TABLESPACE inside LOCATION ''")?;
        cluster.sql("CREATE TABLE mark TABLESPACE inside AS SELECT 'a' AS name")?;
        cluster.sql("CREATE TABLE other TABLESPACE outside AS SELECT 'b' AS name")?;
        let oid = cluster.sql_value("SELECT oid FROM pg_tablespace WHERE spcname = 'inside'")?;
        let id = backup(&sandbox, &["--wait"])?;
        let base = sandbox.server_dir().join("base").join(&id);
        ensure!(base.join("data/pg_tblspc").join(&oid).is_dir() && !base.join(&oid).exists());
        assert_eq!(std::fs::read_dir(&base)?.count(), 2);
        let to = sandbox.dir().join("restored");
        let aside = format!("outside:{}", sandbox.dir().join("restored.outside").display());
        sandbox.barman()?.ok([
            "restore",
            "--tablespace",
            &aside,
            "main",
            &id,
            to.to_str().context("path")?,
        ])?;
        let server = started(major, &to)?;
        assert_eq!(
            server.sql_value("SELECT mark.name || other.name FROM mark, other")?,
            "ab"
        );
    }
    Ok(())
}
