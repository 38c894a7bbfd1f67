//! Configuration texts and what they mean: values, warnings, messages.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

mod config_support;

use std::path::Path;
use std::time::Duration;

use barman_core::Level;
use barman_core::config::{
    BackupMethod, Config, ConfigError, CreateSlot, Encryption, RetentionPolicy, Search, Selected,
    ServerConfig, Value, WalCompression, WindowUnit, locate,
};
use config_support::{Files, GOOD};

fn server(text: &str) -> ServerConfig {
    let config = Files::new(&format!("[s]\n{text}")).load();
    config.server("s").unwrap().clone()
}

fn messages(text: &str) -> Vec<String> {
    server(text).messages
}

#[test]
fn defaults() {
    let files = Files::new(&format!("[main]\n{GOOD}"));
    let config = files.load();
    let main = config.server("main").unwrap();
    let home = files.home();
    assert_eq!(config.warnings, []);
    assert_eq!(main.messages, Vec::<String>::new());
    assert!(main.active && !main.disabled && !main.is_passive());
    assert_eq!(main.backup_directory, home.join("main"));
    assert_eq!(main.basebackups_directory, home.join("main/base"));
    assert_eq!(main.wals_directory, home.join("main/wals"));
    assert_eq!(main.xlogdb_directory, home.join("main/wals"));
    assert_eq!(main.incoming_wals_directory, home.join("main/incoming"));
    assert_eq!(main.streaming_wals_directory, home.join("main/streaming"));
    assert_eq!(main.errors_directory, home.join("main/errors"));
    assert_eq!(
        main.cloud_staging_directory,
        Path::new("/tmp/barman/cloud-staging")
    );
    assert_eq!(main.lock_directory, home);
    assert_eq!(main.backup_method, BackupMethod::Rsync);
    assert_eq!(main.streaming_conninfo, main.conninfo);
    assert_eq!(main.check_timeout, Some(Duration::from_secs(30)));
    assert_eq!(main.create_slot, CreateSlot::Manual);
    assert_eq!(main.cluster.as_deref(), Some("main"));
    assert_eq!(
        main.streaming_backup_name.as_deref(),
        Some("barman_streaming_backup")
    );
    assert!(main.backup_options.concurrent_backup);
    assert_eq!(main.notices.len(), 1, "rsync without a backup strategy");
    assert_eq!(main.values().count(), 122);
    assert_eq!(
        main.value("wal_retention_policy"),
        Some(&Value::Text("main".into()))
    );
    assert_eq!(main.value("nonsense"), None);
    assert_eq!(
        config.globals.config_changes_queue,
        home.join("cfg_changes.queue")
    );
    assert_eq!(config.globals.barman_user, "barman");
}

