//! WAL switches on the primary while a standby waits for the end of a backup: `pg_backup_stop` on a standby with
//! `archive_mode = always` returns only when the segment of its minimum recovery point is archived, and that segment is
//! closed by WAL traffic on the primary, or by us.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{PostgresConnection, TARGET};
use crate::error::Error;
use crate::sql::SqlClient;

/// When to do what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwitchPlan {
    /// Pause before the first switch: often the server does not need any.
    pub first: Duration,
    /// Number of switches.
    pub times: u32,
    /// Pause after each.
    pub wait: Duration,
    /// How long after that comes a checkpoint with one more switch (`primary_checkpoint_timeout`); zero = never.
    pub checkpoint_timeout: Duration,
}

impl Default for SwitchPlan {
    /// As Barman: after one second, ten times, each ten seconds; no checkpoint.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            times: 10,
            wait: Duration::from_secs(10),
            checkpoint_timeout: Duration::ZERO,
        }
    }
}

/// More than any plan of Barman has steps.
const MAX_FAILURES: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Wait(Duration),
    Switch,
    /// All switches were in vain, a checkpoint will follow.
    Announce,
    Checkpoint,
}

impl SwitchPlan {
    fn steps(self) -> impl Iterator<Item = Step> {
        let switches = (0..self.times).flat_map(move |_| [Step::Switch, Step::Wait(self.wait)]);
        let last = [
            Step::Announce,
            Step::Wait(self.checkpoint_timeout),
            Step::Checkpoint,
            Step::Switch,
        ];
        let last = last
            .into_iter()
            .filter(move |_| !self.checkpoint_timeout.is_zero());
        std::iter::once(Step::Wait(self.first))
            .chain(switches)
            .chain(last)
    }
}

/// What was done on the primary.
#[derive(Debug, Default)]
pub struct SwitchReport {
    /// Switches that the primary was asked for and took, also if there was nothing to switch.
    pub switches: u32,
    /// Whether there was a checkpoint.
    pub checkpoint: bool,
    /// The first hundred failures, in their order; each was also told in the log (level WARN) when it happened.
    pub failures: Vec<Error>,
}

/// A thread that follows a [`SwitchPlan`] with a connection of its own. It is told to end and waited for when this is
/// finished or dropped, whatever it is doing: a wait on the network ends too.
#[derive(Debug)]
pub struct BackgroundSwitches {
    done: Arc<AtomicBool>,
    running: Option<Running>,
    report: SwitchReport,
}

#[derive(Debug)]
struct Running {
    /// Dropped to end the thread.
    stop: mpsc::Sender<()>,
    thread: JoinHandle<SwitchReport>,
}

impl BackgroundSwitches {
    /// Begins (`switch_wal_in_background`) with the settings of this connection to a primary. A thread that cannot be
    /// started is in the report.
    #[must_use]
    pub fn start(primary: &PostgresConnection, plan: SwitchPlan) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let options = primary.options.clone().with_interrupt(Arc::clone(&done));
        let primary = primary.sibling(options);
        let (stop, stopped) = mpsc::channel();
        let mut switches = Self {
            done,
            running: None,
            report: SwitchReport::default(),
        };
        let thread = std::thread::Builder::new()
            .name("barman_wal_switch".to_owned())
            .spawn(move || follow(&primary, plan, &stopped));
        match thread {
            Ok(thread) => switches.running = Some(Running { stop, thread }),
            Err(source) => switches.report.note(Error::Io {
                doing: "starting a thread to switch WAL on the primary".into(),
                address: "this host".to_owned(),
                source,
            }),
        }
        switches
    }

    /// Whether all of the plan is done, or could not be done.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.running
            .as_ref()
            .is_none_or(|running| running.thread.is_finished())
    }

    /// Ends it and waits for its end.
    #[must_use]
    pub fn finish(mut self) -> SwitchReport {
        self.end();
        std::mem::take(&mut self.report)
    }

    fn end(&mut self) {
        let Some(Running { stop, thread }) = self.running.take() else {
            return;
        };
        self.done.store(true, Ordering::SeqCst);
        drop(stop);
        match thread.join() {
            Ok(report) => self.report = report,
            Err(_) => log::error!(target: TARGET, "the thread that switches WAL on the primary has panicked"),
        }
    }
}

impl Drop for BackgroundSwitches {
    fn drop(&mut self) {
        self.end();
    }
}

impl SwitchReport {
    fn note(&mut self, error: Error) {
        log::warn!(
            target: TARGET,
            "WAL cannot be switched on the primary while the backup of the standby ends: {error}"
        );
        if self.failures.len() < MAX_FAILURES {
            self.failures.push(error);
        }
    }
}

fn follow(primary: &PostgresConnection, plan: SwitchPlan, stopped: &mpsc::Receiver<()>) -> SwitchReport {
    let mut report = SwitchReport::default();
    for step in plan.steps() {
        let outcome = match step {
            Step::Wait(pause) => match stopped.recv_timeout(pause) {
                Err(RecvTimeoutError::Timeout) => continue,
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return report,
            },
            Step::Announce => {
                log::warn!(
                    target: TARGET,
                    "the standby still waits for its WAL to be archived after {} WAL switches on the primary, {} seconds \
                     apart; a checkpoint on the primary follows in {} seconds",
                    plan.times,
                    plan.wait.as_secs_f32(),
                    plan.checkpoint_timeout.as_secs_f32()
                );
                continue;
            }
            Step::Switch => primary.with_session(SqlClient::switch_wal).map(|_| {
                report.switches += 1;
            }),
            Step::Checkpoint => primary.with_session(SqlClient::checkpoint).map(|()| {
                report.checkpoint = true;
            }),
        };
        match outcome {
            Ok(()) => {}
            // The only one who raises our flag is the end.
            Err(Error::Interrupted { .. }) => return report,
            // Without the checkpoint the last switch is still worth it.
            Err(error) if error.is_connection_lost() || step == Step::Checkpoint => report.note(error),
            Err(error) => {
                let hopeless = matches!(error, Error::BackupPrivileges { .. } | Error::InRecovery { .. });
                report.note(error);
                if hopeless {
                    return report;
                }
            }
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_is_barmans() {
        let seconds = Duration::from_secs;
        let plain: Vec<Step> = SwitchPlan::default().steps().collect();
        assert_eq!(plain.len(), 21);
        assert_eq!(
            plain[..4],
            [
                Step::Wait(seconds(1)),
                Step::Switch,
                Step::Wait(seconds(10)),
                Step::Switch
            ]
        );
        assert_eq!(plain[20], Step::Wait(seconds(10)));
        let waits: Duration = plain
            .iter()
            .map(|step| match step {
                Step::Wait(pause) => *pause,
                _ => Duration::ZERO,
            })
            .sum();
        assert_eq!(waits, seconds(101));
        let with_checkpoint: Vec<Step> = SwitchPlan {
            checkpoint_timeout: seconds(5),
            ..SwitchPlan::default()
        }
        .steps()
        .collect();
        assert_eq!(with_checkpoint[..21], plain);
        assert_eq!(
            with_checkpoint[21..],
            [
                Step::Announce,
                Step::Wait(seconds(5)),
                Step::Checkpoint,
                Step::Switch
            ]
        );
    }
}
