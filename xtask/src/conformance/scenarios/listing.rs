//! `list-servers`, `list-backups`.

use std::fs;

use anyhow::Result;

use super::{ALL, VARIED};
use crate::conformance::catalogue::{Home, Server, id};
use crate::conformance::compare::Look;
use crate::conformance::listed::EMPTY_LINE;
use crate::conformance::normalise::Rule::{Duration, Instant, Pid};
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::{Catalogue, PLAIN};

/// Names of scenarios and seeds.
const SEEDS: [(&str, &str); 6] = [
    ("list-backups-seeded-1", "varied:1"),
    ("list-backups-seeded-2", "varied:2"),
    ("list-backups-seeded-3", "varied:3"),
    ("list-backups-seeded-4", "varied:4"),
    ("list-backups-seeded-5", "varied:5"),
    ("list-backups-seeded-small", "small:1"),
];

/// What is left of a backup without data, as a warning names it.
const INFO: &str = "/*/run/home/main/meta/20240701T120000-backup.info";
const BASE: &str = "/*/run/home/main/base/20240701T120000";

pub fn scenarios() -> Vec<Scenario> {
    let seeded = SEEDS.map(|(name, seed)| {
        scenario(
            name,
            "cli.md 11.2, catalog.md 14",
            PLAIN.catalogue(Catalogue::Seeded(seed)),
        )
        .run("list-backups all")
        .run("-f json list-backups all")
        .rules(&[Pid])
    });
    let mut all = vec![
        scenario("list-servers", "cli.md 10.1", ALL)
            .run("list-servers")
            .short(),
        scenario("list-servers-minimal", "cli.md 10.1", ALL).run("list-servers --minimal"),
        scenario("list-servers-json", "cli.md 10.1, 3.5", ALL)
            .run("-f json list-servers")
            .run("--format=json list-server --minimal")
            .short(),
        scenario("list-servers-quiet", "cli.md 3.4", ALL)
            .run("-q list-servers")
            .run("-q -f json list-servers"),
        scenario(
            "list-servers-connects-to-nothing",
            "cli.md 20.21",
            PLAIN.main("primary_conninfo = host=127.0.0.1 port=1"),
        )
        .run("list-servers"),
        scenario("list-backups", "cli.md 11.2", VARIED)
            .run("list-backups main")
            .short()
            .rules(&[Pid]),
        scenario("list-backups-json", "cli.md 11.2", VARIED)
            .run("-f json list-backups main")
            .rules(&[Pid])
            .short(),
        scenario("list-backups-minimal", "cli.md 11.2", VARIED)
            .run("list-backups --minimal main")
            .run("-f json list-backup main --min")
            .file("all-15", "home/.main-xlogdb.lock", "", "file, *"),
        scenario("list-backups-quiet", "cli.md 3.4", VARIED)
            .run("-q list-backups main")
            .rules(&[Pid]),
        scenario("list-backups-none", "cli.md 11.2", PLAIN)
            .run("list-backups main")
            .run("-f json list-backups main"),
        scenario("list-backups-all-servers", "cli.md 6.1, 6.2", ALL)
            .run("list-backups all")
            .run("-f json list-backups all"),
        scenario("list-backups-order-of-servers", "cli.md 6.1", ALL)
            .run("-f json list-backups plain main main dis"),
        scenario(
            "list-backups-redundancy",
            "cli.md 11.2, catalog.md 14",
            VARIED.main("retention_policy = REDUNDANCY 1\nminimum_redundancy = 2"),
        )
        .run("list-backups main")
        .run("-f json list-backups main")
        .short()
        .rules(&[Pid]),
        scenario(
            "list-backups-window",
            "cli.md 11.2, catalog.md 14",
            VARIED.main("retention_policy = RECOVERY WINDOW OF 3 DAYS"),
        )
        .run("list-backups main")
        .run("-f json list-backups main")
        .rules(&[Pid]),
        scenario("list-backups-other-time-zone", "cli.md 3.7", VARIED)
            .run("list-backups main")
            .env("TZ", "America/New_York")
            .rules(&[Pid]),
    ];
    all.extend(seeded);
    all.extend(spoiled());
    all
}

