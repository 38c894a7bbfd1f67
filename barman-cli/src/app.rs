//! What every command works with: configuration, output, and the choice of servers.

use crate::output::{Kind, Output};
use crate::select::{self, Arity, Rules, State, Verdict};
use crate::signals;
use barman_catalog::ids::{self, ResolveError};
use barman_catalog::{BackupId, BackupInfo, Catalog};
use barman_core::Server;
use barman_core::config::{Config, ConfigWarning, Selected, ServerConfig};
use barman_core::context::SystemClock;
use barman_core::failure::nearest;
use barman_core::ops::selection;
use barman_core::{Cancel, Class, Context, Failure, Level, Message, Progress};
use std::ops::ControlFlow;

/// The name under which the log records messages of the command line itself.
pub const CLI: &str = "barman.cli";

/// What a name on the command line of a multi-server command stands for.
enum Chosen<'a> {
    /// A server to work on.
    Server(&'a ServerConfig),
    /// A server in a state that the command refuses, and why.
    Refused(&'a ServerConfig, Vec<String>),
    /// Nothing.
    Unknown(&'a str),
}

/// One run of the program.
pub struct App<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Where everything is told.
    pub output: &'a Output,
    /// Whether to stop.
    pub cancel: &'a Cancel,
}

impl App<'_> {
    /// What operations get.
    #[must_use]
    pub fn context(&self) -> Context<'_> {
        Context {
            progress: self.output,
            cancel: self.cancel,
            clock: &SystemClock,
        }
    }

    /// Reports an error of an operation. An interrupted one gives the run the exit code of the signal, and no other
    /// server is to be worked on.
    pub fn failure(&self, failure: &dyn Failure) -> ControlFlow<()> {
        let cause = self
            .cancel
            .cause()
            .filter(|_| failure.class() == Class::Interrupted);
        if let Some(cause) = cause {
            self.output.error(CLI, signals::text(cause));
            self.output.exit_with(signals::exit_code(cause));
            if failure.to_string() == signals::text(cause) {
                return ControlFlow::Break(());
            }
        }
        self.output.failure(CLI, failure);
        if failure.class() == Class::Interrupted {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Tells what the configuration files have to say to every command.
    pub fn global_warnings(&self) {
        let (shown, others): (Vec<_>, Vec<_>) = self
            .config
            .global_warnings
            .iter()
            .cloned()
            .partition(|warning| warning.console && warning.level == Level::Warning);
        for warning in shown {
            self.output.start_up_warning(warning.target, &warning.text);
            self.warning_hint(&warning);
        }
        self.warnings(&others);
    }

    /// What every command does before it looks at servers: warnings of their sections, and the refusal to go on when
    /// two servers share a directory. Returns whether to go on.
    #[must_use]
    pub fn load_servers(&self) -> bool {
        self.section_warnings();
        for conflict in &self.config.path_conflicts {
            self.output.error(CLI, conflict);
        }
        self.config.path_conflicts.is_empty()
    }

    /// What the sections of the configuration have to say to every command that looks at servers.
    pub fn section_warnings(&self) {
        self.warnings(&self.config.warnings);
    }

    /// The notices of a server that is going to be used.
    pub fn notices(&self, server: &ServerConfig) {
        self.warnings(&server.notices);
    }

    fn warnings(&self, warnings: &[ConfigWarning]) {
        for warning in warnings {
            if warning.console {
                self.output.message(Message {
                    level: warning.level,
                    text: &warning.text,
                    target: warning.target,
                    logged: true,
                });
                self.warning_hint(warning);
            } else {
                let level = Kind::from(warning.level).log_level();
                match &warning.hint {
                    Some(hint) => log::log!(target: warning.target, level, "{} ({hint})", warning.text),
                    None => log::log!(target: warning.target, level, "{}", warning.text),
                }
            }
        }
    }

    fn warning_hint(&self, warning: &ConfigWarning) {
        if let Some(hint) = &warning.hint {
            self.output.hint(hint);
        }
    }

    /// Runs a multi-server command: every chosen server in the order of names, those that are skipped first.
    pub fn for_each(
        &self,
        command: &str,
        names: &[String],
        mut act: impl FnMut(&ServerConfig) -> ControlFlow<()>,
    ) {
        for chosen in self.choose(command, names) {
            if self.stop_requested() {
                return;
            }
            match chosen {
                Chosen::Server(server) if act(server).is_break() => return,
                Chosen::Server(_) => {}
                Chosen::Refused(server, errors) => self.refused(server, &errors),
                Chosen::Unknown(name) => self.unknown_server(name),
            }
        }
    }

    /// Runs a multi-server command that asks all its servers at the same time, and shows what it finds in the order of
    /// names, each as soon as those before it are shown. `ask` gets the servers, and hands over one answer for each.
    pub fn for_all<T>(
        &self,
        command: &str,
        names: &[String],
        ask: impl FnOnce(&[&ServerConfig], &mut dyn FnMut(T)),
        mut show: impl FnMut(T) -> ControlFlow<()>,
    ) {
        let chosen = self.choose(command, names);
        let servers: Vec<&ServerConfig> = chosen
            .iter()
            .filter_map(|chosen| match chosen {
                Chosen::Server(server) => Some(*server),
                Chosen::Refused(..) | Chosen::Unknown(_) => None,
            })
            .collect();
        let mut rest = chosen.iter();
        // What stands before the next server, or at the end.
        let mut errors_in_between = || {
            for chosen in rest.by_ref() {
                match chosen {
                    Chosen::Server(_) => return,
                    Chosen::Refused(server, errors) => self.refused(server, errors),
                    Chosen::Unknown(name) => self.unknown_server(name),
                }
            }
        };
        let mut ended = false;
        ask(&servers, &mut |answer| {
            ended = ended || self.stop_requested();
            if !ended {
                errors_in_between();
                ended = show(answer).is_break();
            }
        });
        if !ended {
            errors_in_between();
        }
    }

    /// What a multi-server command works on, in the order of names. What is skipped is told at once.
    fn choose<'n>(&'n self, command: &str, names: &'n [String]) -> Vec<Chosen<'n>> {
        let mut chosen = Vec::new();
        if !self.load_servers() {
            return chosen;
        }
        let selection = self.config.select(names);
        if selection.all_with_names {
            self.output
                .error(CLI, "You cannot use 'all' with other server names");
        }
        for entry in &selection.entries {
            match entry {
                Selected::Unknown(name) => chosen.push(Chosen::Unknown(name)),
                Selected::Server(server) => {
                    self.notices(server);
                    match select::judge(&State::from(*server), Rules::of(command), Arity::Multi) {
                        Verdict::Run => chosen.push(Chosen::Server(server)),
                        Verdict::Skip(text) => self.output.info(CLI, &text),
                        Verdict::Pass => {}
                        Verdict::Refuse(errors) => chosen.push(Chosen::Refused(server, errors)),
                    }
                }
            }
        }
        chosen
    }

    /// The server of a single-server command, if the command may work on it. What is in the way was reported.
    #[must_use]
    pub fn single(&self, command: &str, name: &str) -> Option<&ServerConfig> {
        if !self.load_servers() {
            return None;
        }
        if name == "all" {
            self.output
                .error(CLI, "You cannot use 'all' in a single server context");
            return None;
        }
        let Some(server) = self.config.server(name) else {
            self.unknown_server(name);
            return None;
        };
        self.notices(server);
        match select::judge(&State::from(server), Rules::of(command), Arity::Single) {
            Verdict::Run => return Some(server),
            Verdict::Skip(text) => self.output.info(CLI, &text),
            Verdict::Pass => {}
            Verdict::Refuse(errors) => self.refused(server, &errors),
        }
        None
    }

    /// The server and the backup of a command on one backup. What is in the way was reported.
    #[must_use]
    pub fn backup(&self, command: &str, server: &str, argument: &str) -> Option<(Server, BackupInfo)> {
        let server = Server::new(self.single(command, server)?.clone());
        let backup = self.backup_of(&server, argument)?;
        Some((server, backup))
    }

    /// The id of the backup that a user named (id, shortcut or name), if there is one. What is in the way was reported.
    #[must_use]
    pub fn backup_id(&self, server: &Server, argument: &str) -> Option<BackupId> {
        self.backup_of(server, argument).map(|backup| backup.id)
    }

    fn backup_of(&self, server: &Server, argument: &str) -> Option<BackupInfo> {
        let catalog = match Catalog::load(server.layout()) {
            Ok(catalog) => catalog,
            Err(error) => {
                self.output.error(CLI, &error.to_string());
                return None;
            }
        };
        match selection::select(&catalog, argument, &self.context()) {
            Ok(backup) => Some(backup.clone()),
            Err(error) => {
                self.output.error(CLI, &error.to_string());
                self.backup_hint(server, &error);
                None
            }
        }
    }

    /// Helps whoever named a backup that does not exist.
    pub fn backup_hint(&self, server: &Server, error: &ResolveError) {
        let ResolveError::Unknown { argument, .. } = error else {
            return;
        };
        let Ok(catalog) = Catalog::load(server.layout()) else {
            return;
        };
        let known: Vec<&str> = catalog
            .backups()
            .flat_map(|backup| [Some(backup.id.as_str()), backup.backup_name.as_deref()])
            .flatten()
            .collect();
        if known.is_empty() {
            self.output.hint("this server has no backups");
            return;
        }
        // A shortcut that found nothing was no typing error; `auto` is one of `restore` only.
        let shortcuts = ids::RESERVED_NAMES.into_iter().filter(|word| *word != "auto");
        let words = known.iter().copied().chain(shortcuts);
        match nearest(argument, words).filter(|meant| meant != argument) {
            Some(meant) => self.output.hint(&format!("did you mean '{meant}'?")),
            None => self.output.hint(&format!(
                "'barman list-backups {}' shows the backups",
                server.name()
            )),
        }
    }

    /// Whether somebody asked to stop between two servers; says so.
    pub fn stop_requested(&self) -> bool {
        let Some(cause) = self.cancel.cause() else {
            return false;
        };
        self.output.error(CLI, signals::text(cause));
        self.output.exit_with(signals::exit_code(cause));
        true
    }

    fn unknown_server(&self, name: &str) {
        self.output.error(CLI, &format!("Unknown server '{name}'"));
        let known = self.config.servers.iter().map(|server| server.name.as_str());
        match nearest(name, known) {
            Some(meant) => self.output.hint(&format!("did you mean '{meant}'?")),
            None => self
                .output
                .hint("'barman list-servers' shows the configured servers"),
        }
    }

    fn refused(&self, server: &ServerConfig, errors: &[String]) {
        for error in errors {
            self.output.error(CLI, error);
        }
        // Only what the configuration has against the server, not its being inactive or passive.
        if *errors == *server.messages
            && let Some(advice) = self.config.advice(server)
        {
            self.output.hint(&advice);
        }
    }
}
