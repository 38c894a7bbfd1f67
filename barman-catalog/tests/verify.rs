//! Verification beside the real `pg_verifybackup` of PostgreSQL 15, 17 and 18: trees made and damaged by a seeded
//! generator, in every way that the program knows. The verdicts are equal, and what is wrong is told in the same words.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use barman_catalog::manifest::{self, Format, Run};
use barman_wal::manifest::{Algorithm, Hasher, ManifestFile, ManifestWriter};
use testkit::trees::PgTree;
use testkit::{Cluster, Stop, TestDir, executed};

/// A small generator of numbers: the same seed, the same trees.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }
}

/// More than one part of several threads, and not a whole number of them.
const BIG: u64 = (33 << 20) + 5;

/// The size of the biggest file of a backup, where that is of interest.
fn biggest(what: &str) -> u64 {
    if what.contains("big") || what == "nothing" {
        BIG
    } else {
        100_000
    }
}

const ALGORITHMS: [Algorithm; 6] = [
    Algorithm::None,
    Algorithm::Crc32c,
    Algorithm::Sha224,
    Algorithm::Sha256,
    Algorithm::Sha384,
    Algorithm::Sha512,
];

/// A backup: its data directory and the files of its manifest.
struct Backup {
    data: PathBuf,
    files: Vec<ManifestFile>,
    systemid: Option<u64>,
}

fn describe(path: PathBuf, content: &[u8], algorithm: Algorithm) -> ManifestFile {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(content);
    ManifestFile {
        path,
        size: content.len() as u64,
        last_modified: Some("2026-11-21 09:20:25 GMT".into()),
        checksum: hasher.finish(),
    }
}

impl Backup {
    /// A data directory with a tablespace beside it, and whatever a manifest does not have.
    fn make(root: &Path, control: &[u8], systemid: Option<u64>, big: u64, rng: &mut Rng) -> Self {
        let data = root.join("data");
        let space = root.join("16385");
        for directory in [
            "base/1",
            "base/5",
            "global",
            "pg_tblspc",
            "pg_wal/archive_status",
            "pg_notify",
        ] {
            fs::create_dir_all(data.join(directory)).unwrap();
        }
        fs::create_dir_all(space.join("PG_15_202209061/5")).unwrap();
        symlink(&space, data.join("pg_tblspc/16385")).unwrap();
        let algorithm = ALGORITHMS[rng.below(ALGORITHMS.len())];
        let mut files = Vec::new();
        let mut put = |path: PathBuf, content: &[u8]| {
            fs::write(data.join(&path), content).unwrap();
            files.push(describe(path, content, algorithm));
        };
        put("PG_VERSION".into(), b"15\n");
        put("global/pg_control".into(), control);
        put("base/1/empty".into(), b"");
        put("pg_tblspc/16385/PG_15_202209061/5/1".into(), &[7; 8192]);
        put(OsString::from_vec(b"base/1/not\xffutf8".to_vec()).into(), b"x");
        put("base/5/\u{e9} \"quoted\"\n".into(), b"y");
        for number in 0..10 {
            let content = vec![u8::try_from(number).unwrap(); rng.below(100_000)];
            put(format!("base/5/{}", 1000 + number).into(), &content);
        }
        put("base/1/big".into(), &vec![3; usize::try_from(big).unwrap()]);
        fs::write(data.join("postgresql.auto.conf"), "changed by a restore").unwrap();
        fs::write(data.join("standby.signal"), "").unwrap();
        fs::write(data.join("pg_wal/000000010000000000000001"), "WAL").unwrap();
        put_ignored(&mut files);
        let backup = Self {
            data,
            files,
            systemid,
        };
        backup.write_manifest();
        backup
    }

    fn write_manifest(&self) {
        let file = File::create(self.data.join("backup_manifest")).unwrap();
        let mut writer = ManifestWriter::new(file, self.systemid).unwrap();
        for file in &self.files {
            writer.file(file).unwrap();
        }
        writer.finish(&[]).unwrap();
    }

    /// A file of the manifest that lies in the data directory.
    fn any(&self, rng: &mut Rng) -> PathBuf {
        loop {
            let file = &self.files[rng.below(self.files.len())];
            if self.data.join(&file.path).is_file() && file.path != Path::new("postgresql.auto.conf") {
                return file.path.clone();
            }
        }
    }
}

