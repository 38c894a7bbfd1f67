//! Configurations that people write, with and without mistakes: what is accepted, and what is said about the rest.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

mod config_support;

use barman_core::config::registry::{Kind, SERVER_OPTIONS};
use barman_core::config::{Config, ConfigWarning, ServerConfig, Value};
use barman_core::{Failure, Level};
use config_support::{Files, GOOD};

fn loaded(servers: &str) -> (Files, Config) {
    let files = Files::new(servers);
    let config = files.load();
    (files, config)
}

fn server(text: &str) -> ServerConfig {
    let (_files, config) = loaded(&format!("[s]\n{text}"));
    config.server("s").unwrap().clone()
}

/// A value that is valid for an option.
fn valid(option: &str, kind: Kind) -> String {
    match (option, kind) {
        ("custom_compression_magic", _) => "0x28b52ffd".to_owned(),
        ("snapshot_provider", _) => "gcp".to_owned(),
        ("retention_policy", _) => "RECOVERY WINDOW OF 4 WEEKS".to_owned(),
        ("retention_policy_mode", _) => "auto".to_owned(),
        ("wal_retention_policy", _) => "main".to_owned(),
        ("tablespace_bandwidth_limit", _) => "a:5 b:7".to_owned(),
        ("active" | "archiver", _) => "on".to_owned(),
        (_, Kind::Bool) => "off".to_owned(),
        (_, Kind::Int { .. } | Kind::LateInt) => "3".to_owned(),
        (_, Kind::Interval) => "2 weeks".to_owned(),
        (_, Kind::Size) => "5Gi".to_owned(),
        (_, Kind::Words(words) | Kind::WordsOrEmpty(words) | Kind::ExactWords(words) | Kind::Set(words)) => {
            words.last().unwrap().to_string()
        }
        (_, Kind::Directory | Kind::Place | Kind::AbsolutePath) => format!("/srv/{option}"),
        (_, Kind::Slot) => "barman".to_owned(),
        (_, Kind::List) => "a,b".to_owned(),
        (_, Kind::Level) => "high".to_owned(),
        (_, Kind::Text) if option.ends_with("conninfo") => "host=pg user=barman".to_owned(),
        (_, Kind::Text) => "text".to_owned(),
    }
}

/// Every option at once, in a server, in `[barman]`, in a model.
#[test]
fn all_options_set() {
    let lines = |wanted: &dyn Fn(&barman_core::config::registry::OptionDef) -> bool| -> String {
        let of = SERVER_OPTIONS.iter().filter(|option| wanted(option));
        of.map(|option| format!("{} = {}\n", option.name, valid(option.name, option.kind)))
            .collect()
    };
    let text = format!(
        "{}[s]\n{}[m]\nmodel = on\n{}",
        lines(&|option| option.scope.global),
        lines(&|_| true),
        lines(&|option| option.scope.model)
    );
    let (_files, config) = loaded(&text);
    assert_eq!((&*config.warnings, &*config.global_warnings), (&[][..], &[][..]));
    let s = config.server("s").unwrap();
    let unset: Vec<&str> = s
        .values()
        .filter(|(_, value)| value.is_unset())
        .map(|(name, _)| name)
        .collect();
    // `encryption` has been given the word that means nothing, if that is its last one.
    assert_eq!(unset, Vec::<&str>::new());
    assert_eq!(config.models[0].overrides().count(), {
        let all = SERVER_OPTIONS.iter().filter(|option| option.scope.model).count();
        // All but `cluster`, which tells for which servers it is.
        all - 1
    });
}