#[test]
fn values_come_from_the_server_then_from_barman_then_from_the_default() {
    // (in [barman], in the server section, expected value, warnings)
    let text = |t: &str| Value::Text(t.into());
    for (global, own, option, expected, warnings) in [
        ("", "", "parallel_jobs", Value::Int(1), 0),
        ("parallel_jobs = 3", "", "parallel_jobs", Value::Int(3), 0),
        (
            "parallel_jobs = 3",
            "parallel_jobs = 4",
            "parallel_jobs",
            Value::Int(4),
            0,
        ),
        (
            "parallel_jobs = 3",
            "parallel_jobs = x",
            "parallel_jobs",
            Value::Int(3),
            1,
        ),
        (
            "parallel_jobs = y",
            "parallel_jobs = x",
            "parallel_jobs",
            Value::Int(1),
            2,
        ),
        (
            "parallel_jobs = 3",
            "parallel_jobs =",
            "parallel_jobs",
            Value::Int(3),
            1,
        ),
        (
            "parallel_jobs = 3",
            "parallel_jobs = -1",
            "parallel_jobs",
            Value::Int(3),
            1,
        ),
        (
            "path_prefix = /a",
            "path_prefix =",
            "path_prefix",
            Value::Unset,
            0,
        ),
        (
            "path_prefix = /a",
            "path_prefix = None",
            "path_prefix",
            Value::Unset,
            0,
        ),
        (
            "path_prefix = /a",
            "path_prefix = \"None\"",
            "path_prefix",
            Value::Unset,
            0,
        ),
        (
            "path_prefix = /a",
            "path_prefix = none",
            "path_prefix",
            text("none"),
            0,
        ),
        (
            "streaming_backup_name =",
            "",
            "streaming_backup_name",
            Value::Unset,
            0,
        ),
        (
            "compression = gzip",
            "compression =",
            "compression",
            Value::Unset,
            0,
        ),
        (
            "compression = gzip",
            "compression = none",
            "compression",
            text("gzip"),
            1,
        ),
        (
            "backup_options = exclusive_backup",
            "backup_options = concurrent_backup",
            "backup_options",
            { Value::Words(vec!["concurrent_backup"]) },
            0,
        ),
        (
            "encryption = gpg",
            "encryption = none",
            "encryption",
            Value::Unset,
            0,
        ),
        ("encryption = gpg", "", "encryption", text("gpg"), 0),
        (
            "last_wal_maximum_age = 1 day",
            "last_wal_maximum_age =",
            "last_wal_maximum_age",
            Value::Unset,
            0,
        ),
        (
            "keepalive_interval = 7",
            "",
            "keepalive_interval",
            Value::Int(7),
            0,
        ),
        (
            "cloud_upload_max_archive_size = 5k",
            "",
            "cloud_upload_max_archive_size",
            Value::Size(5000),
            0,
        ),
        (
            "cloud_upload_min_chunk_size = 5k",
            "",
            "cloud_upload_min_chunk_size",
            Value::Size(5000),
            0,
        ),
        (
            "cloud_upload_min_chunk_size = 5k",
            "cloud_upload_min_chunk_size =",
            "cloud_upload_min_chunk_size",
            Value::Unset,
            0,
        ),
        ("description = x", "", "description", Value::Unset, 0),
        ("", "disabled = true", "disabled", Value::Bool(false), 0),
        (
            "",
            "minimum_redundancy = 2",
            "minimum_redundancy",
            Value::Int(2),
            0,
        ),
        (
            "",
            "minimum_redundancy = -2",
            "minimum_redundancy",
            Value::Int(0),
            0,
        ),
        ("", "bandwidth_limit = 0", "bandwidth_limit", Value::Int(0), 0),
        ("", "bandwidth_limit = x", "bandwidth_limit", Value::Unset, 0),
        ("", "slot_name = Barman", "slot_name", text("barman"), 0),
        (
            "",
            "retention_policy = redundancy  2",
            "retention_policy",
            text("REDUNDANCY 2"),
            0,
        ),
        (
            "",
            "retention_policy = redundancy  2",
            "wal_retention_policy",
            text("MAIN"),
            0,
        ),
        (
            "",
            "retention_policy = rubbish",
            "retention_policy",
            text("rubbish"),
            0,
        ),
    ] {
        let files = Files::bare();
        let home = files.home();
        files.write(
            "barman.conf",
            &format!(
                "[barman]\nbarman_home = {}\n{global}\n[s]\n{GOOD}{own}\n",
                home.display()
            ),
        );
        let config = files.load();
        let shown = (
            config.server("s").unwrap().value(option).unwrap().clone(),
            config.warnings.len(),
        );
        assert_eq!(
            shown,
            (expected, warnings),
            "[barman] {global} [s] {own}: {:?}",
            config.warnings
        );
    }
}

#[test]
fn typed_fields() {
    let text = format!(
        "{GOOD}backup_method = postgres\ncompression = Zstd\nretention_policy = RECOVERY window OF 4 week\n\
         last_backup_maximum_age = 36 hours\nlast_backup_minimum_size = 5Ki\ncheck_timeout = 0\n\
         tablespace_bandwidth_limit = a:5 b:x c:7 d\nbandwidth_limit = 7\nencryption = gpg\n\
         custom_compression_magic = 0x28b52ffd\narchiver_batch_size = -3\n"
    );
    let s = server(&text);
    assert_eq!(s.compression, Some(WalCompression::Zstd));
    assert_eq!(
        s.retention_policy,
        Some(RetentionPolicy::RecoveryWindow {
            count: 4,
            unit: WindowUnit::Weeks
        })
    );
    assert_eq!(
        s.retention_policy.unwrap().to_string(),
        "RECOVERY WINDOW OF 4 WEEKS"
    );
    assert_eq!(s.last_backup_maximum_age, Some(Duration::from_secs(36 * 3600)));
    assert_eq!(s.last_backup_minimum_size, Some(5120));
    assert_eq!(s.check_timeout, None);
    assert_eq!(s.tablespace_bandwidth_limit, [("a".to_owned(), 5)].into());
    assert_eq!(s.bandwidth_limit, Some(7));
    assert_eq!(s.encryption, Some(Encryption::Gpg));
    assert_eq!(s.custom_compression_magic, Some(vec![0x28, 0xb5, 0x2f, 0xfd]));
    assert_eq!(s.archiver_batch_size, 0);
    assert_eq!(
        s.messages,
        ["tablespace_bandwidth_limit option is not supported by postgres backup_method"]
    );
    assert!(
        s.notices
            .iter()
            .all(|notice| !notice.console || notice.level == Level::Debug),
        "conversions are told to the log only"
    );
}

