//! Base backups from a server that errs or lies.

use super::*;

/// A tar member.
fn member(name: &str, kind: u8, content: &[u8], link: &str) -> Vec<u8> {
    let mut out = header(name, kind, content.len() as u64, link);
    out.extend(content);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

/// The header of a tar member.
fn header(name: &str, kind: u8, size: u64, link: &str) -> Vec<u8> {
    let mut header = [0_u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..107].copy_from_slice(b"0000600");
    header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    header[136..147].copy_from_slice(b"00000000000");
    header[156] = kind;
    header[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header.to_vec()
}

/// The answer to IDENTIFY_SYSTEM, which comes before every base backup.
fn identity() -> Vec<u8> {
    [
        message(b'T', &[0, 0]),
        row(&[Some("7"), Some("1"), Some("0/2000000"), None]),
        message(b'C', b"IDENTIFY_SYSTEM\0"),
        message(b'Z', b"I"),
    ]
    .concat()
}

/// A message of the COPY of a server from 15 on.
fn typed(tag: u8, body: &[u8]) -> Vec<u8> {
    message(b'd', &[&[tag], body].concat())
}

/// The answer of a server 15 whose data directory has these members.
fn backup_of(archive: &[u8], manifest: Option<&[u8]>) -> Vec<u8> {
    backup_with(&[], archive, manifest)
}

/// The same with tablespaces: object id, location, archive.
fn backup_with(tablespaces: &[(&str, &str, Vec<u8>)], archive: &[u8], manifest: Option<&[u8]>) -> Vec<u8> {
    let mut out = [
        message(b'T', &[0, 0]),
        row(&[Some("0/2000028"), Some("1")]),
        message(b'C', b"SELECT\0"),
        message(b'T', &[0, 0]),
    ]
    .concat();
    for (oid, location, _) in tablespaces {
        out.extend(row(&[Some(oid), Some(location), None]));
    }
    out.extend(
        [
            row(&[None, None, None]),
            message(b'C', b"SELECT\0"),
            message(b'H', &[0, 0, 0]),
        ]
        .concat(),
    );
    for (oid, location, archive) in tablespaces {
        out.extend(typed(b'n', format!("{oid}.tar\0{location}\0").as_bytes()));
        out.extend(typed(b'd', archive));
    }
    out.extend(typed(b'n', b"base.tar\0\0"));
    for part in archive.chunks(1000) {
        out.extend(typed(b'd', part));
    }
    out.extend(typed(b'p', &(archive.len() as u64).to_be_bytes()));
    if let Some(manifest) = manifest {
        out.extend(typed(b'm', b""));
        out.extend(typed(b'd', manifest));
    }
    out.extend(
        [
            message(b'c', b""),
            message(b'T', &[0, 0]),
            row(&[Some("0/2000100"), Some("1")]),
            message(b'C', b"SELECT\0"),
            message(b'C', b"BASE_BACKUP\0"),
            message(b'Z', b"I"),
        ]
        .concat(),
    );
    out
}

/// Options that ask for no manifest.
fn bare() -> BaseBackupOptions {
    BaseBackupOptions {
        manifest: ManifestMode::Without,
        ..BaseBackupOptions::default()
    }
}

fn take_with(
    options: &BaseBackupOptions,
    answer: Vec<u8>,
    data: &Path,
    tablespaces: BTreeMap<u32, PathBuf>,
) -> Result<ExtractReport, ExtractError> {
    let client = connect(vec![greeting("15.1"), identity(), answer], true).unwrap();
    take_from(client, options, data, tablespaces)
}

fn take_from(
    mut client: ReplicationClient,
    options: &BaseBackupOptions,
    data: &Path,
    tablespaces: BTreeMap<u32, PathBuf>,
) -> Result<ExtractReport, ExtractError> {
    let backup = client.base_backup(options)?;
    let targets = ExtractTargets {
        data: data.to_path_buf(),
        tablespaces,
        ..ExtractTargets::default()
    };
    extract(backup, &targets, &|_| {})
}

fn take(answer: Vec<u8>, data: &Path) -> Result<ExtractReport, ExtractError> {
    take_with(&BaseBackupOptions::default(), answer, data, BTreeMap::new())
}

/// Takes a backup without a manifest.
fn take_bare(answer: Vec<u8>, data: &Path) -> Result<ExtractReport, ExtractError> {
    take_with(&bare(), answer, data, BTreeMap::new())
}

#[test]
fn a_backup_never_leaves_its_directory_and_is_never_taken_for_good_when_it_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let fresh = |name: &str| {
        let data = dir.path().join(name);
        std::fs::create_dir(&data).unwrap();
        data
    };
    let end = vec![0; 1024];
    let label = member("backup_label", b'0', b"START", "");
    let good = [label.clone(), end.clone()].concat();
    let report = take_bare(backup_of(&good, None), &fresh("good")).unwrap();
    assert_eq!((report.files, report.bytes, report.verified), (1, 5, false));

    let archives = [
        ("absolute", member("/tmp/evil", b'0', b"x", "")),
        ("up", member("a/../../evil", b'0', b"x", "")),
        ("link", member("base", b'2', b"", "/tmp")),
        ("no tablespace", member("pg_tblspc/x", b'2', b"", "/tmp")),
        (
            "link below a tablespace",
            member("pg_tblspc/7/x", b'2', b"", "/tmp"),
        ),
        ("hard link", member("x", b'1', b"", "/etc/passwd")),
        ("device", member("x", b'3', b"", "")),
        ("twice", [label.clone(), label.clone(), end.clone()].concat()),
        ("no end", label.clone()),
        ("something after the end", [good.clone(), label.clone()].concat()),
        (
            "cut in a file",
            member("x", b'0', &[1; 2000], "")[..1500].to_vec(),
        ),
        ("cut in a header", good[..100].to_vec()),
        (
            "a manifest among the files",
            member("backup_manifest", b'0', b"{}", ""),
        ),
    ];
    for (what, archive) in archives {
        let data = fresh(what);
        let error = take_bare(backup_of(&archive, None), &data).expect_err(what);
        assert!(!error.is_interrupted(), "{what}: {error}");
        assert!(
            !dir.path().join("evil").exists() && !Path::new("/tmp/evil").exists(),
            "{what}"
        );
    }
    // A tablespace that was created meanwhile gets no link: it would lead out.
    let new = [
        member("pg_tblspc", b'5', b"", ""),
        member("pg_tblspc/7", b'2', b"", "/tmp"),
        good.clone(),
    ]
    .concat();
    let data = fresh("new tablespace");
    let report = take_bare(backup_of(&new, None), &data).unwrap();
    assert_eq!((report.files, report.new_tablespaces), (1, vec![7]));
    assert_eq!(std::fs::read_dir(data.join("pg_tblspc")).unwrap().count(), 0);
    let error = take(backup_of(&good, Some(b"not a manifest")), &fresh("manifest")).unwrap_err();
    assert!(matches!(error, ExtractError::Manifest(_)), "{error}");
    // Cut anywhere, it is an error.
    let whole = backup_of(&good, None);
    for (number, end) in (0..whole.len()).step_by(97).enumerate() {
        let data = fresh(&format!("cut{number}"));
        let mut client = connect(vec![greeting("15.1"), identity(), whole[..end].to_vec()], false).unwrap();
        let outcome = client
            .base_backup(&bare())
            .map_err(ExtractError::from)
            .and_then(|backup| {
                extract(
                    backup,
                    &ExtractTargets {
                        data,
                        ..ExtractTargets::default()
                    },
                    &|_| {},
                )
            });
        assert!(outcome.is_err(), "cut at {end}");
    }
}

#[test]
fn a_manifest_comes_once_and_only_if_it_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let files: [Sent<'_>; 1] = [("backup_label", b"START")];
    let archive = [member("backup_label", b'0', b"START", ""), vec![0; 1024]].concat();
    let manifest = manifest_of(&files);
    let twice = [manifest.clone(), typed(b'm', b""), typed(b'd', &manifest)].concat();
    let mut two = backup_of(&archive, Some(&manifest));
    let end = message(b'c', b"");
    let at = two.windows(end.len()).position(|part| part == end).unwrap();
    two.splice(at..at, [typed(b'm', b""), typed(b'd', &manifest)].concat());
    let mut file_after = backup_of(&archive, Some(&manifest));
    file_after.splice(
        at..at,
        [typed(b'n', b"base.tar\0\0"), typed(b'd', &archive)].concat(),
    );
    let early = {
        let mut answer = backup_of(&archive, None);
        let base = typed(b'n', b"base.tar\0\0");
        let at = answer.windows(base.len()).position(|part| part == base).unwrap();
        answer.splice(at..at, [typed(b'm', b""), typed(b'd', &manifest)].concat());
        answer
    };
    let asked = BaseBackupOptions::default();
    for (number, (what, options, answer, good)) in [
        ("as asked", &asked, backup_of(&archive, Some(&manifest)), true),
        ("none, as asked", &bare(), backup_of(&archive, None), true),
        ("missing", &asked, backup_of(&archive, None), false),
        (
            "not asked for",
            &bare(),
            backup_of(&archive, Some(&manifest)),
            false,
        ),
        ("two", &asked, two, false),
        ("two in one", &asked, backup_of(&archive, Some(&twice)), false),
        ("before the files", &asked, early, false),
        ("an archive after it", &asked, file_after, false),
    ]
    .into_iter()
    .enumerate()
    {
        let data = dir.path().join(number.to_string());
        std::fs::create_dir(&data).unwrap();
        let outcome = take_with(options, answer, &data, BTreeMap::new());
        assert_eq!(outcome.is_ok(), good, "{what}: {outcome:?}");
        assert_eq!(
            data.join("backup_manifest").exists(),
            good && options.manifest != ManifestMode::Without,
            "{what}"
        );
    }
    // A backup that ends before it begins.
    for (end, timeline) in [("0/2000027", "1"), ("0/0", "1"), ("0/2000100", "0")] {
        let told = row(&[Some("0/2000100"), Some("1")]);
        let mut answer = backup_of(&archive, None);
        let at = answer.windows(told.len()).position(|part| part == told).unwrap();
        answer.splice(at..at + told.len(), row(&[Some(end), Some(timeline)]));
        let data = dir.path().join(end.replace('/', "-"));
        let _ = std::fs::create_dir(&data);
        let error = take_bare(answer, &data).unwrap_err();
        assert!(
            matches!(error, ExtractError::Connection(Error::Protocol { .. })),
            "{end}: {error}"
        );
        let _ = std::fs::remove_dir_all(&data);
    }
}

#[test]
fn a_server_that_need_not_wait_for_its_archiver_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let archive = [member("backup_label", b'0', b"START", ""), vec![0; 1024]].concat();
    let whole = backup_of(&archive, None);
    let end = message(b'c', b"");
    let at = whole.windows(end.len()).position(|part| part == end).unwrap();
    let begin = Instant::now();
    // After the archive, and after its COPY.
    for cut in [at, at + end.len()] {
        let data = dir.path().join(cut.to_string());
        std::fs::create_dir(&data).unwrap();
        let options = BaseBackupOptions {
            wait: false,
            ..bare()
        };
        let answers = vec![greeting("15.1"), identity(), whole[..cut].to_vec()];
        // Silence is what this is about, so that something comes must not take as long.
        let limit = self::options().with_timeouts(PATIENCE, Duration::from_secs(5));
        let client = connect_with(answers, true, &limit).unwrap();
        let error = take_from(client, &options, &data, BTreeMap::new()).unwrap_err();
        assert!(
            matches!(error, ExtractError::Connection(Error::Timeout { .. })),
            "{error}"
        );
    }
    assert!(begin.elapsed() < PATIENCE);
}