/// Catalogues with something in them that cannot be read.
fn spoiled() -> Vec<Scenario> {
    vec![
        scenario(
            "list-backups-bad-wal-name",
            "cli.md 11.2",
            VARIED.catalogue(Catalogue::Made(bad_wal_name)),
        )
        .run("list-backups main")
        .run("-f json list-backups main")
        .prose()
        .stdout(
            0,
            "catalogue-25",
            "main 20240703T120000 - F - Wed Jul  3 12:00:05 2024 - Size: 23.1 MiB - WAL Size: 2.0 MiB",
            "main 20240703T120000 - F - Wed Jul  3 12:00:05 2024 - Size: 22.1 MiB - WAL Size: 0 B",
        )
        .json(
            1,
            "catalogue-25",
            "_ERROR[0]",
            "\"Line 8 of the WAL catalogue of server main is invalid *",
            "\"invalid WAL segment name *",
        )
        .json(1, "catalogue-25", "main[0].size", "\"23.1 MiB\"", "\"22.1 MiB\"")
        .json(1, "catalogue-25", "main[0].size_bytes", "24244147", "23195571")
        .json(1, "catalogue-25", "main[0].wal_size", "\"2.0 MiB\"", "\"0 B\"")
        .json(1, "catalogue-25", "main[0].wal_size_bytes", "2097152", "0")
        .rules(&[Pid]),
        scenario(
            "check-backup-unknown-field-elsewhere",
            "cli.md 7",
            VARIED.catalogue(Catalogue::Made(unknown_field)),
        )
        .run("check-backup main {id 1}")
        .prose()
        .exit_code(0, "catalogue-10", 0, 1)
        .stderr(0, "catalogue-10", "", "ERROR: <words>")
        .files("home/.main-*.lock", Look::Nothing),
        scenario(
            "list-backups-without-data",
            "catalog.md 9",
            VARIED.catalogue(Catalogue::Made(without_data)),
        )
        .run("list-backups main")
        .run("show-backup main {id 1}")
        .run("cron")
        .stderr(
            2,
            "catalogue-17",
            "WARNING: Backup 20240701T120000 of server 'main' has no data.",
            "",
        )
        .stderr(
            2,
            "catalogue-17",
            "If it is not needed any more remove these by hand:",
            "",
        )
        .stderr(2, "catalogue-17", INFO, "")
        .stderr(2, "catalogue-17", BASE, "")
        .file("catalogue-20", "home/cfg_changes.queue", "", "file, *")
        .files("home/.main-archive-wal.lock", Look::Nothing)
        .rules(&[Pid]),
        scenario(
            "cron-backup-without-data",
            "cli.md 14.1, catalog.md 14.3",
            VARIED
                .catalogue(Catalogue::Made(without_data))
                .main("retention_policy = REDUNDANCY 3"),
        )
        .run("cron")
        .stderr(
            0,
            "all-16",
            "WARNING: Backup 20240701T120000 of server 'main' has no data.",
            "WARNING: Backup '20240701T120000' is an orphan backup, this is possibly the result of an incomplete delete operation. Please manually delete the following files or directories if present:",
        )
        .stderr(0, "all-16", "If it is not needed any more remove these by hand:", "")
        .stderr(0, "all-16", INFO, "* /*/run/home/main/meta/20240701T120000-backup.info ")
        .stderr(0, "all-16", BASE, "* /*/run/home/main/base/20240701T120000 ")
        .stderr(0, "all-16", "", EMPTY_LINE)
        .file("catalogue-20", "home/cfg_changes.queue", "", "file, *")
        .files("home/.main-archive-wal.lock", Look::Nothing),
        scenario(
            "list-backups-old-xlogdb",
            "catalog.md 22",
            VARIED.catalogue(Catalogue::Made(old_lines)),
        )
        .run("list-backups main")
        .run("delete main oldest")
        .rules(&[Pid, Instant, Duration]),
    ]
}

fn some(home: &Home) -> Result<Server> {
    let main = home.server("main")?;
    for day in 1..4 {
        main.backup(day, u64::from(day) * 2, &[])?;
    }
    (2..9).try_for_each(|number| main.wal(number))?;
    Ok(main)
}

fn bad_wal_name(home: &Home) -> Result<()> {
    some(home)?.list("nonsense\t1048576\t1719820000.0\tNone\tNone\n")
}

fn unknown_field(home: &Home) -> Result<()> {
    some(home)?.backup(4, 8, &[("from_the_future", "1")])
}

fn without_data(home: &Home) -> Result<()> {
    let main = some(home)?;
    Ok(fs::remove_dir_all(main.path.join(format!("base/{}", id(1))))?)
}

/// Lines of three and four columns, as older versions wrote them.
fn old_lines(home: &Home) -> Result<()> {
    let main = some(home)?;
    main.wal(9)?;
    let path = main.path.join("wals/main-xlog.db");
    let text = fs::read_to_string(&path)?;
    let lines = text.lines().enumerate().map(|(n, line)| {
        let columns: Vec<&str> = line.split('\t').collect();
        let kept = if n % 2 == 0 { 3 } else { 4 };
        format!("{}\n", columns.get(..kept).unwrap_or(&columns).join("\t"))
    });
    let text: String = lines.collect();
    main.write("wals/main-xlog.db", text.as_bytes())
}