/// In the manifest, with another content than on disk: passed over all the same.
fn put_ignored(files: &mut Vec<ManifestFile>) {
    files.push(describe(
        "postgresql.auto.conf".into(),
        b"as it was",
        Algorithm::Crc32c,
    ));
}

type Damage = fn(&mut Backup, &mut Rng);

/// Every way to damage a backup, and whether it is damaged then (`None`: it depends on the checksums).
const DAMAGES: &[(&str, Damage, Option<bool>)] = &[
    ("nothing", |_, _| {}, Some(false)),
    (
        "a file is missing",
        |b, r| fs::remove_file(b.data.join(b.any(r))).unwrap(),
        Some(true),
    ),
    (
        "a file is too many",
        |b, _| fs::write(b.data.join("base/5/more"), "x").unwrap(),
        Some(true),
    ),
    (
        "a hidden file is too many",
        |b, _| fs::write(b.data.join("base/.hidden"), "").unwrap(),
        Some(true),
    ),
    (
        "a directory with files is too many",
        |b, _| {
            fs::create_dir_all(b.data.join("base/9/9")).unwrap();
            fs::write(b.data.join("base/9/9/1"), "x").unwrap();
            fs::write(b.data.join("base/9/2"), "x").unwrap();
        },
        Some(true),
    ),
    (
        "an empty directory is too many",
        |b, _| fs::create_dir_all(b.data.join("base/9/9")).unwrap(),
        Some(false),
    ),
    (
        "a directory is missing",
        |b, _| fs::remove_dir_all(b.data.join("base/5")).unwrap(),
        Some(true),
    ),
    (
        "a tablespace is missing",
        |b, _| fs::remove_file(b.data.join("pg_tblspc/16385")).unwrap(),
        Some(true),
    ),
    (
        "a file of a tablespace is too many",
        |b, _| fs::write(b.data.join("pg_tblspc/16385/PG_15_202209061/x"), "x").unwrap(),
        Some(true),
    ),
    (
        "a file has grown",
        |b, r| {
            let path = b.data.join(b.any(r));
            File::options()
                .append(true)
                .open(path)
                .unwrap()
                .write_all(b"x")
                .unwrap();
        },
        Some(true),
    ),
    (
        "a file has shrunk",
        |b, _| {
            File::options()
                .write(true)
                .open(b.data.join("base/1/big"))
                .unwrap()
                .set_len(100)
                .unwrap();
        },
        Some(true),
    ),
    (
        "one bit of a big file has changed",
        |b, r| {
            use std::os::unix::fs::FileExt as _;
            let file = File::options()
                .write(true)
                .open(b.data.join("base/1/big"))
                .unwrap();
            file.write_all_at(&[2], r.next() % BIG).unwrap();
        },
        None,
    ),
    (
        "the last byte of a big file has changed",
        |b, _| {
            use std::os::unix::fs::FileExt as _;
            let file = File::options()
                .write(true)
                .open(b.data.join("base/1/big"))
                .unwrap();
            file.write_all_at(&[2], BIG - 1).unwrap();
        },
        None,
    ),
    (
        "a small file has changed",
        |b, _| fs::write(b.data.join("PG_VERSION"), "16\n").unwrap(),
        None,
    ),
    (
        "a file has become a directory",
        |b, _| {
            fs::remove_file(b.data.join("PG_VERSION")).unwrap();
            fs::create_dir(b.data.join("PG_VERSION")).unwrap();
        },
        Some(true),
    ),
    (
        "a file has become a link to one with its content",
        |b, _| {
            let path = b.data.join("base/1/big");
            let moved = b.data.parent().unwrap().join("moved");
            fs::copy(&path, &moved).unwrap();
            fs::remove_file(&path).unwrap();
            symlink(moved, path).unwrap();
        },
        Some(false),
    ),
    (
        "a link leads nowhere",
        |b, _| symlink("nowhere", b.data.join("base/1/dangling")).unwrap(),
        Some(true),
    ),
    (
        "a file has become a link that leads nowhere",
        |b, _| {
            fs::remove_file(b.data.join("PG_VERSION")).unwrap();
            symlink("nowhere", b.data.join("PG_VERSION")).unwrap();
        },
        Some(true),
    ),
    (
        "there is a fifo",
        |b, _| {
            assert!(
                Command::new("mkfifo")
                    .arg(b.data.join("base/fifo"))
                    .status()
                    .unwrap()
                    .success()
            );
        },
        Some(true),
    ),
    (
        "WAL and what restores change has changed",
        |b, _| {
            fs::write(b.data.join("pg_wal/x"), "x").unwrap();
            fs::write(b.data.join("recovery.signal"), "x").unwrap();
            fs::remove_file(b.data.join("postgresql.auto.conf")).unwrap();
        },
        Some(false),
    ),
    (
        "a name that only begins like one that is passed over",
        |b, _| fs::write(b.data.join("pg_wal2"), "x").unwrap(),
        Some(true),
    ),
    (
        "the manifest has a file that is not there, below WAL",
        |b, _| {
            b.files
                .push(describe("pg_wal/gone".into(), b"", Algorithm::Sha256));
            b.write_manifest();
        },
        Some(false),
    ),
    (
        "the manifest has a file twice",
        |b, r| {
            let again = b.files[r.below(b.files.len())].clone();
            b.files.push(again);
            b.write_manifest();
        },
        Some(true),
    ),
    (
        "the manifest is missing",
        |b, _| fs::remove_file(b.data.join("backup_manifest")).unwrap(),
        Some(true),
    ),
    (
        "one byte of the manifest has changed",
        |b, r| {
            let path = b.data.join("backup_manifest");
            let mut content = fs::read(&path).unwrap();
            let at = r.below(content.len() - 2);
            content[at] ^= 1;
            fs::write(path, content).unwrap();
        },
        Some(true),
    ),
    (
        "the manifest is cut",
        |b, r| {
            let path = b.data.join("backup_manifest");
            let content = fs::read(&path).unwrap();
            fs::write(path, &content[..r.below(content.len() - 1)]).unwrap();
        },
        Some(true),
    ),
    (
        "the manifest is of another cluster",
        |b, _| {
            b.systemid = b.systemid.map(|id| id + 1);
            b.write_manifest();
        },
        None,
    ),
    (
        "pg_control is damaged and the manifest agrees with it",
        |b, _| {
            let path = b.data.join("global/pg_control");
            let mut content = fs::read(&path).unwrap();
            content[50] ^= 1;
            fs::write(&path, &content).unwrap();
            for file in &mut b.files {
                if file.path == Path::new("global/pg_control") {
                    *file = describe(file.path.clone(), &content, Algorithm::Crc32c);
                }
            }
            b.write_manifest();
        },
        None,
    ),
    (
        "several things at once",
        |b, r| {
            fs::remove_file(b.data.join(b.any(r))).unwrap();
            fs::write(b.data.join("base/more"), "").unwrap();
            fs::write(b.data.join("base/5/1000"), "other").unwrap();
        },
        Some(true),
    ),
];