#[test]
fn a_tablespace_is_where_its_link_leads_or_in_place_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let fresh = |name: &str| {
        let data = dir.path().join(name);
        std::fs::create_dir_all(&data).unwrap();
        data
    };
    let content = [
        member("PG_15_202209061", b'5', b"", ""),
        member("PG_15_202209061/1", b'0', b"one", ""),
        vec![0; 1024],
    ]
    .concat();
    let main = |members: &[Vec<u8>]| {
        [
            member("backup_label", b'0', b"START", ""),
            member("pg_tblspc", b'5', b"", ""),
            members.concat(),
            vec![0; 1024],
        ]
        .concat()
    };
    let link = || member("pg_tblspc/7", b'2', b"", "/mnt/x");
    let run = |name: &str, location: &str, members: &[Vec<u8>]| {
        let (data, there) = (fresh(name), fresh(&format!("{name}.7")));
        let answer = backup_with(&[("7", location, content.clone())], &main(members), None);
        let outcome = take_with(&bare(), answer, &data, BTreeMap::from([(7, there.clone())]));
        (outcome, data, there)
    };
    let file = "PG_15_202209061/1";

    let (outcome, data, there) = run("own", "/mnt/x", &[link()]);
    assert_eq!(outcome.unwrap().files, 2);
    assert_eq!(std::fs::read_link(data.join("pg_tblspc/7")).unwrap(), there);
    assert!(there.join(file).exists());
    // Without a location of its own it stays in the data directory, whatever directory is there for it.
    let place = member("pg_tblspc/7", b'5', b"", "");
    let (outcome, data, there) = run("in place", "pg_tblspc/7", std::slice::from_ref(&place));
    assert_eq!(outcome.unwrap().files, 2);
    assert!(data.join("pg_tblspc/7").symlink_metadata().unwrap().is_dir());
    assert!(data.join("pg_tblspc/7").join(file).exists() && !there.join("PG_15_202209061").exists());
    // What somebody has put there is no tablespace.
    let (outcome, data, _) = run(
        "stray",
        "/mnt/x",
        &[
            link(),
            member("pg_tblspc/.keep", b'0', b"x", ""),
            member("pg_tblspc/07", b'5', b"", ""),
            member("pg_tblspc/07/y", b'0', b"y", ""),
        ],
    );
    assert_eq!(outcome.unwrap().files, 4);
    assert!(data.join("pg_tblspc/.keep").exists() && data.join("pg_tblspc/07/y").exists());

    for (number, members) in [
        vec![place],
        vec![member("pg_tblspc/7", b'0', b"x", "")],
        vec![link(), link()],
        vec![link(), member("pg_tblspc/7/x", b'0', b"x", "")],
        vec![link(), member("pg_tblspc/07", b'2', b"", "/mnt/x")],
        vec![link(), member("pg_tblspc/+7", b'2', b"", "/mnt/x")],
        vec![member("pg_tblspc/7/x", b'0', b"x", ""), link()],
    ]
    .into_iter()
    .enumerate()
    {
        let (outcome, _, there) = run(&format!("bad{number}"), "/mnt/x", &members);
        assert!(outcome.is_err(), "{number}");
        assert_eq!(std::fs::read_dir(&there).unwrap().count(), 1, "{number}");
    }
    // An archive that was not announced, or not for this place.
    let announced = backup_with(&[("7", "/mnt/x", content.clone())], &main(&[link()]), None);
    for name in [&b"7.tar\0/mnt/y\0"[..], b"8.tar\0/mnt/x\0", b"../7.tar\0/mnt/x\0"] {
        let data = fresh(&format!("name{}", name.len()));
        let right = typed(b'n', b"7.tar\0/mnt/x\0");
        let at = announced
            .windows(right.len())
            .position(|part| part == right)
            .unwrap();
        let mut answer = announced.clone();
        answer.splice(at..at + right.len(), typed(b'n', name));
        let outcome = take_with(&bare(), answer, &data, BTreeMap::from([(7, fresh("other.7"))]));
        assert!(
            matches!(outcome, Err(ExtractError::Connection(Error::Protocol { .. }))),
            "{outcome:?}"
        );
    }
}