#[test]
fn messages_disable_a_server() {
    let method = |method: &str, rest: &str| format!("{GOOD}backup_method = {method}\n{rest}");
    for (text, expected) in [
        (GOOD.to_owned(), vec![]),
        (
            format!("active = false\nbackup_method = postgres\nx{GOOD}"),
            vec![],
        ),
        ("primary_ssh_command = ssh b".to_owned(), vec![]),
        (
            "backup_method = postgres\narchiver = on".to_owned(),
            vec![
                "PostgreSQL connection: Missing 'conninfo' parameter for server 's'",
                "Streaming connection: Missing 'streaming_conninfo' parameter for server 's'",
            ],
        ),
        (
            "conninfo = a b\narchiver = on\nssh_command = x".to_owned(),
            vec![
                "PostgreSQL connection: Cannot connect to postgres: \"a b\" is not a valid connection string",
            ],
        ),
        (
            "conninfo = host=a password\narchiver = on\nssh_command = x".to_owned(),
            vec![
                "PostgreSQL connection: Cannot connect to postgres: the value of 'conninfo' is not a valid \
                 connection string",
            ],
        ),
        (
            "conninfo = host=a\nbackup_method = postgres\nstreaming_archiver = on".to_owned(),
            vec![
                "Streaming-only archiver requires 'streaming_conninfo' and 'slot_name' options to be properly \
                 configured",
            ],
        ),
        (
            "conninfo = host=a\narchiver = on".to_owned(),
            vec!["Missing or invalid ssh_command in barman configuration for server s"],
        ),
        (
            method("local-rsync", ""),
            vec!["Local copy requires ssh_command in barman configuration to be empty for server s"],
        ),
        (
            method("postgres", "reuse_backup = link\nnetwork_compression = on\n"),
            vec![
                "reuse_backup option is not supported by postgres backup_method",
                "network_compression option is not supported by postgres backup_method",
            ],
        ),
        (method("postgres", "reuse_backup = off\n"), vec![]),
        (
            method("rsync", "backup_compression = none\n"),
            vec!["backup_compression option is not supported by rsync backup_method"],
        ),
        (
            method(
                "snapshot",
                "snapshot_instance = i\nsnapshot_provider = gcp\ngcp_project = p\nbandwidth_limit = 0\n",
            ),
            vec![
                "bandwidth_limit option is not supported by snapshot backup_method",
                "snapshot_disks option is required by snapshot backup_method",
            ],
        ),
        (
            format!("{GOOD}errors_directory =\n"),
            vec!["Missing 'errors_directory' parameter for server 's'"],
        ),
        (
            format!("{GOOD}description = 50% more\n"),
            vec![
                "invalid use of '%' in option 'description' of section 's': '%' must be followed by '%' or \
                 '(option)s'; raw value: '50% more'",
            ],
        ),
        (
            format!("{GOOD}wals_directory = /nowhere/x\nincoming_wals_directory = /nowhere/x\n"),
            vec![
                "Conflicting path: wals_directory=/nowhere/x conflicts with 'incoming_wals_directory' for server 's'",
            ],
        ),
        (
            format!("{GOOD}model = maybe\n"),
            vec!["Invalid value 'maybe' for key model in [s] section: not a boolean"],
        ),
    ] {
        let s = server(&text);
        // Which file it was is another test's.
        let found: Vec<&str> = s
            .messages
            .iter()
            .map(|message| {
                message
                    .split_once(", in '")
                    .map_or(message.as_str(), |(text, _)| text)
            })
            .collect();
        assert_eq!(found, expected, "{text}");
        assert_eq!(s.disabled, !expected.is_empty(), "{text}");
        assert_eq!(s.value("disabled"), Some(&Value::Bool(s.disabled)));
    }
}

