//! WAL compression: `archive-wal` and `get-wal` with each algorithm, level and filter.

use std::fs::{self, File};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::wal::WAITING;
use crate::conformance::catalogue::{Home, segment};
use crate::conformance::compare::Look;
use crate::conformance::execute::Stage;
use crate::conformance::normalise::Rule::{CompressedSize, Pid};
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::{Catalogue, PLAIN, State};

const CUSTOM: &str = "compression = custom\ncustom_compression_filter = gzip -c\ncustom_decompression_filter = gzip -cd\ncustom_compression_magic = 0x1f8b08";
/// Its output has no mark that anybody knows.
const UNMARKED: &str = "compression = custom\ncustom_compression_filter = { gzip -c | base64; }\ncustom_decompression_filter = { base64 -d | gzip -cd; }";

/// A segment that a filter made, with the first bytes `mine`.
const ARCHIVED_BY_FILTER: State = PLAIN.catalogue(Catalogue::Made(made_by_filter));

fn made_by_filter(home: &Home) -> Result<()> {
    let main = home.server("main")?;
    main.backup(1, 2, &[])?;
    main.wal(2)?;
    main.wal(5)?;
    main.write(
        &format!("wals/0000000100000000/{}", segment(5)),
        b"mine, and nobody else's",
    )
}

pub fn scenarios() -> Vec<Scenario> {
    let mut all = vec![
        compressed("archive-wal-gzip", "compression = gzip"),
        compressed(
            "archive-wal-gzip-low",
            "compression = gzip\ncompression_level = low",
        ),
        compressed("archive-wal-gzip-9", "compression = GZIP\ncompression_level = 9"),
        compressed("archive-wal-pygzip", "compression = pygzip"),
        compressed("archive-wal-pigz", "compression = pigz\ncompression_level = high"),
        compressed("archive-wal-bzip2", "compression = bzip2"),
        compressed("archive-wal-pybzip2", "compression = pybzip2"),
        compressed("archive-wal-xz", "compression = xz"),
        compressed("archive-wal-xz-9", "compression = xz\ncompression_level = 9"),
        compressed("archive-wal-zstd", "compression = zstd"),
        compressed(
            "archive-wal-zstd-negative",
            "compression = zstd\ncompression_level = -7",
        ),
        compressed(
            "archive-wal-zstd-22",
            "compression = zstd\ncompression_level = 22",
        ),
        compressed("archive-wal-lz4", "compression = lz4"),
        compressed("archive-wal-lz4-0", "compression = lz4\ncompression_level = 0"),
        compressed("archive-wal-lz4-16", "compression = lz4\ncompression_level = 16"),
        compressed(
            "archive-wal-snappy",
            "compression = snappy\ncompression_level = high",
        ),
        compressed("archive-wal-custom", CUSTOM),
        archived("archive-wal-custom-unmarked", UNMARKED, Look::Presence),
        // Beyond what the algorithm has, either way.
        compressed(
            "archive-wal-gzip-level-too-low",
            "compression = gzip\ncompression_level = -3",
        ),
        compressed(
            "archive-wal-gzip-level-too-high",
            "compression = gzip\ncompression_level = 400",
        ),
        compressed(
            "archive-wal-level-unset",
            "compression = bzip2\ncompression_level =",
        ),
        compressed(
            "archive-wal-level-nonsense",
            "compression = gzip\ncompression_level = best",
        )
        .hints(0..4, "HINT: in '*/barman.conf', line 15"),
    ];
    all.extend([
        scenario("archive-wal-compression-none", "wal.md 15.1", WAITING.main("compression = none"))
            .run("archive-wal main")
            .run("get-wal main 000000010000000000000003")
            .rules(&[Pid])
            .hints(0..2, "HINT: in '*/barman.conf', line 14: an empty value means none"),
        scenario("archive-wal-custom-without-filters", "wal.md 15.2, 15.5", WAITING.main("compression = custom"))
            .run("archive-wal main")
            .rules(&[Pid])
            .stderr(0, "wal-25", "ERROR: cannot archive WAL of server main: compression `custom` needs custom_compression_filter and custom_decompression_filter", "EXCEPTION: custom_compression_filter")
            .stderr(0, "wal-25", "", "See log file for more details.")
            .hint(0, "HINT: set both filters, or another compression")
            .file("wal-25", "home/.main-archive-wal.lock", "", "file, *"),
        scenario("archive-wal-custom-fails", "wal.md 15.2", WAITING.main("compression = custom\ncustom_compression_filter = echo full >&2; exit 3\ncustom_decompression_filter = cat"))
            .run("archive-wal main")
            .rules(&[Pid])
            .stdout(0, "wal-22", "", "\t000000010000000000000002.00000028.backup")
            .stderr(0, "wal-25", "ERROR: WAL file 000000010000000000000002.00000028.backup of server main is not archived: custom_compression_filter failed with exit code 3: full. It stays in the queue.", "")
.stderr(0, "wal-25", "ERROR: WAL file 000000010000000000000003 of server main is not archived: custom_compression_filter failed with exit code 3: full. It stays in the queue.", "")
.stderr(0, "wal-25", "ERROR: WAL file 000000010000000000000004 of server main is not archived: custom_compression_filter failed with exit code 3: full. It stays in the queue.", "")
.stderr(0, "wal-25", "ERROR: WAL file 00000002.history of server main is not archived: custom_compression_filter failed with exit code 3: full. It stays in the queue.", "")
            .stderr(0, "wal-25", "", "EXCEPTION: {'ret': 3, 'out': '', 'err': 'full\\n'}")
            .stderr(0, "wal-25", "", "See log file for more details.")
            .file("wal-25", "home/main/wals/0000000100000000/000000010000000000000002.00000028.backup.compressed", "", "file, *")
            .file("all-15", "home/.main-xlogdb.lock", "", "file, *"),
        scenario("get-wal-custom-fails", "wal.md 10.3, 15.2", ARCHIVED_BY_FILTER.main("compression = custom\ncustom_compression_filter = cat\ncustom_decompression_filter = head -c 5; echo no >&2; exit 7\ncustom_compression_magic = 0x6d696e65"))
            .run("get-wal main 000000010000000000000005")
            .stderr(0, "wal-25", "ERROR: Error decompressing WAL: *: custom_decompression_filter failed with exit code 7: no", "ERROR: Error decompressing WAL: {'ret': 7, 'out': '', 'err': 'no\\n'}")
            .hint(0, "HINT: --keep-compression gives the file as it is stored"),
        scenario(
            "archive-wal-compression-changes",
            "wal.md 15.1",
            WAITING.main("compression = gzip"),
        )
        .run("archive-wal main")
        .then(|stage| change(stage, "compression = zstd", 5))
        .run("archive-wal main")
        .then(|stage| change(stage, "compression = bzip2\ncompression_level = high", 6))
        .run("archive-wal main")
        .then(|stage| change(stage, "compression =", 7))
        .run("archive-wal main")
        .then(|stage| change(stage, "compression = lz4", 8))
        .run("archive-wal main")
        .then(sent_again)
        .run("archive-wal main")
        .run("get-wal main 000000010000000000000003")
        .run("get-wal main 000000010000000000000005")
        .run("get-wal main 000000010000000000000006")
        .run("get-wal main 000000010000000000000007")
        .run("get-wal main 000000010000000000000008")
        .run("get-wal --peek 9 main 000000010000000000000003")
        .rules(&[Pid, CompressedSize])
        .files("home/main/wals/0*/0*", Look::Presence)
        .files("home/main/wals/00000002.history", Look::Presence),
        scenario(
            "archive-wal-of-what-came-compressed",
            "wal.md 15.4",
            WAITING.main("compression = xz"),
        )
        .then(came_compressed)
        .run("archive-wal main")
        .run("get-wal main 000000010000000000000003")
        .run("get-wal main 000000010000000000000004")
        .rules(&[Pid, CompressedSize])
        .files("home/main/wals/0*/0*.backup", Look::Presence)
        .files("home/main/wals/00000002.history", Look::Presence),
        scenario(
            "get-wal-compresses-in-other-ways",
            "cli.md 13.2",
            WAITING.main("compression = zstd"),
        )
        .run("archive-wal main")
        .run("get-wal -j -o {root}/out main 000000010000000000000003")
        .run("get-wal -z -o {root}/out main 000000010000000000000004")
        .rules(&[Pid, CompressedSize])
        .files("home/main/wals/0*/0*", Look::Presence)
        .files("home/main/wals/00000002.history", Look::Presence)
        .files("out/0*", Look::Nothing),
    ]);
    all
}

