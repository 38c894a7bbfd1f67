//! What a run that was killed, or Barman, left half done.

use super::*;

/// What each step of a killed run leaves, and what the next run makes of it.
#[test]
fn what_a_killed_run_left_is_completed() {
    for (left, archived, already) in [
        // Killed while it wrote the temporary file.
        (&["temporary"][..], 1, 0),
        // Published (by hard link), not listed.
        (&["published"], 0, 1),
        // Listed, the source not removed.
        (&["published", "listed"], 0, 1),
    ] {
        let bench = Bench::new("archiver = on");
        bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
        assert_eq!(bench.run().report().archived, 1);
        let source = bench.put(&format!("incoming/{}", name(2)), &segment(2, 2));
        let target = bench.at("wals/0000000100000000").join(name(2));
        let has = |what: &str| left.contains(&what);
        if has("temporary") {
            bench.put(
                &format!("wals/0000000100000000/.{}.99999999-1.tmp", name(2)),
                b"half",
            );
        }
        if has("published") {
            fs::hard_link(&source, &target).unwrap();
        }
        if has("listed") {
            let line = format!("{}\t1048576\t1795233600.5\tNone\tNone\n", name(2));
            fs::write(bench.at("wals/s-xlog.db"), bench.catalogue() + &line).unwrap();
        }
        let outcome = bench.run();
        let report = outcome.report();
        assert_eq!(
            (report.archived, report.already_archived),
            (archived, already),
            "{left:?}"
        );
        assert_eq!(bench.listed(), [name(1), name(2)], "{left:?}");
        assert_eq!(bench.stored(2), segment(2, 2), "{left:?}");
        assert!(bench.names("incoming").is_empty(), "{left:?}");
        assert_eq!(bench.names("wals/0000000100000000").len(), 2, "{left:?}");
    }
}

#[test]
fn what_barman_stored_and_did_not_list_gets_its_line() {
    let bench = Bench::new("archiver = on\ncompression = pigz");
    bench.put(&format!("incoming/{}", name(0xFE)), &segment(0xFE, 1));
    bench.run();
    bench.put(
        &format!("wals/0000000100000000/{}", name(0xFF)),
        &gzip(&segment(0xFF, 1)),
    );
    bench.put(
        "wals/0000000100000001/000000010000000100000000",
        &segment(0x1000, 1),
    );
    bench.put("wals/0000000100000001/.hidden.tmp", b"");
    let outcome = bench.run();
    assert_eq!(outcome.report().repaired, 2);
    assert_eq!(
        bench.listed(),
        [name(0xFE), name(0xFF), "000000010000000100000000".to_owned()]
    );
    assert!(
        bench
            .catalogue()
            .lines()
            .nth(1)
            .unwrap()
            .ends_with("\tpigz\tNone")
    );
    assert_eq!(bench.run().report().repaired, 0);
}

#[test]
fn half_a_file_that_barman_left_is_not_listed() {
    let bench = Bench::new("archiver = on");
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
    bench.run();
    let half = format!("wals/0000000100000000/{}", name(2));
    bench.put(&half, &segment(2, 1)[..5000]);
    assert_eq!(bench.run().report().repaired, 0);
    assert_eq!(bench.listed(), [name(1)]);
    // Its source is still there: Barman removes it last.
    bench.put(&format!("incoming/{}", name(2)), &segment(2, 1));
    assert_eq!(bench.run().report().archived, 1);
    assert_eq!(bench.listed(), [name(1), name(2)]);
    assert_eq!(bench.stored(2), segment(2, 1));
}

#[test]
fn a_link_of_a_killed_run_to_a_file_that_was_cut_since_is_not_archived() {
    let bench = Bench::new("archiver = on");
    let archived = bench.put(&format!("wals/0000000100000000/{}", name(1)), &segment(1, 1));
    fs::create_dir_all(bench.at("incoming")).unwrap();
    let source = bench.at("incoming").join(name(1));
    fs::hard_link(&archived, &source).unwrap();
    let cut = |length: usize, age: i64| {
        bench.put_at(
            &format!("incoming/{}", name(1)),
            &segment(1, 1)[..length],
            bench.now.as_second() - age,
        )
    };
    cut(5000, 5);
    assert_eq!(bench.run().report().unsettled, 1);
    cut(5000, 5000);
    let outcome = bench.run();
    assert_eq!((outcome.report().failed, outcome.report().exit_code()), (1, 1));
    assert!(source.exists());
    cut(SIZE as usize, 5000);
    assert_eq!(bench.run().report().already_archived, 1);
    assert!(!source.exists());
    assert_eq!(bench.listed(), [name(1)]);
}