fn ours(data: &Path, format: Format, threads: usize) -> Result<(), BTreeSet<String>> {
    let run = Run {
        threads,
        cancel: None,
        read: &|_| {},
    };
    match manifest::verify(data, format, run) {
        Ok(verdict) if verdict.is_good() => Ok(()),
        Ok(verdict) => Err(verdict.problems.iter().map(ToString::to_string).collect()),
        Err(error) => Err(BTreeSet::from([error.to_string()])),
    }
}

/// What PostgreSQL's own program says; its last words are on standard error, a line for each problem.
fn theirs(major: u16, data: &Path, format: Format) -> Result<(), BTreeSet<String>> {
    let mut command = Command::new(program(major));
    command.arg("-n").arg(data).env("LC_ALL", "C");
    match format {
        Format::Tar => command.args(["-F", "tar"]),
        // It would take a backup without PG_VERSION for archives.
        Format::Plain if major >= 18 => command.args(["-F", "plain"]),
        Format::Plain => &mut command,
    };
    let done = command.output().unwrap();
    if done.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    let lines = text
        .split("pg_verifybackup: error: ")
        .filter(|line| !line.is_empty())
        .map(|line| {
            let line = line.trim_end_matches('\n');
            // Its words before PostgreSQL 18 are not quite right.
            line.replace("is not a file or directory", "is not a regular file or directory")
        });
    Err(lines.collect())
}