/// Archives with a compression, and gets back what was archived.
fn compressed(name: &'static str, main: &'static str) -> Scenario {
    archived(name, main, Look::Unpacked)
}

fn archived(name: &'static str, main: &'static str, look: Look) -> Scenario {
    scenario(name, "wal.md 10.3, 15", WAITING.main(main))
        .run("archive-wal main")
        .run("get-wal main 000000010000000000000003")
        .run("get-wal main 00000002.history")
        .run("get-wal main 000000010000000000000002.00000028.backup")
        .rules(&[Pid, CompressedSize])
        // It was there before.
        .files("home/main/wals/00000001*/000000010000000000000002", Look::Content)
        .files("home/main/wals/0*/0*", look)
        .files("home/main/wals/00000002.history", look)
}

/// Another compression, and a segment for it.
fn change(stage: &Stage, lines: &str, segment: u64) -> Result<()> {
    let path = stage.root.join("barman.conf");
    let text = fs::read_to_string(&path).context("read the configuration")?;
    let mut kept: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("compression"))
        .collect();
    let at = kept
        .iter()
        .position(|line| *line == "[main]")
        .context("no section `main`")?;
    kept.insert(at + 1, lines);
    fs::write(&path, kept.join("\n") + "\n")?;
    Home::new(&stage.root.join("home"))
        .server("main")?
        .queued("incoming", segment)
}

/// What is in the archive, once more.
fn sent_again(stage: &Stage) -> Result<()> {
    let main = Home::new(&stage.root.join("home")).server("main")?;
    (3..=8).try_for_each(|number| main.queued("incoming", number))
}

/// As an `archive_command` with a compressor in it delivers it.
fn came_compressed(stage: &Stage) -> Result<()> {
    let incoming = stage.root.join("home/main/incoming");
    for (number, program) in [(3, "gzip"), (4, "zstd")] {
        let path = incoming.join(segment(number));
        let modified = fs::metadata(&path)?.modified()?;
        let packed = Command::new(program)
            .arg("-c")
            .stdin(File::open(&path)?)
            .output()?;
        ensure!(packed.status.success(), "{program}: {packed:?}");
        fs::write(&path, packed.stdout)?;
        File::options().write(true).open(&path)?.set_modified(modified)?;
    }
    Ok(())
}
