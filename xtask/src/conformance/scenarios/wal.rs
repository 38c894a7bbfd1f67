//! `archive-wal`, `get-wal`, `switch-wal`, `receive-wal`.

use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use testkit::wait_until;

use super::{ANY_HINT, UNKNOWN_SERVER};
use crate::conformance::catalogue::Home;
use crate::conformance::compare::Look;
use crate::conformance::execute::Stage;
use crate::conformance::normalise::Rule::{Instant, Pid};
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::{Catalogue, Live, PLAIN, State};

/// A backup, its WAL, and files that wait in `incoming`.
pub(super) const WAITING: State = PLAIN.catalogue(Catalogue::Made(waiting));

fn waiting(home: &Home) -> Result<()> {
    let main = home.server("main")?;
    main.backup(1, 2, &[])?;
    main.wal(2)?;
    main.queued("incoming", 3)?;
    main.queued("incoming", 4)?;
    main.write("incoming/000000010000000000000002.00000028.backup", b"START WAL LOCATION: 0/200028 (file 000000010000000000000002)\nSTOP WAL LOCATION: 0/200138 (file 000000010000000000000002)\n")?;
    main.write(
        "incoming/00000002.history",
        b"1\t0/400100\tno recovery target specified\n",
    )
}

/// The same, with files that do not belong there.
fn strange(home: &Home) -> Result<()> {
    waiting(home)?;
    let main = home.server("main")?;
    main.queued("incoming", 2)?;
    main.write("incoming/nonsense", b"x")?;
    main.write(
        "incoming/000000010000000000000002.00000028.backup",
        b"START WAL LOCATION: 0/200028 (file 000000010000000000000002)\n",
    )?;
    main.wal_of(5, 5)?;
    main.queued_as("incoming", 5, 1, b"something else")
}

/// A file of the size and time of the archived one, with other content.
fn alike(home: &Home) -> Result<()> {
    let main = home.server("main")?;
    main.backup(1, 2, &[])?;
    main.wal(2)?;
    main.queued_as("incoming", 2, 0, b"something else")
}

fn streamed(home: &Home) -> Result<()> {
    let main = home.server("main")?;
    main.backup(1, 2, &[])?;
    main.wal(2)?;
    for number in 3..6 {
        main.queued("streaming", number)?;
    }
    main.write("streaming/000000010000000000000006.partial", b"x")
}

fn archived(home: &Home) -> Result<()> {
    let main = home.server("main")?;
    main.backup(1, 2, &[])?;
    (2..8).try_for_each(|number| main.wal(number))?;
    main.queued("incoming", 8)?;
    main.queued("streaming", 9)?;
    main.write(
        "streaming/00000001000000000000000A.partial",
        b"the beginning of a segment",
    )
}

/// A catalogue with WAL up to segment 7, segments 8 and 9 in the queues, the beginning of 10.
const ARCHIVED: State = PLAIN.catalogue(Catalogue::Made(archived));

/// A live server with a streaming archiver and a slot.
const STREAMING: State = PLAIN
    .live(Live::Own(15))
    .main("archiver = off\nstreaming_archiver = on\nslot_name = barman");

/// It streams, and has written something: the server has sent it before it says so.
fn streams(stage: &Stage) -> Result<bool> {
    let clients = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
    let written = std::fs::read_dir(stage.main("streaming"))
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| entry.path().extension().is_some_and(|it| it == "partial"));
    Ok(written && stage.cluster()?.sql_value(clients)? == "1")
}

fn create_slot(stage: &Stage) -> Result<()> {
    stage
        .cluster()?
        .sql("SELECT pg_create_physical_replication_slot('barman', true)")
        .map(drop)
}

fn write_something(stage: &Stage) -> Result<()> {
    stage.cluster()?.sql("INSERT INTO t VALUES (0)").map(drop)
}

fn no_directory(stage: &Stage) -> Result<()> {
    ensure!(!stage.root.join("out/missing").exists());
    Ok(())
}