#[test]
fn compression_settings_of_a_backup() {
    for (settings, problems) in [
        ("backup_compression = gzip", 0),
        ("backup_compression = gzip\nbackup_compression_level = 9", 0),
        ("backup_compression = gzip\nbackup_compression_level = -1", 0),
        ("backup_compression = gzip\nbackup_compression_level = 0", 1),
        (
            "backup_compression = gzip\nbackup_compression_level = 10\nbackup_compression_workers = 2",
            2,
        ),
        ("backup_compression = lz4\nbackup_compression_level = 13", 1),
        (
            "backup_compression = zstd\nbackup_compression_level = 22\nbackup_compression_workers = 2",
            0,
        ),
        ("backup_compression = none\nbackup_compression_level = 1", 1),
        ("backup_compression = gzip\nbackup_compression_format = plain", 1),
        (
            "backup_compression = gzip\nbackup_compression_format = plain\nbackup_compression_location = server",
            0,
        ),
    ] {
        let found = messages(&format!("{GOOD}backup_method = postgres\n{settings}\n"));
        assert_eq!(found.len(), problems, "{settings}: {found:?}");
    }
}

#[test]
fn both_archivers_off_forces_one_on() {
    let s = server("conninfo = host=a\nssh_command = x\nbackup_options = concurrent_backup\n");
    assert!(s.archiver && !s.disabled);
    assert_eq!(s.value("archiver"), Some(&Value::Bool(true)));
    let texts: Vec<_> = s.notices.iter().map(|notice| notice.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "No archiver enabled for server 's'. Please turn on 'archiver', 'streaming_archiver' or both",
            "Forcing 'archiver = on'"
        ]
    );
    assert!(
        !server("primary_ssh_command = x").archiver,
        "a passive node has no archiver"
    );
}

#[test]
fn one_bad_section_leaves_the_others_alone() {
    let files = Files::new(&format!(
        "[bad]\nconninfo = %x\nbackup_directory =\nmodel = perhaps\n[blank]\n{GOOD}ssh_command = \" \"\n[good]\n{GOOD}"
    ));
    files.write("home/blank/.active-model.auto/x", "");
    let config = files.load();
    assert!(config.server("bad").unwrap().disabled);
    let blank = config.server("blank").unwrap();
    assert_eq!(blank.messages.len(), 2, "{:?}", blank.messages);
    assert!(!config.server("good").unwrap().disabled);
}