/// Whether this machine has the program of this major. Debian's suites with 17 and 18 move on, and a machine that cannot
/// get them proves less, which is told.
fn is_here(major: u16) -> bool {
    match PgTree::suite(major) {
        Err(error) if major > 15 => {
            executed::unproved(&format!("{error:#}"));
            false
        }
        _ => true,
    }
}

/// The program of this major; that of the wheel of 18 crashes.
fn program(major: u16) -> PathBuf {
    let tree = match major {
        15 => PgTree::debian(15),
        _ => PgTree::suite(major),
    };
    tree.unwrap().program("pg_verifybackup")
}

/// A `pg_control` of a cluster of this major, and its system identifier.
fn control_of(major: u16) -> (Vec<u8>, u64) {
    let cluster = Cluster::start_new(major).unwrap();
    cluster.stop(Stop::Fast).unwrap();
    let content = fs::read(cluster.data_dir().join("global/pg_control")).unwrap();
    let id = barman_wal::control::ControlFile::parse(&content)
        .unwrap()
        .system_identifier;
    (content, id)
}

/// Words in which PostgreSQL's verdict on a manifest or on `pg_control` and ours differ: they end the verification.
fn is_fatal(lines: &BTreeSet<String>) -> bool {
    lines.len() == 1
        && lines
            .iter()
            .all(|line| !line.starts_with('"') && !line.starts_with("checksum"))
}

fn beside_the_program(major: u16) {
    if !is_here(major) {
        return;
    }
    let (control, id) = control_of(major);
    let mut rng = Rng(0x5EED + u64::from(major));
    for (what, damage, damaged) in DAMAGES {
        for version in [1, 2] {
            // Manifests of version 2 came with PostgreSQL 17.
            let systemid = match version {
                1 => None,
                _ if major < 17 => continue,
                _ => Some(id),
            };
            let dir = TestDir::new().unwrap();
            let mut backup = Backup::make(dir.path(), &control, systemid, biggest(what), &mut rng);
            damage(&mut backup, &mut rng);
            let expected = theirs(major, &backup.data, Format::Plain);
            let threads = 1 + rng.below(4);
            let found = ours(&backup.data, Format::Plain, threads);
            let context = format!("{major}, manifest {version}, {threads} threads: {what}");
            assert_eq!(
                found.is_ok(),
                expected.is_ok(),
                "{context}: {found:?} {expected:?}"
            );
            if let Some(damaged) = damaged {
                assert_eq!(found.is_err(), *damaged, "{context}");
            }
            if let (Err(found), Err(expected)) = (&found, &expected)
                && !is_fatal(expected)
            {
                assert_eq!(found, expected, "{context}");
            }
        }
    }
}

#[test]
fn verdicts_are_those_of_pg_verifybackup_15() {
    beside_the_program(15);
}

#[test]
fn verdicts_are_those_of_pg_verifybackup_17() {
    beside_the_program(17);
}

#[test]
fn verdicts_are_those_of_pg_verifybackup_18() {
    beside_the_program(18);
}

/// The backup in tar format: `base.tar`, the tablespace's archive, the manifest beside them.
fn pack(backup: &Backup, to: &Path, compress: bool) {
    fs::create_dir(to).unwrap();
    fs::copy(backup.data.join("backup_manifest"), to.join("backup_manifest")).unwrap();
    let archive = |name: &str, inside: &Path, leave_out: Option<&str>| {
        let path = to.join(name);
        let mut command = Command::new("tar");
        command.arg("--format=ustar").arg("-C").arg(inside);
        if let Some(name) = leave_out {
            command.arg(format!("--exclude=./{name}"));
        }
        command
            .arg("--exclude=./backup_manifest")
            .arg("-cf")
            .arg(&path)
            .arg(".");
        assert!(command.status().unwrap().success());
        if compress {
            assert!(
                Command::new("gzip")
                    .arg("-1")
                    .arg(&path)
                    .status()
                    .unwrap()
                    .success()
            );
        }
    };
    archive("base.tar", &backup.data, None);
    let space = backup.data.parent().unwrap().join("16385");
    archive("16385.tar", &space, None);
}

