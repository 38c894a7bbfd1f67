//! Commands that only read, on a small catalogue: how long a user or a monitoring script waits.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};
use testkit::Sandbox;

use super::super::row::{Contest, OURS, Row, Side, Target, memory, wall, wall_of};
use super::super::world::World;
use super::super::{measure, peers};
use super::catalogue::{SERVER, generate};
use super::{ORACLE, not_yet, patroni};

/// Each command with the name of its row. The server has ten backups and a hundred WAL files.
const COMMANDS: [(&str, &[&str]); 11] = [
    ("list-servers", &["list-servers"]),
    ("list-backups", &["list-backups", SERVER]),
    ("list-backups-json", &["-f", "json", "list-backups", SERVER]),
    ("show-backup", &["show-backup", SERVER, "latest"]),
    ("show-servers", &["show-servers", SERVER]),
    ("status", &["status", SERVER]),
    ("list-files", &["list-files", SERVER, "latest"]),
    ("keep-status", &["keep", "--status", SERVER, "latest"]),
    (
        "check-wal-archive",
        &["check-wal-archive", "--timeline", "9", SERVER],
    ),
    ("list-processes", &["list-processes", SERVER]),
    ("sync-info", &["sync-info", SERVER]),
];

/// Rounds: these end in milliseconds.
const ROUNDS: usize = 11;

fn targets() -> [Target; 3] {
    [wall(0.015), memory(16.0), wall_of(ORACLE, 0.06)]
}

pub fn rows() -> Vec<Row> {
    let mut rows = patroni::rows();
    for (name, args) in COMMANDS {
        for servers in [1, 200] {
            let what = format!(
                "`barman {}`, 10 backups, 100 WAL files, {servers} server{} configured",
                args.join(" "),
                if servers == 1 { "" } else { "s" }
            );
            rows.push(Row::new(
                format!("commands/{name}-{servers}"),
                what,
                targets(),
                move |world| contest(world, args, servers),
            ));
        }
    }
    rows
}

fn contest(world: &mut World, args: &'static [&'static str], servers: usize) -> Result<Contest> {
    let sandbox = world.shared(&format!("a catalogue with {servers} servers"), |world| {
        sandbox(world, servers)
    })?;
    let (ours, oracle) = (sandbox.barman()?, peers::oracle(&sandbox));
    let refused = not_yet(&ours.run(args)?.stderr);
    let side = Side::new(OURS, move || Ok(measure::run(&ours, args.iter().copied())?.0));
    let peer = oracle.map(|oracle| {
        // The sandbox must live as long as somebody runs in it.
        let sandbox = sandbox.clone();
        Side::new(ORACLE, move || {
            let _ = &sandbox;
            Ok(measure::run(&oracle, args.iter().copied())?.0)
        })
    });
    let mut contest = Contest::of(side)
        .against_or_missing(ORACLE, peer)
        .at_least(ROUNDS);
    contest.awaits = refused;
    Ok(contest)
}

fn sandbox(world: &World, servers: usize) -> Result<Sandbox> {
    let home = generate(world, 10, 100)?;
    let sandbox = world
        .sandbox(SERVER)
        .global("barman_home", &home.display().to_string())
        .build()?;
    let mut text = String::new();
    for number in 1..servers {
        let _ = write!(
            text,
            "[other{number:03}]\ndescription = \"Server number {number}\"\nconninfo = host=127.0.0.1 port=1 user=barman dbname=postgres\n\
             streaming_conninfo = host=127.0.0.1 port=1 user=streaming_barman\nbackup_method = postgres\nstreaming_archiver = on\n\
             slot_name = barman\nretention_policy = RECOVERY WINDOW OF 4 WEEKS\n\n"
        );
    }
    fs::write(sandbox.dir().join("conf.d/others.conf"), text).context("write the other servers")?;
    Ok(sandbox)
}
