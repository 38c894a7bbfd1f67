//! The WAL that a restore delivers.

use super::*;

#[test]
fn damaged_wal_is_found_and_the_result_cannot_be_started() {
    let gzip_magic = [0x1F, 0x8B, 0x08, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3];
    let wrong_name = wal(segment(9));
    let mut other_cluster = wal(segment(5));
    other_cluster[24] ^= 1;
    for (content, what) in [
        (&gzip_magic[..], ""),
        (&[1, 2, 3][..], "3 bytes"),
        (&wrong_name[..], "000000010000000000000009"),
        (&other_cluster[..], "cluster"),
        (&[wal(segment(5)), vec![0]].concat()[..], "more than"),
    ] {
        let node = Node::new();
        fs::write(node.wal_path(5), content).unwrap();
        let error = node.run(&node.options()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("000000010000000000000005' is damaged") && text.contains(what),
            "{text}"
        );
        assert!(text.contains("is incomplete"), "{text}");
        assert!(!node.to().join("global/pg_control").exists());
        assert!(
            error
                .hint()
                .is_some_and(|hint| hint.contains("another archive") && hint.contains("Empty"))
        );
    }
}

/// Each filter waits until another one runs: one after the other they would fail.
#[test]
fn wal_is_delivered_in_parallel() {
    let meet = "touch HOME/$$.running; tries=0; while [ $(ls HOME/*.running | wc -l) -lt 2 ]; do \
                tries=$((tries + 1)); [ $tries -lt 600 ] || exit 1; sleep 0.05; done; tail -c +3";
    let node = Node::with(&format!(
        "parallel_jobs = 2\ncompression = custom\ncustom_compression_magic = 0x7879\n\
         custom_compression_filter = cat\ncustom_decompression_filter = {meet}"
    ));
    for number in 3..=8 {
        let stored = [&b"xy"[..], &wal(segment(number))].concat();
        fs::write(node.wal_path(number), stored).unwrap();
    }
    node.run(&node.options()).unwrap();
    for number in 3..=8 {
        let delivered = node.to().join("pg_wal").join(segment(number).to_string());
        assert_eq!(fs::read(delivered).unwrap(), wal(segment(number)));
    }
}

#[test]
fn missing_wal_is_an_error_before_a_byte_is_copied() {
    for (missing, target, first) in [
        (vec![3], Target::None, "000000010000000000000003"),
        (vec![4], Target::Immediate, "000000010000000000000004"),
        (vec![4, 5, 6, 7, 8], Target::None, "000000010000000000000004"),
        (
            vec![6],
            Target::Lsn("0/700000".parse().unwrap()),
            "000000010000000000000006",
        ),
    ] {
        let node = Node::new();
        for number in missing {
            fs::remove_file(node.wal_path(number)).unwrap();
        }
        let error = node.refused(|options| options.target = target);
        assert!(
            error
                .to_string()
                .contains(&format!("WAL segment {first} is missing")),
            "{error}"
        );
        assert!(error.hint().is_some());
    }
}

#[test]
fn wal_that_is_not_needed_may_be_missing() {
    for (missing, target, warnings) in [
        (6, Target::Immediate, 0),
        (6, Target::Lsn("0/5000FF".parse().unwrap()), 0),
        // What lies behind the hole cannot be reached: the user is told.
        (6, Target::None, 1),
        // The archive ends before the target.
        (8, Target::Lsn("0/800001".parse().unwrap()), 1),
    ] {
        let node = Node::new();
        fs::remove_file(node.wal_path(missing)).unwrap();
        let mut options = node.options();
        options.target = target.clone();
        let listener = Listener::default();
        node.run_listening(&options, &listener, &Cancel::new()).unwrap();
        let lines = listener.lines.into_inner().unwrap();
        let told = lines.iter().filter(|line| line.starts_with("Warning")).count();
        assert_eq!(told, warnings, "{target:?} {lines:?}");
    }
}

#[test]
fn the_streaming_partial_comes_without_its_suffix() {
    let node = Node::new();
    let partial = node
        .layout()
        .streaming_wals_directory
        .join(format!("{}.partial", segment(9)));
    fs::write(partial, wal(segment(9))).unwrap();
    let mut options = node.options();
    options.partial_wal = true;
    node.run(&options).unwrap();
    assert!(node.to().join("pg_wal").join(segment(9).to_string()).exists());
    assert!(
        !node
            .to()
            .join(format!("pg_wal/archive_status/{}.done", segment(9)))
            .exists()
    );
}
