//! `backup` and `receive-wal` over a network that stalls, breaks and lies: a clear error or a right result, never a wrong file, and the next run works.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod e2e_support;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e_support::against_server::*;
use e2e_support::*;
use rustix::process::Signal;
use testkit::proxy::{Action, Admission, BACKUP_DATA_OFFSET, Direction, Fault, What, Which};
use testkit::{Background, Cluster, Finished, Mode, PgTree, Proxy, Sandbox};

/// A cluster that archives directly, and whose base backups go through a proxy.
fn backed_up_through(tree: Option<PgTree>, major: u16) -> Result<(Cluster, Proxy, Sandbox)> {
    let mut builder = Cluster::builder(major);
    if let Some(tree) = tree {
        builder = builder.tree(tree);
    }
    let cluster = builder.start()?;
    cluster
        .sql("CREATE TABLE t AS SELECT i, repeat(md5(i::text), 20) AS f FROM generate_series(1, 20000) i")?;
    let proxy = Proxy::to(&cluster)?;
    let mut sandbox = sandbox(&cluster, Mode::Archiver).build()?;
    let through = proxy.conninfo(&cluster.tcp_streaming_conninfo());
    sandbox.set_option("streaming_conninfo", &through)?;
    Ok((cluster, proxy, sandbox))
}

fn start_backup(sandbox: &Sandbox) -> Result<Background> {
    sandbox
        .barman()?
        .spawn(["backup", "--immediate-checkpoint", "main"])
}

/// The backup was refused: exit code 1, an error that says something, and what it left says that it failed and cannot be taken for a cluster.
fn refused(sandbox: &Sandbox, done: &Finished, before: &[String], what: &str) -> Result<()> {
    ensure!(done.code == Some(1), "{what}: {done}");
    ensure!(done.stderr.contains("ERROR: "), "{what}: {done}");
    ensure!(!done.stderr.contains("panic"), "{what}: {done}");
    for id in ids(sandbox).iter().filter(|id| !before.contains(id)) {
        assert_eq!(field(sandbox, id, "status")?, "FAILED", "{what}");
        let data = sandbox.server_dir().join("base").join(id).join("data");
        ensure!(
            !data.join("global/pg_control").exists(),
            "{what}: {id} looks whole"
        );
    }
    Ok(())
}

fn broken_backups(tree: Option<PgTree>, major: u16) -> Result<()> {
    let (_cluster, proxy, sandbox) = backed_up_through(tree, major)?;
    let data = |nth, action| Fault::to_client(What::Type(b'd'), nth, action);
    let cases = [
        ("reset at the first piece", data(1, Action::Reset)),
        ("reset in the middle", data(300, Action::Reset)),
        ("closed in the middle", data(300, Action::CloseGracefully)),
        ("closed inside a message", data(300, Action::Truncate)),
        (
            "closed at a byte",
            Fault::at_byte(Direction::ToClient, 3_000_001, Action::CloseGracefully),
        ),
        ("one direction ends", data(300, Action::HalfClose)),
        ("a piece comes twice", data(300, Action::Duplicate)),
        ("a wrong message type", data(300, Action::Flip(1))),
        ("a negative length", data(300, Action::Flip(15))),
        ("a length too large", data(300, Action::Flip(8 + 6))),
        (
            "reset at the end of the copy",
            Fault::to_client(What::Type(b'c'), 1, Action::Reset),
        ),
        (
            "closed at the end of the copy",
            Fault::to_client(What::Type(b'c'), 1, Action::CloseGracefully),
        ),
        (
            "reset at the command",
            Fault::to_server(What::Type(b'Q'), 2, Action::Reset),
        ),
        (
            "the command is cut",
            Fault::to_server(What::Type(b'Q'), 2, Action::Truncate),
        ),
    ];
    for (what, fault) in cases {
        let before = ids(&sandbox);
        // The check before a backup and the backup itself have connections of their own: the fault waits for the one that copies.
        proxy.set([fault.on(Which::Replication)]);
        let done = start_backup(&sandbox)?.wait(SOON).context(what)?;
        ensure!(proxy.fired() == 1, "{what} did not strike: {done}");
        refused(&sandbox, &done, &before, what)?;
    }

    // A flipped bit of a file's content, wherever it is: refused, or it was in what nobody reads.
    let mut refusals = 0;
    for nth in [20, 150, 300, 450, 600] {
        let before = ids(&sandbox);
        let bit = 8 * (BACKUP_DATA_OFFSET + 5000) + 3;
        proxy.set([data(nth, Action::Flip(bit)).on(Which::Replication)]);
        let done = start_backup(&sandbox)?.wait(SOON)?;
        ensure!(proxy.fired() == 1, "{done}");
        if done.code == Some(0) {
            verify(&sandbox, major, &id_of(&done)?)?;
        } else {
            refused(&sandbox, &done, &before, "flipped bit")?;
            ensure!(
                done.stderr.contains("checksum") || done.stderr.contains("tar"),
                "{done}"
            );
            refusals += 1;
        }
    }
    ensure!(refusals >= 2, "{refusals} of 5 flipped bits were noticed");

    proxy.clear();
    let done = start_backup(&sandbox)?.wait(SOON)?;
    ensure!(done.code == Some(0), "{done}");
    let id = id_of(&done)?;
    assert_eq!(field(&sandbox, &id, "status")?, "DONE");
    verify(&sandbox, major, &id)
}

