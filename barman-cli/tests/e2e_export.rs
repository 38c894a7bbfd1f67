//! Backups that travel between nodes as files: exported by one program, imported by the other, in both directions,
//! with the rows of a started server as the proof. And files that nobody should trust.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod e2e_support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use e2e_support::*;
use sha2::{Digest as _, Sha256};
use testkit::{Cluster, Program, Sandbox, trees};

/// A sandbox that is another node for the same server: an empty catalogue that knows of which cluster it is.
fn other_node(of: &Sandbox) -> Result<Sandbox> {
    let node = Sandbox::builder("main")
        .program(env!("CARGO_BIN_EXE_barman"))
        .option("archiver", "on")
        .option("streaming_archiver", "")
        .option("slot_name", "")
        // Where the oracle finds PostgreSQL's own verification.
        .option("path_prefix", &trees::client_bin(15)?.display().to_string())
        .build()?;
    fs::create_dir_all(node.server_dir())?;
    fs::copy(
        of.server_dir().join("identity.json"),
        node.server_dir().join("identity.json"),
    )?;
    Ok(node)
}

/// The path that an export tells.
fn exported(program: &Program, id: &str, to: &Path, more: &[&str]) -> Result<PathBuf> {
    let mut arguments = vec!["export-backup", "main", id, to.to_str().unwrap()];
    arguments.extend(more);
    let done = program.ok(arguments)?;
    let path = done
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("Export completed successfully: "))
        .map(PathBuf::from)
        .with_context(|| done.to_string())?;
    let digits: String = Sha256::digest(fs::read(&path)?)
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    ensure!(
        path.display().to_string().contains(&format!("-{digits}.tar")),
        "{}",
        path.display()
    );
    Ok(path)
}

/// Content and mode of every file of a backup and of the archive, links with their targets below `base`.
fn content(server: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for part in ["base", "wals"] {
        for name in tree(&server.join(part))? {
            let path = server.join(part).join(name.split(" -> ").next().unwrap_or(&name));
            let metadata = path.symlink_metadata()?;
            use std::os::unix::fs::PermissionsExt as _;
            let what = if metadata.is_file() {
                let digest = Sha256::digest(fs::read(&path)?);
                format!("{:o} {digest:x?}", metadata.permissions().mode())
            } else if metadata.is_symlink() {
                fs::read_link(&path)?
                    .strip_prefix(server)
                    .map(|target| target.display().to_string())?
            } else {
                format!("{:o}", metadata.permissions().mode())
            };
            found.insert(
                format!("{part}/{}", path.strip_prefix(server.join(part))?.display()),
                what,
            );
        }
    }
    Ok(found)
}

/// A backup of ours with a tablespace and the WAL that it needs, a bit more WAL, and the rows that it has.
fn with_backup(major: u16) -> Result<(Cluster, Sandbox, String)> {
    let (cluster, sandbox) = archiving(major)?;
    cluster.create_tablespace("ts")?;
    cluster.sql("CREATE TABLE t (i int) TABLESPACE ts")?;
    cluster.sql("INSERT INTO t VALUES (1), (2)")?;
    let id = backup(&sandbox, &["--wait"])?;
    Ok((cluster, sandbox, id))
}

fn rows_after_restore(node: &Sandbox, program: &Program, major: u16, id: &str, name: &str) -> Result<String> {
    let to = node.dir().join(name);
    let tablespace = format!("ts:{}", node.dir().join(format!("{name}.ts")).display());
    let to_text = to.to_str().context("path")?;
    program.ok(["restore", "--tablespace", &tablespace, "main", id, to_text])?;
    let server = Cluster::builder(major).open(&to)?;
    server.wait_primary(SOON)?;
    server.sql_value("SELECT string_agg(i::text, ',' ORDER BY i) FROM t")
}

