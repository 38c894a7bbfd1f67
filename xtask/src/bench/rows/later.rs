//! Rows whose features are not there yet. Whoever brings one moves its row to the file of its group.

use super::super::row::{Row, memory, rate_of, wall, wall_of};
use super::ORACLE;

const PGBACKREST: &str = "pgbackrest";

const COMPRESSED: &str = "compressed base backups";

pub fn rows() -> Vec<Row> {
    let mut rows = vec![Row::awaits(
        "replay/prefetch",
        "replay rate of a standby fed by `barman-wal-restore` with prefetch, beside a local `cp`",
        [rate_of("cp", 0.9)],
        "barman-wal-restore",
    )];
    for codec in ["gzip", "zstd"] {
        rows.push(Row::awaits(
            if codec == "gzip" { "compressed/backup-gzip" } else { "compressed/backup-zstd" },
            &format!("base backup of 1 GiB with {codec}, beside pgBackRest with the same codec, level and 2 processes"),
            [wall_of(PGBACKREST, 0.8), memory(64.0)],
            COMPRESSED,
        ));
    }
    rows.extend([
        Row::awaits(
            "compressed/restore",
            "restore of a compressed backup, beside pgBackRest with 2 processes",
            [wall_of(PGBACKREST, 0.7), memory(64.0)],
            COMPRESSED,
        ),
        Row::awaits(
            "rsync/repeated",
            "second rsync backup of a cluster that has hardly changed",
            [wall_of(ORACLE, 0.7), memory(64.0)],
            "backup over rsync",
        ),
        Row::awaits(
            "combine/chain",
            "a full backup and two incremental ones combined",
            [wall_of("pg_combinebackup", 0.7), memory(64.0)],
            "block-level incremental backups",
        ),
        Row::awaits(
            "service/concurrent",
            "50 concurrent requests to the REST service while operations run: each of them",
            [wall(0.050), memory(64.0)],
            "the REST service",
        ),
    ]);
    rows
}
