//! Configuration files, PostgreSQL's configuration files, option values, restore targets (`barman-core`).

use std::cell::Cell;
use std::fs;
use std::path::Path;

use barman_core::config::Config;
use barman_core::config::edit::{self, Setting};
use barman_core::config::ini::{self, Ini};
use barman_core::config::registry::{DefaultValue, GLOBAL_OPTIONS, SERVER_OPTIONS};
use barman_core::config::{interpolation, parse, types};
use barman_core::host::remote::RemoteHost;
use barman_core::host::{process, shell};
use barman_core::ops::check_archived_wal_range::WalRange;
use barman_core::ops::config_update::queue;
use barman_core::ops::restore::conf::{self, Include};
use barman_core::ops::restore::{
    Target, TargetAction, TargetTexts, TargetTimeline, settings, tablespaces, time,
};

use crate::input::{fresh_directory, reached, text};

/// A configuration file: sections and entries, written in the plainest way and read again.
pub fn ini_file(bytes: &[u8]) {
    let Ok(file) = Ini::parse("barman.conf", bytes) else {
        return;
    };
    let mut plain = String::new();
    for section in &file.sections {
        plain.push_str(&format!("[{}]\n", section.name));
        for entry in &section.entries {
            reached();
            assert!(!ini::unquote(&entry.value).contains('\0') || entry.value.contains('\0'));
            let value = entry.value.replace('\n', "\n  ");
            plain.push_str(&format!("{} = {value}\n", entry.key));
        }
        assert!(file.section(&section.name).is_some());
    }
    let again =
        Ini::parse("barman.conf", plain.as_bytes()).unwrap_or_else(|error| panic!("{plain:?}: {error}"));
    assert_eq!(again.sections.len(), file.sections.len());
    for (one, other) in again.sections.iter().zip(&file.sections) {
        assert_eq!((&one.name, one.entries.len()), (&other.name, other.entries.len()));
    }
}

/// A configuration file with one option changed: the first line is section, option and value, the rest is the file. Nothing
/// else may change.
pub fn edited_file(bytes: &[u8]) {
    let Some((wanted, file)) = text(bytes).and_then(|text| text.split_once('\n')) else {
        return;
    };
    let mut words = wanted.splitn(3, ' ');
    let mut word = || words.next().unwrap_or_default();
    let setting = Setting {
        section: word(),
        key: word(),
        value: word(),
    };
    let Ok(edited) = edit::set("f", file, setting) else {
        return;
    };
    reached();
    let (before, after) = (
        Ini::parse("f", file.as_bytes()),
        Ini::parse("f", edited.as_bytes()),
    );
    let (Ok(before), Ok(after)) = (before, after) else {
        panic!("{edited:?} cannot be read")
    };
    for section in &before.sections {
        for entry in &section.entries {
            let now = after
                .section(&section.name)
                .and_then(|section| section.entries.iter().find(|one| one.key == entry.key))
                .map(|one| one.value.as_str());
            let changed = section.name == setting.section && entry.key == setting.key;
            let expected = if changed { setting.value } else { &entry.value };
            assert_eq!(now, Some(expected), "[{}] {}", section.name, entry.key);
        }
    }
    let again = edit::set("f", &edited, setting);
    assert_eq!(
        again.as_deref(),
        Ok(edited.as_str()),
        "a second time changes nothing"
    );
}

/// The queue of configuration changes: what was understood is written and read the same.
pub fn change_queue(bytes: &[u8]) {
    let queue = queue::parse(bytes.to_vec());
    if !queue.sets.is_empty() {
        reached();
    }
    let again = queue::parse(queue::text(&queue.sets).into_bytes());
    assert_eq!((again.sets, again.malformed), (queue.sets, false));
}

/// `%(key)s`: the first line is the value, the others are the options it may refer to.
pub fn interpolated(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let mut lines = text.lines();
    let value = lines.next().unwrap_or_default();
    let options: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once('=')).collect();
    let asked = Cell::new(0_usize);
    let lookup = |key: &str| {
        asked.set(asked.get() + 1);
        options
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| (*value).to_owned())
    };
    if let Ok(expanded) = interpolation::expand(value, &lookup) {
        if asked.get() > 0 {
            reached();
        }
        assert!(
            expanded.len() <= (2 << 20) + text.len(),
            "grows to {}",
            expanded.len()
        );
        let _ = interpolation::expand_again(&expanded, &|_| None);
    }
    assert!(asked.get() < 2_000_000, "{} references followed", asked.get());
    let again = interpolation::expand_again(value, &lookup);
    assert!(again.len() <= value.len().saturating_mul(text.len().max(1)));
}

/// The value of an option of every kind, and the parsers of single values.
pub fn option_values(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    for option in SERVER_OPTIONS.iter().chain(GLOBAL_OPTIONS) {
        let _ = parse::parse(option.kind, text, option.default != DefaultValue::Unset);
    }
    if let Some(number) = parse::integer(text) {
        assert_eq!(parse::integer(&number.to_string()), Some(number));
    }
    if let Some(bytes) = parse::size(text) {
        assert_eq!(parse::size(&bytes.to_string()), Some(bytes));
    }
    let _ = (
        parse::boolean(text),
        parse::interval(text),
        parse::cloud_provider(text),
    );
    if let Some(policy) = types::parse_retention_policy(text) {
        reached();
        assert_eq!(
            types::parse_retention_policy(&policy.to_string()),
            Some(policy),
            "{policy}"
        );
    }
    if let Some((begin, end)) = text.split_once(' ')
        && WalRange::parse(begin, end).is_ok()
    {
        assert_eq!((begin.len(), end.len()), (24, 24));
    }
    if let Some(method) = types::BackupMethod::from_word(text) {
        assert_eq!(method.as_str(), text);
    }
    let _ = (
        process::task_of_lock("main", text),
        process::task_of_lock("", text),
    );
    if let Some(task) = process::task_of_lock("main", text).filter(|task| *task != "sync-backup") {
        assert_eq!(
            process::task_lock(Path::new("/"), "main", task),
            Path::new("/").join(text)
        );
    }
}

