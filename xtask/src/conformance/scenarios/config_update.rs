//! `config-update`, `config-switch`, and what `cron` does with changes that wait.

use std::fs;

use anyhow::Result;

use crate::conformance::compare::Look;
use crate::conformance::execute::Stage;
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
    all
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
    const EXAMPLE: &str = "HINT: <words>";
    let refused = |name: &'static str, command: &'static str| {
        scenario(name, "config.md 12.2", FILES)
            .then(files)
            .run(command)
            .rules(&[Pid])
    };
    vec![
        scenario("config-update-no-json", "config.md 12.1", FILES).then(files).run("config-update x").prose().hint(0, EXAMPLE),
        refused("config-update-no-list", "config-update '{\"a\": 1}'").prose().hint(0, EXAMPLE),
        refused("config-update-no-objects", "config-update '[1]'").prose().hint(0, EXAMPLE),
        refused("config-update-null", "config-update null").prose().hint(0, EXAMPLE),
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
            .stdout(3, "config-12", SKIPPED, "")
            .short(),
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
            .json(
                2,
                "config-12",
                "_INFO[1]",
                "\"Skipping inactive server 'main'\"",
                "",
            ),
        scenario("config-switch-both", "config.md 11.4", FILES)
            .then(files)
            .run("config-switch main two-model")
            .run("config-switch --reset main nosuch")
            .stdout(0, "config-12", SKIPPED, "")
            .stdout(1, "config-12", SKIPPED, ""),
        scenario("config-switch-neither", "config.md 11.4", FILES)
            .run("config-switch main")
            .run("config-switch nosuch"),
        scenario("config-switch-unknown", "config.md 11.4", FILES)
            .run("config-switch nosuch one-model")
            .run("config-switch all one-model")
            .run("config-switch main nosuch")
            .run("config-switch one-model one-model")
            .hint(0, "HINT: 'barman list-servers' shows the configured servers")
            .hint(2, "HINT: models for this server: one-model, two-model")
            .hint(3, "HINT: 'barman list-servers' shows the configured servers"),
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
        .hint(0, "HINT: <words>")
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
