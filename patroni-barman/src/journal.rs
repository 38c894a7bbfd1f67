//! The log: where lines go, how they look, what operation runs.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::Duration;

use jiff::Zoned;

use crate::events::{Event, Host, Level};

/// The log of one run of the program. It can be shared with a thread that waits for signals.
pub struct Journal {
    state: Mutex<State>,
}

/// How long a signal waits for the service to end an operation. Patroni waits for ten seconds, then it kills.
pub const CANCELLATION: Duration = Duration::from_secs(5);

/// How long the writing of a line may take before nobody seems to read the log.
const LINE_MILLISECONDS: u32 = 200;

/// Asks the service to end the operation with an id; whether it does.
type Cancel = Box<dyn FnOnce(&str) -> bool + Send>;

struct State {
    /// Usage errors go there, and the log until it has a file.
    stderr: Box<dyn Write + Send>,
    file: Option<LogFile>,
    running: Running,
    cancel: Option<Cancel>,
    /// A signal ends the program.
    ending: bool,
}

struct LogFile {
    name: String,
    file: Box<dyn Write + Send>,
    /// It was told that lines are missing there.
    lost: bool,
}

/// What runs on the Barman host.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Running {
    Nothing,
    /// It was asked for, and has not been answered.
    Asked(&'static str),
    Operation {
        what: &'static str,
        id: String,
    },
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").finish_non_exhaustive()
    }
}

impl Journal {
    /// A log that goes to `stderr` until [`Journal::open`].
    pub fn new(stderr: Box<dyn Write + Send>) -> Self {
        Self {
            state: Mutex::new(State {
                stderr,
                file: None,
                running: Running::Nothing,
                cancel: None,
                ending: false,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends the log to a file from now on. It is created if it is not there.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(&self, path: &Path) -> io::Result<()> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        self.state().file = Some(LogFile {
            name: path.display().to_string(),
            file: Box::new(file),
            lost: false,
        });
        Ok(())
    }

    /// How to end an operation on the Barman host if a signal ends the program.
    pub(crate) fn on_interruption(&self, cancel: impl FnOnce(&str) -> bool + Send + 'static) {
        self.state().cancel = Some(Box::new(cancel));
    }

    /// Writes to standard error, whether the log is there or not.
    pub(crate) fn complain(&self, text: &str) {
        // Nobody reads it: nothing to be done about that.
        let _ = self.state().stderr.write_all(text.as_bytes());
    }

    /// Tells that a signal ends the program, and what goes on without it. A restore that runs is ended on the Barman host
    /// too, if the service can do that and says so within some seconds. From now on the command that runs does not get
    /// further than its next event.
    ///
    /// Does not wait for a reader of the log: if a line cannot be written, nothing is told.
    pub fn interrupted(&self, signal: &str) {
        let Some(mut state) = self.free_state() else {
            return;
        };
        state.ending = true;
        let running = std::mem::replace(&mut state.running, Running::Nothing);
        let cancel = state.cancel.take();
        drop(state);
        let what = match running {
            Running::Nothing => String::new(),
            Running::Asked(what) => format!(
                "; whether the service has created the {what} operation is not known: look on the Barman host"
            ),
            Running::Operation { what, id } => {
                let end = if cancel.is_some_and(|cancel| in_time(cancel, &id)) {
                    "is ended on the Barman host too"
                } else {
                    "goes on on the Barman host"
                };
                format!("; the {what} operation {id} {end}")
            }
        };
        if let Some(mut state) = self.free_state() {
            state.line(Level::Error, &format!("Ended by {signal}{what}"));
        }
    }

    /// The state, unless somebody writes for longer than a line takes.
    fn free_state(&self) -> Option<MutexGuard<'_, State>> {
        for _ in 0..LINE_MILLISECONDS {
            match self.state.try_lock() {
                Ok(state) => return Some(state),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(1)),
            }
        }
        None
    }
}

/// Whether a cancellation succeeds in the time that there is for it.
fn in_time(cancel: Cancel, id: &str) -> bool {
    let (sender, receiver) = mpsc::channel();
    let id = id.to_owned();
    thread::spawn(move || sender.send(cancel(&id)));
    receiver.recv_timeout(CANCELLATION).unwrap_or(false)
}

impl State {
    fn line(&mut self, level: Level, message: &dyn fmt::Display) {
        // One write for a line: several programs may append to one file.
        let line = format_line(&Zoned::now(), level, message);
        if let Some(log) = &mut self.file {
            let Err(error) = log
                .file
                .write_all(line.as_bytes())
                .and_then(|()| log.file.flush())
            else {
                return;
            };
            // A full disk must not keep a restore from being watched, nor its end from being told.
            if !log.lost {
                log.lost = true;
                let text = format!(
                    "patroni_barman: cannot write to the log file {}: {error}\n",
                    log.name
                );
                let _ = self.stderr.write_all(text.as_bytes());
            }
        }
        let _ = self.stderr.write_all(line.as_bytes());
        let _ = self.stderr.flush();
    }
}

fn format_line(now: &Zoned, level: Level, message: &dyn fmt::Display) -> String {
    format!(
        "{},{:03} {level}: {message}\n",
        now.strftime("%Y-%m-%d %H:%M:%S"),
        now.millisecond()
    )
}

impl Host for &Journal {
    fn tell(&mut self, event: &Event<'_>) {
        let mut state = self.state();
        while state.ending {
            // The exit code is the signal's.
            drop(state);
            thread::park();
            state = self.state();
        }
        state.running = match event {
            Event::Creating { what } => Running::Asked(what),
            Event::Created { what, id } => Running::Operation {
                what,
                id: (*id).to_owned(),
            },
            Event::NotCreated { .. } | Event::Done { .. } | Event::Failed { .. } => Running::Nothing,
            _ => std::mem::replace(&mut state.running, Running::Nothing),
        };
        if !matches!(event, Event::Creating { .. }) {
            state.line(event.level(), event);
        }
    }

    fn pause(&mut self, time: Duration) -> ControlFlow<()> {
        thread::sleep(time);
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line() {
        let now: Zoned = "2026-11-21T05:02:25.299+01:00[Europe/Berlin]".parse().unwrap();
        let event = Event::Skipped {
            role: "replica",
            switch_when: "promoted",
        };
        assert_eq!(
            format_line(&now, event.level(), &event),
            "2026-11-21 05:02:25,299 INFO: Nothing to switch on this node (role=replica, switch_when=promoted)\n"
        );
        let early: Zoned = "2026-11-21T05:02:25.0070009+01:00[Europe/Berlin]"
            .parse()
            .unwrap();
        assert!(format_line(&early, Level::Error, &"x").starts_with("2026-11-21 05:02:25,007 ERROR: x"));
    }

    /// Otherwise the exit code would sometimes be the command's: what a signal ends on the Barman host has failed.
    #[test]
    fn nothing_goes_on_behind_a_signal() {
        let journal = std::sync::Arc::new(Journal::new(Box::new(io::sink())));
        journal.interrupted("SIGTERM");
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            (&mut &*journal).tell(&Event::Creating { what: "recovery" });
            let _ = sender.send(());
        });
        let told = receiver.recv_timeout(Duration::from_millis(200));
        assert_eq!(told, Err(mpsc::RecvTimeoutError::Timeout));
    }
}
