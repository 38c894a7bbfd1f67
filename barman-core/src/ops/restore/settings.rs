//! The recovery settings of a restored server: which lines, and into which file (`restore.md` 13).
//!
//! Everything pasted into a command is quoted for the shell where it needs it, and everything pasted into a
//! setting for PostgreSQL. Plain paths give exactly Barman's text.

use std::path::{Path, PathBuf};

use super::options::{TargetAction, TargetTimeline};
use crate::host::shell;

/// The target in the form in which it is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TargetSetting {
    /// None.
    #[default]
    None,
    /// `recovery_target_time`, normalised.
    Time(String),
    /// `recovery_target_xid`.
    Xid(String),
    /// `recovery_target_lsn`.
    Lsn(String),
    /// `recovery_target_name`.
    Name(String),
    /// `recovery_target = 'immediate'`.
    Immediate,
}

/// Where the restored server gets its WAL from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WalSource {
    /// From its own `pg_wal`: nothing to set.
    PgWal,
    /// From a directory of the destination that is removed when recovery ends.
    Directory(PathBuf),
    /// From Barman on this host.
    GetWal {
        /// Name of the server.
        server: String,
        /// `barman_user`, named in a comment.
        user: String,
        /// A configuration file to name with `-c`.
        config: Option<PathBuf>,
    },
    /// By a command of the user.
    Command(String),
}

/// What the settings depend on.
#[derive(Debug, Clone)]
pub struct SettingsInput<'a> {
    /// `server_version_num` of the backup.
    pub version: u32,
    /// Where WAL comes from.
    pub source: &'a WalSource,
    /// The target.
    pub target: &'a TargetSetting,
    /// `--exclusive`.
    pub exclusive: bool,
    /// `--target-tli`.
    pub timeline: Option<TargetTimeline>,
    /// `--target-action`.
    pub action: Option<TargetAction>,
    /// `--standby-mode`.
    pub standby: bool,
}

/// The lines, without line ends, in Barman's order.
#[must_use]
pub fn lines(input: &SettingsInput<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    match input.source {
        WalSource::PgWal => {}
        WalSource::Directory(directory) => {
            let directory = shell::quote(&directory.to_string_lossy()).replace('%', "%%");
            lines.push(format!(
                "restore_command = {}",
                quote_setting(&format!("cp {directory}/%f %p"))
            ));
            if !input.standby {
                lines.push(format!(
                    "recovery_end_command = {}",
                    quote_setting(&format!("rm -fr {directory}"))
                ));
            }
        }
        WalSource::GetWal { server, user, config } => {
            let config = config
                .as_ref()
                .map(|path| format!("-c {} ", shell::quote(&path.to_string_lossy())))
                .unwrap_or_default();
            // The second blank of the standby form is Barman's.
            let partial = if input.standby { "" } else { "-P" };
            let command =
                format!("barman {config}get-wal {partial} {}", shell::quote(server)).replace('%', "%%");
            lines.push(format!(
                "# The 'barman get-wal' command must run as '{}' user",
                one_line(user)
            ));
            lines.push(format!(
                "restore_command = {}",
                quote_setting(&format!("{command} %f > %p"))
            ));
        }
        // The user wrote this for a settings file: only the quotes around it are ours.
        WalSource::Command(command) => {
            lines.push(format!(
                "restore_command = '{}'",
                one_line(&command.replace('\'', "''"))
            ));
        }
    }
    let mut set = |name: &str, value: &str| lines.push(format!("{name} = {}", quote_setting(value)));
    match input.target {
        TargetSetting::None => {}
        TargetSetting::Time(time) => set("recovery_target_time", time),
        TargetSetting::Xid(xid) => set("recovery_target_xid", xid),
        TargetSetting::Lsn(lsn) => set("recovery_target_lsn", lsn),
        TargetSetting::Name(name) => set("recovery_target_name", name),
        TargetSetting::Immediate => set("recovery_target", "immediate"),
    }
    let may_exclude = matches!(
        input.target,
        TargetSetting::Time(_) | TargetSetting::Xid(_) | TargetSetting::Lsn(_)
    );
    if input.exclusive && may_exclude {
        set("recovery_target_inclusive", "False");
    }
    if let Some(timeline) = input.timeline {
        // `current` is no value before PostgreSQL 12, but what an absent line means there.
        if !(timeline == TargetTimeline::Current && input.version < 120_000) {
            lines.push(format!("recovery_target_timeline = {}", timeline.text()));
        }
    }
    if let Some(action) = input.action {
        lines.push(format!("recovery_target_action = '{}'", action.text()));
    }
    if input.standby && input.version < 120_000 {
        lines.push("standby_mode = 'on'".to_owned());
    }
    lines
}

