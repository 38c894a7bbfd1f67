//! Generated catalogues in both programs: what is shown, what retention says, what a deletion removes. Ours may keep more than
//! Barman where [`allowances`] names the reason, and never less.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_macros,
    reason = "a test ends at the first surprise"
)]

mod allowances;
mod kinds;
mod pair;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;

use pair::Pair;
use serde_json::Value;
use testkit::catalogue::blueprint::{Backup, Server, Status};
use testkit::catalogue::{self, Blueprint, Recipe, Rng, WriteOptions};

/// Seeds of a run: the first so many, or all with `--long`.
fn seeds(short: u64, long: u64) -> impl Iterator<Item = u64> {
    0..if testkit::is_long() { long } else { short }
}

/// The catalogue of a seed with its clock set some days off: backups grow older, or end in the future.
fn catalogue(seed: u64) -> (String, Blueprint) {
    let days = i64::try_from(seed % 9).unwrap() - 2;
    let blueprint = Recipe::varied(seed).blueprint_at(pair::now() - days * 86_400);
    (format!("s{seed}"), blueprint)
}

/// Another policy for every server: `round` 0 leaves the ones they have.
fn with_policies(blueprint: &mut Blueprint, round: u64) {
    const POLICIES: [&str; 9] = [
        "REDUNDANCY 1",
        "REDUNDANCY 2",
        "REDUNDANCY 3",
        "RECOVERY WINDOW OF 1 DAYS",
        "RECOVERY WINDOW OF 3 DAYS",
        "RECOVERY WINDOW OF 1 WEEKS",
        "RECOVERY WINDOW OF 2 WEEKS",
        "RECOVERY WINDOW OF 1 MONTHS",
        "REDUNDANCY 0",
    ];
    if round == 0 {
        return;
    }
    let mut rng = Rng::new(round);
    for server in &mut blueprint.servers {
        server.set_option("retention_policy", rng.pick::<&str>(&POLICIES));
        server.set_option("minimum_redundancy", &rng.below(4).to_string());
    }
}

#[test]
fn lists_and_retention_are_the_oracles() {
    let mut blueprint = Blueprint::joined(seeds(40, 200).map(catalogue));
    let pair = Pair::write(&blueprint);
    let mut words = BTreeSet::new();
    for round in 0..if testkit::is_long() { 5 } else { 2 } {
        with_policies(&mut blueprint, round);
        pair.configure(&blueprint);
        let (ours, theirs) = pair.both(&["list-backups", "all"]);
        pair::same_lines(&blueprint, &ours, &theirs);
        let backups: usize = blueprint.servers.iter().map(|s| s.backups.len()).sum();
        assert_eq!(ours.lines().count(), backups);
        words.extend(
            ours.lines()
                .filter_map(|line| Some(line.rsplit_once(" - ")?.1.to_owned())),
        );
        let (ours, theirs) = pair.both(&["-f", "json", "list-backups", "all"]);
        same_json(&blueprint, &ours, &theirs);
    }
    for word in [
        "OBSOLETE",
        "KEEP:FULL",
        "KEEP:STANDALONE",
        "FAILED",
        "STARTED",
        "EMPTY",
        "SYNCING",
    ] {
        assert!(words.contains(word), "no backup is {word}");
    }
}

fn same_json(blueprint: &Blueprint, ours: &str, theirs: &str) {
    let ours: Value = serde_json::from_str(ours).unwrap();
    let theirs: Value = serde_json::from_str(theirs).unwrap();
    for server in &blueprint.servers {
        assert_eq!(ours[&server.name], theirs[&server.name], "{}", server.name);
    }
    assert_eq!(ours, theirs);
}

/// A history file is missing below another one: Barman does not look at those behind it (catalogue-43).
fn history_is_missing(server: &Server) -> bool {
    let there = server.wals.iter().filter(|wal| wal.on_disk);
    let names: BTreeSet<String> = there.map(|wal| server.geometry.text(wal.name)).collect();
    let timelines: Vec<u32> = names
        .iter()
        .filter_map(|name| u32::from_str_radix(name.strip_suffix(".history")?, 16).ok())
        .collect();
    timelines
        .last()
        .is_some_and(|last| (2..*last).any(|timeline| !timelines.contains(&timeline)))
}

/// `show-backup` without what tells of later timelines.
fn without_timelines(shown: &str) -> String {
    let told = [
        "    Reachable timelines ",
        "WARNING: WAL information is inaccurate",
    ];
    let lines = shown
        .lines()
        .filter(|line| !line.is_empty() && !told.iter().any(|begin| line.starts_with(begin)));
    lines.map(|line| format!("{line}\n")).collect()
}

