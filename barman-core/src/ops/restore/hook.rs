//! The hook scripts around a restore, and what they are told.

use std::collections::BTreeMap;

use barman_catalog::{BackupInfo, Catalog, Layout};
use serde_json::{Value, json};

use super::options::{RestoreOptions, Target, TargetTimeline};
use super::tablespaces;
use crate::config::ServerConfig;
use crate::context::Context;
use crate::host::hooks::{self, HookError, HookEvent, HookPhase};

/// Runs the scripts of this phase.
pub(super) fn run(
    config: &ServerConfig,
    layout: &Layout,
    catalog: &Catalog,
    backup: &BackupInfo,
    options: &RestoreOptions,
    phase: HookPhase,
    ctx: &Context<'_>,
) -> Result<(), HookError> {
    if !hooks::configured(config, HookEvent::Recovery, phase) {
        return Ok(());
    }
    hooks::run(
        config,
        HookEvent::Recovery,
        phase,
        &variables(layout, catalog, backup, options),
        ctx,
    )
}

fn variables(
    layout: &Layout,
    catalog: &Catalog,
    backup: &BackupInfo,
    options: &RestoreOptions,
) -> Vec<(&'static str, String)> {
    let mut variables = hooks::backup_variables(layout, catalog, backup);
    variables.extend([
        (
            "BARMAN_DESTINATION_DIRECTORY",
            options.destination.display().to_string(),
        ),
        ("BARMAN_TABLESPACES", tablespaces_json(options)),
        (
            "BARMAN_REMOTE_COMMAND",
            options.remote_ssh_command.clone().unwrap_or_default(),
        ),
        ("BARMAN_RECOVER_OPTIONS", options_json(options)),
    ]);
    variables
}

fn tablespaces_json(options: &RestoreOptions) -> String {
    let rules: BTreeMap<String, Value> = tablespaces::parse_rules(&options.tablespaces)
        .unwrap_or_default()
        .into_iter()
        .map(|(name, location)| (name, json!(location.display().to_string())))
        .collect();
    if rules.is_empty() {
        String::new()
    } else {
        python_json(&rules)
    }
}

/// The options that scripts learn; only those that are set.
fn options_json(options: &RestoreOptions) -> String {
    let mut all: BTreeMap<String, Value> = BTreeMap::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            all.insert(name.to_owned(), value);
        }
    };
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty()).map(Value::String);
    let flag = |on: bool| on.then_some(Value::Bool(true));
    set("copy_partial", flag(options.partial_wal));
    set("custom_restore_command", text(&options.restore_command));
    set("exclusive", flag(options.exclusive));
    set("recovery_conf_filename", text(&options.recovery_conf_filename));
    set("recovery_instance", text(&options.snapshot_recovery_instance));
    set("recovery_option_port", text(&options.recovery_option_port));
    set("standby_mode", flag(options.standby_mode));
    set(
        "target_action",
        options.target_action.map(|action| json!(action.text())),
    );
    match &options.target {
        Target::None => {}
        Target::Time(time) => set("target_time", Some(json!(time))),
        Target::Xid(xid) => set("target_xid", Some(json!(xid))),
        Target::Lsn(lsn) => set("target_lsn", Some(json!(lsn.to_string()))),
        Target::Name(name) => set("target_name", Some(json!(name))),
        Target::Immediate => set("target_immediate", Some(json!(true))),
    }
    set(
        "target_tli",
        options.target_tli.map(|timeline| match timeline {
            TargetTimeline::Number(number) => json!(number.get()),
            word => json!(word.text()),
        }),
    );
    if all.is_empty() {
        String::new()
    } else {
        python_json(&all)
    }
}

/// JSON as Python writes it, with a blank after each comma and colon and in ASCII: scripts may compare texts.
fn python_json(object: &BTreeMap<String, Value>) -> String {
    let parts: Vec<String> = object
        .iter()
        .map(|(key, value)| format!("{}: {value}", Value::String(key.clone())))
        .collect();
    let text = format!("{{{}}}", parts.join(", "));
    let mut ascii = String::with_capacity(text.len());
    let mut units = [0; 2];
    for character in text.chars() {
        if character.is_ascii() {
            ascii.push(character);
        } else {
            for unit in character.encode_utf16(&mut units) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::restore::options::TargetAction;

    #[test]
    fn options_are_told_as_json() {
        let mut options = RestoreOptions::new("latest", "/d");
        assert_eq!(
            (options_json(&options), tablespaces_json(&options)),
            (String::new(), String::new())
        );
        options.partial_wal = true;
        options.exclusive = true;
        options.target_action = Some(TargetAction::Pause);
        options.target = Target::Xid("7".into());
        options.tablespaces = vec!["z:/1".into(), "a \"q\":/é".into()];
        assert_eq!(
            options_json(&options),
            r#"{"copy_partial": true, "exclusive": true, "target_action": "pause", "target_xid": "7"}"#
        );
        assert_eq!(tablespaces_json(&options), r#"{"a \"q\"": "/\u00e9", "z": "/1"}"#);
        options.target_tli = Some(TargetTimeline::Number(barman_wal::TimelineId::new(3).unwrap()));
        assert!(options_json(&options).contains(r#""target_tli": 3,"#));
    }
}