/// What users of Barman have, from its manuals: nothing is warned about, nothing is disabled.
#[test]
fn configurations_of_users_are_accepted_unchanged() {
    for (name, text) in [
        (
            "streaming only",
            "[s]\ndescription =  \"Example of PostgreSQL Database (Streaming-Only)\"\n\
             conninfo = host=pg user=barman dbname=postgres\n\
             streaming_conninfo = host=pg user=streaming_barman\nbackup_method = postgres\n\
             streaming_backup_name = barman_streaming_backup\nstreaming_archiver = on\nslot_name = barman\n\
             create_slot = auto\nstreaming_archiver_name = barman_receive_wal\nstreaming_archiver_batch_size = 50\n",
        ),
        (
            "rsync plus archiver",
            "[s]\nssh_command = ssh postgres@pg\nconninfo = host=pg user=barman dbname=postgres\n\
             backup_method = rsync\nreuse_backup = link\nbackup_options = concurrent_backup\narchiver = on\n\
             archiver_batch_size = 50\nparallel_jobs = 2\nminimum_redundancy = 1\n\
             retention_policy = RECOVERY WINDOW OF 2 WEEKS\ncompression = gzip\n\
             pre_backup_script = env | grep ^BARMAN\nlast_backup_maximum_age = 1 DAYS\ntablespace_bandwidth_limit = tbs1:500\n",
        ),
        (
            "standby",
            "[s]\nconninfo = host=standby user=barman dbname=postgres\n\
             primary_conninfo = host=primary user=barman dbname=postgres\nprimary_checkpoint_timeout = 20\n\
             streaming_conninfo = host=standby user=streaming_barman\nbackup_method = postgres\n\
             wal_conninfo = host=primary user=barman dbname=postgres\n\
             wal_streaming_conninfo = host=primary user=streaming_barman\n\
             streaming_archiver = on\nslot_name = barman\n",
        ),
        (
            "models for Patroni",
            "[s]\ncluster = main\nconninfo = host=node0 user=barman dbname=postgres\n\
             streaming_conninfo = host=node0 user=streaming_barman\nbackup_method = postgres\n\
             streaming_archiver = on\nslot_name = barman\n\
             [s:node1]\nmodel = true\ncluster = main\nconninfo = host=node1 user=barman dbname=postgres\n\
             streaming_conninfo = host=node1 user=streaming_barman\n\
             [s:node2]\nmodel = true\ncluster = main\nconninfo = host=node2 user=barman dbname=postgres\n\
             streaming_conninfo = host=node2 user=streaming_barman\n",
        ),
        (
            "passive node",
            "[s]\nprimary_ssh_command = ssh barman@primary\nforward_config_path = true\n\
             retention_policy = REDUNDANCY 3\n",
        ),
        (
            "written by hand",
            "[s]\r\n\tconninfo\t=\thost=pg\r\n\t\tuser=barman\r\n\tarchiver:on\r\n\t; why\r\n\t# why not\r\n\r\n\
             \tbackup_method = Postgres\r\n[s]\r\nCompression = GZip\r\ncompression = xz",
        ),
    ] {
        let (_files, config) = loaded(text);
        let s = config.server("s").unwrap();
        let told: Vec<&str> = s
            .notices
            .iter()
            .filter(|notice| notice.level > Level::Debug)
            .map(|notice| notice.text.as_str())
            .collect();
        assert_eq!(config.warnings, [], "{name}");
        assert_eq!((&*s.messages, &*told), (&[][..], &[][..]), "{name}");
    }
}

/// `config.md` 17: no range checks.
#[test]
fn a_number_below_its_range_is_warned_about_and_the_default_counts() {
    let mut tried = 0;
    for option in SERVER_OPTIONS {
        let Kind::Int { min } = option.kind else { continue };
        if min == i64::MIN {
            continue;
        }
        tried += 1;
        let line = format!("{} = {}", option.name, min - 1);
        let (_files, config) = loaded(&format!("[s]\n{GOOD}{line}\n[plain]\n{GOOD}"));
        let value = |name: &str| config.server(name).unwrap().value(option.name).cloned();
        assert_eq!(value("s"), value("plain"), "{line}");
        let [warning] = config.warnings.as_slice() else {
            panic!("{line}: {:?}", config.warnings);
        };
        let reason = format!("must not be less than {min}");
        assert!(warning.text.ends_with(&reason), "{line}: {}", warning.text);
        let hint = warning.hint.as_deref().unwrap();
        assert!(hint.ends_with("barman.conf', line 7"), "{line}: {hint}");
    }
    assert!(tried >= 15, "{tried}");
}

