//! `config-switch`: applies a configuration model, or takes it back, when the role of this node changes.

use std::time::Duration;

use crate::client::PgBackupApi;
use crate::events::{Event, Host};
use crate::follow::{End, Patience, follow};
use crate::protocol::NewOperation;

/// Pause between two questions for the state of the operation.
const PAUSE: Duration = Duration::from_secs(5);

/// What to switch, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSwitchOptions {
    /// Server as configured in Barman.
    pub barman_server: String,
    /// Model to apply. An empty one is none.
    pub barman_model: Option<String>,
    /// Take the active model back.
    pub reset: bool,
    /// The new role of this node.
    pub role: Role,
    /// On which role changes to switch.
    pub switch_when: SwitchWhen,
    /// The most that the switch may take; no limit without.
    pub timeout: Option<Duration>,
}

/// The role of a node in a Patroni cluster, in the words that callbacks get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `primary`
    Primary,
    /// `promoted`
    Promoted,
    /// `standby_leader`
    StandbyLeader,
    /// `replica`
    Replica,
    /// `demoted`
    Demoted,
}

impl Role {
    /// The role of a word.
    pub fn of(word: &str) -> Option<Self> {
        Some(match word {
            "primary" => Self::Primary,
            "promoted" => Self::Promoted,
            "standby_leader" => Self::StandbyLeader,
            "replica" => Self::Replica,
            "demoted" => Self::Demoted,
            _ => return None,
        })
    }

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Promoted => "promoted",
            Self::StandbyLeader => "standby_leader",
            Self::Replica => "replica",
            Self::Demoted => "demoted",
        }
    }
}

/// On which role changes to switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwitchWhen {
    /// When this node becomes the primary.
    Promoted,
    /// When it becomes a replica.
    Demoted,
    /// Whatever it becomes.
    Always,
}

impl SwitchWhen {
    /// The value of a word.
    pub fn of(word: &str) -> Option<Self> {
        Some(match word {
            "promoted" => Self::Promoted,
            "demoted" => Self::Demoted,
            "always" => Self::Always,
            _ => return None,
        })
    }

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::Demoted => "demoted",
            Self::Always => "always",
        }
    }
}

/// How `config-switch` ends; the numbers are its exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ConfigSwitchExit {
    /// The configuration is switched.
    ConfigSwitchDone = 0,
    /// Nothing to do for this role.
    ConfigSwitchSkipped = 1,
    /// The switch failed.
    ConfigSwitchFailed = 2,
    /// The API could not be reached or understood.
    HttpError = 3,
    /// Not exactly one of model and reset.
    InvalidArgs = 4,
}

impl ConfigSwitchExit {
    /// The exit code.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// What has to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Ask the service for this.
    Switch(NewOperation),
    /// The command is at its end. Why was told.
    End(ConfigSwitchExit),
}

/// Whether there is anything to do. The service is not needed for that.
///
/// ```
/// use patroni_barman::{ConfigSwitchExit, ConfigSwitchOptions, Decision, Role, Silent, SwitchWhen, decide};
///
/// let options = ConfigSwitchOptions {
///     barman_server: "main".to_owned(),
///     barman_model: Some("main:node2".to_owned()),
///     reset: false,
///     role: Role::Replica,
///     switch_when: SwitchWhen::Promoted,
///     timeout: None,
/// };
/// assert_eq!(decide(&options, &mut Silent), Decision::End(ConfigSwitchExit::ConfigSwitchSkipped));
/// ```
pub fn decide(options: &ConfigSwitchOptions, host: &mut dyn Host) -> Decision {
    let wanted = match options.switch_when {
        SwitchWhen::Promoted => matches!(options.role, Role::Primary | Role::Promoted),
        SwitchWhen::Demoted => matches!(options.role, Role::Replica | Role::Demoted),
        SwitchWhen::Always => true,
    };
    if !wanted {
        host.tell(&Event::Skipped {
            role: options.role.as_str(),
            switch_when: options.switch_when.as_str(),
        });
        return Decision::End(ConfigSwitchExit::ConfigSwitchSkipped);
    }
    let model = options.barman_model.as_deref();
    match (model.filter(|model| !model.is_empty()), options.reset) {
        (Some(model), false) => Decision::Switch(NewOperation::Model(model.to_owned())),
        (None, true) => Decision::Switch(NewOperation::Reset),
        (Some(_), true) | (None, false) => {
            host.tell(&Event::InvalidArguments {
                model,
                reset: options.reset,
            });
            Decision::End(ConfigSwitchExit::InvalidArgs)
        }
    }
}

