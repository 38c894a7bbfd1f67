//! What the user can ask of a restore, and which of it is not available.
//!
//! The names are those of the command line; every default is "as configured". Nothing here looks at a disk.

use std::path::{Path, PathBuf};

use barman_wal::{Lsn, TimelineId};

use super::error::RestoreError;

/// Where recovery shall stop: at most one of these.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Target {
    /// At the end of the WAL.
    #[default]
    None,
    /// At a point in time; the text as given, parsed by [`super::time::parse`].
    Time(String),
    /// At a transaction id, copied as given.
    Xid(String),
    /// At an LSN.
    Lsn(Lsn),
    /// At a named restore point, copied as given.
    Name(String),
    /// As soon as the backup is consistent.
    Immediate,
}

/// The texts of the five target options as they came from the command line.
#[derive(Debug, Clone, Copy, Default)]
pub struct TargetTexts<'a> {
    /// `--target-time`.
    pub time: Option<&'a str>,
    /// `--target-xid`.
    pub xid: Option<&'a str>,
    /// `--target-lsn`.
    pub lsn: Option<&'a str>,
    /// `--target-name`.
    pub name: Option<&'a str>,
    /// `--target-immediate`.
    pub immediate: bool,
}

impl Target {
    /// Makes one target of the options. An empty text counts as not given.
    ///
    /// # Errors
    ///
    /// Two or more targets, an LSN or a transaction id that is none.
    pub fn from_texts(texts: TargetTexts<'_>) -> Result<Self, RestoreError> {
        let given = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        let mut targets = Vec::new();
        if let Some(time) = given(texts.time) {
            targets.push(Self::Time(time));
        }
        if let Some(xid) = given(texts.xid) {
            targets.push(Self::Xid(xid));
        }
        let lsn = given(texts.lsn);
        let name = given(texts.name);
        let others = [lsn.is_some(), name.is_some(), texts.immediate];
        if targets.len() + others.iter().filter(|given| **given).count() > 1 {
            return Err(RestoreError::SeveralTargets);
        }
        if let Some(lsn) = lsn {
            return match lsn.trim().parse() {
                Ok(lsn) => Ok(Self::Lsn(lsn)),
                Err(_) => Err(RestoreError::BadLsn { text: lsn }),
            };
        }
        if let Some(name) = name {
            return Ok(Self::Name(name));
        }
        if texts.immediate {
            return Ok(Self::Immediate);
        }
        match targets.pop() {
            Some(Self::Xid(text)) if !is_transaction_id(&text) => Err(RestoreError::BadXid { text }),
            Some(target) => Ok(target),
            None => Ok(Self::None),
        }
    }
}

/// Whether PostgreSQL reads a number out of the text: decimal, or hexadecimal with `0x`. Of anything else it would make
/// 0, or the digits at its beginning, without a word.
fn is_transaction_id(text: &str) -> bool {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => {
            digits.bytes().all(|byte| byte.is_ascii_hexdigit()) && u64::from_str_radix(digits, 16).is_ok()
        }
        None => text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u64>().is_ok(),
    }
}

/// `--target-tli`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetTimeline {
    /// The timeline of the backup.
    Current,
    /// The highest timeline of the archive.
    Latest,
    /// A timeline by number.
    Number(TimelineId),
}

impl TargetTimeline {
    /// The value as PostgreSQL's `recovery_target_timeline` and the hooks take it.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::Current => "current".to_owned(),
            Self::Latest => "latest".to_owned(),
            Self::Number(timeline) => timeline.get().to_string(),
        }
    }
}

impl std::str::FromStr for TargetTimeline {
    type Err = String;

    /// `current`, `latest` or an integer of at least 1.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "current" => Ok(Self::Current),
            "latest" => Ok(Self::Latest),
            number => number
                .trim()
                .parse::<u32>()
                .ok()
                .and_then(TimelineId::new)
                .map(Self::Number)
                .ok_or_else(|| format!("'{text}' is not a valid timeline: give an integer of at least 1, 'latest' or 'current'")),
        }
    }
}

/// `--target-action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetAction {
    /// Recovery is paused, the server can be read.
    Pause,
    /// The server shuts down.
    Shutdown,
    /// The server becomes a primary on a new timeline.
    Promote,
}

impl TargetAction {
    /// The value of `recovery_target_action`.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Shutdown => "shutdown",
            Self::Promote => "promote",
        }
    }
}

impl std::str::FromStr for TargetAction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "pause" => Ok(Self::Pause),
            "shutdown" => Ok(Self::Shutdown),
            "promote" => Ok(Self::Promote),
            other => Err(format!("'{other}' is not one of pause, shutdown, promote")),
        }
    }
}

