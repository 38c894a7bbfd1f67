use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;

use super::queue::Change;
use super::*;
use crate::context::{Cancel, Message, Progress, SystemClock};
use crate::host::process::Descriptors;

/// Remembers what was said.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Progress for Told {
    fn message(&self, message: Message<'_>) {
        self.0
            .lock()
            .unwrap()
            .push(format!("{:?}: {}", message.level, message.text));
    }
}

struct World {
    dir: tempfile::TempDir,
}

const MAIN: &str = "# top\n[s1]\nconninfo = host=a password=secret\nbackup_method = postgres\narchiver = on\n[s2]\nactive = off\n[m1]\nmodel = on\ncluster = c\n";

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("home/s1")).unwrap();
        let world = Self { dir };
        let global = format!(
            "[barman]\nbarman_home = {}\ncompression = gzip\n",
            world.path("home").display()
        );
        fs::write(world.path("c"), format!("{global}{MAIN}")).unwrap();
        world
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn config(&self) -> Config {
        Config::load(&self.path("c"), None).unwrap()
    }

    fn act<T>(&self, act: impl FnOnce(&Config, &SelfCommand, &Context<'_>) -> T) -> (T, Vec<String>) {
        let (told, cancel) = (Told::default(), Cancel::new());
        let barman = SelfCommand {
            program: "/bin/true".into(),
            config: self.path("c"),
            descriptors: Descriptors::Close,
        };
        let ctx = Context {
            progress: &told,
            cancel: &cancel,
            clock: &SystemClock,
        };
        let result = act(&self.config(), &barman, &ctx);
        (result, told.0.into_inner().unwrap())
    }

    fn update(&self, json: &str) -> (Result<ConfigUpdateReport, ConfigUpdateError>, Vec<String>) {
        self.act(|config, barman, ctx| run(config, json, barman, ctx))
    }
}

#[test]
fn options_go_where_they_count() {
    let world = World::new();
    let (report, told) = world.update(
        r#"[{"scope":"server","server_name":"s1","description":" a b ","compression":"xz","conninfo":"host=b password=other"},
            {"scope":"model","model_name":"m2","cluster":"c2","archiver":"on"},
            {"scope":"server","server_name":"s2","description":"two"}]"#,
    );
    let report = report.unwrap();
    assert!(!report.failed);
    assert_eq!(
        world.text("home/.barman.auto.conf"),
        "[s1]\ndescription = a b\ncompression = xz\n[m2]\ncluster = c2\narchiver = on\nmodel = on\n[s2]\ndescription = two\n"
    );
    assert!(
        world
            .text("c")
            .contains("conninfo = host=b password=other\nbackup_method"),
        "in place"
    );
    assert_eq!(world.text("home/cfg_changes.queue"), "[]");
    let mode = |name: &str| fs::metadata(world.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("home/.barman.auto.conf"), 0o600);
    assert!(told.contains(
        &"Info: Changing value of option 'conninfo' for section 's1' from 'host=a password=*REDACTED*' to \
          'host=b password=*REDACTED*' through config-update."
            .to_owned()
    ));
    assert!(told.contains(
        &"Info: Changing value of option 'compression' for section 's1' from 'None' to 'xz' through config-update."
            .to_owned()
    ));
    assert!(
        told.contains(&"Info: Skipping inactive server 's2'".to_owned()),
        "{told:?}"
    );
    let config = world.config();
    assert_eq!(config.server("s1").unwrap().description.as_deref(), Some("a b"));
    assert!(config.model("m2").is_some());
}

/// The queue outlives the process: what it says must not depend on where that was.
#[test]
fn files_in_the_queue_are_absolute() {
    let world = World::new();
    let up = "../".repeat(std::env::current_dir().unwrap().components().count() - 1);
    let from_here = world
        .path("c")
        .strip_prefix("/")
        .map(|path| Path::new(&up).join(path))
        .unwrap();
    let mut set = ChangeSet {
        section: "s1".to_owned(),
        changes: vec![Change::new("conninfo", "host=b")],
    };
    let config = Config::load(&from_here, None).unwrap();
    assert!(config.source("s1", "conninfo").unwrap().is_relative());
    Draft::new(config).decide_files(&mut set);
    let file = &set.changes[0].config_file;
    assert!(file.is_absolute(), "{}", file.display());
    assert_eq!(
        file.canonicalize().unwrap(),
        world.path("c").canonicalize().unwrap()
    );
}