/// Every exporter, every importer: the same files under the new catalogue, standalone, restorable.
fn travels(compression: &str) -> Result<()> {
    let (_cluster, sandbox, id) = with_backup(15)?;
    let (ours, oracle) = (sandbox.barman()?, sandbox.oracle()?);
    let out = sandbox.dir().join("out");
    fs::create_dir(&out)?;
    let end = field(&sandbox, &id, "end_wal")?;
    let needed = |path: &str| path.starts_with("base/") || path.contains(&end[..16]);
    let mut expected: BTreeMap<_, _> = content(&sandbox.server_dir())?
        .into_iter()
        .filter(|(path, _)| needed(path) && !path.ends_with(".backup"))
        .collect();
    let begin = field(&sandbox, &id, "begin_wal")?;
    expected.retain(|path, _| {
        let name = path.rsplit('/').next().unwrap_or_default();
        !path.starts_with("wals/") || name.len() != 24 || (begin.as_str()..=end.as_str()).contains(&name)
    });
    let mut restored = 0;
    for (exporter, by_us) in [(&ours, true), (&oracle, false)] {
        let mut more = Vec::new();
        if !compression.is_empty() {
            more.extend(["--compression", compression]);
        }
        // Names have seconds, and neither program replaces a file.
        let to = out.join(format!("{compression}-{by_us}"));
        fs::create_dir(&to)?;
        let file = exported(exporter, &id, &to, &more)?;
        for importer_is_us in [true, false] {
            // In a short run what is compressed only goes from one program to the other.
            let passes = by_us != importer_is_us || by_us && (compression.is_empty() || testkit::is_long());
            if !passes {
                continue;
            }
            let node = other_node(&sandbox)?;
            let importer = if importer_is_us {
                node.barman()?
            } else {
                node.oracle()?
            };
            importer.ok(["import-backup", "main", file.to_str().unwrap()])?;
            let context = format!("{compression} exported by us: {by_us}, imported by us: {importer_is_us}");
            let mut found = content(&node.server_dir())?;
            found.retain(|path, _| needed(path));
            ensure!(found == expected, "{context}: {found:#?} {expected:#?}");
            for reader in [node.barman()?, node.oracle()?] {
                let listed = reader.ok(["list-backups", "main", "--minimal"])?;
                ensure!(listed.stdout.trim() == id, "{context}: {listed}");
                reader.ok(["verify-backup", "main", &id])?;
                let kept = reader.ok(["keep", "--status", "main", &id])?;
                ensure!(kept.stdout.contains("standalone"), "{context}: {kept}");
            }
            // The lines of both catalogues are the same.
            let lines = |sandbox: &Sandbox| -> Result<Vec<String>> {
                let text = fs::read_to_string(sandbox.server_dir().join("wals/main-xlog.db"))?;
                Ok(text
                    .lines()
                    .filter(|line| {
                        (begin.as_str()..=end.as_str()).contains(&line.get(..24).unwrap_or(""))
                            && !line.contains(".backup")
                    })
                    .map(str::to_owned)
                    .collect())
            };
            ensure!(lines(&node)? == lines(&sandbox)?, "{context}");
            if compression.is_empty() || (by_us && importer_is_us) {
                let rows = rows_after_restore(&node, &node.barman()?, 15, &id, "restored")?;
                ensure!(rows == "1,2", "{context}: {rows}");
                restored += 1;
            }
        }
    }
    let expected = match compression {
        "" => 3,
        _ => usize::from(testkit::is_long()),
    };
    assert_eq!(restored, expected);
    Ok(())
}

#[test]
fn uncompressed_backups_travel_between_both_programs() -> Result<()> {
    travels("")
}

#[test]
fn gzip_backups_travel_between_both_programs() -> Result<()> {
    travels("gzip")
}

#[test]
fn bzip2_backups_travel_between_both_programs() -> Result<()> {
    travels("bzip2")
}

#[test]
fn xz_backups_travel_between_both_programs() -> Result<()> {
    travels("xz")
}

/// Names that are not UTF-8, long ones, big files with holes, files with several names, an unsorted WAL catalogue.
#[test]
fn strange_files_travel_too() -> Result<()> {
    use std::os::unix::ffi::OsStringExt as _;
    let (_cluster, sandbox, id) = with_backup(17)?;
    let data = sandbox.server_dir().join("base").join(&id).join("data");
    let strange = data.join("base/strange");
    fs::create_dir(&strange)?;
    fs::write(
        strange.join(std::ffi::OsString::from_vec(b"not\xffutf8 \xc3\xa9\n".to_vec())),
        "x",
    )?;
    let long = strange.join("l".repeat(200)).join("m".repeat(200));
    fs::create_dir_all(&long)?;
    fs::write(long.join("n".repeat(250)), "y")?;
    fs::hard_link(long.join("n".repeat(250)), strange.join("second name"))?;
    fs::File::create(strange.join("holes"))?.set_len(200 << 20)?;
    // The last line first.
    let list = sandbox.server_dir().join("wals/main-xlog.db");
    let text = fs::read_to_string(&list)?;
    let mut lines: Vec<&str> = text.lines().collect();
    lines.rotate_right(1);
    fs::write(&list, lines.join("\n") + "\n")?;
    let out = sandbox.dir().join("out");
    fs::create_dir(&out)?;
    let file = exported(
        &sandbox.barman()?,
        &id,
        &out,
        &["--compression", "gzip", "--compression-level", "1"],
    )?;
    for ours in [true, false] {
        let node = other_node(&sandbox)?;
        let importer = if ours { node.barman()? } else { node.oracle()? };
        importer.ok(["import-backup", "main", file.to_str().unwrap()])?;
        let there = node.server_dir().join("base").join(&id).join("data");
        assert_eq!(tree(&there.join("base/strange"))?, tree(&strange)?, "{ours}");
        assert_eq!(fs::read(there.join("base/strange/second name"))?, b"y");
        assert_eq!(fs::metadata(there.join("base/strange/holes"))?.len(), 200 << 20);
    }
    Ok(())
}