/// A whole configuration: files read, merged, interpolated, resolved and validated.
pub fn configuration(bytes: &[u8]) {
    use std::sync::{Mutex, PoisonError};
    static LOCK: Mutex<()> = Mutex::new(());
    let _one_at_a_time = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let home = fresh_directory("configuration");
    let path = home.join("barman.conf");
    fs::write(&path, bytes).expect("write a file");
    let Ok(config) = Config::load(&path, Some(&home)) else {
        return;
    };
    for server in &config.servers {
        reached();
        assert_eq!(
            config.server(&server.name).map(|found| &found.name),
            Some(&server.name)
        );
        let _ = (server.wal_conninfos(), config.source(&server.name, "conninfo"));
    }
}

/// `--target-time`: what it is shown as is the same time.
pub fn target_time(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let now: jiff::Zoned = "2026-11-21T04:47:24.5+01:00[+01:00]".parse().expect("a time");
    let Ok(target) = time::parse(text, &now) else {
        return;
    };
    reached();
    let shown = target.to_string();
    let again = time::parse(&shown, &now).unwrap_or_else(|error| panic!("{shown}: {error}"));
    assert_eq!(
        (again.civil, again.offset),
        (target.civil, target.offset),
        "{shown}"
    );
    let _ = target.timestamp();
}

/// The other options of a restore.
pub fn restore_options(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    for texts in [
        TargetTexts {
            lsn: Some(text),
            ..TargetTexts::default()
        },
        TargetTexts {
            xid: Some(text),
            ..TargetTexts::default()
        },
        TargetTexts {
            name: Some(text),
            ..TargetTexts::default()
        },
        TargetTexts {
            time: Some(text),
            xid: Some(text),
            immediate: true,
            ..TargetTexts::default()
        },
    ] {
        let _ = Target::from_texts(texts);
    }
    if let Ok(timeline) = text.parse::<TargetTimeline>() {
        assert_eq!(timeline.text().parse(), Ok(timeline));
    }
    if let Ok(action) = text.parse::<TargetAction>() {
        assert_eq!(action.text(), text);
    }
    let rules: Vec<String> = text.lines().map(str::to_owned).collect();
    if let Ok(rules) = tablespaces::parse_rules(&rules) {
        if !rules.is_empty() {
            reached();
        }
        assert!(rules.iter().all(|(_, place)| !place.as_os_str().is_empty()));
        let _ = tablespaces::place(&[], &rules);
    }
}

/// `postgresql.conf` of a restored server: no dangerous setting survives, and nothing else is changed.
pub fn postgresql_conf(bytes: &[u8]) {
    for version in [100_000, 150_000] {
        let rewritten = conf::rewrite(bytes, version, &[]);
        let dangers: Vec<String> = conf::dangers(bytes)
            .into_iter()
            .map(|danger| danger.key)
            .collect();
        for danger in conf::dangers_of_include(&rewritten.content, version) {
            let harmless = danger.key == "archive_command" && danger.value == "false";
            assert!(
                harmless || dangers.contains(&danger.key),
                "{danger:?} is still there"
            );
        }
        let twice = conf::rewrite(&rewritten.content, version, &[]);
        assert!(
            twice.changes.iter().all(|change| change.key == "archive_command"),
            "{:?}",
            twice.changes
        );
        let appended = conf::rewrite(bytes, version, &["restore_command = 'x'".to_owned()]);
        assert!(appended.content.ends_with(b"restore_command = 'x'\n"));
        assert_eq!(appended.changes, rewritten.changes);
        if rewritten.changes.is_empty() {
            assert_eq!(rewritten.content, bytes);
        } else {
            reached();
        }
    }
    let _ = conf::includes(bytes);
    // A value that we quote is read as it was.
    let Some(name) = text(bytes).filter(|name| !name.is_empty()) else {
        return;
    };
    let line = format!("include = {}", settings::quote_setting(name));
    assert!(!line.contains(['\n', '\r']));
    assert_eq!(
        conf::includes(line.as_bytes()),
        [Include::File(name.to_owned())],
        "{line}"
    );
}

/// `ssh_command`: words with quotes, and what is quoted for a shell.
pub fn ssh_command(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let words = shell::words(text);
    let by_words = RemoteHost::by_words(text, None);
    assert_eq!(by_words.is_some(), !words.is_empty());
    assert_eq!(by_words.is_some(), !text.trim().is_empty());
    for word in &words {
        reached();
        assert!(!word.raw().is_empty() && text.contains(word.raw()));
        // Quotes only take away.
        assert!(word.value().len() <= word.raw().len());
        // A word in quotes is that word again.
        let value = word.value();
        let quoted = shell::between_quotes(&value);
        if !value.contains(['\'', '\\']) {
            let again: Vec<String> = shell::words(&quoted)
                .into_iter()
                .map(shell::Word::value)
                .collect();
            assert_eq!(again, [value]);
        }
    }
    if let Some(host) = RemoteHost::by_shell(text, None) {
        assert!(host.shown().starts_with(text.trim()));
    }
}
