//! The rows of the table, one file for each group of targets.

mod archive;
mod backup;
mod catalogue;
mod codec;
mod commands;
mod decode;
mod get_wal;
mod later;
mod patroni;
mod pgbackrest;
mod restore;
mod streams;
mod verify;

use super::row::Row;

/// All rows, in the order of the table.
pub fn all() -> Vec<Row> {
    [
        commands::rows(),
        catalogue::rows(),
        streams::rows(),
        backup::rows(),
        codec::rows(),
        decode::rows(),
        archive::rows(),
        get_wal::rows(),
        restore::rows(),
        verify::rows(),
        later::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The peer that is Barman 3.20.1.
const ORACLE: &str = "oracle";

/// What our program says of a command or an option that it does not have yet.
fn not_yet(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.contains("not yet available"))?;
    // What stands before it says where, not what.
    let said = line.rsplit(": ").next().unwrap_or(line);
    Some(said.trim_matches(['"', ' ']).to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own_and_a_target() {
        let mut seen = HashSet::new();
        for row in all() {
            assert!(seen.insert(row.id.clone()), "two rows are called {}", row.id);
            assert!(!row.targets.is_empty(), "{} has no target", row.id);
            assert!(row.id.contains('/'), "{} has no group", row.id);
        }
    }

    #[test]
    fn groups_stand_together() {
        let rows = all();
        let mut groups: Vec<&str> = rows.iter().map(Row::group).collect();
        groups.dedup();
        let distinct: HashSet<&str> = groups.iter().copied().collect();
        assert_eq!(groups.len(), distinct.len(), "{groups:?}");
    }

    #[test]
    fn a_refusal_by_name_is_recognised() {
        assert_eq!(
            not_yet("x\nERROR: status is not yet available in barman-rs 0.1.0\n").as_deref(),
            Some("status is not yet available in barman-rs 0.1.0")
        );
        assert_eq!(not_yet("ERROR: no such backup"), None);
    }
}
