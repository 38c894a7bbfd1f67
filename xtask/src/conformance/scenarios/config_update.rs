//! `config-update`, `config-switch`, and what `cron` does with changes that wait.

use std::fs;

use anyhow::Result;

use super::{ANY_HINT, UNKNOWN_SERVER};
use crate::conformance::compare::Look;
use crate::conformance::execute::Stage;
use crate::conformance::listed::EMPTY_LINE;
use crate::conformance::normalise::Rule::Pid;
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::{PLAIN, State};

/// Configuration files below `home`, whose content is compared.
const FILES: State = PLAIN
    .global("configuration_files_directory = {root}/home/conf.d")
    .main("active = off")
    .servers(
        "\
[two]
active = off
description = Second

[one-model]
model = on
cluster = main

[two-model]
model = on
cluster = main
description = through the model

[other-model]
model = on
cluster = elsewhere
",
    );

/// The file of changes, the queue and a file to change, all with the mode that Barman gives them.
fn files(stage: &Stage) -> Result<()> {
    let home = stage.root.join("home");
    fs::create_dir_all(home.join("conf.d"))?;
    fs::create_dir_all(home.join("main"))?;
    fs::write(home.join(".barman.auto.conf"), "")?;
    fs::write(home.join("cfg_changes.queue"), "[]")?;
    fs::write(
        home.join("conf.d/three.conf"),
        "# the third\n[three]\nactive = off\ndescription = Third\ncompression = gzip\n",
    )?;
    Ok(())
}

fn poisoned(stage: &Stage) -> Result<()> {
    files(stage)?;
    let home = stage.root.join("home");
    let queue = format!(
        "[\n  {{\n    \"section\": \"three\",\n    \"changes_set\": [\n      {{\n        \"key\": \"description\",\n        \"value\": \"queued\",\n        \"config_file\": \"{}\"\n      }}\n    ]\n  }}\n]",
        home.join(".barman.auto.conf").display()
    );
    fs::write(home.join("cfg_changes.queue"), queue)?;
    Ok(())
}

/// `cron` starts children for servers that are active; here is none.
const QUIET: &[(&str, Look)] = &[("home/.*-cron.lock", Look::Nothing)];

pub fn scenarios() -> Vec<Scenario> {
    let mut all = updates();
    all.extend(refusals());
    all.extend(switches());
    all.extend(states());
    all.extend(better());
    all
}

/// Servers in every state, with receivers.
const RECEIVERS: State = PLAIN
    .main("archiver = off\nstreaming_archiver = on\nslot_name = barman")
    .servers(
        "\
[dis]
streaming_archiver = on

[inact]
active = off

[pas]
primary_ssh_command = ssh nobody@127.0.0.1 -p 1

[plain]
archiver = on
conninfo = host=127.0.0.1 port=1 user=barman dbname=postgres
streaming_conninfo = host=127.0.0.1 port=1 user=barman dbname=postgres
backup_method = postgres

[model]
model = on
cluster = main
description = through the model
",
    );