#[test]
fn archives_are_compared_as_pg_verifybackup_18_compares_them() {
    if !is_here(18) {
        return;
    }
    let (control, id) = control_of(18);
    let mut rng = Rng(77);
    // Of the damages those that leave something that can be packed.
    let packable = |what: &str| !what.contains("fifo") && !what.contains("link") && !what.contains("missing");
    for (what, damage, _) in DAMAGES.iter().filter(|(what, ..)| packable(what)) {
        for compress in [false, true] {
            let dir = TestDir::new().unwrap();
            let mut backup = Backup::make(dir.path(), &control, Some(id), biggest(what), &mut rng);
            damage(&mut backup, &mut rng);
            let packed = dir.path().join("packed");
            pack(&backup, &packed, compress);
            let expected = theirs(18, &packed, Format::Tar);
            let found = ours(&packed, Format::Tar, 2);
            assert_eq!(found.is_ok(), expected.is_ok(), "{what}: {found:?} {expected:?}");
            if let (Err(found), Err(expected)) = (&found, &expected)
                && !is_fatal(expected)
            {
                assert_eq!(found, expected, "{what}");
            }
        }
    }
}

#[test]
fn archives_that_are_cut_or_strange_are_told_by_name() {
    let (control, id) = control_of(18);
    let dir = TestDir::new().unwrap();
    let backup = Backup::make(dir.path(), &control, Some(id), BIG, &mut Rng(3));
    let packed = dir.path().join("packed");
    pack(&backup, &packed, false);
    assert_eq!(ours(&packed, Format::Tar, 2), Ok(()));
    fs::write(packed.join("other.tar"), "").unwrap();
    let base = packed.join("base.tar");
    let content = fs::read(&base).unwrap();
    fs::write(&base, &content[..content.len() / 2]).unwrap();
    let lines = ours(&packed, Format::Tar, 2).unwrap_err();
    for expected in [
        "could not read archive \"base.tar\": unexpected end of data",
        "file \"other.tar\" is not expected in a tar format backup",
    ] {
        assert!(lines.contains(expected), "{lines:?}");
    }
}

/// A generated manifest is one that `pg_verifybackup` and we agree with; what it does not cover is told.
#[test]
fn generated_manifests_verify() {
    let (control, _) = control_of(15);
    let dir = TestDir::new().unwrap();
    let backup = Backup::make(dir.path(), &control, None, BIG, &mut Rng(9));
    let data = &backup.data;
    let run = Run {
        threads: 3,
        cancel: None,
        read: &|_| {},
    };
    let exists = manifest::generate(data, run).unwrap_err();
    assert_eq!(
        exists.to_string(),
        format!("File {}/backup_manifest already exists.", data.display())
    );
    fs::remove_file(data.join("backup_manifest")).unwrap();
    let stale = data.join(".backup_manifest.999999999-0.tmp");
    fs::write(&stale, "half").unwrap();
    let generated = manifest::generate(data, run).unwrap();
    assert_eq!(generated.special, Vec::<PathBuf>::new());
    assert!(!stale.exists());
    assert_eq!(theirs(15, data, Format::Plain), Ok(()));
    assert_eq!(ours(data, Format::Plain, 2), Ok(()));

    // What has no place in a manifest is named, and left to the verification to complain about.
    fs::remove_file(data.join("backup_manifest")).unwrap();
    symlink("nowhere", data.join("base/dangling")).unwrap();
    let generated = manifest::generate(data, run).unwrap();
    assert_eq!(generated.special, [PathBuf::from("base/dangling")]);
    assert!(ours(data, Format::Plain, 2).is_err());

    // Stopped in the middle: as before.
    fs::remove_file(data.join("backup_manifest")).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(true);
    let stopped = Run {
        cancel: Some(&stop),
        ..run
    };
    assert!(manifest::generate(data, stopped).is_err());
    let left: Vec<_> = fs::read_dir(data)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("manifest"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}
