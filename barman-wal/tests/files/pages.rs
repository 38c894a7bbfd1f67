//! Checksums of data pages beside `pg_checksums`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use barman_wal::Lsn;
use barman_wal::data_file::{DataFileName, Geometry};
use barman_wal::page_checksum::{BadPage, Checked, PageState, PageVerifier, set_checksum};
use testkit::{Cluster, Stop};

use crate::{run, text, tree};

const PAGE: u64 = 8192;

/// A stopped cluster with checksums and relations of several kinds.
fn cluster(major: u16) -> Cluster {
    let cluster = Cluster::builder(major)
        .tree(tree(major))
        .checksums(true)
        .conf("autovacuum", "off")
        .start()
        .unwrap();
    for statement in [
        "CREATE TABLE rows AS SELECT g AS id, md5(g::text) AS filler FROM generate_series(1, 30000) g",
        "CREATE INDEX ON rows (filler)",
        "CREATE INDEX ON rows USING gin (to_tsvector('simple', filler))",
        "DELETE FROM rows WHERE id % 3 = 0",
        "VACUUM rows",
        "CREATE UNLOGGED TABLE unlogged AS SELECT * FROM rows",
        "CHECKPOINT",
    ] {
        cluster.sql(statement).unwrap();
    }
    cluster.stop(Stop::Fast).unwrap();
    cluster
}

/// The files that hold relations, in all databases.
fn files(data: &Path) -> Vec<(PathBuf, DataFileName)> {
    let mut directories = vec![data.join("global")];
    for entry in fs::read_dir(data.join("base")).unwrap() {
        directories.push(entry.unwrap().path());
    }
    let mut found = Vec::new();
    for directory in directories {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if let Ok(name) = entry.file_name().to_str().unwrap().parse() {
                found.push((entry.path(), name));
            }
        }
    }
    found.sort();
    assert!(found.len() > 500);
    found
}

fn verify(files: &[(PathBuf, DataFileName)]) -> (Checked, BTreeSet<(PathBuf, u64)>) {
    let (mut sum, mut bad) = (Checked::default(), BTreeSet::new());
    for (path, name) in files {
        let verifier = PageVerifier::of_file(*name, Geometry::DEFAULT).unwrap();
        let found = |page: BadPage| {
            assert!(matches!(page.state, PageState::Mismatch { .. }), "{page:?}");
            bad.insert((path.clone(), page.offset));
        };
        let checked = verifier.read(&mut File::open(path).unwrap(), found).unwrap();
        assert_eq!(
            checked.pages * PAGE + u64::from(checked.rest),
            path.metadata().unwrap().len()
        );
        sum.pages += checked.pages;
        sum.new += checked.new;
        sum.bad += checked.bad;
        assert_eq!(checked.rest, 0, "{}", path.display());
    }
    assert_eq!(sum.bad, bad.len() as u64);
    (sum, bad)
}

/// What the tool says: blocks, bad ones. `None` where there is no tool.
fn judge(cluster: &Cluster) -> Option<(u64, u64)> {
    let data = cluster.data_dir().to_str().unwrap();
    // Its name in 11; it runs as anybody who can read.
    let said = run(cluster, "pg_checksums", &["--check", "-D", data])
        .or_else(|| run(cluster, "pg_verify_checksums", &["-D", data]))?;
    let said = text(&said);
    let number = |label: &str| {
        let line = said
            .lines()
            .find(|line| line.contains(label))
            .unwrap_or_else(|| panic!("{said}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    Some((number("Blocks scanned:"), number("Bad checksums:")))
}

fn change(path: &Path, at: u64, by: u8) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ by], at).unwrap();
}

fn major(major: u16) {
    let cluster = cluster(major);
    let relations = files(cluster.data_dir());
    let (good, bad) = verify(&relations);
    assert!(good.pages > 3000 && bad.is_empty(), "{major}: {good:?} {bad:?}");
    if let Some(judged) = judge(&cluster) {
        assert_eq!(judged, (good.pages, 0), "{major}");
    }

    // A second file of a relation, whose numbers go on behind those of the first.
    let second = cluster.data_dir().join("base/1/4000000.1");
    let mut content = Vec::new();
    for block in 0..3u32 {
        let mut page = fs::read(&relations[0].0).unwrap()[..8192].to_vec();
        set_checksum(&mut page, 131_072 + block);
        content.extend(page);
    }
    fs::write(&second, content).unwrap();
    let relations = files(cluster.data_dir());
    assert_eq!(verify(&relations).0.bad, 0, "{major}");
    if let Some(judged) = judge(&cluster) {
        assert_eq!(judged, (good.pages + 3, 0), "{major}");
    }

    // Single changed bytes, one in each of many pages.
    let mut state = u64::from(major);
    let mut expected = BTreeSet::new();
    while expected.len() < 300 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let (path, _) = &relations[(state >> 33) as usize % relations.len()];
        let pages = path.metadata().unwrap().len() / PAGE;
        let Some(page) = (state >> 17).checked_rem(pages) else {
            continue;
        };
        let at = state % PAGE;
        let content = fs::read(path).unwrap();
        let new = content[(page * PAGE + 14) as usize..][..2] == [0, 0];
        // Where the page says that it is new nobody looks at the checksum.
        if new || (14..16).contains(&at) || !expected.insert((path.clone(), page * PAGE)) {
            continue;
        }
        change(path, page * PAGE + at, 1 << (state >> 61));
    }
    let (_, bad) = verify(&relations);
    assert_eq!(bad, expected, "{major}");
    if let Some((_, judged)) = judge(&cluster) {
        assert_eq!(judged, 300, "{major}");
    }
}

#[test]
fn pages_of_10() {
    major(10);
}

#[test]
fn pages_of_15() {
    major(15);
}

#[test]
fn pages_of_18() {
    major(18);
}

/// Pages tell what changed them last.
#[test]
fn positions_of_pages() {
    let cluster = Cluster::builder(17).checksums(true).start().unwrap();
    cluster.sql("CREATE TABLE one AS SELECT 1 AS id").unwrap();
    let before: Lsn = cluster.current_lsn().unwrap().parse().unwrap();
    cluster.sql("INSERT INTO one VALUES (2)").unwrap();
    let after: Lsn = cluster.current_lsn().unwrap().parse().unwrap();
    cluster.sql("CHECKPOINT").unwrap();
    let path = cluster.sql_value("SELECT pg_relation_filepath('one')").unwrap();
    let page = fs::read(cluster.data_dir().join(path)).unwrap();
    let lsn = barman_wal::page_checksum::page_lsn(&page);
    assert!(before < lsn && lsn <= after, "{before} {lsn} {after}");
}