fn archived_all(stage: &Stage) -> Result<()> {
    wait_until(
        "the server's archiver has nothing to do",
        Duration::from_secs(120),
        || {
            Ok(
                std::fs::read_dir(stage.root.join("pgdata/pg_wal/archive_status"))?
                    .flatten()
                    .all(|e| e.path().extension().is_none_or(|x| x != "ready")),
            )
        },
    )
}

const CLOSED: &str = "HINT: connection to server at \"127.0.0.1\", port 1 failed: Connection refused*";

pub fn scenarios() -> Vec<Scenario> {
    let mut all = archiving();
    all.extend(getting());
    all.extend(live());
    all.extend(more());
    all
}

fn more() -> Vec<Scenario> {
    vec![
        scenario("archive-wal-unknown-compression", "wal.md 15", WAITING.main("compression = nonsense"))
            .run("archive-wal main")
            .run("check main").prose().rules(&[Pid]).hints(0..2, ANY_HINT).hint(1, ANY_HINT)
            .prose_on_stdout(),
        scenario("archive-wal-strange-files-json", "cli.md 13.1", WAITING.catalogue(Catalogue::Made(strange)))
            .run("-f json archive-wal main").rules(&[Pid, Instant]).json(0, "all-16", "_INFO[*]", "\"Found unknown objects *", "\"Some unknown objects *"),
        scenario("archive-wal-hook-fails", "wal.md 17", WAITING.main("pre_archive_script = exit 3\npost_archive_script = exit 4"))
            .run("archive-wal main")
            .rules(&[Pid]),
        scenario("archive-wal-hook-refuses", "wal.md 17", WAITING.main("pre_archive_retry_script = exit 63"))
            .run("archive-wal main")
            .rules(&[Pid]).prose().stdout(0, "wal-22", "", "\t000000010000000000000002.00000028.backup").file("all-15", "home/.main-xlogdb.lock", "", "file, *"),
        scenario("archive-wal-streaming-json", "wal.md 6.2", PLAIN.catalogue(Catalogue::Made(streamed)).main("archiver = off\nstreaming_archiver = on\nstreaming_archiver_batch_size = 2"))
            .run("-f json archive-wal main")
            .run("archive-wal main")
            .stderr(1, "config-18", "HINT: *slot_name is not set in section [main]", ""),
        scenario("archive-wal-no-archiver", "cli.md 6.1", WAITING.main("archiver = off")).run("archive-wal main").rules(&[Pid]),
        scenario("get-wal-compresses", "cli.md 13.2", ARCHIVED)
            .run("get-wal -z -o {root}/out main 000000010000000000000004")
            .run("get-wal --gzip -o {root}/out main 000000010000000000000005")
            .files("out/0*", Look::Unpacked),
        scenario("get-wal-keeps-compression", "cli.md 13.2", PLAIN.catalogue(Catalogue::Archive(15)))
            .run("get-wal --keep-compression main 000000010000000000000003")
            .run("get-wal --keep-compression -o {root}/out main 000000010000000000000003"),
        scenario("get-wal-peek-of-an-archive", "cli.md 13.2", PLAIN.catalogue(Catalogue::Archive(17)))
            .run("get-wal -p 20 main 000000010000000000000001")
            .run("get-wal -p 3 main 000000010000000000000003")
            .run("get-wal -p 3 main 000000020000000000000003")
            .run("get-wal -p 3 main nonsense"),
        scenario("get-wal-errors-json", "cli.md 13.2, 17", ARCHIVED)
            .run("-f json get-wal main 00000001000000000000000F")
            .run("-f json get-wal main nonsense")
            .run("-q get-wal main nonsense"),
        scenario("get-wal-inactive", "cli.md 6.2", PLAIN.servers("[inact]\nactive = false\narchiver = on\nbackup_method = postgres\nconninfo = host=127.0.0.1 port=1\nstreaming_conninfo = host=127.0.0.1 port=1\n"))
            .run("get-wal inact 000000010000000000000001")
            .run("get-wal -t inact x")
            .run("receive-wal inact")
            .run("-f json receive-wal inact"),
        scenario("switch-wal-some-servers", "cli.md 6.1, 13.5", PLAIN.live(Live::Own(15)).servers("[other]\narchiver = on\nbackup_method = postgres\nconninfo = host=127.0.0.1 port=1\nstreaming_conninfo = host=127.0.0.1 port=1\n"))
            .run("switch-wal --force main other nosuch")
            .run("-f json switch-wal main other")
            .hint(0, CLOSED)
            .hint(0, UNKNOWN_SERVER)
            .files("home/main/incoming/*", Look::Nothing),
        scenario("switch-wal-archive-json", "cli.md 13.5", PLAIN.live(Live::Own(17)))
            .run("-f json switch-wal --force --archive main")
            .rules(&[Pid, Instant])
            .files("home/main/wals/0*/0*", Look::Size),
        scenario("switch-wal-10", "cli.md 13.5", PLAIN.live(Live::Own(10)))
            .then(Stage::keep_still)
            .then(write_something)
            .run("switch-wal main")
            .run("switch-wal main")
            .files("home/main/incoming/*", Look::Nothing),
        scenario("receive-wal-slots-json", "cli.md 13.4, 17", STREAMING)
            .run("-f json receive-wal --create-slot main")
            .run("-f json receive-wal --create-slot main")
            .run("-f json receive-wal --create-slot --if-not-exists main")
            .run("-q receive-wal --drop-slot main")
            .run("-f json receive-wal --drop-slot main"),
        scenario("receive-wal-slots-of-no-name", "cli.md 13.4", STREAMING.main("archiver = off\nstreaming_archiver = on\nslot_name ="))
            .run("receive-wal --create-slot main")
            .run("receive-wal --drop-slot main")
            .stderr(0, "config-18", "HINT: *slot_name is not set in section [main]", "")
            .stderr(1, "config-18", "HINT: *slot_name is not set in section [main]", ""),
        scenario("receive-wal-stop", "cli.md 13.4", STREAMING.live(Live::None))
            .run("receive-wal --stop main").hint(0, "HINT: no process of server 'main' is running"),
        scenario("receive-wal-reset-json", "cli.md 13.4", STREAMING)
            .then(create_slot)
            .run("-f json receive-wal --reset main")
            .rules(&[Pid])
            .files("home/main/*", Look::Presence),
        scenario("receive-wal-17", "cli.md 8, 13.4", STREAMING.live(Live::Own(17)))
            .then(create_slot)
            .interrupted("-f json receive-wal main", Signal::INT.as_raw(), streams)
            .rules(&[Pid])
            .files("home/main/*", Look::Presence),
        scenario("receive-wal-10", "cli.md 8, 13.4", STREAMING.live(Live::Own(10)))
            .then(create_slot)
            .interrupted("receive-wal main", Signal::INT.as_raw(), streams)
            .rules(&[Pid])
            .files("home/main/*", Look::Presence),
        scenario("receive-wal-creates-its-slot", "cli.md 13.4", STREAMING.main("archiver = off\nstreaming_archiver = on\nslot_name = barman\ncreate_slot = auto"))
            .interrupted("receive-wal main", Signal::INT.as_raw(), streams)
            .rules(&[Pid])
            .files("home/main/*", Look::Presence),
    ]
}

