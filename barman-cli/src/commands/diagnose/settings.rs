//! The settings in `diagnose`: their values as JSON, and with `--show-config-source` which file they come from.

use crate::format;
use barman_core::config::registry::{SERVER_OPTIONS, server_option};
use barman_core::config::{self, Config, ModelConfig, ServerConfig};
use serde_json::{Map, Value, json};

/// How settings are shown.
pub(super) struct Settings<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Whether each comes with its source.
    pub with_source: bool,
}

impl Settings<'_> {
    /// A value, with the file that it comes from if that is wanted.
    fn entry(&self, value: Value, source: impl FnOnce() -> Option<String>) -> Value {
        if !self.with_source {
            return value;
        }
        let source = source().unwrap_or_else(|| "default".to_owned());
        json!({ "source": source, "value": value })
    }

    /// The file that sets an option in a section.
    fn source(&self, section: &str, option: &str) -> Option<String> {
        let path = self.config.source(section, option)?;
        Some(path.display().to_string())
    }

    /// `[barman]`, as written, and what is in force where nothing is written.
    pub fn global(&self) -> Value {
        let globals = &self.config.globals;
        let mut members = Map::new();
        let entry = |option: &str, value: Value| self.entry(value, || self.source("barman", option));
        for (option, text) in &globals.raw {
            members.insert(option.clone(), entry(option, secret(option, text)));
        }
        for (option, value) in [
            ("barman_lock_directory", json!(globals.lock_directory)),
            ("config_changes_queue", json!(globals.config_changes_queue)),
            ("lock_directory_cleanup", json!(globals.lock_directory_cleanup)),
        ] {
            members.insert(option.to_owned(), entry(option, value));
        }
        members.insert("errors_list".to_owned(), json!(self.config.path_conflicts));
        Value::Object(members)
    }

    /// The options of a model; null for those that it leaves alone.
    pub fn model(&self, model: &ModelConfig) -> Value {
        // An option that the model leaves alone comes from where servers would have it.
        let source = |option: &str| {
            let own = self.source(&model.name, option);
            own.or_else(|| self.source("barman", option))
        };
        let entry = |option: &str, value| self.entry(value, || source(option));
        let mut members = Map::new();
        for option in SERVER_OPTIONS.iter().filter(|option| option.scope.model) {
            members.insert(option.name.to_owned(), entry(option.name, Value::Null));
        }
        for (option, value) in model.overrides() {
            members.insert(option.to_owned(), entry(option, shown(option, value)));
        }
        for (option, value) in [("cluster", json!(model.cluster)), ("model", json!(true))] {
            members.insert(option.to_owned(), entry(option, value));
        }
        Value::Object(members)
    }

    /// The options of a server, and its name.
    pub fn server(&self, server: &ServerConfig) -> Value {
        let model = server.active_model.as_deref().and_then(|name| {
            let models = &self.config.models;
            models.iter().find(|model| model.name == name)
        });
        let source = |option: &str| {
            let of_model = model.filter(|model| model.overrides().any(|(name, _)| name == option));
            let inherited = || {
                let global = server_option(option).is_some_and(|known| known.scope.global);
                global.then(|| self.source("barman", option)).flatten()
            };
            match of_model {
                Some(model) => self.source(&model.name, option),
                None => self.source(&server.name, option).or_else(inherited),
            }
        };
        let mut members = Map::new();
        for (option, value) in server.values() {
            let value = match (option, &server.retention_policy) {
                // Where a policy is in force, its normal form.
                ("retention_policy", Some(policy)) => json!(policy.to_string()),
                ("wal_retention_policy", Some(_)) => json!("MAIN"),
                _ => shown(option, value),
            };
            members.insert(option.to_owned(), self.entry(value, || source(option)));
        }
        let name = self.entry(json!(server.name), || None);
        members.insert("name".to_owned(), name);
        Value::Object(members)
    }
}

/// A value as JSON: as `show-servers` has it, but for what that writes in words of its own.
fn shown(option: &str, value: &config::Value) -> Value {
    match value {
        config::Value::Interval(interval) => json!(format::interval(*interval)),
        config::Value::Words(words) => json!(words.join(",")),
        value => server_option(option).map_or(Value::Null, |option| config::shown::shown(option, value)),
    }
}

/// A text without what nobody may see.
fn secret(option: &str, text: &str) -> Value {
    match server_option(option) {
        Some(option) => json!(config::shown::without_secrets(option, text)),
        None => json!(text),
    }
}
