use super::*;
use crate::conformance::normalise::Rule;
use std::collections::BTreeMap;

fn run(code: i32, stdout: &str, stderr: &str) -> Run {
    Run {
        args: vec!["list-servers".to_owned()],
        code,
        stdout: stdout.into(),
        stderr: stderr.into(),
    }
}

fn file(mode: u32, content: &str) -> Found {
    Found::File(mode, content.len() as u64, Content::Bytes(content.into()))
}

fn capture(run: Run, files: &[(&str, Found)]) -> Capture {
    let files: BTreeMap<String, Found> = files.iter().map(|(p, f)| ((*p).to_owned(), f.clone())).collect();
    Capture {
        runs: vec![run],
        files,
    }
}

fn normaliser(rules: &[Rule]) -> Normaliser {
    let noon = "2026-11-21T12:00:00Z".parse().unwrap();
    Normaliser::new(rules, noon, noon, &[])
}

fn differences(what: &Compare, ours: &Capture, oracle: &Capture) -> Vec<Difference> {
    let normaliser = normaliser(&[Rule::Duration]);
    let side = |capture| Side {
        capture,
        normaliser: &normaliser,
    };
    compare(what, &side(ours), &side(oracle))
}

fn exact() -> Compare {
    Compare {
        stdout: Words::Exact,
        stderr: Words::Exact,
        files: vec![("home/data/*", Look::Presence), ("home/log", Look::Nothing)],
    }
}

#[test]
fn an_empty_line_is_shown() {
    let one = lines(Place::Stderr(0), &[""], &["a", ""]);
    assert_eq!(one.to_string(), "@@ command 1, standard error\n-a\n-\n+\n");
}

fn lines(place: Place, ours: &[&str], oracle: &[&str]) -> Difference {
    let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
    Difference::Lines(place, owned(ours), owned(oracle))
}

#[test]
fn equal_captures_have_no_difference() {
    let a = capture(
        run(0, "took 1 second\n", ""),
        &[
            ("home/x", file(0o600, "1 second")),
            ("home/data/f", file(0o600, "a")),
            ("home/log", file(0o600, "a")),
        ],
    );
    let b = capture(
        run(0, "took 2 seconds\n", ""),
        &[
            ("home/x", file(0o600, "3 seconds")),
            ("home/data/f", file(0o600, "b")),
        ],
    );
    assert_eq!(differences(&exact(), &a, &b), []);
}