/// Each kind of value: section, option, value and reason in the warning, the place and what is right behind it or in it.
#[test]
fn values_that_are_not_valid_tell_what_is_right() {
    for (line, value, right) in [
        ("archiver = maybe", "'maybe'", "true|t|yes|1|on"),
        ("check_timeout = 5.0", "'5.0'", "integer"),
        ("last_wal_maximum_age = 1day", "'1day'", "'4 days'"),
        ("last_backup_minimum_size = 5K", "'5K'", "k, Ki, M"),
        ("backup_method = tape", "'tape'", "postgres, local-rsync"),
        ("compression = none", "'none'", "an empty value means none"),
        ("staging_location = Remote", "'Remote'", "local, remote"),
        (
            "recovery_options = get_wal",
            "'get_wal'",
            "delta-restore, get-wal",
        ),
        ("wals_directory = ftp://a/b", "'ftp://a/b'", "'s3://BUCKET'"),
        ("staging_path = x", "'x'", "absolute path"),
        ("slot_name = bar-man", "'bar-man'", "lower case letters, numbers"),
        ("snapshot_disks = a,,b", "'a,,b'", "separated by single commas"),
        ("compression_level = top", "'top'", "low, medium, high"),
    ] {
        let (_files, config) = loaded(&format!("[s]\n{GOOD}{line}\n"));
        let [warning] = config.warnings.as_slice() else {
            panic!("{line}: {:?}", config.warnings);
        };
        let option = line.split(' ').next().unwrap();
        let start = format!("Ignoring invalid configuration value {value} for key {option} in [s] section: ");
        assert!(warning.text.starts_with(&start), "{line}: {}", warning.text);
        let hint = warning.hint.as_deref().unwrap();
        assert!(hint.contains("barman.conf', line 7"), "{line}: {hint}");
        let told = format!("{}; {hint}", warning.text);
        assert!(told.contains(right), "{line}: {told}");
    }
}

/// What is converted late is told to the log only, with the place and with what would be right.
#[test]
fn late_conversions_tell_where_and_what_is_right() {
    for (line, option, value, level, text, right) in [
        (
            "bandwidth_limit = -5",
            "bandwidth_limit",
            Value::Unset,
            Level::Warning,
            "Negative value of bandwidth_limit \"-5\" for server \"s\" (fallback to \"0\")",
            "kB/s",
        ),
        (
            "bandwidth_limit = fast",
            "bandwidth_limit",
            Value::Unset,
            Level::Warning,
            "Invalid bandwidth_limit \"fast\" for server \"s\" (fallback to \"0\")",
            "kB/s",
        ),
        (
            "tablespace_bandwidth_limit = a:-3 b:4",
            "tablespace_bandwidth_limit",
            Value::Rules([("b".to_owned(), 4)].into()),
            Level::Warning,
            "Invalid tablespace_bandwidth_limit rule 'a:-3'",
            "<tablespace>:<kB/s>",
        ),
        (
            "minimum_redundancy = -2",
            "minimum_redundancy",
            Value::Int(0),
            Level::Warning,
            "Negative value of minimum_redundancy \"-2\" for server \"s\" (fallback to \"0\")",
            "a number of backups",
        ),
        (
            "retention_policy_mode = manual",
            "retention_policy_mode",
            Value::Text("auto".to_owned()),
            Level::Warning,
            "Unsupported retention_policy_mode \"manual\" for server \"s\" (fallback to \"auto\")",
            "only auto",
        ),
        (
            "retention_policy = three",
            "retention_policy",
            Value::Text("three".to_owned()),
            Level::Error,
            "Invalid retention_policy setting \"three\" for server \"s\"",
            "REDUNDANCY n",
        ),
    ] {
        let s = server(&format!("{GOOD}backup_options = concurrent_backup\n{line}\n"));
        let [notice] = s.notices.as_slice() else {
            panic!("{line}: {:?}", s.notices);
        };
        assert_eq!(
            (notice.text.as_str(), notice.level, notice.console),
            (text, level, false)
        );
        let hint = notice.hint.as_deref().unwrap();
        assert!(
            hint.contains("barman.conf', line 8, section [s]: ") && hint.contains(right),
            "{line}: {hint}"
        );
        assert_eq!(s.value(option), Some(&value), "{line}");
        assert!(!s.disabled, "{line}");
    }
}

