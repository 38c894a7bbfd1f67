//! The configuration as users of the program meet it: what is told about mistakes and where, files of other owners, and
//! changes at the same time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first surprise"
)]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use support::Home;

const PG: &str =
    "conninfo = host=127.0.0.1 port=1 connect_timeout=1\narchiver = on\nbackup_method = postgres\n";

/// config-19: the locale has no say in how files are read, nor in how what is in them is shown.
#[test]
fn files_are_utf8_in_every_locale() {
    let home = Home::new("", &format!("[main]\n{PG}description = Größe – 日本\n"));
    let latin1 = Home::new("", &format!("[main]\n{PG}"));
    let mut bytes = fs::read(latin1.config()).unwrap();
    bytes.extend(b"description = Gr\xf6\xdfe\n");
    fs::write(latin1.config(), bytes).unwrap();
    for locale in ["C", "POSIX", "C.UTF-8", "de_DE.ISO-8859-1", "nosuch"] {
        let list = |home: &Home| {
            let mut command = home.command();
            command.env("LC_ALL", locale).env("LANG", locale).arg("-c");
            support::finish(command.arg(home.config()).arg("list-servers"))
        };
        let run = list(&home);
        assert_eq!(run.stdout, "main - Größe – 日本\n", "{locale}: {}", run.stderr);
        let run = list(&latin1);
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{locale}");
        assert!(
            run.stderr.contains("line 10") && run.stderr.contains("UTF-8"),
            "{locale}: {}",
            run.stderr
        );
    }
}

#[test]
fn the_default_backup_strategy_is_told_to_who_debugs() {
    const TEXT: &str = "The default backup strategy for postgres backup_method is: concurrent_backup";
    let home = Home::new("log_level = DEBUG", &format!("[main]\n{PG}"));
    let told = |arguments: &[&str]| {
        let run = home.run(arguments);
        format!("{}{}", run.stdout, run.stderr).contains(&format!("DEBUG: {TEXT}"))
    };
    assert!(told(&["-d", "list-servers"]));
    assert!(!told(&["list-servers"]));
    assert!(
        home.log()
            .contains(&format!("barman.backup_executor DEBUG: {TEXT}")),
        "{}",
        home.log()
    );
    let home = Home::new(
        "log_level = DEBUG",
        &format!("[main]\n{PG}backup_options = concurrent_backup\n"),
    );
    assert!(!home.run(&["-d", "list-servers"]).stdout.contains(TEXT));
    assert!(!home.log().contains(TEXT));
}

#[test]
fn a_retention_policy_that_is_none_is_an_error_of_the_log() {
    let home = Home::new(
        "",
        &format!("[main]\n{PG}retention_policy = RECOVERY WINDOW OF 2 YEARS\n"),
    );
    let run = home.run(&["status", "main"]);
    assert_eq!(
        run.stderr.matches("retention_policy").count(),
        0,
        "{}",
        run.stderr
    );
    let log = home.log();
    let line = log
        .lines()
        .find(|line| line.contains("Invalid retention_policy"))
        .unwrap();
    assert!(line.contains("barman.server ERROR: "), "{line}");
    assert!(
        line.contains("barman.conf', line 10, section [main]: retention_policy takes REDUNDANCY n, or"),
        "{line}"
    );
}

#[test]
fn a_refused_server_says_where_its_options_are() {
    let home = Home::new(
        "",
        &format!("[main]\n{PG}reuse_backup = link\n[off]\nactive = false\n"),
    );
    let run = home.run(&["backup", "main"]);
    assert_eq!(run.code, Some(1));
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(
        lines[0],
        "ERROR: reuse_backup option is not supported by postgres backup_method"
    );
    assert!(
        lines[1].starts_with("HINT: reuse_backup is set in '")
            && lines[1].contains("barman.conf', line 10, section [main]"),
        "{}",
        run.stderr
    );
    let json = home.run(&["-f", "json", "backup", "main"]);
    assert!(!json.stdout.contains("HINT") && !json.stderr.contains("HINT"));
    let inactive = home.run(&["put-wal", "off"]);
    assert!(!inactive.stderr.contains("is set"), "{}", inactive.stderr);
}

