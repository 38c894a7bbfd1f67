//! Each shortcut for a backup (`cli.md` 7) in each command that takes one.

use super::{UNKNOWN_BACKUP, VARIED};
use crate::conformance::compare::Look;
use crate::conformance::normalise::Rule::{Duration, Instant, Pid};
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::{Catalogue, PLAIN};

/// The reserved words, a name, and what is none.
const SHORTCUTS: [&str; 12] = [
    "latest",
    "last",
    "oldest",
    "first",
    "last-failed",
    "latest-full",
    "last-full",
    "auto",
    "'first one'",
    "LATEST",
    "20240702T120000",
    "'20240701T120000\n'",
];

/// A command with every shortcut, in one scenario.
fn every(name: &'static str, command: &'static str) -> Scenario {
    each(name, command, &SHORTCUTS)
}

/// The same without backups that have no end, of whose WAL Barman makes an endless list.
fn ended(name: &'static str, command: &'static str) -> Scenario {
    let whole = |given: &&str| !["last-failed", "20240702T120000"].contains(given);
    let given: Vec<&str> = SHORTCUTS.into_iter().filter(whole).collect();
    each(name, command, &given)
}

fn each(name: &'static str, command: &'static str, given: &[&str]) -> Scenario {
    given
        .iter()
        .fold(scenario(name, "cli.md 7", VARIED), |rows, given| {
            rows.run(command.replace("{}", given).leak())
        })
        .files("home/.main-2*.lock", Look::Nothing)
}

pub fn scenarios() -> Vec<Scenario> {
    let mut all = vec![
        ended("shortcuts-list-files", "list-files main {}")
            .hint(6, "HINT: 'barman list-backups main' shows the backups")
            .hint(8, "HINT: 'barman list-backups main' shows the backups")
            .hint(9, "HINT: did you mean '20240701T120000'?"),
        every("shortcuts-show-backup", "-f json show-backup main {}").rules(&[Pid]),
        every("shortcuts-keep", "keep -s main {}")
            .hint(7, "HINT: 'barman list-backups main' shows the backups")
            .hint(9, "HINT: 'barman list-backups main' shows the backups")
            .hint(11, "HINT: did you mean '20240701T120000'?"),
        every("shortcuts-check-backup", "check-backup main {}")
            .hint(7, "HINT: <words>")
            .hint(9, "HINT: <words>")
            .hint(11, "HINT: <words>")
            .prose(),
        every("shortcuts-generate-manifest", "generate-manifest main {}")
            .hint(1, "HINT: <words>")
            .hint(3, "HINT: <words>")
            .hint(5, "HINT: <words>")
            .hint(6, "HINT: <words>")
            .hint(7, "HINT: <words>")
            .hint(8, "HINT: <words>")
            .hint(9, "HINT: <words>")
            .hint(10, "HINT: <words>")
            .hint(11, "HINT: <words>")
            .prose()
            .prose_on_stdout(),
        every(
            "shortcuts-export-backup",
            "-q export-backup main {} {root}/nowhere",
        )
        .hint(7, "HINT: <words>")
        .hint(9, "HINT: <words>")
        .hint(11, "HINT: <words>")
        .prose(),
        every(
            "shortcuts-restore",
            "restore --staging-path relative main {} {root}/out/x",
        )
        .hint(9, "HINT: <words>")
        .hint(11, "HINT: <words>")
        .prose(),
        scenario("shortcuts-delete-auto", "cli.md 7", VARIED)
            .run("delete main auto")
            .run("delete main 'last failed'")
            .hint(0, UNKNOWN_BACKUP)
            .hint(1, "HINT: did you mean 'last-failed'?"),
    ];
    all.extend(
        [
            ("shortcuts-delete-latest", "delete main latest"),
            ("shortcuts-delete-last", "delete main last"),
            ("shortcuts-delete-first", "delete main first"),
            ("shortcuts-delete-last-full", "delete main last-full"),
        ]
        .map(|(name, command)| {
            scenario(name, "cli.md 7", VARIED)
                .run(command)
                .run("list-backups --minimal main")
                .rules(&[Pid, Duration, Instant])
                .files("home/.main-xlogdb.lock", Look::Nothing)
        }),
    );
    all.extend(
        [
            ("shortcuts-restore-oldest", "restore main oldest {root}/out/x"),
            ("shortcuts-restore-first", "restore main first {root}/out/x"),
            (
                "shortcuts-restore-last-full",
                "recover main last-full {root}/out/x",
            ),
        ]
        .map(|(name, command)| {
            scenario(name, "cli.md 7", PLAIN.catalogue(Catalogue::Archive(15)))
                .run(command)
                .rules(&[Pid, Duration, Instant])
                .file("restore-2", "home/.main-2*.lock", "file, mode 600, 0 bytes", "")
        }),
    );
    all
}
