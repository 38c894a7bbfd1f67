//! Which servers the names of a command line mean.

use super::Config;
use super::server::ServerConfig;

/// One name of a multi-server command.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Selected<'a> {
    /// A configured server.
    Server(&'a ServerConfig),
    /// No server has this name.
    Unknown(&'a str),
}

impl Selected<'_> {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Server(server) => &server.name,
            Self::Unknown(name) => name,
        }
    }
}

/// The servers of a multi-server command, sorted by name, each once.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection<'a> {
    /// What was named.
    pub entries: Vec<Selected<'a>>,
    /// `all` was given together with other names: an error, and yet all servers are meant.
    pub all_with_names: bool,
}

impl Config {
    /// Resolves the names of a multi-server command; `all` means every server.
    #[must_use]
    pub fn select<'a>(&'a self, names: &'a [String]) -> Selection<'a> {
        if names.iter().any(|name| name == "all") {
            let entries = self.servers.iter().map(Selected::Server).collect();
            return Selection {
                entries,
                all_with_names: names.len() > 1,
            };
        }
        let mut entries: Vec<Selected<'a>> = names
            .iter()
            .map(|name| {
                self.server(name)
                    .map_or(Selected::Unknown(name), Selected::Server)
            })
            .collect();
        entries.sort_by(|one, other| one.name().cmp(other.name()));
        entries.dedup_by(|one, other| one.name() == other.name());
        Selection {
            entries,
            all_with_names: false,
        }
    }
}