/// Options of `barman restore`. [`RestoreOptions::new`] gives the defaults.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// Id, shortcut, name, or `auto`.
    pub backup: String,
    /// Where the data directory shall be.
    pub destination: PathBuf,
    /// Where recovery shall stop.
    pub target: Target,
    /// `--target-tli`.
    pub target_tli: Option<TargetTimeline>,
    /// `--exclusive`: stop just before the target rather than just after it.
    pub exclusive: bool,
    /// `--target-action`.
    pub target_action: Option<TargetAction>,
    /// `--standby-mode`.
    pub standby_mode: bool,
    /// `--tablespace` rules as given, `NAME:LOCATION`.
    pub tablespaces: Vec<String>,
    /// `--get-wal` / `--no-get-wal`; `None` takes the configured `recovery_options`.
    pub get_wal: Option<bool>,
    /// `--partial-wal`: also deliver the last, incomplete segment.
    pub partial_wal: bool,
    /// `--skip-archive-wal`: do not archive what has been received first.
    pub skip_archive_wal: bool,
    /// `--staging-wal-directory`: where the WAL goes when there is a target.
    pub staging_wal_directory: Option<PathBuf>,
    /// `--recovery-conf-filename`: the file of the destination that gets the recovery settings.
    pub recovery_conf_filename: Option<String>,
    /// `--recovery-option-port`: for remote restores.
    pub recovery_option_port: Option<String>,
    /// `--restore-command`: replaces the generated one with get-wal.
    pub restore_command: Option<String>,
    /// `-j`: threads that copy; `None` takes `parallel_jobs`.
    pub jobs: Option<u32>,
    /// `--bwlimit` in kB/s, 0 is no limit; `None` takes `bandwidth_limit`.
    pub bwlimit: Option<u64>,
    /// `barman_user`, whom a comment in front of the generated `restore_command` names.
    pub barman_user: String,
    /// A configuration file that generated commands shall name with `-c`; `None` leaves it out, as Barman does.
    pub command_config: Option<PathBuf>,
    /// `--remote-ssh-command` (not available).
    pub remote_ssh_command: Option<String>,
    /// `--delta-restore` / `--no-delta-restore` (not available).
    pub delta_restore: Option<bool>,
    /// `--network-compression` / `--no-network-compression` (not available).
    pub network_compression: Option<bool>,
    /// `--staging-path`.
    pub staging_path: Option<PathBuf>,
    /// `--staging-location`.
    pub staging_location: Option<String>,
    /// `--local-staging-path`, deprecated.
    pub local_staging_path: Option<PathBuf>,
    /// `--recovery-staging-path`, deprecated.
    pub recovery_staging_path: Option<PathBuf>,
    /// `--combine-mode`; without effect on a backup that is not incremental.
    pub combine_mode: Option<String>,
    /// `--snapshot-recovery-instance`: refused for anything that is no snapshot backup.
    pub snapshot_recovery_instance: Option<String>,
}

impl RestoreOptions {
    /// A plain restore of `backup` to `destination`.
    #[must_use]
    pub fn new(backup: impl Into<String>, destination: impl Into<PathBuf>) -> Self {
        Self {
            backup: backup.into(),
            destination: destination.into(),
            target: Target::None,
            target_tli: None,
            exclusive: false,
            target_action: None,
            standby_mode: false,
            tablespaces: Vec::new(),
            get_wal: None,
            partial_wal: false,
            skip_archive_wal: false,
            staging_wal_directory: None,
            recovery_conf_filename: None,
            recovery_option_port: None,
            restore_command: None,
            jobs: None,
            bwlimit: None,
            barman_user: "barman".to_owned(),
            command_config: None,
            remote_ssh_command: None,
            delta_restore: None,
            network_compression: None,
            staging_path: None,
            staging_location: None,
            local_staging_path: None,
            recovery_staging_path: None,
            combine_mode: None,
            snapshot_recovery_instance: None,
        }
    }

    /// Whether this is a point-in-time recovery: any target, a timeline included.
    #[must_use]
    pub fn is_pitr(&self) -> bool {
        self.target != Target::None || self.target_tli.is_some()
    }

    /// Refuses what cannot be done at all, whatever the backup: the checks that need no catalogue, in Barman's order.
    ///
    /// # Errors
    ///
    /// The first option that is wrong or not available.
    pub fn validate(&self) -> Result<(), RestoreError> {
        let absolute = |option: &'static str, path: &Option<PathBuf>| match path {
            Some(path) if !path.is_absolute() => Err(RestoreError::NotAbsolute {
                option,
                path: path.clone(),
            }),
            _ => Ok(()),
        };
        absolute("--staging-path", &self.staging_path)?;
        if self.staging_location.as_deref() == Some("remote") && self.remote_ssh_command.is_none() {
            return Err(RestoreError::NeedsRemote {
                option: "--staging-location remote",
            });
        }
        absolute("--recovery-staging-path", &self.recovery_staging_path)?;
        absolute("--local-staging-path", &self.local_staging_path)?;
        if self.destination.as_os_str().is_empty() {
            return Err(RestoreError::NoDestination);
        }
        if contains_colon(&self.destination) {
            return Err(RestoreError::ColonInDestination {
                path: self.destination.clone(),
            });
        }
        if self.network_compression == Some(true) && self.remote_ssh_command.is_none() {
            return Err(RestoreError::NeedsRemote {
                option: "--network-compression",
            });
        }
        if self.target_action.is_some() && !self.is_pitr() {
            return Err(RestoreError::ActionWithoutTarget);
        }
        if self.remote_ssh_command.is_some() {
            return Err(RestoreError::NotAvailable {
                what: "a remote restore (--remote-ssh-command)",
            });
        }
        if let Some(name) = self.recovery_conf_filename.as_deref() {
            let mut parts = Path::new(name).components();
            let plain = !name.is_empty() && parts.all(|part| matches!(part, std::path::Component::Normal(_)));
            if !plain {
                return Err(RestoreError::BadFileName {
                    option: "--recovery-conf-filename",
                    name: name.to_owned(),
                });
            }
        }
        Ok(())
    }
}

fn contains_colon(path: &Path) -> bool {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).contains(&b':')
}
