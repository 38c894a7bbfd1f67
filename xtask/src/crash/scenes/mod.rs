//! The scenarios.

mod archive_wal;
mod backup;
mod configuration;
mod delete;
mod import;
mod keep;
mod rebuild;
mod receive_wal;
mod restore;
mod retention;
mod small;

use testkit::strace::order::{
    ACKNOWLEDGED, AT_END, CONTROL_LAST, IN_PLACE, INFO_LAST, LISTED, RENAME, Rule, SOURCE, STATUS, UNMARKED,
    WAL_LISTED,
};

use super::planted::barman::Known;
use super::scenario::Scenario;

const OF_ARCHIVING: &[Rule] = &[RENAME, SOURCE, LISTED, IN_PLACE];
const OF_BACKUP: &[Rule] = &[RENAME, STATUS, IN_PLACE, AT_END];
const OF_DELETION: &[Rule] = &[RENAME, UNMARKED, WAL_LISTED, INFO_LAST, IN_PLACE];
const OF_RECEIVING: &[Rule] = &[RENAME, ACKNOWLEDGED];

/// What Barman 3.20.1 is known to do; the sections are those of the project's specification.
const BARMAN_ARCHIVES: &[Known] = &[Known {
    rule: LISTED,
    how: "lists a WAL file whose new directory is not synced (wal.md 21, row 2)",
}];
const BARMAN_COMPRESSES: &[Known] = &[
    Known {
        rule: LISTED,
        how: "lists a WAL file whose new directory is not synced (wal.md 21, row 2)",
    },
    Known {
        rule: RENAME,
        how: "gives a compressed WAL file its name before its fsync (wal.md 21, row 2)",
    },
    Known {
        rule: SOURCE,
        how: "removes a WAL file from the queue before the fsync of its compressed copy (wal.md 21, row 2)",
    },
];
const BARMAN_DELETES: &[Known] = &[
    Known {
        rule: WAL_LISTED,
        how: "removes WAL files that xlog.db still lists (catalog.md 24.5)",
    },
    Known {
        rule: UNMARKED,
        how: "removes data of a backup that still counts as good (catalog.md 24.4)",
    },
];
const BARMAN_BACKS_UP: &[Known] = &[Known {
    rule: RENAME,
    how: "replaces backup.info without its fsync (catalog.md 24.6)",
}];

/// All of them.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "archive-wal",
        about: "segments, a partial, a label, a history, duplicates and strange files in both queues",
        build: archive_wal::plain,
        rules: &[SOURCE, LISTED, IN_PLACE],
        barman: Some(BARMAN_ARCHIVES),
    },
    Scenario {
        name: "archive-wal/gzip",
        about: "the same, compressed",
        build: archive_wal::gzip,
        rules: OF_ARCHIVING,
        barman: Some(BARMAN_COMPRESSES),
    },
    Scenario {
        name: "archive-wal/zstd",
        about: "the same, compressed",
        build: archive_wal::zstd,
        rules: OF_ARCHIVING,
        barman: Some(BARMAN_COMPRESSES),
    },
    Scenario {
        name: "delete",
        about: "the oldest of three backups, with a tablespace, its WAL, and deliveries meanwhile",
        build: delete::oldest,
        rules: OF_DELETION,
        barman: Some(BARMAN_DELETES),
    },
    Scenario {
        name: "retention",
        about: "cron deletes two of four backups by policy, with their WAL",
        build: retention::by_cron,
        rules: OF_DELETION,
        barman: None,
    },
    Scenario {
        name: "keep",
        about: "a backup kept as standalone becomes one kept in full",
        build: keep::other_target,
        rules: &[RENAME],
        barman: None,
    },
    Scenario {
        name: "config-update",
        about: "options of two servers, in a file that sets one already and in the file of changes",
        build: configuration::update,
        rules: &[RENAME],
        barman: None,
    },
    Scenario {
        name: "config-switch",
        about: "from one model to another",
        build: configuration::switch,
        rules: &[RENAME],
        barman: None,
    },
    Scenario {
        name: "rebuild-xlogdb",
        about: "a WAL catalogue with wrong lines, and encrypted WAL",
        build: rebuild::wrong_lines,
        rules: &[RENAME, IN_PLACE],
        barman: None,
    },
    Scenario {
        name: "import-backup",
        about: "the older of two backups, with its WAL, comes back",
        build: import::back,
        rules: &[RENAME],
        barman: None,
    },
    Scenario {
        name: "export-backup",
        about: "a backup and its WAL into a directory",
        build: import::out,
        rules: &[],
        barman: None,
    },
    Scenario {
        name: "generate-manifest",
        about: "the manifest of a backup that has none",
        build: import::manifest,
        rules: &[],
        barman: None,
    },
    Scenario {
        name: "backup",
        about: "a second backup of a running PostgreSQL 15 with a tablespace and archive_command",
        build: backup::of_15,
        rules: OF_BACKUP,
        barman: Some(BARMAN_BACKS_UP),
    },
    Scenario {
        name: "backup/17",
        about: "the same of PostgreSQL 17",
        build: backup::of_17,
        rules: OF_BACKUP,
        barman: None,
    },
    Scenario {
        name: "receive-wal",
        about: "WAL streamed from a running PostgreSQL 17 through a slot, over several segments",
        build: receive_wal::of_17,
        rules: OF_RECEIVING,
        barman: None,
    },
    Scenario {
        name: "restore",
        about: "a backup of PostgreSQL 15 with a tablespace into an empty directory, to a point in time",
        build: restore::to_a_time,
        rules: &[CONTROL_LAST, AT_END],
        barman: None,
    },
];

/// `barman cron` and everything that it starts.
fn cron(sandbox: &testkit::Sandbox, program: &testkit::Program) -> anyhow::Result<()> {
    program.ok(["cron"])?;
    testkit::wait_until(
        "cron's children have ended",
        std::time::Duration::from_secs(120),
        || Ok(testkit::dirs::marked(sandbox.dir()).is_empty()),
    )
}

/// Whether files are as they should be.
fn equal(
    expected: &std::collections::BTreeMap<String, String>,
    found: &std::collections::BTreeMap<String, String>,
) -> anyhow::Result<()> {
    match super::disk::difference(expected, found) {
        Some(difference) => anyhow::bail!("{difference}"),
        None => Ok(()),
    }
}
