//! `keep`, and what a kept backup is to the other commands.

use anyhow::Result;

use super::{ALL, LOCK, NO_BACKUPS, UNKNOWN_SERVER, VARIED};
use crate::conformance::catalogue::{Home, id};
use crate::conformance::compare::Look;
use crate::conformance::normalise::Rule::{Duration, Instant, Pid};
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::{Catalogue, PLAIN, State};

/// A full backup, an incremental one on it, and one whose deletion has begun.
const FAMILY: State = PLAIN.catalogue(Catalogue::Made(family));

fn family(home: &Home) -> Result<()> {
    let main = home.server("main")?;
    let (a, b) = (id(1), id(2));
    main.backup(1, 2, &[("children_backup_ids", &b)])?;
    main.backup(2, 3, &[("parent_backup_id", &a)])?;
    main.backup(3, 5, &[])?;
    (2..7).try_for_each(|number| main.wal(number))?;
    main.write(&format!("meta/{}-delete_this", id(3)), b"delete")
}

pub fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("keep-and-release", "cli.md 11.6, catalog.md 13", VARIED.main("retention_policy = REDUNDANCY 1"))
            .run("keep --target full main oldest")
            .run("keep --status main oldest")
            .run("list-backups main")
            .run("keep --target standalone main {id 1}")
            .run("-f json keep -s main 'first one'")
            .run("show-backup main oldest")
            .run("keep --release main oldest")
            .run("keep --release main oldest")
            .run("keep --status main oldest")
            .rules(&[Pid])
            .file("all-15", LOCK, "file, *", "")
            .short(),
        scenario("keep-json", "cli.md 11.6", VARIED)
            .run("-f json keep --target full main {id 1}")
            .run("-f json keep --status main {id 1}")
            .run("-f json keep --release main {id 1}")
            .run("-f json keep --status main {id 5}")
            .file("all-15", LOCK, "file, *", "")
            .short(),
        scenario("keep-quiet", "cli.md 3.4", VARIED)
            .run("-q keep -s main {id 5}")
            .run("-q keep --target full main {id 2}")
            .run("-q -f json keep -s main {id 5}")
            .file("all-15", LOCK, "file, *", ""),
        scenario("keep-which-option-counts", "cli.md 11.6", VARIED)
            .run("keep -sr --target full main {id 5}")
            .run("keep -r --target full main {id 5}")
            .run("keep -s main {id 5}")
            .file("all-15", LOCK, "file, *", ""),
        scenario("keep-without-an-option", "cli.md 11.6", VARIED)
            .run("keep main oldest")
            .run("-f json keep main oldest"),
        scenario("keep-not-done", "cli.md 11.6, catalog.md 13", VARIED)
            .run("keep --target full main last-failed")
            .run("keep --target standalone main {id 4}")
            .run("-f json keep --target full main {id 6}")
            .file("all-15", LOCK, "file, *", "")
            .each(),
        scenario("keep-incremental", "cli.md 11.6, catalog.md 13", FAMILY)
            .run("keep --target full main {id 2}")
            .run("-f json keep --target full main {id 2}")
            .run("keep -s main {id 2}")
            .file("all-15", LOCK, "file, *", ""),
        scenario("keep-what-is-being-deleted", "catalog.md 24.4", FAMILY)
            .run("keep --target full main {id 3}")
            .exit_code(0, "catalogue-28", 1, 0)
            .stderr(0, "catalogue-28", "ERROR: Cannot add keep to backup 20240703T120000 because it is being deleted", "")
            .file("catalogue-28", "home/main/meta/20240703T120000-keep", "", "file, *")
            .file("all-15", LOCK, "file, *", ""),
        scenario("keep-unknown", "cli.md 7, 6.1", ALL)
            .run("keep -s main nosuch")
            .run("keep -s nosuch latest")
            .run("keep -s all latest")
            .run("-f json keep -r main nosuch")
            .hint(0, NO_BACKUPS)
            .hint(1, UNKNOWN_SERVER),
        scenario("keep-server-states", "cli.md 6.2", ALL)
            .run("keep -s inact latest")
            .run("keep -s dis latest")
            .run("keep -s pas latest")
            .hints(0..3, NO_BACKUPS),
        scenario("keep-of-other-words", "catalog.md 13, 24.24", VARIED.catalogue(Catalogue::Made(odd)))
            .run("keep -s main {id 1}")
            .run("keep -s main {id 3}")
            .stdout(0, "catalogue-18", "\tKeep: full", "\tKeep: nokeep")
            .stdout(1, "catalogue-18", "\tKeep: full", "\tKeep: forever"),
        scenario("keep-against-cron", "catalog.md 14.6, 24.24", VARIED.main("retention_policy = REDUNDANCY 1"))
            .run("keep --target full main {id 1}")
            .run("cron")
            .run("list-backups main")
            .rules(&[Duration, Instant, Pid])
            .file("catalogue-20", "home/cfg_changes.queue", "", "file, *")
            .files("home/.main-archive-wal.lock", Look::Nothing)
            .files(LOCK, Look::Nothing)
            .stderr(1, "backup-9", "WARNING: Backup 20240704T120000 of server 'main' was left unfinished by its process: it is now FAILED", "")
            .stdout(2, "backup-9", "main 20240704T120000 - F - FAILED", "main 20240704T120000 - F - STARTED")
            .line("backup-9", "home/main/meta/20240704T120000-backup.info", "status=FAILED", "status=STARTED")
            .line("backup-9", "home/main/meta/20240704T120000-backup.info", "error=failure copying files (the backup process ended without finishing)", "error=None"),
        scenario("keep-while-it-is-restored", "catalog.md 20, 24.9", VARIED)
            .then(|stage| stage.hold_shared("main-20240701T120000"))
            .run("keep --target full main {id 1}")
            .run("delete main {id 3}")
            .run("keep --release main {id 1}")
            .run("delete main {id 1}")
            .stderr(3, "catalogue-8", "ERROR: Cannot delete backup (main *", "ERROR: Cannot delete backup (main *")
            .rules(&[Duration, Instant, Pid]),
        scenario("cron-while-a-backup-is-restored", "catalog.md 14.6, 24.9", VARIED.main("retention_policy = REDUNDANCY 1"))
            .then(|stage| stage.hold_shared("main-20240701T120000"))
            .run("cron")
            .rules(&[Duration, Instant])
            .file("catalogue-20", "home/cfg_changes.queue", "", "file, *")
            .files("home/.main-archive-wal.lock", Look::Nothing)
            .files(LOCK, Look::Nothing)
            .stderr(0, "backup-9", "WARNING: Backup 20240704T120000 of server 'main' was left unfinished by its process: it is now FAILED", "")
            .line("backup-9", "home/main/meta/20240704T120000-backup.info", "status=FAILED", "status=STARTED")
            .line("backup-9", "home/main/meta/20240704T120000-backup.info", "error=failure copying files (the backup process ended without finishing)", "error=None"),
    ]
}

/// Annotations that `keep` does not write.
fn odd(home: &Home) -> Result<()> {
    super::varied(home)?;
    let main = home.server("main")?;
    main.keep(1, "")?;
    main.keep(3, "forever")
}