/// A member of an archive that is made up.
struct Member {
    name: &'static str,
    kind: tar::EntryType,
    link: &'static str,
    content: Vec<u8>,
    /// What its header says, where that is not the length of the content.
    size: Option<u64>,
}

fn member(name: &'static str, content: &[u8]) -> Member {
    Member {
        name,
        kind: tar::EntryType::Regular,
        link: "",
        content: content.to_vec(),
        size: None,
    }
}

/// An export with some members more before the WAL, packed anew; named with its checksum.
fn with_members(file: &Path, to: &Path, more: &[Member]) -> Result<PathBuf> {
    let original = fs::read(file)?;
    let mut archive = tar::Archive::new(original.as_slice());
    let mut out = Vec::new();
    let mut put = |header: &tar::Header, content: &[u8]| {
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(512), 0);
    };
    let mut added = false;
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content)?;
        if !added && entry.path_bytes().starts_with(b"backup/data/PG_VERSION") {
            added = true;
            put(entry.header(), &content);
            for member in more {
                let mut header = tar::Header::new_ustar();
                header.as_old_mut().name[..member.name.len()].copy_from_slice(member.name.as_bytes());
                header.as_old_mut().linkname[..member.link.len()].copy_from_slice(member.link.as_bytes());
                header.set_entry_type(member.kind);
                header.set_mode(0o644);
                header.set_mtime(0);
                header.set_size(member.size.unwrap_or(member.content.len() as u64));
                header.set_cksum();
                put(&header, &member.content);
            }
            continue;
        }
        put(entry.header(), &content);
    }
    ensure!(added, "no PG_VERSION");
    out.extend_from_slice(&[0; 1024]);
    named(file, to, &out)
}

/// Writes content under the name that it must have.
fn named(like: &Path, to: &Path, content: &[u8]) -> Result<PathBuf> {
    let digits: String = Sha256::digest(content)
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let name = like.file_name().and_then(|name| name.to_str()).context("name")?;
    let (stem, _) = name.rsplit_once('-').context("checksum")?;
    let path = to.join(format!("{stem}-{digits}.tar"));
    fs::File::create(&path)?.write_all(content)?;
    Ok(path)
}

