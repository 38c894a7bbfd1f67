//! Streams of PostgreSQL's replication protocol: base backups and WAL, beside PostgreSQL's own clients.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use testkit::{Background, Cluster, Mode, Program, Sandbox, user, wait_until};

use super::super::data::{self, Filled};
use super::super::measure::{self, Sample, running};
use super::super::peers;
use super::super::row::{Contest, OURS, Row, Side, cpu_of, memory, wall_of};
use super::super::world::{World, empty, remove};

const PG_BASEBACKUP: &str = "pg_basebackup";
const PG_RECEIVEWAL: &str = "pg_receivewal";
const SOON: Duration = Duration::from_secs(60);

pub fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = [15, 17, 18]
        .into_iter()
        .map(|major| {
            Row::new(
                format!("streams/basebackup-{major}"),
                format!("plain base backup of a server of 1 GiB, PostgreSQL {major}: read, written, verified, synced"),
                [
                    wall_of(PG_BASEBACKUP, 0.85),
                    cpu_of(PG_BASEBACKUP, 1.0),
                    memory(32.0),
                ],
                move |world| base_backup(world, major),
            )
        })
        .collect();
    rows.push(Row::new(
        "streams/receive-wal",
        "WAL received while `pgbench` writes 1,500 transactions a second for 8 s",
        [cpu_of(PG_RECEIVEWAL, 1.0), memory(16.0)],
        receive,
    ));
    rows.push(
        Row::new(
            "streams/many-files",
            "plain base backup of a server with 500,000 files",
            [
                memory(64.0),
                cpu_of(PG_BASEBACKUP, 1.0),
                wall_of(PG_BASEBACKUP, 0.85),
            ],
            many_files,
        )
        .only_long(),
    );
    rows
}

fn many_files(world: &mut World) -> Result<Contest> {
    let server = world.shared("a server with many files", |world| {
        let cluster = Cluster::start_new(data::MAJOR)?;
        let many = cluster.data_dir().join("many");
        for directory in 0..world.sized(500, 5) {
            let directory = many.join(directory.to_string());
            std::fs::create_dir_all(&directory)?;
            for file in 0..1_000 {
                std::fs::write(directory.join(file.to_string()), "x")?;
            }
        }
        user::give_data_directory(cluster.data_dir())?;
        Ok(Filled::from(cluster))
    })?;
    base_backup_of(world, &server)
}

fn base_backup(world: &mut World, major: u16) -> Result<Contest> {
    let server = world.shared(&format!("a filled server of {major}"), |world| {
        data::filled(world, major)
    })?;
    base_backup_of(world, &server)
}

fn base_backup_of(world: &mut World, server: &Rc<Filled>) -> Result<Contest> {
    let major = server.cluster().major();
    let conninfo = server.cluster().streaming_conninfo();
    let target = world.scratch("basebackup")?;

    let program = world.ours("basebackup");
    let ours = copy(OURS, server, &target, {
        let (conninfo, target) = (conninfo.clone(), target.clone());
        move || {
            Ok(measure::run(
                &program,
                [conninfo.clone().into(), target.clone().into_os_string()],
            )?
            .0)
        }
    });
    let peer = peers::postgres(major, PG_BASEBACKUP).map(|program| {
        let program = program
            .arg("--wal-method=none")
            .arg("--checkpoint=fast")
            .arg("--dbname")
            .arg(&conninfo)
            .arg("--pgdata")
            .arg(&target);
        copy(PG_BASEBACKUP, server, &target, move || {
            Ok(measure::run::<&str>(&program, [])?.0)
        })
    });
    let data = server.cluster().data_dir();
    // WAL is not part of the copy.
    let mib = (data::size(data)? - data::size(&data.join("pg_wal"))?) >> 20;
    Ok(Contest::of(ours)
        .against_or_missing(PG_BASEBACKUP, peer)
        .note(format!("{mib} MiB are copied; only the client's CPU and memory are counted, not the server's"))
        .note("ours also compares each file with the checksum in the manifest; both sync every file and directory"))
}

/// A side that fills an empty directory from a running server.
fn copy(
    name: &'static str,
    server: &Rc<Filled>,
    target: &Path,
    mut run: impl FnMut() -> Result<Sample> + 'static,
) -> Side {
    let (server, target) = (Rc::clone(server), target.to_owned());
    let filled = target.clone();
    Side::new(name, move || {
        let sample = run()?;
        // The same work: all files but those that the server leaves out.
        let data = server.cluster().data_dir();
        let (whole, came) = (
            data::size(data)? - data::size(&data.join("pg_wal"))?,
            data::size(&filled)?,
        );
        ensure!(
            filled.join("global/pg_control").exists() && came > whole / 10 * 9,
            "{came} of {whole} bytes came"
        );
        Ok(sample)
    })
    .reset(move || {
        empty(&target)?;
        super::super::world::settle(&target)
    })
}

