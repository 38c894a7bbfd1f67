//! Keeps the session of a backup busy while files are copied, so that nothing between us and the server (firewalls,
//! address translators, session limits) takes it for dead; and notices early when it is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::session::Held;
use super::{PostgresConnection, TARGET};
use crate::error::Error;

/// How often is looked whether there is a session by now.
const LOOK_FOR_SESSION: Duration = Duration::from_secs(1);

/// What a heartbeat found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeat {
    /// The server has answered.
    Alive,
    /// The session is in the middle of a statement: nobody will take it for idle.
    Busy,
    /// No session is held.
    NoSession,
}

impl PostgresConnection {
    /// `SELECT 1` on the session that is held (`send_heartbeat_query`): never opens, replaces or closes one, and never
    /// waits for a running statement.
    ///
    /// # Errors
    /// The session is lost ([`Error::is_connection_lost`]); any other failure of the statement.
    pub fn send_heartbeat_query(&self) -> Result<Heartbeat, Error> {
        beat(&self.shared(), &self.info.to_string())
    }
}

fn beat(shared: &Mutex<Held>, target: &str) -> Result<Heartbeat, Error> {
    let mut held = match shared.try_lock() {
        Ok(held) => held,
        // Who panicked with the session in hand is not waited for; the next user closes it.
        Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => return Ok(Heartbeat::Busy),
    };
    let backup_open = held.backup_open;
    match held.session() {
        Some(session) => session.heartbeat().map(|()| Heartbeat::Alive),
        None if backup_open => Err(Error::LostDuringBackup {
            address: format!("\"{target}\""),
            reason: "the session was closed".to_owned(),
        }),
        None => Ok(Heartbeat::NoSession),
    }
}

/// A scope (`PostgresKeepAlive`) in which a thread sends heartbeats on the session of a connection: one at once, then one
/// each interval; as long as there is no session it looks again every second.
///
/// The session stays usable: heartbeats and statements take turns, a statement waits at most for the answer to a
/// heartbeat, and while one runs there are none. The session is never opened, replaced or closed here.
///
/// When the session is lost, the flag is raised: the work that it protects looks at it and gives up.
/// [`KeepAlive::end`] tells what happened. Ending (also by dropping) does not wait for the interval, only for a heartbeat
/// that is on its way: at most [`io_timeout`](crate::ConnectOptions::io_timeout) if the server is gone, which the
/// connection's interrupt flag cuts short.
#[derive(Debug)]
pub struct KeepAlive {
    running: Option<Running>,
    flag: Arc<AtomicBool>,
    loss: Arc<Mutex<Option<Error>>>,
}

#[derive(Debug)]
struct Running {
    /// Dropped to end the thread.
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl KeepAlive {
    /// The name of the thread.
    pub const THREAD_NAME: &'static str = "barman_keepalive_thread";

    /// Begins; an interval of zero does nothing. `flag` is raised when the session is lost: one that the main work looks
    /// at.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        connection: &PostgresConnection,
        interval: Duration,
        flag: Arc<AtomicBool>,
    ) -> Result<Self, std::io::Error> {
        let loss = Arc::default();
        let mut keepalive = Self {
            running: None,
            flag: Arc::clone(&flag),
            loss: Arc::clone(&loss),
        };
        if interval.is_zero() {
            return Ok(keepalive);
        }
        let (stop, stopped) = mpsc::channel();
        let (shared, target) = (connection.shared(), connection.info.to_string());
        let thread = std::thread::Builder::new()
            .name(Self::THREAD_NAME.to_owned())
            .spawn(move || {
                if let Err(error) = run(&shared, &target, interval, &stopped) {
                    log::warn!(target: TARGET, "the server connection was lost during the backup: {error}");
                    *loss.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    flag.store(true, Ordering::SeqCst);
                }
            })?;
        keepalive.running = Some(Running { stop, thread });
        Ok(keepalive)
    }

    /// The flag that is raised when the session is lost.
    #[must_use]
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }

    /// Whether the session was lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.loss.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Ends the heartbeats.
    ///
    /// # Errors
    /// How the session was lost, if it was. Callers who do not mind ignore it.
    pub fn end(mut self) -> Result<(), Error> {
        self.stop();
        let loss = self.loss.lock().unwrap_or_else(PoisonError::into_inner).take();
        loss.map_or(Ok(()), Err)
    }

    fn stop(&mut self) {
        if let Some(Running { stop, thread }) = self.running.take() {
            drop(stop);
            if thread.join().is_err() {
                log::error!(target: TARGET, "the keep-alive thread has panicked");
            }
        }
    }
}

impl Drop for KeepAlive {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Until it is told to end, or the session is lost.
fn run(
    shared: &Mutex<Held>,
    target: &str,
    interval: Duration,
    stopped: &mpsc::Receiver<()>,
) -> Result<(), Error> {
    loop {
        let pause = match beat(shared, target) {
            Ok(Heartbeat::Alive | Heartbeat::Busy) => interval,
            Ok(Heartbeat::NoSession) => LOOK_FOR_SESSION,
            Err(Error::Interrupted { .. }) => return Ok(()),
            Err(error) if error.is_connection_lost() => return Err(error),
            Err(error) => {
                log::debug!(target: TARGET, "heartbeat: {error}");
                interval
            }
        };
        match stopped.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}
