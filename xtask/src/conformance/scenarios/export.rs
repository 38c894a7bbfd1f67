//! `export-backup` and `import-backup`: refusals, what is printed, what an import leaves. That either program reads what the other has
//! exported of a real server is shown by the tests of the program.

use std::fs;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use tar::EntryType;

use super::{ALL, ANY_HINT, NO_BACKUPS, UNKNOWN_BACKUP, UNKNOWN_SERVER, VARIED};
use crate::conformance::catalogue::{Home, Server, id, segment};
use crate::conformance::compare::Look;
use crate::conformance::normalise::Rule::{BackupId, Pid};
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::{Catalogue, PLAIN, State};

/// The backup that is imported: day 3, which needs segment 5.
const DAY: u8 = 3;
const NEEDS: u64 = 5;

const IDENTITY: &str = "{\n    \"systemid\": \"7400000000000000001\",\n    \"version\": \"15\"\n}\n";

/// A member of an export.
#[derive(Clone)]
struct Member {
    name: String,
    kind: EntryType,
    link: String,
    content: Vec<u8>,
}

fn file(name: &str, content: impl Into<Vec<u8>>) -> Member {
    Member {
        name: name.to_owned(),
        kind: EntryType::Regular,
        link: String::new(),
        content: content.into(),
    }
}

fn special(name: &str, kind: EntryType, link: &str) -> Member {
    Member {
        kind,
        link: link.to_owned(),
        ..file(name, "")
    }
}

/// The members of a whole export, of what the catalogue has of the backup.
fn whole(main: &Server) -> Result<Vec<Member>> {
    let info = fs::read(main.path.join(format!("meta/{}-backup.info", id(DAY))))?;
    let wal = segment(NEEDS);
    let directory = wal.get(..16).unwrap_or(&wal).to_owned();
    let content = fs::read(main.path.join("wals").join(&directory).join(&wal))?;
    let line = format!(
        "{wal}\t{}\t{}.0\tNone\tNone\n",
        content.len(),
        1_719_792_000 + NEEDS * 3600
    );
    Ok(vec![
        file("identity.json", IDENTITY.trim_end()),
        file("backup.info", info),
        file("barman.json", "{}"),
        special("backup/", EntryType::Directory, ""),
        special("backup/data/", EntryType::Directory, ""),
        file("backup/data/PG_VERSION", "15\n"),
        special("backup/data/pg_tblspc/", EntryType::Directory, ""),
        special(
            "backup/data/pg_tblspc/16385",
            EntryType::Symlink,
            "/somewhere/else/16385",
        ),
        special("backup/16385/", EntryType::Directory, ""),
        file("backup/16385/x", "in a tablespace"),
        file(&format!("wals/{directory}/{wal}"), content),
        file("xlog.db", line),
    ])
}