#[test]
fn a_broken_copy_is_never_called_a_backup_14() -> Result<()> {
    broken_backups(None, 14)
}

#[test]
fn a_broken_copy_is_never_called_a_backup_in_the_newest_complete_tree() -> Result<()> {
    let tree = PgTree::complete().pop().context("no complete tree")?;
    let major = tree.major();
    broken_backups(Some(tree), major)
}

#[test]
fn a_slow_or_stalled_copy_goes_on_or_ends_when_it_is_told() -> Result<()> {
    let (_cluster, proxy, sandbox) = backed_up_through(None, 15)?;
    let at = |action| [Fault::to_client(What::CopyData(b'd'), 200, action).on(Which::Replication)];
    for action in [Action::Stall, Action::StallForAcks] {
        proxy.set(at(action));
        let mut running = start_backup(&sandbox)?;
        proxy.wait_fired(1, SOON)?;
        ensure!(running.is_running()?, "{action:?}");
        proxy.clear();
        let done = running.wait(SOON)?;
        ensure!(done.code == Some(0), "{action:?}: {done}");
        verify(&sandbox, 15, &id_of(&done)?)?;

        let before = ids(&sandbox);
        proxy.set(at(action));
        let mut running = start_backup(&sandbox)?;
        proxy.wait_fired(1, SOON)?;
        running.signal(Signal::TERM)?;
        let done = running.wait(SOON).with_context(|| format!("{action:?}"))?;
        refused(&sandbox, &done, &before, "stopped in a stall")?;
    }
    for action in [
        Action::Delay(Duration::from_millis(2)),
        Action::Throttle(16 << 20),
    ] {
        proxy.set(at(action));
        let done = start_backup(&sandbox)?.wait(SOON)?;
        ensure!(done.code == Some(0) && proxy.fired() == 1, "{action:?}: {done}");
        verify(&sandbox, 15, &id_of(&done)?)?;
    }
    Ok(())
}

/// A server that nobody answers for: neither command hangs, both say which one.
#[test]
fn a_server_that_refuses_or_never_answers_is_said() -> Result<()> {
    let (cluster, proxy, mut sandbox) = backed_up_through(None, 15)?;
    let direct = cluster.tcp_conninfo();
    let streaming = cluster.tcp_streaming_conninfo();
    for (admission, limit) in [(Admission::Refuse, ""), (Admission::Silent, " connect_timeout=2")] {
        proxy.admit(admission)?;
        sandbox.set_option("streaming_conninfo", &(proxy.conninfo(&streaming) + limit))?;
        sandbox.set_option("streaming_archiver", "on")?;
        sandbox.set_option("conninfo", &(proxy.conninfo(&direct) + limit))?;
        for command in ["backup", "receive-wal"] {
            let done = sandbox.barman()?.run([command, "main"])?;
            ensure!(done.code == Some(1), "{command} {admission:?}: {done}");
            ensure!(done.stderr.contains("ERROR: "), "{command} {admission:?}: {done}");
            ensure!(
                !done.stderr.contains("password"),
                "{command} {admission:?}: {done}"
            );
            ensure!(ids(&sandbox).is_empty());
        }
    }
    Ok(())
}