fn warned(server: &ServerConfig) -> Vec<ConfigWarning> {
    let warnings = server
        .notices
        .iter()
        .filter(|notice| notice.level == Level::Warning);
    warnings.cloned().collect()
}

/// A connection string that Barman takes disables nothing, but whoever uses the server is told; no value is repeated.
#[test]
fn connection_strings_that_cannot_be_read() {
    for (option, value, what) in [
        ("conninfo", "nosuch=1", "invalid connection option \"nosuch\""),
        (
            "conninfo",
            "host=a password=s3cret s3cret2=x",
            "invalid connection option \"...\"",
        ),
        (
            "conninfo",
            "host='a password=s3cret",
            "unterminated quoted string in connection info string",
        ),
        (
            "streaming_conninfo",
            "nosuch=1",
            "invalid connection option \"nosuch\"",
        ),
        (
            "primary_conninfo",
            "nosuch=1",
            "invalid connection option \"nosuch\"",
        ),
        (
            "wal_conninfo",
            "s3cret",
            "missing \"=\" after \"...\" in connection info string",
        ),
        (
            "wal_streaming_conninfo",
            "postgres://u:s3cret@[::1/db",
            "invalid connection URI: ",
        ),
    ] {
        let conninfo = if option == "conninfo" {
            ""
        } else {
            "conninfo = host=a\n"
        };
        let text = format!(
            "{conninfo}streaming_archiver = on\nslot_name = b\nbackup_method = postgres\n{option} = {value}\n"
        );
        let server = server(&text);
        assert!(!server.disabled, "{option} = {value}: {:?}", server.messages);
        let warnings = warned(&server);
        let [notice] = warnings.as_slice() else {
            panic!("{option} = {value}: {warnings:?}");
        };
        let begin = format!("Invalid {option} for server \"s\": {what}");
        assert!(notice.text.starts_with(&begin), "{}", notice.text);
        assert!(notice.console && notice.level == Level::Warning);
        let hint = notice.hint.as_deref().unwrap();
        let right = format!(": {option} takes key=value words as libpq reads them, or a postgresql:// URI");
        assert!(
            hint.contains("barman.conf', line ") && hint.ends_with(&right),
            "{hint}"
        );
        assert!(!format!("{notice:?}").contains("s3cret"), "{notice:?}");
    }
    // Values are looked at too: all that are wrong, with their place; nothing that may be a secret.
    let server = server(
        "conninfo = host=a port=xx password=s3cret sslmode=maybe\nstreaming_conninfo = host=a,b port=1,2,3\n\
         streaming_archiver = on\nslot_name = b\nbackup_method = postgres\n",
    );
    let told: Vec<_> = warned(&server)
        .iter()
        .map(|notice| (notice.text.clone(), notice.hint.clone().unwrap()))
        .collect();
    let expected = [
        (
            "conninfo",
            "\"port\": \"xx\" is not a port number, from 1 to 65535",
            4,
        ),
        (
            "conninfo",
            "\"sslmode\": \"maybe\" is none of \"disable\", \"allow\", \"prefer\", \"require\", \"verify-ca\", \"verify-full\"",
            4,
        ),
        (
            "streaming_conninfo",
            "\"port\": could not match 3 port numbers to 2 hosts: give one for all of them, or one for each",
            5,
        ),
    ];
    assert!(!server.disabled && told.len() == expected.len(), "{told:?}");
    for ((text, hint), (option, what, line)) in told.iter().zip(expected) {
        assert_eq!(
            *text,
            format!("Invalid {option} for server \"s\": invalid value for connection option {what}")
        );
        let end = format!("barman.conf', line {line}, section [s]: {option} needs another value there");
        assert!(hint.ends_with(&end), "{hint}");
    }
    // What nobody connects with, what disables the server, and what is right.
    for text in [
        "active = off\nconninfo = nosuch=1\narchiver = on\n",
        "primary_ssh_command = ssh x\nconninfo = nosuch=1\narchiver = on\n",
        "conninfo = host\narchiver = on\nbackup_method = postgres\n",
        "conninfo = host=a\narchiver = on\nbackup_method = postgres\nwal_conninfo = postgresql://b\n",
    ] {
        assert!(warned(&self::server(text)).is_empty(), "{text}");
    }
}

