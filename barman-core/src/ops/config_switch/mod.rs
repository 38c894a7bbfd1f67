//! `config-switch`: makes a model the active one of a server, or none.
//!
//! The choice is one small file in the directory of the server. It is written under the lock of configuration changes,
//! under a temporary name first: whoever kills this leaves the old choice or the new one.

use std::path::Path;
use std::time::Duration;

use barman_wal::durable::{self, DurableError};
use barman_wal::lock::{Lock, LockError};
use serde::Serialize;

use super::config_update::{LOCK_FILE, make_lock_directory};
use super::receiver::{self, Restart};
use crate::config::shown::shown;
use crate::config::{
    ACTIVE_MODEL_FILE, Config, ConfigError, ModelConfig, Overlay, ServerConfig, Value, python, registry,
};
use crate::context::{Context, Level};
use crate::failure::{Class, Failure};
use crate::host::process::SelfCommand;

/// Name under which the log records it.
const TARGET: &str = "barman.config";
/// How long another change of the configuration may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What to do with the active model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Switch {
    /// Make this one active.
    To(String),
    /// Make none active.
    Reset,
}

/// An option that has another value now. Secrets are hidden.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OptionChange {
    /// The option.
    pub option: String,
    /// What it was, as it is shown.
    pub old: String,
    /// What it is.
    pub new: String,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigSwitchReport {
    /// The server.
    pub server: String,
    /// Its active model now.
    pub model: Option<String>,
    /// Whether it had another one before, or none.
    pub changed: bool,
    /// The options that the model changes.
    pub options: Vec<OptionChange>,
    /// The options that only the model before it had changed: they are as the server has them again.
    pub reverted: Vec<OptionChange>,
    /// What became of its receiver.
    pub receiver: Restart,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum ConfigSwitchError {
    /// The server has gone from the configuration files in this moment.
    #[error("Unknown server '{0}'")]
    UnknownServer(String),
    /// No such model.
    #[error("Unknown model '{model}'")]
    UnknownModel {
        /// The name.
        model: String,
        /// The models that there are for the server's cluster.
        known: Vec<String>,
    },
    /// The model is for servers of another cluster.
    #[error(
        "Model '{model}' has 'cluster={}', which is not compatible with 'cluster={}' from server '{server}'",
        or_none(.models), or_none(.servers)
    )]
    OtherCluster {
        /// The model.
        model: String,
        /// Its cluster.
        models: Option<String>,
        /// The server.
        server: String,
        /// Its cluster.
        servers: Option<String>,
    },
    /// The name cannot be kept: readers strip blanks.
    #[error("The name of model '{0}' begins or ends with a blank: it cannot be made the active one")]
    BlankName(String),
    /// Another change of the configuration is under way.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The choice cannot be written.
    #[error(transparent)]
    Write(#[from] DurableError),
    /// The configuration files cannot be read again.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

fn or_none(cluster: &Option<String>) -> &str {
    cluster.as_deref().unwrap_or("None")
}

impl Failure for ConfigSwitchError {
    fn class(&self) -> Class {
        match self {
            Self::Write(_) => Class::Exception,
            Self::Config(error) => error.class(),
            Self::Lock(LockError::Cancelled { .. }) => Class::Interrupted,
            _ => Class::Error,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownModel { known, .. } if known.is_empty() => {
                Some("there is no model for the cluster of this server".to_owned())
            }
            Self::UnknownModel { known, .. } => Some(format!("models for this server: {}", known.join(", "))),
            Self::OtherCluster { .. } => {
                Some("a model applies to the servers that have the same value of 'cluster'".to_owned())
            }
            Self::Write(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Some("the directory of the server does not exist yet: 'barman check' makes it".to_owned())
            }
            Self::Lock(LockError::Busy { .. }) => {
                Some("another process changes the configuration: try again".to_owned())
            }
            _ => None,
        }
    }
}

/// Switches the model of a server and restarts its receiver if that changed anything. `barman` is how to start one.
///
/// # Errors
/// [`ConfigSwitchError`]; nothing has changed then.
pub fn run(
    config: &Config,
    server: &str,
    switch: &Switch,
    barman: &SelfCommand,
    ctx: &Context<'_>,
) -> Result<ConfigSwitchReport, ConfigSwitchError> {
    make_lock_directory(config)?;
    let lock = Lock::acquire_within(
        &config.globals.lock_directory.join(LOCK_FILE),
        PATIENCE,
        Some(&ctx.cancel.flag()),
    )?;
    let switched = switch_locked(config, server, switch, ctx);
    // Waiting for a receiver to end is no change of the configuration.
    if let Err(error) = lock.remove() {
        log::debug!(target: TARGET, "{error}");
    }
    let (mut report, after) = switched?;
    if report.changed {
        report.receiver = receiver::restart(&after, barman, ctx);
    }
    Ok(report)
}

/// What is done under the lock, and the server as it is afterwards.
fn switch_locked(
    config: &Config,
    server: &str,
    switch: &Switch,
    ctx: &Context<'_>,
) -> Result<(ConfigSwitchReport, ServerConfig), ConfigSwitchError> {
    let fresh = config.reload(Overlay::new())?;
    let of = |config: &Config| {
        let found = config.server(server).cloned();
        found.ok_or_else(|| ConfigSwitchError::UnknownServer(server.to_owned()))
    };
    let before = of(&fresh)?;
    let path = before.backup_directory.join(ACTIVE_MODEL_FILE);
    let mut report = match switch {
        Switch::Reset => reset(&before, &path, ctx)?,
        Switch::To(name) => apply(&fresh, &before, name, &path, ctx)?,
    };
    if !report.changed {
        return Ok((report, before));
    }
    let after = of(&fresh.reload(Overlay::new())?)?;
    let old = before.active_model.as_deref().and_then(|name| fresh.model(name));
    if let Some(old) = old {
        let new = report.model.as_deref().and_then(|name| fresh.model(name));
        report.reverted = reverted(old, new, &before, &after);
        for change in &report.reverted {
            let text = format!(
                "Option '{}' of server '{}' goes back from '{}' to '{}': model '{}' is not active any more",
                change.option, before.name, change.old, change.new, old.name
            );
            ctx.say(Level::Info, TARGET, &text);
        }
    }
    Ok((report, after))
}

fn report(server: &ServerConfig, model: Option<&str>, changed: bool) -> ConfigSwitchReport {
    ConfigSwitchReport {
        server: server.name.clone(),
        model: model.map(str::to_owned),
        changed,
        options: Vec::new(),
        reverted: Vec::new(),
        receiver: Restart::Nothing,
    }
}

fn reset(
    server: &ServerConfig,
    path: &Path,
    ctx: &Context<'_>,
) -> Result<ConfigSwitchReport, ConfigSwitchError> {
    let text = format!("Resetting the active model for the server {}", server.name);
    ctx.say(Level::Info, TARGET, &text);
    let is_file = path.symlink_metadata().is_ok_and(|meta| !meta.is_dir());
    let removed = is_file && durable::remove_durable(path)?;
    Ok(report(server, None, removed))
}

fn apply(
    config: &Config,
    server: &ServerConfig,
    name: &str,
    path: &Path,
    ctx: &Context<'_>,
) -> Result<ConfigSwitchReport, ConfigSwitchError> {
    let model = config
        .model(name)
        .ok_or_else(|| ConfigSwitchError::UnknownModel {
            model: name.to_owned(),
            known: config
                .models
                .iter()
                .filter(|model| model.cluster == server.cluster)
                .map(|model| model.name.clone())
                .collect(),
        })?;
    if model.cluster != server.cluster {
        return Err(ConfigSwitchError::OtherCluster {
            model: name.to_owned(),
            models: model.cluster.clone(),
            server: server.name.clone(),
            servers: server.cluster.clone(),
        });
    }
    if name.trim() != name {
        return Err(ConfigSwitchError::BlankName(name.to_owned()));
    }
    if server.active_model.as_deref() == Some(name) {
        let text = format!(
            "Model '{name}' is already active for server '{}', skipping...",
            server.name
        );
        ctx.say(Level::Info, TARGET, &text);
        return Ok(report(server, Some(name), false));
    }
    let options = changes(server, model);
    durable::write_atomic(path, name.as_bytes(), 0o666)?;
    let text = format!("Applying model '{name}' to server '{}'", server.name);
    ctx.say(Level::Info, TARGET, &text);
    for change in &options {
        let text = format!(
            "Changing value of option '{}' for server '{}' from '{}' to '{}' through the model '{name}'",
            change.option, server.name, change.old, change.new
        );
        ctx.say(Level::Info, TARGET, &text);
    }
    Ok(ConfigSwitchReport {
        options,
        ..report(server, Some(name), true)
    })
}

/// What a model changes in a server as it is now.
fn changes(server: &ServerConfig, model: &ModelConfig) -> Vec<OptionChange> {
    let texts = model
        .overrides()
        .filter_map(|(option, value)| change(option, server.value(option)?, value));
    texts.collect()
}

/// What a model had changed in a server, and the one after it does not set.
fn reverted(
    old: &ModelConfig,
    new: Option<&ModelConfig>,
    before: &ServerConfig,
    after: &ServerConfig,
) -> Vec<OptionChange> {
    let is_set = |option: &str| new.is_some_and(|new| new.overrides().any(|(name, _)| name == option));
    let options = old.overrides().filter(|(option, _)| !is_set(option));
    options
        .filter_map(|(option, _)| change(option, before.value(option)?, after.value(option)?))
        .collect()
}

/// A change as it is shown, if there is one. Two secrets look the same.
fn change(option: &str, old: &Value, new: &Value) -> Option<OptionChange> {
    if old == new {
        return None;
    }
    let def = registry::server_option(option)?;
    let change = OptionChange {
        option: option.to_owned(),
        old: python::text(&shown(def, old)),
        new: python::text(&shown(def, new)),
    };
    (change.old != change.new || change.old.contains("*REDACTED*")).then_some(change)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Mutex;

    use super::*;
    use crate::context::{Cancel, Message, Progress, SystemClock};
    use crate::host::process::Descriptors;

    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Progress for Told {
        fn message(&self, message: Message<'_>) {
            self.0.lock().unwrap().push(message.text.to_owned());
        }
    }

    struct World(tempfile::TempDir);

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let home = dir.path().join("home");
            fs::create_dir_all(home.join("s")).unwrap();
            let text = format!(
                "[barman]\nbarman_home = {}\n[s]\nconninfo = host=a password=x\nbackup_method = postgres\n\
                 streaming_archiver = on\nslot_name = b\ncluster = c\n[t]\nactive = off\ncluster = c\n\
                 [a]\nmodel = on\ncluster = c\nconninfo = host=a password=y\narchiver_batch_size = 5\n\
                 snapshot_disks = x,y\n[b]\nmodel = on\ncluster = c\ndescription = B\n[o]\nmodel = on\ncluster = x\n",
                home.display()
            );
            fs::write(dir.path().join("c"), text).unwrap();
            Self(dir)
        }

        fn stored(&self) -> Option<String> {
            fs::read_to_string(self.0.path().join("home/s/.active-model.auto")).ok()
        }

        fn switch(
            &self,
            server: &str,
            switch: &Switch,
        ) -> (Result<ConfigSwitchReport, ConfigSwitchError>, Vec<String>) {
            let (told, cancel) = (Told::default(), Cancel::new());
            let ctx = Context {
                progress: &told,
                cancel: &cancel,
                clock: &SystemClock,
            };
            let config = Config::load(&self.0.path().join("c"), None).unwrap();
            let barman = SelfCommand {
                program: "/bin/true".into(),
                config: config.path.clone(),
                descriptors: Descriptors::Close,
            };
            let result = run(&config, server, switch, &barman, &ctx);
            (result, told.0.into_inner().unwrap())
        }
    }

    fn to(model: &str) -> Switch {
        Switch::To(model.to_owned())
    }

    #[test]
    fn there_and_back() {
        let world = World::new();
        let (report, told) = world.switch("s", &to("a"));
        assert_eq!(report.unwrap().receiver, Restart::Started);
        assert_eq!(world.stored().as_deref(), Some("a"));
        assert_eq!(
            told,
            [
                "Applying model 'a' to server 's'",
                "Changing value of option 'archiver_batch_size' for server 's' from '0' to '5' through the model 'a'",
                "Changing value of option 'conninfo' for server 's' from 'host=a password=*REDACTED*' to \
                 'host=a password=*REDACTED*' through the model 'a'",
                "Changing value of option 'snapshot_disks' for server 's' from 'None' to '['x', 'y']' through the model 'a'",
                "Starting streaming archiver for server s",
            ]
        );
        let (report, told) = world.switch("s", &to("a"));
        assert!(!report.unwrap().changed);
        assert_eq!(told, ["Model 'a' is already active for server 's', skipping..."]);
        let (report, told) = world.switch("s", &to("b"));
        assert_eq!(report.unwrap().model.as_deref(), Some("b"));
        assert_eq!(
            told,
            [
                "Applying model 'b' to server 's'",
                "Changing value of option 'description' for server 's' from 'None' to 'B' through the model 'b'",
                "Option 'archiver_batch_size' of server 's' goes back from '5' to '0': model 'a' is not active any more",
                "Option 'conninfo' of server 's' goes back from 'host=a password=*REDACTED*' to \
                 'host=a password=*REDACTED*': model 'a' is not active any more",
                "Option 'snapshot_disks' of server 's' goes back from '['x', 'y']' to 'None': model 'a' is not active any more",
                "Starting streaming archiver for server s",
            ]
        );
        let (report, told) = world.switch("s", &Switch::Reset);
        let report = report.unwrap();
        assert!(report.changed && world.stored().is_none());
        assert_eq!(report.reverted.len(), 1);
        assert_eq!(
            told[..2],
            [
                "Resetting the active model for the server s",
                "Option 'description' of server 's' goes back from 'B' to 'None': model 'b' is not active any more",
            ]
        );
        let (report, told) = world.switch("s", &Switch::Reset);
        assert_eq!((report.unwrap().receiver, told.len()), (Restart::Nothing, 1));
        let locks = fs::read_dir(world.0.path().join("home")).unwrap();
        let names: Vec<_> = locks.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["s"], "no lock file stays");
    }

    #[test]
    fn a_missing_lock_directory_is_made() {
        let world = World::new();
        let locks = world.0.path().join("run/barman");
        let path = world.0.path().join("c");
        let text = fs::read_to_string(&path).unwrap();
        let global = format!("[barman]\nbarman_lock_directory = {}\n", locks.display());
        fs::write(&path, text.replace("[barman]\n", &global)).unwrap();
        let (report, told) = world.switch("s", &to("b"));
        assert!(report.unwrap().changed, "{told:?}");
        assert_eq!(world.stored().as_deref(), Some("b"));
        let mode = fs::metadata(&locks).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let world = World::new();
        let (error, told) = world.switch("s", &to("nosuch"));
        let error = error.unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), told.len()),
            ("Unknown model 'nosuch'", 0)
        );
        assert_eq!(error.hint().as_deref(), Some("models for this server: a, b"));
        let (error, told) = world.switch("s", &to("o"));
        assert_eq!(
            error.unwrap_err().to_string(),
            "Model 'o' has 'cluster=x', which is not compatible with 'cluster=c' from server 's'"
        );
        assert_eq!((told.len(), world.stored()), (0, None));
        // The directory of the server is not there.
        let (error, told) = world.switch("t", &to("a"));
        let error = error.unwrap_err();
        assert_eq!((error.class(), told.len()), (Class::Exception, 0), "{error}");
        assert!(world.switch("nosuch", &to("a")).0.is_err());
    }

    #[test]
    fn an_inactive_server_gets_no_receiver() {
        let world = World::new();
        fs::create_dir(world.0.path().join("home/t")).unwrap();
        let (report, told) = world.switch("t", &to("b"));
        let report = report.unwrap();
        assert_eq!(
            (report.receiver, report.changed),
            (Restart::Left, true),
            "{told:?}"
        );
    }
}