/// A cluster with small segments whose WAL is streamed through a proxy.
fn streamed_through(major: u16) -> Result<(Cluster, Proxy, Sandbox)> {
    let cluster = Cluster::builder(major)
        .wal_segment_mb(1)
        .conf(
            if major < 13 {
                "wal_keep_segments"
            } else {
                "wal_keep_size"
            },
            "900",
        )
        .conf("autovacuum", "off")
        .start()?;
    let proxy = Proxy::to(&cluster)?;
    let mut sandbox = sandbox(&cluster, Mode::Streaming).build()?;
    let through = proxy.conninfo(&cluster.tcp_streaming_conninfo());
    sandbox.set_option("streaming_conninfo", &through)?;
    sandbox.barman()?.ok(["receive-wal", "--create-slot", "main"])?;
    cluster.sql("CREATE TABLE t (f text)")?;
    Ok((cluster, proxy, sandbox))
}

fn broken_streams(major: u16) -> Result<()> {
    let (cluster, proxy, sandbox) = streamed_through(major)?;
    let wal = |nth, action| Fault::to_client(What::CopyData(b'w'), nth, action);
    // What only the server's patience ends, which must be long otherwise: a busy machine tries it.
    let silence = "status messages never arrive";
    let cases = [
        ("reset", wal(5, Action::Reset)),
        ("closed", wal(5, Action::CloseGracefully)),
        ("closed inside a message", wal(5, Action::Truncate)),
        ("one direction ends", wal(5, Action::HalfClose)),
        ("a piece comes twice", wal(5, Action::Duplicate)),
        ("a wrong message type", wal(5, Action::Flip(1))),
        ("a negative length", wal(5, Action::Flip(15))),
        ("a wrong start position", wal(5, Action::Flip(8 * 13 + 4))),
        (
            silence,
            Fault::to_server(What::CopyData(b'r'), 2, Action::StallForAcks),
        ),
        (
            "the command is cut",
            Fault::to_server(What::Type(b'Q'), 2, Action::Truncate),
        ),
    ];
    let mut archived = 0;
    for (what, fault) in cases {
        if what == silence {
            cluster.alter_system("wal_sender_timeout", "6s")?;
        }
        proxy.set([fault]);
        let receiver = start_receiver(&cluster, &sandbox)?;
        load(&cluster)?;
        cluster.switch_wal()?;
        let done = receiver.wait(SOON).context(what)?;
        ensure!(proxy.fired() == 1, "{what} did not strike: {done}");
        ensure!(done.code == Some(1), "{what}: {done}");
        ensure!(done.stderr.contains("ERROR: "), "{what}: {done}");

        if what == silence {
            cluster.alter_system("wal_sender_timeout", "60s")?;
        }
        proxy.clear();
        former_receiver_has_gone(&cluster)?;
        let mut receiver = sandbox.barman()?.spawn(["receive-wal", "main"])?;
        let last = cluster.switch_wal()?;
        caught_up(&cluster, &sandbox, &last).with_context(|| format!("after: {what}"))?;
        receiver.signal(Signal::TERM)?;
        receiver.wait(SOON)?;
        sandbox.barman()?.ok(["archive-wal", "main"])?;
        let now = compare_wal(&cluster, &sandbox)?;
        ensure!(now >= archived + 3, "{what}: {archived} files became {now}");
        archived = now;
    }
    Ok(())
}

#[test]
fn a_broken_stream_goes_on_where_it_was_12() -> Result<()> {
    broken_streams(12)
}

#[test]
fn a_broken_stream_goes_on_where_it_was_18() -> Result<()> {
    broken_streams(18)
}

/// A stream that stalls goes on when the network does, and ends at once when it is told to.
#[test]
fn a_stalled_stream_goes_on_or_ends_when_it_is_told() -> Result<()> {
    let (cluster, proxy, sandbox) = streamed_through(15)?;
    for action in [
        Action::Stall,
        Action::StallForAcks,
        Action::Delay(Duration::from_millis(1)),
    ] {
        proxy.set([Fault::to_client(What::CopyData(b'w'), 3, action)]);
        let mut receiver = start_receiver(&cluster, &sandbox)?;
        load(&cluster)?;
        let last = cluster.switch_wal()?;
        proxy.wait_fired(1, SOON)?;
        ensure!(receiver.is_running()?, "{action:?}");
        proxy.clear();
        caught_up(&cluster, &sandbox, &last)?;

        // (Of the stream that runs: its connection exists already.)
        proxy.set([Fault::to_client(What::CopyData(b'w'), 3, action)]);
        load(&cluster)?;
        proxy.wait_fired(1, SOON)?;
        receiver.signal(Signal::TERM)?;
        let done = receiver.wait(SOON)?;
        ensure!(done.signal.is_none(), "{action:?}: {done}");
        proxy.clear();
        sandbox.barman()?.ok(["archive-wal", "main"])?;
        compare_wal(&cluster, &sandbox)?;
    }
    Ok(())
}