fn shown(seeds: impl Iterator<Item = u64>) {
    let blueprint = Blueprint::joined(seeds.map(catalogue));
    let pair = Pair::write(&blueprint);
    for server in &blueprint.servers {
        for (n, backup) in server.backups.iter().enumerate() {
            // A run of the oracle takes half a second: the short run looks at the two forms in turn.
            let (text, json) = (testkit::is_long() || n % 2 == 0, testkit::is_long() || n % 2 == 1);
            if text {
                let (mut ours, mut theirs) = pair.both(&["show-backup", &server.name, &backup.id]);
                if history_is_missing(server) {
                    (ours, theirs) = (without_timelines(&ours), without_timelines(&theirs));
                }
                pair::same_lines(&blueprint, &ours, &theirs);
            }
            if json {
                let (ours, theirs) = pair.both(&["-f", "json", "show-backup", &server.name, &backup.id]);
                let mut ours: Value = serde_json::from_str(&ours).unwrap();
                let mut theirs: Value = serde_json::from_str(&theirs).unwrap();
                if history_is_missing(server) {
                    for shown in [&mut ours, &mut theirs] {
                        for key in ["timelines", "_WARNING"] {
                            shown[&server.name]["wal_information"][key] = Value::Null;
                        }
                    }
                }
                assert_eq!(ours, theirs, "{} {}", server.name, backup.id);
            }
        }
    }
}

#[test]
fn every_backup_is_shown_as_by_the_oracle() {
    shown(seeds(10, 60).filter(|seed| seed % 2 == 0));
}

#[test]
fn every_backup_is_shown_as_by_the_oracle_in_the_other_half() {
    shown(seeds(10, 60).filter(|seed| seed % 2 == 1));
}

/// Deletes up to three backups of a catalogue, one after the other: the oldest, a random one, the youngest.
/// Returns how many backups and files of WAL went.
fn deleted_by_hand(seed: u64) -> (usize, usize) {
    let blueprint = Blueprint::joined([catalogue(seed)]);
    let server = &blueprint.servers[0];
    let pair = Pair::write(&blueprint);
    let mut rng = Rng::new(seed).fork("deletions");
    let mut gone = (0, 0);
    let mut left: Vec<&str> = server.backups.iter().map(|b| b.id.as_str()).collect();
    for round in 0..3 {
        if left.is_empty() {
            break;
        }
        let at = match round {
            0 => 0,
            1 => usize::try_from(rng.below(left.len() as u64)).unwrap(),
            _ => left.len() - 1,
        };
        let id = left.remove(at);
        let before = pair.state(server);
        let command = ["delete", &server.name, id];
        let (ours, theirs) = (pair.run_ours(&command), pair.run_theirs(&command));
        let unknown_child = server
            .backup(id)
            .is_some_and(|b| is_unknown_to_its_parent(server, b));
        if unknown_child {
            // Barman breaks off when all is done (catalogue-9).
            assert_eq!(
                (ours.code, theirs.code),
                (Some(0), Some(1)),
                "varied:{seed}\n{ours}\n{theirs}"
            );
        } else {
            assert_eq!(ours.code, theirs.code, "varied:{seed}\n{ours}\n{theirs}");
        }
        let compared = allowances::compare(
            &blueprint,
            server,
            &before,
            &pair,
            allowances::Removal::ByHand(id),
        );
        gone = (gone.0 + compared.backups, gone.1 + compared.wals);
        if compared.is_equal() && ours.code == Some(0) {
            pair::same_lines(
                &blueprint,
                &without_times(&ours.stdout),
                &without_times(&theirs.stdout),
            );
        }
        if !compared.is_equal() {
            compared.tell(&format!("varied:{seed}, delete {id}"));
            // The two catalogues differ from here on.
            break;
        }
        let there = pair.state(server).ours.backups;
        left.retain(|id| there.contains(*id));
    }
    gone
}

/// Whether it is an incremental backup that is not in its parent's list, because its process died.
fn is_unknown_to_its_parent(server: &Server, backup: &Backup) -> bool {
    let parent = backup.parent.as_deref().and_then(|id| server.backup(id));
    parent.is_some_and(|parent| !parent.children.contains(&backup.id))
}

/// The last line of `delete` tells when it began and how long it took.
fn without_times(text: &str) -> String {
    text.lines()
        .map(|line| line.split(" (start time:").next().unwrap_or(line))
        .fold(String::new(), |all, line| all + line + "\n")
}

