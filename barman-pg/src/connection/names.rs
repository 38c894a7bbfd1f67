//! How servers of different versions call the same thing.

use crate::version::PgVersion;

/// Every name that has changed, by its newest spelling, with the spelling of a server of this version (`name_map`). The
/// newest names if the version is not known. Between 10 and 14 only the backup functions differ from today's.
#[must_use]
pub fn name_map(version: Option<PgVersion>) -> [(&'static str, &'static str); 14] {
    let new = version.is_none_or(|version| version.at_least(15));
    let (start, stop) = if new {
        ("pg_backup_start", "pg_backup_stop")
    } else {
        ("pg_start_backup", "pg_stop_backup")
    };
    [
        ("pg_backup_start", start),
        ("pg_backup_stop", stop),
        ("pg_switch_wal", "pg_switch_wal"),
        ("pg_walfile_name", "pg_walfile_name"),
        ("pg_walfile_name_offset", "pg_walfile_name_offset"),
        ("pg_current_wal_lsn", "pg_current_wal_lsn"),
        ("pg_current_wal_insert_lsn", "pg_current_wal_insert_lsn"),
        ("pg_last_wal_replay_lsn", "pg_last_wal_replay_lsn"),
        ("pg_last_wal_receive_lsn", "pg_last_wal_receive_lsn"),
        ("sent_lsn", "sent_lsn"),
        ("write_lsn", "write_lsn"),
        ("flush_lsn", "flush_lsn"),
        ("replay_lsn", "replay_lsn"),
        ("pg_wal", "pg_wal"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_backup_functions_have_other_names() {
        for (version, start, differ) in [
            (None, "pg_backup_start", 0),
            (Some(180_004), "pg_backup_start", 0),
            (Some(150_000), "pg_backup_start", 0),
            (Some(140_022), "pg_start_backup", 2),
            (Some(100_023), "pg_start_backup", 2),
        ] {
            let map = name_map(version.map(PgVersion));
            assert_eq!(map[0], ("pg_backup_start", start));
            assert_eq!(map.iter().filter(|(new, name)| new != name).count(), differ);
        }
    }
}