fn archiving() -> Vec<Scenario> {
    vec![
        scenario("archive-wal-moves-what-came", "cli.md 13.1, wal.md 6", WAITING).run("archive-wal main").run("archive-wal main").rules(&[Pid]).short(),
        scenario("archive-wal-json", "cli.md 13.1", WAITING).run("-f json archive-wal main").rules(&[Pid]),
        scenario("archive-wal-quiet", "cli.md 3.4", WAITING).run("-q archive-wal main").rules(&[Pid]),
        scenario("archive-wal-strange-files", "wal.md 6.4, 6.5, 6.6", WAITING.catalogue(Catalogue::Made(strange))).run("archive-wal main").rules(&[Pid, Instant]).short().stdout(0, "all-16", "Found unknown objects while processing xlog segments for main. Objects moved to errors directory:", "Some unknown objects have been found while processing xlog segments for main. Objects moved to errors directory:"),
        scenario("archive-wal-same-size-and-time", "wal.md 6.5, 21.7", PLAIN.catalogue(Catalogue::Made(alike)))
            .run("archive-wal main")
            .rules(&[Pid, Instant])
            .stdout(0, "wal-4", "\tError: 000000010000000000000002 is already present in server main. File moved to errors directory.", "")
            .file("wal-4", "home/main/errors/000000010000000000000002.<instant>.duplicate", "file, *", "").file("all-15", "home/.main-xlogdb.lock", "", "file, *"),
        scenario("archive-wal-batch", "wal.md 6.1", WAITING.main("archiver_batch_size = 2")).run("archive-wal main").run("archive-wal main").rules(&[Pid]),
        scenario("archive-wal-streaming", "wal.md 6.2", PLAIN.catalogue(Catalogue::Made(streamed)).main("archiver = off\nstreaming_archiver = on")).run("archive-wal main")
            .stderr(0, "config-18", "HINT: *slot_name is not set in section [main]", "").short(),
        scenario("archive-wal-both", "wal.md 6", PLAIN.catalogue(Catalogue::Made(streamed)).main("streaming_archiver = on")).run("archive-wal main").rules(&[Pid]),
        scenario("archive-wal-hooks", "wal.md 17", WAITING.main("pre_archive_script = env | grep ^BARMAN_ | grep -v VERSION | sort >> {root}/out/pre\npost_archive_script = env | grep ^BARMAN_ | grep -v VERSION | sort >> {root}/out/post"))
            .run("archive-wal main")
            .rules(&[Pid]),
        scenario("archive-wal-nothing", "cli.md 13.1", PLAIN).run("archive-wal main").run("-f json archive-wal main").rules(&[Pid]),
    ]
}

