//! Every argument of every command with values that are refused, and the errors that come before any work: one row of usage errors for each command.

use super::{ALL, ANY_HINT, NO_BACKUPS, UNKNOWN_SERVER, VARIED};
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::PLAIN;

/// Command lines that are usage errors: name, section, lines.
const USAGE: &[(&str, &str, &[&str])] = &[
    (
        "usage-global-options",
        "cli.md 1, 5.1",
        &[
            "--color sometimes list-servers",
            "--colour x list-servers",
            "--log-level",
            "--log-level '' list-servers",
            "--format JSON list-servers",
            "-f",
            "-x list-servers",
            "--nosuch list-servers",
            "--quiet=1 list-servers",
            "--col never list-servers",
        ],
    ),
    (
        "usage-backup-numbers",
        "cli.md 11.1, 5.2",
        &[
            "backup -j",
            "backup -j0 main",
            "backup -j -1 main",
            "backup -jx main",
            "backup --jobs= main",
            "backup --jobs-start-batch-period 0 main",
            "backup --jobs-start-batch-size 0 main",
            "backup --jobs-start 1 main",
            "backup --bwlimit -1 main",
            "backup --retry-times -1 main",
            "backup --retry-sleep x main",
            "backup --retry 1 main",
            "backup --no-retry=1 main",
            "backup --wait-timeout -1 main",
            "backup --keepalive-interval 1.5 main",
            "backup --check-timeout x main",
            "backup -w2 main",
        ],
    ),
    (
        "usage-backup-names",
        "cli.md 11.1, 5.2",
        &[
            "backup --name auto main",
            "backup --name last-failed main",
            "backup --name latest-full main",
            "backup --name oldest main",
            "backup --name 20240101T000000 main",
            "backup --name",
            "backup --incremental main",
        ],
    ),
    (
        "usage-backup-choices",
        "cli.md 11.1, 5.2",
        &[
            "backup --reuse-backup=x main",
            "backup --reuse-backup=LINK main",
            "backup --reuse-backup= main",
            "backup --cloud-staging-directory x main",
            "backup --cloud-staging-directory '' main",
            "backup --cloud-staging-max-size x main",
            "backup --cloud-staging-max-size 5K main",
            "backup --cloud-staging-max-size 5B main",
            "backup --cloud-staging-max-size -5 main",
            "backup --cloud-staging-max-size 1.5G main",
            "backup -W main",
        ],
    ),
    (
        "usage-restore-values",
        "cli.md 12, 5.2",
        &[
            "restore main latest /x y",
            "restore --target-tli 0 main latest /x",
            "restore --target-tli CURRENT main latest /x",
            "restore --target-tli '' main latest /x",
            "restore --target-action PAUSE main latest /x",
            "restore --target main latest /x",
            "restore --tablespace",
            "restore --staging-location x main latest /x",
            "restore --staging-location Local main latest /x",
            "restore --combine-mode x main latest /x",
            "restore --jobs 0 main latest /x",
            "restore --bwlimit -1 main latest /x",
            "restore --retry-times x main latest /x",
            "restore --retry-sleep -1 main latest /x",
            "restore --jobs-start-batch-size 0 main latest /x",
            "recover --no main latest /x",
        ],
    ),
    (
        "usage-check",
        "cli.md 10.4, 5.2",
        &[
            "check --check-timeout '' main",
            "check --check-timeout 1e3 main",
            "check --nagios=1 main",
            "check -x",
        ],
    ),
    (
        "usage-lists",
        "cli.md 10.1, 11.2, 11.4",
        &[
            "list-backups --minimal=1 main",
            "list-backups -m main",
            "list-servers --x",
            "list-files main",
            "list-files --target Full main latest",
            "list-files --target",
            "show-backup main --nosuch latest",
            "show-backups main",
        ],
    ),
    (
        "usage-keep-and-delete",
        "cli.md 11.5, 11.6",
        &[
            "keep main",
            "keep --target main latest",
            "keep --target= main latest",
            "keep --status=1 main latest",
            "delete main latest more",
            "delete",
        ],
    ),
    (
        "usage-get-wal",
        "cli.md 13.2, 5.2",
        &[
            "get-wal -p main x",
            "get-wal -p -1 main x",
            "get-wal -o main x",
            "get-wal --test main",
            "get-wal main x y",
            "get-wal --p 1 main x",
        ],
    ),
    (
        "usage-wal-commands",
        "cli.md 13, 5.2",
        &[
            "switch-wal --archive-timeout -1 main",
            "switch-wal --archive-timeout x main",
            "switch-wal --arch main",
            "receive-wal --x main",
            "receive-wal --stop=1 main",
            "receive-wal main main",
            "archive-wal --x main",
            "check-wal-archive --timeline -1 main",
            "check-wal-archive --timeline latest main",
            "check-archived-wal-range main 000000010000000000000001",
            "rebuild-xlogdb --x main",
        ],
    ),
    (
        "usage-export-and-import",
        "cli.md 11.10, 11.11",
        &[
            "export-backup main latest",
            "export-backup --compression lz4 main latest /x",
            "export-backup --compression GZIP main latest /x",
            "export-backup --compression-level x main latest /x",
            "export-backup --compression-level 1.0 main latest /x",
            "export-backup --comp gzip main latest /x",
            "import-backup main",
            "import-backup main x y",
        ],
    ),
    (
        "usage-manifest-commands",
        "cli.md 11.8, 11.9",
        &[
            "verify main",
            "verify-backup main latest more",
            "generate-manifest main",
            "check-backup main latest more",
        ],
    ),
    (
        "usage-cron-and-help",
        "cli.md 14.1, 9",
        &["cron x", "cron --keep-descriptors=1", "help --x", "''"],
    ),
    (
        "usage-cloud-commands",
        "cli.md 13.9, 5.2",
        &[
            "cloud-wal-archive -p x main /x",
            "cloud-wal-archive --parallel 1.5 main /x",
            "cloud-wal-archive main",
            "cloud-wal-restore -p 1.5 main x /x",
            "cloud-wal-restore main x",
            "cloud-wal-restore --spool-dir main x",
        ],
    ),
    (
        "usage-sync-commands",
        "cli.md 16, 5.2",
        &[
            "sync-info main x -1",
            "sync-info main x 1.0",
            "sync-info main a 1 2",
            "sync-info -p main",
            "sync-backup main latest more",
            "sync-wals main x",
            "put-wal main x",
            "put-wal --test=1 main",
        ],
    ),
    (
        "usage-configuration-commands",
        "cli.md 15, 5.1",
        &[
            "config-switch a b c",
            "config-switch --x main m",
            "config-update [] x",
        ],
    ),
    (
        "usage-process-commands",
        "cli.md 14, 5.1",
        &[
            "list-processes main plain",
            "terminate-process main a b",
            "lock-directory-cleanup --x",
            "diagnose --show-config-source=1",
            "diagnose --show-config-source x",
            "replication-status --target Wal-streamer main",
            "replication-status --source x main",
            "status --x main",
            "show-servers --x main",
        ],
    ),
];