/// `config.md` 8.5 and 8.7, and 17: bad options of object storage are a matter of their server.
#[test]
fn options_of_object_storage_and_snapshots_are_checked() {
    const SNAPSHOT: &str = "backup_method = snapshot\nsnapshot_disks = a\nsnapshot_instance = i\n";
    const AWS: &str = "snapshot_provider = aws\naws_snapshot_lock_mode = ";
    let snapshot = |rest: &str| format!("{GOOD}{SNAPSHOT}{rest}\n");
    let aws = |rest: &str| snapshot(&format!("{AWS}{rest}"));
    let s3 = |rest: &str| format!("active = off\nwals_directory = s3://b/x\n{rest}\n");
    for (text, words) in [
        (snapshot("snapshot_provider = aws"), vec![]),
        (
            aws("compliance\naws_snapshot_lock_duration = 5\naws_snapshot_lock_cool_off_period = 72"),
            vec![],
        ),
        (
            aws("Governance\naws_snapshot_lock_expiration_date = 2030-01-01T00:00:00.000Z"),
            vec![],
        ),
        // Without a mode the rest means nothing.
        (
            snapshot("snapshot_provider = aws\naws_snapshot_lock_duration = 99999"),
            vec![],
        ),
        (aws("compliance"), vec!["needs aws_snapshot_lock_duration or"]),
        (
            aws("compliance\naws_snapshot_lock_duration = 0"),
            vec!["needs aws_snapshot_lock_duration or"],
        ),
        (
            aws(
                "governance\naws_snapshot_lock_duration = 5\naws_snapshot_lock_cool_off_period = 73\naws_snapshot_lock_expiration_date = 2030-01-01",
            ),
            vec![
                "cannot be used together",
                "lock mode governance",
                "between 1 and 72 hours, not 73",
                "must look like",
            ],
        ),
        (
            aws("worm\naws_snapshot_lock_duration = 36501"),
            vec!["between 1 and 36500 days, not 36501", "governance or compliance"],
        ),
        (
            snapshot("snapshot_provider = gcp"),
            vec!["provider gcp: gcp_project is not set"],
        ),
        (
            snapshot("snapshot_provider = gcp\nsnapshot_gcp_project = p"),
            vec![],
        ),
        (
            snapshot("snapshot_provider = azure"),
            vec!["azure_subscription_id"],
        ),
        (snapshot("snapshot_provider = AWS"), vec!["snapshot provider AWS"]),
        (s3("aws_encryption = aws:kms\naws_sse_kms_key_id = k"), vec![]),
        (
            s3("aws_encryption = AES256\naws_sse_kms_key_id = k"),
            vec!["'aws_encryption = aws:kms'"],
        ),
        (
            s3("aws_sse_customer_key = file:///k\naws_encryption = AES256"),
            vec!["and aws_encryption"],
        ),
        (
            s3("aws_sse_customer_key = file:///k\naws_sse_kms_key_id = k"),
            vec!["'aws_encryption = aws:kms'", "and aws_sse_kms_key_id"],
        ),
        // Of no consequence without a place in S3.
        ("active = off\naws_sse_kms_key_id = k\n".to_owned(), vec![]),
        (
            "active = off\nwals_directory = gs://b/x\naws_sse_kms_key_id = k\n".to_owned(),
            vec![],
        ),
    ] {
        let found = server(&text).messages;
        assert_eq!(found.len(), words.len(), "{text}: {found:?}");
        for (message, words) in found.iter().zip(words) {
            assert!(message.contains(words), "{text}: {message}");
        }
    }
}

