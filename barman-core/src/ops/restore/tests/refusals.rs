//! What is refused before a byte is copied.

use super::*;

#[test]
fn a_file_of_the_catalogue_that_is_lost_is_an_error() {
    let node = Node::new();
    gather::wal_catalogue(
        node.layout(),
        node.server.config(),
        &Context {
            progress: &Listener::default(),
            cancel: &Cancel::new(),
            clock: &SystemClock,
        },
    )
    .unwrap();
    fs::remove_file(node.wal_path(7)).unwrap();
    let error = node.refused(|_| {});
    assert!(matches!(error, RestoreError::LostWal { .. }), "{error}");
}

#[test]
fn places_that_hold_something_are_refused() {
    let node = Node::new();
    fs::create_dir(node.to()).unwrap();
    fs::write(node.to().join(".hidden"), "").unwrap();
    assert!(matches!(
        node.refused(|_| {}),
        RestoreError::DestinationNotEmpty { .. }
    ));

    let node = Node::new();
    let full = node.home.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("x"), "").unwrap();
    let error = node.refused(|options| options.tablespaces = vec![format!("t1:{}", full.display())]);
    assert!(
        matches!(error, RestoreError::TablespaceNotEmpty { .. }),
        "{error}"
    );

    let node = Node::new();
    let inside = node.layout().basebackups_directory.join("new");
    let error = node.refused(|options| options.destination = inside);
    assert!(matches!(error, RestoreError::InsideCatalogue { .. }), "{error}");
    let to = node.to();
    let error = node.refused(|options| options.tablespaces = vec![format!("t1:{}/base", to.display())]);
    assert!(
        matches!(error, RestoreError::TablespacesOverlap { .. }),
        "{error}"
    );
}

#[test]
fn options_that_cannot_work_are_refused() {
    let node = Node::new();
    type Change = fn(&mut RestoreOptions);
    let table: &[(Change, &str)] = &[
        (
            |options| options.backup = "nonesuch".into(),
            "Unknown backup 'nonesuch' for server 'main'",
        ),
        (
            |options| options.target = Target::Time("nonsense".into()),
            "nonsense",
        ),
        (
            |options| options.target = Target::Time("2026-11-21 04:47:27Z".into()),
            "before the backup end time",
        ),
        (
            |options| options.target = Target::Lsn("0/400000".parse().unwrap()),
            "before the backup end LSN",
        ),
        (
            |options| options.target_tli = Some("9".parse().unwrap()),
            "Timeline 9 is unknown",
        ),
        (
            |options| options.target_action = Some(TargetAction::Pause),
            "target action",
        ),
        (
            |options| options.tablespaces.push("x".into()),
            "relocation rule 'x'",
        ),
        (
            |options| options.tablespaces.push("x:/y".into()),
            "tablespace name 'x'",
        ),
        (|options| options.destination = "/a:b".into(), "':'"),
        (
            |options| options.staging_path = Some("rel".into()),
            "--staging-path",
        ),
        (
            |options| options.staging_location = Some("remote".into()),
            "--remote-ssh-command",
        ),
        (
            |options| options.network_compression = Some(true),
            "--remote-ssh-command",
        ),
        (
            |options| options.remote_ssh_command = Some("ssh x".into()),
            "--remote-ssh-command",
        ),
        (|options| options.delta_restore = Some(true), "--delta-restore"),
        (
            |options| options.snapshot_recovery_instance = Some("i".into()),
            "not a snapshot",
        ),
        (
            |options| options.recovery_conf_filename = Some("../x".into()),
            "--recovery-conf-filename",
        ),
        (
            |options| {
                options.backup = "auto".into();
                options.target = Target::Immediate;
            },
            "only possible recovery targets",
        ),
        (
            |options| {
                options.backup = "auto".into();
                options.target = Target::Time("2020-01-01 00:00Z".into());
            },
            "Cannot find any candidate backup for recovery.",
        ),
    ];
    for (change, text) in table {
        let error = node.refused(change);
        assert!(error.to_string().contains(text), "{error} / {text}");
    }
}

#[test]
fn backups_that_cannot_be_restored_are_refused() {
    type Change = fn(&mut BackupInfo);
    let table: &[(Change, &str)] = &[
        (
            |info| info.status = BackupStatus::Failed,
            "backup status is not DONE",
        ),
        (|info| info.compression = Some("gzip".into()), "compressed"),
        (|info| info.encryption = Some("gpg".into()), "encrypted"),
        (
            |info| info.parent_backup_id = Some("20261121T000000".parse().unwrap()),
            "incremental",
        ),
        (|info| info.mode = Some("snapshot-concurrent".into()), "snapshot"),
        (|info| info.begin_wal = None, "begin_wal"),
    ];
    for (change, text) in table {
        let node = Node::new();
        node.info(change);
        let error = node.refused(|options| options.backup = ID.into());
        assert!(error.to_string().contains(text), "{error} / {text}");
    }
}

#[test]
fn a_failed_backup_says_why_it_failed() {
    let node = Node::new();
    node.info(|info| info.set_failed_because("failure copying files (143)"));
    let error = node.refused(|options| options.backup = ID.into());
    assert_eq!(
        error.hint().unwrap(),
        "It is FAILED (failure copying files (143)). 'barman list-backups main' shows the backups that can be \
         restored."
    );
}

#[test]
fn transaction_ids_are_whole_numbers() {
    for (text, good) in [
        ("750", true),
        (" 0x2eE ", true),
        ("18446744073709551615", true),
        ("18446744073709551616", false),
        ("abc", false),
        ("12a", false),
        ("-1", false),
        ("+1", false),
        ("0x", false),
        (" ", false),
    ] {
        let target = Target::from_texts(TargetTexts {
            xid: Some(text),
            ..TargetTexts::default()
        });
        match target {
            Ok(target) => assert!(good && target == Target::Xid(text.into()), "{text:?}: {target:?}"),
            Err(error) => assert!(
                !good && matches!(error, RestoreError::BadXid { .. }),
                "{text:?}: {error}"
            ),
        }
    }
    let several = Target::from_texts(TargetTexts {
        xid: Some("abc"),
        lsn: Some("0/1"),
        ..TargetTexts::default()
    });
    assert!(matches!(several, Err(RestoreError::SeveralTargets)));
}

#[test]
fn a_backup_that_is_being_deleted_is_left_alone() {
    let node = Node::new();
    let lock = Lock::try_acquire(&node.layout().id_lock(ID.parse().unwrap())).unwrap();
    assert!(matches!(node.refused(|_| {}), RestoreError::Busy { .. }));
    drop(lock);
    fs::write(
        node.layout().annotation(ID.parse().unwrap(), "delete_this"),
        "delete",
    )
    .unwrap();
    assert!(matches!(
        node.refused(|options| options.backup = ID.into()),
        RestoreError::BeingDeleted { .. }
    ));
}