#[test]
fn mode_and_links_stay() {
    let world = World::new();
    fs::copy(world.path("c"), world.path("real")).unwrap();
    fs::remove_file(world.path("c")).unwrap();
    fs::set_permissions(world.path("real"), fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("real", world.path("c")).unwrap();
    world
        .update(r#"[{"scope":"server","server_name":"s1","archiver":"off"}]"#)
        .0
        .unwrap();
    assert!(world.path("c").is_symlink());
    let meta = fs::metadata(world.path("real")).unwrap();
    assert_eq!(meta.permissions().mode() & 0o777, 0o640);
    assert!(world.text("real").starts_with("[barman]") && world.text("real").contains("archiver = off"));
}

#[test]
fn nothing_of_a_bad_update_is_accepted() {
    let before = World::new().text("c").len();
    for (json, words) in [
        ("x", "not valid JSON"),
        ("{\"a\": 1}", "not a list"),
        ("[1]", "not a list"),
        ("null", "not a list"),
        ("[{}]", "'scope' is invalid: 'None'"),
        (r#"[{"scope":"server"}]"#, "'server_name' is missing"),
        (r#"[{"scope":"model","model_name":"m9"}]"#, "'cluster' is missing"),
        (
            r#"[{"scope":"server","server_name":"m1"}]"#,
            "is a model, not a server",
        ),
        (
            r#"[{"scope":"model","model_name":"s1"}]"#,
            "is a server, not a model",
        ),
        (
            r#"[{"scope":"server","server_name":"barman","description":"x"}]"#,
            "reserved",
        ),
        (r#"[{"scope":"server","server_name":"all"}]"#, "reserved"),
        (
            r#"[{"scope":"server","server_name":"a\nb"}]"#,
            "control character",
        ),
        (r#"[{"scope":"server","server_name":""}]"#, "is empty"),
        (
            r#"[{"scope":"server","server_name":"s1","foo":"1"}]"#,
            "Invalid option 'foo' for server 's1'",
        ),
        (
            r#"[{"scope":"server","server_name":"s1","barman_home":"/x"}]"#,
            "Invalid option 'barman_home'",
        ),
        (
            r#"[{"scope":"model","model_name":"m1","backup_directory":"/x"}]"#,
            "Invalid option 'backup_directory' for model",
        ),
        (
            r#"[{"scope":"server","server_name":"s1","model":"on"}]"#,
            "Invalid option 'model' for server",
        ),
        (
            r#"[{"scope":"model","model_name":"m1","model":"off"}]"#,
            "stays a model",
        ),
        (
            r#"[{"scope":"server","server_name":"s1","archiver":"maybe"}]"#,
            "Invalid boolean representation",
        ),
        (
            r#"[{"scope":"server","server_name":"s1","archiver":true}]"#,
            "expected a text in quotes, got True",
        ),
        (
            r#"[{"scope":"server","server_name":"s1","parallel_jobs":5}]"#,
            "expected a text in quotes, got 5",
        ),
        (
            r#"[{"scope":"server","server_name":"s1","parallel_jobs":"0"}]"#,
            "must not be less than 1",
        ),
        (
            r#"[{"scope":"server","server_name":"s1","description":"50%"}]"#,
            "'%'",
        ),
        (
            r#"[{"scope":"server","server_name":"s1","description":"a\n[x]"}]"#,
            "line ends",
        ),
        (
            r#"[{"scope":"server","server_name":"s1","retention_policy":"sometimes"}]"#,
            "REDUNDANCY",
        ),
        (
            r#"[{"scope":"server","server_name":"s1","wals_directory":""}]"#,
            "cannot be empty",
        ),
        (
            r#"[{"scope":"server","server_name":"s1","minimum_redundancy":"x"}]"#,
            "not a number",
        ),
        (
            r#"[{"scope":"server","server_name":"s1","check_timeout":"-1"}]"#,
            "must not be less than 0",
        ),
        (
            r#"[{"scope":"server","server_name":"s1","bandwidth_limit":"-1"}]"#,
            "not a number of kB/s",
        ),
        (
            r#"[{"scope":"server","server_name":"s1","tablespace_bandwidth_limit":"a:1 b"}]"#,
            "'b' is no rule",
        ),
        // Two servers in one directory: no command would work.
        (
            r#"[{"scope":"server","server_name":"s1","wals_directory":"/w"},{"scope":"server","server_name":"s2","wals_directory":"/w"}]"#,
            "would not be usable",
        ),
        // A good document before a bad one.
        (
            r#"[{"scope":"server","server_name":"s1","description":"q"},{"scope":"server","server_name":"s1","archiver":"x"}]"#,
            "Invalid boolean",
        ),
    ] {
        let world = World::new();
        let (result, _) = world.update(json);
        let text = result.unwrap_err().to_string();
        assert!(text.contains(words), "{json}: {text}");
        assert!(!world.path("home/cfg_changes.queue").exists(), "{json}");
        assert!(!world.path("home/.barman.auto.conf").exists(), "{json}");
        assert_eq!(world.text("c").len(), before, "{json}");
    }
}

#[test]
fn refusals_show_the_document_without_passwords() {
    let world = World::new();
    let json = r#"[{"scope":"server","server_name":"s1","conninfo":"host=h password=secret","x":{"a":[1,null,true]}}]"#;
    let Err(ConfigUpdateError::Refused { document, .. }) = world.update(json).0 else {
        panic!("accepted");
    };
    assert_eq!(
        document,
        "{'scope': 'server', 'server_name': 's1', 'conninfo': 'host=h password=*REDACTED*', 'x': {'a': [1, None, True]}}"
    );
}

#[test]
fn what_waits_is_finished_first() {
    let world = World::new();
    let auto = world.path("home/.barman.auto.conf");
    let queue = format!(
        r#"[{{"section":"s1","changes_set":[{{"key":"description","value":"queued","config_file":"{}"}}]}}]"#,
        auto.display()
    );
    fs::write(world.path("home/cfg_changes.queue"), &queue).unwrap();
    let (failed, told) = world.act(|config, _, ctx| process_queue(config, ctx));
    assert!(!failed, "{told:?}");
    assert_eq!(
        world.text("home/.barman.auto.conf"),
        "[s1]\ndescription = queued\n"
    );
    assert_eq!(world.text("home/cfg_changes.queue"), "[]");

    fs::write(world.path("home/cfg_changes.queue"), &queue).unwrap();
    world
        .update(r#"[{"scope":"server","server_name":"s1","description":"newer"}]"#)
        .0
        .unwrap();
    assert_eq!(
        world.text("home/.barman.auto.conf"),
        "[s1]\ndescription = newer\n"
    );
}

#[test]
fn values_are_told_without_the_quotes_of_the_file() {
    let world = World::new();
    let text = world.text("c").replace("[s1]\n", "[s1]\ndescription = \"a b\"\n");
    fs::write(world.path("c"), text).unwrap();
    let (_, told) = world.update(r#"[{"scope":"server","server_name":"s1","description":"c"}]"#);
    let line = "Info: Changing value of option 'description' for section 's1' from 'a b' to 'c' through config-update.";
    assert!(told.contains(&line.to_owned()), "{told:?}");
}

#[test]
fn changes_that_can_never_be_applied_block_nobody() {
    let world = World::new();
    fs::write(
        world.path("home/cfg_changes.queue"),
        r#"[{"section":"s1","changes_set":[{"key":"parallel_jobs","value":5,"config_file":"x"}]},{"a":1}]"#,
    )
    .unwrap();
    let (result, told) = world.update(r#"[{"scope":"server","server_name":"s1","parallel_jobs":"6"}]"#);
    assert!(result.unwrap().failed, "{told:?}");
    assert_eq!(world.text("home/.barman.auto.conf"), "[s1]\nparallel_jobs = 6\n");
    assert_eq!(world.text("home/cfg_changes.queue"), "[]");
    assert!(world.text("home/cfg_changes.queue.rejected").contains("\"a\": 1"));
    let (failed, _) = world.act(|config, _, ctx| process_queue(config, ctx));
    assert!(!failed, "once is enough");

    fs::write(world.path("home/cfg_changes.queue"), "nojson").unwrap();
    let (failed, told) = world.act(|config, _, ctx| process_queue(config, ctx));
    assert!(
        !failed && told[0].starts_with("Warning: Malformed or empty"),
        "{told:?}"
    );
    assert_eq!(world.text("home/cfg_changes.queue.malformed"), "nojson");
}

#[test]
fn a_file_of_a_queue_that_is_not_loaded_is_never_touched() {
    let world = World::new();
    fs::write(world.path("other"), "[s1]\n").unwrap();
    let queue = format!(
        r#"[{{"section":"s1","changes_set":[{{"key":"description","value":"q","config_file":"{}"}}]}}]"#,
        world.path("other").display()
    );
    fs::write(world.path("home/cfg_changes.queue"), queue).unwrap();
    world.act(|config, _, ctx| process_queue(config, ctx));
    assert_eq!(world.text("other"), "[s1]\n");
    assert_eq!(world.text("home/.barman.auto.conf"), "[s1]\ndescription = q\n");
}

#[test]
fn a_queue_of_nothing_is_left_alone() {
    use std::os::unix::fs::MetadataExt;
    let world = World::new();
    let path = world.path("home/cfg_changes.queue");
    let (failed, told) = world.act(|config, _, ctx| process_queue(config, ctx));
    assert!(!failed && told.is_empty() && !path.exists(), "{told:?}");
    fs::write(&path, "[]").unwrap();
    let inode = || fs::metadata(&path).unwrap().ino();
    let before = inode();
    world.act(|config, _, ctx| process_queue(config, ctx));
    world.update("[]").0.unwrap();
    assert_eq!(before, inode(), "cron and config-update had nothing to write");
}

#[test]
fn two_at_once() {
    let world = World::new();
    let held = Lock::try_acquire(&world.path("home").join(LOCK_FILE)).unwrap();
    let (result, _) = world.update("[]");
    let error = result.unwrap_err();
    assert!(matches!(error, ConfigUpdateError::Busy(_)));
    assert!(error.to_string().ends_with("/.config-update.lock"));
    fs::write(world.path("home/cfg_changes.queue"), "[{}]").unwrap();
    let (failed, told) = world.act(|config, _, ctx| process_queue(config, ctx));
    assert!(!failed);
    assert_eq!(
        told,
        ["Warning: another process is updating barman configuration files"]
    );
    drop(held);
    world.update("[]").0.unwrap();
}

#[test]
fn a_changed_model_concerns_the_servers_that_use_it() {
    let world = World::new();
    let text = world.text("c").replace(
        "[s1]",
        "[s1]\ncluster = c\nslot_name = s\nstreaming_archiver = on",
    );
    fs::write(world.path("c"), text).unwrap();
    fs::write(world.path("home/s1/.active-model.auto"), "m1").unwrap();
    let (report, told) = world.update(r#"[{"scope":"model","model_name":"m1","description":"x"}]"#);
    assert_eq!(report.unwrap().receivers, [("s1".to_owned(), Restart::Started)]);
    assert!(told.contains(&"Info: Starting streaming archiver for server s1".to_owned()));
    // A change that disables a server leaves its receiver alone.
    let (report, _) = world.update(r#"[{"scope":"server","server_name":"s1","reuse_backup":"link"}]"#);
    assert_eq!(report.unwrap().receivers, [("s1".to_owned(), Restart::Left)]);
}

/// A full or broken disk must not lead changes into another file; `cargo xtask crash config-update` shows the rest.
#[test]
fn only_what_lasts_leads_to_another_file() {
    for (number, expected) in [
        (28, false),
        (5, false),
        (4, false),
        (12, false),
        (16, true),
        (13, true),
        (1, true),
        (30, true),
    ] {
        let error = DurableError {
            action: "rename",
            path: "/etc/barman.conf".into(),
            source: std::io::Error::from_raw_os_error(number),
        };
        assert_eq!(lasts(&error), expected, "{error}");
    }
}