#[test]
fn unknown_options_are_warned_about() {
    let files = Files::bare();
    files.write(
        "barman.conf",
        "[barman]\nbarman_home = /h\nlog_format = x\nnonsense = 1\nactive = on\n[s]\nbarman_home = x\nmodel = no\n\
         Zork = 1\n[m]\nmodel = on\ncluster = c\nbackup_directory = /x\npre_backup_script = x\n",
    );
    let config = files.load();
    let texts = |warnings: &[barman_core::config::ConfigWarning]| {
        warnings.iter().map(|w| w.text.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        texts(&config.global_warnings),
        [
            "Invalid configuration option \"log_format\" in [barman] section.",
            "Invalid configuration option \"nonsense\" in [barman] section."
        ]
    );
    assert_eq!(
        texts(&config.warnings),
        [
            "Invalid configuration option \"barman_home\" in [s] section.",
            "Invalid configuration option \"model\" in [s] section.",
            "Invalid configuration option \"zork\" in [s] section.",
            "Invalid configuration option \"backup_directory\" in [m] section.",
            "Invalid configuration option \"pre_backup_script\" in [m] section.",
        ]
    );
}

#[test]
fn interpolation_sees_the_section_and_the_built_in_names() {
    let files = Files::bare();
    files.write(
        "barman.conf",
        "[DEFAULT]\nprefix = /p\n[barman]\nbarman_home = \"/h\"\nlog_file = %(barman_home)s/a.log\n\
         log_format = %%%%(message)s %%(message)s\n\
         [s]\nbackup_directory = /b/x\nwals_directory = %(backup_directory)s/w\n\
         errors_directory = %(barman_home)s/%(name)s/e\nincoming_wals_directory = %(prefix)s/i\ndescription = 5%%\n",
    );
    let config = files.load();
    assert_eq!(
        config.globals.log_file.as_deref(),
        Some(Path::new("\"/h\"/a.log")),
        "quotes are part of raw values"
    );
    assert_eq!(
        config.globals.log_format.as_deref(),
        Some("%(message)s %(message)s")
    );
    assert_eq!(
        config
            .globals
            .raw
            .iter()
            .find(|(key, _)| key == "barman_home")
            .unwrap()
            .1,
        "\"/h\""
    );
    let s = config.server("s").unwrap();
    assert_eq!(s.wals_directory, Path::new("/b/x/w"));
    assert_eq!(s.errors_directory, Path::new("/h/s/e"));
    assert_eq!(s.incoming_wals_directory, Path::new("/p/i"));
    assert_eq!(s.description.as_deref(), Some("5%"));
}

#[test]
fn included_files() {
    let files = Files::bare();
    let d = files.path("d");
    files.write(
        "barman.conf",
        &format!(
            "[barman]\nbarman_home = {}\nconfiguration_files_directory = {}\n[s]\ndescription = main\ncluster = main\n",
            files.home().display(),
            d.display()
        ),
    );
    files.write("d/10.conf", "[s]\ndescription = ten\n[new]\n");
    files.write(
        "d/9.conf",
        "[s]\ndescription = nine\nparallel_jobs = 2\n[barman]\n",
    );
    files.write("d/.hidden.conf", "[s]\ndescription = hidden\n");
    files.write("d/other.txt", "[s]\ndescription = other\n");
    files.write("d/dir.conf/x", "");
    std::os::unix::fs::symlink("missing", d.join("z.conf")).unwrap();
    files.write("home/.barman.auto.conf", "[s]\nparallel_jobs = 5\n");
    let config = files.load();
    let s = config.server("s").unwrap();
    assert_eq!(s.description.as_deref(), Some("nine"));
    assert_eq!(s.cluster.as_deref(), Some("main"));
    assert_eq!(s.parallel_jobs, 5);
    assert!(config.server("new").is_some());
    let discarded: Vec<_> = config
        .global_warnings
        .iter()
        .map(|w| (w.console, w.text.contains("Discarding")))
        .collect();
    assert_eq!(discarded, [(false, true), (false, true)]);

    files.write("d/b.conf", "[barman]\nparallel_jobs = 3\n");
    assert_eq!(
        files.error().to_string(),
        "FATAL: the configuration file b.conf contains a not empty [barman] section"
    );
    files.write(
        "d/b.conf",
        &format!("[barman]\nbarman_home = {}\n", files.home().display()),
    );
    files.load();
}

/// Every command reads it, those of other servers too.
#[test]
fn a_pipe_in_the_place_of_the_active_model_is_not_waited_for() {
    let files = Files::new(&format!("[s]\n{GOOD}[t]\n{GOOD}"));
    files.write("home/s/x", "");
    let path = files.home().join("s/.active-model.auto");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let config = files.load();
    assert!(!config.server("t").unwrap().disabled);
    assert_eq!(
        config.server("s").unwrap().messages,
        [format!(
            "Cannot read the name of the active model from '{}': it is not a regular file",
            path.display()
        )]
    );
}

#[test]
fn models() {
    let text = format!(
        "[s]\n{GOOD}cluster = c\n[t]\n{GOOD}[u]\n{GOOD}[v]\n{GOOD}cluster = c\n\
         [m]\nmodel = on\ncluster = c\nconninfo = host=other\nparallel_jobs = 0\narchiver_batch_size = 0\nslot_name =\n\
         [off]\nmodel = on\ncluster = c\ndisabled = true\n[n]\nmodel = true\n"
    );
    let files = Files::new(&text);
    files.write("home/s/.active-model.auto", "m\n");
    files.write("home/t/.active-model.auto", "m");
    files.write("home/u/.active-model.auto", "nowhere");
    files.write("home/v/.active-model.auto", "off");
    let config = files.load();
    let s = config.server("s").unwrap();
    assert_eq!(s.active_model.as_deref(), Some("m"));
    assert_eq!(s.conninfo.as_deref(), Some("host=other"));
    assert_eq!(
        s.streaming_conninfo.as_deref(),
        Some("host=pg user=barman dbname=postgres"),
        "derived before the model"
    );
    assert_eq!(s.parallel_jobs, 1);
    assert_eq!(
        config.models.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(),
        ["m", "off"]
    );
    let t = config.server("t").unwrap();
    assert_eq!((t.active_model.as_deref(), t.disabled), (None, false));
    assert_eq!(
        config.server("u").unwrap().messages,
        ["Model 'nowhere' is set as the active model for the server 'u' but the model does not exist."]
    );
    let v = config.server("v").unwrap();
    assert!(v.disabled && v.messages.is_empty());
    let errors: Vec<_> = config
        .warnings
        .iter()
        .filter(|w| w.level == Level::Error)
        .map(|w| w.text.as_str())
        .collect();
    assert_eq!(
        errors,
        [
            "Parameter \"cluster\" is required in [n] section.",
            "Model 'm' has 'cluster=c', which is not compatible with 'cluster=t' from server 't'",
        ]
    );
}

#[test]
fn directories_of_two_servers_conflict_for_everybody() {
    let files = Files::new("");
    let home = files.home();
    std::fs::create_dir(home.join("real")).unwrap();
    std::os::unix::fs::symlink("real", home.join("link")).unwrap();
    files.write(
        "barman.conf",
        &format!(
            "[barman]\nbarman_home = {h}\n[b]\n{GOOD}incoming_wals_directory = {h}/link/q\n\
             [a]\n{GOOD}wals_directory = {h}/real/q\n",
            h = home.display()
        ),
    );
    let config = files.load();
    let h = home.display();
    assert_eq!(
        config.path_conflicts,
        [format!(
            "Conflicting path: incoming_wals_directory={h}/link/q (symlink to: {h}/real/q) for server 'b' conflicts \
             with 'wals_directory' for server 'a'"
        )]
    );
    assert!(config.servers.iter().all(|s| !s.disabled));
}

#[test]
fn what_makes_everything_fail() {
    let files = Files::bare();
    for (text, part) in [
        ("", "No section: 'barman'"),
        ("[BARMAN]\n", "No section: 'barman'"),
        ("x = 1\n", "no section headers"),
        ("[barman]\nfoo\n", "parsing errors"),
        ("[barman]\nbarman_home = 50%\n", "barman_home"),
        (
            "[barman]\nlock_directory_cleanup = maybe\nbarman_home = /x\n",
            "lock_directory_cleanup",
        ),
        (
            "[barman]\n",
            "Parameter \"barman_home\" is required in [barman] section.",
        ),
        ("[barman]\nbarman_home = /x\n[all]\n", "FATAL: "),
    ] {
        files.write("barman.conf", text);
        let error = files.error().to_string();
        assert!(error.contains(part), "{text:?}: {error}");
    }
    files.write("barman.conf", "[barman]\nbarman_home =\n[s]\n[a/b]\n[ALL]\n");
    assert_eq!(
        files.load().server("s").unwrap().backup_directory,
        Path::new("/s")
    );
    let missing = Config::load(Path::new("~/x"), None).unwrap_err();
    assert_eq!(missing.to_string(), "Configuration file '~/x' does not exist");
}

#[test]
fn the_main_file_is_searched_for() {
    let files = Files::new("");
    let home = files.home();
    let conf = files.path("barman.conf");
    let found = |option: Option<&str>, environment: Option<&Path>| {
        locate(&Search {
            option: option.map(Path::new),
            environment,
            home: Some(&home),
        })
    };
    assert_eq!(found(None, Some(&conf)).unwrap(), conf);
    assert_eq!(
        found(Some("/etc/passwd"), Some(&conf)).unwrap(),
        Path::new("/etc/passwd")
    );
    assert!(matches!(
        found(Some("/nowhere"), Some(&conf)),
        Err(ConfigError::Missing(_))
    ));
    std::fs::create_dir(home.join(".barman.conf")).unwrap();
    let skipped = found(Some(""), Some(&conf));
    assert!(
        skipped.is_err() || skipped.is_ok_and(|path| path.starts_with("/etc")),
        "a directory is skipped"
    );
    std::fs::remove_dir(home.join(".barman.conf")).unwrap();
    std::fs::write(home.join(".barman.conf"), "").unwrap();
    assert_eq!(found(None, None).unwrap(), home.join(".barman.conf"));
}

#[test]
fn names_of_a_command_line() {
    let files = Files::new("[b]\n[a]\n[pg-standby]\n");
    let config = files.load();
    let select = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let selection = config.select(&names);
        let entries: Vec<String> = selection
            .entries
            .iter()
            .map(|entry| match entry {
                Selected::Server(server) => server.name.clone(),
                Selected::Unknown(name) => format!("?{name}"),
            })
            .collect();
        (entries.join(" "), selection.all_with_names)
    };
    assert_eq!(select(&["b", "a", "b"]), ("a b".into(), false));
    assert_eq!(select(&["b", "aa"]), ("?aa b".into(), false));
    assert_eq!(select(&["all"]), ("a b pg-standby".into(), false));
    assert_eq!(select(&["all", "a"]), ("a b pg-standby".into(), true));
}

