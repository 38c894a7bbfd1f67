//! The rows of `docs/differences.md` that no scenario can show, why, and the test that shows each instead. A row is in exactly one of
//! both places; a test of this module fails otherwise, and when a test that is named here is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::listed::Row;
use super::scenario::Scenario;

/// Why two runs side by side do not show a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It shows only if a process dies, a disk is full or a connection breaks at one moment.
    Fault,
    /// It shows only if two processes meet, or the clock goes back.
    Race,
    /// Barman would hang there, or for minutes.
    Hangs,
    /// Output and files are equal: how it is done differs, or only the log tells.
    Silent,
    /// It needs a cluster that is made for it, or changed while a backup runs.
    Cluster,
    /// It needs a terminal, or another user than root.
    Caller,
    /// Only words differ that are no interface.
    Words,
}

impl Why {
    fn words(self) -> &'static str {
        match self {
            Self::Fault => "needs a fault at one moment",
            Self::Race => "needs two processes at one moment, or another clock",
            Self::Hangs => "Barman would hang",
            Self::Silent => "output and files are equal",
            Self::Cluster => "needs a cluster that is made for it",
            Self::Caller => "needs a terminal, or another user",
            Self::Words => "only words that are no interface",
        }
    }
}

/// A row, why no scenario shows it, and the tests that do, each for a part of it: `file::function`, or `crash` with the name of a scenario
/// of `cargo xtask crash`.
type Elsewhere = (&'static str, Why, &'static [&'static str]);

use Why::{Caller, Cluster, Fault, Hangs, Race, Silent, Words};

const ELSEWHERE: &[Elsewhere] = &[
    (
        "check-15",
        Hangs,
        &[
            "barman-core/src/ops/parallel.rs::results_come_as_soon_as_those_before_them_are_there",
            "barman-core/src/ops/parallel.rs::many_that_hang_keep_nobody_waiting",
        ],
    ),
    (
        "check-16",
        Hangs,
        &["barman-core/tests/check.rs::the_time_limit_holds_for_what_the_check_archives"],
    ),
    (
        "cli-9",
        Fault,
        &["barman-cli/tests/streams.rs::a_log_file_that_takes_nothing"],
    ),
    (
        "cli-10",
        Words,
        &["barman-cli/tests/program.rs::words_that_are_no_text"],
    ),
    (
        "config-19",
        Caller,
        &[
            "barman-core/tests/config_mistakes.rs::broken_files_tell_what_is_right",
            "barman-cli/tests/configuration.rs::files_are_utf8_in_every_locale",
        ],
    ),
    (
        "all-4",
        Caller,
        &["barman-cli/tests/e2e_session.rs::progress_is_shown_on_terminals_alone"],
    ),
    (
        "all-5",
        Words,
        &["barman-cli/src/args/tests.rs::help_tells_what_is_not_there_yet"],
    ),
    (
        "all-6",
        Fault,
        &["barman-cli/tests/e2e_backup.rs::a_reader_that_goes_away_does_not_fail_a_backup"],
    ),
    ("all-9", Silent, &["barman-cli/tests/program.rs::list_servers"]),
    (
        "all-12",
        Race,
        &["barman-wal/src/lock.rs::clean_up_never_makes_two_holders"],
    ),
    ("all-14", Fault, &["crash::delete"]),
    (
        "all-18",
        Cluster,
        &["barman-pg/tests/like_psql/generated.rs::strings_made_at_random_end_as_with_psql"],
    ),
    (
        "all-19",
        Hangs,
        &["barman-pg/tests/server_search.rs::dead_and_silent_hosts_are_passed_over_and_refusals_are_not"],
    ),
    (
        "all-21",
        Silent,
        &["barman-pg/tests/server_search.rs::a_server_is_told_when_nobody_waits_any_more"],
    ),
    (
        "backup-1",
        Race,
        &["barman-cli/tests/e2e_backup.rs::ids_increase_when_the_clock_goes_back"],
    ),
    (
        "backup-2",
        Fault,
        &["barman-pg/tests/hostile_servers/backups.rs::what_arrives_is_compared_with_the_manifest"],
    ),
    (
        "backup-4",
        Cluster,
        &["barman-cli/tests/e2e_restore.rs::a_backup_from_a_standby_restores"],
    ),
    (
        "backup-5",
        Fault,
        &["barman-cli/tests/e2e_backup.rs::a_connection_lost_at_the_end_fails_the_backup"],
    ),
    (
        "backup-6",
        Fault,
        &["barman-cli/tests/e2e_session.rs::what_cannot_be_read_fails_the_backup"],
    ),
    (
        "backup-7",
        Cluster,
        &["barman-pg/tests/base_backup.rs::a_tablespace_that_appears_meanwhile_leads_nowhere"],
    ),
    ("backup-8", Fault, &["crash::backup"]),
    (
        "backup-10",
        Fault,
        &["barman-cli/tests/e2e_backup.rs::killed_while_waiting_the_backup_is_still_good"],
    ),
    (
        "backup-13",
        Race,
        &["barman-core/tests/catalogue_ops.rs::a_hole_is_given_time_unless_a_user_asks"],
    ),
    (
        "backup-14",
        Hangs,
        &[
            "barman-cli/tests/e2e_backup.rs::an_archiver_that_needs_a_moment_is_given_it_with_the_copy_on_record",
        ],
    ),
    (
        "backup-16",
        Cluster,
        &["barman-core/src/ops/backup/outside.rs::a_sibling_directory_with_the_same_prefix_is_outside"],
    ),
    (
        "backup-17",
        Silent,
        &["barman-cli/tests/e2e_session.rs::no_session_is_open_during_the_copy"],
    ),
    (
        "backup-18",
        Cluster,
        &["barman-cli/tests/e2e_restore.rs::a_tablespace_inside_the_data_directory_is_part_of_it"],
    ),
    (
        "catalogue-3",
        Cluster,
        &["barman-cli/tests/generated/main.rs::deletions_by_hand_remove_what_the_oracle_removes"],
    ),
    ("catalogue-4", Fault, &["crash::delete"]),
    (
        "catalogue-5",
        Fault,
        &[
            "barman-catalog/tests/catalogue.rs::a_deletion_that_is_stopped_leaves_a_backup_that_does_not_look_whole",
        ],
    ),
    (
        "catalogue-7",
        Fault,
        &["barman-cli/tests/catalogue.rs::a_backup_can_be_deleted_on_a_full_disk"],
    ),
    (
        "catalogue-29",
        Race,
        &["barman-cli/tests/catalogue_safety.rs::a_tree_in_use_stays_whole"],
    ),
    (
        "catalogue-31",
        Fault,
        &[
            "barman-cli/tests/catalogue_safety.rs::a_rebuild_that_cannot_read_the_archive_leaves_the_catalogue",
        ],
    ),
    (
        "check-1",
        Hangs,
        &["barman-core/tests/check.rs::the_time_limit_holds_for_a_server_that_never_answers"],
    ),
    (
        "check-2",
        Hangs,
        &["barman-core/tests/check.rs::waiting_for_the_first_wal_ends"],
    ),
    (
        "check-5",
        Cluster,
        &["barman-core/src/ops/check/archivers.rs::a_library_is_as_good_as_a_command"],
    ),
    (
        "check-10",
        Caller,
        &["barman-cli/tests/program.rs::check_tells_which_directory_cannot_be_used"],
    ),
    (
        "check-12",
        Silent,
        &["barman-core/tests/check.rs::servers_are_checked_at_the_same_time"],
    ),
    (
        "cli-6",
        Words,
        &[
            "barman-cli/tests/completion.rs::commands_options_choices_and_servers",
            "barman-cli/tests/completion.rs::argcomplete_beside_the_oracle",
            "barman-cli/tests/completion.rs::quiet_about_what_is_broken",
        ],
    ),
    (
        "cli-7",
        Caller,
        &["barman-cli/tests/streams.rs::colours_on_a_terminal"],
    ),
    (
        "config-8",
        Silent,
        &[
            "barman-cli/tests/configuration.rs::files_of_others",
            "barman-core/tests/config_mistakes.rs::nested_directories_are_warned_about",
        ],
    ),
    (
        "live-1",
        Hangs,
        &["barman-core/tests/live.rs::servers_that_stop_answering_keep_nobody_waiting"],
    ),
    (
        "live-4",
        Cluster,
        &[
            "barman-core/tests/live.rs::a_library_in_place_of_a_command",
            "barman-cli/src/commands/status.rs::archiving_in_words",
        ],
    ),
    (
        "live-6",
        Cluster,
        &[
            "barman-core/src/ops/replication_status/tests.rs::nothing_is_level_with_an_unknown_position",
            "barman-cli/src/commands/replication_status.rs::a_cascading_standby_without_a_position",
        ],
    ),
    ("restore-10", Fault, &["crash::restore"]),
    (
        "restore-12",
        Cluster,
        &["barman-core/src/ops/restore/tests/result.rs::a_tablespace_may_be_inside_of_the_destination"],
    ),
    (
        "restore-14",
        Words,
        &[
            "barman-core/tests/restore.rs::every_target_on_15",
            "barman-core/src/ops/restore/settings.rs::a_directory_with_a_blank_never_makes_rm_remove_another",
        ],
    ),
    (
        "restore-19",
        Fault,
        &[
            "barman-core/src/ops/restore/tests/wal.rs::wal_is_delivered_in_parallel",
            "barman-core/src/ops/restore/tests/wal.rs::damaged_wal_is_found_and_the_result_cannot_be_started",
        ],
    ),
    (
        "restore-20",
        Cluster,
        &["barman-core/src/ops/restore/wal_choice.rs::partial_files_come_on_request"],
    ),
    ("wal-1", Fault, &["crash::archive-wal"]),
    (
        "wal-3",
        Hangs,
        &[
            "barman-core/src/ops/archive/tests/stopping.rs::the_catalogue_is_not_locked_while_scripts_and_filters_run",
        ],
    ),
    (
        "wal-5",
        Fault,
        &[
            "barman-core/src/ops/archive/tests/rejects.rs::useless_segments_never_reach_the_archive_and_stop_nobody",
            "barman-core/src/ops/archive/tests/rejects.rs::a_file_that_cannot_be_compared_waits_and_the_others_go_on",
        ],
    ),
    (
        "wal-9",
        Silent,
        &[
            "barman-wal/src/codec/openpgp.rs::packets",
            "barman-catalog/src/xlogdb/rebuild.rs::files_are_known_by_their_first_bytes",
        ],
    ),
    (
        "wal-10",
        Silent,
        &[
            "barman-core/src/ops/archive/tests/queue.rs::many_segments_are_compressed_in_parallel_and_listed_in_order",
        ],
    ),
    (
        "wal-11",
        Fault,
        &["barman-pg/tests/streams.rs::a_commit_returns_only_after_our_flush"],
    ),
    (
        "wal-12",
        Cluster,
        &["barman-core/tests/receive_wal.rs::a_lost_server_ends_it_and_another_cluster_is_refused"],
    ),
    (
        "wal-13",
        Race,
        &[
            "barman-core/tests/receive_wal.rs::wal_is_kept_and_closed_segments_can_be_archived_on_a_quiet_server",
        ],
    ),
    (
        "wal-14",
        Race,
        &["barman-core/src/ops/receive_wal/tests.rs::reset_aligns_with_the_slot"],
    ),
    (
        "wal-21",
        Fault,
        &["barman-core/src/host/command.rs::what_a_command_started_ends_with_it"],
    ),
    (
        "wal-23",
        Silent,
        &["barman-wal/tests/codec.rs::every_algorithm_level_and_size"],
    ),
    (
        "wal-26",
        Cluster,
        &["barman-core/tests/receive_wal.rs::a_promoted_standby_that_was_behind_is_gone_on_with"],
    ),
    (
        "wal-27",
        Fault,
        &[
            "barman-core/src/ops/archive/tests/waiting.rs::what_fails_is_told_once_and_left_alone_for_a_while",
            "barman-core/src/ops/archive/tests/waiting.rs::what_comes_later_is_archived_beside_what_failed",
            "barman-core/src/ops/archive/tests/waiting.rs::a_script_that_stops_the_archiver_is_not_asked_ten_times_a_second",
        ],
    ),
];

/// Where the rows of `patroni_barman` are shown: beside the original one of Patroni, which is another program than Barman. The tests there
/// name each row.
const PATRONI: (&str, &str) = ("patroni-", "patroni-barman/tests/exchanges");

/// Ids of the rows that these scenarios show: each shows what it allows, or fails.
pub fn shown(scenarios: &[Scenario]) -> BTreeSet<&'static str> {
    scenarios
        .iter()
        .flat_map(|scenario| scenario.allowed.iter().map(|one| one.id))
        .collect()
}

/// The rows that none of the scenarios shows, one line each: why, and what shows them.
pub fn table(rows: &BTreeMap<String, Row>, scenarios: &[Scenario]) -> String {
    let shown = shown(scenarios);
    let mut text = String::new();
    for id in rows.keys().filter(|id| !shown.contains(id.as_str())) {
        let _ = match ELSEWHERE.iter().find(|(other, ..)| other == id) {
            Some((_, why, by)) => writeln!(text, "  {id:14} {:52} {}", why.words(), by.join(", ")),
            None if id.starts_with(PATRONI.0) => {
                writeln!(text, "  {id:14} {:52} {}", "is another program", PATRONI.1)
            }
            None => writeln!(text, "  {id:14} by none of these scenarios"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{listed, scenarios};

    /// The ids of `patroni_barman` that stand in these files.
    fn named(directory: &std::path::Path) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        for file in std::fs::read_dir(directory).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            for (at, _) in text.match_indices(PATRONI.0) {
                let rest = &text[at + PATRONI.0.len()..];
                let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
                if !number.is_empty() {
                    ids.insert(format!("{}{number}", PATRONI.0));
                }
            }
        }
        ids
    }

    #[test]
    fn each_row_is_shown_by_a_scenario_or_by_a_named_test() {
        let root = crate::run::root();
        let text = std::fs::read_to_string(root.join("docs/differences.md")).unwrap();
        let rows = listed::parse(&text).unwrap();
        let all = scenarios::all();
        let shown = shown(&all);
        let mut faults = Vec::new();
        for id in rows.keys().filter(|id| !id.starts_with(PATRONI.0)) {
            let places = ELSEWHERE.iter().filter(|(other, ..)| other == id).count();
            match (shown.contains(id.as_str()), places) {
                (true, 0) | (false, 1) => {}
                (true, _) => faults.push(format!("{id} is shown by a scenario: take it out of here")),
                (false, 0) => faults.push(format!("nothing shows {id}")),
                (false, _) => faults.push(format!("{id} stands here twice")),
            }
        }
        for (id, _, tests) in ELSEWHERE {
            if !rows.contains_key(*id) {
                faults.push(format!("{id} is no row"));
            }
            if tests.is_empty() {
                faults.push(format!("{id} has no test"));
            }
            for by in *tests {
                let good = match by.split_once("::") {
                    Some(("crash", name)) => crate::crash::scenes::ALL.iter().any(|scene| scene.name == name),
                    Some((file, function)) => std::fs::read_to_string(root.join(file))
                        .is_ok_and(|text| text.contains(&format!("fn {function}("))),
                    None => false,
                };
                if !good {
                    faults.push(format!("{id}: there is no {by}"));
                }
            }
        }
        let named = named(&root.join(PATRONI.1));
        for id in rows.keys().filter(|id| id.starts_with(PATRONI.0)) {
            if !named.contains(id) {
                faults.push(format!("no test in {} names {id}", PATRONI.1));
            }
        }
        for id in named.iter().filter(|id| !rows.contains_key(*id)) {
            faults.push(format!("{} names {id}, which is no row", PATRONI.1));
        }
        assert_eq!(faults, Vec::<String>::new());
        assert!(table(&rows, &all).contains("  wal-26"), "{}", table(&rows, &all));
    }
}