/// The values of the `Doing PITR` line, in Barman's order and notation.
#[must_use]
pub fn pitr_summary(target: &TargetSetting, timeline: Option<&str>) -> String {
    let (time, xid, lsn, name, immediate) = match target {
        TargetSetting::None => (None, None, None, None, false),
        TargetSetting::Time(text) => (Some(text), None, None, None, false),
        TargetSetting::Xid(text) => (None, Some(text), None, None, false),
        TargetSetting::Lsn(text) => (None, None, Some(text), None, false),
        TargetSetting::Name(text) => (None, None, None, Some(text), false),
        TargetSetting::Immediate => (None, None, None, None, true),
    };
    let mut parts = Vec::new();
    let mut add = |key: &str, value: Option<&str>| {
        if let Some(value) = value {
            parts.push(format!("{key}: {}", python_quote(value)));
        }
    };
    add("time", time.map(String::as_str));
    add("xid", xid.map(String::as_str));
    add("lsn", lsn.map(String::as_str));
    add("timeline", timeline);
    add("name", name.map(String::as_str));
    if immediate {
        parts.push("immediate: True".to_owned());
    }
    parts.join(", ")
}

fn python_quote(text: &str) -> String {
    if text.contains('\'') && !text.contains('"') {
        format!("\"{text}\"")
    } else {
        format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
    }
}

/// A value between single quotes as PostgreSQL's configuration files want it; line ends cannot be in there.
#[must_use]
pub fn quote_setting(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('\'');
    for character in value.chars() {
        match character {
            '\'' => quoted.push_str("''"),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            other => quoted.push(other),
        }
    }
    quoted.push('\'');
    quoted
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// The file of the destination that gets the lines.
#[must_use]
pub fn settings_file(version: u32, custom: Option<&str>) -> String {
    if version < 120_000 {
        "recovery.conf".to_owned()
    } else {
        custom.unwrap_or("postgresql.auto.conf").to_owned()
    }
}

/// The name that the final get-wal notice shows: with PostgreSQL 10 and 11 a custom name shows although the
/// settings are in `recovery.conf`.
#[must_use]
pub fn notice_file(version: u32, custom: Option<&str>) -> String {
    custom.map_or_else(|| settings_file(version, None), str::to_owned)
}

/// The signal file of PostgreSQL 12 and later, when recovery is to be asked for at all.
#[must_use]
pub fn signal_file(version: u32, standby: bool) -> Option<&'static str> {
    match (version >= 120_000, standby) {
        (false, _) => None,
        (true, true) => Some("standby.signal"),
        (true, false) => Some("recovery.signal"),
    }
}

