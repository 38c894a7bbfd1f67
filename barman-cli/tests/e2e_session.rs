//! What goes on beside the copy of `barman backup`: what its role may not read, when its session is open, and what a
//! terminal shows meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod e2e_support;

use anyhow::{Result, ensure};
use e2e_support::*;
use rustix::process::Signal;
use testkit::{Cluster, Sandbox, wait_until};

/// A cluster, and a sandbox whose role has what the documentation asks for and no more.
fn with_a_plain_role() -> Result<(Cluster, Sandbox)> {
    let (cluster, mut sandbox) = archiving(17)?;
    cluster.sql(
        "CREATE ROLE plain LOGIN;
         GRANT pg_read_all_settings, pg_read_all_stats, pg_checkpoint TO plain;
         GRANT EXECUTE ON FUNCTION pg_backup_start(text, bool), pg_backup_stop(bool), pg_switch_wal(),
         pg_create_restore_point(text) TO plain",
    )?;
    let plain = cluster.conninfo().replacen("user=barman", "user=plain", 1);
    sandbox.set_option("conninfo", &plain)?;
    Ok((cluster, sandbox))
}

/// A query that is refused is not taken for an answer: no backup is whole that lacks what was not read.
#[test]
fn what_cannot_be_read_fails_the_backup() -> Result<()> {
    let (cluster, sandbox) = with_a_plain_role()?;
    let location = cluster.create_tablespace("ts")?;
    let id = backup(&sandbox, &[])?;
    ensure!(field(&sandbox, &id, "tablespaces")?.contains(location.to_str().unwrap()));
    ensure!(field(&sandbox, &id, "cluster_size")? != "None");

    cluster.sql("REVOKE EXECUTE ON FUNCTION pg_tablespace_location(oid) FROM PUBLIC")?;
    let done = sandbox.barman()?.run(["backup", "main"])?;
    ensure!(done.code == Some(1), "{done}");
    ensure!(
        done.stderr
            .contains("permission denied for function pg_tablespace_location"),
        "{done}"
    );
    let last = ids(&sandbox).pop().unwrap();
    ensure!(last > id, "{done}");
    assert_eq!(field(&sandbox, &last, "status")?, "FAILED");
    cluster.sql("GRANT EXECUTE ON FUNCTION pg_tablespace_location(oid) TO PUBLIC")?;

    // Who may not read the size of the cluster does not get as far as to record none.
    cluster.sql("REVOKE pg_read_all_stats FROM plain")?;
    let done = sandbox.barman()?.run(["backup", "main"])?;
    ensure!(
        done.code == Some(1) && done.stderr.contains("privileges for PostgreSQL backup functions"),
        "{done}"
    );
    assert_eq!(ids(&sandbox).pop().unwrap(), last);
    Ok(())
}

/// Nothing has to be kept alive: while the server sends the copy it has no other session of ours.
#[test]
fn no_session_is_open_during_the_copy() -> Result<()> {
    let (cluster, mut sandbox) = archiving(15)?;
    sandbox.set_option("keepalive_interval", "1")?;
    let arguments = ["backup", "--immediate-checkpoint", "--bwlimit", "64", "main"];
    let mut running = sandbox.barman()?.spawn(arguments)?;
    let streaming = "SELECT count(*) FROM pg_stat_progress_basebackup WHERE backup_streamed > 65536";
    wait_until("the copy runs", SOON, || Ok(cluster.sql_value(streaming)? == "1"))?;
    // Of its two roles: sessions of the test, and of the server itself, come and go. One that was given up before the copy
    // may need a moment to end.
    let sessions = "SELECT string_agg(application_name, ' ') FROM pg_stat_activity
                    WHERE usename IN ('barman', 'streaming_barman')";
    wait_until("it has one session, that of the copy", SOON, || {
        ensure!(running.is_running()?);
        Ok(cluster.sql_value(sessions)? == "barman_streaming_backup")
    })?;
    ensure!(running.is_running()?);
    running.signal(Signal::INT)?;
    running.wait(SOON)?;
    Ok(())
}

/// What the program says on standard error there, which `script` makes a terminal, or does not.
fn on_a_terminal(sandbox: &Sandbox, arguments: &str) -> Result<String> {
    let line = format!(
        "{} -c {} {arguments} 2>&1 >/dev/null",
        env!("CARGO_BIN_EXE_barman"),
        sandbox.config_path().display()
    );
    let output = std::process::Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(std::process::Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{text}");
    Ok(text)
}

#[test]
fn progress_is_shown_on_terminals_alone() -> Result<()> {
    let (_cluster, sandbox) = archiving(16)?;
    let to = |name: &str| sandbox.dir().join(name).display().to_string();
    for (arguments, what) in [
        ("backup --immediate-checkpoint main".to_owned(), "base backup"),
        (
            format!("restore main latest {}", to("one")),
            "Copying the base backup",
        ),
        ("rebuild-xlogdb main".to_owned(), "Looking at WAL of main"),
    ] {
        let shown = on_a_terminal(&sandbox, &arguments)?;
        ensure!(shown.contains(&format!("{what} ")), "{arguments}: {shown:?}");
    }
    let quiet = on_a_terminal(&sandbox, "-q backup --immediate-checkpoint main")?;
    ensure!(!quiet.contains("base backup"), "{quiet:?}");
    let done = sandbox
        .barman()?
        .ok(["backup", "--immediate-checkpoint", "main"])?;
    assert_eq!(done.stderr, "", "{done}");
    let done = sandbox.barman()?.ok(["restore", "main", "latest", &to("two")])?;
    assert_eq!(done.stderr, "", "{done}");
    Ok(())
}
