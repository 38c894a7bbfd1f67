//! `rebuild-xlogdb`, `check-archived-wal-range`, `check-wal-archive`.

use std::fs;

use anyhow::Result;

use super::{ALL, UNKNOWN_SERVER, VARIED};
use crate::conformance::catalogue::Home;
use crate::conformance::normalise::Rule::{Instant, Pid};
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::{Catalogue, PLAIN, State};

/// WAL of several kinds, and things that are none; segment 6 is missing.
const MIXED: State = VARIED.catalogue(Catalogue::Made(mixed));

fn mixed(home: &Home) -> Result<()> {
    let main = home.server("main")?;
    main.backup(1, 2, &[])?;
    main.backup(3, 5, &[])?;
    for number in [2, 3, 4, 5, 7, 8, 4095, 4096, 4097] {
        main.wal(number)?;
    }
    let wal = |name: &str, content: &[u8]| main.write(&format!("wals/0000000100000000/{name}"), content);
    wal(
        "000000010000000000000003.00000028.backup",
        b"START WAL LOCATION: 0/300028\n",
    )?;
    wal("000000010000000000000009", b"\x1f\x8b\x08\x00 as gzip begins")?;
    wal("00000001000000000000000A", b"BZh9 as bzip2 begins")?;
    wal("00000001000000000000000B", b"\x28\xb5\x2f\xfd as zstd begins")?;
    wal("00000001000000000000000C", b"\xfd7zXZ\x00 as xz begins")?;
    wal("00000001000000000000000D", b"\x04\x22\x4d\x18 as lz4 begins")?;
    wal("000000010000000000000011.tmp", b"")?;
    wal("junk", b"")?;
    main.write(
        "wals/00000002.history",
        b"1\t0/9000000\tno recovery target specified\n",
    )?;
    main.write("wals/strange", b"")?;
    fs::create_dir_all(main.path.join("wals/0000000100000005"))?;
    Ok(())
}

const RANGE: &str = "check-archived-wal-range main 000000010000000000000002 000000010000000000000005";

pub fn scenarios() -> Vec<Scenario> {
    let mut all = rebuilds();
    all.extend(ranges());
    all.extend(archives());
    all
}

fn rebuilds() -> Vec<Scenario> {
    vec![
        scenario("rebuild-xlogdb", "cli.md 13.6, catalog.md 6.4", MIXED)
            .run("rebuild-xlogdb main")
            .run("list-backups main")
            .rules(&[Pid])
            .short(),
        scenario("rebuild-xlogdb-json", "cli.md 13.6", MIXED)
            .run("-f json rebuild-xlogdb main")
            .run("-q rebuild-xlogdb main")
            .run("-q -f json rebuild-xlogdb main")
            .rules(&[Pid])
            .short(),
        scenario("rebuild-xlogdb-missing", "catalog.md 6.4", MIXED)
            .then(|stage| Ok(fs::remove_file(stage.main("wals/main-xlog.db"))?))
            .then(|stage| Ok(fs::write(stage.main("wals/xlog.db"), b"an old one\n")?))
            .run("rebuild-xlogdb main")
            .rules(&[Pid]),
        scenario("rebuild-xlogdb-damaged", "catalog.md 6.4", MIXED)
            .then(|stage| {
                Ok(fs::write(
                    stage.main("wals/main-xlog.db"),
                    b"garbage\n\x00\x00 0000000100",
                )?)
            })
            .run("rebuild-xlogdb main")
            .run("list-backups main")
            .rules(&[Pid]),
        scenario("rebuild-xlogdb-partial", "catalog.md 6.4, 24.5", MIXED)
            .line(
                "catalogue-23",
                "home/main/wals/main-xlog.db",
                "00000001000000000000000E.partial\t1\t<instant>\tNone\tNone",
                "",
            )
            .then(|stage| {
                Ok(fs::write(
                    stage.main("wals/0000000100000000/00000001000000000000000E.partial"),
                    b"x",
                )?)
            })
            .run("rebuild-xlogdb main")
            .rules(&[Pid, Instant]),
        scenario(
            "rebuild-xlogdb-of-an-archive",
            "catalog.md 6.4",
            PLAIN.catalogue(Catalogue::Archive(15)),
        )
        .run("rebuild-xlogdb main")
        .run("list-backups main")
        .rules(&[Pid]),
        scenario("rebuild-xlogdb-servers", "cli.md 6.1, 6.2", ALL)
            .run("rebuild-xlogdb main inact plain")
            .run("rebuild-xlogdb pas")
            .run("rebuild-xlogdb dis nosuch main")
            .run("-f json rebuild-xlogdb all")
            .rules(&[Pid])
            .disabled(2)
            .hint(2, UNKNOWN_SERVER)
            .json(
                3,
                "config-9",
                "_ERROR[1]",
                "\"Streaming connection: Missing 'streaming_conninfo' parameter for server 'dis'\"",
                "",
            ),
    ]
}