#[test]
fn wal_connection_strings() {
    let pair = |text: &str| {
        let s = server(&format!("{GOOD}streaming_conninfo = host=s\n{text}"));
        let (streaming, normal) = s.wal_conninfos();
        (streaming.unwrap().to_owned(), normal.unwrap().to_owned())
    };
    let normal = "host=pg user=barman dbname=postgres";
    assert_eq!(pair(""), ("host=s".into(), normal.into()));
    let told = |text: &str| server(&format!("{GOOD}{text}")).wal_overrides();
    assert_eq!(told(""), None);
    assert_eq!(
        told("wal_conninfo = host=v user=u").as_deref(),
        Some("Configuration overrides applied: 'conninfo' overridden with 'host=v user=u'")
    );
    assert_eq!(
        told("wal_streaming_conninfo = host=w password=secret").as_deref(),
        Some(
            "Configuration overrides applied: 'streaming_conninfo' overridden with 'host=w password=*REDACTED*' \
             and 'conninfo' overridden with 'host=w password=*REDACTED*'"
        )
    );
    assert_eq!(
        pair("wal_streaming_conninfo = host=w"),
        ("host=w".into(), "host=w".into())
    );
    assert_eq!(pair("wal_conninfo = host=v"), ("host=s".into(), "host=v".into()));
    assert_eq!(
        pair("wal_conninfo = host=v\nwal_streaming_conninfo = host=w"),
        ("host=w".into(), "host=v".into())
    );
}