/// The user of `barman` when root starts it; nothing can be tried without root.
fn nobody() -> Option<nix::unistd::User> {
    nix::unistd::geteuid()
        .is_root()
        .then(|| nix::unistd::User::from_name("nobody").unwrap().unwrap())
}

fn give(path: &Path, user: u32, group: u32, mode: u32) {
    chown(path, Some(user), Some(group)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// `config.md` 17: unreadable include files are not skipped silently. Files keep their owners: what `barman` cannot
/// give back to its group, it leaves alone.
#[test]
fn files_of_others() {
    let Some(user) = nobody() else { return };
    let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
    let home = Home::new("barman_user = nobody", "");
    give(home.path(), uid, gid, 0o755);
    let directory = home.path().join("conf.d");
    fs::create_dir(&directory).unwrap();
    let text = fs::read_to_string(home.config()).unwrap();
    fs::write(
        home.config(),
        format!("{text}configuration_files_directory = {}\n", directory.display()),
    )
    .unwrap();
    for name in ["hidden", "foreign", "group", "own"] {
        let file = directory.join(format!("{name}.conf"));
        fs::write(&file, format!("[{name}]\nactive = off\ndescription = old\n")).unwrap();
        match name {
            "hidden" => give(&file, 0, 0, 0o600),
            "foreign" => give(&file, 0, gid, 0o664),
            "group" => give(&file, uid, 0, 0o640),
            _ => give(&file, uid, gid, 0o640),
        }
    }
    give(&directory, uid, gid, 0o755);
    let run = home.run(&["list-servers"]);
    assert_eq!(
        (run.code, run.stdout.lines().count()),
        (Some(0), 3),
        "{}",
        run.stderr
    );
    let log = home.log();
    assert!(
        log.lines().any(
            |line| line.contains("barman.config WARNING: Discarding configuration file: ")
                && line.contains("hidden.conf (Permission denied")
        ),
        "{log}"
    );
    let change = |name: &str| format!(r#"{{"scope":"server","server_name":"{name}","description":"new"}}"#);
    let documents = format!("[{},{},{}]", change("foreign"), change("group"), change("own"));
    let run = home.run(&["config-update", &documents]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for (name, owner, mode, words) in [
        ("foreign", (0, gid), 0o664, "old"),
        ("group", (uid, 0), 0o640, "old"),
        ("own", (uid, gid), 0o640, "new"),
    ] {
        let file = directory.join(format!("{name}.conf"));
        let meta = fs::metadata(&file).unwrap();
        assert_eq!((meta.uid(), meta.gid()), owner, "{name}");
        assert_eq!(meta.mode() & 0o777, mode, "{name}");
        assert!(
            fs::read_to_string(&file)
                .unwrap()
                .ends_with(&format!("description = {words}\n")),
            "{name}"
        );
    }
    let shown = home.run(&["list-servers"]).stdout;
    assert_eq!(shown.matches("new").count(), 3, "{shown}");
}

/// The file of changes is the program's own: one that root has made by accident does not hold up changes for ever.
#[test]
fn a_file_of_changes_that_belongs_to_somebody_else() {
    let Some(user) = nobody() else { return };
    let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
    let home = Home::new("barman_user = nobody", "[main]\nactive = off\n");
    give(home.path(), uid, gid, 0o755);
    let auto = home.path().join(".barman.auto.conf");
    fs::write(&auto, "# by root\n[main]\ndescription = old\n").unwrap();
    for (owner, group, after) in [(0, 0, 0o604), (uid, 0, 0o604), (uid, gid, 0o644)] {
        give(&auto, owner, group, 0o644);
        let text = format!("new {owner} {group}");
        let change = format!(r#"[{{"scope":"server","server_name":"main","description":"{text}"}}]"#);
        let run = home.run(&["config-update", &change]);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let meta = fs::metadata(&auto).unwrap();
        assert_eq!(
            (meta.uid(), meta.gid(), meta.mode() & 0o777),
            (uid, gid, after),
            "{owner} {group}"
        );
        assert_eq!(
            fs::read_to_string(&auto).unwrap(),
            format!("# by root\n[main]\ndescription = {text}\n")
        );
    }
}

/// `lost+found` of a file system that is mounted as the archive is root's, and keeps nobody from reading the rest; a
/// directory of segments does.
#[test]
fn directories_of_others_in_the_archive() {
    let Some(user) = nobody() else { return };
    let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
    let home = Home::new("barman_user = nobody", &format!("[main]\n{PG}"));
    let wals = home.path().join("main/wals");
    let segments = wals.join("0000000100000000");
    fs::create_dir_all(&segments).unwrap();
    fs::write(segments.join("000000010000000000000001"), "x").unwrap();
    for directory in [home.path(), &home.path().join("main"), &wals, &segments] {
        give(directory, uid, gid, 0o755);
    }
    fs::create_dir(wals.join("lost+found")).unwrap();
    give(&wals.join("lost+found"), 0, 0, 0o700);
    let run = home.run(&["rebuild-xlogdb", "main"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let db = fs::read_to_string(wals.join("main-xlog.db")).unwrap();
    assert!(
        db.starts_with("000000010000000000000001\t") && db.lines().count() == 1,
        "{db}"
    );
    assert!(
        home.log().contains("unexpected file in the WAL archive: "),
        "{}",
        home.log()
    );
    give(&segments, 0, 0, 0o700);
    let run = home.run(&["rebuild-xlogdb", "main"]);
    assert!(
        run.code == Some(1) && run.stderr.contains("0000000100000000: Permission denied"),
        "{}",
        run.stderr
    );
    assert_eq!(fs::read_to_string(wals.join("main-xlog.db")).unwrap(), db);
}

/// `config.md` 17: a change that waits is finished from whatever directory the next command is run in.
#[test]
fn paths_of_the_queue_are_absolute() {
    let Some(user) = nobody() else { return };
    let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
    let home = Home::new("", "");
    let root = home.path();
    // The file of changes cannot be written: a change of both files has to wait.
    let data = root.join("data");
    fs::create_dir(&data).unwrap();
    give(&data, 0, 0, 0o755);
    let text = format!(
        "[barman]\nbarman_home = {0}/data\nbarman_lock_directory = {0}\nconfig_changes_queue = {0}/queue\n\
         log_file = {0}/barman.log\nbarman_user = nobody\n[main]\nactive = off\ndescription = old\n",
        root.display()
    );
    fs::write(home.config(), text).unwrap();
    give(root, uid, gid, 0o755);
    give(&home.config(), uid, gid, 0o644);
    let change = r#"[{"scope":"server","server_name":"main","description":"new","slot_name":"s"}]"#;
    let run = support::finish(home.command().current_dir(root).args([
        "-c",
        "barman.conf",
        "config-update",
        change,
    ]));
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let queue: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(root.join("queue")).unwrap()).unwrap();
    let changes = &queue[0]["changes_set"];
    assert_eq!(changes[0]["config_file"], home.config().to_str().unwrap());
    assert_eq!(
        changes[1]["config_file"],
        data.join(".barman.auto.conf").to_str().unwrap()
    );
    give(&data, uid, gid, 0o755);
    let run = home.run(&["cron"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(
        fs::read_to_string(home.config())
            .unwrap()
            .contains("description = new\n")
    );
    let auto = fs::read_to_string(data.join(".barman.auto.conf")).unwrap();
    assert_eq!(auto, "[main]\nslot_name = s\n");
}

/// `config.md` 17: `cron` and `check` make the directories that they need, and `check` only those.
#[test]
fn missing_directories_are_made() {
    for command in [&["cron"][..], &["check", "main"]] {
        let home = Home::new("", "");
        let root = home.path().display();
        let text = format!(
            "[barman]\nbarman_home = {root}/deep/home\nbarman_lock_directory = {root}/run/locks\n\
             log_file = {root}/log/barman.log\nbarman_user = {}\n\
             [main]\nactive = off\ncloud_staging_directory = {root}/staging\n",
            nix::unistd::User::from_uid(nix::unistd::getuid())
                .unwrap()
                .unwrap()
                .name
        );
        fs::write(home.config(), text).unwrap();
        let run = home.run(command);
        assert_eq!(run.code, Some(0), "{command:?}: {}{}", run.stdout, run.stderr);
        let locks = fs::metadata(home.path().join("run/locks")).unwrap();
        assert!(locks.is_dir(), "{command:?}");
        assert_eq!(
            home.path().join("deep/home/main/incoming").is_dir(),
            command[0] == "check"
        );
        assert!(!home.path().join("staging").exists(), "{command:?}");
        let queue = home.path().join("deep/home/cfg_changes.queue");
        assert!(!queue.exists(), "{command:?}: a queue of nothing");
    }
}

/// A file that is mounted by itself, as containers do, cannot be replaced: it is left as it is, and the change counts.
#[test]
fn a_file_that_cannot_be_replaced() {
    // Not every user may mount.
    let mounts = std::process::Command::new("unshare")
        .args(["-m", "true"])
        .status();
    if !mounts.is_ok_and(|status| status.success()) {
        return;
    }
    let home = Home::new("", "[main]\nactive = off\ndescription = old\n");
    let before = fs::read_to_string(home.config()).unwrap();
    let change = r#"[{"scope":"server","server_name":"main","description":"new"}]"#;
    let script = r#"mount --bind "$1" "$1" && exec "$0" -c "$1" config-update "$2""#;
    let run = support::finish(
        std::process::Command::new("unshare")
            .args(["-m", "sh", "-c", script, env!("CARGO_BIN_EXE_barman")])
            .arg(home.config())
            .arg(change),
    );
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout.contains("from 'old' to 'new'"), "{}", run.stdout);
    assert_eq!(fs::read_to_string(home.config()).unwrap(), before);
    let auto = fs::read_to_string(home.path().join(".barman.auto.conf")).unwrap();
    assert_eq!(auto, "[main]\ndescription = new\n");
    assert_eq!(
        fs::read_to_string(home.path().join("cfg_changes.queue")).unwrap(),
        "[]"
    );
    assert!(home.log().contains("is left as it is"), "{}", home.log());
    assert_eq!(home.run(&["list-servers"]).stdout, "main - new (inactive)\n");
}

/// Nothing of any of them gets lost, and the files are whole.
#[test]
fn many_changes_at_once() {
    let servers: String = (0..8)
        .map(|n| format!("[s{n}]\nactive = off\ndescription = old\n"))
        .collect();
    let home = Home::new("", &servers);
    let config = home.config();
    let children: Vec<_> = (0..8)
        .map(|n| {
            let change = format!(
                r#"[{{"scope":"server","server_name":"s{n}","description":"new","slot_name":"x{n}"}}]"#
            );
            let mut command = home.command();
            command.args(["-c", config.to_str().unwrap(), "config-update", &change]);
            command
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null());
            (n, command.spawn().unwrap())
        })
        .collect();
    let mut made = 0;
    for (n, mut child) in children {
        let done = child.wait().unwrap().success();
        made += usize::from(done);
        let text = fs::read_to_string(&config).unwrap();
        let auto = fs::read_to_string(home.path().join(".barman.auto.conf")).unwrap_or_default();
        let expected = if done { "new" } else { "old" };
        assert!(
            text.contains(&format!("[s{n}]\nactive = off\ndescription = {expected}\n")),
            "{text}"
        );
        assert_eq!(
            auto.contains(&format!("[s{n}]\nslot_name = x{n}\n")),
            done,
            "{auto}"
        );
    }
    assert!(made >= 1);
    assert_eq!(
        fs::read_to_string(home.path().join("cfg_changes.queue")).unwrap(),
        "[]"
    );
}
