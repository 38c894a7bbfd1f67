//! Where the options are set that the messages of a disabled server speak of.

use super::Config;
use super::ini::unquote;
use super::registry;
use super::server::ServerConfig;
use super::value::Value;

impl Config {
    /// For whoever has to mend the configuration of a disabled server: file, line and section of each option that one of
    /// its messages names, or that it is set nowhere. `None` if they name none.
    #[must_use]
    pub fn advice(&self, server: &ServerConfig) -> Option<String> {
        let mut options: Vec<&'static str> = Vec::new();
        for message in &server.messages {
            for option in options_in(message).chain(connection_of(message, server)) {
                if !options.contains(&option) {
                    options.push(option);
                }
            }
        }
        let told: Vec<String> = options
            .into_iter()
            .filter_map(|option| self.whereabouts(server, option))
            .collect();
        (!told.is_empty()).then(|| told.join("; "))
    }

    /// `None` for an option that has its default.
    fn whereabouts(&self, server: &ServerConfig, option: &str) -> Option<String> {
        let inherited = registry::server_option(option).is_some_and(|def| def.scope.global);
        let sections = [
            server.active_model.as_deref(),
            Some(server.name.as_str()),
            inherited.then_some("barman"),
        ];
        let found = sections.into_iter().flatten().find_map(|section| {
            let section = self.merged.section(section)?;
            let place = section.place(option, &self.merged.files)?;
            let empty = section.raw(option).is_some_and(|raw| unquote(raw).is_empty());
            let state = if empty { "is empty" } else { "is set" };
            Some(format!("{option} {state} {place}, section [{}]", section.name))
        });
        found.or_else(|| {
            let unset = server.value(option).is_none_or(Value::is_unset);
            unset.then(|| format!("{option} is not set in section [{}]", server.name))
        })
    }
}

/// The option behind a connection string that is not valid: the message has the string, not the name.
fn connection_of(message: &str, server: &ServerConfig) -> Option<&'static str> {
    let (kind, _) = message.split_once(": Cannot connect to postgres: \"")?;
    let primary = server.primary_conninfo.as_deref();
    Some(match kind {
        "Streaming connection" => "streaming_conninfo",
        _ if primary.is_some_and(|text| message.contains(text)) => "primary_conninfo",
        _ => "conninfo",
    })
}

/// The options that a message names. Some names are words of the language too: those with an underscore are not.
fn options_in(message: &str) -> impl Iterator<Item = &'static str> {
    message
        .split(|c: char| !c.is_ascii_lowercase() && c != '_')
        .filter(|word| word.contains('_') || *word == "conninfo")
        .filter_map(registry::server_option)
        .map(|def| def.name)
}