/// Whether `path` is harmless in a settings file: text, without line ends.
#[must_use]
pub fn writable_path(path: &Path) -> bool {
    path.to_str()
        .is_some_and(|text| !text.contains(['\n', '\r', '\0']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use barman_wal::TimelineId;

    fn input<'a>(source: &'a WalSource, target: &'a TargetSetting) -> SettingsInput<'a> {
        SettingsInput {
            version: 150_000,
            source,
            target,
            exclusive: false,
            timeline: None,
            action: None,
            standby: false,
        }
    }

    fn get_wal() -> WalSource {
        WalSource::GetWal {
            server: "main".to_owned(),
            user: "barman".to_owned(),
            config: None,
        }
    }

    #[test]
    fn a_pitr_with_everything_has_the_lines_in_order() {
        let source = WalSource::Directory("/srv/d1/barman_wal".into());
        let target = TargetSetting::Time("2026-11-21 04:49:20.372148+00:00".to_owned());
        let settings = SettingsInput {
            exclusive: true,
            timeline: Some(TargetTimeline::Latest),
            action: Some(TargetAction::Promote),
            ..input(&source, &target)
        };
        assert_eq!(
            lines(&settings),
            [
                "restore_command = 'cp /srv/d1/barman_wal/%f %p'",
                "recovery_end_command = 'rm -fr /srv/d1/barman_wal'",
                "recovery_target_time = '2026-11-21 04:49:20.372148+00:00'",
                "recovery_target_inclusive = 'False'",
                "recovery_target_timeline = latest",
                "recovery_target_action = 'promote'",
            ]
        );
    }

    #[test]
    fn every_kind_of_target_has_its_line() {
        let source = WalSource::PgWal;
        for (target, exclusive, expected) in [
            (TargetSetting::None, true, vec![]),
            (
                TargetSetting::Xid("750".into()),
                false,
                vec!["recovery_target_xid = '750'"],
            ),
            (
                TargetSetting::Lsn("0/F00100".into()),
                true,
                vec![
                    "recovery_target_lsn = '0/F00100'",
                    "recovery_target_inclusive = 'False'",
                ],
            ),
            (
                TargetSetting::Name("it's".into()),
                true,
                vec!["recovery_target_name = 'it''s'"],
            ),
            (
                TargetSetting::Immediate,
                true,
                vec!["recovery_target = 'immediate'"],
            ),
        ] {
            assert_eq!(
                lines(&SettingsInput {
                    exclusive,
                    ..input(&source, &target)
                }),
                expected
            );
        }
    }

    #[test]
    fn get_wal_names_the_user_and_keeps_barmans_blanks() {
        let source = get_wal();
        assert_eq!(
            lines(&input(&source, &TargetSetting::None)),
            [
                "# The 'barman get-wal' command must run as 'barman' user",
                "restore_command = 'barman get-wal -P main %f > %p'"
            ]
        );
        assert_eq!(
            lines(&SettingsInput {
                standby: true,
                ..input(&source, &TargetSetting::None)
            })[1],
            "restore_command = 'barman get-wal  main %f > %p'"
        );
        let source = WalSource::GetWal {
            server: "m".into(),
            user: "u".into(),
            config: Some("/etc/b c.conf".into()),
        };
        assert_eq!(
            lines(&input(&source, &TargetSetting::None))[1],
            "restore_command = 'barman -c ''/etc/b c.conf'' get-wal -P m %f > %p'"
        );
        let source = WalSource::Command("fetch '%f' %p".into());
        assert_eq!(
            lines(&input(&source, &TargetSetting::None)),
            ["restore_command = 'fetch ''%f'' %p'"]
        );
    }

    #[test]
    fn old_versions_know_standby_mode_and_no_current_timeline() {
        let source = WalSource::PgWal;
        let settings = SettingsInput {
            version: 110_000,
            standby: true,
            timeline: Some(TargetTimeline::Current),
            ..input(&source, &TargetSetting::None)
        };
        assert_eq!(lines(&settings), ["standby_mode = 'on'"]);
        let settings = SettingsInput {
            timeline: TimelineId::new(3).map(TargetTimeline::Number),
            ..settings
        };
        assert_eq!(
            lines(&settings),
            ["recovery_target_timeline = 3", "standby_mode = 'on'"]
        );
    }

    #[test]
    fn a_directory_with_a_blank_never_makes_rm_remove_another() {
        let source = WalSource::Directory("/srv/a b'c/barman_wal".into());
        assert_eq!(
            lines(&input(&source, &TargetSetting::Immediate))[1],
            r"recovery_end_command = 'rm -fr ''/srv/a b''\\''''c/barman_wal'''"
        );
        let source = WalSource::Directory("/srv/100%f".into());
        assert_eq!(
            lines(&input(&source, &TargetSetting::Immediate))[0],
            "restore_command = 'cp /srv/100%%f/%f %p'"
        );
    }

    #[test]
    fn the_pitr_line_is_in_python_notation() {
        let lsn = TargetSetting::Lsn("0/F00100".into());
        assert_eq!(pitr_summary(&lsn, Some("1")), "lsn: '0/F00100', timeline: '1'");
        assert_eq!(pitr_summary(&TargetSetting::Immediate, None), "immediate: True");
        assert_eq!(
            pitr_summary(&TargetSetting::Name("it's".into()), None),
            "name: \"it's\""
        );
        assert_eq!(pitr_summary(&TargetSetting::None, Some("2")), "timeline: '2'");
    }

    #[test]
    fn files_depend_on_the_version() {
        assert_eq!(settings_file(110_000, Some("x")), "recovery.conf");
        assert_eq!(notice_file(110_000, Some("x")), "x");
        assert_eq!(settings_file(120_000, None), "postgresql.auto.conf");
        assert_eq!(signal_file(180_000, false), Some("recovery.signal"));
        assert_eq!(signal_file(180_000, true), Some("standby.signal"));
        assert_eq!(signal_file(100_000, true), None);
    }
}