/// Archives that climb, lie, repeat or explode: refused, with nothing left and nothing outside.
#[test]
fn hostile_archives_change_nothing() -> Result<()> {
    let (_cluster, sandbox, id) = with_backup(15)?;
    let out = sandbox.dir().join("out");
    fs::create_dir(&out)?;
    let file = exported(&sandbox.barman()?, &id, &out, &[])?;
    let node = other_node(&sandbox)?;
    let barman = node.barman()?;
    let evil = node.dir().join("evil");
    let outside: &'static str = Box::leak(evil.display().to_string().into_boxed_str());
    let link = |name, kind, link| Member {
        kind,
        link,
        ..member(name, b"")
    };
    let lie = |name, size| Member {
        size: Some(size),
        ..member(name, b"")
    };
    let before = tree(&node.home())?;
    let cases: Vec<(Vec<Member>, &str)> = vec![
        (vec![member("backup/../../../../../evil", b"x")], "unsafe path"),
        (vec![member("../evil", b"x")], "unsafe path"),
        (vec![member(outside, b"x")], "unsafe path"),
        (
            vec![
                link("backup/data/l", tar::EntryType::Symlink, outside),
                member("backup/data/l/x", b"x"),
            ],
            "unsafe member type",
        ),
        (
            vec![
                link("backup/data/pg_tblspc/99", tar::EntryType::Symlink, outside),
                member("backup/data/pg_tblspc/99/x", b"x"),
            ],
            // No link is made, so this is an ordinary file.
            "",
        ),
        (
            vec![link(
                "backup/data/h",
                tar::EntryType::Link,
                "backup/data/PG_VERSION",
            )],
            "unsafe member type",
        ),
        (
            vec![link("backup/data/c", tar::EntryType::Char, "")],
            "unsafe member type",
        ),
        (
            vec![link("backup/data/f", tar::EntryType::Fifo, "")],
            "unsafe member type",
        ),
        (
            vec![Member {
                kind: tar::EntryType::GNUSparse,
                ..member("backup/data/s", b"x")
            }],
            "unsafe member type",
        ),
        (vec![member("backup/data/PG_VERSION", b"99\n")], "twice"),
        (vec![member("backup.info", b"status=DONE\n")], "twice"),
        (
            vec![lie("backup/data/huge", 1 << 40)],
            "more than an exported backup has",
        ),
        (
            vec![lie("wals/0000000100000000/000000010000000000000001", 1 << 33)],
            "more than an exported backup has",
        ),
        (
            vec![lie("backup.infox", 1 << 40)],
            "more than an exported backup has",
        ),
        (
            vec![Member {
                kind: tar::EntryType::XHeader,
                ..lie("x", 1 << 33)
            }],
            "extended header of more than 1 MiB",
        ),
        (
            vec![Member {
                kind: tar::EntryType::XHeader,
                ..member("x", b"5 rubbish\n")
            }],
            "malformed extended header",
        ),
        (vec![member("backup/data/PG_VERSION/below", b"x")], "cannot"),
    ];
    for (members, expected) in cases {
        let names: Vec<_> = members.iter().map(|member| member.name).collect();
        let hostile = with_members(&file, &out, &members)?;
        let done = barman.run(["import-backup", "main", hostile.to_str().unwrap()])?;
        ensure!(!evil.exists(), "{names:?} has written outside");
        if expected.is_empty() {
            ensure!(done.code == Some(0), "{names:?}: {done}");
            barman.ok(["keep", "--release", "main", &id])?;
            barman.ok(["delete", "main", &id])?;
            continue;
        }
        ensure!(
            done.code == Some(1) && done.stderr.contains(expected),
            "{names:?}: {done}"
        );
        let after: Vec<_> = tree(&node.home())?
            .into_iter()
            .filter(|path| !before.contains(path) && (path.contains("base/") || path.contains("meta/")))
            .filter(|path| !path.ends_with('/'))
            .collect();
        ensure!(after.is_empty(), "{names:?} has left {after:?}");
    }
    // Cut anywhere, with a right name: refused; with the old name: known as another file.
    let whole = fs::read(&file)?;
    for length in [
        0,
        1,
        511,
        512,
        513,
        4096,
        whole.len() / 2,
        whole.len() - 10_240 - 512,
    ] {
        let cut = named(&file, &out, &whole[..length])?;
        let done = barman.run(["import-backup", "main", cut.to_str().unwrap()])?;
        ensure!(done.code == Some(1), "{length}: {done}");
        let as_before = out.join("x");
        fs::create_dir_all(&as_before)?;
        let as_before = as_before.join(file.file_name().unwrap());
        fs::write(&as_before, &whole[..length])?;
        let done = barman.run(["import-backup", "main", as_before.to_str().unwrap()])?;
        let told = done.stderr.contains("checksum mismatch") || done.stderr.contains("not a valid tar file");
        ensure!(done.code == Some(1) && told, "{length}: {done}");
    }
    ensure!(ids(&node).is_empty());
    // A file of zeros, compressed to nothing.
    let bomb = out.join("bomb");
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..8].copy_from_slice(b"backup/x");
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_size(1 << 33);
    header.set_cksum();
    let mut gzip = flate2::write::GzEncoder::new(fs::File::create(&bomb)?, flate2::Compression::fast());
    gzip.write_all(header.as_bytes())?;
    for _ in 0..64 {
        gzip.write_all(&vec![0; 1 << 20])?;
    }
    gzip.finish()?;
    let content = fs::read(&bomb)?;
    let plain = named(&file, &out, &content)?;
    let done = barman.run(["import-backup", "main", plain.to_str().unwrap()])?;
    ensure!(done.code == Some(1) && ids(&node).is_empty(), "{done}");
    Ok(())
}