fn getting() -> Vec<Scenario> {
    vec![
        scenario("get-wal", "cli.md 13.2", ARCHIVED)
            .run("get-wal main 000000010000000000000003")
            .rules(&[])
            .short(),
        scenario(
            "get-wal-of-the-queues",
            "wal.md 10.1",
            ARCHIVED.main("streaming_archiver = on"),
        )
        .run("get-wal main 000000010000000000000008")
        .run("get-wal main 000000010000000000000009"),
        scenario(
            "get-wal-partial",
            "wal.md 10.1",
            ARCHIVED.main("streaming_archiver = on"),
        )
        .run("get-wal main 00000001000000000000000A")
        .run("get-wal --partial main 00000001000000000000000A")
        .run("get-wal -P main 00000001000000000000000A.partial"),
        scenario("get-wal-into-a-directory", "cli.md 13.2", ARCHIVED)
            .run("get-wal -o {root}/out main 000000010000000000000004")
            .short(),
        scenario("get-wal-into-no-directory", "cli.md 13.2", ARCHIVED)
            .then(no_directory)
            .run("get-wal -o {root}/out/missing main 000000010000000000000004").stderr(0, "all-16", "ERROR: Unable to open '*/out/missing/000000010000000000000004' file: No such file or directory (os error 2)", "ERROR: Unable to open '*/out/missing/000000010000000000000004' file: [Errno 2] No such file or directory: '*'").hint(0, "HINT: the output directory must exist and be writable"),
        scenario("get-wal-missing", "cli.md 13.2", ARCHIVED)
            .run("get-wal main 00000001000000000000000F")
            .short(),
        scenario("get-wal-missing-into-a-directory", "cli.md 13.2, 20.22", ARCHIVED)
            .run("get-wal -o {root}/out main 00000001000000000000000F")
            .file("wal-15", "out/00000001000000000000000F", "", "file, *"),
        scenario("get-wal-bad-name", "cli.md 13.2", ARCHIVED)
            .run("get-wal main nonsense")
            .run("get-wal -o {root}/out main ''")
            .short(),
        scenario("get-wal-peek", "cli.md 13.2", ARCHIVED)
            .run("get-wal --peek 3 main 000000010000000000000004")
            .run("get-wal -p 99 main 000000010000000000000004")
            .run("-f json get-wal --peek 2 main 000000010000000000000004")
            .run("-q get-wal -p 2 main 000000010000000000000004"),
        scenario("get-wal-test", "cli.md 13.2", ARCHIVED)
            .run("get-wal --test main x")
            .run("-f json get-wal -t main x"),
        scenario("get-wal-conflict", "cli.md 13.2", ARCHIVED)
            .run("get-wal --keep-compression -z main 000000010000000000000004"),
        scenario("get-wal-json", "cli.md 3.5, 20.6", ARCHIVED)
            .run("-f json get-wal main 00000002.history")
            .run("-f json get-wal -o {root}/out main 000000010000000000000004"),
        scenario("get-wal-through-ssh", "cli.md 13.2", ARCHIVED)
            .run("get-wal main 00000001000000000000000F")
            .run("get-wal -t main x")
            .env("SSH_CONNECTION", "192.0.2.7 1234 192.0.2.8 22"),
        scenario(
            "get-wal-decompresses",
            "wal.md 10.3",
            PLAIN.catalogue(Catalogue::Archive(15)),
        )
        .run("get-wal main 000000010000000000000003"),
    ]
}