#[test]
fn each_kind_of_difference_is_found() {
    let cases = [
        (
            run(1, "", ""),
            run(0, "", ""),
            vec![Difference::ExitCode(0, 1, 0)],
        ),
        (
            run(0, "a\nc\n", ""),
            run(0, "a\nb\nc\n", ""),
            vec![lines(Place::Stdout(0), &[], &["b"])],
        ),
        (
            run(0, "a", ""),
            run(0, "a\n", ""),
            vec![lines(Place::Stdout(0), &["a (no line end)"], &["a"])],
        ),
        (
            run(0, "", "ERROR: x\nHINT: y\n"),
            run(0, "", "ERROR: x\n"),
            vec![lines(Place::Stderr(0), &["HINT: y"], &[])],
        ),
        (
            run(0, r#"{"a": {"b": 1}}"#, ""),
            run(0, r#"{"a": {"c": 1}}"#, ""),
            vec![
                Difference::Json(0, "a.b".to_owned(), Some("1".to_owned()), None),
                Difference::Json(0, "a.c".to_owned(), None, Some("1".to_owned())),
            ],
        ),
        (
            run(0, r#"{"a": ["x"]}"#, ""),
            run(0, r#"{"a": ["x", null]}"#, ""),
            vec![Difference::Json(
                0,
                "a[1]".to_owned(),
                None,
                Some("null".to_owned()),
            )],
        ),
        (
            run(0, r#"{"a":1}"#, ""),
            run(0, r#"{"a": 1}"#, ""),
            vec![Difference::JsonForm(
                0,
                r#"{"a":1}"#.to_owned(),
                r#"{"a": 1}"#.to_owned(),
            )],
        ),
    ];
    for (ours, oracle, expected) in cases {
        assert_eq!(
            differences(&exact(), &capture(ours, &[]), &capture(oracle, &[])),
            expected
        );
    }
}

#[test]
fn files_differ_in_presence_mode_and_content() {
    let nothing = run(0, "", "");
    let a = capture(
        nothing.clone(),
        &[
            ("home/a", file(0o600, "x\ny\n")),
            ("home/b", file(0o600, "")),
            ("home/d", Found::Directory(0o700)),
            ("home/data/f", file(0o640, "x")),
        ],
    );
    let b = capture(
        nothing,
        &[
            ("home/a", file(0o600, "x\nz\n")),
            ("home/c", file(0o600, "x")),
            ("home/d", Found::Link("e".to_owned())),
            ("home/data/f", file(0o600, "x")),
        ],
    );
    let found: Vec<String> = differences(&exact(), &a, &b)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        found,
        [
            "@@ home/a\n-z\n+y\n",
            "@@ home/b\n-(nothing)\n+file, mode 600, 0 bytes\n",
            "@@ home/c\n-file, mode 600, 1 bytes\n+(nothing)\n",
            "@@ home/d\n-link to e\n+directory, mode 700\n",
            "@@ home/data/f\n-mode 600\n+mode 640\n",
        ]
    );
}

#[test]
fn a_file_too_many_is_seen_though_its_name_is_made_equal() {
    let normaliser = normaliser(&[Rule::Instant]);
    let of = |names: &[&str]| {
        let files: Vec<_> = names.iter().map(|name| (*name, file(0o600, "x"))).collect();
        capture(run(0, "", ""), &files)
    };
    let ours = of(&["home/x.20261121T120001Z.error", "home/x.20261121T120002Z.error"]);
    let oracle = of(&["home/x.20261121T120003Z.error"]);
    let side = |capture| Side {
        capture,
        normaliser: &normaliser,
    };
    assert_eq!(
        compare(&exact(), &side(&ours), &side(&oracle))
            .iter()
            .map(ToString::to_string)
            .collect::<String>(),
        "@@ home/x.<instant>.error (2)\n-(nothing)\n+file, mode 600, 1 bytes\n"
    );
}

#[test]
fn another_value_does_not_hide_another_form_of_the_json() {
    let of = |stdout: &str| capture(run(0, stdout, ""), &[]);
    let form = |ours: &str, oracle: &str| {
        let found = differences(&exact(), &of(ours), &of(oracle));
        let forms = found.iter().filter(|one| matches!(one, Difference::JsonForm(..)));
        (found.len(), forms.count())
    };
    let oracle = r#"{"a": ["x, y:z", 1], "b": {"c": {}, "d": 2}}"#;
    for (ours, expected) in [
        (r#"{"a": ["x, y:z", 1], "b": {"c": {}, "d": 3}}"#, (1, 0)),
        (r#"{"a": ["x, y:z", 1], "b": {"c": {},"d": 3}}"#, (2, 1)),
        (r#"{"a": ["x, y:z", 1],  "b": {"c": {}, "d": 3}}"#, (2, 1)),
        ("{\"a\": [\"x, y:z\", 1], \"b\": {\"c\": {}, \"d\": 3}}\n", (2, 1)),
        (r#"{"b": {"c": {}, "d": 3}, "a": ["x, y:z", 1]}"#, (2, 1)),
        (r#"{"a": ["x, y:z", 1], "b": {"c": {}, "d": 2, "d": 3}}"#, (2, 1)),
        (r#"{"a": ["x, \"é:z", 1], "b": {"c": {}, "d": 2}}"#, (2, 1)),
        (r#"{"a": ["x, \"e:z", 1], "b": {"c": {}, "d": 2}}"#, (1, 0)),
    ] {
        assert_eq!(form(ours, oracle), expected, "{ours}");
    }
}

#[test]
fn what_is_no_text_is_compared_byte_by_byte() {
    let of = |stderr: &[u8]| {
        let mut run = run(0, "", "");
        run.stderr = stderr.to_vec();
        capture(run, &[])
    };
    let (a, b) = (
        [b"0123456789abcdef\xff1".as_slice()],
        [b"0123456789abcdef\xfe1".as_slice()],
    );
    assert_eq!(differences(&exact(), &of(a[0]), &of(b[0])).len(), 1);
    assert_eq!(differences(&exact(), &of(a[0]), &of(a[0])), []);
}

#[test]
fn a_file_is_looked_at_as_far_as_the_scenario_says() {
    let packed = |level: u32, content: &[u8]| {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    };
    let other: Vec<u8> = [b"a".repeat(299), b"b".to_vec()].concat();
    let (fast, best) = (packed(1, &b"a".repeat(300)), packed(9, &b"a".repeat(300)));
    assert_ne!(fast, best);
    let of = |content: &[u8]| {
        let found = Found::File(0o600, content.len() as u64, Content::Bytes(content.to_vec()));
        capture(run(0, "", ""), &[("home/x", found)])
    };
    for (look, ours, oracle, count) in [
        (Look::Unpacked, &fast[..], &best[..], 0),
        (Look::Unpacked, &packed(1, &other)[..], &best[..], 1),
        (Look::Unpacked, &fast[..fast.len() - 1], &best[..], 1),
        (Look::Unpacked, b"plain", b"plain", 1),
        (Look::Content, &fast[..], &best[..], 1),
        (Look::Size, b"abc", b"xyz", 0),
        (Look::Size, b"abc", b"", 1),
        (Look::Presence, b"abc", b"", 0),
    ] {
        let what = Compare {
            files: vec![("home/*", look)],
            ..exact()
        };
        assert_eq!(
            differences(&what, &of(ours), &of(oracle)).len(),
            count,
            "{look:?}"
        );
    }
}

#[test]
fn prose_is_compared_by_its_kinds() {
    let prose = Compare {
        stderr: Words::Prose,
        ..exact()
    };
    let same = [
        ("ERROR: a\nmore\n", "ERROR: b\n"),
        (
            "usage: x\nbarman: error: y\n",
            "Usage: z\nbarman list: error: q\n",
        ),
        ("a\n", "b\nc\n"),
        ("", ""),
    ];
    for (ours, oracle) in same {
        assert_eq!(
            differences(
                &prose,
                &capture(run(0, "", ours), &[]),
                &capture(run(0, "", oracle), &[])
            ),
            []
        );
    }
    for (ours, oracle) in [
        ("ERROR: a\n", "WARNING: a\n"),
        ("a\n", ""),
        ("ERROR: a\n", "ERROR: a\nERROR: b\n"),
        ("ERROR: a\n", "barman: error: b\n"),
    ] {
        assert_eq!(
            differences(
                &prose,
                &capture(run(0, "", ours), &[]),
                &capture(run(0, "", oracle), &[])
            )
            .len(),
            1,
            "{ours} {oracle}"
        );
    }
}
