//! `show-backup`.

use super::VARIED;
use crate::conformance::normalise::Rule::Pid;
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::{Catalogue, PLAIN};

pub fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("show-backup", "cli.md 11.3", VARIED)
            .run("show-backup main {id 1}")
            .run("show-backups main latest")
            .rules(&[Pid])
            .short(),
        scenario("show-backup-json", "cli.md 11.3", VARIED)
            .run("-f json show-backup main {id 1}")
            .run("-f json show-backup main {id 3}")
            .rules(&[Pid])
            .short(),
        scenario("show-backup-tablespaces", "cli.md 11.3", VARIED)
            .run("show-backup main {id 3}")
            .rules(&[Pid]),
        scenario("show-backup-failed", "cli.md 11.3", VARIED)
            .run("show-backup main {id 2}")
            .run("-f json show-backup main last-failed"),
        scenario("show-backup-started", "cli.md 11.3", VARIED)
            .run("show-backup main {id 4}")
            .run("-f json show-backup main {id 4}"),
        scenario("show-backup-waiting", "cli.md 11.3", VARIED)
            .run("show-backup main {id 6}")
            .run("-f json show-backup main {id 6}")
            .rules(&[Pid]),
        scenario("show-backup-shortcuts", "cli.md 7", VARIED)
            .run("show-backup main oldest")
            .run("show-backup main first")
            .run("show-backup main last")
            .run("show-backup main last-full")
            .run("show-backup main latest-full")
            .rules(&[Pid]),
        scenario("show-backup-by-name", "cli.md 7", VARIED)
            .run("show-backup main 'first one'")
            .rules(&[Pid])
            .short(),
        scenario(
            "show-backup-retention",
            "cli.md 11.3, catalog.md 14",
            VARIED.main("retention_policy = REDUNDANCY 1"),
        )
        .run("show-backup main {id 1}")
        .run("show-backup main {id 5}")
        .run("-f json show-backup main {id 6}")
        .rules(&[Pid]),
        scenario("show-backup-quiet", "cli.md 3.4", VARIED)
            .run("-q show-backup main latest")
            .run("-q -f json show-backup main latest")
            .rules(&[Pid]),
        scenario(
            "show-backup-of-an-archive",
            "cli.md 11.3",
            PLAIN.catalogue(Catalogue::Archive(15)),
        )
        .run("show-backup main {id 1}")
        .run("show-backup main second")
        .run("-f json show-backup main latest")
        .run("list-backups main")
        .rules(&[Pid]),
        scenario(
            "show-backup-of-an-archive-17",
            "cli.md 11.3",
            PLAIN.catalogue(Catalogue::Archive(17)),
        )
        .run("show-backup main latest")
        .run("-f json show-backup main oldest")
        .rules(&[Pid]),
    ]
}