/// Changes and switches of servers in every state.
fn states() -> Vec<Scenario> {
    let bare = |name| {
        let receivers = scenario(name, "config.md 12, cli.md 15, 6.2", RECEIVERS).then(files);
        // Whether a receiver that cannot reach its server has begun already is a matter of moments.
        receivers.files("home/.*-receive-wal.lock", Look::Nothing)
    };
    let on = |name| bare(name).rules(&[Pid]);
    vec![
        on("config-update-active")
            .run(r#"config-update '[{"scope":"server","server_name":"main","description":"new"}]'"#)
            .run(r#"-f json config-update '[{"scope":"server","server_name":"plain","description":"new"}]'"#)
            .run("list-servers"),
        on("config-update-receiver-runs")
            .then(|stage| stage.start_task("main-receive-wal", ":"))
            .run(r#"config-update '[{"scope":"server","server_name":"main","description":"new"},{"scope":"server","server_name":"plain","description":"x"}]'"#)
            .run("list-processes main"),
        on("config-update-passive")
            .run(r#"config-update '[{"scope":"server","server_name":"pas","description":"new"}]'"#),
        on("config-update-disabled").stdout(0, "config-12", "", "Starting streaming archiver for server dis").stderr(0, "config-12", "WARNING: Server 'dis' is disabled now, its receive-wal is left alone: PostgreSQL connection: Missing 'conninfo' parameter for server 'dis'", "")
            .run(r#"config-update '[{"scope":"server","server_name":"dis","description":"new"}]'"#)
            .run("list-servers"),
        on("config-update-inactive-first").stdout(0, "config-12", "Starting streaming archiver for server main", "")
            .run(r#"config-update '[{"scope":"server","server_name":"inact","description":"new"},{"scope":"server","server_name":"main","description":"x"}]'"#)
            .run("-q list-servers"),
        on("config-update-activates").stdout(0, "config-12", "Skipping inactive server 'main'", "Starting streaming archiver for server main").stdout(1, "config-12", "Starting streaming archiver for server main", "Skipping inactive server 'main'")
            .run(r#"config-update '[{"scope":"server","server_name":"main","active":"off"}]'"#)
            .run(r#"config-update '[{"scope":"server","server_name":"main","active":"on"}]'"#)
            .run("list-servers"),
        on("config-switch-active")
            .run("config-switch main model")
            .run("-q config-switch main --reset")
            .run("-f json config-switch main model"),
        on("config-switch-receiver-runs")
            .then(|stage| stage.start_task("main-receive-wal", ":"))
            .run("config-switch main model")
            .run("list-processes main"),
        on("config-switch-refused-receiver-runs").hint(0, "HINT: models for this server: model")
            .then(|stage| stage.start_task("main-receive-wal", ":"))
            .run("config-switch main nosuch")
            .run("list-processes main")
            .then(Stage::end_tasks),
        bare("config-switch-passive").hint(0, "HINT: a model applies to the servers that have the same value of 'cluster'").run("config-switch pas model").run("config-switch pas --reset"),
        on("config-switch-disabled").stdout(0, "config-12", "", "Starting streaming archiver for server dis").hint(0, "HINT: a model applies to the servers that have the same value of 'cluster'").stdout(1, "config-12", "", "Starting streaming archiver for server dis").run("config-switch dis model").run("config-switch dis --reset"),
        bare("config-switch-options-between").prose().exit_code(0, "cli-4", 0, 2).stdout(0, "cli-4", "Resetting the active model for the server main", "").stderr(0, "cli-4", "", "usage error: <words>").run("config-switch main --reset model"),
    ]
}

/// What Barman writes where it does not belong, or takes though it cannot be read again.
fn better() -> Vec<Scenario> {
    let refused = |name: &'static str, command: &'static str| {
        scenario(name, "config.md 17", FILES)
            .then(files)
            .run(command)
            .rules(&[Pid])
    };
    vec![
        refused("config-update-of-a-grown-file", r#"config-update '[{"scope":"server","server_name":"three","description":"new","slot_name":"s"}]'"#).line("config-11", "home/conf.d/three.conf", "description = newer", "").line("config-11", "home/conf.d/three.conf", "", "Description = first").line("config-11", "home/conf.d/three.conf", "", "  second").line("config-11", "home/conf.d/three.conf", EMPTY_LINE, "description = newer")
            .then(|stage| {
                Ok(fs::write(
                    stage.root.join("home/conf.d/three.conf"),
                    "# comment\n[three]\n\tactive : off\nDescription = first\n  second\n; another\n\n[four]\nactive = off",
                )?)
            })
            .run(r#"config-update '[{"scope":"server","server_name":"three","description":"newer"}]'"#)
            .run("list-servers"),
        refused("config-update-reserved-name", r#"config-update '[{"scope":"server","server_name":"all","active":"off"}]'"#).stdout(0, "config-14", "", "Changing value of option 'active' for section 'all' from 'None' to 'off' through config-update.").stderr(0, "config-14", "ERROR: Invalid section {'scope': 'server', 'server_name': 'all', 'active': 'off'}: 'server_name' is a reserved word.", "").stderr(0, "config-14", "ERROR: Aborting config‐update: invalid section {'scope': 'server', 'server_name': 'all', 'active': 'off'}", "").stderr(0, "config-14", "", "ERROR: You cannot use 'all' in a single server context").line("config-14", "home/.barman.auto.conf", "", "[all]").line("config-14", "home/.barman.auto.conf", "", "active = off"),
        refused("config-update-bad-policy", r#"config-update '[{"scope":"server","server_name":"three","retention_policy":"nonsense"}]'"#).exit_code(0, "config-14", 1, 0).stdout(0, "config-14", "", "Changing value of option 'retention_policy' for section 'three' from 'None' to 'nonsense' through config-update.").stdout(0, "config-14", "", "Skipping inactive server 'three'").stderr(0, "config-14", "ERROR: Validation failed for server 'three': key 'retention_policy' -> Invalid value: 'nonsense' (must be REDU*", "").stderr(0, "config-14", "ERROR: Aborting config‐update: invalid section {'scope': 'server', 'server_name': 'three', 'retention_policy': 'nonsense'}", "").line("config-14", "home/.barman.auto.conf", "", "[three]").line("config-14", "home/.barman.auto.conf", "", "retention_policy = nonsense"),
        refused("config-update-percent", r#"config-update '[{"scope":"server","server_name":"three","description":"100%"}]'"#).exit_code(0, "config-14", 1, 0).stdout(0, "config-14", "", "Changing value of option 'description' for section 'three' from 'Third' to '100%' through config-update.").stdout(0, "config-14", "", "Skipping inactive server 'three'").stderr(0, "config-14", "ERROR: Validation failed for server 'three': key 'description' -> a value with '%' has to be written into the file by hand", "").stderr(0, "config-14", "ERROR: Aborting config‐update: invalid section {'scope': 'server', 'server_name': 'three', 'description': '100%'}", "").exit_code(1, "config-14", 0, 1).stdout(1, "config-14", "main - Main database (inactive)", "").stdout(1, "config-14", "three - Third (inactive)", "").stdout(1, "config-14", "two - Second (inactive)", "").stderr(1, "config-14", "", "EXCEPTION: '%' must be followed by '%' or '(', found: '%'").stderr(1, "config-14", "", "See log file for more details.").line("config-14", "home/conf.d/three.conf", "description = Third", "description = 100%").run("list-servers"),
        refused("config-update-two-lines", r#"config-update '[{"scope":"server","server_name":"three","description":"a\n[b]"}]'"#).exit_code(0, "config-14", 1, 0).stdout(0, "config-14", "", "Changing value of option 'description' for section 'three' from 'Third' to 'a").stdout(0, "config-14", "", "[b]' through config-update.").stdout(0, "config-14", "", "Skipping inactive server 'three'").stderr(0, "config-14", "ERROR: Validation failed for server 'three': key 'description' -> line ends and other control characters cannot be written", "").stderr(0, "config-14", "ERROR: Aborting config‐update: invalid section {'scope': 'server', 'server_name': 'three', 'description': 'a\\n[b]'}", "").stdout(1, "config-14", "", "b -  (WARNING: disabled)").stdout(1, "config-14", "three - Third (inactive)", "three - a (inactive)").stderr(1, "config-14", "", "WARNING: No archiver enabled for server 'b'. Please turn on 'archiver', 'streaming_archiver' or both").stderr(1, "config-14", "", "WARNING: Forcing 'archiver = on'").line("config-14", "home/conf.d/three.conf", "description = Third", "").line("config-14", "home/conf.d/three.conf", "", "description = a").line("config-14", "home/conf.d/three.conf", "", "[b]").run("list-servers"),
        scenario("config-update-beside-a-global-value", "config.md 17", FILES.global("configuration_files_directory = {root}/home/conf.d\ncompression = gzip")).line("config-15", "home/.barman.auto.conf", "[two]", "").line("config-15", "home/.barman.auto.conf", "compression = xz", "")
            .then(files)
            .run(r#"config-update '[{"scope":"server","server_name":"two","compression":"xz"}]'"#)
            .run("-f json show-servers two")
            .rules(&[Pid]),
    ]
}

fn updates() -> Vec<Scenario> {
    let quiet = |scenario: Scenario| {
        QUIET.iter().fold(scenario, |scenario, (pattern, look)| {
            scenario.files(pattern, *look)
        })
    };
    vec![
        scenario("config-update", "config.md 12", FILES)
            .then(files)
            .run(r#"config-update '[{"scope":"server","server_name":"three","description":"new"}]'"#)
            .run("list-servers")
            .rules(&[Pid])
            .short(),
        scenario("config-update-json", "config.md 12.6", FILES)
            .then(files)
            .run(r#"-f json config-update '[{"scope":"server","server_name":"three","description":"new"}]'"#)
            .run("-q config-update []")
            .rules(&[Pid]),
        scenario("config-update-new-options", "config.md 12.4, 12.5", FILES)
            .then(files)
            .run(r#"config-update '[{"scope":"server","server_name":"three","slot_name":"s","reuse_backup":"link"}]'"#)
            .run(r#"config-update '[{"scope":"server","server_name":"three","slot_name":"t"}]'"#)
            .run("-f json show-servers three")
            .rules(&[Pid]),
        scenario("config-update-new-sections", "config.md 12.2", FILES)
            .then(files)
            .run(r#"config-update '[{"scope":"model","model_name":"m","cluster":"c","conninfo":"host=x"}]'"#)
            .run(r#"config-update '[{"scope":"server","server_name":"four","active":"off"}]'"#)
            .run("list-servers")
            .stdout(1, "config-12", "Skipping inactive server 'four'", "")
            .rules(&[Pid]),
        scenario("config-update-several", "config.md 12.1", FILES)
            .then(files)
            .run(r#"config-update '[{"scope":"model","model_name":"one-model","description":"a"},{"scope":"server","server_name":"three","compression":"xz"},{"scope":"server","server_name":"two","parallel_jobs":"2"}]'"#)
            .rules(&[Pid])
            .stdout(0, "config-12", "Skipping inactive server 'two'", ""),
        scenario("config-update-nothing", "config.md 12.1", FILES)
            .then(files)
            .run("config-update []")
            .run("config-update {}")
            .rules(&[Pid]),
        scenario("config-update-first", "config.md 12.3", FILES)
            .run(r#"config-update '[{"scope":"server","server_name":"two","parallel_jobs":"2"}]'"#)
            .rules(&[Pid])
            .file("config-16", "home/.barman.auto.conf", "mode 600", "mode 644")
            .file("config-16", "home/cfg_changes.queue", "mode 600", "mode 644"),
        quiet(
            scenario("cron-applies-changes", "config.md 12.3", FILES)
                .then(poisoned)
                .run("cron")
                .run("list-servers"),
        ),
        quiet(
            scenario("cron-changes-under-way", "config.md 12.3", FILES)
                .then(poisoned)
                .then(|stage| stage.hold("config-update"))
                .run("cron"),
        ),
        scenario("config-update-under-way", "config.md 12.1", FILES)
            .then(files)
            .then(|stage| stage.hold("config-update"))
            .run("config-update []")
            .run("-f json config-update []")
            .hint(0, "HINT: another process changes the configuration: try again"),
    ]
}

fn refusals() -> Vec<Scenario> {
    let refused = |name: &'static str, command: &'static str| {
        scenario(name, "config.md 12.2", FILES)
            .then(files)
            .run(command)
            .rules(&[Pid])
    };
    vec![
        scenario("config-update-no-json", "config.md 12.1", FILES).then(files).run("config-update x").prose().hint(0, ANY_HINT),
        refused("config-update-no-list", "config-update '{\"a\": 1}'").prose().hint(0, ANY_HINT),
        refused("config-update-no-objects", "config-update '[1]'").prose().hint(0, ANY_HINT),
        refused("config-update-null", "config-update null").prose().hint(0, ANY_HINT),
        refused("config-update-no-scope", "config-update '[{}]'"),
        refused("config-update-bad-scope", "config-update '[{\"scope\": \"all\", \"x\": [1, null, true, \"it\"]}]'"),
        refused("config-update-no-server-name", "config-update '[{\"scope\": \"server\"}]'"),
        refused("config-update-no-model-name", "config-update '[{\"scope\": \"model\"}]'"),
        refused("config-update-server-is-model", "config-update '[{\"scope\": \"server\", \"server_name\": \"one-model\"}]'"),
        refused("config-update-model-is-server", "config-update '[{\"scope\": \"model\", \"model_name\": \"two\"}]'"),
        refused("config-update-new-model-without-cluster", "config-update '[{\"scope\": \"model\", \"model_name\": \"m\"}]'"),
        refused("config-update-unknown-option", "config-update '[{\"scope\": \"server\", \"server_name\": \"two\", \"archivr\": \"on\"}]'")
            .hint(0, "HINT: did you mean 'archiver'?")
            .short(),
        refused("config-update-global-option", "config-update '[{\"scope\": \"server\", \"server_name\": \"two\", \"barman_user\": \"x\"}]'").hint(0, "HINT: 'barman_user' can be set in [barman] only"),
        refused("config-update-option-not-for-models", "config-update '[{\"scope\": \"model\", \"model_name\": \"one-model\", \"wals_directory\": \"/w\"}]'").hint(0, "HINT: 'wals_directory' can be set in server sections, not in models"),
        refused("config-update-model-mark", "config-update '[{\"scope\": \"server\", \"server_name\": \"two\", \"model\": \"on\"}]'").hint(0, "HINT: 'model = on' makes a section a model"),
        refused("config-update-bad-boolean", "config-update '[{\"scope\": \"server\", \"server_name\": \"two\", \"archiver\": \"maybe\"}]'"),
        refused("config-update-bad-word", "-f json config-update '[{\"scope\": \"server\", \"server_name\": \"two\", \"backup_method\": \"tape\"}]'")
            .json(0, "all-16", "_ERROR[0]", "\"Validation failed for server 'two': key 'backup_method' -> Invalid value: 'tape' *\"", "\"Validation failed for server 'two': key 'backup_method' -> *\""),
        refused("config-update-not-a-text", "config-update '[{\"scope\": \"server\", \"server_name\": \"two\", \"archiver\": true}]'")
            .stderr(0, "all-16", "ERROR: Validation failed for server 'two': key 'archiver' -> expected a text in quotes, got True", "ERROR: Validation failed for server 'two': key 'archiver' -> expected string or bytes-like object, got 'bool'"),
        refused(
            "config-update-good-and-bad",
            "config-update '[{\"scope\": \"server\", \"server_name\": \"two\", \"description\": \"x\"}, {\"scope\": \"server\", \"server_name\": \"two\", \"archiver\": \"x\"}]'",
        ),
    ]
}

fn switches() -> Vec<Scenario> {
    const SKIPPED: &str = "Skipping inactive server 'main'";
    const BACK: &str = "Option 'description' of server 'main' goes back from 'through the model' to 'Main database': model 'two-model' is not active any more";
    const BACK_AS_JSON: &str = "\"Option 'description' of server 'main' goes back from 'through the model' to 'Main database': model 'two-model' is not active any more\"";
    vec![
        scenario("config-switch", "config.md 11.4", FILES)
            .then(files)
            .run("config-switch main two-model")
            .run("config-switch main two-model")
            .run("list-servers")
            .run("config-switch main --reset")
            .run("config-switch main --reset")
            .run("list-servers")
            .stdout(0, "config-12", SKIPPED, "")
            .stdout(3, "config-21", BACK, "")
            .stdout(3, "config-12", SKIPPED, "")
            .short(),
        scenario("config-switch-between-models", "config.md 11.4", FILES)
            .then(files)
            .run("config-switch main two-model")
            .run("config-switch main one-model")
            .run("list-servers")
            .stdout(0, "config-12", SKIPPED, "")
            .stdout(1, "config-21", BACK, "")
            .stdout(1, "config-12", SKIPPED, ""),
        scenario("config-switch-json", "config.md 11.4", FILES)
            .then(files)
            .run("-f json config-switch main two-model")
            .run("-f json config-switch main nosuch")
            .run("-f json config-switch --reset main")
            .json(
                0,
                "config-12",
                "_INFO[2]",
                "\"Skipping inactive server 'main'\"",
                "",
            )
            .json(2, "config-21", "_INFO[1]", BACK_AS_JSON, "")
            .json(
                2,
                "config-12",
                "_INFO[2]",
                "\"Skipping inactive server 'main'\"",
                "",
            ),
        scenario("config-switch-both", "config.md 11.4", FILES)
            .then(files)
            .run("config-switch main two-model")
            .run("config-switch --reset main nosuch")
            .stdout(0, "config-12", SKIPPED, "")
            .stdout(1, "config-21", BACK, "")
            .stdout(1, "config-12", SKIPPED, ""),
        scenario("config-switch-neither", "config.md 11.4", FILES)
            .run("config-switch main")
            .run("config-switch nosuch"),
        scenario("config-switch-unknown", "config.md 11.4", FILES)
            .run("config-switch nosuch one-model")
            .run("config-switch all one-model")
            .run("config-switch main nosuch")
            .run("config-switch one-model one-model")
            .hint(0, UNKNOWN_SERVER)
            .hint(2, "HINT: models for this server: one-model, two-model")
            .hint(3, UNKNOWN_SERVER),
        scenario("config-switch-other-cluster", "config.md 11.4", FILES)
            .then(files)
            .run("config-switch main other-model")
            .run("list-servers")
            .hint(
                0,
                "HINT: a model applies to the servers that have the same value of 'cluster'",
            ),
        scenario(
            "config-switch-no-directory",
            "config.md 11.4",
            FILES.main("active = off\ncluster = elsewhere"),
        )
        .run("config-switch main other-model")
        .prose()
        .hint(0, ANY_HINT)
        .stdout(
            0,
            "config-13",
            "",
            "Applying model 'other-model' to server 'main'",
        ),
        scenario("active-model-unknown", "config.md 11.1", FILES)
            .then(|stage| {
                files(stage)?;
                Ok(fs::write(stage.main(".active-model.auto"), "gone")?)
            })
            .run("list-servers")
            .run("delete main latest")
            .run("config-switch main two-model")
            .run("list-servers")
            .stdout(2, "config-12", SKIPPED, ""),
        scenario("active-model-of-another-cluster", "config.md 11.1", FILES)
            .then(|stage| {
                files(stage)?;
                Ok(fs::write(stage.main(".active-model.auto"), "other-model\n")?)
            })
            .run("list-servers")
            .run("-f json list-servers"),
        scenario("active-model-blank", "config.md 11.1", FILES)
            .then(|stage| {
                files(stage)?;
                Ok(fs::write(stage.main(".active-model.auto"), " \n")?)
            })
            .run("list-servers"),
    ]
}
