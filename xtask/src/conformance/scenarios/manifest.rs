//! `generate-manifest` and `verify-backup`.

use std::fs;

use anyhow::Result;

use super::{ALL, LOCK, NO_BACKUPS, UNKNOWN_BACKUP, UNKNOWN_SERVER, VARIED};
use crate::conformance::catalogue::{Home, id};
use crate::conformance::compare::Look;
use crate::conformance::execute::Stage;
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::{Catalogue, Live, PLAIN, State};

/// A backup with files and links of every kind that `generate-manifest` covers.
const TREE: State = PLAIN.catalogue(Catalogue::Made(tree));

fn tree(home: &Home) -> Result<()> {
    let main = home.server("main")?;
    main.backup(1, 2, &[("mode", "rsync-concurrent")])?;
    let id = id(1);
    for (name, content) in [
        ("base/1/1", &b"one"[..]),
        ("base/1/empty", b""),
        ("base/1/\u{e9} \"x\"\\", b"two"),
        ("pg_wal/archive_status/x", b"three"),
        ("postgresql.auto.conf", b"four"),
    ] {
        main.write(&format!("base/{id}/data/{name}"), content)?;
    }
    main.write(&format!("base/{id}/16385/PG_15_202209061/5/1"), b"five")?;
    let data = main.path.join(format!("base/{id}/data"));
    fs::create_dir_all(data.join("empty"))?;
    std::os::unix::fs::symlink("1", data.join("base/1/link"))?;
    main.wal(2)
}

/// Two backups that the oracle took of a live cluster, and its `pg_verifybackup`.
const LIVE: State = PLAIN.live(Live::Shared(15)).catalogue(Catalogue::Archive(15));