fn ranges() -> Vec<Scenario> {
    vec![
        scenario("check-archived-wal-range", "cli.md 13.8, catalog.md 12", MIXED)
            .run(RANGE)
            .run("check-archived-wal-range main 000000010000000000000002 000000010000000000000008")
            .run("check-archived-wal-range main 000000010000000000000fff 000000010000000100000001")
            .run("check-archived-wal-range main 000000010000000000000006 000000010000000000000006")
            .short(),
        scenario("check-archived-wal-range-json", "cli.md 13.8", MIXED)
            .run("-f json check-archived-wal-range main 000000010000000000000002 000000010000000000000005")
            .run("-f json check-archived-wal-range main 000000010000000000000005 000000010000000100000003")
            .run("-q check-archived-wal-range main 000000010000000000000005 000000010000000000000007")
            .run("-q -f json check-archived-wal-range main 000000010000000000000005 000000010000000000000007")
            .short(),
        scenario("check-archived-wal-range-refused", "cli.md 13.8", MIXED)
            .run("check-archived-wal-range main 000000010000000000000008 000000010000000000000002")
            .run("check-archived-wal-range main x y")
            .run("check-archived-wal-range main 000000010000000000000002 000000010000000000000003.partial")
            .run("check-archived-wal-range main 000000010000000000000002 000000020000000000000003")
            .run("-f json check-archived-wal-range main 00000002.history 000000020000000000000003"),
        scenario("check-archived-wal-range-without-backups", "cli.md 13.8", ALL)
            .run("check-archived-wal-range main 000000010000000000000002 000000010000000000000003")
            .run("-f json check-archived-wal-range plain 000000010000000000000002 000000010000000000000003")
            .run("check-archived-wal-range inact 000000010000000000000002 000000010000000000000003")
            .run("check-archived-wal-range dis 000000010000000000000002 000000010000000000000003")
            .run("check-archived-wal-range pas 000000010000000000000002 000000010000000000000003")
            .run("check-archived-wal-range all 000000010000000000000002 000000010000000000000003"),
        scenario("check-archived-wal-range-useless-file", "catalog.md 12", MIXED)
            .then(|stage| {
                Ok(fs::write(
                    stage.main("wals/0000000100000000/000000010000000000000004"),
                    b"",
                )?)
            })
            .run(RANGE)
            .exit_code(0, "catalogue-32", 1, 0)
            .stdout(
                0,
                "catalogue-32",
                "\tWAL sequence check for server main: 1 missing segment(s):",
                "\tWAL sequence check for server main: all segments are present",
            )
            .stdout(0, "catalogue-32", "\t\t000000010000000000000004", "")
            .stderr(
                0,
                "catalogue-32",
                "ERROR: WAL sequence check failed for server 'main': 1 missing segment(s) in range *",
                "",
            )
            .hint(0, "HINT: 1 of them *"),
    ]
}

fn archives() -> Vec<Scenario> {
    vec![
        makes_nothing(
            scenario("check-wal-archive", "cli.md 13.7, catalog.md 12", ALL)
                .run("check-wal-archive main")
                .run("-f json check-wal-archive plain")
                .run("check-wal-archive --timeline 2 plain")
                .run("-q check-wal-archive main"),
        )
        .short(),
        scenario("check-wal-archive-not-empty", "cli.md 13.7", VARIED)
            .run("check-wal-archive main")
            .run("-f json check-wal-archive main")
            .run("check-wal-archive --timeline 1 main")
            .run("check-wal-archive --timeline 2 main")
            .run("-f json check-wal-archive --timeline 1 main")
            .rules(&[Pid])
            .short(),
        scenario(
            "check-wal-archive-bad-name",
            "catalog.md 12",
            VARIED.catalogue(Catalogue::Made(bad_name)),
        )
        .run("check-wal-archive main")
        .run("check-wal-archive --timeline 1 main")
        .run("-f json check-wal-archive --timeline 2 main")
        .rules(&[Pid]),
        makes_nothing(
            scenario("check-wal-archive-server-states", "cli.md 6.1, 6.2", ALL)
                .run("check-wal-archive inact")
                .run("check-wal-archive dis")
                .run("check-wal-archive pas")
                .run("check-wal-archive nosuch")
                .run("check-wal-archive all"),
        )
        .hint(3, UNKNOWN_SERVER),
    ]
}

/// Barman makes the catalogue of an archive that is not there.
fn makes_nothing(scenario: Scenario) -> Scenario {
    scenario
        .file("catalogue-40", "home/.*-xlogdb.lock", "", "file, *")
        .each()
        .file("catalogue-40", "home/*-xlog.db", "", "file, *")
        .each()
        .file("catalogue-40", "home/*", "", "directory, *")
        .each()
}

fn bad_name(home: &Home) -> Result<()> {
    super::varied(home)?;
    home.server("main")?
        .list("nonsense\t1\t1719792000.0\tNone\tNone\n")
}
