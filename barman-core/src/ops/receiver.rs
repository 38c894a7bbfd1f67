//! The receiver of a server whose settings have changed: stopped, and started again where one can run.

use crate::config::ServerConfig;
use crate::context::{Context, Level};
use crate::host::process::{self, SelfCommand, Termination};

/// Name under which the log records it.
const TARGET: &str = "barman.server";

/// What became of the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Nothing was running, and nothing has to be.
    Nothing,
    /// One was running; it is not wanted any more.
    Stopped,
    /// One was started, in place of another or not.
    Started,
    /// The server is inactive, passive or disabled: its receiver is `cron`'s affair.
    Left,
    /// It does not stop, or cannot be started. That was told.
    Failed,
}

/// Restarts the receiver with the settings of `config`, as they are now on disk.
pub fn restart(config: &ServerConfig, barman: &SelfCommand, ctx: &Context<'_>) -> Restart {
    let name = &config.name;
    if !config.active {
        let text = format!("Skipping inactive server '{name}'");
        ctx.say(Level::Info, "barman.cli", &text);
        return Restart::Left;
    }
    if config.is_passive() {
        return Restart::Left;
    }
    if config.disabled {
        // Whatever runs goes on with the old settings: better than no WAL at all.
        let reason = config.messages.first().map_or("", String::as_str);
        let text = format!("Server '{name}' is disabled now, its receive-wal is left alone: {reason}");
        ctx.say(Level::Warning, TARGET, text.trim_end_matches(": "));
        return Restart::Left;
    }
    let mut outcome = Restart::Nothing;
    if let Some(receiver) = process::find(&config.lock_directory, name, "receive-wal") {
        match process::terminate(&receiver, ctx) {
            Termination::Stopped => {
                let text = format!("Stopped process receive-wal({})", receiver.pid);
                ctx.say(Level::Info, TARGET, &text);
                outcome = Restart::Stopped;
            }
            stays @ (Termination::StillRunning | Termination::Stranger | Termination::Denied) => {
                ctx.say(Level::Error, TARGET, &stays.refusal(&receiver));
                return Restart::Failed;
            }
        }
    }
    if !config.streaming_archiver {
        return outcome;
    }
    let text = format!("Starting streaming archiver for server {name}");
    ctx.say_console(Level::Info, TARGET, &text);
    match barman.spawn(&["receive-wal", name]) {
        Ok(_) => Restart::Started,
        Err(error) => {
            let text = format!("cannot start '{}': {error}", barman.program.display());
            ctx.say(Level::Error, TARGET, &text);
            Restart::Failed
        }
    }
}