/// A server that receivers are measured on, and how many rounds it has seen.
struct Written {
    cluster: Cluster,
    sandbox: Sandbox,
}

fn receive(world: &mut World) -> Result<Contest> {
    let written = world.shared("a server that is written to", |world| {
        let cluster = Cluster::builder(data::MAJOR)
            .conf("checkpoint_timeout", "1h")
            .conf("max_wal_size", "32GB")
            .start()?;
        data::pgbench(&cluster, &["--initialize", "--quiet", "--scale", "10"])?;
        let sandbox = world
            .sandbox("main")
            .cluster(&cluster)
            .mode(Mode::Streaming)
            .build()?;
        Ok(Written { cluster, sandbox })
    })?;
    let seconds: u64 = world.sized(8, 3);

    let barman = written.sandbox.barman()?;
    let streaming = written.sandbox.server_dir().join("streaming");
    let ours = receiver(OURS, &written, seconds, streaming, move |_| {
        barman.spawn(["receive-wal", "main"])
    });
    let dir = world.scratch("pg_receivewal")?;
    let conninfo = written.cluster.streaming_conninfo();
    let peer = peers::postgres(data::MAJOR, PG_RECEIVEWAL).map(|program| {
        let program: Program = program
            .arg("--no-loop")
            .arg("--slot=barman")
            .arg("--dbname")
            .arg(conninfo);
        receiver(PG_RECEIVEWAL, &written, seconds, dir, move |dir| {
            program.spawn([std::ffi::OsStr::new("--directory"), dir.as_os_str()])
        })
    });
    Ok(Contest::of(ours)
        .against_or_missing(PG_RECEIVEWAL, peer)
        .note("CPU from before to after the load, as the kernel's scheduler counts it; memory is the process's peak")
        .note("each round begins with a checkpoint, an empty directory and a new slot; wall is the time of the load, the same for both"))
}

/// A side that receives into `dir` what `pgbench` writes.
fn receiver(
    name: &'static str,
    written: &Rc<Written>,
    seconds: u64,
    dir: PathBuf,
    start: impl Fn(&Path) -> Result<Background> + 'static,
) -> Side {
    let (of_reset, of_run) = (Rc::clone(written), Rc::clone(written));
    let to_clear = dir.clone();
    Side::new(name, move || {
        let cluster = &of_run.cluster;
        let mut receiver = start(&dir)?;
        let sample = under_load(cluster, &mut receiver, seconds, &dir);
        receiver.signal(Signal::INT)?;
        let ended = receiver.wait(SOON)?;
        sample.with_context(|| format!("{ended}"))
    })
    .reset(move || {
        let cluster = &of_reset.cluster;
        wait_until("the slot is free", SOON, || {
            cluster.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")?;
            Ok(true)
        })?;
        remove(&to_clear)?;
        std::fs::create_dir_all(&to_clear)?;
        cluster.switch_wal()?;
        cluster.sql("CHECKPOINT")?;
        cluster.sql("SELECT pg_create_physical_replication_slot('barman', true)")?;
        Ok(())
    })
}

fn under_load(cluster: &Cluster, receiver: &mut Background, seconds: u64, dir: &Path) -> Result<Sample> {
    let streaming = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
    wait_until("WAL is streamed", SOON, || {
        ensure!(receiver.is_running()?, "the receiver has ended");
        Ok(cluster.sql_value(streaming)? == "1")
    })?;
    caught_up(cluster)?;
    let (start, before) = (Instant::now(), running(receiver.pid())?);
    let time = seconds.to_string();
    data::pgbench(
        cluster,
        &["-n", "-c", "4", "-R", "1500", "--random-seed=1", "-T", &time],
    )?;
    received(cluster, dir)?;
    let after = running(receiver.pid())?;
    Ok(Sample {
        wall: start.elapsed().as_secs_f64(),
        cpu: after.cpu - before.cpu,
        memory: after.memory,
    })
}

/// Closes the segment, and waits until it is whole in the receiver's directory: whoever has not done all the work yet must
/// not be looked at.
fn received(cluster: &Cluster, dir: &Path) -> Result<()> {
    let closed = cluster.switch_wal()?;
    let path = dir.join(&closed);
    wait_until(&format!("{closed} is received"), SOON, || Ok(path.exists()))?;
    let original = std::fs::read(cluster.data_dir().join("pg_wal").join(&closed));
    ensure!(
        std::fs::read(&path)? == original.with_context(|| format!("read {closed}"))?,
        "{closed} is not as the server has it"
    );
    Ok(())
}

/// Waits until everything that is written so far has been sent.
fn caught_up(cluster: &Cluster) -> Result<()> {
    let end = cluster.current_lsn()?;
    let query = format!("SELECT count(*) FROM pg_stat_replication WHERE sent_lsn >= '{end}'");
    wait_until("everything is sent", SOON, || {
        Ok(cluster.sql_value(&query)? == "1")
    })
}
