//! An operation from its creation to its end; both commands do this.

use std::time::{Duration, Instant};

use crate::client::{ApiError, PgBackupApi, rest};
use crate::events::{Event, Host};
use crate::protocol::{NewOperation, OperationStatus};

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
    let id = match api.create(server, operation, host) {
        Ok(id) => id,
        Err(error) => {
            host.tell(&Event::NotCreated { what, error: &error });
            return End::Unknown;
        }
    };
    // It comes from the network, and goes into lines.
    let shown = crate::protocol::excerpt(id.as_bytes());
    host.tell(&Event::Created { what, id: &shown });
    let start = Instant::now();
    loop {
        let next = match api.status(server, &id, host) {
            Ok(OperationStatus::Done) => {
                host.tell(&Event::Done { what, id: &shown });
                return End::Done;
            }
            Ok(OperationStatus::Failed) => {
                host.tell(&Event::Failed { what, id: &shown });
                return End::Failed;
            }
            Ok(OperationStatus::InProgress) => {
                host.tell(&Event::InProgress { what, id: &shown });
                wait(patience, start.elapsed(), host)
            }
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

fn wait(patience: Patience, passed: Duration, host: &mut dyn Host) -> Result<(), ApiError> {
    let Some(limit) = patience.limit else {
        return rest(host, patience.pause);
    };
    let left = limit.saturating_sub(passed);
    if left.is_zero() {
        return Err(ApiError::TooLong(limit));
    }
    rest(host, patience.pause.min(left))
}
