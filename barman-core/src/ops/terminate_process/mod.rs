//! `barman terminate-process`: stops the running processes of a task, known by the locks that they hold.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::config::ServerConfig;
use crate::context::{Context, Level};
use crate::failure::{Class, Failure, nearest};
use crate::host::process::{self, TASKS, TaskProcess, Termination};
use crate::ops::list_processes::{self, ListProcessesError};

/// Name under which the log records it.
const TARGET: &str = "barman.server";

/// What was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TerminateProcessReport {
    /// The server.
    pub server: String,
    /// The processes that are gone.
    pub stopped: Vec<TaskProcess>,
}

/// Why a process still runs.
#[derive(Debug, thiserror::Error)]
pub enum TerminateProcessError {
    /// Nobody has such a task.
    #[error("Termination of {task} failed: no such process for server {server}")]
    NoSuchProcess {
        /// The task.
        task: String,
        /// The server.
        server: String,
        /// What runs instead.
        running: Vec<String>,
    },
    /// The process did not end, or may not be ended.
    #[error("Cannot terminate process {}({})", process.name, process.pid)]
    Refused {
        /// The process.
        process: TaskProcess,
        /// Why.
        reason: Termination,
    },
    /// The lock directory cannot be read.
    #[error(transparent)]
    List(#[from] ListProcessesError),
    /// The user asked to stop waiting.
    #[error("interrupted while process {pid} was ending")]
    Interrupted {
        /// The process.
        pid: u32,
    },
}

impl Failure for TerminateProcessError {
    fn class(&self) -> Class {
        match self {
            Self::Interrupted { .. } => Class::Interrupted,
            Self::NoSuchProcess { .. } | Self::Refused { .. } | Self::List(_) => Class::Error,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoSuchProcess { task, .. } if !TASKS.contains(&task.as_str()) => {
                Some(match nearest(task, TASKS) {
                    Some(meant) => format!("there is no task of this name; did you mean '{meant}'?"),
                    None => format!(
                        "there is no task of this name; the tasks are: {}",
                        TASKS.join(", ")
                    ),
                })
            }
            Self::NoSuchProcess { running, server, .. } if running.is_empty() => {
                Some(format!("no process of server '{server}' is running"))
            }
            Self::NoSuchProcess { running, .. } => Some(format!("running are: {}", running.join(", "))),
            Self::Refused { process, reason } => reason.explained(process),
            Self::List(error) => error.hint(),
            Self::Interrupted { .. } => None,
        }
    }
}

/// Sends SIGINT to every process of the task and waits up to ten seconds for each to go. Works for inactive, disabled and
/// passive servers too.
///
/// # Errors
/// There is none, or the first that could not be stopped; the others were asked to end all the same.
pub fn run(
    config: &ServerConfig,
    task: &str,
    ctx: &Context<'_>,
) -> Result<TerminateProcessReport, TerminateProcessError> {
    let running = list_processes::run(config)?.processes;
    let matching: Vec<&TaskProcess> = running.iter().filter(|process| process.name == task).collect();
    if matching.is_empty() {
        let names: BTreeSet<&str> = running.iter().map(|process| process.name.as_str()).collect();
        return Err(TerminateProcessError::NoSuchProcess {
            task: task.to_owned(),
            server: config.name.clone(),
            running: names.into_iter().map(str::to_owned).collect(),
        });
    }
    let mut report = TerminateProcessReport {
        server: config.name.clone(),
        stopped: Vec::new(),
    };
    let mut failure = None;
    for process in matching {
        match process::terminate(process, ctx) {
            Termination::Stopped => {
                let text = format!("Stopped process {}({})", process.name, process.pid);
                ctx.say(Level::Info, TARGET, &text);
                report.stopped.push(process.clone());
            }
            Termination::StillRunning if ctx.cancel.is_requested() => {
                return Err(TerminateProcessError::Interrupted { pid: process.pid });
            }
            reason => {
                failure.get_or_insert(TerminateProcessError::Refused {
                    process: process.clone(),
                    reason,
                });
            }
        }
    }
    match failure {
        Some(failure) => Err(failure),
        None => Ok(report),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::context::{Cancel, SystemClock};
    use crate::host::process::tests::holder_of;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl crate::Progress for Told {
        fn message(&self, message: crate::Message<'_>) {
            self.0.lock().unwrap().push(message.text.to_owned());
        }
    }

    /// Barman stops the first one only.
    #[test]
    fn all_processes_of_a_task_are_stopped() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("c");
        let text = format!(
            "[barman]\nbarman_home = {}\n[pg]\nactive = off\n",
            home.path().display()
        );
        std::fs::write(&path, text).unwrap();
        let config = Config::load(&path, None).unwrap();
        let server = config.server("pg").unwrap();
        let mut children = ["20261121T044724", "20261121T044725"].map(|id| {
            let lock = home.path().join(format!(".pg-{id}-sync-backup.lock"));
            holder_of(&lock, "trap 'exit 0' INT")
        });
        let mut other = holder_of(&home.path().join(".pg-cron.lock"), ":");
        let (told, cancel) = (Told::default(), Cancel::new());
        let ctx = Context {
            progress: &told,
            cancel: &cancel,
            clock: &SystemClock,
        };
        let report = run(server, "sync-backup", &ctx).unwrap();
        let mut stopped: Vec<u32> = report.stopped.iter().map(|process| process.pid).collect();
        stopped.sort_unstable();
        let mut wanted = children.each_ref().map(std::process::Child::id);
        wanted.sort_unstable();
        assert_eq!(stopped, wanted);
        let mut lines = told.0.into_inner().unwrap();
        lines.sort_unstable();
        let mut expected = wanted.map(|pid| format!("Stopped process sync-backup({pid})"));
        expected.sort_unstable();
        assert_eq!(lines, expected);
        assert!(other.try_wait().unwrap().is_none(), "another task was stopped");
        other.kill().unwrap();
        other.wait().unwrap();
        for child in &mut children {
            child.wait().unwrap();
        }
    }
}