/// Writes an export into `out/NAME` of the run, under the name that it must have.
fn pack(main: &Server, name: &str, members: &[Member]) -> Result<()> {
    let mut archive = Vec::new();
    for member in members {
        let mut header = tar::Header::new_ustar();
        header.set_path(&member.name).or_else(|_| {
            let raw = header.as_old_mut();
            let room = raw.name.get_mut(..member.name.len()).context("a long name")?;
            room.copy_from_slice(member.name.as_bytes());
            anyhow::Ok(())
        })?;
        if !member.link.is_empty() {
            header.set_link_name(&member.link)?;
        }
        header.set_entry_type(member.kind);
        header.set_mode(if member.kind == EntryType::Directory {
            0o700
        } else {
            0o600
        });
        header.set_mtime(1_719_792_000 + NEEDS * 3600);
        header.set_size(member.content.len() as u64);
        header.set_cksum();
        archive.extend_from_slice(header.as_bytes());
        archive.extend_from_slice(&member.content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    write(main, name, &archive)
}

fn write(main: &Server, name: &str, archive: &[u8]) -> Result<()> {
    let sum: String = Sha256::digest(archive)
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let root = main.path.ancestors().nth(2).context("no root")?;
    let directory = root.join("out").join(name);
    fs::create_dir_all(&directory)?;
    let name = format!("backup-export-main-{}-20240801T000000-{sum}.tar", id(DAY));
    Ok(fs::write(directory.join(name), archive)?)
}

/// A catalogue with days 1 and 5 and their WAL, and exports of day 3 in `out/`, each with something of its own.
fn exports(home: &Home) -> Result<()> {
    let main = home.server("main")?;
    main.write("identity.json", IDENTITY.as_bytes())?;
    main.backup(1, 2, &[])?;
    main.backup(5, 8, &[])?;
    main.backup(DAY, NEEDS, &[("tablespaces", "[('ts', 16385, '/srv/ts')]")])?;
    main.wal(NEEDS)?;
    let members = whole(&main)?;
    let wal = segment(NEEDS);
    let archived = main
        .path
        .join("wals")
        .join(wal.get(..16).unwrap_or(&wal))
        .join(&wal);
    fs::remove_file(archived)?;
    fs::remove_file(main.path.join("wals/main-xlog.db"))?;
    fs::remove_file(main.path.join(format!("meta/{}-backup.info", id(DAY))))?;
    fs::remove_dir_all(main.path.join("base").join(id(DAY)))?;
    for number in [2, 3, 4, 6, 7, 8, 9] {
        main.wal(number)?;
    }
    pack(&main, "whole", &members)?;
    let without = |name: &str| -> Vec<Member> {
        let belongs = |member: &Member| member.name.starts_with(name);
        members
            .iter()
            .filter(|member| !belongs(member))
            .cloned()
            .collect()
    };
    for (tag, name) in [
        ("no-identity", "identity.json"),
        ("no-backup", "backup/"),
        ("no-info", "backup.info"),
        ("no-wals", "wals/"),
        ("no-list", "xlog.db"),
    ] {
        pack(&main, tag, &without(name))?;
    }
    let with = |member: Member| -> Vec<Member> {
        let mut all = members.clone();
        all.insert(6, member);
        all
    };
    for (tag, member) in [
        ("climbs", file("backup/../../../evil", "x")),
        ("absolute", file("/nowhere/evil", "x")),
        ("link", special("backup/data/l", EntryType::Symlink, "/etc")),
        (
            "hard-link",
            special("backup/data/h", EntryType::Link, "backup/data/PG_VERSION"),
        ),
        ("fifo", special("backup/data/f", EntryType::Fifo, "")),
        ("twice", file("backup/data/PG_VERSION", "99\n")),
        ("more", file("elsewhere/x", "x")),
    ] {
        pack(&main, tag, &with(member))?;
    }
    let changed = |name: &str, from: &str, to: &str| -> Result<Vec<Member>> {
        let mut all = members.clone();
        let member = all
            .iter_mut()
            .find(|member| member.name == name)
            .context("no such member")?;
        let text = String::from_utf8(member.content.clone())?;
        ensure!(text.contains(from), "{name} has no {from}");
        member.content = text.replace(from, to).into_bytes();
        Ok(all)
    };
    for (tag, name, from, to) in [
        ("other-cluster", "identity.json", "7400", "7500"),
        ("other-version", "identity.json", "\"15\"", "\"16\""),
        (
            "incremental",
            "backup.info",
            "parent_backup_id=None",
            "parent_backup_id=20240701T120000",
        ),
        ("bad-list", "xlog.db", "000000", "rubbish\n000000"),
        (
            "unlisted",
            "xlog.db",
            "000000010000000000000005",
            "000000010000000000000006",
        ),
    ] {
        pack(&main, tag, &changed(name, from, to)?)?;
    }
    let mut unsorted = members.clone();
    if let Some(list) = unsorted.last_mut() {
        let later = format!("{}\t1\t1.0\tNone\tNone\n", segment(200));
        list.content = [later.as_bytes(), &list.content].concat();
    }
    pack(&main, "unsorted", &unsorted)?;
    // Cut, with the checksum of what is left.
    let file = root_of(&main)?.join("out/whole");
    let name = fs::read_dir(file)?.next().context("no export")??.path();
    let content = fs::read(name)?;
    write(&main, "cut", content.get(..content.len() / 2).unwrap_or_default())
}

fn root_of(main: &Server) -> Result<&std::path::Path> {
    main.path.ancestors().nth(2).context("no root")
}

const EXPORTS: State = PLAIN.catalogue(Catalogue::Made(exports));

/// With the segment archived: the same, another, and one that only the list knows.
const SAME: State = PLAIN.catalogue(Catalogue::Made(|home| {
    exports(home)?;
    let main = home.server("main")?;
    main.wal(NEEDS)?;
    // Barman finds nothing in a list that is not in order.
    let list = main.path.join("wals/main-xlog.db");
    let text = fs::read_to_string(&list)?;
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    Ok(fs::write(list, format!("{}\n", lines.join("\n")))?)
}));
const OTHER: State = PLAIN.catalogue(Catalogue::Made(|home| {
    exports(home)?;
    home.server("main")?.wal_of(NEEDS, 77)
}));
const UNLISTED: State = PLAIN.catalogue(Catalogue::Made(|home| {
    exports(home)?;
    let main = home.server("main")?;
    let list = main.path.join("wals/main-xlog.db");
    let before = fs::read(&list)?;
    main.wal(NEEDS)?;
    Ok(fs::write(list, before)?)
}));

/// With an identity file: `VARIED`.
fn identified(home: &Home) -> Result<()> {
    super::varied(home)?;
    home.server("main")?.write("identity.json", IDENTITY.as_bytes())
}

const IDENTIFIED: State = PLAIN.catalogue(Catalogue::Made(identified));

const LOCK: &str = "home/.main-20240701T120000.lock";

/// A plain import that is refused with the same words by both; Barman makes an empty `xlog.db` and takes locks where ours does not come so far.
fn refused(name: &'static str, command: &'static str) -> Scenario {
    scenario(name, "catalog.md 18.2", EXPORTS)
        .run(command)
        .rules(&[Pid])
        .files("home/.main-xlogdb.lock", Look::Nothing)
}

pub fn scenarios() -> Vec<Scenario> {
    let mut all = exporting();
    all.extend(importing());
    all
}

fn exporting() -> Vec<Scenario> {
    vec![
        scenario("export-backup-refusals", "cli.md 11.10", VARIED)
            .run("export-backup main nosuch {root}/out")
            .run("export-backup main {id 6} {root}/out")
            .run("export-backup main last-failed {root}/out")
            .run("export-backup main {id 1} {root}/nowhere")
            .run("export-backup main {id 1} {root}/barman.conf")
            .run("export-backup --compression-level 3 main {id 1} {root}/out")
            .run("export-backup --compression gzip --compression-level 0 main {id 1} {root}/out")
            .run("export-backup --compression bzip2 --compression-level 10 main {id 1} {root}/out")
            .run("export-backup --compression xz --compression-level 10 main {id 1} {root}/out")
            .run("export-backup nosuch latest {root}/out")
            .run("export-backup all latest {root}/out")
            .hint(0, UNKNOWN_BACKUP)
            .hint(9, UNKNOWN_SERVER)
            .short(),
        scenario("export-backup-refusals-json", "cli.md 11.10", VARIED)
            .run("-f json export-backup main {id 6} {root}/out")
            .run("-f json export-backup main {id 1} {root}/nowhere")
            .run("-f json export-backup --compression-level 3 main {id 1} {root}/out"),
        scenario(
            "export-backup-incremental",
            "cli.md 11.10",
            PLAIN.catalogue(Catalogue::Made(chain)),
        )
        .run("export-backup main latest {root}/out"),
        scenario("export-backup-without-identity", "catalog.md 18.1", VARIED)
            .run("export-backup main {id 1} {root}/out")
            .hint(0, "HINT: the next 'barman backup main' writes one"),
        scenario("export-backup-server-states", "cli.md 6.2", ALL)
            .run("export-backup inact latest {root}/out")
            .run("export-backup dis latest {root}/out")
            .run("export-backup pas latest {root}/out")
            .hints(0..3, NO_BACKUPS),
        scenario("export-backup-usage", "cli.md 9, 5.1", ALL)
            .run("export-backup main latest")
            .run("export-backup --compression zip main latest /x")
            .prose()
            .hint(1, ANY_HINT),
        scenario("export-backup", "catalog.md 18.1", IDENTIFIED)
            .run("export-backup main {id 1} {root}/out")
            .rules(&[BackupId])
            .stdout(
                0,
                "catalogue-37",
                "Export completed successfully: */backup-export-main-20240701T120000-*",
                "Export completed successfully: */backup-export-main-20240701T120000-*",
            )
            .files("out/backup-export-main-*.tar*", Look::Nothing)
            .files(LOCK, Look::Nothing)
            .files("home/.main-xlogdb.lock", Look::Nothing)
            .short(),
        scenario("export-backup-quiet", "cli.md 3.4", IDENTIFIED)
            .run("-q export-backup --compression gzip main 'first one' {root}/out")
            .files("out/backup-export-main-*.tar*", Look::Nothing)
            .files(LOCK, Look::Nothing)
            .files("home/.main-xlogdb.lock", Look::Nothing),
        scenario("export-backup-busy", "catalog.md 20", IDENTIFIED)
            .then(|stage| stage.hold("main-20240701T120000"))
            .run("export-backup main {id 1} {root}/out"),
    ]
}

fn chain(home: &Home) -> Result<()> {
    let main = home.server("main")?;
    let (a, b) = (id(1), id(2));
    main.backup(1, 2, &[("children_backup_ids", &b)])?;
    main.backup(2, 3, &[("parent_backup_id", &a)])
}

fn importing() -> Vec<Scenario> {
    vec![
        scenario("import-backup", "catalog.md 18.2", EXPORTS)
            .run("import-backup main {only out/whole}")
            .run("list-backups main")
            .run("keep --status main {id 2}")
            .run("import-backup main {only out/whole}")
            .run("-f json import-backup main {only out/whole}")
            .rules(&[Pid])
            .short(),
        scenario("import-backup-quiet", "cli.md 3.4", EXPORTS)
            .run("-q import-backup main {only out/whole}")
            .rules(&[Pid]),
        scenario("import-backup-of-another-version", "catalog.md 18.2", EXPORTS)
            .run("import-backup main {only out/other-version}")
            .rules(&[Pid]),
        scenario("import-backup-with-more", "catalog.md 18.2", EXPORTS)
            .run("import-backup main {only out/more}")
            .rules(&[Pid]),
        scenario("import-backup-with-the-same-wal", "catalog.md 18.2", SAME)
            .run("import-backup main {only out/whole}")
            .rules(&[Pid]),
        scenario("import-backup-with-other-wal", "catalog.md 18.2", OTHER)
            .run("import-backup main {only out/whole}")
            .rules(&[Pid])
            .files("home/.main-xlogdb.lock", Look::Nothing),
        scenario("import-backup-with-unlisted-wal", "catalog.md 24.20", UNLISTED)
            .run("import-backup main {only out/whole}")
            .exit_code(0, "catalogue-38", 0, 1)
            .rules(&[Pid])
            .stdout(0, "catalogue-38", "Successfully imported backup '20240703T120000' into server 'main'", "")
            .stderr(
                0,
                "catalogue-38",
                "",
                "EXCEPTION: WAL file(s) already exist in target server with conflicting content: 000000010000000000000005",
            )
            .stderr(0, "catalogue-38", "", "See log file for more details.")
            .files("home/main/base/*", Look::Nothing)
            .files("home/main/meta/*", Look::Nothing)
            .line("catalogue-38", "home/main/wals/main-xlog.db", "000000010000000000000005*", ""),
        scenario("import-backup-files", "cli.md 11.11", EXPORTS)
            .run("import-backup main {root}/out/nowhere.tar")
            .run("import-backup main {root}/out")
            .run("import-backup main {root}/barman.conf")
            .run("-f json import-backup main {root}/out/nowhere.tar")
            .run("import-backup nosuch {only out/whole}")
            .run("import-backup all {only out/whole}")
            .hint(4, UNKNOWN_SERVER),
        scenario("import-backup-names", "cli.md 11.11", EXPORTS)
            .then(|stage| {
                let whole = stage.root.join("out/whole");
                let file = fs::read_dir(whole)?.next().context("no export")??.path();
                for name in [
                    "x.tar",
                    "x.tgz",
                    "backup-export-main-x.tar",
                    "backup-export-main-20240741T120000-20240801T000000-00000000.tar",
                    "backup-export-main-20240703T120000-20240801X000000-00000000.tar",
                    "backup-export-main-20240703T120000-20240801T000000-00000000.tar",
                    "backup-export-other-20240703T120000-20240801T000000-00000000.tar",
                ] {
                    fs::copy(&file, stage.root.join("out").join(name))?;
                }
                Ok(())
            })
            .run("import-backup main {root}/out/x.tar")
            .run("import-backup main {root}/out/x.tgz")
            .run("import-backup main {root}/out/backup-export-main-x.tar")
            .run("import-backup main {root}/out/backup-export-main-20240741T120000-20240801T000000-00000000.tar")
            .run("import-backup main {root}/out/backup-export-main-20240703T120000-20240801X000000-00000000.tar")
            .run("import-backup main {root}/out/backup-export-main-20240703T120000-20240801T000000-00000000.tar")
            .run("import-backup main {root}/out/backup-export-other-20240703T120000-20240801T000000-00000000.tar")
            .files("home/.main-*.lock", Look::Nothing),
        scenario("import-backup-without-identity", "catalog.md 18.2", EXPORTS)
            .then(|stage| Ok(fs::remove_file(stage.main("identity.json"))?))
            .run("import-backup main {only out/whole}")
            .hint(
                0,
                "HINT: the first 'barman backup main' writes one; for a new node copy identity.json from the old one",
            ),
        scenario("import-backup-server-states", "cli.md 6.2", ALL)
            .run("import-backup inact {root}/barman.conf")
            .run("import-backup dis {root}/barman.conf")
            .run("import-backup pas {root}/barman.conf")
            .disabled(1),
        scenario("import-backup-usage", "cli.md 9, 5.1", ALL)
            .run("import-backup main")
            .prose(),
        scenario("import-backup-busy", "catalog.md 20", EXPORTS)
            .then(|stage| stage.hold("main-backup"))
            .run("import-backup main {only out/whole}")
            .run("-f json import-backup main {only out/whole}"),
        scenario("import-backup-in-use", "catalog.md 20", EXPORTS)
            .then(|stage| stage.hold("main-20240703T120000"))
            .run("import-backup main {only out/whole}")
            .rules(&[Pid]),
        refused("import-backup-climbs", "import-backup main {only out/climbs}").short(),
        refused("import-backup-absolute", "import-backup main {only out/absolute}"),
        refused("import-backup-link", "import-backup main {only out/link}"),
        refused("import-backup-hard-link", "import-backup main {only out/hard-link}"),
        refused("import-backup-fifo", "import-backup main {only out/fifo}"),
        refused("import-backup-cut", "import-backup main {only out/cut}"),
        refused("import-backup-no-identity", "import-backup main {only out/no-identity}"),
        refused("import-backup-no-backup", "import-backup main {only out/no-backup}"),
        refused("import-backup-no-info", "import-backup main {only out/no-info}"),
        refused("import-backup-no-wals", "import-backup main {only out/no-wals}"),
        refused("import-backup-no-list", "import-backup main {only out/no-list}"),
        refused("import-backup-other-cluster", "import-backup main {only out/other-cluster}"),
        refused("import-backup-incremental", "import-backup main {only out/incremental}"),
        refused("import-backup-bad-list", "import-backup main {only out/bad-list}"),
        refused("import-backup-unlisted", "import-backup main {only out/unlisted}"),
        scenario("import-backup-unsorted", "catalog.md 24.20", EXPORTS)
            .run("import-backup main {only out/unsorted}")
            .run("list-backups --minimal main")
            .rules(&[Pid])
            .exit_code(0, "catalogue-38", 0, 1)
            .stdout(0, "catalogue-38", "Successfully imported backup '20240703T120000' into server 'main'", "")
            .stderr(0, "catalogue-38", "", "EXCEPTION: WAL file required for backup consistency *")
            .stderr(0, "catalogue-38", "", "See log file for more details.")
            .stdout(1, "catalogue-38", "20240703T120000", "")
            .files("home/main/base/*", Look::Nothing)
            .files("home/main/meta/*", Look::Nothing)
            .files("home/main/wals/*", Look::Nothing)
            .files("home/.main-xlogdb.lock", Look::Nothing),
        scenario("import-backup-twice-in-it", "catalog.md 18.2", EXPORTS)
            .run("import-backup main {only out/twice}")
            .rules(&[Pid])
            .exit_code(0, "catalogue-39", 1, 0)
            .stdout(0, "catalogue-39", "", "Successfully imported backup '20240703T120000' into server 'main'")
            .stderr(0, "catalogue-39", "EXCEPTION: Tarball contains 'backup/data/PG_VERSION' twice", "")
            .stderr(0, "catalogue-39", "See log file for more details.", "")
            .files("home/main/base/*", Look::Nothing)
            .files("home/main/meta/*", Look::Nothing)
            .files("home/main/wals/*", Look::Nothing)
            .files("home/.main-xlogdb.lock", Look::Nothing),
    ]
}
