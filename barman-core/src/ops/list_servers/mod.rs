//! `barman list-servers`: every configured server with its description and state. Connects to nothing.

use crate::config::{Config, ServerConfig};

/// One server of the list.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ListedServer {
    /// Its name.
    #[serde(skip)]
    pub name: String,
    /// Its description followed by its state; empty if there is neither.
    pub description: String,
}

impl ListedServer {
    /// The line on the console: `<name> - <description>`, or the name alone.
    #[must_use]
    pub fn line(&self) -> String {
        if self.description.is_empty() {
            self.name.clone()
        } else {
            format!("{} - {}", self.name, self.description)
        }
    }
}

/// The servers, sorted by name.
#[must_use]
pub fn list(config: &Config) -> Vec<ListedServer> {
    config
        .servers
        .iter()
        .map(|server| ListedServer {
            name: server.name.clone(),
            description: description(server),
        })
        .collect()
}

/// Without a description the blank before the state stays, as scripts have always seen it.
fn description(server: &ServerConfig) -> String {
    let passive = if server.is_passive() { " (Passive)" } else { "" };
    let text = server.description.as_deref().unwrap_or_default();
    format!("{text}{}{passive}", server.state_suffix())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_barman_prints_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        std::fs::write(
            &path,
            "[barman]\nbarman_home = /nowhere\n[plain]\nactive = on\nconninfo = host=a\narchiver = on\n\
             ssh_command = x\n[dis]\n[inact]\nactive = no\ndescription = An inactive one\n[pas]\n\
             primary_ssh_command = ssh b\ndescription = passive\n",
        )
        .unwrap();
        let config = Config::load(&path, None).unwrap();
        let lines: Vec<String> = list(&config).iter().map(ListedServer::line).collect();
        assert_eq!(
            lines,
            [
                "dis -  (WARNING: disabled)",
                "inact - An inactive one (inactive)",
                "pas - passive (Passive)",
                "plain",
            ]
        );
    }
}
