//! Which servers a command skips or refuses because of their state (`cli.md` 6.2).

use barman_core::config::ServerConfig;

/// What a command does with a server in a certain state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Works.
    Work,
    /// Says that it skips the server; no failure.
    Skip,
    /// Reports an error.
    Refuse,
}

/// The reactions of a command to servers that are not simply enabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// `active = false`.
    pub inactive: Reaction,
    /// The configuration of the server has errors.
    pub disabled: Reaction,
    /// The backups come from another Barman.
    pub passive: Reaction,
}

impl Rules {
    /// The rules of a command, by its main name.
    #[must_use]
    pub fn of(command: &str) -> Self {
        use Reaction::{Refuse, Skip, Work};
        let rules = |inactive, disabled, passive| Self {
            inactive,
            disabled,
            passive,
        };
        match command {
            "backup" | "replication-status" => rules(Skip, Refuse, Skip),
            "rebuild-xlogdb" | "generate-manifest" | "archive-wal" | "sync-backup" | "sync-wals"
            | "receive-wal" => rules(Skip, Refuse, Work),
            // The original ends in an internal exception on a passive server.
            "switch-wal" => rules(Skip, Refuse, Refuse),
            // An inactive server has no connections: these forms say so themselves.
            "receive-wal --create-slot"
            | "receive-wal --drop-slot"
            | "receive-wal --reset"
            | "receive-wal --stop" => rules(Work, Refuse, Work),
            "restore" | "delete" | "get-wal" | "cloud-wal-restore" => rules(Work, Refuse, Work),
            "put-wal" | "import-backup" => rules(Refuse, Refuse, Work),
            // As an archive_command it must not succeed without having archived.
            "cloud-wal-archive" => rules(Refuse, Refuse, Refuse),
            "cron" => rules(Work, Skip, Work),
            _ => rules(Work, Work, Work),
        }
    }
}

/// The state of a server, as far as selection looks at it.
#[derive(Debug, Clone, Copy)]
pub struct State<'a> {
    /// Its name.
    pub name: &'a str,
    /// `active`.
    pub active: bool,
    /// It has configuration errors, or its model disables it.
    pub disabled: bool,
    /// The configuration errors.
    pub messages: &'a [String],
    /// It is a passive node.
    pub passive: bool,
}

impl<'a> From<&'a ServerConfig> for State<'a> {
    fn from(config: &'a ServerConfig) -> Self {
        Self {
            name: &config.name,
            active: config.active,
            disabled: config.disabled,
            messages: &config.messages,
            passive: config.is_passive(),
        }
    }
}

/// How many servers a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    /// One server.
    Single,
    /// Several servers, or all.
    Multi,
}

/// What becomes of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The command works on it.
    Run,
    /// It is skipped with this information.
    Skip(String),
    /// It is skipped without a word.
    Pass,
    /// It is refused with these errors.
    Refuse(Vec<String>),
}

/// Applies the rules of a command to a server.
#[must_use]
pub fn judge(state: &State<'_>, rules: Rules, arity: Arity) -> Verdict {
    let name = state.name;
    if !state.active {
        match rules.inactive {
            Reaction::Work => {}
            Reaction::Skip => return Verdict::Skip(format!("Skipping inactive server '{name}'")),
            Reaction::Refuse => return Verdict::Refuse(vec![format!("Inactive server: {name}")]),
        }
    }
    if state.disabled {
        match rules.disabled {
            Reaction::Work => {}
            Reaction::Skip => return Verdict::Skip(format!("Skipping temporarily disabled server '{name}'")),
            Reaction::Refuse if !state.messages.is_empty() => {
                return Verdict::Refuse(state.messages.to_vec());
            }
            // Disabled by a model, without any error: several servers pass over it, one alone works.
            Reaction::Refuse if arity == Arity::Multi => return Verdict::Pass,
            Reaction::Refuse => {}
        }
    }
    if state.passive {
        match rules.passive {
            Reaction::Work => {}
            Reaction::Skip => return Verdict::Skip(format!("Skipping passive server '{name}'")),
            Reaction::Refuse => {
                return Verdict::Refuse(vec![format!(
                    "Server '{name}' is passive: its backups and WAL come from another Barman node"
                )]);
            }
        }
    }
    Verdict::Run
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One letter per state: active, inactive, disabled with a message, disabled by a model, passive.
    fn row(command: &str, arity: Arity) -> String {
        let message = ["first".to_owned(), "second".to_owned()];
        let base = State {
            name: "s",
            active: true,
            disabled: false,
            messages: &[],
            passive: false,
        };
        let states = [
            base,
            State {
                active: false,
                ..base
            },
            State {
                disabled: true,
                messages: &message,
                ..base
            },
            State {
                disabled: true,
                ..base
            },
            State {
                passive: true,
                ..base
            },
            State {
                active: false,
                disabled: true,
                messages: &message,
                ..base
            },
        ];
        states
            .iter()
            .map(|state| match judge(state, Rules::of(command), arity) {
                Verdict::Run => 'r',
                Verdict::Skip(_) => 's',
                Verdict::Pass => 'p',
                Verdict::Refuse(_) => 'e',
            })
            .collect()
    }

    #[test]
    fn reactions() {
        let table = [
            ("check", Arity::Multi, "rrrrrr"),
            ("list-backups", Arity::Multi, "rrrrrr"),
            ("show-backup", Arity::Single, "rrrrrr"),
            ("check-backup", Arity::Single, "rrrrrr"),
            ("backup", Arity::Multi, "rsepss"),
            ("switch-wal", Arity::Multi, "rsepes"),
            ("archive-wal", Arity::Single, "rserrs"),
            ("receive-wal", Arity::Single, "rserrs"),
            ("receive-wal --reset", Arity::Single, "rrerre"),
            ("restore", Arity::Single, "rrerre"),
            ("delete", Arity::Single, "rrerre"),
            ("get-wal", Arity::Single, "rrerre"),
            ("put-wal", Arity::Single, "reerre"),
            ("cloud-wal-archive", Arity::Single, "reeree"),
            ("cron", Arity::Multi, "rrssrs"),
        ];
        for (command, arity, expected) in table {
            assert_eq!(row(command, arity), expected, "{command}");
        }
    }

    #[test]
    fn texts() {
        let messages = ["first".to_owned(), "second".to_owned()];
        let state = State {
            name: "s",
            active: false,
            disabled: true,
            messages: &messages,
            passive: true,
        };
        let verdict = |state: &State<'_>, command: &str| judge(state, Rules::of(command), Arity::Multi);
        assert_eq!(
            verdict(&state, "backup"),
            Verdict::Skip("Skipping inactive server 's'".into())
        );
        assert_eq!(
            verdict(&state, "put-wal"),
            Verdict::Refuse(vec!["Inactive server: s".into()])
        );
        let state = State {
            active: true,
            ..state
        };
        assert_eq!(verdict(&state, "backup"), Verdict::Refuse(messages.to_vec()));
        assert_eq!(
            verdict(&state, "cron"),
            Verdict::Skip("Skipping temporarily disabled server 's'".into())
        );
        let state = State {
            disabled: false,
            ..state
        };
        assert_eq!(
            verdict(&state, "backup"),
            Verdict::Skip("Skipping passive server 's'".into())
        );
    }
}
