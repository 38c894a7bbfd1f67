//! Inactive, disabled and passive servers; commands that are not there yet.

use super::{ALL, NO_BACKUPS, UNKNOWN_SERVER};
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::State;

/// Every state of a server, and one that keeps everything in object storage.
const IN_CLOUD: State = ALL.main(
    "backup_method = local-to-cloud\nbasebackups_directory = s3://bucket/base\nwals_directory = s3://bucket/wals",
);

pub fn scenarios() -> Vec<Scenario> {
    let mut all = vec![
        scenario("inactive-server-skipped", "cli.md 6.2", ALL)
            .run("backup inact")
            .run("switch-wal inact")
            .run("archive-wal inact")
            .run("receive-wal inact"),
        scenario("inactive-server-json", "cli.md 6.2", ALL)
            .run("-f json backup inact")
            .run("-f json archive-wal inact"),
        scenario("inactive-server-receive-wal", "cli.md 6.2", ALL)
            .run("receive-wal --create-slot inact")
            .run("receive-wal --drop-slot inact")
            .run("receive-wal --reset inact"),
        scenario("disabled-server-refused", "cli.md 6.2", ALL)
            .run("backup dis")
            .run("switch-wal dis")
            .run("archive-wal dis")
            .run("receive-wal dis")
            .short()
            .disabled(0)
            .disabled(1)
            .disabled(2)
            .disabled(3),
        scenario("disabled-server-refused-with-a-backup", "cli.md 6.2", ALL)
            .run("delete dis latest")
            .run("get-wal dis 000000010000000000000001")
            .run("restore dis latest {root}/out/x")
            .disabled(0)
            .disabled(1)
            .disabled(2),
        scenario("disabled-server-json", "cli.md 6.2", ALL)
            .run("-f json backup dis")
            .json(
                0,
                "config-9",
                "_ERROR[1]",
                "\"Streaming connection: Missing 'streaming_conninfo' parameter for server 'dis'\"",
                "",
            ),
        scenario("disabled-server-looked-at", "cli.md 6.2", ALL)
            .run("list-backups dis")
            .run("show-backup dis latest")
            .run("check-backup dis latest")
            .hints(1..3, NO_BACKUPS),
        scenario("passive-server", "cli.md 6.2", ALL)
            .run("backup pas")
            .run("archive-wal pas")
            .run("list-backups pas")
            .short()
            .file("all-15", "home/.pas-archive-wal.lock", "", "file, *"),
        scenario("passive-server-switch-wal", "cli.md 6.2", ALL)
            .run("switch-wal pas")
            .run("-f json switch-wal pas")
            .stderr(
                0,
                "wal-19",
                "ERROR: Server 'pas' is passive: its backups and WAL come from another Barman node",
                "EXCEPTION: 'NoneType' object has no attribute 'switch_wal'",
            )
            .stderr(0, "wal-19", "", "See log file for more details.")
            .json(
                1,
                "wal-19",
                "_ERROR",
                "[\"Server 'pas' is passive: its backups and WAL come from another Barman node\"]",
                "",
            )
            .json(
                1,
                "wal-19",
                "_EXCEPTION",
                "",
                r#"["'NoneType' object has no attribute 'switch_wal'\nSee log file for more details."]"#,
            ),
        scenario("passive-server-receive-wal", "cli.md 6.2", ALL)
            .run("receive-wal pas")
            .run("receive-wal --reset pas")
            .run("receive-wal --create-slot pas"),
        scenario("skipped-and-refused-in-one-command", "cli.md 6.1, 6.2", ALL)
            // One that is skipped in each: Barman takes the servers in an order that changes from run to run.
            .run("backup inact dis nosuch")
            .run("backup pas dis nosuch")
            .disabled(0)
            .hint(0, UNKNOWN_SERVER)
            .disabled(1)
            .hint(1, UNKNOWN_SERVER),
        scenario("check-archived-wal-range-usage", "cli.md 13.8, 5.1", ALL)
            .run("check-archived-wal-range main")
            .prose(),
        scenario("check-wal-archive-usage", "cli.md 13.7, 5.1", ALL)
            .run("check-wal-archive --timeline 0 main")
            .prose(),
        scenario("keep-usage", "cli.md 11.6, 5.1", ALL)
            .run("keep --target nothing main latest")
            .prose(),
        scenario("list-files-usage", "cli.md 11.4, 5.1", ALL)
            .run("list-files --target x main latest")
            .prose(),
        scenario("config-switch-usage", "cli.md 15.1, 5.1", ALL)
            .run("config-switch")
            .prose(),
        scenario("config-update-usage", "cli.md 15.2, 5.1", ALL)
            .run("config-update")
            .prose(),
        scenario("show-servers-usage", "cli.md 10.2, 5.1", ALL)
            .run("show-server")
            .prose(),
        scenario("rebuild-xlogdb-usage", "cli.md 13.6, 5.1", ALL)
            .run("rebuild-xlogdb")
            .prose(),
    ];
    all.extend(
        NOT_YET
            .map(|(name, usage, awaits, command, bad, good)| {
                [
                    scenario(usage, "cli.md 9, 5.1", ALL).run(bad).prose(),
                    scenario(awaits, name, IN_CLOUD)
                        .then(|stage| {
                            Ok(std::fs::write(
                                stage.root.join("home/000000010000000000000001"),
                                "x",
                            )?)
                        })
                        .run(good)
                        .awaits(command),
                ]
            })
            .into_iter()
            .flatten(),
    );
    all
}

/// Commands that are not there yet: section, names of the scenarios, command, a usage error, a call.
const NOT_YET: [(&str, &str, &str, &str, &str, &str); 6] = [
    (
        "cli.md 13.9",
        "cloud-wal-archive-usage",
        "cloud-wal-archive-awaited",
        "cloud-wal-archive",
        "cloud-wal-archive main",
        "cloud-wal-archive main {root}/home/000000010000000000000001",
    ),
    (
        "cli.md 13.9",
        "cloud-wal-restore-usage",
        "cloud-wal-restore-awaited",
        "cloud-wal-restore",
        "cloud-wal-restore main",
        "cloud-wal-restore main 000000010000000000000001 /x",
    ),
    (
        "cli.md 13.3",
        "put-wal-usage",
        "put-wal-awaited",
        "put-wal",
        "put-wal",
        "put-wal main",
    ),
    (
        "cli.md 16",
        "sync-backup-usage",
        "sync-backup-awaited",
        "sync-backup",
        "sync-backup main",
        "sync-backup pas latest",
    ),
    (
        "cli.md 16",
        "sync-info-usage",
        "sync-info-awaited",
        "sync-info",
        "sync-info",
        "sync-info main",
    ),
    (
        "cli.md 16",
        "sync-wals-usage",
        "sync-wals-awaited",
        "sync-wals",
        "sync-wals",
        "sync-wals pas",
    ),
];