/// All files below `root` with their contents, without the manifest.
fn files_of(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                pending.push(path);
            } else if name != "backup_manifest" {
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(400))]

    #[test]
    fn a_backup_damaged_on_its_way_is_refused_or_whole(
        damage in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), 0..8_u8), 1..4),
    ) {
        let files: [Sent<'_>; 3] = [("backup_label", b"START"), ("base/1", b"some content"), ("base/2", b"")];
        let archive = [
            member("backup_label", b'0', b"START", ""),
            member("base", b'5', b"", ""),
            member("base/1", b'0', b"some content", ""),
            member("base/2", b'0', b"", ""),
            vec![0; 1024],
        ]
        .concat();
        let mut answer = backup_of(&archive, Some(&manifest_of(&files)));
        for (at, bit) in damage {
            let at = at.index(answer.len());
            answer[at] ^= 1 << bit;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut client = connect(vec![greeting("15.1"), identity(), answer], false).unwrap();
        let targets = ExtractTargets { data: dir.path().to_path_buf(), ..ExtractTargets::default() };
        let outcome = client
            .base_backup(&BaseBackupOptions::default())
            .map_err(ExtractError::from)
            .and_then(|backup| extract(backup, &targets, &|_| {}));
        if let Ok(report) = outcome {
            proptest::prop_assert!(report.verified);
            let sent: BTreeMap<String, Vec<u8>> =
                files.iter().map(|(name, content)| ((*name).to_owned(), content.to_vec())).collect();
            proptest::prop_assert_eq!(files_of(dir.path()), sent);
        }
    }
}

/// A path and the content that the server says it sent.
type Sent<'a> = (&'a str, &'a [u8]);

/// A manifest of these files, as a server writes it.
fn manifest_of(files: &[Sent<'_>]) -> Vec<u8> {
    let mut writer = ManifestWriter::new(Vec::new(), None).unwrap();
    for (path, content) in files {
        let mut hasher = Hasher::new(Algorithm::Crc32c);
        hasher.update(content);
        let file = ManifestFile {
            path: path.into(),
            size: content.len() as u64,
            last_modified: Some("2026-11-21 09:20:25 GMT".to_owned()),
            checksum: hasher.finish(),
        };
        writer.file(&file).unwrap();
    }
    writer.finish(&[range("0/2000028", "0/2000100")]).unwrap()
}

fn range(start: &str, end: &str) -> WalRange {
    WalRange {
        timeline: TimelineId::FIRST,
        start: start.parse().unwrap(),
        end: end.parse().unwrap(),
    }
}

#[test]
fn what_arrives_is_compared_with_the_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let archive = [
        member("backup_label", b'0', b"START", ""),
        member("global", b'5', b"", ""),
        member("global/1", b'0', b"one", ""),
        vec![0; 1024],
    ]
    .concat();
    let (label, one) = (("backup_label", &b"START"[..]), ("global/1", &b"one"[..]));
    let cases: [(&str, Vec<Sent<'_>>, Option<&str>); 5] = [
        ("same", vec![label, one], None),
        (
            "content",
            vec![label, ("global/1", b"two")],
            Some("\"global/1\" does not have the checksum that was sent"),
        ),
        (
            "size",
            vec![label, ("global/1", b"ones")],
            Some("\"global/1\" has 3 bytes, 4 were sent"),
        ),
        (
            "missing",
            vec![label, one, ("global/2", b"two")],
            Some("\"global/2\" is missing"),
        ),
        ("extra", vec![label], Some("1 files were sent and 2 received")),
    ];
    for (what, files, complaint) in cases {
        let data = dir.path().join(what);
        std::fs::create_dir(&data).unwrap();
        let outcome = take(backup_of(&archive, Some(&manifest_of(&files))), &data);
        match (outcome, complaint) {
            (Ok(report), None) => assert!(report.verified),
            (Err(ExtractError::Mismatch(found)), Some(complaint)) => {
                assert!(found.starts_with(complaint), "{found}");
            }
            (outcome, _) => panic!("{what}: {outcome:?}"),
        }
    }
    // A manifest of another backup, or of another cluster.
    for (system, ranges) in [
        (Some(8), vec![range("0/2000028", "0/2000100")]),
        (None, vec![range("0/2000028", "0/2000200")]),
        (None, vec![range("0/2000000", "0/2000100")]),
        (None, vec![]),
    ] {
        let data = dir.path().join(format!("{system:?}{ranges:?}").replace('/', "-"));
        std::fs::create_dir(&data).unwrap();
        let writer = ManifestWriter::new(Vec::new(), system).unwrap();
        let other = writer.finish(&ranges).unwrap();
        let outcome = take(backup_of(&archive, Some(&other)), &data);
        assert!(
            matches!(&outcome, Err(ExtractError::Mismatch(what)) if what.contains("manifest")),
            "{outcome:?}"
        );
    }
    // A manifest that was damaged on its way.
    let mut damaged = manifest_of(&[label, one]);
    let at = damaged.len() / 2;
    damaged[at] ^= 1;
    let data = dir.path().join("damaged");
    std::fs::create_dir(&data).unwrap();
    assert!(matches!(
        take(backup_of(&archive, Some(&damaged)), &data),
        Err(ExtractError::Manifest(_))
    ));
}

#[test]
fn a_backup_from_a_server_faster_than_the_disk_can_be_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let flag = Arc::new(AtomicBool::new(false));
    // Nothing is written for this member, whose content never ends.
    let archive = header("tablespace_map", b'0', 0o777_7777_7777, "");
    let whole = backup_of(&archive, None);
    let end = message(b'c', b"");
    let at = whole.windows(end.len()).position(|part| part == end).unwrap();
    let data = message(b'd', &[&b"d"[..], &[0; 32768]].concat());
    let info = serve_without_end(
        vec![greeting("15.1"), identity(), whole[..at].to_vec()],
        data.repeat(20),
    );
    let mut client =
        ReplicationClient::connect(&info.streaming(), &options().with_interrupt(Arc::clone(&flag))).unwrap();
    let backup = client.base_backup(&bare()).unwrap();
    let targets = ExtractTargets {
        data: dir.path().to_path_buf(),
        ..ExtractTargets::default()
    };
    let raised = std::sync::Mutex::new(None);
    let error = extract(backup, &targets, &|received| {
        // The slow disk: something has always arrived meanwhile.
        std::thread::sleep(Duration::from_millis(5));
        if received > 4_000_000 && !flag.swap(true, Ordering::Relaxed) {
            *raised.lock().unwrap() = Some(Instant::now());
        }
    })
    .unwrap_err();
    assert!(error.is_interrupted(), "{error}");
    let raised = raised.lock().unwrap().unwrap();
    // At this speed the member lasts for a day.
    assert!(raised.elapsed() < PATIENCE);
}