/// Has the configuration switched if the role asks for it ([`decide`]), and returns when that has ended.
///
/// ```no_run
/// # use patroni_barman::{ApiOptions, ConfigSwitchExit, ConfigSwitchOptions, Role, SwitchWhen, Silent};
/// use patroni_barman::{PgBackupApi, config_switch};
///
/// let api = PgBackupApi::new("http://barman:7480", ApiOptions::default())?;
/// # let options = ConfigSwitchOptions { barman_server: "main".to_owned(), barman_model: None, reset: true,
/// #     role: Role::Primary, switch_when: SwitchWhen::Always, timeout: None };
/// assert_eq!(config_switch(&api, &options, &mut Silent), ConfigSwitchExit::ConfigSwitchDone);
/// # Ok::<(), patroni_barman::UrlError>(())
/// ```
pub fn config_switch(
    api: &PgBackupApi,
    options: &ConfigSwitchOptions,
    host: &mut dyn Host,
) -> ConfigSwitchExit {
    match decide(options, host) {
        Decision::Switch(operation) => switch(api, options, &operation, host),
        Decision::End(exit) => exit,
    }
}

/// Has the service do what [`decide`] said.
pub(crate) fn switch(
    api: &PgBackupApi,
    options: &ConfigSwitchOptions,
    operation: &NewOperation,
    host: &mut dyn Host,
) -> ConfigSwitchExit {
    let patience = Patience {
        pause: PAUSE,
        limit: options.timeout,
    };
    match follow(api, &options.barman_server, operation, patience, host) {
        End::Done => ConfigSwitchExit::ConfigSwitchDone,
        End::Failed => ConfigSwitchExit::ConfigSwitchFailed,
        End::Unknown => ConfigSwitchExit::HttpError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Silent;

    #[test]
    fn roles_and_moments() {
        let skips = |when: &str| -> String {
            ["primary", "promoted", "standby_leader", "replica", "demoted"]
                .into_iter()
                .map(|role| {
                    let options = ConfigSwitchOptions {
                        barman_server: "main".to_owned(),
                        barman_model: None,
                        reset: true,
                        role: Role::of(role).unwrap(),
                        switch_when: SwitchWhen::of(when).unwrap(),
                        timeout: None,
                    };
                    match decide(&options, &mut Silent) {
                        Decision::Switch(NewOperation::Reset) => 'r',
                        Decision::End(ConfigSwitchExit::ConfigSwitchSkipped) => '-',
                        other => panic!("{other:?}"),
                    }
                })
                .collect()
        };
        assert_eq!(skips("promoted"), "rr---");
        assert_eq!(skips("demoted"), "---rr");
        assert_eq!(skips("always"), "rrrrr");
    }

    #[test]
    fn exactly_one() {
        for (model, reset, role, expected) in [
            (None, false, Role::Primary, 4),
            (Some(""), false, Role::Primary, 4),
            (Some("m"), true, Role::Primary, 4),
            (Some(""), false, Role::Replica, 1),
        ] {
            let options = ConfigSwitchOptions {
                barman_server: "main".to_owned(),
                barman_model: model.map(str::to_owned),
                reset,
                role,
                switch_when: SwitchWhen::Promoted,
                timeout: None,
            };
            match decide(&options, &mut Silent) {
                Decision::End(exit) => assert_eq!(exit.code(), expected, "{model:?} {reset}"),
                Decision::Switch(operation) => panic!("{operation:?}"),
            }
        }
    }
}
