//! One catalogue, two programs: what one writes the other lists, checks, verifies, restores and deletes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod e2e_support;

use anyhow::{Context as _, Result, ensure};
use e2e_support::*;
use testkit::{Cluster, Program, Sandbox};

/// Restores the backup with `program` and reads the rows.
fn restored_rows(sandbox: &Sandbox, program: &Program, major: u16, id: &str, name: &str) -> Result<String> {
    let to = sandbox.dir().join(name);
    let tablespace = format!("ts:{}", sandbox.dir().join(format!("{name}.ts")).display());
    program.ok([
        "restore",
        "--tablespace",
        &tablespace,
        "main",
        id,
        to.to_str().unwrap(),
    ])?;
    let server = Cluster::builder(major).open(&to)?;
    server.wait_primary(SOON)?;
    server.sql_value("SELECT string_agg(i::text, ',' ORDER BY i) FROM t")
}

fn exchange(major: u16) -> Result<()> {
    let (cluster, sandbox) = archiving(major)?;
    cluster.create_tablespace("ts")?;
    cluster.sql("CREATE TABLE t (i int) TABLESPACE ts")?;
    cluster.sql("INSERT INTO t VALUES (1), (2)")?;
    let (ours, oracle) = (sandbox.barman()?, sandbox.oracle()?);
    let arguments = ["backup", "--immediate-checkpoint", "main"];
    let by_oracle = id_of(&oracle.ok(arguments)?)?;
    let by_us = id_of(&ours.ok(arguments)?)?;
    cluster.sql("INSERT INTO t VALUES (3)")?;
    let last = cluster.switch_wal()?;
    let archived = sandbox.server_dir().join("wals").join(&last[..16]).join(&last);
    let mut turn = 0;
    testkit::wait_until("the last WAL is archived", SOON, || {
        turn += 1;
        if turn % 2 == 0 { &ours } else { &oracle }.ok(["archive-wal", "main"])?;
        Ok(archived.exists())
    })?;

    for (reader, id) in [(&oracle, &by_us), (&ours, &by_oracle)] {
        let listed = reader.ok(["list-backups", "main", "--minimal"])?;
        assert_eq!(
            listed.stdout.lines().collect::<Vec<_>>(),
            [by_us.as_str(), by_oracle.as_str()],
            "{listed}"
        );
        let shown = reader.ok(["show-backup", "main", id])?;
        ensure!(shown.stdout.contains("DONE"), "{shown}");
    }
    for id in [&by_us, &by_oracle] {
        // Everything but the program is the same, so every line is.
        assert_eq!(
            oracle.ok(["show-backup", "main", id])?.stdout,
            ours.ok(["show-backup", "main", id])?.stdout
        );
    }
    assert_eq!(
        oracle.ok(["list-backups", "main"])?.stdout,
        ours.ok(["list-backups", "main"])?.stdout
    );
    assert_eq!(oracle.ok(["check-backup", "main", &by_us])?.stderr, "");
    if major == 15 {
        // pg_verifybackup reads our backup against its manifest.
        oracle.ok(["verify-backup", "main", &by_us])?;
    }
    assert_eq!(
        restored_rows(&sandbox, &oracle, major, &by_us, "ours_by_oracle")?,
        "1,2,3"
    );
    assert_eq!(
        restored_rows(&sandbox, &ours, major, &by_oracle, "oracles_by_us")?,
        "1,2,3"
    );

    oracle.ok(["delete", "main", &by_us])?;
    assert_eq!(ids(&sandbox), [by_oracle.as_str()]);
    let again = id_of(&ours.ok(arguments)?)?;
    ours.ok(["delete", "main", &by_oracle])?;
    assert_eq!(
        oracle.ok(["list-backups", "main", "--minimal"])?.stdout.trim(),
        again
    );
    assert_eq!(field(&sandbox, &again, "status")?, "DONE");
    oracle.ok(["check", "main"])?;
    Ok(())
}

#[test]
fn both_programs_work_on_one_catalogue_15() -> Result<()> {
    exchange(15)
}

#[test]
fn both_programs_work_on_one_catalogue_18() -> Result<()> {
    exchange(18)
}

/// The locks are the oracle's: neither program starts a backup while the other takes one.
#[test]
fn the_lock_of_one_program_holds_for_the_other() -> Result<()> {
    let (_cluster, sandbox) = archiving(15)?;
    backup(&sandbox, &[])?;
    for (first, second) in [
        (sandbox.barman()?, sandbox.oracle()?),
        (sandbox.oracle()?, sandbox.barman()?),
    ] {
        let last = ids(&sandbox).pop();
        // The oracle would take the id of a backup of the same second for its own.
        testkit::wait_until("the second of the last backup is over", SOON, || {
            Ok(Some(jiff::Zoned::now().strftime("%Y%m%dT%H%M%S").to_string()) > last)
        })?;
        let running = first.spawn(["backup", "--immediate-checkpoint", "--bwlimit", "64", "main"])?;
        let id = wait_status(&sandbox, last.as_deref(), "STARTED")
            .with_context(|| format!("{:?} {:?}", running.stdout_so_far(), running.stderr_so_far()))?;
        let refused = second.run(["backup", "main"])?;
        assert_eq!(refused.code, Some(1));
        assert_eq!(
            refused.stderr.lines().next(),
            Some("ERROR: Another backup process is running"),
            "{refused}"
        );
        drop(running);
        assert_eq!(field(&sandbox, &id, "status")?, "STARTED");
        assert_eq!(ids(&sandbox).pop().as_ref(), Some(&id));
    }
    Ok(())
}
