//! Files of incremental backups that `pg_basebackup` took, beside `pg_combinebackup`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use barman_wal::data_file::{DataFileName, Geometry};
use barman_wal::incremental::{
    IncrementalError, IncrementalHeader, IncrementalReader, IncrementalWriter, incremental_name,
    original_name,
};
use testkit::{Cluster, TestDir, user};

use crate::{run, text, tree};

const GEOMETRY: Geometry = Geometry::DEFAULT;

fn ok(cluster: &Cluster, program: &str, args: &[&str]) {
    let output = run(cluster, program, args).unwrap_or_else(|| panic!("{program} is missing"));
    assert!(output.status.success(), "{program}: {}", text(&output));
}

/// All files below, relative.
fn below(root: &Path) -> Vec<PathBuf> {
    let (mut todo, mut files) = (vec![root.to_owned()], Vec::new());
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
            } else {
                files.push(entry.path().strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    files
}

/// What `pg_combinebackup` makes of a whole file and an incremental one.
fn rebuild(whole: &[u8], incremental: &[u8]) -> (Vec<u8>, IncrementalHeader) {
    let size = GEOMETRY.block_size() as usize;
    let mut reader = IncrementalReader::new(incremental, GEOMETRY).unwrap();
    let header = reader.header().clone();
    let mut file = whole.to_vec();
    file.resize(header.full_length() as usize * size, 0);
    let mut block = vec![0; size];
    while let Some(number) = reader.next_block(&mut block).unwrap() {
        let start = number as usize * size;
        file[start..start + size].copy_from_slice(&block);
    }
    (file, header)
}

fn major(major: u16) {
    let cluster = Cluster::builder(major)
        .tree(tree(major))
        .conf("summarize_wal", "on")
        .conf("autovacuum", "off")
        .start()
        .unwrap();
    for statement in [
        "CREATE TABLE rows AS SELECT g AS id, md5(g::text) AS filler FROM generate_series(1, 50000) g",
        "CREATE TABLE shrinks AS SELECT g AS id FROM generate_series(1, 50000) g",
        "CREATE TABLE grows AS SELECT g AS id FROM generate_series(1, 500) g",
        // Else the second one marks every page.
        "VACUUM shrinks",
        "CHECKPOINT",
    ] {
        cluster.sql(statement).unwrap();
    }
    let room = TestDir::new().unwrap();
    user::give(room.path()).unwrap();
    let place = |name: &str| room.join(name).to_str().unwrap().to_owned();
    let (full, changed, combined) = (place("full"), place("changed"), place("combined"));
    let port = cluster.port().to_string();
    let socket = cluster.socket_dir();
    let connect = [
        "-h",
        socket.to_str().unwrap(),
        "-p",
        &port,
        "-U",
        "postgres",
        "-c",
        "fast",
    ];
    ok(
        &cluster,
        "pg_basebackup",
        &[&connect[..], &["-D", &full]].concat(),
    );
    for statement in [
        "UPDATE rows SET filler = '' WHERE id % 5000 = 0",
        "DELETE FROM shrinks WHERE id > 10000",
        "VACUUM shrinks",
        "INSERT INTO grows SELECT generate_series(1, 5000)",
        "CREATE TABLE created AS SELECT 1 AS id",
        "CHECKPOINT",
    ] {
        cluster.sql(statement).unwrap();
    }
    let manifest = format!("--incremental={full}/backup_manifest");
    ok(
        &cluster,
        "pg_basebackup",
        &[&connect[..], &["-D", &changed, &manifest]].concat(),
    );
    ok(&cluster, "pg_combinebackup", &[&full, &changed, "-o", &combined]);

    let (mut files, mut blocks, mut shrunk) = (0, 0, 0);
    for path in below(Path::new(&changed)) {
        let Some(original) = original_name(path.file_name().unwrap().to_str().unwrap()) else {
            continue;
        };
        let name: DataFileName = original.parse().unwrap();
        assert_eq!(
            incremental_name(&name.to_string()),
            path.file_name().unwrap().to_str().unwrap()
        );
        let other = path.with_file_name(original);
        let bytes = fs::read(Path::new(&changed).join(&path)).unwrap();
        let whole = fs::read(Path::new(&full).join(&other)).unwrap();
        let (rebuilt, header) = rebuild(&whole, &bytes);
        assert!(
            rebuilt == fs::read(Path::new(&combined).join(&other)).unwrap(),
            "{major}: {}: {header:?}",
            path.display()
        );
        assert_eq!(header.file_length(GEOMETRY), bytes.len() as u64);
        files += 1;
        blocks += header.blocks().len();
        shrunk += usize::from(rebuilt.len() < whole.len());

        // The same file again.
        let mut reader =
            IncrementalReader::new(File::open(Path::new(&changed).join(&path)).unwrap(), GEOMETRY).unwrap();
        let mut writer = IncrementalWriter::new(Vec::new(), header, GEOMETRY).unwrap();
        let mut block = vec![0; 8192];
        while reader.next_block(&mut block).unwrap().is_some() {
            writer.write_block(&block).unwrap();
        }
        assert!(writer.finish().unwrap() == bytes, "{major}: {}", path.display());

        // Cut anywhere it is never taken for whole.
        for length in [0, 8, bytes.len() / 2, bytes.len() - 1] {
            let mut reader = match IncrementalReader::new(&bytes[..length], GEOMETRY) {
                Ok(reader) => reader,
                Err(error) => {
                    assert!(matches!(error, IncrementalError::Truncated { .. }), "{error}");
                    continue;
                }
            };
            let cut = loop {
                match reader.next_block(&mut block) {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("{major}: {} of {length} bytes is whole", path.display()),
                    Err(error) => break error,
                }
            };
            assert!(matches!(cut, IncrementalError::Truncated { .. }), "{cut}");
        }
    }
    assert!(
        files > 100 && blocks > 20 && shrunk > 0,
        "{major}: {files} {blocks} {shrunk}"
    );
}

#[test]
fn incremental_files_of_17() {
    major(17);
}

#[test]
fn incremental_files_of_18() {
    major(18);
}