/// Damages the first backup: a file more, one less, one longer, one with another content.
fn damage(stage: &Stage) -> Result<()> {
    let mut ids: Vec<_> = fs::read_dir(stage.main("base"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    ids.sort();
    let data = ids.first().map(|base| base.join("data")).unwrap_or_default();
    fs::write(data.join("base/more"), "x")?;
    fs::remove_file(data.join("pg_hba.conf"))?;
    fs::write(data.join("pg_ident.conf"), "longer or shorter")?;
    fs::write(data.join("PG_VERSION"), "16\n")?;
    Ok(())
}

const CALLING: &str = "Calling pg_verifybackup";

fn name(scenario: Scenario, step: usize, argument: &'static str) -> Scenario {
    let (ours, oracle) = match argument {
        "oldest" => (
            "Verifying backup 'oldest' on server main",
            "Verifying backup 'oldest' on server ['main']",
        ),
        _ => (
            "Verifying backup 'latest' on server main",
            "Verifying backup 'latest' on server ['main']",
        ),
    };
    scenario
        .stdout(step, "catalogue-35", ours, oracle)
        .stdout(step, "catalogue-35", "", CALLING)
}

pub fn scenarios() -> Vec<Scenario> {
    let generated = |scenario: Scenario, step| {
        scenario.stdout(
            step,
            "catalogue-36",
            "Backup manifest for backup 'latest' successfully generated for server main",
            "Backup manifest for backup 'latest' successfully generated for server ['main']",
        )
    };
    vec![
        generated(
            scenario("generate-manifest", "catalog.md 17.1", TREE).run("generate-manifest main latest"),
            0,
        )
        .file("all-15", LOCK, "file, *", "")
        .short(),
        generated(
            scenario("generate-manifest-twice", "catalog.md 17.1", TREE)
                .run("generate-manifest main latest")
                .run("generate-manifest main {id 1}")
                .run("-f json generate-manifest main latest"),
            0,
        )
        .hint(1, "HINT: 'barman verify-backup' compares the backup with it")
        .file("all-15", LOCK, "file, *", ""),
        scenario("generate-manifest-quiet", "cli.md 3.4", TREE)
            .run("-q generate-manifest main latest")
            .file("all-15", LOCK, "file, *", ""),
        scenario("generate-manifest-of-every-status", "catalog.md 17.1", VARIED)
            .run("-q generate-manifest main last-failed")
            .run("-q generate-manifest main {id 4}")
            .run("-q generate-manifest main 'first one'")
            .file("all-15", LOCK, "file, *", "")
            .each(),
        scenario("generate-manifest-unknown", "cli.md 7", VARIED)
            .run("generate-manifest main nosuch")
            .run("generate-manifest nosuch latest")
            .run("generate-manifest all latest")
            .hint(0, UNKNOWN_BACKUP)
            .hint(1, UNKNOWN_SERVER),
        scenario("generate-manifest-server-states", "cli.md 6.2", ALL)
            .run("generate-manifest inact latest")
            .run("-f json generate-manifest inact latest")
            .run("generate-manifest dis latest")
            .run("generate-manifest pas latest")
            .disabled(2)
            .hint(3, NO_BACKUPS),
        scenario("generate-manifest-usage", "cli.md 9, 5.1", ALL)
            .run("generate-manifest main")
            .prose(),
        name(
            scenario("verify-backup", "catalog.md 17.2", LIVE).run("verify-backup main latest"),
            0,
            "latest",
        )
        .files("home/main/base/*", Look::Nothing)
        .files("home/main/meta/*", Look::Nothing)
        .files("home/main/wals/*", Look::Nothing)
        .file("all-15", LOCK, "file, *", "")
        .short(),
        scenario("verify-backup-quiet", "catalog.md 17.2", LIVE)
            .run("-q verify main oldest")
            .files("home/main/base/*", Look::Nothing)
            .files("home/main/meta/*", Look::Nothing)
            .files("home/main/wals/*", Look::Nothing)
            .file("all-15", LOCK, "file, *", ""),
        name(
            scenario("verify-backup-of-damage", "catalog.md 17.2", LIVE)
                .then(damage)
                .run("verify main oldest"),
            0,
            "oldest",
        )
        .files("home/main/base/*", Look::Nothing)
        .files("home/main/meta/*", Look::Nothing)
        .files("home/main/wals/*", Look::Nothing)
        .file("all-15", LOCK, "file, *", "")
        .prose(),
        name(
            scenario("verify-backup-without-manifest", "catalog.md 17.2", LIVE)
                .then(|stage| {
                    for entry in fs::read_dir(stage.main("base"))? {
                        fs::remove_file(entry?.path().join("data/backup_manifest"))?;
                    }
                    Ok(())
                })
                .run("verify-backup main latest"),
            0,
            "latest",
        )
        .files("home/main/base/*", Look::Nothing)
        .files("home/main/meta/*", Look::Nothing)
        .files("home/main/wals/*", Look::Nothing)
        .file("all-15", LOCK, "file, *", "")
        .prose(),
        scenario(
            "verify-backup-encrypted",
            "catalog.md 17.2",
            PLAIN.catalogue(Catalogue::Made(encrypted)),
        )
        .run("verify-backup main latest")
        .stdout(
            0,
            "catalogue-35",
            "Verifying backup 'latest' on server main",
            "Verifying backup 'latest' on server ['main']",
        ),
        scenario("verify-backup-unknown", "cli.md 7", VARIED)
            .run("verify-backup main nosuch")
            .run("verify nosuch latest")
            .run("verify-backup all latest")
            .hint(0, UNKNOWN_BACKUP)
            .hint(1, UNKNOWN_SERVER),
        scenario("verify-backup-server-states", "cli.md 6.2", ALL)
            .run("verify-backup inact latest")
            .run("verify-backup dis latest")
            .run("verify-backup pas latest")
            .hints(0..3, NO_BACKUPS),
        scenario("verify-backup-usage", "cli.md 9, 5.1", ALL)
            .run("verify main")
            .prose(),
        scenario(
            "verify-backup-after-generate-manifest",
            "catalog.md 17",
            TREE.live(Live::Shared(15)),
        )
        .run("-q generate-manifest main latest")
        .run("-q verify-backup main latest")
        .file("all-15", LOCK, "file, *", ""),
    ]
}

fn encrypted(home: &Home) -> Result<()> {
    let main = home.server("main")?;
    main.backup(1, 2, &[("encryption", "gpg"), ("compression", "gzip")])?;
    main.wal(2)
}
