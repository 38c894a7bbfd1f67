//! The checks about how WAL comes.

use super::facts::Facts;
use super::report::CheckResult;
use crate::host::process;
use crate::server::ArchiveSettings;

type Found = Result<Vec<CheckResult>, String>;

/// The streaming archiver. The first two names are those of a program that is built in here.
pub fn streaming(facts: &mut Facts<'_, '_>) -> Found {
    let config = facts.config();
    let running = process::find(&config.lock_directory, &config.name, "receive-wal").is_some();
    let hint = if running {
        ""
    } else {
        "See the Barman log file for more details"
    };
    Ok(vec![
        CheckResult::ok("pg_receivexlog", ""),
        CheckResult::ok("pg_receivexlog compatible", ""),
        CheckResult {
            ok: running,
            ..CheckResult::ok("receive-wal running", hint)
        },
    ])
}

/// The file archiver.
pub fn file(facts: &mut Facts<'_, '_>) -> Found {
    // A server that is down is not tried again: that would cost the same time once more.
    if facts.remote().sql_error.is_some() {
        return Ok(vec![]);
    }
    Ok(judged(facts.archive_settings()))
}

/// What the settings of the server say.
fn judged(settings: ArchiveSettings) -> Vec<CheckResult> {
    let Some(mode) = settings.mode else {
        return vec![];
    };
    let mut found = vec![if mode == "on" || mode == "always" {
        CheckResult::ok("archive_mode", "")
    } else {
        CheckResult::failed("archive_mode", "please set it to 'on' or 'always'")
    }];
    let command = settings
        .command
        .filter(|command| !command.is_empty() && command != "(disabled)");
    let library = settings.library.filter(|library| !library.is_empty());
    if command.is_none() && library.is_none() {
        found.push(CheckResult::failed(
            "archive_command",
            "please set it accordingly to documentation",
        ));
        return found;
    }
    found.push(CheckResult::ok("archive_command", ""));
    if let Some(stats) = settings.stats {
        match stats.is_archiving {
            Some(ok) => found.push(CheckResult::of("continuous archiving", ok)),
            // Something failed and nothing was ever archived.
            None if stats.failed_count > 0 => found.push(CheckResult::of("continuous archiving", false)),
            None => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_as_good_as_a_command() {
        let both_ok = [true, true].as_slice();
        for (mode, command, library, expected) in [
            (Some("on"), Some("cp %p /x/%f"), None, both_ok),
            (Some("always"), None, Some("basic_archive"), both_ok),
            (Some("on"), Some("(disabled)"), Some("basic_archive"), both_ok),
            (Some("on"), Some(""), Some(""), &[true, false]),
            (Some("on"), Some("(disabled)"), None, &[true, false]),
            (Some("off"), None, Some("basic_archive"), &[false, true]),
            (None, Some("x"), None, &[]),
        ] {
            let found = judged(ArchiveSettings {
                mode: mode.map(str::to_owned),
                command: command.map(str::to_owned),
                library: library.map(str::to_owned),
                stats: None,
            });
            let names: Vec<&str> = found.iter().map(|result| result.name.as_str()).collect();
            assert!(
                names.is_empty() || names == ["archive_mode", "archive_command"],
                "{names:?}"
            );
            let oks: Vec<bool> = found.iter().map(|result| result.ok).collect();
            assert_eq!(oks, expected, "{mode:?} {command:?} {library:?}");
        }
    }
}