fn live() -> Vec<Scenario> {
    vec![
        scenario("switch-wal-unreachable", "cli.md 13.5", PLAIN)
            .run("switch-wal main")
            .run("-f json switch-wal main")
            .hint(0, CLOSED),
        scenario("switch-wal", "cli.md 13.5", PLAIN.live(Live::Own(15)))
            .then(Stage::keep_still)
            .then(write_something)
            .run("switch-wal main")
            .then(archived_all)
            .run("switch-xlog main")
            .run("-f json switch-wal --force main")
            .then(archived_all)
            .rules(&[])
            .files("home/main/incoming/*", Look::Presence)
            .short(),
        scenario("switch-wal-archive", "cli.md 13.5", PLAIN.live(Live::Own(15)))
            .run("switch-wal --force --archive main")
            .rules(&[Pid, Instant])
            .files("home/main/wals/0*/0*", Look::Size),
        scenario(
            "switch-wal-archive-timeout",
            "cli.md 13.5",
            PLAIN
                .live(Live::Own(15))
                .main("archiver = off\nstreaming_archiver = on"),
        )
        .run("switch-wal --force --archive --archive-timeout 1 main")
        .stderr(
            0,
            "config-18",
            "HINT: *slot_name is not set in section [main]",
            "",
        )
        .files("home/main/incoming/*", Look::Nothing),
        scenario("receive-wal-slots", "cli.md 13.4", STREAMING)
            .run("receive-wal --create-slot main")
            .run("receive-wal --create-slot main")
            .run("receive-wal --create-slot --if-not-exists main")
            .run("-f json receive-wal --drop-slot main")
            .run("receive-wal --drop-slot main")
            .short(),
        scenario("receive-wal-off", "cli.md 13.4", PLAIN)
            .run("receive-wal main")
            .run("receive-wal --reset main")
            .run("-f json receive-wal main"),
        scenario(
            "receive-wal-stop-and-reset",
            "cli.md 13.4",
            STREAMING.live(Live::None),
        )
        .run("receive-wal --stop --reset main"),
        scenario(
            "receive-wal-unreachable",
            "cli.md 13.4",
            STREAMING.live(Live::None),
        )
        .run("receive-wal --create-slot main")
        .run("receive-wal --drop-slot main")
        .run("receive-wal main")
        .prose()
        .hints(0..3, ANY_HINT),
        scenario("receive-wal-no-slot", "cli.md 13.4", STREAMING)
            .run("receive-wal main")
            .prose()
            .rules(&[Pid]),
        scenario("receive-wal-interrupted", "cli.md 8, 13.4", STREAMING)
            .then(create_slot)
            .interrupted("receive-wal main", Signal::INT.as_raw(), streams)
            .rules(&[Pid])
            .files("home/main/*", Look::Presence),
        scenario("receive-wal-terminated", "cli.md 8, 13.4", STREAMING)
            .then(create_slot)
            .interrupted("receive-wal main", Signal::TERM.as_raw(), streams)
            .rules(&[Pid])
            .files("home/main/*", Look::Presence),
        scenario("receive-wal-reset", "wal.md 7.5", STREAMING)
            .then(create_slot)
            .run("receive-wal --reset main")
            .run("receive-wal --reset main")
            .rules(&[Pid])
            .files("home/main/*", Look::Presence),
    ]
}
