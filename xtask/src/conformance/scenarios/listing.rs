//! `list-servers`, `list-backups`.

use super::{ALL, VARIED};
use crate::conformance::normalise::Rule::Pid;
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
    all
}