/// `config.md` 17: directories of one server inside those of another are warned about.
#[test]
fn nested_directories_are_warned_about() {
    let (_files, config) = loaded(&format!(
        "[a]\n{GOOD}backup_directory = /srv/a\n[b]\n{GOOD}backup_directory = /srv/a/b\n[c]\n{GOOD}backup_directory = /srv/ab\n"
    ));
    assert_eq!(config.path_conflicts, Vec::<String>::new());
    let nested: Vec<_> = config
        .warnings
        .iter()
        .map(|warning| (warning.console, &warning.text))
        .collect();
    assert_eq!(nested.len(), 6, "{nested:?}");
    assert!(
        nested.iter().all(|(console, text)| !console
            && text.contains("of server 'b' lies inside backup_directory=/srv/a of server 'a'")),
        "{nested:?}"
    );
}

/// A file that is not in the dialect: what is wrong is followed by what would be right.
#[test]
fn broken_files_tell_what_is_right() {
    let files = Files::bare();
    for (bytes, text, hint) in [
        (&b"\xef\xbb\xbf[barman]\n"[..], "line: 1", "byte order mark"),
        (b"barman_home = /x\n", "line: 1", "such as [barman]"),
        (b"[barman]\nbarman_home /x\n", "[line  2]", "'option = value'"),
        (b"[barman]\n# caf\xe9\n", "line 2", "UTF-8"),
        (b"\xff\xfe[\0b\0", "line 1", "UTF-8"),
        (b"[barman]\nbarman_home = /x\nlog_file = 5%\n", "line 3", "'%%'"),
        (
            b"[barman]\nlock_directory_cleanup = maybe\n",
            "maybe",
            "line 2: write true or false",
        ),
        (
            b"[barman]\nbarman_home = /x\n[all]\n",
            "FATAL: ",
            "[all] is in '/",
        ),
        (b"[barman]\n", "barman_home", "set barman_home"),
    ] {
        std::fs::write(files.path("barman.conf"), bytes).unwrap();
        let error = files.error();
        assert!(error.to_string().contains(text), "{error}");
        let found = error.hint().unwrap();
        assert!(found.contains(hint), "{error}: {found}");
    }
}

/// Whoever has to mend a disabled server learns where to.
#[test]
fn messages_come_with_places() {
    let files = Files::new(&format!(
        "reuse_backup = link\n[s]\n{GOOD}backup_method = postgres\nnetwork_compression = on\n[none]\nssh_command =\n[pct]\n{GOOD}description = 5%\n"
    ));
    let config = files.load();
    let advice = |name: &str| config.advice(config.server(name).unwrap()).unwrap();
    let told = advice("s");
    for part in [
        "reuse_backup is set in '",
        "barman.conf', line 3, section [barman]; ",
        "backup_method is set in '",
        "network_compression is set in '",
        "line 9, section [s]",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let none = advice("none");
    assert!(
        none.starts_with("conninfo is not set in section [none]; ssh_command is empty in '"),
        "{none}"
    );
    let (_files, odd) = loaded(
        "[c]\nconninfo = host=a\nprimary_conninfo = b c\nstreaming_conninfo = d e\nbackup_method = postgres\nstreaming_archiver = on\n",
    );
    let odd = odd.advice(odd.server("c").unwrap()).unwrap();
    for part in [
        "primary_conninfo is set in",
        "streaming_conninfo is set in",
        "slot_name is not set",
    ] {
        assert!(odd.contains(part), "{part}: {odd}");
    }
    assert!(
        !odd.contains("; conninfo") && !odd.starts_with("conninfo"),
        "{odd}"
    );
    let message = &config.server("pct").unwrap().messages[0];
    assert!(message.ends_with("barman.conf', line 16"), "{message}");
    let (_files, config) = loaded(&format!("[s]\n{GOOD}"));
    assert_eq!(config.advice(config.server("s").unwrap()), None);
}
