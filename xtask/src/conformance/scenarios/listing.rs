//! `list-servers`, `list-backups`.

use super::{ALL, VARIED};
use crate::conformance::normalise::Rule::Pid;
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::PLAIN;

pub fn scenarios() -> Vec<Scenario> {
    vec![
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
            .short(),
        scenario("list-backups-json", "cli.md 11.2", VARIED)
            .run("-f json list-backups main")
            .rules(&[Pid])
            .short(),
        scenario("list-backups-minimal", "cli.md 11.2", VARIED)
            .run("list-backups --minimal main")
            .run("-f json list-backup main --min"),
        scenario("list-backups-quiet", "cli.md 3.4", VARIED)
            .run("-q list-backups main")
            .rules(&[Pid]),
        scenario("list-backups-none", "cli.md 11.2", PLAIN)
            .run("list-backups main")
            .run("-f json list-backups main")
            .rules(&[Pid]),
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
        .short(),
        scenario(
            "list-backups-window",
            "cli.md 11.2, catalog.md 14",
            VARIED.main("retention_policy = RECOVERY WINDOW OF 3 DAYS"),
        )
        .run("list-backups main")
        .run("-f json list-backups main"),
        scenario("list-backups-other-time-zone", "cli.md 3.7", VARIED)
            .run("list-backups main")
            .env("TZ", "America/New_York")
            .rules(&[Pid]),
    ]
}
