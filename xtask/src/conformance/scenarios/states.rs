//! Each command on servers that are inactive, disabled or passive (`cli.md` 6.2), as far as the scenarios of the command do not show it.

use super::{ALL, NO_BACKUPS, UNKNOWN_SERVER};
use crate::conformance::normalise::Rule::Pid;
use crate::conformance::scenario::{Scenario, scenario};

/// The name of a WAL file.
const WAL: &str = "000000010000000000000001";

/// Lines of which each refuses the disabled server with all of its messages.
fn disabled(name: &'static str, spec: &'static str, lines: &[&'static str]) -> Scenario {
    lines
        .iter()
        .enumerate()
        .fold(scenario(name, spec, ALL), |rows, (step, line)| {
            rows.run(line).disabled(step)
        })
}

pub fn scenarios() -> Vec<Scenario> {
    vec![
        disabled(
            "disabled-server-refused-by-more",
            "cli.md 6.2",
            &[
                "rebuild-xlogdb dis",
                "generate-manifest dis latest",
                "import-backup dis /nosuch",
                "receive-wal --reset dis",
                "receive-wal --create-slot --drop-slot dis",
                "receive-wal --stop dis",
                "backup --incremental x dis",
                "get-wal -t dis x",
            ],
        ),
        disabled(
            "disabled-server-refused-by-awaited-commands",
            "cli.md 6.2, 13, 16",
            &[
                "put-wal dis",
                "put-wal --test dis",
                "sync-backup dis x",
                "sync-wals dis",
                "cloud-wal-restore dis 000000010000000000000001 {root}/out/x",
            ],
        ),
        scenario("disabled-server-looked-at-by-more", "cli.md 6.2", ALL)
            .run("keep --status dis latest")
            .run("verify-backup dis latest")
            .run("list-files dis latest")
            .run("check-archived-wal-range dis 000000010000000000000001 000000010000000000000003")
            .run("-f json list-backups dis")
            .hints(0..3, NO_BACKUPS),
        scenario("inactive-server-skipped-by-more", "cli.md 6.2", ALL)
            .run("rebuild-xlogdb inact")
            .run("generate-manifest inact latest")
            .run("sync-backup inact x")
            .run("sync-wals inact")
            .run("-f json sync-wals inact")
            .run("-q sync-backup inact x"),
        scenario("inactive-server-worked-on", "cli.md 6.2", ALL)
            .run("delete inact latest")
            .run("restore inact latest {root}/out/x")
            .run("get-wal inact 000000010000000000000001")
            .run("get-wal -t inact x")
            .run("keep --status inact latest")
            .run("verify-backup inact latest")
            .run("list-files inact latest")
            .run("check-backup inact latest")
            .run("show-backup inact latest")
            .run("list-backups inact")
            .hints(0..2, NO_BACKUPS)
            .hints(4..9, NO_BACKUPS),
        scenario("inactive-server-refused", "cli.md 6.2", ALL)
            .run("import-backup inact /nosuch")
            .run("put-wal inact")
            .run("put-wal --test inact")
            .run("-f json put-wal --test inact"),
        scenario("passive-server-worked-on", "cli.md 6.2", ALL)
            .run("delete pas latest")
            .run("restore pas latest {root}/out/x")
            .run("get-wal pas 000000010000000000000001")
            .run("get-wal -t pas x")
            .run("generate-manifest pas latest")
            .run("verify-backup pas latest")
            .run("check-backup pas latest")
            .run("import-backup pas /nosuch")
            .run("keep --status pas latest")
            .hints(0..2, NO_BACKUPS)
            .hints(4..7, NO_BACKUPS)
            .hint(8, NO_BACKUPS),
        scenario("not-passive-server-refused", "cli.md 6.2, passive-node.md 9", ALL)
            .run("sync-backup main x")
            .run("sync-wals main")
            .run("sync-info --primary main")
            .run("-f json sync-wals main"),
        scenario("cloud-wal-archive-not-silent", "cli.md 6.2, 20.3", ALL)
            .then(|stage| wal_file(&stage.root))
            .run("cloud-wal-archive inact {root}/out/000000010000000000000001")
            .exit_code(0, "cli-3", 1, 0)
            .stderr(0, "cli-3", "ERROR: Inactive server: inact", "")
            .stdout(0, "cli-3", "", "Skipping inactive server 'inact'")
            .run("cloud-wal-archive pas {root}/out/000000010000000000000001")
            .exit_code(1, "cli-3", 1, 0)
            .stderr(1, "cli-3", "ERROR: Server 'pas' is passive: *", "")
            .stdout(1, "cli-3", "", "Skipping passive server 'pas'")
            .run("cloud-wal-archive dis {root}/out/000000010000000000000001")
            .disabled(2),
        scenario("cloud-wal-archive-arguments", "cli.md 13.9", ALL)
            .then(|stage| wal_file(&stage.root))
            .run("cloud-wal-archive main {root}/out/000000010000000000000001")
            .run("cloud-wal-archive nosuch {root}/missing")
            .run("cloud-wal-archive nosuch {root}/out")
            .run("cloud-wal-archive -p -1 nosuch {root}/barman.conf")
            .run("cloud-wal-archive main ''")
            .run("cloud-wal-archive all {root}/out/000000010000000000000001")
            .run("cloud-wal-archive nosuch {root}/out/000000010000000000000001")
            .run("-f json cloud-wal-archive main {root}/missing")
            .hint(6, UNKNOWN_SERVER),
        scenario(
            "cloud-wal-archive-without-cloud",
            "cli.md 13.9",
            ALL.main("backup_method = local-to-cloud"),
        )
        .then(|stage| wal_file(&stage.root))
        .run("cloud-wal-archive main {root}/out/000000010000000000000001"),
        scenario("cloud-wal-restore-arguments", "cli.md 13.9", ALL)
            .run("cloud-wal-restore main x {root}/out/x")
            .run("cloud-wal-restore main 000000010000000000000001 {root}/out/x")
            .run("cloud-wal-restore inact 00000002.history {root}/out/x")
            .run("cloud-wal-restore -p 2 --spool-dir /nosuch/x pas 000000010000000000000001 {root}/out/x")
            .run("cloud-wal-restore nosuch x {root}/out/x")
            .run("cloud-wal-restore nosuch 000000010000000000000001 {root}/out/x")
            .run("cloud-wal-restore all 000000010000000000000001 {root}/out/x")
            .run("-f json cloud-wal-restore main x {root}/out/x")
            .hint(5, UNKNOWN_SERVER),
        scenario("unknown-server-by-more", "cli.md 6.1", ALL)
            .run("put-wal nosuch")
            .run("sync-info nosuch")
            .run("sync-info --primary nosuch")
            .run("sync-backup nosuch x")
            .run("sync-wals nosuch")
            .run("receive-wal --stop nosuch")
            .run("keep --status nosuch latest")
            .run("list-files nosuch latest")
            .run("verify-backup nosuch latest")
            .run("generate-manifest nosuch latest")
            .run("export-backup nosuch latest {root}/out")
            .run("import-backup nosuch /nosuch")
            .run("rebuild-xlogdb nosuch")
            .run("check-wal-archive nosuch")
            .run("check-archived-wal-range nosuch x y")
            .hints(0..15, UNKNOWN_SERVER),
        scenario("all-in-a-single-server-context-by-more", "cli.md 6.1", ALL)
            .run("put-wal all")
            .run("sync-info all")
            .run("sync-backup all x")
            .run("sync-wals all")
            .run("receive-wal --stop all")
            .run("keep --status all latest")
            .run("list-files all latest")
            .run("verify all latest")
            .run("generate-manifest all latest")
            .run("export-backup all latest {root}/out")
            .run("import-backup all /nosuch")
            .run("check-wal-archive all")
            .run("check-archived-wal-range all x y")
            .run("cloud-wal-restore all x {root}/out/x"),
        scenario("rebuild-xlogdb-of-every-state", "cli.md 6.1, 6.2", ALL)
            .run("rebuild-xlogdb all")
            .rules(&[Pid])
            .disabled(0),
    ]
}

/// A file that is named as a WAL segment.
fn wal_file(root: &std::path::Path) -> anyhow::Result<()> {
    Ok(std::fs::write(root.join("out").join(WAL), "x")?)
}
