//! An operation from its creation to its end; both commands do this.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::client::{ApiError, PgBackupApi, rest};
use crate::events::{Event, Host};
use crate::protocol::{self, NewOperation, OperationStatus};

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Done,
    Failed,
    /// Nothing is known of it; why was told.
    Unknown,
}

/// How long to wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Between two questions.
    pub(crate) pause: Duration,
    /// In all, if there is a limit.
    pub(crate) limit: Option<Duration>,
}

/// Creates an operation and asks for its state until it has ended.
pub(crate) fn follow(
    api: &PgBackupApi,
    server: &str,
    operation: &NewOperation,
    patience: Patience,
    host: &mut dyn Host,
) -> End {
    let what = operation.name();
    host.tell(&Event::Creating { what });
    let id = match api.create(server, operation, host) {
        Ok(id) => id,
        Err(error) => {
            host.tell(&Event::NotCreated { what, error: &error });
            return End::Unknown;
        }
    };
    // It comes from the network, and goes into lines.
    let shown = protocol::excerpt(id.as_bytes());
    host.tell(&Event::Created { what, id: &shown });
    let mut host = Limited {
        host,
        limit: patience.limit,
        start: Instant::now(),
        over: false,
    };
    loop {
        let answer = api.status(server, &id, &mut host);
        let next = match answer.map(|progress| (progress.status, progress.output)) {
            Ok((OperationStatus::Done, _)) => {
                host.tell(&Event::Done { what, id: &shown });
                return End::Done;
            }
            Ok((OperationStatus::Failed, output)) => {
                let output = output.map(|output| protocol::end_of(&output));
                host.tell(&Event::Failed {
                    what,
                    id: &shown,
                    output: output.as_deref(),
                });
                return End::Failed;
            }
            Ok((OperationStatus::InProgress, _)) => {
                host.tell(&Event::InProgress { what, id: &shown });
                host.wait(patience.pause)
            }
            Err(ApiError::Cancelled) => Err(host.reason()),
            Err(error) => Err(error),
        };
        if let Err(error) = next {
            host.tell(&Event::Lost {
                what,
                id: &shown,
                error: &error,
            });
            return End::Unknown;
        }
    }
}

/// A host whose pauses, also those between attempts and those that a service asks for, end with the time that there is.
struct Limited<'a> {
    host: &'a mut dyn Host,
    limit: Option<Duration>,
    start: Instant,
    /// The time has passed in a pause.
    over: bool,
}

impl Limited<'_> {
    /// What is left of the time, if it has an end.
    fn left(&self) -> Option<Duration> {
        self.limit.map(|limit| limit.saturating_sub(self.start.elapsed()))
    }

    /// Waits for the next question. The last one is asked when the time is over.
    fn wait(&mut self, pause: Duration) -> Result<(), ApiError> {
        match self.left() {
            Some(left) if left.is_zero() => Err(self.reason()),
            left => rest(self.host, left.map_or(pause, |left| pause.min(left))),
        }
    }

    /// Why there is no further question.
    fn reason(&self) -> ApiError {
        match self.limit {
            Some(limit) if self.over || self.start.elapsed() >= limit => ApiError::TooLong(limit),
            _ => ApiError::Cancelled,
        }
    }
}

impl Host for Limited<'_> {
    fn tell(&mut self, event: &Event<'_>) {
        self.host.tell(event);
    }

    fn pause(&mut self, time: Duration) -> ControlFlow<()> {
        match self.left() {
            Some(left) if left.is_zero() || left < time => {
                // Nothing is asked when it has passed.
                self.host.pause(left)?;
                self.over = true;
                ControlFlow::Break(())
            }
            _ => self.host.pause(time),
        }
    }
}