#[test]
fn two_hundred_servers_load_at_once() {
    let text: String = (0..200)
        .map(|number| {
            format!("[server{number}]\n{GOOD}retention_policy = REDUNDANCY 2\ncompression = gzip\n")
        })
        .collect();
    let servers = Files::new(&text).load().servers;
    assert_eq!(servers.len(), 200);
    assert!(
        servers
            .iter()
            .all(|server| !server.disabled && server.messages.is_empty())
    );
}

#[test]
fn the_source_of_an_option_is_known() {
    let files = Files::new("[s]\ncluster = c\n");
    files.write("home/.barman.auto.conf", "[s]\nparallel_jobs = 5\n");
    let config = files.load();
    assert_eq!(
        config.source("s", "cluster"),
        Some(files.path("barman.conf").as_path())
    );
    assert_eq!(
        config.source("s", "parallel_jobs"),
        Some(files.home().join(".barman.auto.conf").as_path())
    );
    assert_eq!(config.source("s", "archiver"), None);
}

proptest::proptest! {
    #[test]
    fn no_configuration_panics(text in "(\\[[a-c%]{0,3}\\]\n|[a-z_]{1,6} ?[=:] ?[a-z0-9%()/, ]{0,12}\n|parallel_jobs = [0-9_a-z]{0,4}\n|last_wal_maximum_age = [0-9]{0,22} (day|week|x)s?\n|  cont\n|# c\n){0,12}") {
        let files = Files::new(&text);
        let _ = Config::load(&files.path("barman.conf"), None);
    }
}

#[test]
fn a_password_with_a_percent_sign_is_not_shown() {
    let found = messages("conninfo = host=a password=s3cr%t\narchiver = on\nssh_command = x\n");
    assert!(
        found.iter().any(|message| message.contains("conninfo")),
        "{found:?}"
    );
    assert!(!found.iter().any(|message| message.contains("s3cr")), "{found:?}");
}
