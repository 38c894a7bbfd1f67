//! What happens while a command runs, as values. The library tells its [`Host`]; the program turns them into log
//! lines.

use std::fmt;
use std::ops::ControlFlow;
use std::time::Duration;

use crate::client::ApiError;

/// Whoever runs a command: hears what happens and does the waiting.
pub trait Host {
    /// Something has happened.
    fn tell(&mut self, event: &Event<'_>);

    /// Waits; for nothing, where something is repeated at once. [`ControlFlow::Break`] ends the command with [`ApiError::Cancelled`].
    fn pause(&mut self, time: Duration) -> ControlFlow<()>;
}

/// A host that waits and tells nobody.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Host for Silent {
    fn tell(&mut self, _: &Event<'_>) {}

    fn pause(&mut self, time: Duration) -> ControlFlow<()> {
        std::thread::sleep(time);
        ControlFlow::Continue(())
    }
}

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Info,
    /// Something failed and is tried again, or was not understood.
    Warning,
    /// The command fails.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        })
    }
}

/// Something that happened. [`fmt::Display`] gives the message, in one line and without secrets.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The service is asked to create an operation; [`Event::Created`] or [`Event::NotCreated`] follows. No line of the
    /// log.
    Creating {
        /// What it is asked for.
        what: &'static str,
    },
    /// The service has created an operation.
    Created {
        /// What was asked for.
        what: &'static str,
        /// Its id.
        id: &'a str,
    },
    /// It has not ended yet.
    InProgress {
        /// What was asked for.
        what: &'static str,
        /// Its id.
        id: &'a str,
    },
    /// It has ended well.
    Done {
        /// What was asked for.
        what: &'static str,
        /// Its id.
        id: &'a str,
    },
    /// It has failed.
    Failed {
        /// What was asked for.
        what: &'static str,
        /// Its id.
        id: &'a str,
        /// The end of what Barman printed, if the service tells that.
        output: Option<&'a str>,
    },
    /// Nothing to do for this role.
    Skipped {
        /// The role.
        role: &'a str,
        /// When to switch.
        switch_when: &'a str,
    },
    /// The service sends us elsewhere, and we go.
    Redirected {
        /// From this URL.
        from: &'a str,
        /// To this one.
        to: &'a str,
    },
    /// A connection was not made or broke; the request is sent again at once.
    Reconnecting {
        /// How often it may be repeated after this time.
        left: u32,
        /// What went wrong.
        cause: &'a str,
        /// Path of the request.
        path: &'a str,
    },
    /// The service asks for patience.
    ToldToWait {
        /// HTTP status of the answer.
        status: u16,
        /// For how long.
        time: Duration,
        /// Path of the request.
        path: &'a str,
    },
    /// An answer could not be used; there may be another attempt.
    BadAnswer {
        /// Which attempt this was.
        attempt: i64,
        /// How many there are.
        max: i64,
        /// What was asked for.
        call: &'a str,
        /// What is wrong with the answer.
        why: &'a str,
    },
    /// The API cannot be used.
    ApiUnusable {
        /// Why.
        error: &'a ApiError,
    },
    /// The operation could not be created.
    NotCreated {
        /// What was asked for.
        what: &'static str,
        /// Why.
        error: &'a ApiError,
    },
    /// The state of a created operation cannot be learned.
    Lost {
        /// What was asked for.
        what: &'static str,
        /// Its id.
        id: &'a str,
        /// Why.
        error: &'a ApiError,
    },
    /// Model and reset are not exactly one.
    InvalidArguments {
        /// The model.
        model: Option<&'a str>,
        /// The flag.
        reset: bool,
    },
    /// The base URL has a last segment that requests replace.
    NoSlash {
        /// The segment.
        segment: &'a str,
        /// Where requests go.
        example: &'a str,
    },
    /// An option's value makes no sense, and another one is used.
    Adjusted {
        /// The option.
        option: &'a str,
        /// Its value.
        given: i64,
        /// What is used.
        used: u64,
    },
}

impl Event<'_> {
    /// How much it matters.
    pub fn level(&self) -> Level {
        match self {
            Self::Creating { .. }
            | Self::Created { .. }
            | Self::InProgress { .. }
            | Self::Done { .. }
            | Self::Skipped { .. }
            | Self::Redirected { .. }
            | Self::ToldToWait { .. } => Level::Info,
            Self::Reconnecting { .. }
            | Self::BadAnswer { .. }
            | Self::NoSlash { .. }
            | Self::Adjusted { .. } => Level::Warning,
            Self::Failed { .. }
            | Self::ApiUnusable { .. }
            | Self::NotCreated { .. }
            | Self::Lost { .. }
            | Self::InvalidArguments { .. } => Level::Error,
        }
    }
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Creating { what } => write!(f, "Creating the {what} operation"),
            Self::Created { what, id } => write!(f, "Created the {what} operation {id}"),
            Self::InProgress { what, id } => write!(f, "The {what} operation {id} is still in progress"),
            Self::Done { what, id } => write!(f, "The {what} operation {id} finished successfully"),
            Self::Failed { what, id, output } => {
                write!(f, "The {what} operation {id} failed")?;
                if let Some(output) = output.filter(|output| !output.is_empty()) {
                    write!(f, ", Barman said: {output}")?;
                }
                write!(
                    f,
                    "; its output is on the Barman host, in <barman_home>/<server>/output/{id}.json"
                )
            }
            Self::Skipped { role, switch_when } => write!(
                f,
                "Nothing to switch on this node (role={role}, switch_when={switch_when})"
            ),
            Self::Redirected { from, to } => write!(f, "Redirected from {from} to {to}"),
            Self::Reconnecting { left, cause, path } => {
                let times = if *left == 1 { "time" } else { "times" };
                write!(
                    f,
                    "Trying again, {left} more {times} after this one, since {cause}: {path}"
                )
            }
            Self::ToldToWait { status, time, path } => write!(
                f,
                "The API answered with HTTP status {status} and asks to wait {} seconds: {path}",
                time.as_secs()
            ),
            Self::BadAnswer {
                attempt,
                max,
                call,
                why,
            } => write!(f, "Attempt {attempt} of {max} to {call} failed: {why}"),
            Self::ApiUnusable { error } => write!(f, "{error}"),
            Self::NotCreated { what, error } => {
                write!(f, "Could not create the {what} operation: {error}")?;
                if error.leaves_doubt() {
                    f.write_str(
                        "; it may run all the same: look on the Barman host before you ask for another one",
                    )?;
                }
                Ok(())
            }
            Self::Lost { what, id, error } => write!(
                f,
                "Could not learn the state of the {what} operation {id}, which may still be running on the Barman host: {error}"
            ),
            Self::InvalidArguments { model, reset } => write!(
                f,
                "Exactly one of a model and a reset must be asked for (barman_model={}, reset={reset})",
                model.map_or_else(|| "none".to_owned(), |model| format!("'{model}'"))
            ),
            Self::NoSlash { segment, example } => write!(
                f,
                "The URL of the API does not end with a slash, so its last part, \"{segment}\", is replaced: requests go to {example}; add a slash to keep it, or remove it"
            ),
            Self::Adjusted { option, given, used } => {
                write!(f, "{option} {given} makes no sense; {used} is used instead")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_time() {
        for (left, times) in [(2, "2 more times"), (1, "1 more time"), (0, "0 more times")] {
            let event = Event::Reconnecting {
                left,
                cause: "Connection refused",
                path: "/status",
            };
            assert_eq!(
                event.to_string(),
                format!("Trying again, {times} after this one, since Connection refused: /status")
            );
        }
    }
}
