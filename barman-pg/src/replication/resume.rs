//! Going on after a connection was lost: when to try again, whether it is still the same cluster, and whether what is to
//! come next is in the history of the server that is there now.

use std::time::{Duration, Instant};

use barman_wal::history::TimelineHistory;
use barman_wal::{Lsn, TimelineId};

use super::wire::Doing;
use super::{ReplicationClient, SystemIdentification};
use crate::connect::{ConnectOptions, LOOK};
use crate::conninfo::ConnInfo;
use crate::error::Error;

/// How attempts to connect again follow each other: each pause is twice as long as the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReconnectPolicy {
    /// The first pause.
    pub first: Duration,
    /// No pause is longer.
    pub longest: Duration,
    /// When to give up, counted from the first failure; `None` tries for ever.
    pub give_up_after: Option<Duration>,
}

impl Default for ReconnectPolicy {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
            give_up_after: None,
        }
    }
}

impl ReconnectPolicy {
    /// Begins with the first pause.
    #[must_use]
    pub fn backoff(self) -> Backoff {
        Backoff {
            policy: self,
            next: self.first,
            since: None,
        }
    }
}

/// The pauses of a [`ReconnectPolicy`].
#[derive(Debug, Clone)]
pub struct Backoff {
    policy: ReconnectPolicy,
    next: Duration,
    since: Option<Instant>,
}

impl Backoff {
    /// After a failure: how long to wait before the next attempt. Nothing if it is time to give up, or if no attempt
    /// will do better (see [`Error::is_transient`]).
    pub fn failed(&mut self, error: &Error) -> Option<Duration> {
        if !error.is_transient() {
            return None;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        let pause = self.next.min(self.policy.longest);
        let over = self
            .policy
            .give_up_after
            .is_some_and(|limit| since.elapsed().saturating_add(pause) > limit);
        self.next = pause.saturating_mul(2);
        (!over).then_some(pause)
    }

    /// After a success: the next failure is a first one again. Call it when data has come, not for a mere connection: a
    /// server that takes connections and fails at once shall not be asked ever faster.
    pub fn succeeded(&mut self) {
        self.next = self.policy.first;
        self.since = None;
    }
}

impl ReplicationClient {
    /// Connects, again and again as `backoff` says, to the cluster with this system identifier. `failed` is told of each
    /// failure and the pause that follows it.
    ///
    /// # Errors
    /// [`Error::OtherSystem`] if another cluster answers, [`Error::Interrupted`] if the flag of `options` was raised,
    /// and the last error when it was time to give up.
    pub fn connect_again(
        info: &ConnInfo,
        options: &ConnectOptions,
        systemid: &str,
        backoff: &mut Backoff,
        failed: &mut dyn FnMut(&Error, Duration),
    ) -> Result<(Self, SystemIdentification), Error> {
        loop {
            let outcome = Self::connect(info, options).and_then(|mut client| {
                let system = client.identify_system()?;
                client.check_system(&system, systemid)?;
                Ok((client, system))
            });
            let error = match outcome {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            let Some(pause) = backoff.failed(&error) else {
                return Err(error);
            };
            failed(&error, pause);
            pause_unless_interrupted(pause, options)?;
        }
    }

    fn check_system(&self, system: &SystemIdentification, expected: &str) -> Result<(), Error> {
        if system.systemid == expected {
            return Ok(());
        }
        Err(Error::OtherSystem {
            address: self.address().to_owned(),
            expected: expected.to_owned(),
            found: system.systemid.clone(),
        })
    }

    /// Whether WAL from `position` of `timeline` on can be part of what this server has: to ask before
    /// [`ReplicationClient::start_physical`], where a server says the same in whatever language it speaks.
    ///
    /// # Errors
    /// [`Error::NotInHistory`] if the server's history left that timeline before, or never was on it;
    /// [`Error::AheadOfServer`]; server and connection errors.
    pub fn check_position(
        &mut self,
        system: &SystemIdentification,
        position: Lsn,
        timeline: TimelineId,
    ) -> Result<(), Error> {
        let address = self.address().to_owned();
        if timeline == system.timeline {
            if position > system.xlogpos {
                return Err(Error::AheadOfServer {
                    address,
                    position,
                    timeline,
                    server_position: system.xlogpos,
                });
            }
            return Ok(());
        }
        let mut forked = None;
        if timeline < system.timeline {
            let (name, content) = self.timeline_history(system.timeline)?;
            let history = TimelineHistory::parse(system.timeline, &content)
                .map_err(|error| self.odd(&Doing::Owned(format!("reading {name}")), error.to_string()))?;
            if history.contains_position(timeline, position) {
                return Ok(());
            }
            forked = history.switch_point(timeline);
        }
        Err(Error::NotInHistory {
            address,
            position,
            timeline,
            server_timeline: system.timeline,
            forked,
        })
    }
}

/// Sleeps in slices, so that the flag is seen.
fn pause_unless_interrupted(pause: Duration, options: &ConnectOptions) -> Result<(), Error> {
    let begin = Instant::now();
    loop {
        if options.interrupted() {
            return Err(Error::Interrupted {
                doing: "waiting to connect again".into(),
            });
        }
        match pause.saturating_sub(begin.elapsed()) {
            left if left.is_zero() => return Ok(()),
            left => std::thread::sleep(left.min(LOOK)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ServerMessage, sqlstate};

    fn closed() -> Error {
        Error::Closed {
            doing: "testing".into(),
            address: String::new(),
        }
    }

    fn server(code: &str) -> Error {
        Error::Server {
            doing: "testing".into(),
            address: String::new(),
            message: Box::new(ServerMessage {
                sqlstate: code.to_owned(),
                ..ServerMessage::default()
            }),
        }
    }

    #[test]
    fn pauses_grow_to_the_longest_and_begin_anew() {
        let mut backoff = ReconnectPolicy {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(5),
            give_up_after: None,
        }
        .backoff();
        let mut pauses = || backoff.failed(&closed()).unwrap().as_secs();
        assert_eq!(
            [pauses(), pauses(), pauses(), pauses(), pauses()],
            [1, 2, 4, 5, 5]
        );
        backoff.succeeded();
        assert_eq!(backoff.failed(&closed()), Some(Duration::from_secs(1)));
    }

    #[test]
    fn what_does_not_pass_or_lasts_too_long_is_given_up() {
        let mut backoff = ReconnectPolicy::default().backoff();
        for (error, passes) in [
            (server(sqlstate::CANNOT_CONNECT_NOW), true),
            (server("57P01"), true),
            (server(sqlstate::TOO_MANY_CONNECTIONS), true),
            (server(sqlstate::OBJECT_IN_USE), true),
            (server(sqlstate::SLOTS_FULL), false),
            (server(sqlstate::INVALID_PASSWORD), false),
            (server(sqlstate::UNDEFINED_OBJECT), false),
            (server("XX000"), false),
            (Error::Interrupted { doing: "x".into() }, false),
        ] {
            assert_eq!(backoff.failed(&error).is_some(), passes, "{error:?}");
        }
        let mut backoff = ReconnectPolicy {
            first: Duration::from_secs(2),
            give_up_after: Some(Duration::from_secs(5)),
            ..ReconnectPolicy::default()
        }
        .backoff();
        assert!(backoff.failed(&closed()).is_some() && backoff.failed(&closed()).is_some());
        assert_eq!(backoff.failed(&closed()), None);
    }
}
