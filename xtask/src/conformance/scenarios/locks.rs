//! Locks that another process has.

use super::VARIED;
use crate::conformance::compare::Look;
use crate::conformance::normalise::Rule::{Duration, Instant, Pid};
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::{Catalogue, Live, PLAIN};

const BUSY: &str =
    "ERROR: Another action is in progress for the backups of server main. Impossible to delete the backup.";
const REFUSED: &str = "ERROR: Cannot delete backup (main *";

pub fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("busy-archive-wal", "cli.md 13.1, catalog.md 20", VARIED)
            .then(|stage| stage.hold("main-archive-wal"))
            .run("archive-wal main")
            .run("-f json archive-wal main")
            .run("-q archive-wal main"),
        scenario(
            "busy-backup",
            "cli.md 11.1, catalog.md 20",
            VARIED.live(Live::Shared(15)),
        )
        .then(|stage| stage.hold("main-backup"))
        .run("backup main")
        .run("-f json backup main")
        .rules(&[Pid])
        .hint(
            0,
            "HINT: wait until the backup, deletion or import that runs for this server has ended",
        ),
        scenario(
            "busy-receive-wal",
            "cli.md 13.4, catalog.md 20",
            PLAIN
                .live(Live::Shared(15))
                .main("streaming_archiver = on\nslot_name = barman"),
        )
        .then(|stage| stage.hold("main-receive-wal"))
        .run("receive-wal main")
        .run("-f json receive-wal main")
        .run("receive-wal --reset main"),
        scenario("busy-cron", "cli.md 14.1, catalog.md 20", VARIED)
            .then(|stage| stage.hold("main-cron"))
            .run("cron")
            .run("-f json cron")
            .file("catalogue-20", "home/cfg_changes.queue", "", "file, *"),
        scenario("busy-cron-archiver", "cli.md 14.1, catalog.md 20", PLAIN)
            .then(|stage| stage.hold("main-archive-wal"))
            .run("cron")
            .file("catalogue-20", "home/cfg_changes.queue", "", "file, *"),
        scenario("busy-delete", "cli.md 11.5, catalog.md 20", VARIED)
            .then(|stage| stage.hold("main-backup"))
            .run("delete main oldest")
            .run("-f json delete main oldest")
            .stderr(
                0,
                "all-16",
                BUSY,
                "ERROR: Another process in running on server main. Impossible to delete the backup.",
            )
            .stderr(0, "catalogue-8", REFUSED, REFUSED)
            .json(
                1,
                "all-16",
                "_ERROR[0]",
                "\"Another action is in progress for the backups of server main.*",
                "\"Another process in running on server main.*",
            )
            .json(
                1,
                "catalogue-8",
                "_ERROR[1]",
                "\"Cannot delete backup (main *",
                "\"Cannot delete backup (main *",
            ),
        scenario("busy-delete-of-the-backup", "cli.md 11.5, catalog.md 20", VARIED)
            .then(|stage| stage.hold("main-20240701T120000"))
            .run("delete main oldest")
            .stderr(0, "catalogue-8", REFUSED, REFUSED)
            .rules(&[Pid]),
        scenario("busy-check-backup", "cli.md 11.7, catalog.md 20", VARIED)
            .then(|stage| stage.hold("main-20240706T120000"))
            .run("check-backup main latest")
            .run("-f json check-backup main latest"),
        scenario(
            "busy-restore-archives-nothing",
            "restore.md 5",
            PLAIN.catalogue(Catalogue::Archive(15)),
        )
        .then(|stage| stage.hold("main-archive-wal"))
        .run("restore main latest {root}/out/x")
        .rules(&[Pid, Instant, Duration])
        .file("restore-2", "home/.main-2*.lock", "file, mode 600, 0 bytes", "")
        .each(),
        scenario(
            "busy-switch-wal",
            "cli.md 13.5, catalog.md 20",
            PLAIN.live(Live::Own(15)),
        )
        .then(|stage| stage.hold("main-archive-wal"))
        .run("switch-wal --force --archive --archive-timeout 1 main")
        .hint(0, "HINT: look at archive_command *")
        .stdout(
            0,
            "wal-18",
            "",
            "Another archive-wal process is already running on server main. Skipping to the next server",
        )
        .each()
        .files("home/main/incoming/*", Look::Nothing),
    ]
}