/// Runs `test` for each of `cases`, goes on after failures, and fails at the end with all of them named.
fn each<T: std::fmt::Display>(cases: impl IntoIterator<Item = T>, test: impl Fn(&T)) {
    let failed: Vec<String> = cases
        .into_iter()
        .filter(|case| std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(case))).is_err())
        .map(|case| case.to_string())
        .collect();
    assert!(failed.is_empty(), "failed: {}", failed.join(" "));
}

#[test]
fn deletions_by_hand_remove_what_the_oracle_removes() {
    let gone = Cell::new((0, 0));
    each(seeds(12, 200), |seed| {
        let (backups, wals) = deleted_by_hand(*seed);
        gone.set((gone.get().0 + backups, gone.get().1 + wals));
    });
    something_went(gone.get());
}

/// Two programs that remove nothing are equal too.
fn something_went((backups, wals): (usize, usize)) {
    eprintln!("both removed {backups} backups and {wals} files of WAL");
    assert!(
        backups >= 10 && wals >= 10,
        "{backups} backups, {wals} files of WAL"
    );
}

/// A server on which `cron` does nothing but enforce the policy. It starts children for waiting backups and queues, and ours begins with
/// giving up dead backups, whose timelines are not protected any more then (backup-9).
fn settled(mut server: Server) -> Server {
    server.incoming.clear();
    server.streaming.clear();
    for backup in &mut server.backups {
        backup.status = match backup.status {
            Status::WaitingForWals => Status::Done,
            Status::Empty | Status::Started => Status::Failed,
            other @ (Status::Done | Status::Failed | Status::Syncing) => other,
        };
    }
    server
}

#[test]
fn cron_enforces_policies_as_the_oracle_does() {
    let seeds: Vec<u64> = seeds(12, 200).collect();
    let chunks: Vec<&[u64]> = seeds.chunks(20).collect();
    let gone = Cell::new((0, 0));
    each(0..chunks.len(), |n| {
        let chunk = chunks[*n];
        let mut blueprint = Blueprint::joined(chunk.iter().map(|seed| catalogue(*seed)));
        blueprint.servers = blueprint.servers.into_iter().map(settled).collect();
        with_policies(&mut blueprint, chunk[0] % 3);
        let pair = Pair::write(&blueprint);
        let before: Vec<_> = blueprint.servers.iter().map(|s| pair.state(s)).collect();
        let (ours, theirs) = (pair.run_ours(&["cron"]), pair.run_theirs(&["cron"]));
        assert_eq!(ours.code, theirs.code, "{ours}\n{theirs}");
        pair.wait_for_children();
        each(0..blueprint.servers.len(), |n| {
            let (server, before) = (&blueprint.servers[*n], &before[*n]);
            let compared =
                allowances::compare(&blueprint, server, before, &pair, allowances::Removal::ByPolicy);
            gone.set((gone.get().0 + compared.backups, gone.get().1 + compared.wals));
            compared.tell(&format!("{}, cron", server.name));
        });
    });
    something_went(gone.get());
}

/// What Barman cannot bear, ours must: it lists, shows and deletes, ends with 0 or 1, and never takes away the WAL of a whole backup.
#[test]
fn damaged_catalogues_are_borne() {
    each(seeds(24, 400), |seed| {
        let blueprint = Recipe::damaged(*seed).blueprint_at(pair::now());
        let server = &blueprint.servers[0];
        let dir = testkit::TestDir::new().unwrap();
        let home = catalogue::write(&blueprint, dir.path(), &WriteOptions::default()).unwrap();
        let program = home.program(Path::new(env!("CARGO_BIN_EXE_barman")));
        let run = |arguments: &[&str]| {
            let finished = program.run(arguments).unwrap();
            assert!(matches!(finished.code, Some(0 | 1)), "damaged:{seed}: {finished}");
            assert!(
                !finished.stderr.contains("panicked"),
                "damaged:{seed}: {finished}"
            );
            finished
        };
        let listed = run(&["list-backups", "all"]);
        let told = |id: &str| listed.stdout.contains(id) || listed.stderr.contains(id);
        for backup in &server.backups {
            assert!(told(&backup.id), "damaged:{seed} {}: {listed}", backup.id);
            run(&["-f", "json", "show-backup", &server.name, &backup.id]);
        }
        run(&["cron"]);
        for backup in server.backups.iter().take(2) {
            run(&["delete", &server.name, &backup.id]);
            let left = pair::left(&home, server);
            for kept in server
                .backups
                .iter()
                .filter(|b| b.status == Status::Done && left.backups.contains(&b.id))
            {
                for name in pair::own_wals(server, kept) {
                    assert!(
                        left.wals.contains(&name),
                        "damaged:{seed}: {name} of {} is gone",
                        kept.id
                    );
                }
            }
        }
    });
}
