//! `delete`, and what `cron` deletes.

use anyhow::Result;

use super::{ANY_HINT, VARIED};
use crate::conformance::catalogue::{Home, id};
use crate::conformance::compare::Look;
use crate::conformance::normalise::Rule::{Duration, Instant, Pid};
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::{Catalogue, PLAIN, State};

/// A full backup, an incremental one on it, one on that, and a full one.
const CHAIN: State = PLAIN.catalogue(Catalogue::Made(chain));

fn chain(home: &Home) -> Result<()> {
    let main = home.server("main")?;
    let (a, b, c) = (id(1), id(2), id(3));
    let new = ("version", "170005");
    main.backup(1, 2, &[("children_backup_ids", &b), new, ("summarize_wal", "on")])?;
    main.backup(
        2,
        3,
        &[
            ("children_backup_ids", &c),
            ("parent_backup_id", &a),
            new,
            ("summarize_wal", "on"),
        ],
    )?;
    main.backup(3, 4, &[("parent_backup_id", &b), new, ("summarize_wal", "on")])?;
    main.backup(4, 6, &[new, ("summarize_wal", "on")])?;
    (2..8).try_for_each(|number| main.wal(number))
}

const REFUSED: &str = "ERROR: Cannot delete backup (main *";

pub fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("delete-oldest-removes-its-wal", "cli.md 11.5", VARIED).run("delete main oldest").rules(&[Pid, Duration]).short().rules(&[Instant]),
        scenario("delete-json", "cli.md 11.5", VARIED).run("-f json delete main oldest").rules(&[Pid, Duration]).rules(&[Instant]),
        scenario("delete-by-name", "cli.md 7", VARIED).run("delete main 'first one'").run("list-backups main").rules(&[Pid, Duration]).rules(&[Instant]),
        scenario("delete-in-the-middle", "cli.md 11.5", VARIED).run("delete main {id 3}").rules(&[Pid, Duration]).rules(&[Instant]),
        scenario("delete-failed", "cli.md 11.5", VARIED).run("delete main last-failed").rules(&[Pid, Duration]).rules(&[Instant]),
        scenario("delete-quiet", "cli.md 3.4", VARIED).run("-q delete main oldest").rules(&[Pid]),
        scenario("delete-twice", "cli.md 7", VARIED).run("delete main {id 1}").run("delete main {id 1}").rules(&[Pid, Duration]).rules(&[Instant]).hint(1, "HINT: did you mean '20240706T120000'?"),
        scenario("delete-kept", "cli.md 11.5", VARIED)
            .run("delete main {id 5}")


            .short().prose().hint(0, ANY_HINT),
        scenario("delete-minimum-redundancy", "cli.md 11.5", VARIED.main("minimum_redundancy = 3"))
            .run("delete main {id 1}")

            .stderr(0, "catalogue-8", REFUSED, REFUSED),
        scenario("delete-with-children", "cli.md 11.5", CHAIN).run("delete main {id 1}").run("list-backups main").rules(&[Pid, Duration]).short().rules(&[Instant]),
        scenario("delete-a-leaf", "cli.md 11.5", CHAIN).run("delete main {id 3}").run("show-backup main {id 2}").rules(&[Pid, Duration]).rules(&[Instant]).file("all-15", "home/.main-20240702T120000.lock", "file, *", ""),
        scenario("delete-the-last-one", "catalog.md 15.3", PLAIN.catalogue(Catalogue::Made(only))).run("delete main latest").run("list-backups main").rules(&[Pid, Duration]).rules(&[Instant]),
        scenario("delete-with-hooks", "wal.md 17", VARIED.main("pre_delete_script = env | grep ^BARMAN_ | grep -v VERSION | sort > {root}/out/pre\npost_delete_script = env | grep ^BARMAN_ | grep -v VERSION | sort > {root}/out/post\npre_wal_delete_script = env | grep ^BARMAN_ | grep -v VERSION | sort >> {root}/out/wal"))
            .run("delete main oldest")
            .rules(&[Pid, Duration]).rules(&[Instant]),
        scenario("delete-kept-json", "cli.md 11.5", VARIED).run("-f json delete main {id 5}").json(0, "catalogue-8", "_ERROR[0]", "\"Cannot delete backup (main *", "\"Cannot delete backup (main *").json(0, "all-16", "_WARNING[0]", "\"Skipping delete of backup 20240705T120000 for server main as it has a current keep *", "\"Skipping delete of backup 20240705T120000 for server main as it has a current keep *"),
        scenario("delete-minimum-redundancy-json", "cli.md 11.5", VARIED.main("minimum_redundancy = 3")).run("-f json delete main {id 1}").json(0, "catalogue-8", "_ERROR[0]", "\"Cannot delete backup (main *", "\"Cannot delete backup (main *"),
        scenario("delete-started", "cli.md 11.5", VARIED).run("delete main {id 4}").rules(&[Pid, Duration]).rules(&[Instant]),
        scenario("delete-latest-full", "cli.md 7, 11.5", CHAIN).run("delete main latest-full").run("delete main latest").run("list-backups main").rules(&[Pid, Duration]).file("all-15", "home/.main-20240702T120000.lock", "file, *", "").rules(&[Instant]),
        scenario("delete-hook-fails", "wal.md 17", VARIED.main("pre_delete_script = exit 3\npost_delete_script = exit 4")).run("delete main oldest").rules(&[Pid, Duration]).rules(&[Instant]),
        scenario("delete-hook-refuses", "wal.md 17", VARIED.main("pre_delete_retry_script = exit 63")).run("delete main oldest").rules(&[Pid]).prose().file("catalogue-6", "home/main/meta/20240701T120000-delete_this", "", "file, *"),
        scenario("show-backup-of-a-chain", "cli.md 11.3", CHAIN).run("show-backup main {id 2}").run("-f json show-backup main {id 2}").run("show-backup main {id 1}").rules(&[Pid]),
        scenario("list-backups-of-a-chain", "cli.md 11.2", CHAIN.main("retention_policy = REDUNDANCY 1")).run("list-backups main").run("-f json list-backups main").rules(&[Pid]),
        scenario("cron-enforces-retention", "cli.md 14.1", VARIED.main("retention_policy = REDUNDANCY 1"))
            .run("cron")
            .rules(&[Duration])
            .file("catalogue-20", "home/cfg_changes.queue", "", "file, *").rules(&[Instant]).files("home/.main-archive-wal.lock", Look::Nothing).files("home/.main-2*.lock", Look::Nothing).stderr(0, "backup-9", "WARNING: Backup 20240704T120000 of server 'main' was left unfinished by its process: it is now FAILED", "").line("backup-9", "home/main/meta/20240704T120000-backup.info", "status=FAILED", "status=STARTED").line("backup-9", "home/main/meta/20240704T120000-backup.info", "error=failure copying files (the backup process ended without finishing)", "error=None"),
    ]
}

fn only(home: &Home) -> Result<()> {
    let main = home.server("main")?;
    main.backup(1, 3, &[])?;
    (2..6).try_for_each(|number| main.wal(number))
}
