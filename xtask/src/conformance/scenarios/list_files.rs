//! `list-files`.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::Result;

use super::{ALL, NO_BACKUPS, UNKNOWN_SERVER, VARIED};
use crate::conformance::catalogue::{Home, id};
use crate::conformance::normalise::Rule::Pid;
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::{Catalogue, State};

/// The same with more in the oldest backup: one path down, so that the order of directories is no matter.
const FILES: State = VARIED.catalogue(Catalogue::Made(files));

fn files(home: &Home) -> Result<()> {
    super::varied(home)?;
    let main = home.server("main")?;
    for (path, content) in [
        ("postgresql.auto.conf", "x"),
        ("backup_label", "y"),
        ("Z", ""),
        ("base/1/112", "z"),
    ] {
        main.write(&format!("base/{}/data/{path}", id(1)), content.as_bytes())?;
    }
    let data = main.path.join(format!("base/{}/data", id(1)));
    symlink("/nowhere", data.join("dangling"))?;
    symlink("/tmp", data.join("directory"))?;
    fs::create_dir_all(data.join("base/1/empty"))?;
    main.write(
        "wals/00000002.history",
        b"1\t0/9000000\tno recovery target specified\n",
    )?;
    main.list("00000002.history\t44\t1719792000.0\tNone\tNone\n")
}

pub fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("list-files", "cli.md 11.4, catalog.md 10", FILES)
            .run("list-files main oldest")
            .run("list-files --target standalone main {id 1}")
            .run("list-files --list-empty-directories main 'first one'")
            .short(),
        scenario("list-files-data", "catalog.md 10", FILES)
            .run("list-files --target data main oldest")
            .run("list-files --target data --list-empty-directories main oldest")
            .run("list-files --target data main {id 2}"),
        scenario("list-files-wal", "catalog.md 10, 7.2", FILES)
            .run("list-files --target wal main oldest")
            .run("list-files --target wal main {id 3}")
            .run("list-files --target wal main {id 5}")
            .run("list-files --target wal --list-empty-directories main latest")
            .run("list-files --target wal main {id 4}")
            .rules(&[Pid]),
        scenario("list-files-full", "catalog.md 10", FILES)
            .run("list-files --target full main oldest")
            .run("list-files --target full main latest")
            .rules(&[Pid]),
        scenario("list-files-json", "cli.md 11.4", FILES)
            .run("-f json list-files main oldest")
            .run("-f json list-files --target wal main oldest")
            .run("-f json list-files --target full main {id 5}")
            .rules(&[Pid])
            .short(),
        scenario("list-files-quiet", "cli.md 3.4", FILES)
            .run("-q list-files main oldest")
            .run("-q -f json list-files main oldest"),
        scenario("list-files-unknown", "cli.md 7, 6.1", ALL)
            .run("list-files main nosuch")
            .run("list-files nosuch latest")
            .run("list-files all latest")
            .run("-f json list-files main nosuch")
            .hint(0, NO_BACKUPS)
            .hint(1, UNKNOWN_SERVER),
        scenario("list-files-server-states", "cli.md 6.2", ALL)
            .run("list-files inact latest")
            .run("list-files dis latest")
            .run("list-files pas latest")
            .hints(0..3, NO_BACKUPS),
        scenario("list-files-without-data", "catalog.md 10", VARIED)
            .then(|stage| Ok(fs::remove_dir_all(stage.main(&format!("base/{}", id(1))))?))
            .run("list-files main oldest"),
        scenario(
            "list-files-without-a-begin",
            "catalog.md 10, 24.16",
            VARIED.catalogue(Catalogue::Made(nothing_known)),
        )
        .run("list-files main {id 1}")
        .run("list-files --target wal main {id 1}")
        .prose()
        .exit_code(0, "catalogue-30", 0, 1)
        .exit_code(1, "catalogue-30", 0, 1)
        .stderr(0, "catalogue-30", "WARNING: <words>", "EXCEPTION: <words>")
        .stderr(1, "catalogue-30", "WARNING: <words>", "EXCEPTION: <words>"),
    ]
}

/// A backup that never began.
fn nothing_known(home: &Home) -> Result<()> {
    let main = home.server("main")?;
    let none = [
        "begin_wal",
        "begin_xlog",
        "begin_offset",
        "begin_time",
        "end_wal",
        "end_xlog",
        "end_offset",
        "end_time",
        "timeline",
        "size",
        "deduplicated_size",
    ];
    let mut changes: Vec<(&str, &str)> = none.map(|field| (field, "None")).to_vec();
    changes.push(("status", "EMPTY"));
    main.backup(1, 2, &changes)?;
    main.wal(2)
}