/// Lines of [`USAGE`] that get a suggestion.
const SUGGESTED: [&str; 7] = [
    "--format JSON list-servers",
    "backup --reuse-backup=LINK main",
    "restore --staging-location Local main latest /x",
    "restore --target-action PAUSE main latest /x",
    "list-files --target Full main latest",
    "replication-status --target Wal-streamer main",
    "export-backup --compression GZIP main latest /x",
];

pub fn scenarios() -> Vec<Scenario> {
    let usage = USAGE.iter().map(|(name, spec, lines)| {
        let empty = scenario(name, spec, PLAIN).prose();
        lines.iter().enumerate().fold(empty, |rows, (step, line)| {
            let rows = rows.run(line);
            if SUGGESTED.contains(line) {
                rows.hint(step, ANY_HINT)
            } else {
                rows
            }
        })
    });
    usage.chain(refusals()).collect()
}

/// Errors of arguments and of the choice of servers and backups that commands find themselves (exit code 1).
fn refusals() -> Vec<Scenario> {
    vec![
        scenario("arguments-accepted", "cli.md 5.1, 5.2", PLAIN)
            .run("backup --name ok --jobs ' 3 ' --retry-times +2 --bwlimit 1_0 nosuch")
            .run("backup --mani --no-manifest --imm --no-imm nosuch")
            .run("backup --cloud-staging-max-size '5 Gi ' --cloud-staging-directory /x nosuch")
            .run("backup --cloud-staging-max-size '' nosuch")
            .run("backup nosuch --reuse-backup")
            .run("backup --reuse link -wj2 nosuch")
            .run("restore --combine-mode Copy-File-Range --target-tli 1_0 nosuch latest /x")
            .run("restore --target-i --exclusive --partial-wal nosuch latest /x")
            .run("export-backup --compression-level=-3 nosuch latest /x")
            .run("switch-wal --archive-t 3 nosuch")
            .run("check -1")
            .run("list-backups -- --minimal")
            .hints(0..12, UNKNOWN_SERVER),
        scenario("several-targets", "cli.md 12", PLAIN)
            .run("restore --target-time x --target-xid 1 main latest /x")
            .run("restore --target-time x --target-immediate main latest /x")
            .run("restore --target-lsn x --target-name n main latest /x")
            .run("restore --target-name '' --target-xid 3 main latest /x")
            .prose()
            .hint(3, ANY_HINT),
        scenario("restore-paths-of-staging", "cli.md 12, 20.11", VARIED)
            .run("restore --staging-path rel main latest {root}/out/x")
            .run("restore --staging-location remote main latest {root}/out/x")
            .run("restore --recovery-staging-path rel main latest {root}/out/x")
            .run("restore --local-staging-path rel main latest {root}/out/x")
            .prose()
            .hint(1, ANY_HINT),
        scenario("restore-unknown-backup-comes-first", "cli.md 12", PLAIN)
            .run("restore --staging-path rel main latest /x")
            .run("restore --network-compression main latest /x")
            .run("restore --snapshot-recovery-instance i main latest /x")
            .run("restore main auto {root}/out/x")
            .prose()
            .hints(0..3, ANY_HINT),
        scenario("backup-incremental-unknown", "cli.md 7, 11.1", ALL)
            .run("backup --incremental x main")
            .run("backup --incremental latest inact main")
            .run("backup --incremental x main plain")
            .run("-f json backup --incremental x main")
            .hints(0..3, NO_BACKUPS),
        scenario("get-wal-compressions-exclude", "cli.md 13.2", ALL)
            .run("get-wal --keep-compression -z main 000000010000000000000001")
            .run("get-wal -j --keep-compression main 000000010000000000000001")
            .run("get-wal --keep-compression -z inact x")
            .run("get-wal --keep-compression -j nosuch 000000010000000000000001")
            .hint(3, UNKNOWN_SERVER),
        scenario("keep-without-action", "cli.md 11.6, 20.11", ALL)
            .run("keep main latest")
            .run("keep nosuch latest")
            .run("-f json keep main latest"),
        scenario("check-timeout-of-an-unknown-server", "cli.md 6.1", ALL)
            .run("check --check-timeout 5 nosuch")
            .stderr(
                0,
                "cli-1",
                "ERROR: Unknown server 'nosuch'",
                "EXCEPTION: 'NoneType' object has no attribute 'config'",
            )
            .hint(0, UNKNOWN_SERVER)
            .stderr(0, "cli-1", "", "See log file for more details."),
        scenario("export-backup-level-without-compression", "cli.md 11.10", VARIED)
            .run("export-backup --compression-level 3 main latest {root}/out")
            .run("export-backup --compression gzip --compression-level 10 main latest {root}/out")
            .run("export-backup main latest {root}/missing")
            .prose(),
        scenario("sync-info-position-zero", "cli.md 20.16", PLAIN)
            .run("sync-info nosuch 000000010000000000000001 0")
            .exit_code(0, "cli-2", 1, 2)
            .stderr(0, "cli-2", "ERROR: <words>", "usage error: <words>")
            .hint(0, ANY_HINT)
            .prose(),
    ]
}
